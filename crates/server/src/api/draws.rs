//! Draws.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ids::ID_MAX;
use tombola_core::limits;
use tombola_store::read::Outcome;

/// `POST /v1/campaigns/{campaign}/draws`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawBody {
    /// Who draws: 1 to 128 bytes.
    #[schemars(length(min = 1, max = limits::USER_BYTES_MAX))]
    pub user: String,
    /// How many draws, 1 to 100: one transaction, all or none.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = limits::DRAWS_PER_REQUEST_MAX))]
    pub count: u64,
}

const fn one() -> u64 {
    1
}

/// The draws of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrawsDoc {
    /// One for each draw asked for.
    pub draws: Vec<DrawDoc>,
}

/// One draw, as facts that never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrawDoc {
    /// Its id.
    #[schemars(range(min = 1, max = ID_MAX))]
    pub id: i64,
    /// The campaign's slug.
    pub campaign: String,
    /// Who drew.
    pub user: String,
    /// `won` or `nothing`.
    #[schemars(extend("enum" = ["won", "nothing"]))]
    pub outcome: String,
    /// The prize's slug, if one was won.
    pub prize: Option<String>,
    /// When.
    pub drawn_at: Timestamp,
    /// Of a win: its award as it was at the draw.
    pub award: Option<AwardStub>,
    /// Where it is read back: the client that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// An award as it was at the draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwardStub {
    /// Its id, which is the draw's.
    #[schemars(range(min = 1, max = ID_MAX))]
    pub id: i64,
    /// How it is delivered.
    #[schemars(with = "Kind")]
    pub kind: String,
    /// The state that it began in.
    #[schemars(with = "State")]
    pub state: String,
    /// What the winner shows to see the award, for `physical`, `text` and `code`.
    pub claim_token: Option<String>,
}

/// `GET /v1/draws`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrawQuery {
    /// Of this campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// By this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// With this outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// That won this prize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prize: Option<String>,
    /// Asked for by this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Since then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before then: RFC 3339, or a span such as `2h`.
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
