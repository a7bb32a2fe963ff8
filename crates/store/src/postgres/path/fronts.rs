//! The front of each lane, from where rescue looks: not before the first row that was there at
//! the last look. What has died before it need not be passed by again: while somebody holds an
//! old snapshot nothing that died since is removed, and each look at a lane's beginning would
//! walk over every date that an award ever had since then.
//!
//! # Why nothing is missed
//! A date is written as it is at that time or later, so a new row comes behind the looks, but for
//! [`MARGIN`]: clocks differ, and a transaction takes a while. Whatever comes before that all
//! the same (a transaction that waited for a standby for an hour, a machine that slept, a standby
//! that is promoted and lacks some time) is found by a whole look, from the very beginning, of
//! which there is one a minute.

use super::super::options::STATEMENT_MAX;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tombola_core::Timestamp;
use tombola_core::limits::CLOCK_OFF_MAX;

/// How far before a look a row that was written behind it may lie.
const MARGIN: Duration = Duration::from_mins(1);
/// Time between two whole looks.
const WHOLE_EVERY: Duration = Duration::from_mins(1);
/// And so many times what the last one took, so that they are a twentieth of the time at most.
const WHOLE_REST: u32 = 20;
/// What one that fails may have taken.
const WHOLE_MAX: Duration = STATEMENT_MAX;

const _: () = assert!(MARGIN.as_secs() > 10 * CLOCK_OFF_MAX.as_secs());

/// Of one process, which has one rescuer.
#[derive(Debug, Default)]
pub(super) struct Fronts(Mutex<Looked>);

/// What is known since the last looks.
#[derive(Debug, Default)]
struct Looked {
    /// When the next whole look is due; `None` before the first.
    whole_at: Option<Instant>,
    /// The instant of the last look.
    now: Timestamp,
    /// By lane.
    fronts: HashMap<i64, i64>,
    /// Of lanes that had no row.
    beyond: i64,
}

/// Where a look begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) lanes: Vec<i64>,
    pub(super) fronts: Vec<i64>,
    /// In all other lanes.
    pub(super) beyond: i64,
}

impl Fronts {
    /// Where the next look at all lanes begins; `None` for the very beginning.
    pub(super) fn next(&self, now: Timestamp) -> Option<Start> {
        let mut looked = self.looked();
        let whole_at = looked.whole_at?;
        if now < looked.now {
            return None;
        }
        if whole_at <= Instant::now() {
            // Should it fail, those after it go on from where they are.
            looked.whole_at = Some(Instant::now() + WHOLE_MAX * WHOLE_REST);
            return None;
        }
        let (lanes, fronts) = looked.fronts.iter().unzip();
        Some(Start {
            lanes,
            fronts,
            beyond: looked.beyond,
        })
    }

    /// After a look: the first date in each lane, if there is one. A whole one tells how long it
    /// took.
    pub(super) fn seen(
        &self,
        now: Timestamp,
        firsts: impl Iterator<Item = (i64, Option<i64>)>,
        whole: Option<Duration>,
    ) {
        let mut looked = self.looked();
        let beyond = now.minus(MARGIN).0;
        let front = |first: Option<i64>| first.map_or(beyond, |first| first.min(beyond));
        looked.fronts = firsts.map(|(lane, first)| (lane, front(first))).collect();
        (looked.now, looked.beyond) = (now, beyond);
        if let Some(took) = whole {
            looked.whole_at = Some(Instant::now() + WHOLE_EVERY.max(took * WHOLE_REST));
        }
    }

    /// Where a look at one lane begins.
    pub(super) fn of(&self, lane: i64, now: Timestamp) -> i64 {
        let looked = self.looked();
        if looked.whole_at.is_none() || now < looked.now {
            return i64::MIN;
        }
        looked.fronts.get(&lane).copied().unwrap_or(looked.beyond)
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn looked(took: Duration) -> Fronts {
        let fronts = Fronts::default();
        assert_eq!(fronts.next(NOW), None);
        assert_eq!(fronts.of(7, NOW), i64::MIN);
        let firsts = [(7, Some(5)), (8, Some(NOW.0)), (9, None)];
        fronts.seen(NOW, firsts.into_iter(), Some(took));
        fronts
    }

    #[test]
    fn a_look_begins_at_the_first_row_of_the_last_one_and_a_margin_before_it_at_most() {
        let fronts = looked(Duration::ZERO);
        let margin = NOW.minus(MARGIN).0;
        for (lane, front) in [(7, 5), (8, margin), (9, margin), (10, margin)] {
            assert_eq!(fronts.of(lane, NOW), front, "{lane}");
        }
        let from = fronts.next(NOW).unwrap();
        assert_eq!((from.lanes.len(), from.beyond), (3, margin));
        let later = NOW.plus(Duration::from_secs(5));
        fronts.seen(later, [(7, Some(6))].into_iter(), None);
        assert_eq!(fronts.of(7, later), 6);
        assert_eq!(fronts.of(8, later), later.minus(MARGIN).0);
    }

    #[test]
    fn a_clock_that_went_back_has_everything_looked_at_again() {
        let fronts = looked(Duration::ZERO);
        let before = NOW.minus(Duration::from_micros(1));
        assert_eq!(fronts.next(before), None);
        assert_eq!(fronts.of(7, before), i64::MIN);
    }

    #[test]
    fn whole_looks_are_one_a_minute_and_a_twentieth_of_the_time_at_most() {
        for (took, rest) in [(1, 60), (30, 600)] {
            let fronts = looked(Duration::from_secs(took));
            let at = fronts.looked().whole_at.unwrap();
            let rest = Duration::from_secs(rest);
            assert!(at > Instant::now() + rest - Duration::from_secs(5));
            assert!(at <= Instant::now() + rest);
            fronts.looked().whole_at = Some(Instant::now());
            assert_eq!(fronts.next(NOW), None);
            assert!(fronts.next(NOW).is_some());
        }
    }
}
