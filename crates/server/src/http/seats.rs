//! The seats of one listener's connections. When all are taken, those connections
//! that have been idle longest are closed for new ones: whoever opens many and says
//! nothing takes seats from itself first, and a client that has just connected is
//! the last to lose its own. Where none is idle, those go whose answer nobody reads.
//! A connection whose request is being worked on is never closed for another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tombola_core::limits;

/// A request is under way.
const BUSY: u64 = 0;
/// Its answer is made, and is being written.
const ANSWERED: u64 = 1;
/// It was closed for another.
const SHED: u64 = 2;
/// Any other state is the turn at which it became idle; one that is being closed has
/// been idle longest of all.
const CLOSING: u64 = 3;
const FIRST_TURN: u64 = CLOSING + 1;

/// All seats of one listener.
pub(super) struct Seats {
    max: usize,
    open: Mutex<HashMap<u64, Arc<Seat>>>,
    turns: Arc<AtomicU64>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: Mutex::default(),
            turns: Arc::new(AtomicU64::new(FIRST_TURN)),
        })
    }

    /// A seat for one more connection; none, if all have a request under way.
    pub(super) fn take(self: &Arc<Self>) -> Option<OwnedSeat> {
        let mut open = self.lock();
        if open.len() >= self.max {
            Self::shed(&mut open, self.part());
        }
        if open.len() >= self.max {
            open.retain(|_, seat| !seat.shed_if_stalled());
        }
        if open.len() >= self.max {
            return None;
        }
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            first_turn: number,
            state: AtomicU64::new(number),
            is_body_left: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            turns: Arc::clone(&self.turns),
            shed: Notify::new(),
        });
        open.insert(number, Arc::clone(&seat));
        Some(OwnedSeat {
            seats: Arc::clone(self),
            seat,
        })
    }

    /// Closes some of those idle longest.
    pub(super) fn shed_some(&self) {
        Self::shed(&mut self.lock(), self.part());
    }

    fn part(&self) -> usize {
        self.max / limits::CONNECTIONS_SHED_PART + 1
    }

    /// Closes every connection that is idle.
    pub(super) fn shed_idle(&self) {
        Self::shed(&mut self.lock(), usize::MAX);
    }

    /// Closes up to `count` of them, those idle longest.
    fn shed(open: &mut HashMap<u64, Arc<Seat>>, count: usize) {
        let idle = open
            .iter()
            .filter_map(|(number, seat)| Some((seat.turn()?, *number)));
        let mut idle: Vec<(u64, u64)> = idle.collect();
        if count < idle.len() {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        for (turn, number) in idle {
            let is_shed = open.get(&number).is_some_and(|seat| seat.shed_at(turn));
            if is_shed {
                open.remove(&number);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat that is given back when it is dropped.
pub(super) struct OwnedSeat {
    seats: Arc<Seats>,
    pub(super) seat: Arc<Seat>,
}

impl Drop for OwnedSeat {
    fn drop(&mut self) {
        self.seats.lock().remove(&self.seat.first_turn);
    }
}

/// One connection as its listener sees it.
pub(super) struct Seat {
    first_turn: u64,
    state: AtomicU64,
    is_body_left: AtomicBool,
    is_stalled: AtomicBool,
    turns: Arc<AtomicU64>,
    shed: Notify,
}

impl Seat {
    /// A request begins; `false`, if the connection is being closed.
    pub(super) fn begin(&self) -> bool {
        let to_busy = |state| (state != SHED).then_some(BUSY);
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, to_busy)
            .is_ok()
    }

    /// Its answer is made.
    pub(super) fn answered(&self) {
        self.pass(BUSY, ANSWERED);
    }

    /// All that was to be written is.
    pub(super) fn written(&self) {
        if self.state.load(Ordering::Acquire) == ANSWERED {
            self.pass(ANSWERED, self.turns.fetch_add(1, Ordering::Relaxed));
        }
    }

    /// It is being closed, and only read on for a little.
    pub(super) fn closes(&self) {
        if let Some(turn) = self.turn() {
            self.pass(turn, CLOSING);
        }
    }

    /// Since when it is idle; each wait has another number.
    pub(super) fn turn(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Acquire);
        (state >= CLOSING).then_some(state)
    }

    /// Whether that turn is the wait for the first request.
    pub(super) fn is_first(&self, turn: u64) -> bool {
        turn == self.first_turn
    }

    /// A request was refused, and its body may not have been read.
    pub(super) fn leave_body(&self) {
        self.is_body_left.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_body_left(&self) -> bool {
        self.is_body_left.load(Ordering::Relaxed)
    }

    /// Whether its answer has begun and waits for its reader.
    pub(super) fn stalls(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Ends when the connection is to be closed.
    pub(super) async fn is_shed(&self) {
        self.shed.notified().await;
    }

    fn shed_at(&self, turn: u64) -> bool {
        let is_shed = self.pass(turn, SHED);
        if is_shed {
            self.shed.notify_one();
        }
        is_shed
    }

    /// A stream that is not read is still being answered.
    fn shed_if_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed) && (self.shed_at(ANSWERED) || self.shed_at(BUSY))
    }

    fn pass(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn is_shed(owned: &OwnedSeat) -> bool {
        owned.seat.is_shed().now_or_never().is_some()
    }

    #[test]
    fn those_idle_longest_make_room_and_those_with_a_request_never() {
        let seats = Seats::new(3);
        let [busy, idle, fresh] = [0; 3].map(|_| seats.take().unwrap());
        assert!(busy.seat.begin());
        assert!(idle.seat.begin());
        idle.seat.answered();
        idle.seat.written();
        let fourth = seats.take().unwrap();
        assert!(is_shed(&fresh), "idle since it came, longer than any other");
        let fifth = seats.take().unwrap();
        assert!(is_shed(&idle) && !is_shed(&busy));
        assert!(!idle.seat.begin(), "nothing begins on what is closed");
        assert!(fourth.seat.begin() && fifth.seat.begin());
        assert!(seats.take().is_none(), "all have a request under way");
        drop(busy);
        assert!(seats.take().is_some());
    }

    #[test]
    fn answers_that_nobody_reads_make_room_where_nothing_is_idle() {
        let seats = Seats::new(3);
        let [stalled, read, idle] = [0; 3].map(|_| seats.take().unwrap());
        for owned in [&stalled, &read] {
            assert!(owned.seat.begin());
            owned.seat.answered();
        }
        stalled.seat.stalls(true);
        let fourth = seats.take().unwrap();
        assert!(is_shed(&idle) && !is_shed(&stalled));
        assert!(fourth.seat.begin());
        assert!(seats.take().is_some());
        assert!(is_shed(&stalled) && !is_shed(&read) && !is_shed(&fourth));
    }

    #[test]
    fn one_that_is_being_closed_is_the_first_to_make_room() {
        let seats = Seats::new(2);
        let [fresh, closing] = [0; 2].map(|_| seats.take().unwrap());
        assert!(closing.seat.begin());
        closing.seat.closes();
        assert_eq!(
            closing.seat.turn(),
            None,
            "not while a request is under way"
        );
        closing.seat.answered();
        closing.seat.written();
        closing.seat.closes();
        assert!(seats.take().is_some());
        assert!(is_shed(&closing) && !is_shed(&fresh));
    }

    #[test]
    fn answer_that_is_not_written_yet_is_no_idleness() {
        let seats = Seats::new(1);
        let owned = seats.take().unwrap();
        owned.seat.written();
        assert!(
            owned
                .seat
                .turn()
                .is_some_and(|turn| owned.seat.is_first(turn))
        );
        assert!(owned.seat.begin());
        owned.seat.written();
        assert_eq!(owned.seat.turn(), None, "what is written is no answer yet");
        owned.seat.answered();
        assert_eq!(owned.seat.turn(), None);
        owned.seat.written();
        assert!(
            owned
                .seat
                .turn()
                .is_some_and(|turn| !owned.seat.is_first(turn))
        );
    }

    #[test]
    fn a_full_listener_sheds_a_part_at_a_time() {
        let max = usize::try_from(limits::CONNECTIONS_MAX).unwrap();
        let seats = Seats::new(max);
        let seated: Vec<OwnedSeat> = (0..max).map(|_| seats.take().unwrap()).collect();
        let one_more = seats.take();
        assert!(one_more.is_some());
        let shed: Vec<bool> = seated.iter().map(is_shed).collect();
        let part = max / limits::CONNECTIONS_SHED_PART + 1;
        assert_eq!(shed.iter().filter(|it| **it).count(), part);
        assert!(shed[..part].iter().all(|it| *it), "the oldest");
    }
}
