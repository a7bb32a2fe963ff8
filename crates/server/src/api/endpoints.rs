//! Endpoints: a new secret, and a test call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::decision::DecisionName;
use tombola_core::limits;

/// `POST /v1/endpoints/{name}/rotate-secret`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointRotateBody {
    /// Why; goes into the operator log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
    /// How long the secrets before it sign as well, such as `24h`, at most `7d`. `0s`
    /// ends all of them now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))]
    pub overlap: Option<String>,
}

/// A secret that was made for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointRotatedDoc {
    /// The endpoint's name.
    pub endpoint: String,
    /// The secret, shown this once. It signs from now on.
    pub new_secret: String,
    /// Until when those before it sign as well, the newest of them first.
    pub older_secrets_end_at: Vec<Timestamp>,
}

/// What came of a test call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointTestDoc {
    /// The endpoint's name.
    pub endpoint: String,
    /// Whether an award would have been delivered by such an answer.
    pub is_ok: bool,
    /// What such an answer means for an award.
    pub decision: DecisionName,
    /// The HTTP status, where a whole answer came.
    pub status: Option<u16>,
    /// What was wrong, if anything was.
    pub error: Option<String>,
    /// From the beginning of the call to the end of its answer.
    pub took_ms: u64,
    /// `webhook-id` of the call: the receiver's log has it.
    pub webhook_id: String,
    /// What to do about it, if anything is to be done.
    pub mend: Option<String>,
}
