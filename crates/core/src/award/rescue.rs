//! Rescue's rows of the table: what is overdue goes back on the path, ends, or is
//! looked at again later.

use super::table::{changed, dead, finish, pend, plain};
use super::{Change, Context, Row, Sight, State, Step};
use crate::reason::{DeadReason, HoldReason};

pub(super) fn on_rescue(row: &Row, sight: Sight, at: Context<'_>) -> Step {
    let Some(due) = row.due_at.filter(|due| *due <= at.now) else {
        return Step::Same;
    };
    match row.state {
        State::Pending | State::Retryable if sight.is_breaker_open => Step::Same,
        State::Pending if sight.is_lagging && at.now.since(due) < at.schedule.redelivery_max => {
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
    let doubted = Row {
        in_doubt: row.in_doubt || row.is_outside(),
        ..row.clone()
    };
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
    Step::Changed(Box::new(Change {
        publish: true,
        ..plain(Row {
            publishes,
            ..pending
        })
    }))
}
