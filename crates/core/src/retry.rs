//! When to look again: graces after a publish, waits after a failed attempt.
//! Jitter comes in as a number, so that the same input gives the same instant.

use crate::limits;
use std::time::Duration;

/// The settings that decide when an award is looked at again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// First grace, `g0`.
    pub grace_first: Duration,
    /// Longest grace, `gmax`.
    pub grace_max: Duration,
    /// How long a claim holds.
    pub lease_time: Duration,
    /// First wait after a failed attempt.
    pub retry_first: Duration,
    /// Longest wait after a failed attempt.
    pub retry_max: Duration,
    /// Attempts before an award is dead.
    pub attempts_max: u32,
    /// How long an endpoint may be at fault before its awards are dead.
    pub defer_max: Duration,
    /// A `pending` row is published again after this long, whatever the lag.
    pub redelivery_max: Duration,
    /// When a hold without a date of its own is looked at again.
    pub hold_review: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            grace_first: limits::GRACE_FIRST,
            grace_max: limits::GRACE_MAX,
            lease_time: limits::LEASE_TIME,
            retry_first: limits::RETRY_FIRST,
            retry_max: limits::RETRY_MAX,
            attempts_max: limits::ATTEMPTS_MAX,
            defer_max: limits::DEFER_MAX,
            redelivery_max: limits::REDELIVERY_MAX,
            hold_review: limits::HOLD_REVIEW,
        }
    }
}

impl Schedule {
    /// `grace(n) = min(g0 * 2^n, gmax)`, with n = publishes so far.
    pub fn grace(&self, publishes: u32) -> Duration {
        self.grace_first
            .saturating_mul(1_u32.checked_shl(publishes.min(30)).unwrap_or(u32::MAX))
            .min(self.grace_max)
    }

    /// The wait after attempt number `attempts` failed:
    /// `min(first * 3^(attempts-1), max)`, then ± 20 % by `jitter`.
    pub fn backoff(&self, attempts: u32, jitter: Jitter) -> Duration {
        let factor = limits::RETRY_FACTOR.saturating_pow(attempts.saturating_sub(1));
        jitter.spread(self.retry_first.saturating_mul(factor).min(self.retry_max))
    }

    /// The wait after a publish failed: never shorter than the grace.
    pub fn publish_backoff(&self, publishes: u32, jitter: Jitter) -> Duration {
        let grace = self.grace(publishes);
        jitter.spread(grace).max(grace)
    }
}

/// A number from 0 to 1,000 that came in from outside; 500 changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter(pub u16);

impl Jitter {
    /// No jitter.
    pub const NONE: Self = Self(500);

    /// `span` varied by up to `limits::JITTER_PERCENT` up or down.
    pub fn spread(self, span: Duration) -> Duration {
        let swing = 10 * limits::JITTER_PERCENT;
        let thousandths = 1000 - swing + u32::from(self.0.min(1000)) * 2 * swing / 1000;
        span.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_doubles_up_to_its_maximum() {
        let schedule = Schedule::default();
        let seconds: Vec<u64> = (0..9).map(|n| schedule.grace(n).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(schedule.grace(u32::MAX), limits::GRACE_MAX);
    }

    #[test]
    fn waits_grow_threefold_and_stay_within_a_fifth_of_the_schedule() {
        let schedule = Schedule::default();
        for (attempts, plain) in [(1, 1), (2, 3), (3, 9), (8, 2187), (9, 3600), (40, 3600)] {
            let plain = Duration::from_secs(plain);
            assert_eq!(schedule.backoff(attempts, Jitter::NONE), plain);
            assert_eq!(schedule.backoff(attempts, Jitter(0)), plain * 8 / 10);
            assert_eq!(schedule.backoff(attempts, Jitter(1000)), plain * 12 / 10);
        }
    }

    #[test]
    fn wait_after_a_failed_publish_is_never_shorter_than_the_grace() {
        let schedule = Schedule::default();
        for jitter in [0, 250, 500, 1000] {
            assert!(schedule.publish_backoff(2, Jitter(jitter)) >= schedule.grace(2));
        }
    }
}
