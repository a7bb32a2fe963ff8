//! Copies of outside kinds between the store's word and their claim: a short line for
//! each lane. Who gets a permit is claimed; who waits too long, or for something that
//! does not come soon, is set aside in the database, so that its offset may move.

use super::Worker;
use super::call::Call;
use super::intake::Taken;
use crate::lanes::{Admission, Permit, Wait};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::limits;
use tombola_core::message::Message;
use tombola_core::ports::Claim;
use tracing::Instrument;

/// A claim, with what its call needs.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) claim: Box<Claim>,
    pub(super) message: Arc<Message>,
    /// Trace context of the draw.
    pub(super) traceparent: Option<String>,
    /// `None`: the lane is disabled, and the award is held without a call.
    pub(super) permit: Option<Permit>,
    /// The monotonic reading at which the lease ends.
    pub(super) lease_until: Duration,
}

/// The lines before the lanes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: HashMap<i64, VecDeque<(Taken, Duration)>>,
    count: usize,
    next_look: Option<Duration>,
}

impl Waiting {
    pub(super) fn push(&mut self, lane: i64, taken: Taken, now: Duration) {
        self.lines.entry(lane).or_default().push_back((taken, now));
        self.count += 1;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a line has to be looked at again, if nothing else happens before.
    pub(super) const fn next_look(&self) -> Option<Duration> {
        self.next_look
    }
}

/// What becomes of those who waited.
#[derive(Default)]
struct Sorted {
    admitted: Vec<(Taken, Option<Permit>)>,
    aside: Vec<(i64, Taken)>,
}

impl Worker {
    /// Gives permits as far as there are any; sets aside who waited long enough.
    pub(super) fn give_permits(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut sorted = Sorted::default();
        let mut waiting = std::mem::take(&mut self.waiting);
        for (lane, line) in &mut waiting.lines {
            let look = self.admit_line(*lane, line, &mut sorted);
            self.waiting.next_look = earliest(self.waiting.next_look, look);
        }
        // Every lane may keep its own few, and all together no more than their bound.
        let mut room = limits::LANES_WAITING_MAX;
        for (lane, line) in waiting.lines {
            let keep = line.len().min(limits::LANE_WAITING_MAX).min(room);
            room -= keep;
            for (index, (taken, since)) in line.into_iter().enumerate() {
                if index < keep {
                    self.waiting.push(lane, taken, since);
                } else {
                    sorted.aside.push((lane, taken));
                }
            }
        }
        self.claim_and_set_aside(sorted);
    }

    /// The front of one line; gives when it has to be looked at again.
    fn admit_line(
        &self,
        lane: i64,
        line: &mut VecDeque<(Taken, Duration)>,
        sorted: &mut Sorted,
    ) -> Option<Duration> {
        let parts = &self.shared.parts;
        let now = parts.clock.monotonic();
        while let Some((taken, since)) = line.pop_front() {
            if !self.partitions.is_current(taken.place) {
                continue;
            }
            match parts.lanes.admit(lane, parts.options.call_ahead) {
                Admission::Permit(permit) => sorted.admitted.push((taken, Some(permit))),
                Admission::Disabled => sorted.admitted.push((taken, None)),
                Admission::Wait(wait) => {
                    let gives_up = since + parts.options.lane_wait;
                    let look = match wait {
                        Wait::ForACall => gives_up,
                        Wait::Until(at) => at,
                    };
                    if now >= gives_up || look > gives_up {
                        sorted.aside.push((lane, taken));
                        continue;
                    }
                    line.push_front((taken, since));
                    return Some(look);
                }
            }
        }
        None
    }

    fn claim_and_set_aside(&mut self, mut sorted: Sorted) {
        let shared = &self.shared;
        while !sorted.admitted.is_empty() {
            let rest = sorted
                .admitted
                .split_off(sorted.admitted.len().min(limits::STEP_ROWS_MAX));
            let some = std::mem::replace(&mut sorted.admitted, rest);
            shared
                .tasks
                .spawn_on(&mut self.settling, Arc::clone(shared).claim(some));
        }
        let now = shared.parts.clock.now();
        let mut aside = Vec::with_capacity(sorted.aside.len());
        for (lane, taken) in sorted.aside {
            let wait = self
                .rolls
                .jitter()
                .spread(shared.parts.lanes.set_aside(lane));
            aside.push((taken, now.plus(wait)));
        }
        while !aside.is_empty() {
            let rest = aside.split_off(aside.len().min(limits::STEP_ROWS_MAX));
            let some = std::mem::replace(&mut aside, rest);
            shared
                .tasks
                .spawn_on(&mut self.settling, Arc::clone(shared).set_aside(some));
        }
    }

    /// A claim is durable: its call begins, in a task of its own.
    pub(super) fn begin_call(&mut self, claimed: Claimed) {
        self.step.calls += usize::from(claimed.permit.is_some());
        let span = tracing::debug_span!(
            "deliver",
            award.id = %claimed.claim.award,
            delivery.attempt = claimed.claim.attempts,
            traceparent = claimed.traceparent.as_deref(),
        );
        let jitter = self.rolls.jitter();
        let call = Arc::clone(&self.shared).call(Call { claimed, jitter });
        self.shared
            .tasks
            .spawn_on(&mut self.calls, call.instrument(span));
    }
}

fn earliest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
