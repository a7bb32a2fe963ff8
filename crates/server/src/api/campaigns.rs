//! Campaigns, their prizes, odds, codes and stock.

use super::CampaignDetail;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::campaign::{CampaignFile, CampaignState};
use tombola_core::limits;

/// What `PUT /v1/campaigns/{campaign}` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// The version that says this.
    pub version: i32,
    /// Whether a new version was made; `false`: the newest said the same.
    pub changed: bool,
    /// What a start would refuse, or a person should know.
    pub warnings: Vec<String>,
}

/// One campaign with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CampaignShow {
    /// The campaign, its prizes and what became of them.
    #[serde(flatten)]
    pub detail: CampaignDetail,
    /// The campaign file of `version`.
    pub file: CampaignFile,
    /// The campaign file of `next_version`, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_file: Option<CampaignFile>,
}

/// `POST /v1/campaigns/{campaign}/transitions`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionBody {
    /// A command such as `submit`, `approve`, `start`, or the state it leads to, such
    /// as `started`.
    #[schemars(extend("enum" = ["submit", "withdraw", "refuse", "approve", "start", "pause", "resume", "close", "reopen", "draft", "submitted", "approved", "started", "paused", "closed", "refused"]))]
    pub to: String,
    /// Why; goes into the operator log. `refuse` needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// What a transition did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransitionDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// Where it, or its newest version, stands now.
    pub state: CampaignState,
    /// That version.
    pub version: i32,
}

/// The odds of a campaign, declared and effective.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OddsDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// The version in force.
    pub version: i32,
    /// `no_win`, `spread` or `fallback`.
    #[schemars(extend("enum" = ["no_win", "spread", "fallback"]))]
    pub on_unavailable: String,
    /// Each prize, then nothing (`prize` null).
    pub odds: Vec<OddsOf>,
}

/// The odds of one outcome, in percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OddsOf {
    /// The prize's slug; null is nothing.
    pub prize: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What the file says.
    pub declared: String,
    /// What a draw gets now, with what is out of stock or over its daily cap.
    pub effective: String,
}

/// `POST …/prizes/{prize}/codes`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImportQuery {
    /// Pass by codes that the campaign has already.
    pub skip_duplicates: bool,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// Names the import.
    pub import: i64,
    /// Codes that are there now.
    pub imported: u64,
    /// Codes that were there before.
    pub skipped: u64,
}

/// An import that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WithdrawnDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// The import: none of its codes is given from now on.
    pub import: i64,
}

/// `POST …/prizes/{prize}/stock`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StockBody {
    /// Units to add; below zero to withdraw.
    pub add: i64,
    /// Why; goes into the operator log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// What a change of stock did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StockDoc {
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// Units to give in all.
    pub stock: u64,
    /// Units left.
    pub left: u64,
}
