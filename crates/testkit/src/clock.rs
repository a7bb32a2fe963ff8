//! A clock that stands still until a test moves it.

use std::sync::Mutex;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::ports::Clock;

/// Civil and monotonic time, both moved by hand. They are apart, so that a test
/// can step the civil clock back while the monotonic one goes on.
#[derive(Debug)]
pub struct TestClock {
    hands: Mutex<(Timestamp, Duration)>,
}

impl TestClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self {
            hands: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands();
        *hands = (hands.0.plus(by), hands.1 + by);
    }

    /// Somebody sets the civil clock, back or forth; the monotonic one stays.
    pub fn set(&self, now: Timestamp) {
        self.hands().0 = now;
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.hands
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for TestClock {
    /// A clock that shows an ordinary day: 2026-02-13T16:26:40Z.
    fn default() -> Self {
        Self::at(Timestamp(1_771_000_000_000_000))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.hands().0
    }

    fn monotonic(&self) -> Duration {
        self.hands().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_time_may_be_set_back_and_monotonic_time_never_goes_back() {
        let clock = TestClock::default();
        let start = clock.now();
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now(), start.plus(Duration::from_secs(90)));
        clock.set(start);
        assert_eq!(clock.now(), start);
        assert_eq!(clock.monotonic(), Duration::from_secs(90));
    }
}
