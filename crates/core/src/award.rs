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

use crate::campaign::{Kind, Prize, Release};
use crate::decision::Decision;
use crate::ids::AwardId;
use crate::names::names;
use crate::reason::{DeadReason, HoldReason};
use crate::retry::{Jitter, Schedule};
use crate::time::Timestamp;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Names one life of the topic; offsets of another life say nothing.
    pub epoch: i64,
    /// Partition of the copy.
    pub partition: i32,
    /// Offset of the copy.
    pub offset: i64,
}

/// One delivery row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        let mut terms = Self { is_idempotent, return_stock: prize.return_stock, ..Self::default() };
        match &prize.spec {
            KindSpec::Physical { claim_within, ship_within } => {
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
    Decide { lease: i64, decision: Decision, lane_at: Timestamp, has_hold_ended: bool, jitter: Jitter },
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
    Requeue { not_delivered: bool, due_at: Timestamp },
    /// An operator cancels; `return_stock` is the explicit entry.
    Cancel { return_stock: bool },
}

/// Why the table says no to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// The row that is committed with the draw that won it.
pub fn first_row(
    award: AwardId,
    prize: &Prize,
    lane: i64,
    now: Timestamp,
    schedule: &Schedule,
    has_relay: bool,
) -> Row {
    let mut row = Row {
        award,
        kind: prize.kind(),
        lane,
        state: State::Pending,
        lease: 1,
        due_at: Some(if has_relay { now.plus(schedule.grace(0)) } else { now }),
        attempts: 0,
        publishes: 0,
        in_doubt: prize.kind() == Kind::External,
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        deferred_since: None,
        mq_state: MqState::NotSent,
        position: None,
    };
    let hold = match prize.release {
        Release::Manual => Some((HoldReason::Manual, now.plus(schedule.hold_review))),
        Release::At(at) if at > now => Some((HoldReason::Scheduled, at)),
        Release::At(_) | Release::Immediate => None,
    };
    if let Some((reason, due_at)) = hold {
        row.state = State::Held;
        row.hold_reason = Some(reason);
        row.held_at = Some(now);
        row.due_at = Some(due_at);
        row.in_doubt = false;
    }
    row
}

/// What `event` makes of `row`. Pure and total: every event in every state has an
/// answer, and the final states change only by an operator's word.
pub fn step(row: &Row, event: &Event, at: Context<'_>) -> Step {
    match event {
        Event::Mark { lease, mark } => on_mark(row, *lease, *mark, at),
        Event::Copy { position, gate } => on_copy(row, *position, *gate, at),
        Event::Fail { lease, jitter } => on_fail(row, *lease, *jitter, at),
        Event::Decide { lease, .. } if row.state != State::Delivering || *lease != row.lease => {
            Step::Late
        }
        Event::Decide { decision, lane_at, has_hold_ended, jitter, .. } => match decision {
            Decision::Delivered { .. } => changed(finish(row, State::Delivered)),
            Decision::Refuse => changed(dead(row, DeadReason::Refused)),
            Decision::Retry { after } => changed(retry(row, *after, *jitter, at)),
            Decision::Unknown => changed(unknown(row, *jitter, at)),
            Decision::Defer => changed(defer(row, *lane_at, at)),
            Decision::Hold(_) if *has_hold_ended => changed(give_back(row, at.now)),
            Decision::Hold(reason) => {
                changed(Row { attempts: row.attempts.saturating_sub(1), ..hold(row, *reason, at) })
            }
        },
        Event::GiveBack { lease } if row.state != State::Delivering || *lease != row.lease => {
            Step::Late
        }
        Event::GiveBack { .. } => changed(give_back(row, at.now)),
        Event::Rescue { sight } => on_rescue(row, *sight, at),
        Event::End { reason } if row.state == State::Held && row.hold_reason == Some(*reason) => {
            changed(pend(row, at.now))
        }
        Event::End { .. } => wrong_state(row),
        Event::Hold | Event::Ship | Event::Confirm | Event::Requeue { .. } | Event::Cancel { .. } => {
            on_operator(row, event, at)
        }
    }
}

fn on_mark(row: &Row, lease: i64, mark: Mark, at: Context<'_>) -> Step {
    if row.state != State::Pending || lease != row.lease {
        return Step::Late;
    }
    // A mark keeps the lease: the copy that it speaks of is still on its way.
    match mark {
        Mark::Taken(position) => changed(Row {
            mq_state: MqState::Sent,
            position: Some(position),
            due_at: Some(at.now.plus(at.schedule.grace(row.publishes))),
            ..row.clone()
        }),
        Mark::Failed => changed(Row {
            mq_state: failed(row.mq_state),
            due_at: Some(at.now.plus(at.schedule.publish_backoff(row.publishes, Jitter::NONE))),
            ..row.clone()
        }),
        Mark::Refused => changed(Row {
            mq_state: failed(row.mq_state),
            ..dead(row, DeadReason::Unpublishable)
        }),
    }
}

const fn failed(before: MqState) -> MqState {
    match before {
        MqState::Sent => MqState::Sent,
        MqState::NotSent | MqState::Failed => MqState::Failed,
    }
}

/// Whether a worker with a copy may take the row: `pending`, or `retryable` past
/// its time.
fn is_takeable(row: &Row, now: Timestamp) -> bool {
    match row.state {
        State::Pending => true,
        State::Retryable => row.due_at.is_some_and(|due| due <= now),
        State::Delivering | State::Held | State::Delivered | State::Dead | State::Cancelled => false,
    }
}

fn on_copy(row: &Row, position: Position, gate: Gate, at: Context<'_>) -> Step {
    if !is_takeable(row, at.now) {
        return Step::Same;
    }
    let seen = Row {
        lease: row.lease + 1,
        publishes: 0,
        mq_state: MqState::Sent,
        position: Some(position),
        ..row.clone()
    };
    changed(match gate {
        Gate::Permit => Row {
            state: State::Delivering,
            attempts: row.attempts + 1,
            due_at: Some(at.now.plus(at.schedule.lease_time)),
            ..seen
        },
        Gate::NoPermit { until } => Row {
            state: State::Retryable,
            due_at: Some(until.max(at.now)),
            ..seen
        },
        Gate::Paused => hold(row, HoldReason::Paused, at),
    })
}

fn on_fail(row: &Row, lease: i64, jitter: Jitter, at: Context<'_>) -> Step {
    if !is_takeable(row, at.now) || lease != row.lease {
        return Step::Late;
    }
    let counted = Row { attempts: row.attempts + 1, ..row.clone() };
    changed(if counted.attempts >= at.schedule.attempts_max {
        dead(&counted, DeadReason::Poison)
    } else {
        Row {
            state: State::Retryable,
            lease: row.lease + 1,
            due_at: Some(at.now.plus(at.schedule.backoff(counted.attempts, jitter))),
            ..counted
        }
    })
}

fn retry(row: &Row, after: Option<Duration>, jitter: Jitter, at: Context<'_>) -> Row {
    if row.attempts >= at.schedule.attempts_max {
        return dead(row, DeadReason::Exhausted);
    }
    let wait = at.schedule.backoff(row.attempts, jitter).max(after.unwrap_or_default());
    Row {
        state: State::Retryable,
        lease: row.lease + 1,
        due_at: Some(at.now.plus(wait)),
        deferred_since: None,
        ..row.clone()
    }
}

fn unknown(row: &Row, jitter: Jitter, at: Context<'_>) -> Row {
    let doubted = Row { in_doubt: true, ..row.clone() };
    if at.terms.is_idempotent {
        retry(&doubted, None, jitter, at)
    } else {
        dead(&doubted, DeadReason::UnknownOutcome)
    }
}

fn defer(row: &Row, lane_at: Timestamp, at: Context<'_>) -> Row {
    let since = row.deferred_since.unwrap_or(at.now);
    let given_back = Row {
        attempts: row.attempts.saturating_sub(1),
        deferred_since: Some(since),
        ..row.clone()
    };
    if at.now.since(since) >= at.schedule.defer_max {
        return dead(&given_back, DeadReason::EndpointFault);
    }
    Row {
        state: State::Retryable,
        lease: row.lease + 1,
        due_at: Some(lane_at.max(at.now)),
        ..given_back
    }
}

/// Back to `pending`, due at once, the attempt not counted.
fn give_back(row: &Row, now: Timestamp) -> Row {
    Row { attempts: row.attempts.saturating_sub(1), ..pend(row, now) }
}

/// The way into `pending`: the position goes, and an award of kind `external` is
/// in doubt from here on, because its reader may act on any copy.
fn pend(row: &Row, due_at: Timestamp) -> Row {
    Row {
        state: State::Pending,
        lease: row.lease + 1,
        due_at: Some(due_at),
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        in_doubt: row.in_doubt || row.kind == Kind::External,
        position: None,
        ..row.clone()
    }
}

fn hold(row: &Row, reason: HoldReason, at: Context<'_>) -> Row {
    let wait = match reason {
        HoldReason::Address => at.terms.claim_within,
        HoldReason::Shipment => at.terms.ship_within,
        HoldReason::External => at.schedule.grace(row.publishes).min(at.terms.confirm_within),
        HoldReason::Manual
        | HoldReason::Scheduled
        | HoldReason::Paused
        | HoldReason::NoCode
        | HoldReason::EndpointDisabled => at.schedule.hold_review,
    };
    Row {
        state: State::Held,
        lease: row.lease + 1,
        due_at: Some(at.now.plus(wait)),
        hold_reason: Some(reason),
        held_at: Some(at.now),
        ..row.clone()
    }
}

/// Into a final state.
fn finish(row: &Row, state: State) -> Row {
    Row {
        state,
        lease: row.lease + 1,
        due_at: None,
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        deferred_since: None,
        ..row.clone()
    }
}

fn dead(row: &Row, reason: DeadReason) -> Row {
    Row { dead_reason: Some(reason), ..finish(row, State::Dead) }
}

fn on_rescue(row: &Row, sight: Sight, at: Context<'_>) -> Step {
    let Some(due) = row.due_at.filter(|due| *due <= at.now) else {
        return Step::Same;
    };
    match row.state {
        State::Pending | State::Retryable if sight.is_breaker_open => Step::Same,
        State::Pending
            if sight.is_lagging && at.now.since(due) < at.schedule.redelivery_max =>
        {
            Step::Same
        }
        State::Pending | State::Retryable => publish_again(row, at),
        State::Delivering => rescue_lost(row, at),
        State::Held => rescue_held(row, sight, at),
        State::Delivered | State::Dead | State::Cancelled => Step::Same,
    }
}

/// The holder was lost with the award in hand.
fn rescue_lost(row: &Row, at: Context<'_>) -> Step {
    let doubted = Row { in_doubt: row.in_doubt || row.is_outside(), ..row.clone() };
    if row.is_outside() && !at.terms.is_idempotent {
        changed(dead(&doubted, DeadReason::UnknownOutcome))
    } else if row.attempts >= at.schedule.attempts_max {
        changed(dead(&doubted, DeadReason::WorkerLost))
    } else {
        publish_again(&doubted, at)
    }
}

fn rescue_held(row: &Row, sight: Sight, at: Context<'_>) -> Step {
    match row.hold_reason {
        Some(HoldReason::Scheduled) => publish_again(row, at),
        _ if sight.has_hold_ended => publish_again(row, at),
        Some(HoldReason::Address) => Step::Changed(Box::new(Change {
            stock_back: at.terms.return_stock && !row.in_doubt,
            ..plain(finish(row, State::Cancelled))
        })),
        Some(HoldReason::External) => {
            let ends = row.held_at.unwrap_or(at.now).plus(at.terms.confirm_within);
            if at.now >= ends {
                return changed(dead(row, DeadReason::NotConfirmed));
            }
            let publishes = row.publishes + 1;
            Step::Changed(Box::new(Change {
                publish: true,
                ..plain(Row {
                    lease: row.lease + 1,
                    publishes,
                    due_at: Some(at.now.plus(at.schedule.grace(publishes)).min(ends)),
                    ..row.clone()
                })
            }))
        }
        Some(
            HoldReason::Manual
            | HoldReason::Shipment
            | HoldReason::Paused
            | HoldReason::NoCode
            | HoldReason::EndpointDisabled,
        )
        | None => Step::Changed(Box::new(Change {
            alert: true,
            ..plain(Row {
                lease: row.lease + 1,
                due_at: Some(at.now.plus(at.schedule.hold_review)),
                ..row.clone()
            })
        })),
    }
}

fn publish_again(row: &Row, at: Context<'_>) -> Step {
    let publishes = row.publishes + 1;
    let pending = pend(row, at.now.plus(at.schedule.grace(publishes)));
    Step::Changed(Box::new(Change { publish: true, ..plain(Row { publishes, ..pending }) }))
}

fn on_operator(row: &Row, event: &Event, at: Context<'_>) -> Step {
    if row.state == State::Delivering {
        return Step::Refused(Refusal::Delivering { lease_ends: row.due_at.unwrap_or(at.now) });
    }
    match (event, row.state) {
        (Event::Hold, State::Pending | State::Retryable) => {
            changed(hold(row, HoldReason::Manual, at))
        }
        (Event::Ship, State::Held) if row.hold_reason == Some(HoldReason::Shipment) => {
            changed(Row {
                lease: row.lease + 1,
                in_doubt: true,
                due_at: Some(at.now.plus(at.schedule.hold_review)),
                ..row.clone()
            })
        }
        (Event::Confirm, _) if is_confirmable(row) => changed(finish(row, State::Delivered)),
        (Event::Requeue { not_delivered, due_at }, State::Dead) => {
            let is_repeatable = row.is_outside() && at.terms.is_idempotent;
            if row.in_doubt && !is_repeatable && !not_delivered {
                return Step::Refused(Refusal::OutcomeUnknown);
            }
            changed(Row {
                attempts: 0,
                publishes: 0,
                deferred_since: None,
                ..pend(row, *due_at)
            })
        }
        (
            Event::Cancel { return_stock },
            State::Pending | State::Retryable | State::Held | State::Dead,
        ) => Step::Changed(Box::new(Change {
            stock_back: *return_stock || (at.terms.return_stock && !row.in_doubt),
            ..plain(finish(row, State::Cancelled))
        })),
        _ => wrong_state(row),
    }
}

/// `held(shipment)`; `dead` in doubt; kind `external` wherever nobody has it in hand.
fn is_confirmable(row: &Row) -> bool {
    match row.state {
        State::Held if row.hold_reason == Some(HoldReason::Shipment) => true,
        State::Dead => row.in_doubt,
        State::Pending | State::Retryable | State::Held => row.kind == Kind::External,
        State::Delivering | State::Delivered | State::Cancelled => false,
    }
}

fn wrong_state(row: &Row) -> Step {
    Step::Refused(Refusal::WrongState { state: row.state })
}

const fn plain(row: Row) -> Change {
    Change { row, publish: false, stock_back: false, alert: false }
}

fn changed(row: Row) -> Step {
    Step::Changed(Box::new(plain(row)))
}
