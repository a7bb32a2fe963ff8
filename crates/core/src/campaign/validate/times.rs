//! The zone of a campaign and local times in it. A time that a change of clocks
//! skips or repeats is refused: people would read it differently than we do.

use super::Findings;
use super::values::quoted;
use crate::campaign::file::{CampaignSection, nearest};
use crate::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The zone of that name, UTC if absent; `None` if nobody knows it.
pub(super) fn zone(name: Option<&str>, found: &mut Findings) -> Option<TimeZone> {
    let Some(name) = name else {
        return Some(TimeZone::UTC);
    };
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown());
    if zone.is_none() {
        let known: Vec<String> = jiff::tz::db()
            .available()
            .map(|zone| zone.to_string())
            .collect();
        let mend = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write an IANA name as \"Asia/Shanghai\", or \"UTC\"".to_owned(),
        };
        found.report(
            "/campaign/time_zone",
            format!("no time zone is called {}", quoted(name)),
            mend,
        );
    }
    zone
}

/// Start and end of the period, in this order.
pub(super) fn period(
    campaign: &CampaignSection,
    zone: Option<&TimeZone>,
    found: &mut Findings,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut read =
        |key: &str, text: Option<&str>| local(&format!("/campaign/{key}"), key, text?, zone, found);
    let starts_at = read("starts_at", campaign.starts_at.as_deref());
    let ends_at = read("ends_at", campaign.ends_at.as_deref());
    if let Some((start, end)) = starts_at.zip(ends_at)
        && end <= start
    {
        let start = campaign.starts_at.as_deref().unwrap_or_default();
        let mend = format!("make `ends_at` later than {start}, or remove it");
        found.report(
            "/campaign/ends_at",
            "`ends_at` is not after `starts_at`",
            mend,
        );
    }
    (starts_at, ends_at)
}

/// The instant of a local time `2026-02-10T00:00:00` in `zone`; seconds may be
/// left out or have up to 6 decimals. Only the form is checked without a zone.
pub(super) fn local(
    path: &str,
    key: &str,
    text: &str,
    zone: Option<&TimeZone>,
    found: &mut Findings,
) -> Option<Timestamp> {
    let Some(civil) = civil(text) else {
        found.report(
            path,
            format!("`{key}` is {}, which is not a local time", quoted(text)),
            {
                match (text.parse::<jiff::Timestamp>(), zone) {
                    (Ok(at), Some(zone)) => {
                        format!(
                            "write the time in the campaign's zone: \"{}\"",
                            zone.to_datetime(at)
                        )
                    }
                    _ => "write it like \"2026-02-10T00:00:00\"".to_owned(),
                }
            },
        );
        return None;
    };
    let zone = zone?;
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let (fault, before, after) = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            let at = offset
                .to_timestamp(civil)
                .ok()
                .map(|at| Timestamp(at.as_microsecond()));
            if at.is_none() {
                found.report(
                    path,
                    format!("`{key}` is out of range"),
                    "choose a nearer year",
                );
            }
            return at;
        }
        AmbiguousOffset::Gap { before, after } => ("does not exist: clocks skip it", before, after),
        AmbiguousOffset::Fold { before, after } => {
            ("happens twice: clocks repeat it", before, after)
        }
    };
    // Of both offsets the greater one ends the skipped or repeated hour.
    let offset = before.max(after);
    let mend = offset
        .to_timestamp(civil)
        .ok()
        .and_then(|at| zone.following(at).next())
        .map_or_else(
            || "choose a time at least an hour away".to_owned(),
            |change| {
                format!(
                    "choose another time, for example \"{}\"",
                    offset.to_datetime(change.timestamp())
                )
            },
        );
    let name = zone.iana_name().unwrap_or("the campaign's zone");
    found.report(path, format!("{civil} {fault} in {name} that day"), mend);
    None
}

/// Strictly `YYYY-MM-DDThh:mm[:ss[.ffffff]]`: no offset, no zone, no leap second.
fn civil(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let has_form = |text: &str, form: &str| {
        text.len() == form.len()
            && text
                .bytes()
                .zip(form.bytes())
                .all(|(byte, form)| match form {
                    b'0' => byte.is_ascii_digit(),
                    _ => byte == form,
                })
    };
    let has_seconds = has_form(clock, "00:00:00");
    let is_form = has_form(date, "0000-00-00")
        && (has_seconds || clock == time && has_form(clock, "00:00"))
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && !(has_seconds && clock.ends_with(":60"));
    is_form.then(|| text.parse().ok()).flatten()
}
