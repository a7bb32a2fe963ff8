//! The product of rows, events and terms that the table is asked about.

use std::time::Duration;
use tombola_core::award::{
    Context, Event, Gate, Mark, MqState, Position, Row, Sight, State, Step, Terms, step,
};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::{Jitter, Schedule};
use tombola_core::{AwardId, Timestamp};

/// The instant of every case.
pub(crate) const NOW: Timestamp = Timestamp(1_771_000_000_000_000);
/// The lease of every row.
pub(crate) const LEASE: i64 = 7;
/// When a lane would take a row again, and the date of a requeue.
pub(crate) const LATER: Timestamp = Timestamp(NOW.0 + 90_000_000);

/// A row, what happens to it, and what is known beside.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) row: &'a Row,
    pub(crate) event: &'a Event,
    pub(crate) terms: &'a Terms,
    pub(crate) schedule: &'a Schedule,
    pub(crate) now: Timestamp,
}

impl Case<'_> {
    pub(crate) fn step(&self) -> Step {
        let at = Context {
            now: self.now,
            schedule: self.schedule,
            terms: self.terms,
        };
        step(self.row, self.event, at)
    }

    pub(crate) fn is_by_a_person(&self) -> bool {
        matches!(
            self.event,
            Event::End { .. }
                | Event::Hold
                | Event::Ship
                | Event::Confirm
                | Event::Requeue { .. }
                | Event::Cancel { .. }
        )
    }
}

pub(crate) fn each_case(mut check: impl FnMut(&Case<'_>)) {
    let schedule = Schedule::default();
    let (rows, events, terms) = (rows(&schedule), events(), terms());
    for row in &rows {
        for event in &events {
            for terms in &terms {
                check(&Case {
                    row,
                    event,
                    terms,
                    schedule: &schedule,
                    now: NOW,
                });
            }
        }
    }
}

fn terms() -> Vec<Terms> {
    let mut all = Vec::new();
    for is_idempotent in [false, true] {
        for return_stock in [false, true] {
            all.push(Terms {
                is_idempotent,
                return_stock,
                ..Terms::default()
            });
        }
    }
    all
}

/// Every state with each of its reasons.
fn states() -> Vec<(State, Option<HoldReason>, Option<DeadReason>)> {
    let mut all = Vec::new();
    for state in State::ALL {
        match state {
            State::Held => {
                all.extend(HoldReason::ALL.iter().map(|it| (*state, Some(*it), None)));
            }
            State::Dead => {
                all.extend(DeadReason::ALL.iter().map(|it| (*state, None, Some(*it))));
            }
            State::Pending
            | State::Delivering
            | State::Retryable
            | State::Delivered
            | State::Cancelled => all.push((*state, None, None)),
        }
    }
    all
}

/// Local, outside, two steps, and read by others.
const KINDS: [(Kind, i64); 4] = [
    (Kind::Text, 0),
    (Kind::Webhook, 3),
    (Kind::Physical, 0),
    (Kind::External, 0),
];

fn rows(schedule: &Schedule) -> Vec<Row> {
    let long_ago = NOW.minus(schedule.redelivery_max + Duration::from_secs(1));
    let dates = [long_ago, NOW, NOW.plus(Duration::from_secs(1))];
    let position = Position {
        epoch: 1,
        partition: 0,
        offset: 9,
    };
    let mut all = Vec::new();
    for (kind, lane) in KINDS {
        for (state, hold_reason, dead_reason) in states() {
            let dates: &[Timestamp] = if state.is_final() {
                &dates[..1]
            } else {
                &dates
            };
            for due_at in dates {
                for bits in 0..16_u8 {
                    let is = |bit: u8| bits & (1 << bit) != 0;
                    let since = is(3).then(|| NOW.minus(schedule.defer_max));
                    all.push(Row {
                        award: AwardId(42),
                        kind,
                        lane,
                        state,
                        lease: LEASE,
                        due_at: (!state.is_final()).then_some(*due_at),
                        attempts: if is(0) { schedule.attempts_max } else { 1 },
                        publishes: if is(0) { 3 } else { 0 },
                        in_doubt: is(1),
                        hold_reason,
                        dead_reason,
                        held_at: hold_reason.map(|_| since.unwrap_or(NOW)),
                        deferred_since: since,
                        mq_state: if is(2) {
                            MqState::Sent
                        } else {
                            MqState::NotSent
                        },
                        position: is(2).then_some(position),
                    });
                }
            }
        }
    }
    all
}

fn events() -> Vec<Event> {
    let position = Position {
        epoch: 2,
        partition: 1,
        offset: 4,
    };
    let mut all = Vec::new();
    for lease in [LEASE, LEASE - 1] {
        for mark in [Mark::Taken(position), Mark::Failed, Mark::Refused] {
            all.push(Event::Mark { lease, mark });
        }
        all.push(Event::Fail {
            lease,
            jitter: Jitter::NONE,
        });
        all.push(Event::GiveBack { lease });
        for decision in decisions() {
            for has_hold_ended in [false, true] {
                all.push(Event::Decide {
                    lease,
                    decision: decision.clone(),
                    lane_at: LATER,
                    has_hold_ended,
                    jitter: Jitter::NONE,
                });
            }
        }
    }
    let early = NOW.minus(Duration::from_secs(1));
    for gate in [
        Gate::Permit,
        Gate::NoPermit { until: LATER },
        Gate::NoPermit { until: early },
        Gate::Paused,
    ] {
        all.push(Event::Copy { position, gate });
    }
    for bits in 0..8_u8 {
        let is = |bit: u8| bits & (1 << bit) != 0;
        let sight = Sight {
            is_lagging: is(0),
            is_breaker_open: is(1),
            has_hold_ended: is(2),
        };
        all.push(Event::Rescue { sight });
    }
    all.extend(
        HoldReason::ALL
            .iter()
            .map(|reason| Event::End { reason: *reason }),
    );
    all.extend([Event::Hold, Event::Ship, Event::Confirm]);
    for word in [false, true] {
        all.push(Event::Requeue {
            not_delivered: word,
            due_at: LATER,
        });
        all.push(Event::Cancel { return_stock: word });
    }
    all
}

fn decisions() -> Vec<Decision> {
    let mut all = vec![
        Decision::Delivered { receipt: None },
        Decision::Retry { after: None },
        Decision::Retry {
            after: Some(Duration::from_hours(2)),
        },
        Decision::Refuse,
        Decision::Unknown,
        Decision::Defer,
    ];
    all.extend(HoldReason::ALL.iter().map(|reason| Decision::Hold(*reason)));
    all
}
