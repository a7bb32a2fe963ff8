//! Dead letters, pauses of deliveries, endpoints, the operator log, the audit.

use super::{EndpointFact, LetterReason, OutcomeWord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombola_core::campaign::Kind;
use tombola_core::ids::ID_MAX;
use tombola_core::limits;
use tombola_core::ports::{BulkFilter, PauseScope};

/// `GET /v1/dead-letters`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterQuery {
    /// Of this campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Given up on, or kept, for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = LetterReason::names().collect::<Vec<_>>()))]
    pub reason: Option<LetterReason>,
    /// Drawn, or kept, since then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Drawn, or kept, before then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Rows of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_MAX), extend("default" = limits::PAGE_DEFAULT))]
    pub limit: Option<usize>,
}

/// `POST /v1/dead-letters/requeue`: these awards, or all that match the filter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequeueBody {
    /// These awards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::STEP_ROWS_MAX), inner(range(min = 1, max = ID_MAX)))]
    pub ids: Vec<i64>,
    /// All that match: then it is an operation, to be followed by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<BulkFilter>,
    /// Only count.
    pub dry_run: bool,
    /// Spread them over this time, such as `10m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))]
    pub over: Option<String>,
    /// The word on unknown outcomes; only `not-delivered` lets them be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeWord>,
    /// Why; goes into the operator log. Needed with `ids`, unless it only counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// A dead letter that was dismissed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DismissedDoc {
    /// An award's id, or `m<number>` of a message.
    pub id: String,
}

/// What a requeue of single awards did, or what any requeue would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct RequeuedDoc {
    /// Only counted.
    pub dry_run: bool,
    /// Dead letters that match.
    pub matched: u64,
    /// Put back, or that would be.
    pub requeued: u64,
    /// Left: an effect may exist and the word was not given.
    pub in_doubt: u64,
    /// Left: no dead letter of that id.
    pub not_found: u64,
}

/// `POST /v1/deliveries/pause, resume`; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// Of this campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Of this prize; needs the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prize: Option<String>,
    /// To this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Why; goes into the operator log.
    #[schemars(required, length(min = 1, max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

impl PauseBody {
    /// Which deliveries.
    pub fn scope(&self) -> PauseScope {
        PauseScope {
            campaign: self.campaign.clone(),
            prize: self.prize.clone(),
            endpoint: self.endpoint.clone(),
        }
    }
}

/// What a pause or a resume did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseDoc {
    /// Whether deliveries of that scope are paused now.
    pub paused: bool,
    /// Which.
    pub scope: PauseScope,
    /// Held awards that were released.
    pub released: u64,
}

/// What `PUT /v1/endpoints/{name}` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointPutDoc {
    /// The endpoint as it is now.
    #[serde(flatten)]
    pub endpoint: EndpointFact,
    /// A secret that was made for it, shown this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_secret: Option<String>,
}

/// `GET /v1/log`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogQuery {
    /// Since then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// By this client name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// About this award.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = ID_MAX))]
    pub award: Option<i64>,
    /// Whose action begins like that, such as `award` or `award hold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Rows of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_MAX), extend("default" = limits::PAGE_DEFAULT))]
    pub limit: Option<usize>,
}

/// `GET /v1/audit`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// Also replay every draw from its roll and its rules.
    pub full: bool,
}

/// Whether the server is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyDoc {
    /// Whether all is well.
    pub ready: bool,
    /// Each dependency: `ok`, what is the matter, or `degraded: …` for what the process
    /// goes on without.
    pub checks: BTreeMap<String, String>,
}

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionDoc {
    /// Of the program.
    pub version: String,
    /// The database's own uuid, the `origin` of its messages.
    pub origin: String,
}
