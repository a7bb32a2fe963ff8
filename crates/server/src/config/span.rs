//! A span of time as people write it: `500ms`, `10s`, `5m`, `24h`, `7d`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::time::Duration;
use tombola_core::endpoint::parse_span;

/// A span of time of the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
        ];
        match units
            .into_iter()
            .find(|(_, each)| ms >= *each && ms.is_multiple_of(*each))
        {
            Some((unit, each)) => write!(f, "{}{unit}", ms / each),
            None => write!(f, "{ms}ms"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let span = parse_span(&text).ok_or_else(|| {
            D::Error::custom("write a whole number with ms, s, m, h or d, such as 10s")
        })?;
        Ok(Self(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_in_the_largest_unit_that_is_exact() {
        let shown = [500, 1000, 90_000, 3_600_000, 172_800_000]
            .map(|ms| Span(Duration::from_millis(ms)).to_string());
        assert_eq!(shown, ["500ms", "1s", "90s", "1h", "2d"]);
    }
}
