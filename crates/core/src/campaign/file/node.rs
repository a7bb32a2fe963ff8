//! A parsed text with its byte offsets, before anything is asked of its keys:
//! one tree for TOML and JSON, so that both are judged by the same code.

use super::Problem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use toml::de::{DeTable, DeValue};

/// One value and where it begins, in bytes; `None` in JSON.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) offset: Option<usize>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Absent,
    Text(String),
    /// A date or time that TOML knows by itself, as it was written.
    Time(String),
    Integer(i64),
    Flag(bool),
    /// What no key of a campaign takes, by the name of its type.
    Other(&'static str),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) offset: Option<usize>,
    pub(super) node: Node,
}

impl Node {
    /// Every syntax error of the text, each with its byte offset.
    pub(super) fn from_toml(text: &str) -> Result<Self, Vec<(Problem, Option<usize>)>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self {
                offset: Some(0),
                value: toml_table(root.get_ref()),
            });
        }
        let problem = |error: toml::de::Error| {
            let what = format!("not TOML: {}", error.message().trim());
            let mend = "mend this line: texts stand in double quotes, and each key stands once";
            (
                Problem::new("", what, mend),
                error.span().map(|span| span.start),
            )
        };
        Err(errors.into_iter().map(problem).collect())
    }

    pub(super) fn from_json(text: &str) -> Result<Self, Problem> {
        serde_json::from_str(text).map_err(|error| {
            let problem = Problem::new("", format!("not JSON: {error}"), "mend the syntax here");
            problem.at((error.line().max(1), error.column().max(1)))
        })
    }

    /// The name of its type, with its article.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.value {
            Value::Absent => "null",
            Value::Text(_) => "a text",
            Value::Time(_) => "a date or time",
            Value::Integer(_) => "an integer",
            Value::Flag(_) => "true or false",
            Value::Other(name) => name,
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// Where the value of that pointer begins, or what of the way to it exists.
    pub(super) fn offset_of(&self, pointer: &str) -> Option<usize> {
        let mut node = self;
        for step in pointer.split('/').skip(1) {
            let next = match &node.value {
                Value::Table(entries) => entries
                    .iter()
                    .find(|entry| entry.key == step)
                    .map(|entry| &entry.node),
                Value::List(items) => step.parse().ok().and_then(|at: usize| items.get(at)),
                Value::Absent
                | Value::Text(_)
                | Value::Time(_)
                | Value::Integer(_)
                | Value::Flag(_)
                | Value::Other(_) => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node.offset
    }
}

fn toml_table(table: &DeTable<'_>) -> Value {
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry {
            key: name.to_string(),
            offset: Some(key.span().start),
            node: toml_node(value),
        }
    };
    Value::Table(table.iter().map(entry).collect())
}

fn toml_node(value: &toml::Spanned<DeValue<'_>>) -> Node {
    let inner = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Value::Other("a number beyond 64 bits"), Value::Integer),
        DeValue::Float(_) => Value::Other("a number with decimals"),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(at) => Value::Time(at.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(toml_node).collect()),
        DeValue::Table(table) => toml_table(table),
    };
    Node {
        offset: Some(value.span().start),
        value: inner,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = from.deserialize_any(JsonVisitor)?;
        Ok(Self {
            offset: None,
            value,
        })
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Absent)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other("a number beyond 64 bits"), Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other("a number with decimals"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some((key, node)) = entries.next_entry()? {
            table.push(Entry {
                key,
                offset: None,
                node,
            });
        }
        Ok(Value::Table(table))
    }
}
