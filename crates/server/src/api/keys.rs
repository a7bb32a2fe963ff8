//! Keys of the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::ids::ID_MAX;
use tombola_core::limits;
use tombola_core::ports::Role;

/// `POST /v1/keys`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// What it may do.
    pub role: Role,
    /// The program that will use it: scope of its request keys. The role's name if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::CLIENT_BYTES_MAX), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub client: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The campaigns that it may speak of; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::KEY_CAMPAIGNS_MAX), inner(length(max = limits::SLUG_BYTES_MAX), regex(pattern = "^[a-z0-9-]+$")))]
    pub campaigns: Vec<String>,
}

/// One key as lists show it; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyDoc {
    /// Names it.
    #[schemars(range(min = 1, max = ID_MAX))]
    pub id: i64,
    /// The program that uses it.
    pub client: String,
    /// What it may do.
    pub role: Role,
    /// The campaigns that it may speak of; empty: all.
    pub campaigns: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// `POST /v1/player-tokens`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlayerTokenBody {
    /// The campaign's slug.
    pub campaign: String,
    /// Who plays: 1 to 128 bytes.
    #[schemars(length(min = 1, max = limits::USER_BYTES_MAX))]
    pub user: String,
    /// How long the token is good, such as `15m`: 1h if absent, at most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]+(ms|s|m|h|d)$"))]
    pub ttl: Option<String>,
}

/// A token for the page of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlayerTokenDoc {
    /// Draws in the campaign as the user, and sees what it won.
    pub token: String,
    /// The campaign's slug.
    pub campaign: String,
    /// Who plays.
    pub user: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyMadeDoc {
    /// As lists show it.
    #[serde(flatten)]
    pub about: KeyDoc,
    /// The key itself, shown this once.
    pub key: String,
}
