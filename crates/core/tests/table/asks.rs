//! What the lines of the table ask of a case.

use crate::cases::Case;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::{Event, Gate, Mark, Sight, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::reason::HoldReason;

pub(crate) const UNHELD: [State; 2] = [State::Pending, State::Retryable];
pub(crate) const CANCELLABLE: [State; 4] =
    [State::Pending, State::Retryable, State::Held, State::Dead];

/// What the lines ask of a case.
impl Case<'_> {
    pub(crate) fn is(&self, state: State) -> bool {
        self.row.state == state
    }

    pub(crate) fn is_one_of(&self, states: &[State]) -> bool {
        states.contains(&self.row.state)
    }

    pub(crate) fn is_held_for(&self, reason: HoldReason) -> bool {
        self.row.hold_reason == Some(reason)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.row.due_at.is_some_and(|due| due <= self.now)
    }

    /// `pending`, or `retryable` past its time.
    pub(crate) fn is_takeable(&self) -> bool {
        self.is(State::Pending) || (self.is(State::Retryable) && self.is_due())
    }

    pub(crate) fn has_attempts_left(&self) -> bool {
        self.row.attempts < self.schedule.attempts_max
    }

    pub(crate) fn after(&self, span: Duration) -> Timestamp {
        self.now.plus(span)
    }

    pub(crate) fn next_grace(&self) -> Timestamp {
        self.after(self.schedule.grace(self.row.publishes + 1))
    }

    pub(crate) fn review(&self) -> Timestamp {
        self.after(self.schedule.hold_review)
    }

    pub(crate) fn is_mark(&self, is_meant: fn(Mark) -> bool) -> bool {
        matches!(self.event, Event::Mark { mark, .. } if is_meant(*mark))
    }

    pub(crate) fn is_copy(&self, is_meant: fn(Gate) -> bool) -> bool {
        matches!(self.event, Event::Copy { gate, .. } if is_meant(*gate))
    }

    pub(crate) fn is_rescue(&self) -> bool {
        matches!(self.event, Event::Rescue { .. })
    }

    /// Rescue looks at what is due, in one of these states.
    pub(crate) fn is_rescue_of(&self, states: &[State]) -> bool {
        self.is_rescue() && self.is_due() && self.is_one_of(states)
    }

    pub(crate) fn sees(&self) -> Sight {
        match self.event {
            Event::Rescue { sight } => *sight,
            other => panic!("not rescue: {other:?}"),
        }
    }

    /// A row that only waits: it lags, and not for longer than `redelivery_max`.
    pub(crate) fn only_waits(&self) -> bool {
        let overdue = self.row.due_at.map(|due| self.now.since(due));
        self.is(State::Pending)
            && self.sees().is_lagging
            && overdue < Some(self.schedule.redelivery_max)
    }

    pub(crate) fn is_hold_over(&self) -> bool {
        self.is_held_for(HoldReason::Scheduled) || self.sees().has_hold_ended
    }

    pub(crate) fn confirm_ends(&self) -> Timestamp {
        self.row
            .held_at
            .map_or(self.now, |at| at.plus(self.terms.confirm_within))
    }

    /// The decision of a call, recorded by the holder of the claim.
    pub(crate) fn decides(&self, is_meant: fn(&Decision) -> bool) -> bool {
        match self.event {
            Event::Decide {
                lease, decision, ..
            } => self.is(State::Delivering) && *lease == self.row.lease && is_meant(decision),
            _ => false,
        }
    }

    pub(crate) fn has_hold_ended(&self) -> bool {
        matches!(
            self.event,
            Event::Decide {
                has_hold_ended: true,
                ..
            }
        )
    }

    /// Retry, or an unknown that may be repeated.
    pub(crate) fn decides_again(&self) -> bool {
        self.decides(|it| matches!(it, Decision::Retry { .. }))
            || (self.decides(|it| matches!(it, Decision::Unknown)) && self.terms.is_idempotent)
    }

    pub(crate) fn is_fault_too_long(&self) -> bool {
        let since = self.row.deferred_since.unwrap_or(self.now);
        self.now.since(since) >= self.schedule.defer_max
    }

    pub(crate) fn is_confirmable(&self) -> bool {
        let is_external = self.row.kind == Kind::External
            && self.is_one_of(&[State::Pending, State::Retryable, State::Held]);
        self.is_held_for(HoldReason::Shipment)
            || (self.is(State::Dead) && self.row.in_doubt)
            || is_external
    }

    pub(crate) fn is_requeue(&self) -> bool {
        matches!(self.event, Event::Requeue { .. }) && self.is(State::Dead)
    }

    /// In doubt, not at an idempotent endpoint, and without the word.
    pub(crate) fn lacks_the_word(&self) -> bool {
        let is_idempotent = self.row.lane != 0 && self.terms.is_idempotent;
        let has_word = matches!(
            self.event,
            Event::Requeue {
                not_delivered: true,
                ..
            }
        );
        self.row.in_doubt && !is_idempotent && !has_word
    }

    /// An operator's event other than the end of a hold.
    pub(crate) fn is_operator(&self) -> bool {
        self.is_by_a_person() && !matches!(self.event, Event::End { .. })
    }
}

/// The holder of the hand-off speaks of a row that is still where it was.
pub(crate) fn mine(c: &Case<'_>) -> bool {
    matches!(c.event, Event::Mark { lease, .. } if *lease == c.row.lease) && c.is(State::Pending)
}

pub(crate) fn fails(c: &Case<'_>) -> bool {
    matches!(c.event, Event::Fail { lease, .. } if *lease == c.row.lease) && c.is_takeable()
}

pub(crate) fn gives_back(c: &Case<'_>) -> bool {
    matches!(c.event, Event::GiveBack { lease } if *lease == c.row.lease) && c.is(State::Delivering)
}

pub(crate) fn lost(c: &Case<'_>) -> bool {
    c.is_rescue_of(&[State::Delivering])
}

pub(crate) fn stays_held(c: &Case<'_>) -> bool {
    c.is_rescue_of(&[State::Held]) && !c.is_hold_over()
}

pub(crate) fn ends_hold(c: &Case<'_>) -> bool {
    matches!(c.event, Event::End { reason } if c.is_held_for(*reason))
}

/// No line of the table allows this act in this state, and no worker has the award.
pub(crate) fn is_out_of_place(c: &Case<'_>) -> bool {
    let is_allowed = match c.event {
        Event::Hold => c.is_one_of(&UNHELD),
        Event::Ship => c.is_held_for(HoldReason::Shipment),
        Event::Confirm => c.is_confirmable(),
        Event::Requeue { .. } => c.is(State::Dead),
        Event::Cancel { .. } => c.is_one_of(&CANCELLABLE),
        _ => true,
    };
    !is_allowed && !c.is(State::Delivering)
}
