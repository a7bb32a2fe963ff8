//! The parameters of an operation: parts of its path, what stands behind the
//! question mark, and the header `Idempotency-Key`.

use serde_json::{Value, json};
use tombola_core::ids::ID_MAX;
use tombola_core::limits;

/// The parts of `path` that have a name.
pub(super) fn of_path(path: &str) -> Vec<Value> {
    names(path).map(|name| of_name(path, name)).collect()
}

/// What stands in braces.
pub(super) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn of_name(path: &str, name: &str) -> Value {
    let (about, schema, example) = meaning(path, name).unwrap_or((
        "Names it.",
        json!({ "type": "string" }),
        Value::from(name),
    ));
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": about,
        "schema": schema,
        "example": example,
    })
}

/// What the parts of paths are. Another thing is 404, as one that is not there.
pub(super) fn meaning(path: &str, name: &str) -> Option<(&'static str, Value, Value)> {
    let slug = || json!({ "type": "string", "maxLength": limits::SLUG_BYTES_MAX, "pattern": "^[a-z0-9-]+$" });
    Some(match name {
        "campaign" => ("The campaign's slug.", slug(), "autumn-fair".into()),
        "prize" => ("The prize's slug.", slug(), "coffee".into()),
        "name" => ("The endpoint's name.", slug(), "coupon-service".into()),
        "file" => (
            "The file's name.",
            json!({ "type": "string" }),
            "page.js".into(),
        ),
        "user" => (
            "The user: 1 to 128 bytes without control characters.",
            json!({ "type": "string", "minLength": 1, "maxLength": limits::USER_BYTES_MAX }),
            "u1".into(),
        ),
        "id" if path.starts_with("/v1/dead-letters/") => (
            "A dead award's id, or `m` and the number of a kept message.",
            json!({ "type": "string", "pattern": "^m?[1-9][0-9]{0,15}$" }),
            "m17".into(),
        ),
        "id" | "import" => (
            "Its id.",
            json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": ID_MAX }),
            4711.into(),
        ),
        _ => return None,
    })
}

/// The fields of the schema of a query.
pub(super) fn of_query(schema: &Value) -> Vec<Value> {
    let Some(fields) = schema["properties"].as_object() else {
        return Vec::new();
    };
    let is_required = |name: &str| {
        schema["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|it| it == name))
    };
    fields
        .iter()
        .map(|(name, field)| {
            let mut schema = never_null(field.clone());
            let about = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"));
            json!({
                "name": name,
                "in": "query",
                "required": is_required(name),
                "description": about,
                "schema": schema,
            })
        })
        .collect()
}

/// A parameter is absent, or it is there: it is never null.
fn never_null(mut schema: Value) -> Value {
    let is_null = |it: &Value| *it == "null" || *it == json!({ "type": "null" });
    if let Some(types) = schema["type"].as_array_mut() {
        types.retain(|it| !is_null(it));
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let Some(members) = schema.as_object_mut() else {
        return schema;
    };
    if members.get("type") == Some(&Value::Null) {
        members.remove("type");
    }
    if let Some(Value::Array(mut any)) = members.remove("anyOf") {
        any.retain(|it| !is_null(it));
        if let [Value::Object(only)] = any.as_slice() {
            members.extend(only.clone());
        } else {
            members.insert("anyOf".to_owned(), any.into());
        }
    }
    schema
}

/// The header `Idempotency-Key`, from the components of the document.
pub(super) fn request_key(is_demanded: bool) -> Value {
    let name = if is_demanded { "demanded" } else { "optional" };
    json!({ "$ref": format!("#/components/parameters/Idempotency-Key.{name}") })
}

/// Both forms of it.
pub(super) fn request_keys() -> Value {
    json!({
        "Idempotency-Key.demanded": request_key_header(true),
        "Idempotency-Key.optional": request_key_header(false),
    })
}

fn request_key_header(is_demanded: bool) -> Value {
    let (min, max) = limits::REQUEST_KEY_CHARS.into_inner();
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "required": is_demanded,
        "description": format!(
            "New for each request and the same for each repetition of it: {min} to {max} visible \
             ASCII characters. The same key with another request is refused."
        ),
        "schema": { "type": "string", "pattern": format!("^[!-~]{{{min},{max}}}$") },
        "example": "click-7f3a9c52",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_that_may_be_absent_is_never_null() {
        let plain = json!({ "type": ["integer", "null"], "minimum": 1 });
        assert_eq!(
            never_null(plain),
            json!({ "type": "integer", "minimum": 1 })
        );
        let word =
            json!({ "anyOf": [{ "$ref": "#/x" }, { "type": "null" }], "description": "Of it." });
        assert_eq!(
            never_null(word),
            json!({ "$ref": "#/x", "description": "Of it." })
        );
    }
}
