//! Endpoints: the outside services that deliver awards of kind `webhook`. They are
//! defined apart from campaigns; a campaign names one, and every award of it has
//! the endpoint's id as its lane.

use crate::limits;
use crate::signing::SigningSecret;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an operator says of an endpoint; the file and the API body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// Unique, `[a-z0-9-]{1,40}`.
    #[cfg_attr(feature = "schema", schemars(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub name: String,
    /// `http` or `https`, with a host.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^https?://")))]
    pub url: String,
    /// `whsec_…`; the CLI reads `secret_file` into it. Absent: the one kept, or a
    /// new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^whsec_")))]
    pub secret: Option<String>,
    /// Whether the service honours the delivery key. It must be said.
    pub idempotent: bool,
    /// Whether its 409 means "delivered before".
    #[serde(default)]
    pub conflict_means_delivered: bool,
    /// Deadline of one call, such as `10s`; at most 30 s.
    #[serde(default = "default_timeout")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-9]+(ms|s)$")))]
    pub timeout: String,
    /// Calls in flight per process.
    #[serde(default = "default_concurrency")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::ENDPOINT_CONCURRENCY_MAX)))]
    pub concurrency: u32,
    /// Calls per process and time, such as `50/s` or `100/m`; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[0-9]+/[smh]$")))]
    pub rate: Option<String>,
    /// Whether it may resolve to a private address.
    #[serde(default)]
    pub allow_private: bool,
}

fn default_timeout() -> String {
    "10s".to_owned()
}

const fn default_concurrency() -> u32 {
    16
}

/// Why an endpoint is not accepted: the field, what is wrong and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct EndpointProblem {
    /// Its key in the file.
    pub field: &'static str,
    /// What is wrong, and the mend.
    pub what: &'static str,
}

/// A checked endpoint as the engine uses it.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts that an operator states by these names"
)]
pub struct Endpoint {
    /// Its id: the lane of its awards, above 0.
    pub lane: i64,
    /// Its name.
    pub name: String,
    /// Where it is called.
    pub url: String,
    /// Signing secrets, the newest first; several after a change, until the older
    /// ones end.
    pub secrets: Vec<SigningSecret>,
    /// Whether it honours the delivery key.
    pub is_idempotent: bool,
    /// Whether its 409 means "delivered before".
    pub conflict_means_delivered: bool,
    /// Deadline of one call.
    pub timeout: Duration,
    /// Calls in flight per process.
    pub concurrency: u32,
    /// Shortest time between two calls of one process, if limited.
    pub interval: Option<Duration>,
    /// Whether it may resolve to a private address.
    pub allow_private: bool,
    /// Whether it may be called.
    pub is_enabled: bool,
}

// Secrets never enter logs, so they are not in the debug form.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("lane", &self.lane)
            .field("name", &self.name)
            .field("is_enabled", &self.is_enabled)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The secrets that sign at that instant, the newest first.
    pub fn secrets_at(&self, now: Timestamp) -> Vec<&str> {
        let live = self.secrets.iter().filter(|it| it.signs_at(now));
        live.map(|it| it.text.as_str()).collect()
    }
}

impl EndpointSpec {
    /// Checks it and gives it its lane and secrets.
    pub fn check(
        &self,
        lane: i64,
        secrets: Vec<SigningSecret>,
        is_enabled: bool,
    ) -> Result<Endpoint, EndpointProblem> {
        let problem = |field, what| Err(EndpointProblem { field, what });
        let is_slug = (1..=limits::SLUG_BYTES_MAX).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_slug {
            return problem("name", "use 1 to 40 of a-z, 0-9 and -");
        }
        if !(self.url.starts_with("https://") || self.url.starts_with("http://")) {
            return problem("url", "begin with https:// or http://");
        }
        if !(1..=limits::ENDPOINT_CONCURRENCY_MAX).contains(&self.concurrency) {
            return problem("concurrency", "use 1 to 1024");
        }
        let Some(timeout) = parse_span(&self.timeout)
            .filter(|span| !span.is_zero() && *span <= limits::CALL_TIMEOUT_MAX)
        else {
            return problem("timeout", "use 1s to 30s");
        };
        let interval = match self.rate.as_deref() {
            None => None,
            Some(text) => match parse_rate(text) {
                Some(rate) => Some(rate.interval()),
                None => return problem("rate", "use a number per s, m or h, such as 50/s"),
            },
        };
        Ok(Endpoint {
            lane,
            name: self.name.clone(),
            url: self.url.clone(),
            secrets,
            is_idempotent: self.idempotent,
            conflict_means_delivered: self.conflict_means_delivered,
            timeout,
            concurrency: self.concurrency,
            interval,
            allow_private: self.allow_private,
            is_enabled,
        })
    }
}

/// Reads a whole number with one of `ms, s, m, h, d`.
pub fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// A second, a minute or an hour.
    pub per: Duration,
}

impl Rate {
    /// The time between two, when they are evenly spaced.
    pub fn interval(self) -> Duration {
        self.per / self.count
    }
}

/// Reads a whole number per `s`, `m` or `h`, such as `50/s`.
pub fn parse_rate(text: &str) -> Option<Rate> {
    let (number, unit) = text.split_once('/')?;
    let count: u32 = number
        .parse()
        .ok()
        .filter(|number| (1..=limits::ENDPOINT_RATE_MAX).contains(number))?;
    let per = match unit {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return None,
    };
    Some(Rate { count, per })
}
