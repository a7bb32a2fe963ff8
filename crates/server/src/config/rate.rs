//! A rate as people write it, `20/s` or `600/m`, or nothing for no limit.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::time::Duration;
use tombola_core::endpoint::{self, parse_rate};

/// A rate of the config; empty: no limit. The number says also how many may come at
/// once: `20/s` and `1200/m` let through as many in the long run, the second in
/// larger bursts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub Option<endpoint::Rate>);

impl Rate {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// So many a minute.
    pub const fn per_minute(count: u32) -> Self {
        Self(Some(endpoint::Rate {
            count,
            per: Duration::from_mins(1),
        }))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Some(rate) = self.0 else {
            return to.serialize_str("");
        };
        let unit = match rate.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        to.collect_str(&format_args!("{}/{unit}", rate.count))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self::NONE);
        }
        let rate = parse_rate(&text).ok_or_else(|| {
            D::Error::custom("write a number per s, m or h, such as 50/s, or nothing for no limit")
        })?;
        Ok(Self(Some(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["", "20/s", "600/m", "5/h"] {
            let rate: Rate = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(rate).unwrap(), text);
        }
        for bad in ["20", "0/s", "-1/s", "20/d", "many/s", "2000000/s"] {
            assert!(serde_json::from_value::<Rate>(bad.into()).is_err(), "{bad}");
        }
    }
}
