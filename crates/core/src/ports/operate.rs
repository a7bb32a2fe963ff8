//! What people do to awards. Each change writes the operator log in its own
//! transaction; long work is a loop of steps.

use super::{Actor, StoreResult};
use crate::award::{Refusal, Row};
use crate::campaign::Kind;
use crate::ids::AwardId;
use crate::reason::{DeadReason, HoldReason};
use crate::time::Timestamp;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// What a person asks for one award.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Hold it.
    Hold,
    /// End a `manual` or `scheduled` hold.
    Release,
    /// It is delivered, with a receipt if there is one.
    Confirm { receipt: Option<String> },
    /// End it; `return_stock` gives the unit back even in doubt.
    Cancel { return_stock: bool },
    /// Put a dead letter back; `not_delivered` is the word that an unknown outcome
    /// asks for.
    Requeue {
        not_delivered: bool,
        due_at: Timestamp,
    },
    /// Store where a physical prize goes; in any other unfinished state it moves
    /// nothing.
    Address(Address),
    /// Enter a shipment.
    Ship { carrier: String, tracking: String },
}

/// Where a physical prize goes. Never logged, never exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Who receives it.
    pub name: String,
    /// Street and house, in as many lines as needed.
    pub lines: Vec<String>,
    /// Postal code.
    #[serde(default)]
    pub postal_code: Option<String>,
    /// Town.
    pub city: String,
    /// State or province.
    #[serde(default)]
    pub region: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// For the carrier.
    #[serde(default)]
    pub phone: Option<String>,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acted {
    /// Done; the row as it stands now.
    Done(Row),
    /// The table says no.
    Refused(Refusal),
    /// No such award, or one of another kind than the action needs.
    NotFound,
}

/// Which dead letters; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Given up on for this reason.
    pub reason: Option<DeadReason>,
    /// Drawn since then.
    pub since: Option<Timestamp>,
}

/// One step of a bulk requeue.
#[derive(Debug, Clone)]
pub struct RequeueStep {
    /// Which.
    pub filter: DeadFilter,
    /// Go on after this award.
    pub after: Option<AwardId>,
    /// The word for unknown outcomes.
    pub not_delivered: bool,
    /// Spread the step's awards evenly from `now` to this instant.
    pub until: Timestamp,
}

/// What a step of a bulk requeue did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requeued {
    /// Put back.
    pub requeued: u64,
    /// Left dead: an effect may exist and the word was not given.
    pub in_doubt: u64,
    /// Where to go on, `None` when done.
    pub next: Option<AwardId>,
}

/// Which deliveries to pause; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PauseScope {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this prize; needs the campaign.
    pub prize: Option<String>,
    /// To this endpoint.
    pub endpoint: Option<String>,
}

/// What people do to awards.
#[async_trait]
pub trait Operate: Send + Sync {
    /// One action on one award, with its log line.
    async fn act(
        &self,
        award: AwardId,
        action: Action,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Acted>;

    /// One step of a bulk requeue.
    async fn requeue(&self, step: RequeueStep, by: Actor, now: Timestamp) -> StoreResult<Requeued>;

    /// Pauses deliveries: workers hold the copies that come, from the next
    /// transaction on.
    async fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<()>;

    /// Resumes them; `false` if nothing of that scope was paused. Held awards go
    /// back in steps of `end_holds`.
    async fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<bool>;

    /// Ends one step of holds whose reason has ended (codes there, endpoint
    /// enabled, deliveries resumed); gives how many, 0 when done.
    async fn end_holds(&self, reason: HoldReason, now: Timestamp) -> StoreResult<u64>;
}
