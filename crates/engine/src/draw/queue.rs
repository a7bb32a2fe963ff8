//! Who waits, and the tickets in hand: what batches are made of. The desk begins batches
//! from it, and a batch in flight takes from it when its turn comes.

use super::lines::{Lines, Standing};
use super::tickets::Tickets;
use super::{DeskOptions, Member};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::ports::Clock;

/// A request's key: client and key.
pub(super) type Key = (Arc<str>, Arc<str>);

/// Shared by the desk and its batches; nobody has it for longer than it takes to move a
/// batch's members.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    batch_draws_max: u32,
    wait_max: Duration,
}

pub(super) struct Inner {
    pub(super) lines: Lines,
    pub(super) tickets: Tickets,
}

/// Who was taken out of a line.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) members: Vec<Member>,
    /// Those who had waited too long.
    pub(super) late: Vec<Standing>,
}

impl Queue {
    pub(super) fn new(tickets: Tickets, clock: Arc<dyn Clock>, options: &DeskOptions) -> Self {
        let lines = Lines::new(options.lines_max, options.waiting_per_campaign_max);
        Self {
            inner: Mutex::new(Inner { lines, tickets }),
            clock,
            batch_draws_max: options.batch_draws_max,
            wait_max: options.wait_max,
        }
    }

    /// It stays sound, whoever panicked over it: nothing in it is changed by halves.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What arrived before this has waited too long.
    pub(super) fn oldest_allowed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.wait_max)
    }

    /// The next batch, as far as ids are in hand. Its line is busy until it is freed.
    pub(super) fn begin(&self) -> Option<(Arc<str>, Taken)> {
        let oldest = self.oldest_allowed();
        let mut inner = self.lock();
        let (_, first) = inner.lines.next_ready()?;
        let room = inner.room(self.batch_draws_max);
        if room < first {
            return None;
        }
        let (campaign, standing) = inner.lines.take_batch(room)?;
        Some((campaign, inner.taken(standing, oldest)))
    }

    /// Who may join a batch in flight that has these keys and so many draws.
    pub(super) fn join(&self, campaign: &str, mut keys: HashSet<Key>, draws: u32) -> Taken {
        let oldest = self.oldest_allowed();
        let mut inner = self.lock();
        let room = inner.room(self.batch_draws_max.saturating_sub(draws));
        let standing = inner.lines.take_more(campaign, room, &mut keys);
        inner.taken(standing, oldest)
    }
}

impl Inner {
    /// Draws for which there are ids.
    fn room(&self, draws_max: u32) -> u32 {
        let left = u32::try_from(self.tickets.left()).unwrap_or(u32::MAX);
        draws_max.min(left)
    }

    fn taken(&mut self, standing: Vec<Standing>, oldest: Duration) -> Taken {
        let mut taken = Taken::default();
        for one in standing {
            if one.since < oldest {
                taken.late.push(one);
            } else {
                let tickets = self.tickets.take(one.ask.count);
                taken.members.push(Member::new(one, tickets));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::tests::standing;
    use super::*;
    use crate::fakes::TokioClock;
    use crate::rolls::Seed;
    use tombola_core::ids::IdBlock;
    use tombola_core::limits::DESK_WAIT_MAX;

    fn queue(ids: i64) -> Queue {
        let mut tickets = Tickets::new(Seed::Number(1).generator(0), 1);
        tickets.refill(IdBlock {
            next: 1,
            end: 1 + ids,
        });
        Queue::new(tickets, TokioClock::new(), &DeskOptions::default())
    }

    /// Somebody who has stood for so long.
    fn push(queue: &Queue, key: &str, stood: Duration) {
        let mut one = standing("a", key, 0);
        one.since = queue.clock.monotonic().checked_sub(stood).unwrap();
        queue.lock().lines.push(one).ok().unwrap();
    }

    const TOO_LONG: Duration = DESK_WAIT_MAX.saturating_add(Duration::from_micros(1));

    #[tokio::test(start_paused = true)]
    async fn who_waited_too_long_is_neither_of_a_batch_nor_joins_one() {
        let queue = queue(10);
        push(&queue, "early", TOO_LONG);
        push(&queue, "on time", DESK_WAIT_MAX);
        let (_, taken) = queue.begin().unwrap();
        assert_eq!((taken.members.len(), taken.late.len()), (1, 1));
        push(&queue, "early too", TOO_LONG);
        push(&queue, "on time too", DESK_WAIT_MAX);
        let joined = queue.join("a", HashSet::new(), 1);
        assert_eq!((joined.members.len(), joined.late.len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_joins_without_an_id() {
        let queue = queue(2);
        push(&queue, "1", Duration::ZERO);
        assert_eq!(queue.begin().unwrap().1.members.len(), 1);
        push(&queue, "2", Duration::ZERO);
        push(&queue, "3", Duration::ZERO);
        assert_eq!(queue.join("a", HashSet::new(), 1).members.len(), 1);
        assert!(queue.join("a", HashSet::new(), 2).members.is_empty());
        assert!(!queue.lock().lines.is_empty());
    }
}
