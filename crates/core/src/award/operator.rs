//! People's rows of the table. Nobody takes an award out of a worker's hand.

use super::table::{changed, finish, hold, pend, plain, wrong_state};
use super::{Change, Context, Event, Refusal, Row, State, Step};
use crate::campaign::Kind;
use crate::reason::HoldReason;

pub(super) fn on_operator(row: &Row, event: &Event, at: Context<'_>) -> Step {
    if row.state == State::Delivering {
        return Step::Refused(Refusal::Delivering {
            lease_ends: row.due_at.unwrap_or(at.now),
        });
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
        (
            Event::Requeue {
                not_delivered,
                due_at,
            },
            State::Dead,
        ) => {
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
