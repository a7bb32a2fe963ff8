//! The table of the architecture, written down once more, line by line and apart
//! from the code that it is compared with. Every case is named by one line.

use crate::asks::{
    CANCELLABLE, UNHELD, ends_hold, fails, gives_back, is_out_of_place, lost, mine, stays_held,
};
use crate::cases::Case;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::{Event, Gate, Mark, Refusal, State, Step};
use tombola_core::decision::Decision;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Jitter;

/// What becomes of a row.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// In this state, with this reason, due then; published, unit back, alert.
    To {
        state: State,
        why: Why,
        due: Option<Timestamp>,
        also: &'static [&'static str],
    },
    /// Logged, not written.
    Late,
    /// Nothing.
    Same,
    /// A person is told no.
    Refused(Refusal),
}

/// The reason of a hold or of a dead letter.
#[derive(Debug, PartialEq)]
pub(crate) enum Why {
    None,
    Hold(HoldReason),
    Dead(DeadReason),
}

impl Outcome {
    pub(crate) fn of(step: &Step) -> Self {
        match step {
            Step::Late => Self::Late,
            Step::Same => Self::Same,
            Step::Refused(refusal) => Self::Refused(*refusal),
            Step::Changed(it) => {
                let why = match (it.row.hold_reason, it.row.dead_reason) {
                    (None, None) => Why::None,
                    (Some(reason), None) => Why::Hold(reason),
                    (None, Some(reason)) => Why::Dead(reason),
                    (Some(_), Some(_)) => panic!("held and dead: {it:?}"),
                };
                let also: &[&str] = match (it.publish, it.stock_back, it.alert) {
                    (false, false, false) => &[],
                    (true, false, false) => &["publish"],
                    (false, true, false) => &["stock back"],
                    (false, false, true) => &["alert"],
                    odd => panic!("two at a time: {odd:?}"),
                };
                Self::To {
                    state: it.row.state,
                    why,
                    due: it.row.due_at,
                    also,
                }
            }
        }
    }
}

/// One line of the table.
pub(crate) struct Line {
    pub(crate) says: &'static str,
    pub(crate) when: fn(&Case<'_>) -> bool,
    pub(crate) then: fn(&Case<'_>) -> Outcome,
}

const fn line(
    says: &'static str,
    when: fn(&Case<'_>) -> bool,
    then: fn(&Case<'_>) -> Outcome,
) -> Line {
    Line { says, when, then }
}

const fn to(state: State, due: Timestamp) -> Outcome {
    Outcome::To {
        state,
        why: Why::None,
        due: Some(due),
        also: &[],
    }
}

const fn published(due: Timestamp) -> Outcome {
    Outcome::To {
        state: State::Pending,
        why: Why::None,
        due: Some(due),
        also: &["publish"],
    }
}

const fn held(reason: HoldReason, due: Timestamp) -> Outcome {
    Outcome::To {
        state: State::Held,
        why: Why::Hold(reason),
        due: Some(due),
        also: &[],
    }
}

const fn dead(reason: DeadReason) -> Outcome {
    Outcome::To {
        state: State::Dead,
        why: Why::Dead(reason),
        due: None,
        also: &[],
    }
}

const fn over(state: State, is_stock_back: bool) -> Outcome {
    let also: &[&str] = if is_stock_back { &["stock back"] } else { &[] };
    Outcome::To {
        state,
        why: Why::None,
        due: None,
        also,
    }
}

pub(crate) const LINES: &[Line] = &[
    line(
        "pending: the broker took the message",
        |c| mine(c) && c.is_mark(|it| matches!(it, Mark::Taken(_))),
        |c| to(State::Pending, c.after(c.schedule.grace(c.row.publishes))),
    ),
    line(
        "pending: the publish failed or is unknown",
        |c| mine(c) && c.is_mark(|it| it == Mark::Failed),
        |c| {
            to(
                State::Pending,
                c.after(c.schedule.publish_backoff(c.row.publishes, Jitter::NONE)),
            )
        },
    ),
    line(
        "pending: the message is refused for good",
        |c| mine(c) && c.is_mark(|it| it == Mark::Refused),
        |_| dead(DeadReason::Unpublishable),
    ),
    line(
        "any other state or lease: a late mark",
        |c| c.is_mark(|_| true) && !mine(c),
        |_| Outcome::Late,
    ),
    line(
        "takeable: a copy and a permit",
        |c| c.is_takeable() && c.is_copy(|it| it == Gate::Permit),
        |c| to(State::Delivering, c.after(c.schedule.lease_time)),
    ),
    line(
        "takeable: a copy and no permit",
        |c| c.is_takeable() && c.is_copy(|it| matches!(it, Gate::NoPermit { .. })),
        |c| match c.event {
            Event::Copy {
                gate: Gate::NoPermit { until },
                ..
            } => to(State::Retryable, c.now.max(*until)),
            other => panic!("{other:?}"),
        },
    ),
    line(
        "takeable: a copy while deliveries are paused",
        |c| c.is_takeable() && c.is_copy(|it| it == Gate::Paused),
        |c| held(HoldReason::Paused, c.review()),
    ),
    line(
        "any other: a copy is dropped",
        |c| c.is_copy(|_| true) && !c.is_takeable(),
        |_| Outcome::Same,
    ),
    line(
        "takeable: its own transaction failed, attempts left",
        |c| fails(c) && c.row.attempts + 1 < c.schedule.attempts_max,
        |c| {
            let wait = c.schedule.backoff(c.row.attempts + 1, Jitter::NONE);
            to(State::Retryable, c.after(wait))
        },
    ),
    line(
        "takeable: its own transaction failed, no attempts left",
        |c| fails(c) && c.row.attempts + 1 >= c.schedule.attempts_max,
        |_| dead(DeadReason::Poison),
    ),
    line(
        "any other: a failure is late",
        |c| matches!(c.event, Event::Fail { .. }) && !fails(c),
        |_| Outcome::Late,
    ),
    line(
        "delivering: delivered",
        |c| c.decides(|it| matches!(it, Decision::Delivered { .. })),
        |_| over(State::Delivered, false),
    ),
    line(
        "delivering: retry or a repeatable unknown, attempts left",
        |c| c.decides_again() && c.has_attempts_left(),
        |c| {
            let asked = match c.event {
                Event::Decide {
                    decision: Decision::Retry { after: Some(after) },
                    ..
                } => *after,
                _ => Duration::ZERO,
            };
            let wait = c.schedule.backoff(c.row.attempts, Jitter::NONE);
            to(State::Retryable, c.after(wait.max(asked)))
        },
    ),
    line(
        "delivering: retry or a repeatable unknown, no attempts left",
        |c| c.decides_again() && !c.has_attempts_left(),
        |_| dead(DeadReason::Exhausted),
    ),
    line(
        "delivering: refused",
        |c| c.decides(|it| matches!(it, Decision::Refuse)),
        |_| dead(DeadReason::Refused),
    ),
    line(
        "delivering: unknown at another endpoint",
        |c| c.decides(|it| matches!(it, Decision::Unknown)) && !c.terms.is_idempotent,
        |_| dead(DeadReason::UnknownOutcome),
    ),
    line(
        "delivering: the endpoint's fault",
        |c| c.decides(|it| matches!(it, Decision::Defer)) && !c.is_fault_too_long(),
        |_| to(State::Retryable, crate::cases::LATER),
    ),
    line(
        "delivering: the endpoint's fault, for too long",
        |c| c.decides(|it| matches!(it, Decision::Defer)) && c.is_fault_too_long(),
        |_| dead(DeadReason::EndpointFault),
    ),
    line(
        "delivering: held",
        |c| c.decides(|it| matches!(it, Decision::Hold(_))) && !c.has_hold_ended(),
        |c| {
            let Event::Decide {
                decision: Decision::Hold(reason),
                ..
            } = c.event
            else {
                panic!("{c:?}")
            };
            let due = match reason {
                HoldReason::Address => c.after(c.terms.claim_within),
                HoldReason::Shipment => c.after(c.terms.ship_within),
                HoldReason::External => c.after(c.schedule.grace(c.row.publishes)),
                HoldReason::Manual
                | HoldReason::Scheduled
                | HoldReason::Paused
                | HoldReason::NoCode
                | HoldReason::EndpointDisabled => c.review(),
            };
            held(*reason, due)
        },
    ),
    line(
        "delivering: held for a reason that has ended meanwhile",
        |c| c.decides(|it| matches!(it, Decision::Hold(_))) && c.has_hold_ended(),
        |c| to(State::Pending, c.now),
    ),
    line(
        "any other state or lease: a late decision",
        |c| matches!(c.event, Event::Decide { .. }) && !c.decides(|_| true),
        |_| Outcome::Late,
    ),
    line("delivering: given back", gives_back, |c| {
        to(State::Pending, c.now)
    }),
    line(
        "any other state or lease: given back late",
        |c| matches!(c.event, Event::GiveBack { .. }) && !gives_back(c),
        |_| Outcome::Late,
    ),
    line(
        "rescue: not due, or over",
        |c| c.is_rescue() && !c.is_due(),
        |_| Outcome::Same,
    ),
    line(
        "rescue: on its way, and it only waits or the breaker is open",
        |c| c.is_rescue_of(&UNHELD) && (c.sees().is_breaker_open || c.only_waits()),
        |_| Outcome::Same,
    ),
    line(
        "rescue: on its way",
        |c| c.is_rescue_of(&UNHELD) && !c.sees().is_breaker_open && !c.only_waits(),
        |c| published(c.next_grace()),
    ),
    line(
        "rescue: delivering, local or idempotent, attempts left",
        |c| lost(c) && (c.row.lane == 0 || c.terms.is_idempotent) && c.has_attempts_left(),
        |c| published(c.next_grace()),
    ),
    line(
        "rescue: delivering, local or idempotent, no attempts left",
        |c| lost(c) && (c.row.lane == 0 || c.terms.is_idempotent) && !c.has_attempts_left(),
        |_| dead(DeadReason::WorkerLost),
    ),
    line(
        "rescue: delivering, other endpoints",
        |c| lost(c) && c.row.lane != 0 && !c.terms.is_idempotent,
        |_| dead(DeadReason::UnknownOutcome),
    ),
    line(
        "rescue: held for its date, or the reason has ended",
        |c| c.is_rescue_of(&[State::Held]) && c.is_hold_over(),
        |c| published(c.next_grace()),
    ),
    line(
        "rescue: no address in time",
        |c| stays_held(c) && c.is_held_for(HoldReason::Address),
        |c| over(State::Cancelled, c.terms.return_stock && !c.row.in_doubt),
    ),
    line(
        "rescue: external, within its time",
        |c| stays_held(c) && c.is_held_for(HoldReason::External) && c.now < c.confirm_ends(),
        |c| Outcome::To {
            state: State::Held,
            why: Why::Hold(HoldReason::External),
            due: Some(c.next_grace().min(c.confirm_ends())),
            also: &["publish"],
        },
    ),
    line(
        "rescue: external, its time is over",
        |c| stays_held(c) && c.is_held_for(HoldReason::External) && c.now >= c.confirm_ends(),
        |_| dead(DeadReason::NotConfirmed),
    ),
    line(
        "rescue: any other hold is told and looked at again",
        |c| {
            stays_held(c)
                && !c.is_held_for(HoldReason::Address)
                && !c.is_held_for(HoldReason::External)
        },
        |c| Outcome::To {
            state: State::Held,
            why: c.row.hold_reason.map_or(Why::None, Why::Hold),
            due: Some(c.review()),
            also: &["alert"],
        },
    ),
    line("held: what it waited for has come", ends_hold, |c| {
        to(State::Pending, c.now)
    }),
    line(
        "any other: nothing that was waited for",
        |c| matches!(c.event, Event::End { .. }) && !ends_hold(c),
        |c| Outcome::Refused(Refusal::WrongState { state: c.row.state }),
    ),
    line(
        "delivering: any act of a person",
        |c| c.is_operator() && c.is(State::Delivering),
        |c| {
            let lease_ends = c.row.due_at.unwrap_or(c.now);
            Outcome::Refused(Refusal::Delivering { lease_ends })
        },
    ),
    line(
        "on its way: held by an operator",
        |c| *c.event == Event::Hold && c.is_one_of(&UNHELD),
        |c| held(HoldReason::Manual, c.review()),
    ),
    line(
        "held(shipment): shipped",
        |c| *c.event == Event::Ship && c.is_held_for(HoldReason::Shipment),
        |c| held(HoldReason::Shipment, c.review()),
    ),
    line(
        "confirmed",
        |c| *c.event == Event::Confirm && c.is_confirmable(),
        |_| over(State::Delivered, false),
    ),
    line(
        "dead: requeued",
        |c| c.is_requeue() && !c.lacks_the_word(),
        |_| to(State::Pending, crate::cases::LATER),
    ),
    line(
        "dead: requeued without the word",
        |c| c.is_requeue() && c.lacks_the_word(),
        |_| Outcome::Refused(Refusal::OutcomeUnknown),
    ),
    line(
        "cancelled",
        |c| matches!(c.event, Event::Cancel { .. }) && c.is_one_of(&CANCELLABLE),
        |c| {
            let is_entry = *c.event == Event::Cancel { return_stock: true };
            over(
                State::Cancelled,
                is_entry || (c.terms.return_stock && !c.row.in_doubt),
            )
        },
    ),
    line(
        "any other: an act of a person is refused",
        is_out_of_place,
        |c| Outcome::Refused(Refusal::WrongState { state: c.row.state }),
    ),
];
