//! Rows that are no longer whole.

use super::{BrokenSteps, edited};
use tombola_core::award::{State, step};

pub(super) const ALL: BrokenSteps = &[
    ("the lease never grows", |row, event, at| {
        edited(step(row, event, at), |it| it.row.lease = row.lease)
    }),
    ("the lease begins anew", |row, event, at| {
        edited(step(row, event, at), |it| it.row.lease = 1)
    }),
    ("what is over keeps its date", |row, event, at| {
        edited(step(row, event, at), |it| {
            it.row.due_at = it.row.due_at.or(row.due_at);
        })
    }),
    ("what is held has no date", |row, event, at| {
        edited(step(row, event, at), |it| {
            if it.row.state == State::Held {
                it.row.due_at = None;
            }
        })
    }),
    ("the reason of a hold outlives it", |row, event, at| {
        edited(step(row, event, at), |it| {
            it.row.hold_reason = it.row.hold_reason.or(row.hold_reason);
        })
    }),
    (
        "the reason of a dead letter outlives it",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                it.row.dead_reason = it.row.dead_reason.or(row.dead_reason);
            })
        },
    ),
    ("a dead letter has no reason", |row, event, at| {
        edited(step(row, event, at), |it| it.row.dead_reason = None)
    }),
    ("an end clears the doubt", |row, event, at| {
        edited(step(row, event, at), |it| {
            it.row.in_doubt &= !it.row.state.is_final();
        })
    }),
];
