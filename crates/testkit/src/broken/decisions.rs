//! Decisions and claims given back without their guards.

use super::{BrokenSteps, edited, of_row};
use tombola_core::award::{Context, Event, Row, State, Step, Terms, step};
use tombola_core::decision::Decision;
use tombola_core::reason::DeadReason;
use tombola_core::retry::Schedule;

/// Edits what a decision makes of the row.
fn decided(
    row: &Row,
    event: &Event,
    at: Context<'_>,
    is_meant: fn(&Decision) -> bool,
    edit: impl FnOnce(&mut Row),
) -> Step {
    edited(step(row, event, at), |it| {
        if matches!(event, Event::Decide { decision, .. } if is_meant(decision)) {
            edit(&mut it.row);
        }
    })
}

/// Answers for an endpoint that does or does not honour the delivery key,
/// whatever its owner said.
fn as_if(row: &Row, event: &Event, at: Context<'_>, is_idempotent: bool) -> Step {
    let terms = Terms {
        is_idempotent,
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

const fn is_unknown(decision: &Decision) -> bool {
    matches!(decision, Decision::Unknown)
}

const fn is_retry(decision: &Decision) -> bool {
    matches!(decision, Decision::Retry { .. })
}

const fn is_defer(decision: &Decision) -> bool {
    matches!(decision, Decision::Defer)
}

const fn is_hold(decision: &Decision) -> bool {
    matches!(decision, Decision::Hold(_))
}

/// A decision with the lease of the row, whatever it came with.
fn with_lease(event: &Event, lease: i64) -> Event {
    match event.clone() {
        Event::Decide {
            decision,
            lane_at,
            has_hold_ended,
            jitter,
            ..
        } => Event::Decide {
            lease,
            decision,
            lane_at,
            has_hold_ended,
            jitter,
        },
        other => other,
    }
}

fn in_hand(row: &mut Row) {
    row.state = State::Delivering;
    (row.hold_reason, row.held_at, row.dead_reason) = (None, None, None);
}

pub(super) const ALL: BrokenSteps = &[
    ("a decision of any lease is written", |row, event, at| {
        step(row, &with_lease(event, row.lease), at)
    }),
    (
        "a decision is written in any state",
        |row, event, at| match event {
            Event::Decide { .. } => of_row(row, event, at, in_hand),
            _ => step(row, event, at),
        },
    ),
    (
        "a claim of any lease is given back",
        |row, event, at| match event {
            Event::GiveBack { .. } => step(row, &Event::GiveBack { lease: row.lease }, at),
            _ => step(row, event, at),
        },
    ),
    (
        "a claim is given back in any state",
        |row, event, at| match event {
            Event::GiveBack { .. } => of_row(row, event, at, in_hand),
            _ => step(row, event, at),
        },
    ),
    (
        "a claim that is given back keeps its attempt",
        |row, event, at| {
            edited(step(row, event, at), |it| {
                if matches!(event, Event::GiveBack { .. }) {
                    it.row.attempts = row.attempts;
                }
            })
        },
    ),
    (
        "an unknown outcome is repeated everywhere",
        |row, event, at| match event {
            Event::Decide {
                decision: Decision::Unknown,
                ..
            } => as_if(row, event, at, true),
            _ => step(row, event, at),
        },
    ),
    (
        "an unknown outcome is repeated nowhere",
        |row, event, at| match event {
            Event::Decide {
                decision: Decision::Unknown,
                ..
            } => as_if(row, event, at, false),
            _ => step(row, event, at),
        },
    ),
    ("an unknown outcome leaves no doubt", |row, event, at| {
        decided(row, event, at, is_unknown, |it| it.in_doubt = row.in_doubt)
    }),
    (
        "an unknown outcome is recorded as a retry",
        |row, event, at| match event.clone() {
            Event::Decide {
                lease,
                decision: Decision::Unknown,
                lane_at,
                has_hold_ended,
                jitter,
            } => {
                let decision = Decision::Retry { after: None };
                step(
                    row,
                    &Event::Decide {
                        lease,
                        decision,
                        lane_at,
                        has_hold_ended,
                        jitter,
                    },
                    at,
                )
            }
            other => step(row, &other, at),
        },
    ),
    ("attempts have no end", |row, event, at| match event {
        Event::Decide { .. } => {
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
    }),
    (
        "the last attempt is not made",
        |row, event, at| match event {
            Event::Decide { .. } => {
                let attempts_max = at.schedule.attempts_max - 1;
                let schedule = Schedule {
                    attempts_max,
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
    ("a retry does not wait", |row, event, at| {
        decided(row, event, at, is_retry, |it| {
            it.due_at = it.due_at.map(|_| at.now);
        })
    }),
    (
        "a retry overlooks how long the endpoint asked for",
        |row, event, at| match event.clone() {
            Event::Decide {
                lease,
                decision: Decision::Retry { .. },
                lane_at,
                has_hold_ended,
                jitter,
            } => {
                let decision = Decision::Retry { after: None };
                step(
                    row,
                    &Event::Decide {
                        lease,
                        decision,
                        lane_at,
                        has_hold_ended,
                        jitter,
                    },
                    at,
                )
            }
            other => step(row, &other, at),
        },
    ),
    ("a refusal is tried again", |row, event, at| {
        match event.clone() {
            Event::Decide {
                lease,
                decision: Decision::Refuse,
                lane_at,
                has_hold_ended,
                jitter,
            } => {
                let decision = Decision::Retry { after: None };
                step(
                    row,
                    &Event::Decide {
                        lease,
                        decision,
                        lane_at,
                        has_hold_ended,
                        jitter,
                    },
                    at,
                )
            }
            other => step(row, &other, at),
        }
    }),
    (
        "a fault of the endpoint counts as an attempt",
        |row, event, at| decided(row, event, at, is_defer, |it| it.attempts = row.attempts),
    ),
    (
        "a fault of the endpoint may last for ever",
        |row, event, at| {
            decided(row, event, at, is_defer, |it| {
                if it.dead_reason == Some(DeadReason::EndpointFault) {
                    it.state = State::Retryable;
                    (it.dead_reason, it.due_at) = (None, Some(at.now));
                }
            })
        },
    ),
    (
        "a fault of the endpoint begins anew each time",
        |row, event, at| match event {
            Event::Decide {
                decision: Decision::Defer,
                ..
            } => of_row(row, event, at, |row| row.deferred_since = None),
            _ => step(row, event, at),
        },
    ),
    ("a fault of the endpoint is never over", |row, event, at| {
        decided(row, event, at, is_retry, |it| {
            it.deferred_since = row.deferred_since;
        })
    }),
    ("a hold counts as an attempt", |row, event, at| {
        decided(row, event, at, is_hold, |it| it.attempts = row.attempts)
    }),
    (
        "a hold overlooks that its reason ended meanwhile",
        |row, event, at| match event.clone() {
            Event::Decide {
                lease,
                decision,
                lane_at,
                jitter,
                ..
            } => {
                let event = Event::Decide {
                    lease,
                    decision,
                    lane_at,
                    has_hold_ended: false,
                    jitter,
                };
                step(row, &event, at)
            }
            other => step(row, &other, at),
        },
    ),
    ("a delivered award is due once more", |row, event, at| {
        edited(step(row, event, at), |it| {
            if it.row.state == State::Delivered && row.state == State::Delivering {
                it.row.state = State::Retryable;
                it.row.due_at = Some(at.now);
            }
        })
    }),
];
