//! Awards: which ones, what people do to them, and what a winner sees.

use super::{AwardDetail, OutcomeWord};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::award::{Row, State};
use tombola_core::campaign::Kind;
use tombola_core::limits;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};
use tombola_store::read::Shipment;

/// `GET /v1/awards`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AwardQuery {
    /// Of this campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Won by this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Of this prize.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prize: Option<String>,
    /// Held for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_reason: Option<HoldReason>,
    /// Given up on for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_reason: Option<DeadReason>,
    /// Delivered by this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Drawn since then: RFC 3339, or a span such as `2h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Drawn before then: RFC 3339, or a span such as `2h`.
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

/// An award after an action on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AwardDoc {
    /// Its id.
    pub id: AwardId,
    /// How it is delivered.
    pub kind: Kind,
    /// Where it stands now.
    pub state: State,
    /// Why it is held, if it is.
    pub hold_reason: Option<HoldReason>,
    /// Why it was given up on, if it was.
    pub dead_reason: Option<DeadReason>,
    /// 0 not sent, 1 sent, 2 send failed.
    #[schemars(range(max = 2))]
    pub mq_state: u8,
    /// 0 unfinished, 1 delivered, 2 dead or cancelled.
    #[schemars(range(max = 2))]
    pub grant_state: u8,
    /// An effect may exist that was not recorded.
    pub in_doubt: bool,
    /// When it is looked at next; null when nothing more happens by itself.
    pub due_at: Option<Timestamp>,
}

impl From<&Row> for AwardDoc {
    fn from(row: &Row) -> Self {
        Self {
            id: row.award,
            kind: row.kind,
            state: row.state,
            hold_reason: row.hold_reason,
            dead_reason: row.dead_reason,
            mq_state: row.mq_state.code(),
            grant_state: row.state.grant_state(),
            in_doubt: row.in_doubt,
            due_at: row.due_at,
        }
    }
}

/// An award as its winner sees it, who shows the claim token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WinnerDoc {
    /// Its id.
    pub id: AwardId,
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// The prize's name.
    pub prize_name: String,
    /// How it is delivered.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Why it is held, if it is.
    pub hold_reason: Option<HoldReason>,
    /// 0 unfinished, 1 delivered, 2 dead or cancelled.
    #[schemars(range(max = 2))]
    pub grant_state: u8,
    /// When it was won.
    pub drawn_at: Timestamp,
    /// The text or code, once it is delivered.
    pub content: Option<String>,
    /// Whether an address was given.
    pub has_address: bool,
    /// What was shipped, if it was.
    pub shipment: Option<Shipment>,
}

impl From<AwardDetail> for WinnerDoc {
    fn from(award: AwardDetail) -> Self {
        Self {
            id: award.fact.id,
            campaign: award.fact.campaign,
            prize: award.fact.prize,
            prize_name: award.prize_name,
            kind: award.fact.kind,
            state: award.fact.state,
            hold_reason: award.fact.hold_reason,
            grant_state: award.fact.grant_state,
            drawn_at: award.fact.drawn_at,
            content: award.content,
            has_address: award.has_address,
            shipment: award.shipment,
        }
    }
}

/// An award, as much of it as its reader may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AwardShown {
    /// To the bearer of a key.
    ToKey(Box<AwardDetail>),
    /// To the bearer of its claim token.
    ToWinner(WinnerDoc),
}

/// `POST /v1/awards/{id}/hold, release`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActionBody {
    /// Why; goes into the operator log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// An action that takes something from a person or that cannot be undone: the log has
/// to say why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonBody {
    /// Why; goes into the operator log.
    #[schemars(required, length(min = 1, max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// `POST /v1/awards/{id}/confirm`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["reason"]))]
pub struct ConfirmBody {
    /// What the other side gave as a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::RECEIPT_BYTES_MAX))]
    pub receipt: Option<String>,
    /// Why; goes into the operator log. A deliverer need not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// `POST /v1/awards/{id}/cancel`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["reason"]))]
pub struct CancelBody {
    /// Give the unit back to the stock, also when an effect may exist.
    pub return_stock: bool,
    /// Why; goes into the operator log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required, length(min = 1, max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
    /// For an award whose outcome is unknown: what is known of it. `delivered`
    /// cannot be cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OutcomeWord>,
}

/// `POST /v1/awards/{id}/shipment`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipmentBody {
    /// Who carries it.
    #[schemars(length(min = 1, max = limits::SHIPMENT_TEXT_BYTES_MAX))]
    pub carrier: String,
    /// The number to follow it by.
    #[schemars(length(min = 1, max = limits::SHIPMENT_TEXT_BYTES_MAX))]
    pub tracking: String,
    /// Why; goes into the operator log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}
