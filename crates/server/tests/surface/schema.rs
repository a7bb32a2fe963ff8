//! A check of values against the schemas of the document. It knows the keywords
//! that the document uses and panics at any other, so that none is passed by.

use regex::Regex;
use serde_json::Value;
use tombola_core::Timestamp;

/// Keywords that only tell.
const TELLING: [&str; 5] = ["description", "default", "example", "examples", "title"];

/// What is wrong with `value` by `schema`, each with its place; `root` is where
/// references lead.
pub(crate) fn errors(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(root, schema, value, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if *schema == Value::Bool(true) {
        return;
    }
    let keywords = schema.as_object().expect("a schema is true, or an object");
    for (keyword, asked) in keywords {
        let what = wrong(keyword, asked, value);
        found.extend(what.map(|what| format!("{place}: {value} {what} {asked}")));
    }
    below(root, keywords, value, place, found);
}

/// What is wrong with the value itself.
fn wrong(keyword: &str, asked: &Value, value: &Value) -> Option<&'static str> {
    let text = value.as_str();
    let (is_wrong, what) = match keyword {
        "type" => (
            !types(asked).any(|name| is_of(name, value)),
            "is not of type",
        ),
        "enum" => (!asked.as_array()?.contains(value), "is none of"),
        "const" => (asked != value, "is not"),
        "minimum" | "minLength" | "minItems" => {
            (size(keyword, value)? < asked.as_i64()?, "is below")
        }
        "maximum" | "maxLength" | "maxItems" => {
            (size(keyword, value)? > asked.as_i64()?, "is above")
        }
        "pattern" => (
            !Regex::new(asked.as_str()?).unwrap().is_match(text?),
            "does not fit",
        ),
        "format" if asked == "date-time" => (Timestamp::parse(text?).is_none(), "is no"),
        "required" => {
            let fields = value.as_object()?;
            let mut names = asked.as_array()?.iter().filter_map(Value::as_str);
            (!names.all(|name| fields.contains_key(name)), "lacks one of")
        }
        _ => return None,
    };
    is_wrong.then_some(what)
}

/// What holds for the parts of a value, or for the same value by another schema.
fn below(
    root: &Value,
    keywords: &serde_json::Map<String, Value>,
    value: &Value,
    place: &str,
    found: &mut Vec<String>,
) {
    for (keyword, asked) in keywords {
        match keyword.as_str() {
            "$ref" => {
                let pointer = asked.as_str().unwrap().trim_start_matches('#');
                let schema = root.pointer(pointer).unwrap_or_else(|| panic!("{asked}"));
                check(root, schema, value, place, found);
            }
            "allOf" => {
                for schema in asked.as_array().unwrap() {
                    check(root, schema, value, place, found);
                }
            }
            "anyOf" | "oneOf" => {
                let each = asked.as_array().unwrap().iter();
                let each: Vec<_> = each.map(|schema| errors(root, schema, value)).collect();
                if each.iter().all(|errors| !errors.is_empty()) {
                    found.push(format!("{place}: none of {keyword}: {each:?}"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, asked, item, &format!("{place}/{index}"), found);
                }
            }
            "properties" => {
                for (name, schema) in asked.as_object().unwrap() {
                    if let Some(member) = value.get(name) {
                        check(root, schema, member, &format!("{place}/{name}"), found);
                    }
                }
            }
            "additionalProperties" => {
                let known = keywords.get("properties");
                for (name, member) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| known.get(name).is_none()) {
                        let place = format!("{place}/{name}");
                        if *asked == Value::Bool(false) {
                            found.push(format!("{place} is not known"));
                        } else {
                            check(root, asked, member, &place, found);
                        }
                    }
                }
            }
            "type" | "enum" | "const" | "minimum" | "maximum" | "minLength" | "maxLength"
            | "minItems" | "maxItems" | "pattern" | "format" | "required" => {}
            other => assert!(TELLING.contains(&other), "{other} is checked by nobody"),
        }
    }
}

fn types(asked: &Value) -> impl Iterator<Item = &str> {
    let one = asked.as_str();
    let many = asked.as_array().into_iter().flatten();
    one.into_iter().chain(many.filter_map(Value::as_str))
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("no type is called {name}"),
    }
}

/// What a bound is about: the number, or how long the text or list is.
fn size(keyword: &str, value: &Value) -> Option<i64> {
    let length = |count: usize| i64::try_from(count).ok();
    match keyword {
        "minimum" | "maximum" => value.as_i64(),
        "minLength" | "maxLength" => length(value.as_str()?.chars().count()),
        _ => length(value.as_array()?.len()),
    }
}

#[test]
fn each_keyword_refuses_what_it_is_for() {
    use serde_json::json;
    let root = json!({ "word": { "enum": ["a"] } });
    for (schema, good, bad) in [
        (
            json!({ "type": ["integer", "null"] }),
            json!(null),
            json!("1"),
        ),
        (json!({ "$ref": "#/word" }), json!("a"), json!("b")),
        (json!({ "const": 1 }), json!(1), json!(2)),
        (json!({ "minimum": 1, "maximum": 3 }), json!(3), json!(4)),
        (json!({ "minimum": 1 }), json!(1), json!(0)),
        (json!({ "maxLength": 2 }), json!("äö"), json!("äöü")),
        (json!({ "minItems": 1 }), json!([1]), json!([])),
        (json!({ "pattern": "^a+$" }), json!("aa"), json!("ab")),
        (
            json!({ "format": "date-time" }),
            json!("2026-02-10T00:00:00Z"),
            json!("today"),
        ),
        (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
        (
            json!({ "allOf": [{ "type": "string" }, { "minLength": 1 }] }),
            json!("a"),
            json!(""),
        ),
        (
            json!({ "anyOf": [{ "type": "string" }, { "const": 1 }] }),
            json!(1),
            json!(2),
        ),
        (
            json!({ "items": { "type": "string" } }),
            json!(["a"]),
            json!(["a", 1]),
        ),
        (
            json!({ "properties": { "a": { "const": 1 } } }),
            json!({ "a": 1 }),
            json!({ "a": 2 }),
        ),
        (
            json!({ "additionalProperties": false }),
            json!({}),
            json!({ "a": 1 }),
        ),
        (
            json!({ "additionalProperties": { "const": 1 } }),
            json!({ "a": 1 }),
            json!({ "a": 2 }),
        ),
    ] {
        assert_eq!(errors(&root, &schema, &good), [""; 0], "{schema} {good}");
        assert_ne!(errors(&root, &schema, &bad), [""; 0], "{schema} {bad}");
    }
}
