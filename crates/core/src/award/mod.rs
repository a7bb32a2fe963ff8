//! The award's table: one pure function, [`step`], says what each event makes of
//! a delivery row. There is no outbox table, no retry queue and no second path
//! for compensation: one row an award, one rule for everybody.
//!
//! # Model
//! A message is only a hint to look at its row; any copy serves; the row decides.
//! Each award has one narrow row. `due_at` is null exactly in the three final
//! states, so nothing unfinished can be forgotten. `lease` grows with every claim
//! and every change of state; every write that follows a claim or a hand-off
//! carries the lease it was given, and a write that carries another is late: it
//! is logged and changes nothing.
//!
//! # What each failure does
//! - The process dies between commit and publish: the grace ends, rescue publishes.
//! - It dies between publish and mark: the same; the row drops the second copy.
//! - It dies during an outside call: the lease ends; rescue repeats the call only
//!   at an endpoint that honours the delivery key, else a person decides.
//! - A holder was paused and wakes: its lease is old, its write is late.
//!
//! # Authority
//! Stores read the row, ask [`step`] and write back what it says, in one
//! transaction. No store has a rule of its own.

mod first;
mod operator;
mod rescue;
mod table;

pub use first::first_row;
pub use table::step;

use crate::campaign::{Kind, Prize};
use crate::decision::Decision;
use crate::ids::AwardId;
use crate::names::names;
use crate::reason::{DeadReason, HoldReason};
use crate::retry::{Jitter, Schedule};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

names! {
    /// Where an award stands.
    State {
        /// To be published, or published and on its way to a worker.
        Pending = "pending",
        /// A worker has it in hand.
        Delivering = "delivering",
        /// Waits for its next attempt.
        Retryable = "retryable",
        /// Waits for a person or an event.
        Held = "held",
        /// Done.
        Delivered = "delivered",
        /// Given up on; waits for an operator.
        Dead = "dead",
        /// Ended by an operator or a declared deadline.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether nothing more happens by itself; `due_at` is null exactly then.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Dead | Self::Cancelled)
    }

    /// `grant_state` of the chapter: 0 unfinished, 1 delivered, 2 dead or cancelled.
    pub const fn grant_state(self) -> u8 {
        match self {
            Self::Pending | Self::Delivering | Self::Retryable | Self::Held => 0,
            Self::Delivered => 1,
            Self::Dead | Self::Cancelled => 2,
        }
    }
}

/// What people are told of the message: 0 not sent, 1 sent, 2 send failed. A note;
/// no guard reads it, and it never falls from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MqState {
    /// 0: no broker has reported yet.
    NotSent,
    /// 1: a broker has it.
    Sent,
    /// 2: the last publish failed and none before it succeeded.
    Failed,
}

impl MqState {
    /// The code of the chapter.
    pub const fn code(self) -> u8 {
        match self {
            Self::NotSent => 0,
            Self::Sent => 1,
            Self::Failed => 2,
        }
    }

    /// The note of that code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::NotSent),
            1 => Some(Self::Sent),
            2 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// Where a copy lies: the epoch of the topic it was published to or read from,
/// its partition and its offset. Only rescue's lag test reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Names one life of the topic; offsets of another life say nothing.
    pub epoch: i64,
    /// Partition of the copy.
    pub partition: i32,
    /// Offset of the copy.
    pub offset: i64,
}

/// One delivery row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    /// Whose row it is.
    pub award: AwardId,
    /// How it is delivered; fixed at the draw.
    pub kind: Kind,
    /// 0 for local kinds, else the id of the endpoint; fixed at the draw.
    pub lane: i64,
    /// Where it stands.
    pub state: State,
    /// Grows with each claim and change of state; guards every write.
    pub lease: i64,
    /// When it needs attention; null exactly in the final states.
    pub due_at: Option<Timestamp>,
    /// Attempts begun since the draw or the last requeue, counted at the claim.
    pub attempts: u32,
    /// Publishes by rescue since a worker last saw a copy.
    pub publishes: u32,
    /// An effect may exist that we did not record; nothing clears it.
    pub in_doubt: bool,
    /// Set exactly in state `held`.
    pub hold_reason: Option<HoldReason>,
    /// Set exactly in state `dead`.
    pub dead_reason: Option<DeadReason>,
    /// When the present hold began.
    pub held_at: Option<Timestamp>,
    /// Since when its endpoint has been at fault without a break.
    pub deferred_since: Option<Timestamp>,
    /// What people are told of its message.
    pub mq_state: MqState,
    /// Where its latest known copy lies; its epoch is cleared on the way into
    /// `pending`, which clears the whole.
    pub position: Option<Position>,
}

impl Row {
    /// Whether the worker makes an outside call for it.
    pub const fn is_outside(&self) -> bool {
        self.lane != 0
    }
}

/// What the prize and the endpoint say of an award, as far as the table asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The endpoint honours the delivery key. Means nothing for local kinds.
    pub is_idempotent: bool,
    /// A cancelled award gives its unit back by itself.
    pub return_stock: bool,
    /// `physical`: time to give an address.
    pub claim_within: Duration,
    /// `physical`: time to ship before an alert.
    pub ship_within: Duration,
    /// `external`: time to confirm.
    pub confirm_within: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            is_idempotent: false,
            return_stock: false,
            claim_within: Duration::from_hours(14 * 24),
            ship_within: Duration::from_hours(30 * 24),
            confirm_within: Duration::from_hours(7 * 24),
        }
    }
}

impl Terms {
    /// The terms of a prize whose endpoint, if any, is `is_idempotent`.
    pub fn of(prize: &Prize, is_idempotent: bool) -> Self {
        use crate::campaign::KindSpec;
        let mut terms = Self {
            is_idempotent,
            return_stock: prize.return_stock,
            ..Self::default()
        };
        match &prize.spec {
            KindSpec::Physical {
                claim_within,
                ship_within,
            } => {
                terms.claim_within = *claim_within;
                terms.ship_within = *ship_within;
            }
            KindSpec::External { confirm_within, .. } => terms.confirm_within = *confirm_within,
            KindSpec::Text { .. }
            | KindSpec::Code { .. }
            | KindSpec::Points { .. }
            | KindSpec::Webhook { .. } => {}
        }
        terms
    }
}

/// What the broker said of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// It is on the topic.
    Taken(Position),
    /// It is not there, or nobody knows.
    Failed,
    /// It never will be: too large, invalid.
    Refused,
}

/// Whether a worker with a copy in hand may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// The lane gave a permit (local kinds need none).
    Permit,
    /// The lane's limits or its breaker say no; look again then.
    NoPermit { until: Timestamp },
    /// Deliveries are paused: read in the same transaction, before any permit.
    Paused,
}

/// What rescue knows of a row beside the row itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sight {
    /// The group has not yet come to the row's copy, which is still on the topic.
    pub is_lagging: bool,
    /// The topic's breaker or the lane's is open.
    pub is_breaker_open: bool,
    /// What the hold waited for has come: address stored, endpoint enabled, codes
    /// there, deliveries resumed.
    pub has_hold_ended: bool,
}

/// Something that happens to an award.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The relay heard from the broker.
    Mark { lease: i64, mark: Mark },
    /// A worker has a copy.
    Copy { position: Position, gate: Gate },
    /// The row's own transaction failed alone, by an error of the row.
    Fail { lease: i64, jitter: Jitter },
    /// A distributor has decided. `lane_at`: when the lane would take it again;
    /// `has_hold_ended`: the hold's reason is gone, read in this transaction.
    Decide {
        lease: i64,
        decision: Decision,
        lane_at: Timestamp,
        has_hold_ended: bool,
        jitter: Jitter,
    },
    /// The worker stops and the call can no longer begin.
    GiveBack { lease: i64 },
    /// Rescue looks.
    Rescue { sight: Sight },
    /// What a hold of that reason waited for has come.
    End { reason: HoldReason },
    /// An operator holds.
    Hold,
    /// An operator enters a shipment.
    Ship,
    /// An operator, or the service that delivers, confirms.
    Confirm,
    /// An operator requeues, with or without the word "not delivered".
    Requeue {
        not_delivered: bool,
        due_at: Timestamp,
    },
    /// An operator cancels; `return_stock` is the explicit entry.
    Cancel { return_stock: bool },
}

/// Why the table says no to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// A worker has it in hand until then.
    Delivering { lease_ends: Timestamp },
    /// An effect may exist: say what is known of it.
    OutcomeUnknown,
    /// The award's state does not allow it.
    WrongState { state: State },
}

/// What the table makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The row becomes this.
    Changed(Box<Change>),
    /// The event carries an old lease or comes in another state: log it, no more.
    Late,
    /// Nothing to do.
    Same,
    /// A person asked for something that is not allowed.
    Refused(Refusal),
}

/// A changed row, and what goes with it in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row to write.
    pub row: Row,
    /// Publish it, with the new lease.
    pub publish: bool,
    /// Give the unit back to the stock.
    pub stock_back: bool,
    /// Tell people that this hold has waited past its date.
    pub alert: bool,
}

/// When a row is looked at, and by which settings.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The one instant of the batch.
    pub now: Timestamp,
    /// The settings.
    pub schedule: &'a Schedule,
    /// What prize and endpoint say.
    pub terms: &'a Terms,
}

/// The signature of [`step`]: what a store is given as its rule.
pub type StepFn = fn(&Row, &Event, Context<'_>) -> Step;
