//! What people do to awards. Each change writes the operator log in its own
//! transaction; long work is a loop of steps.

use super::{Actor, StoreResult};
use crate::award::{Refusal, Row, State};
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Who receives it.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))]
    pub name: String,
    /// Street and house, in as many lines as needed.
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1, max = crate::limits::ADDRESS_LINES_MAX), inner(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))
    )]
    pub lines: Vec<String>,
    /// Postal code.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))]
    pub postal_code: Option<String>,
    /// Town.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))]
    pub city: String,
    /// State or province.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))]
    pub region: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[A-Z]{2}$")))]
    pub country: String,
    /// For the carrier.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = crate::limits::ADDRESS_TEXT_BYTES_MAX)))]
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

/// Which deliveries to pause; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PauseScope {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this prize; needs the campaign.
    pub prize: Option<String>,
    /// To this endpoint.
    pub endpoint: Option<String>,
}

/// What came of taking points back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PointsReversed {
    /// Taken back now.
    Reversed {
        /// Whose they were.
        user: String,
        /// How many.
        points: i64,
        /// What is left to the user.
        balance: i64,
    },
    /// They were taken back before.
    Before,
    /// The award gave no points.
    NotFound,
}

/// A dead letter: an award that was given up on, or a message that changed none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetter {
    /// An award.
    Award(AwardId),
    /// The kept message of that number.
    Message(i64),
}

/// Awards that a bulk action takes; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BulkFilter {
    /// Of this campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Of this prize; needs the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prize: Option<String>,
    /// Won by this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Held for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_reason: Option<HoldReason>,
    /// Given up on for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeadReason>,
    /// Drawn since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// What a bulk action does to each award that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum BulkAction {
    /// Puts dead letters back, spread evenly from its beginning over `over_secs`.
    Requeue {
        /// The word that unknown outcomes ask for.
        not_delivered: bool,
        /// Seconds.
        over_secs: u64,
    },
    /// Ends awards.
    Cancel {
        /// Give the units back also where an effect may exist.
        return_stock: bool,
    },
    /// Ends `manual` and `scheduled` holds.
    Release,
    /// Replaces a user by another name in all that is kept of it, and removes
    /// addresses, shipments and contents. Its filter names the user and nothing else;
    /// the operation does not tell who it was.
    Erase {
        /// The name that takes its place.
        pseudonym: String,
    },
}

impl BulkAction {
    /// The word of the command line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Requeue { .. } => "requeue",
            Self::Cancel { .. } => "cancel",
            Self::Release => "release",
            Self::Erase { .. } => "erase",
        }
    }

    /// The states in which it can do something to an award.
    pub const fn states(&self) -> &'static [State] {
        match self {
            Self::Requeue { .. } => &[State::Dead],
            Self::Cancel { .. } => &[State::Pending, State::Retryable, State::Held, State::Dead],
            Self::Release => &[State::Held],
            Self::Erase { .. } => State::ALL,
        }
    }
}

/// A bulk action, asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkSpec {
    /// What is done.
    pub action: BulkAction,
    /// To which awards.
    pub filter: BulkFilter,
    /// Awards that matched when it was asked for: how far it is, is told by it.
    pub matched: u64,
}

crate::names::names! {
    /// Where an operation stands.
    OperationState {
        /// It goes on, step by step.
        Running = "running",
        /// It went through all that matched.
        Done = "done",
        /// A person stopped it; what was done stays done.
        Cancelled = "cancelled",
    }
}

/// A bulk action under way or over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Names it.
    pub id: i64,
    /// What was asked for.
    pub spec: BulkSpec,
    /// Who asked.
    pub by: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// Where it stands.
    pub state: OperationState,
    /// Awards changed.
    pub done: u64,
    /// Awards left as they were: an effect may exist and the word was not given.
    pub in_doubt: u64,
    /// Awards left as they were: the table says no by now, as when a worker has one
    /// in hand.
    pub refused: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it took its last step.
    pub updated_at: Timestamp,
    /// The last award that it looked at.
    pub after: Option<AwardId>,
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

    /// Begins a bulk action; nothing is changed yet.
    async fn begin_operation(
        &self,
        spec: BulkSpec,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Operation>;

    /// One step of a bulk action, at most `limits::STEP_ROWS_MAX` awards changed and
    /// `limits::STEP_ROWS_SEEN_MAX` looked at, in the order of their ids. One that is
    /// over is only told; `None` if there is none of that id.
    async fn step_operation(&self, id: i64, now: Timestamp) -> StoreResult<Option<Operation>>;

    /// Stops a bulk action between two steps; one that is over stays as it is.
    async fn cancel_operation(
        &self,
        id: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Option<Operation>>;

    /// Bulk actions that are not over: whoever starts goes on with them.
    async fn running_operations(&self) -> StoreResult<Vec<i64>>;

    /// Keeps a user from drawing, in all campaigns. The reason is `by`'s.
    async fn block_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<()>;

    /// Lets the user draw again; `false` if it was not blocked.
    async fn unblock_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<bool>;

    /// Takes back what an award of kind `points` gave, once.
    async fn reverse_points(
        &self,
        award: AwardId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PointsReversed>;

    /// Takes a dead letter off the list: somebody has seen to it. A dead award that is
    /// put back and dies again is on the list again. `false` if there is none.
    async fn dismiss(&self, letter: DeadLetter, by: Actor, now: Timestamp) -> StoreResult<bool>;

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
