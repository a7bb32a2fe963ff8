//! Instants as microseconds since the Unix epoch: one `i64` in memory, in both
//! databases and in every comparison. Text is RFC 3339 in UTC.

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::time::Duration;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant moved forward by `by`, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// This instant moved back by `by`, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// The time from `earlier` to this instant, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339, `None` if the text is not an instant.
    pub fn parse(text: &str) -> Option<Self> {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(Self(at.as_microsecond()))
    }

    /// The same instant for calendar arithmetic; the ends of jiff's range beyond it.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The civil day of this instant in `zone`, as days since 1970-01-01.
    pub fn civil_day(self, zone: &TimeZone) -> CivilDay {
        let date = zone.to_datetime(self.to_jiff()).date();
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        CivilDay(
            epoch
                .duration_until(date)
                .as_hours()
                .div_euclid(24)
                .try_into()
                .unwrap_or(0),
        )
    }
}

/// A calendar day in some zone, as days since 1970-01-01.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CivilDay(pub i32);

impl CivilDay {
    /// The first instant of the day after this one in `zone`: when daily limits begin anew.
    pub fn next_start(self, zone: &TimeZone) -> Timestamp {
        let epoch = jiff::civil::Date::constant(1970, 1, 1);
        let hours = i64::from(self.0.saturating_add(1)) * 24;
        epoch
            .checked_add(jiff::SignedDuration::from_hours(hours))
            .ok()
            .and_then(|date| {
                zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0))
                    .compatible()
                    .ok()
            })
            .map_or(Timestamp(i64::MAX), |at| Timestamp(at.as_microsecond()))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_jiff())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected an instant as RFC 3339"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_day_follows_the_zone_across_midnight_and_daylight_saving() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let before = Timestamp::parse("2026-02-09T15:59:59.999999Z").unwrap();
        let after = Timestamp::parse("2026-02-09T16:00:00Z").unwrap();
        assert_eq!(
            after.civil_day(&shanghai).0,
            before.civil_day(&shanghai).0 + 1
        );
        assert_eq!(before.civil_day(&shanghai).next_start(&shanghai), after);
        let new_york = TimeZone::get("America/New_York").unwrap();
        let spring = Timestamp::parse("2026-03-08T12:00:00Z").unwrap();
        assert_eq!(
            spring.civil_day(&new_york).next_start(&new_york),
            Timestamp::parse("2026-03-09T04:00:00Z").unwrap()
        );
    }

    #[test]
    fn text_round_trips_to_the_microsecond() {
        let at = Timestamp(1_771_000_000_123_456);
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        assert_eq!(at.to_string(), "2026-02-13T16:26:40.123456Z");
    }

    #[test]
    fn civil_days_before_the_epoch_do_not_round_toward_it() {
        assert_eq!(Timestamp(-1).civil_day(&TimeZone::UTC), CivilDay(-1));
        assert_eq!(Timestamp(0).civil_day(&TimeZone::UTC), CivilDay(0));
    }
}
