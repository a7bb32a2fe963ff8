//! The table itself: marks, copies and decisions. Rescue's rows stand in `rescue`,
//! people's in `operator`.

use super::operator::on_operator;
use super::rescue::on_rescue;
use super::{Change, Context, Event, Gate, Mark, MqState, Position, Refusal, Row, State, Step};
use crate::campaign::Kind;
use crate::decision::Decision;
use crate::reason::{DeadReason, HoldReason};
use crate::retry::Jitter;
use crate::time::Timestamp;
use std::time::Duration;

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
        Event::Decide {
            decision,
            lane_at,
            has_hold_ended,
            jitter,
            ..
        } => match decision {
            Decision::Delivered { .. } => changed(finish(row, State::Delivered)),
            Decision::Refuse => changed(dead(row, DeadReason::Refused)),
            Decision::Retry { after } => changed(retry(row, *after, *jitter, at)),
            Decision::Unknown => changed(unknown(row, *jitter, at)),
            Decision::Defer => changed(defer(row, *lane_at, at)),
            Decision::Hold(_) if *has_hold_ended => changed(give_back(row, at.now)),
            Decision::Hold(reason) => changed(Row {
                attempts: row.attempts.saturating_sub(1),
                ..hold(row, *reason, at)
            }),
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
        Event::Hold
        | Event::Ship
        | Event::Confirm
        | Event::Requeue { .. }
        | Event::Cancel { .. } => on_operator(row, event, at),
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
            due_at: Some(
                at.now
                    .plus(at.schedule.publish_backoff(row.publishes, Jitter::NONE)),
            ),
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
        State::Delivering | State::Held | State::Delivered | State::Dead | State::Cancelled => {
            false
        }
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
    let counted = Row {
        attempts: row.attempts + 1,
        ..row.clone()
    };
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
    let wait = at
        .schedule
        .backoff(row.attempts, jitter)
        .max(after.unwrap_or_default());
    Row {
        state: State::Retryable,
        lease: row.lease + 1,
        due_at: Some(at.now.plus(wait)),
        deferred_since: None,
        ..row.clone()
    }
}

fn unknown(row: &Row, jitter: Jitter, at: Context<'_>) -> Row {
    let doubted = Row {
        in_doubt: true,
        ..row.clone()
    };
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
    Row {
        attempts: row.attempts.saturating_sub(1),
        ..pend(row, now)
    }
}

/// The way into `pending`: the position goes, and an award of kind `external` is
/// in doubt from here on, because its reader may act on any copy.
pub(super) fn pend(row: &Row, due_at: Timestamp) -> Row {
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

pub(super) fn hold(row: &Row, reason: HoldReason, at: Context<'_>) -> Row {
    let wait = match reason {
        HoldReason::Address => at.terms.claim_within,
        HoldReason::Shipment => at.terms.ship_within,
        HoldReason::External => at
            .schedule
            .grace(row.publishes)
            .min(at.terms.confirm_within),
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
pub(super) fn finish(row: &Row, state: State) -> Row {
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

pub(super) fn dead(row: &Row, reason: DeadReason) -> Row {
    Row {
        dead_reason: Some(reason),
        ..finish(row, State::Dead)
    }
}

pub(super) fn wrong_state(row: &Row) -> Step {
    Step::Refused(Refusal::WrongState { state: row.state })
}

pub(super) const fn plain(row: Row) -> Change {
    Change {
        row,
        publish: false,
        stock_back: false,
        alert: false,
    }
}

pub(super) fn changed(row: Row) -> Step {
    Step::Changed(Box::new(plain(row)))
}
