//! Keys of the API.

use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::ports::Role;

/// `POST /v1/keys`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyBody {
    /// What it may do.
    pub role: Role,
    /// The program that will use it: scope of its request keys. The role's name if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The campaigns that it may speak of; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub campaigns: Vec<String>,
}

/// One key as lists show it; never the key itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDoc {
    /// Names it.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayerTokenBody {
    /// The campaign's slug.
    pub campaign: String,
    /// Who plays: 1 to 128 bytes.
    pub user: String,
    /// How long the token is good, such as `15m`: 1h if absent, at most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// A token for the page of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyMadeDoc {
    /// As lists show it.
    #[serde(flatten)]
    pub about: KeyDoc,
    /// The key itself, shown this once.
    pub key: String,
}
