//! Reading an endpoint's answer: its body up to a bound, its receipt, its wish for a
//! pause.

use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::limits;

/// The body, if it came whole or up to the bound; an error if it broke off before.
/// Beyond the bound nothing is read: the status is the answer, and such a body is no
/// receipt.
pub(super) async fn read_body(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limits::ANSWER_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The field `receipt` of a JSON answer, cut to its bound.
pub(super) fn receipt(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let text = match answer.get("receipt")? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    Some(cut(text, limits::RECEIPT_BYTES_MAX))
}

/// The text, cut between two characters so that it has that many bytes at most.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// `Retry-After`, in seconds or as a date.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = Timestamp(i64::try_from(since.as_micros()).ok()?);
    Some(at.since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())])
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = Timestamp::parse("2026-02-13T16:26:40Z").unwrap();
        let read = |text| retry_after(&header(text), now).map(|span| span.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Fri, 13 Feb 2026 16:27:40 GMT"), Some(60));
        assert_eq!(read("Fri, 13 Feb 2026 16:00:00 GMT"), Some(0));
        assert_eq!(read("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn receipt_is_kept_as_text_and_cut_between_characters() {
        assert_eq!(receipt(br#"{"receipt":"r-1"}"#).as_deref(), Some("r-1"));
        assert_eq!(
            receipt(br#"{"receipt":{"n":1}}"#).as_deref(),
            Some(r#"{"n":1}"#)
        );
        for body in [&b""[..], b"thanks", b"[]", b"{}", br#"{"receipt":null}"#] {
            assert_eq!(receipt(body), None);
        }
        let max = limits::RECEIPT_BYTES_MAX;
        let kept = |text: String| {
            let answer = serde_json::json!({ "receipt": text }).to_string();
            receipt(answer.as_bytes()).map(|text| text.len())
        };
        assert_eq!(kept("x".repeat(max)), Some(max));
        assert_eq!(kept("x".repeat(max + 1)), Some(max));
        assert_eq!(kept("é".repeat(max)), Some(max));
        assert_eq!(kept(format!("x{}", "é".repeat(max))), Some(max - 1));
    }
}
