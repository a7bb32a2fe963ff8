//! Copies, claims and poison without their guards.

use super::{BrokenSteps, edited, of_row};
use tombola_core::award::{Context, Event, Gate, Row, State, Step, step};
use tombola_core::reason::DeadReason;

/// A copy finds a row of `state` takeable.
fn takes(row: &Row, event: &Event, at: Context<'_>, state: State) -> Step {
    match event {
        Event::Copy { .. } if row.state == state => of_row(row, event, at, |row| {
            row.state = State::Pending;
            (row.hold_reason, row.held_at, row.dead_reason) = (None, None, None);
        }),
        _ => step(row, event, at),
    }
}

/// Edits what a copy through the gate makes of the row.
fn through(
    row: &Row,
    event: &Event,
    at: Context<'_>,
    is_gate: fn(Gate) -> bool,
    edit: impl FnOnce(&mut Row),
) -> Step {
    edited(step(row, event, at), |it| {
        if matches!(event, Event::Copy { gate, .. } if is_gate(*gate)) {
            edit(&mut it.row);
        }
    })
}

fn is_permit(gate: Gate) -> bool {
    gate == Gate::Permit
}

const fn is_no_permit(gate: Gate) -> bool {
    matches!(gate, Gate::NoPermit { .. })
}

fn is_pause(gate: Gate) -> bool {
    gate == Gate::Paused
}

pub(super) const ALL: BrokenSteps = &[
    (
        "a copy takes a retry before its time",
        |row, event, at| match event {
            Event::Copy { .. } if row.state == State::Retryable => {
                of_row(row, event, at, |row| row.due_at = Some(at.now))
            }
            _ => step(row, event, at),
        },
    ),
    ("a copy never takes a retry", |row, event, at| match event {
        Event::Copy { .. } if row.state == State::Retryable => Step::Same,
        _ => step(row, event, at),
    }),
    ("a copy takes what another worker has", |row, event, at| {
        takes(row, event, at, State::Delivering)
    }),
    ("a copy takes what is held", |row, event, at| {
        takes(row, event, at, State::Held)
    }),
    ("a copy takes what is delivered", |row, event, at| {
        takes(row, event, at, State::Delivered)
    }),
    ("a copy takes a dead letter", |row, event, at| {
        takes(row, event, at, State::Dead)
    }),
    ("a copy takes what is cancelled", |row, event, at| {
        takes(row, event, at, State::Cancelled)
    }),
    ("a claim counts no attempt", |row, event, at| {
        through(row, event, at, is_permit, |it| it.attempts = row.attempts)
    }),
    ("a claim keeps the lease", |row, event, at| {
        through(row, event, at, is_permit, |it| it.lease = row.lease)
    }),
    ("a claim sets no date", |row, event, at| {
        through(row, event, at, is_permit, |it| it.due_at = row.due_at)
    }),
    ("a claim keeps the publishes", |row, event, at| {
        through(row, event, at, is_permit, |it| it.publishes = row.publishes)
    }),
    ("a claim forgets where its copy lies", |row, event, at| {
        through(row, event, at, is_permit, |it| it.position = row.position)
    }),
    ("a claim leaves the note at not sent", |row, event, at| {
        through(row, event, at, is_permit, |it| it.mq_state = row.mq_state)
    }),
    (
        "a copy without a permit counts an attempt",
        |row, event, at| through(row, event, at, is_no_permit, |it| it.attempts += 1),
    ),
    (
        "a copy without a permit keeps the publishes",
        |row, event, at| {
            through(row, event, at, is_no_permit, |it| {
                it.publishes = row.publishes;
            })
        },
    ),
    (
        "a copy without a permit keeps the lease",
        |row, event, at| through(row, event, at, is_no_permit, |it| it.lease = row.lease),
    ),
    (
        "a copy without a permit is due at once",
        |row, event, at| through(row, event, at, is_no_permit, |it| it.due_at = Some(at.now)),
    ),
    (
        "a copy without a permit may be due in the past",
        |row, event, at| match event {
            Event::Copy {
                gate: Gate::NoPermit { until },
                ..
            } => edited(step(row, event, at), |it| it.row.due_at = Some(*until)),
            _ => step(row, event, at),
        },
    ),
    ("a pause is overlooked", |row, event, at| match event {
        Event::Copy {
            position,
            gate: Gate::Paused,
        } => step(
            row,
            &Event::Copy {
                position: *position,
                gate: Gate::Permit,
            },
            at,
        ),
        _ => step(row, event, at),
    }),
    ("a pause counts an attempt", |row, event, at| {
        through(row, event, at, is_pause, |it| it.attempts += 1)
    }),
    ("a pause keeps the lease", |row, event, at| {
        through(row, event, at, is_pause, |it| it.lease = row.lease)
    }),
    ("a poison row counts no attempt", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Fail { .. }) {
                it.row.attempts = row.attempts;
            }
        })
    }),
    ("a poison row is tried for ever", |row, event, at| {
        edited(step(row, event, at), |it| {
            if it.row.dead_reason == Some(DeadReason::Poison) {
                it.row.state = State::Retryable;
                (it.row.dead_reason, it.row.due_at) = (None, Some(at.now));
            }
        })
    }),
    ("a poison row is tried again at once", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Fail { .. }) && it.row.state == State::Retryable {
                it.row.due_at = Some(at.now);
            }
        })
    }),
];
