//! A struct of a body is an object. serde takes a list for it as well, its fields in
//! their order, and absent ones by default: `[]` would be a filter that matches all.

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// Gives what the value gives, except that a list is neither a struct nor a map, at no
/// depth. What types buffer before they read it (`untagged`, `flatten`, `tag`) passes by
/// here, so no body has such types.
pub(super) struct Objects(pub(super) Value);

type Members = MapDeserializer<'static, Box<dyn Iterator<Item = (String, Objects)>>, Error>;

fn members(object: Map<String, Value>) -> MapAccessDeserializer<Members> {
    let members = object
        .into_iter()
        .map(|(name, value)| (name, Objects(value)));
    MapAccessDeserializer::new(MapDeserializer::new(Box::new(members)))
}

impl<'de> Deserializer<'de> for Objects {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                SeqDeserializer::new(items.into_iter().map(Objects)).deserialize_any(visitor)
            }
            Value::Object(object) => members(object).deserialize_any(visitor),
            flat @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                flat.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_array() {
            return Err(Error::custom("use an object, not a list"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Value::Object(object) = self.0 {
            return members(object).deserialize_enum(name, variants, visitor);
        }
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Objects {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Default, Deserialize)]
    #[serde(default)]
    struct Point {
        x: u8,
        y: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapped(Point);

    #[derive(Debug, PartialEq, Deserialize)]
    enum Shape {
        Empty,
        Dot(Point),
        Line { from: Point, to: Point },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Drawing {
        wrapped: Wrapped,
        maybe: Option<Point>,
        shapes: Vec<Shape>,
        named: BTreeMap<String, Point>,
        pair: (u8, Point),
    }

    fn whole() -> Value {
        json!({
            "wrapped": { "x": 1, "y": "[]" },
            "maybe": {},
            "shapes": ["Empty", { "Dot": { "x": 2 } }, { "Line": { "from": {}, "to": {} } }],
            "named": { "a": { "y": null } },
            "pair": [3, {}]
        })
    }

    #[test]
    fn what_has_no_list_for_a_struct_reads_as_ever() {
        let ours = Drawing::deserialize(Objects(whole())).unwrap();
        assert_eq!(ours, Drawing::deserialize(whole()).unwrap());
    }

    #[test]
    fn list_is_no_struct_and_no_map_at_any_depth() {
        for pointer in [
            "",
            "/wrapped",
            "/maybe",
            "/shapes/1/Dot",
            "/shapes/2/Line",
            "/shapes/2/Line/to",
            "/named",
            "/named/a",
            "/pair/1",
        ] {
            let mut value = whole();
            *value.pointer_mut(pointer).unwrap() = json!([]);
            let error = Drawing::deserialize(Objects(value)).unwrap_err();
            assert_eq!(error.to_string(), "use an object, not a list", "{pointer}");
        }
    }
}
