//! The secrets of the data directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::limits;

/// `POST /v1/secrets/rotate`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecretRotateBody {
    /// Versions that sealed rows are gone for good: codes may be imported again, and
    /// those that were imported before are no longer noticed.
    pub after_loss: bool,
    /// Why; goes into the operator log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// The version that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretRotatedDoc {
    /// It signs and seals from now on; older rows are sealed anew behind the answer.
    pub version: i32,
}
