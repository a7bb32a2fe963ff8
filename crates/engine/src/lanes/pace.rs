//! The pace of a lane: calls evenly spaced, one at a time. Turns are handed out
//! ahead; a call that begins late shifts nothing, but no window of a second (or of
//! the interval, if that is longer) ever sees more calls than the rate allows,
//! whatever the claims and the timers of the machine do to the turns.
//!
//! Pure: time comes in as the monotonic reading of the clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Beginnings looked back on at most; above it the window is shorter than a second,
/// which only says more.
const LOOK_BACK_MAX: u128 = 1000;

/// The pace of one lane with a rate.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    interval: Duration,
    /// Calls that one window may see, and its length.
    window_calls: usize,
    window: Duration,
    next_turn: Duration,
    begun: VecDeque<Duration>,
}

impl Pace {
    /// At most one call each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_nanos(1));
        let per_second =
            (Duration::from_secs(1).as_nanos() / interval.as_nanos()).clamp(1, LOOK_BACK_MAX);
        let calls = u32::try_from(per_second).unwrap_or(1);
        // Intervals are cut to whole nanoseconds; the window makes up for it.
        let window = interval * calls + Duration::from_nanos(u64::from(calls));
        Self {
            interval,
            window_calls: usize::try_from(calls).unwrap_or(1),
            window,
            next_turn: Duration::ZERO,
            begun: VecDeque::new(),
        }
    }

    /// The interval it keeps.
    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    /// When the next turn would be.
    pub(crate) fn next_turn(&self, now: Duration) -> Duration {
        self.next_turn.max(now)
    }

    /// Hands out the next turn.
    pub(crate) fn take_turn(&mut self, now: Duration) -> Duration {
        let turn = self.next_turn(now);
        self.next_turn = turn + self.interval;
        turn
    }

    /// Notes that a call begins now, or says how long it has to wait still.
    pub(crate) fn begin(&mut self, now: Duration) -> Result<(), Duration> {
        if self.begun.len() >= self.window_calls {
            let earliest = self
                .begun
                .front()
                .map_or(Duration::ZERO, |first| *first + self.window);
            if let Some(wait) = earliest.checked_sub(now).filter(|wait| !wait.is_zero()) {
                return Err(wait);
            }
            self.begun.pop_front();
        }
        self.begun.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs calls that begin up to `late` after their turn; gives their beginnings.
    fn run(interval: Duration, late: &[u64]) -> Vec<Duration> {
        let mut pace = Pace::new(interval);
        let mut begun = Vec::new();
        let mut asked = Duration::ZERO;
        for late in late {
            let turn = pace.take_turn(asked);
            let mut now = turn + Duration::from_micros(*late);
            now = now.max(begun.last().copied().unwrap_or_default());
            while let Err(wait) = pace.begin(now) {
                now += wait;
            }
            begun.push(now);
            asked = asked.max(turn);
        }
        begun
    }

    fn most_in_a_window(begun: &[Duration], window: Duration) -> usize {
        let inside = |first: &Duration| {
            begun
                .iter()
                .filter(|it| *it >= first && **it < *first + window)
                .count()
        };
        begun.iter().map(inside).max().unwrap_or(0)
    }

    #[test]
    fn turns_are_evenly_spaced_and_idle_time_is_not_saved_up() {
        let mut pace = Pace::new(SECOND / 50);
        let turns: Vec<u128> = (0..3)
            .map(|_| pace.take_turn(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(turns, [0, 20, 40]);
        assert_eq!(pace.take_turn(10 * SECOND), 10 * SECOND);
        assert_eq!(pace.take_turn(10 * SECOND), 10 * SECOND + SECOND / 50);
    }

    #[test]
    fn call_each_36_seconds_is_never_two_within_36() {
        let begun = run(36 * SECOND, &[35_000_000, 0, 20_000_000, 0, 0]);
        assert_eq!(most_in_a_window(&begun, 36 * SECOND), 1);
    }

    proptest! {
        #[test]
        fn no_window_of_a_second_sees_more_calls_than_the_rate(
            rate in 1_u32..400,
            late in prop::collection::vec(0_u64..200_000, 1..600),
        ) {
            let begun = run(SECOND / rate, &late);
            prop_assert!(most_in_a_window(&begun, SECOND) <= rate as usize);
        }

        #[test]
        fn lateness_is_made_up_for_within_the_rate(
            rate in 10_u32..400,
            late in prop::collection::vec(0_u64..2_000, 400..600),
        ) {
            let begun = run(SECOND / rate, &late);
            let (Some(first), Some(last)) = (begun.first(), begun.last()) else { unreachable!() };
            let ideal = SECOND / rate * u32::try_from(begun.len() - 1).unwrap();
            prop_assert!(last.saturating_sub(*first) <= ideal + ideal / 20 + Duration::from_millis(5));
        }
    }
}
