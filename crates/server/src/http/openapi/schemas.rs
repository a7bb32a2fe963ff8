//! The schemas of the document. What a request may hold and what an answer holds
//! differ for the same type (a field with a default may be absent in the one and
//! never is in the other), so there are two makers; where both made a schema of
//! one name and the two differ, the one of requests has `Body` behind its name.

use super::problems;
use crate::http::route::Shape;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const ANSWERED: &str = "/components/schemas";
/// Where references of requests point until [`Schemas::finish`] has joined both.
const ASKED: &str = "/components/asked";

/// Both makers.
pub(super) struct Schemas {
    asked: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |path: &'static str| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = path.into();
            settings.meta_schema = None;
            settings
        };
        Self {
            asked: settings(ASKED).for_deserialize().into_generator(),
            answered: settings(ANSWERED).for_serialize().into_generator(),
        }
    }

    /// What a request may hold.
    pub(super) fn asked(&mut self, shape: Shape) -> Value {
        plain(shape(&mut self.asked))
    }

    /// The same, written out, and not among the named schemas if nothing else names it.
    pub(super) fn asked_inline(&mut self, shape: Shape) -> Value {
        let schema = shape(&mut self.asked);
        let reference = schema.get("$ref").and_then(Value::as_str);
        let named = reference
            .and_then(|path| path.rsplit('/').next())
            .and_then(|name| self.asked.definitions_mut().remove(name));
        plain(named.map_or(schema, |named| named.try_into().unwrap_or_default()))
    }

    /// What an answer holds.
    pub(super) fn answered(&mut self, shape: Shape) -> Value {
        plain(shape(&mut self.answered))
    }

    /// The schema that a reference names, or the schema itself.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(path) = schema["$ref"].as_str() else {
            return schema;
        };
        let (of, name) = if let Some(name) = path.strip_prefix("#/components/asked/") {
            (self.asked.definitions(), name)
        } else {
            let name = path.rsplit('/').next().unwrap_or(path);
            (self.answered.definitions(), name)
        };
        of.get(name).unwrap_or(schema)
    }

    /// The document with all schemas in it and every reference where it belongs.
    pub(super) fn finish(mut self, mut document: Value) -> Value {
        let all_plain = |schemas: Map<String, Value>| -> Map<String, Value> {
            schemas
                .into_iter()
                .map(|(name, schema)| (name, plain(schema.try_into().unwrap_or_default())))
                .collect()
        };
        let asked = all_plain(self.asked.take_definitions(false));
        let mut joined = all_plain(self.answered.take_definitions(false));
        let apart = apart(&asked, &joined);
        for (name, mut schema) in asked {
            rename(&mut schema, &apart);
            joined.insert(joined_name(&name, &apart), schema);
        }
        rename(&mut document, &apart);
        joined.insert("Problem".to_owned(), problems::schema());
        document["components"]["schemas"] = Value::Object(joined);
        document
    }
}

/// The names under which requests and answers mean different things; more of them
/// may follow from those that are known, by their references.
fn apart(asked: &Map<String, Value>, answered: &Map<String, Value>) -> BTreeSet<String> {
    let mut apart = BTreeSet::new();
    loop {
        let more: Vec<_> = asked
            .iter()
            .filter(|(name, schema)| {
                let mut schema = (*schema).clone();
                rename(&mut schema, &apart);
                answered.get(*name).is_some_and(|other| *other != schema)
            })
            .map(|(name, _)| name.clone())
            .filter(|name| !apart.contains(name))
            .collect();
        if more.is_empty() {
            return apart;
        }
        apart.extend(more);
    }
}

fn joined_name(name: &str, apart: &BTreeSet<String>) -> String {
    if apart.contains(name) {
        format!("{name}Body")
    } else {
        name.to_owned()
    }
}

/// Points the references of requests to where their schemas are.
fn rename(value: &mut Value, apart: &BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member
                    .as_str()
                    .and_then(|path| path.strip_prefix("#/components/asked/"))
                {
                    Some(name) if key == "$ref" => {
                        *member = format!("#{ANSWERED}/{}", joined_name(name, apart)).into();
                    }
                    Some(_) | None => rename(member, apart),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, apart)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The schema as readers of OpenAPI know it best.
fn plain(mut schema: Schema) -> Value {
    RecursiveTransform(|schema: &mut Schema| {
        words(schema);
        // An absent field is absent; nobody sends null to say so.
        if schema.get("default") == Some(&Value::Null) {
            schema.remove("default");
        }
        // Not among the formats of OpenAPI.
        if schema.get("format") == Some(&json!("uint")) {
            schema.remove("format");
        }
    })
    .transform(&mut schema);
    schema.to_value()
}

/// A choice among words is an `enum`, and what each means stands in the description.
fn words(schema: &mut Schema) {
    let Some(choices) = schema.get("oneOf").and_then(Value::as_array) else {
        return;
    };
    let words: Option<Vec<_>> = choices
        .iter()
        .map(|choice| Some((choice["const"].as_str()?, choice["description"].as_str())))
        .collect();
    let Some(words) = words else { return };
    let lines: Vec<_> = words
        .iter()
        .map(|(word, about)| format!("- `{word}`: {}", about.unwrap_or_default()))
        .collect();
    let about = schema.get("description").and_then(Value::as_str);
    let about = format!("{}\n\n{}", about.unwrap_or_default(), lines.join("\n"));
    let names: Value = words.iter().map(|(word, _)| *word).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), names);
    schema.insert("description".to_owned(), about.trim().into());
}
