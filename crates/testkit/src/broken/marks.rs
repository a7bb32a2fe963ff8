//! Marks without their guards.

use super::{BrokenSteps, edited, of_row};
use tombola_core::award::{Event, Mark, MqState, State, step};

pub(super) const ALL: BrokenSteps = &[
    (
        "a mark of any lease is written",
        |row, event, at| match event {
            Event::Mark { mark, .. } => step(
                row,
                &Event::Mark {
                    lease: row.lease,
                    mark: *mark,
                },
                at,
            ),
            _ => step(row, event, at),
        },
    ),
    (
        "a mark revives a row of any state",
        |row, event, at| match event {
            Event::Mark { .. } => of_row(row, event, at, |row| {
                row.state = State::Pending;
                (row.hold_reason, row.held_at, row.dead_reason) = (None, None, None);
            }),
            _ => step(row, event, at),
        },
    ),
    ("a mark grows the lease", |row, event, at| {
        let is_mark = matches!(event, Event::Mark { .. });
        edited(step(row, event, at), |it| {
            it.row.lease += i64::from(is_mark);
        })
    }),
    ("a mark forgets where the copy lies", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(event, Event::Mark { .. }) {
                it.row.position = None;
            }
        })
    }),
    ("a mark keeps the date of the publish", |row, event, at| {
        edited(step(row, event, at), |it| {
            if matches!(
                event,
                Event::Mark {
                    mark: Mark::Taken(_),
                    ..
                }
            ) {
                it.row.due_at = row.due_at;
            }
        })
    }),
    (
        "the grace after a mark is always the first",
        |row, event, at| match event {
            Event::Mark { .. } => edited(of_row(row, event, at, |row| row.publishes = 0), |it| {
                it.row.publishes = row.publishes;
            }),
            _ => step(row, event, at),
        },
    ),
    (
        "a failed publish lowers the note of a sent one",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                if matches!(
                    event,
                    Event::Mark {
                        mark: Mark::Failed,
                        ..
                    }
                ) {
                    it.row.mq_state = MqState::Failed;
                }
            })
        },
    ),
    (
        "a failed publish is tried again at once",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                if matches!(
                    event,
                    Event::Mark {
                        mark: Mark::Failed,
                        ..
                    }
                ) {
                    it.row.due_at = Some(at.now);
                }
            })
        },
    ),
    (
        "a message that is refused for good is tried for ever",
        |row, event, at| match event {
            Event::Mark {
                lease,
                mark: Mark::Refused,
            } => step(
                row,
                &Event::Mark {
                    lease: *lease,
                    mark: Mark::Failed,
                },
                at,
            ),
            _ => step(row, event, at),
        },
    ),
];
