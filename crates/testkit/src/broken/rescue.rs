//! Rescue without its guards.

use super::{BrokenSteps, edited, of_row};
use tombola_core::award::{Context, Event, Row, Sight, State, Step, Terms, step};
use tombola_core::campaign::Kind;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Schedule;

/// Rescue sees something else than what is there.
fn sees(row: &Row, event: &Event, at: Context<'_>, edit: fn(&mut Sight)) -> Step {
    match event {
        Event::Rescue { sight } => {
            let mut sight = *sight;
            edit(&mut sight);
            step(row, &Event::Rescue { sight }, at)
        }
        _ => step(row, event, at),
    }
}

/// Edits what rescue makes of the row.
fn rescued(row: &Row, event: &Event, at: Context<'_>, edit: impl FnOnce(&mut Row)) -> Step {
    edited(step(row, event, at), |it| {
        if matches!(event, Event::Rescue { .. }) {
            edit(&mut it.row);
        }
    })
}

/// What rescue makes of a hold for that reason.
fn held(row: &Row, event: &Event, reason: HoldReason) -> bool {
    matches!(event, Event::Rescue { .. }) && row.hold_reason == Some(reason)
}

/// As if the hold were one that only a person ends.
fn reviewed(row: &Row, event: &Event, at: Context<'_>, reason: HoldReason) -> Step {
    if !held(row, event, reason) {
        return step(row, event, at);
    }
    let answer = of_row(row, event, at, |row| {
        row.hold_reason = Some(HoldReason::Manual);
    });
    edited(answer, |it| it.row.hold_reason = row.hold_reason)
}

pub(super) const ALL: BrokenSteps = &[
    ("rescue overlooks lag", |row, event, at| {
        sees(row, event, at, |it| it.is_lagging = false)
    }),
    (
        "rescue waits for a lagging copy for ever",
        |row, event, at| {
            let schedule = Schedule {
                redelivery_max: std::time::Duration::MAX,
                ..at.schedule.clone()
            };
            step(
                row,
                event,
                Context {
                    schedule: &schedule,
                    ..at
                },
            )
        },
    ),
    (
        "rescue waits for retries as for lagging copies",
        |row, event, at| match event {
            Event::Rescue { sight } if sight.is_lagging && row.state == State::Retryable => {
                Step::Same
            }
            _ => step(row, event, at),
        },
    ),
    (
        "rescue publishes while the breaker is open",
        |row, event, at| sees(row, event, at, |it| it.is_breaker_open = false),
    ),
    (
        "rescue leaves holds while the breaker is open",
        |row, event, at| match event {
            Event::Rescue { sight } if sight.is_breaker_open => Step::Same,
            _ => step(row, event, at),
        },
    ),
    ("rescue keeps the lease", |row, event, at| {
        rescued(row, event, at, |it| it.lease = row.lease)
    }),
    (
        "rescue keeps the lease of what stays held",
        |row, event, at| {
            rescued(row, event, at, |it| {
                if it.state == State::Held {
                    it.lease = row.lease;
                }
            })
        },
    ),
    ("rescue does not count its publishes", |row, event, at| {
        rescued(row, event, at, |it| it.publishes = row.publishes)
    }),
    ("rescue keeps the position", |row, event, at| {
        rescued(row, event, at, |it| it.position = row.position)
    }),
    ("rescue publishes and leaves the date", |row, event, at| {
        rescued(row, event, at, |it| it.due_at = it.due_at.and(row.due_at))
    }),
    (
        "rescue changes the row and publishes nothing",
        |row, event, at| edited(step(row, event, at), |it| it.publish = false),
    ),
    (
        "a lost call is repeated everywhere",
        |row, event, at| match event {
            Event::Rescue { .. } => {
                let terms = Terms {
                    is_idempotent: true,
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
    (
        "a lost call is repeated nowhere",
        |row, event, at| match event {
            Event::Rescue { .. } => {
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
    ("a lost call leaves no doubt", |row, event, at| {
        rescued(row, event, at, |it| {
            if row.state == State::Delivering {
                it.in_doubt = row.in_doubt;
            }
        })
    }),
    (
        "a call lost on the last attempt is repeated",
        |row, event, at| match event {
            Event::Rescue { .. } => {
                let schedule = Schedule {
                    attempts_max: u32::MAX,
                    ..at.schedule.clone()
                };
                step(
                    row,
                    event,
                    Context {
                        schedule: &schedule,
                        ..at
                    },
                )
            }
            _ => step(row, event, at),
        },
    ),
    (
        "a lost worker stays running",
        |row, event, at| match event {
            Event::Rescue { .. } if row.state == State::Delivering => Step::Same,
            _ => step(row, event, at),
        },
    ),
    (
        "an award with a date waits for a person",
        |row, event, at| reviewed(row, event, at, HoldReason::Scheduled),
    ),
    (
        "a hold whose reason has ended waits for a person",
        |row, event, at| sees(row, event, at, |it| it.has_hold_ended = false),
    ),
    ("every hold ends on its date", |row, event, at| {
        sees(row, event, at, |it| it.has_hold_ended = true)
    }),
    (
        "an award without an address waits for ever",
        |row, event, at| reviewed(row, event, at, HoldReason::Address),
    ),
    (
        "an award without an address always gives its unit back",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                it.stock_back |= held(row, event, HoldReason::Address);
            })
        },
    ),
    (
        "an award without an address never gives its unit back",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                it.stock_back &= !held(row, event, HoldReason::Address);
            })
        },
    ),
    (
        "an external award is not published again",
        |row, event, at| reviewed(row, event, at, HoldReason::External),
    ),
    (
        "an external award is waited for without end",
        |row, event, at| {
            let confirm_within = std::time::Duration::from_hours(24 * 365 * 100);
            let terms = Terms {
                confirm_within,
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
        },
    ),
    (
        "an external award is looked at too late",
        |row, event, at| {
            rescued(row, event, at, |it| {
                if it.hold_reason == Some(HoldReason::External) {
                    it.due_at = Some(at.now.plus(at.schedule.grace(it.publishes)));
                }
            })
        },
    ),
    (
        "an external award is held anew with each publish",
        |row, event, at| {
            rescued(row, event, at, |it| {
                if it.hold_reason == Some(HoldReason::External) {
                    it.held_at = Some(at.now);
                }
            })
        },
    ),
    (
        "an external award goes back into pending",
        |row, event, at| match event {
            Event::Rescue { sight }
                if row.kind == Kind::External && row.hold_reason == Some(HoldReason::External) =>
            {
                step(
                    row,
                    &Event::Rescue {
                        sight: Sight {
                            has_hold_ended: true,
                            ..*sight
                        },
                    },
                    at,
                )
            }
            _ => step(row, event, at),
        },
    ),
    ("a hold that lasts is told to nobody", |row, event, at| {
        edited(step(row, event, at), |it| it.alert = false)
    }),
    (
        "a hold by hand is a dead letter on its date",
        |row, event, at| {
            rescued(row, event, at, |it| {
                if it.hold_reason == Some(HoldReason::Manual) {
                    it.state = State::Dead;
                    (it.hold_reason, it.held_at, it.due_at) = (None, None, None);
                    it.dead_reason = Some(DeadReason::Exhausted);
                }
            })
        },
    ),
];
