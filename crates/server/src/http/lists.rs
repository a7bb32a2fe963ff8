//! Lists in bodies. serde takes a list for a struct, its fields in their order: `[]`
//! would be a filter that matches all. Where a body has a list, the schema of its type
//! says whether one belongs there.

use super::error::ApiError;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// Refuses a list where none belongs, with a pointer to it.
pub(super) fn refuse_misplaced<T: JsonSchema>(text: &str) -> Result<(), ApiError> {
    if !text.contains('[') {
        return Ok(());
    }
    let settings = SchemaSettings::default().with(|it| it.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let value = serde_json::from_str(text).unwrap_or_default();
    match misplaced(schema.as_value(), &value) {
        Some(pointer) => Err(ApiError::field(pointer, "a list is not taken here")),
        None => Ok(()),
    }
}

fn misplaced(schema: &Value, value: &Value) -> Option<String> {
    // What may be null as well is the first of two.
    let schema = schema.pointer("/anyOf/0").unwrap_or(schema);
    match value {
        Value::Array(items) => match schema.get("items") {
            None => Some(String::new()),
            Some(each) => (0..).zip(items).find_map(|(place, item)| {
                let below = misplaced(each, item)?;
                Some(format!("/{place}{below}"))
            }),
        },
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let below = misplaced(&schema["properties"][name], member)?;
            Some(format!("/{name}{below}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Address, BulkBody, RequeueBody};
    use crate::http::error::Code;

    fn pointer<T: JsonSchema>(text: &str) -> Option<Value> {
        let error = refuse_misplaced::<T>(text).err()?;
        assert_eq!(error.code, Code::InvalidBody);
        Some(error.extra["errors"][0]["pointer"].clone())
    }

    #[test]
    fn list_in_place_of_an_object_is_refused_at_every_depth() {
        assert_eq!(pointer::<BulkBody>("[{}, true]"), Some("".into()));
        assert_eq!(
            pointer::<BulkBody>(r#"{"filter":[]}"#),
            Some("/filter".into())
        );
        assert_eq!(
            pointer::<RequeueBody>(r#"{"filter":[]}"#),
            Some("/filter".into())
        );
        assert_eq!(
            pointer::<Address>(r#"{"lines":[["a"]]}"#),
            Some("/lines/0".into())
        );
    }

    #[test]
    fn list_where_it_belongs_and_bracket_in_a_text_are_taken() {
        assert_eq!(pointer::<RequeueBody>(r#"{"ids":[1,2]}"#), None);
        assert_eq!(pointer::<Address>(r#"{"lines":["a [b]"]}"#), None);
        assert_eq!(pointer::<BulkBody>(r#"{"filter":{},"reason":"[x]"}"#), None);
    }
}
