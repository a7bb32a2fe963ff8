//! The document of the API, and whether an answer is one that it knows. Every
//! answer that these tests get from a router is held to it, field by field.

use crate::schema;
use crate::world::Answer;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The document as the code makes it. Here its answers are closed: a field that it
/// has not is an error.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(&tombola_server::http::openapi()).unwrap();
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    schemas.values_mut().for_each(close);
    document
});

fn close(schema: &mut Value) {
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(close),
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One operation of the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) said: &'static Value,
}

/// All of them.
pub(crate) fn operations() -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .map(|(method, said)| Operation { method, path, said })
        })
        .collect()
}

impl Operation {
    /// The one of that id.
    pub(crate) fn of(id: &str) -> Self {
        let found = operations().into_iter().find(|it| it.id() == id);
        found.unwrap_or_else(|| panic!("no operation is called {id}"))
    }

    pub(crate) fn id(&self) -> &'static str {
        self.said["operationId"].as_str().unwrap()
    }

    /// The media type of its body and a body that may be sent, if it takes one.
    pub(crate) fn example(&self) -> Option<(&'static str, &'static Value)> {
        let (media, content) = self.said["requestBody"]["content"]
            .as_object()?
            .iter()
            .next()?;
        Some((media, &content["example"]))
    }

    /// The recorded answer of that status.
    pub(crate) fn recorded(&self, status: u16) -> Option<&'static Value> {
        self.said["responses"][status.to_string()]["content"]["application/json"].get("example")
    }

    /// Whether the document knows a body of that type and shape.
    fn check(&self, status: u16, media: &str, body: &Value) -> Result<(), String> {
        let mut response = self.said["responses"]
            .get(status.to_string())
            .ok_or("no such status")?;
        if let Some(shared) = response["$ref"].as_str() {
            let shared = DOCUMENT.pointer(shared.trim_start_matches('#'));
            response = shared.ok_or("a reference to nothing")?;
        }
        let content = response["content"]
            .get(media)
            .ok_or_else(|| format!("no such content type: {media}"))?;
        let errors = schema::errors(&DOCUMENT, &content["schema"], body);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors.join("; "))
        }
    }
}

/// Panics unless the document knows this answer to this request.
pub(crate) fn hold(method: &str, path: &str, answer: &Answer) {
    if method == "OPTIONS" {
        return; // a browser's question before its request, and no operation
    }
    let status = answer.status.as_u16();
    let said = |what: &str| {
        let body = String::from_utf8_lossy(&answer.body);
        format!(
            "{method} {path} answered {status}, which the document does not know: {what}\n{body}"
        )
    };
    assert!(
        answer.header("x-request-id").is_some(),
        "{}",
        said("no x-request-id")
    );
    let media = answer.header("content-type").unwrap_or_default();
    let body = match media {
        "application/json" | "application/problem+json" => answer.json(),
        _ => Value::from(String::from_utf8_lossy(&answer.body)),
    };
    let path = path.split('?').next().unwrap_or(path);
    let operation = operations()
        .into_iter()
        .find(|it| it.method.eq_ignore_ascii_case(method) && fits(it.path, path));
    let checked = match operation {
        Some(operation) => operation.check(status, media, &body),
        None if [404, 405].contains(&status) => {
            let problem = &DOCUMENT["components"]["schemas"]["Problem"];
            match schema::errors(&DOCUMENT, problem, &body).first() {
                None => Ok(()),
                Some(first) => Err(first.clone()),
            }
        }
        None => Err("no such operation".to_owned()),
    };
    if let Err(what) = checked {
        panic!("{}", said(&what));
    }
}

/// Whether `path` is one of the template's.
fn fits(template: &str, path: &str) -> bool {
    let (mut of_template, mut of_path) = (template.split('/'), path.split('/'));
    loop {
        match (of_template.next(), of_path.next()) {
            (None, None) => return true,
            (Some(one), Some(other))
                if one == other || one.starts_with('{') && !other.is_empty() => {}
            _ => return false,
        }
    }
}

#[test]
fn committed_document_is_the_one_that_the_code_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed == tombola_server::http::openapi(),
        "`cargo xtask codegen` mends it"
    );
}

#[test]
fn answer_with_another_status_or_field_is_noticed() {
    let operation = Operation::of("version");
    let good = json!({ "version": "0.1.0", "origin": "x" });
    let more = json!({ "version": "0.1.0", "origin": "x", "secret": 1 });
    let less = json!({ "version": "0.1.0" });
    let media = "application/json";
    assert_eq!(operation.check(200, media, &good), Ok(()));
    for (status, media, body) in [
        (200, media, &more),
        (200, media, &less),
        (201, media, &good),
        (200, "text/plain", &good),
        (500, "application/problem+json", &good),
    ] {
        assert!(
            operation.check(status, media, body).is_err(),
            "{status} {media} {body}"
        );
    }
}

#[test]
fn examples_are_what_the_document_says() {
    for operation in operations() {
        let responses = operation.said["responses"].as_object().unwrap();
        for status in responses.keys().filter_map(|status| status.parse().ok()) {
            if let Some(recorded) = operation.recorded(status) {
                let checked = operation.check(status, "application/json", recorded);
                assert_eq!(checked, Ok(()), "{}", operation.id());
            }
        }
        if let Some((media, example)) = operation.example() {
            let asked = &operation.said["requestBody"]["content"][media]["schema"];
            let errors = schema::errors(&DOCUMENT, asked, example);
            assert!(errors.is_empty(), "{}: {errors:?}", operation.id());
        }
    }
}
