//! Checks of single values: slugs, names, counts, durations, texts.

use super::Findings;
pub(super) use crate::campaign::file::quoted;
use crate::limits::{SLUG_BYTES_MAX, SPAN_DAYS_MAX, WEIGHT_TOTAL_MAX};
use std::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// `[a-z0-9-]{1,40}`.
pub(super) fn slug(path: &str, key: &str, text: &str, found: &mut Findings) {
    if text.is_empty() {
        let mend = format!("write `{key} = \"…\"`, lower-case letters, digits and hyphens");
        found.report(path, format!("`{key}` is missing or empty"), mend);
        return;
    }
    let is_slug_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() > SLUG_BYTES_MAX || !text.bytes().all(is_slug_byte) {
        let what = format!(
            "`{key}` is {}, which is not {}",
            quoted(text),
            "[a-z0-9-]{1,40}"
        );
        found.report(
            path,
            what,
            format!("for example {:?}", suggested_slug(text)),
        );
    }
}

/// The nearest text that is a slug: words in lower case, joined by hyphens.
fn suggested_slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    let cut: String = joined.chars().take(SLUG_BYTES_MAX).collect();
    if cut.is_empty() {
        "autumn-fair".to_owned()
    } else {
        cut.trim_end_matches('-').to_owned()
    }
}

/// 1 to `bytes_max` bytes without control characters.
pub(super) fn name(path: &str, text: &str, bytes_max: usize, found: &mut Findings) {
    if text.trim().is_empty() {
        found.report(
            path,
            "`name` is missing or empty",
            "write `name = \"…\"`, shown to people",
        );
    } else if text.len() > bytes_max {
        let what = format!("`name` holds {} bytes, more than {bytes_max}", text.len());
        found.report(path, what, "write a shorter one");
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        let what = format!(
            "`name` has the control character U+{:04X}",
            u32::from(control)
        );
        found.report(path, what, "remove it: names are one line");
    }
}

/// 1 to `bytes_max` bytes without NUL, which `PostgreSQL` cannot keep. `None` if absent.
pub(super) fn text(
    path: &str,
    key: &str,
    text: Option<&str>,
    bytes_max: usize,
    found: &mut Findings,
) -> Option<String> {
    let text = text?;
    if text.is_empty() || text.len() > bytes_max {
        let what = format!(
            "`{key}` holds {} bytes, and has to hold 1 to {bytes_max}",
            text.len()
        );
        found.report(
            path,
            what,
            if text.is_empty() {
                "write it or remove the key"
            } else {
                "write a shorter one"
            },
        );
    }
    if text.contains('\0') {
        found.report(path, format!("`{key}` has a NUL byte"), "remove it");
    }
    Some(text.to_owned())
}

/// A whole number from `least` to 2^40. `None` if absent or wrong.
pub(super) fn count(
    path: &str,
    key: &str,
    value: Option<i64>,
    least: u64,
    found: &mut Findings,
) -> Option<u64> {
    let value = value?;
    match u64::try_from(value) {
        Ok(count) if (least..=WEIGHT_TOTAL_MAX).contains(&count) => Some(count),
        Ok(_) | Err(_) => {
            let what = format!("`{key}` is {value}, and has to be {least} to {WEIGHT_TOTAL_MAX}");
            found.report(
                path,
                what,
                format!("write another number, or remove `{key}`: absent is unlimited"),
            );
            None
        }
    }
}

/// A span as `14d`, `12h`, `30m` or `10s`, from one second to 400 days;
/// `default_days` if absent.
pub(super) fn duration(
    path: &str,
    key: &str,
    text: Option<&str>,
    default_days: u64,
    found: &mut Findings,
) -> Duration {
    let default = Duration::from_secs(default_days * DAY_SECONDS);
    let Some(text) = text else { return default };
    match seconds(text) {
        Some(seconds) if (1..=SPAN_DAYS_MAX * DAY_SECONDS).contains(&seconds) => {
            return Duration::from_secs(seconds);
        }
        Some(_) => {
            let what = format!(
                "`{key}` is {}, and has to be 1s to {SPAN_DAYS_MAX}d",
                quoted(text)
            );
            found.report(path, what, format!("for example \"{default_days}d\""));
        }
        None => {
            let what = format!("`{key}` is {}, which is not a duration", quoted(text));
            found.report(
                path,
                what,
                format!("write a whole number and d, h, m or s, as \"{default_days}d\""),
            );
        }
    }
    default
}

fn seconds(text: &str) -> Option<u64> {
    let units = [('d', DAY_SECONDS), ('h', 60 * 60), ('m', 60), ('s', 1)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, size)| Some((text.strip_suffix(*unit)?, size)))?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| {
        number
            .parse::<u64>()
            .unwrap_or(u64::MAX)
            .saturating_mul(*unit)
    })
}
