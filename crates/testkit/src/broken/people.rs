//! What people ask for, without the guards.

use super::{BrokenSteps, edited, of_row};
use tombola_core::award::{Context, Event, Row, State, Step, Terms, step};
use tombola_core::campaign::Kind;
use tombola_core::reason::HoldReason;

/// `event` meets a row as if it were `state`.
fn as_if(row: &Row, event: &Event, at: Context<'_>, state: State) -> Step {
    of_row(row, event, at, |row| {
        row.state = state;
        (row.hold_reason, row.held_at, row.dead_reason) = (None, None, None);
    })
}

fn is_in_hand(row: &Row) -> bool {
    row.state == State::Delivering
}

pub(super) const ALL: BrokenSteps = &[
    ("a release ends any hold", |row, event, at| {
        match (event, row.hold_reason) {
            (Event::End { .. }, Some(reason)) => step(row, &Event::End { reason }, at),
            _ => step(row, event, at),
        }
    }),
    (
        "a release takes what is not held",
        |row, event, at| match event {
            Event::End { reason } if row.state == State::Pending => of_row(row, event, at, |row| {
                row.state = State::Held;
                row.hold_reason = Some(*reason);
            }),
            _ => step(row, event, at),
        },
    ),
    ("the end of a hold keeps the position", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::End { .. }) {
                it.row.position = row.position;
            }
        })
    }),
    ("the end of a hold waits a grace", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::End { .. }) {
                it.row.due_at = Some(at.now.plus(at.schedule.grace(0)));
            }
        })
    }),
    (
        "an external award on its way is not in doubt",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                if it.row.kind == Kind::External {
                    it.row.in_doubt = row.in_doubt;
                }
            })
        },
    ),
    (
        "a person holds what is in hand",
        |row, event, at| match event {
            Event::Hold if is_in_hand(row) => as_if(row, event, at, State::Pending),
            _ => step(row, event, at),
        },
    ),
    (
        "a person holds what is held",
        |row, event, at| match event {
            Event::Hold if row.state == State::Held => as_if(row, event, at, State::Pending),
            _ => step(row, event, at),
        },
    ),
    (
        "a person holds a dead letter",
        |row, event, at| match event {
            Event::Hold if row.state == State::Dead => as_if(row, event, at, State::Pending),
            _ => step(row, event, at),
        },
    ),
    (
        "a person cannot hold what waits for its next attempt",
        |row, event, at| match event {
            Event::Hold if row.state == State::Retryable => as_if(row, event, at, State::Dead),
            _ => step(row, event, at),
        },
    ),
    (
        "a person cancels what is in hand",
        |row, event, at| match event {
            Event::Cancel { .. } if is_in_hand(row) => as_if(row, event, at, State::Pending),
            _ => step(row, event, at),
        },
    ),
    (
        "a person confirms what is in hand",
        |row, event, at| match event {
            Event::Confirm if is_in_hand(row) => of_row(row, event, at, |row| {
                (row.state, row.in_doubt) = (State::Dead, true);
            }),
            _ => step(row, event, at),
        },
    ),
    (
        "a person requeues what is in hand",
        |row, event, at| match event {
            Event::Requeue { .. } if is_in_hand(row) => as_if(row, event, at, State::Dead),
            _ => step(row, event, at),
        },
    ),
    ("a shipment leaves no doubt", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Ship) {
                it.row.in_doubt = row.in_doubt;
            }
        })
    }),
    (
        "a shipment needs no address",
        |row, event, at| match event {
            Event::Ship if row.state != State::Delivering => of_row(row, event, at, |row| {
                row.state = State::Held;
                row.hold_reason = Some(HoldReason::Shipment);
            }),
            _ => step(row, event, at),
        },
    ),
    ("anything may be confirmed", |row, event, at| match event {
        Event::Confirm if !is_in_hand(row) => of_row(row, event, at, |row| {
            (row.state, row.in_doubt) = (State::Dead, true);
        }),
        _ => step(row, event, at),
    }),
    (
        "a dead letter without a doubt may be confirmed",
        |row, event, at| match event {
            Event::Confirm if row.state == State::Dead => {
                of_row(row, event, at, |row| row.in_doubt = true)
            }
            _ => step(row, event, at),
        },
    ),
    (
        "an external award is confirmed only while it is held for that",
        |row, event, at| match event {
            Event::Confirm
                if row.kind == Kind::External && row.hold_reason != Some(HoldReason::External) =>
            {
                as_if(row, event, at, State::Cancelled)
            }
            _ => step(row, event, at),
        },
    ),
    (
        "a dead letter in doubt is put back without the word",
        |row, event, at| match event {
            Event::Requeue { due_at, .. } => step(
                row,
                &Event::Requeue {
                    not_delivered: true,
                    due_at: *due_at,
                },
                at,
            ),
            _ => step(row, event, at),
        },
    ),
    (
        "a dead letter in doubt asks for the word everywhere",
        |row, event, at| match event {
            Event::Requeue { .. } => {
                let terms = Terms {
                    is_idempotent: false,
                    ..at.terms.clone()
                };
                step(
                    row,
                    event,
                    Context {
                        terms: &terms,
                        ..at
                    },
                )
            }
            _ => step(row, event, at),
        },
    ),
    ("a requeue clears the doubt", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Requeue { .. }) {
                it.row.in_doubt = false;
            }
        })
    }),
    ("a requeue keeps the attempts", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Requeue { .. }) {
                it.row.attempts = row.attempts;
            }
        })
    }),
    (
        "a requeue is not spread over time",
        |row, event, at| match event {
            Event::Requeue { not_delivered, .. } => step(
                row,
                &Event::Requeue {
                    not_delivered: *not_delivered,
                    due_at: at.now,
                },
                at,
            ),
            _ => step(row, event, at),
        },
    ),
    (
        "a requeue revives what is over",
        |row, event, at| match event {
            Event::Requeue { .. } if matches!(row.state, State::Delivered | State::Cancelled) => {
                as_if(row, event, at, State::Dead)
            }
            _ => step(row, event, at),
        },
    ),
    (
        "a requeue takes what is on its way",
        |row, event, at| match event {
            Event::Requeue { .. } if matches!(row.state, State::Pending | State::Held) => {
                as_if(row, event, at, State::Dead)
            }
            _ => step(row, event, at),
        },
    ),
    (
        "a unit in doubt goes back by itself",
        |row, event, at| match event {
            Event::Cancel { .. } => {
                edited(of_row(row, event, at, |row| row.in_doubt = false), |it| {
                    it.row.in_doubt = row.in_doubt;
                })
            }
            _ => step(row, event, at),
        },
    ),
    (
        "a unit goes back although nobody declared it",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                if matches!(event, Event::Cancel { .. }) && !row.in_doubt {
                    it.stock_back = true;
                }
            })
        },
    ),
    (
        "a unit never goes back by an explicit entry",
        |row, event, at| match event {
            Event::Cancel { .. } => step(
                row,
                &Event::Cancel {
                    return_stock: false,
                },
                at,
            ),
            _ => step(row, event, at),
        },
    ),
    ("a unit never goes back", |row, event, at| {
        edited(step(row, event, at), |it| it.stock_back = false)
    }),
    (
        "what is over is cancelled again",
        |row, event, at| match event {
            Event::Cancel { .. } if matches!(row.state, State::Delivered | State::Cancelled) => {
                as_if(row, event, at, State::Dead)
            }
            _ => step(row, event, at),
        },
    ),
];
