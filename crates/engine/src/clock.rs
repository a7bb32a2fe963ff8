//! The clock of production: monotonic time since the process began, plus an offset
//! to the time of the database.
//!
//! A step of the civil clock (an operator, NTP, a resumed machine) never steps this
//! one: it follows by at most a tenth of the time that has passed since the last
//! measurement, so that a lease measured by it is never more than a tenth shorter
//! than it was promised. Two readings never go backwards.

use crate::tasks::Tasks;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tombola_core::ports::Clock;
use tombola_core::{Timestamp, limits};

/// The share of the passed time by which a correction may move the clock.
const SLEW: u32 = 10;

/// The real clock.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
    /// The instant at which the process began, by this clock.
    base: AtomicI64,
    /// The latest instant given out.
    latest: AtomicI64,
    measured_at: Mutex<Duration>,
    /// How far off it was at the last measurement, in microseconds.
    off: AtomicI64,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemClock {
    /// Begins at the civil time of this machine.
    pub fn new() -> Self {
        Self::beginning_at(Self::wall())
    }

    /// Begins at that instant: the database's, where other machines have it open too. What this
    /// machine takes for the time is nothing to them.
    pub fn beginning_at(now: Timestamp) -> Self {
        let base = now.0;
        Self {
            began: monotonic_now(),
            base: AtomicI64::new(base),
            latest: AtomicI64::new(base),
            measured_at: Mutex::new(Duration::ZERO),
            off: AtomicI64::new(0),
        }
    }

    /// The civil time of this machine, steps and all.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the civil clock"
    )]
    pub fn wall() -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Follows `reference` (the database's time, or [`SystemClock::wall`] where the
    /// database is a file of this machine), slowly. Gives how far off this clock
    /// was before, in microseconds.
    pub fn follow(&self, reference: Timestamp) -> i64 {
        let elapsed = self.monotonic();
        let mut measured_at = self
            .measured_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let step_max = micros(elapsed.saturating_sub(*measured_at) / SLEW);
        *measured_at = elapsed;
        let off = reference
            .0
            .saturating_sub(self.base.load(Ordering::Relaxed) + micros(elapsed));
        self.base
            .fetch_add(off.clamp(-step_max, step_max), Ordering::Relaxed);
        self.off.store(off, Ordering::Relaxed);
        off
    }

    /// How far off it was at the last measurement.
    pub fn off(&self) -> Duration {
        Duration::from_micros(self.off.load(Ordering::Relaxed).unsigned_abs())
    }

    /// Whether it was close enough at the last measurement: the process is not ready
    /// while it is not.
    pub fn is_trusted(&self) -> bool {
        self.off() <= limits::CLOCK_OFF_MAX
    }

    /// Follows this machine's civil time until a stop: for a database that is a file
    /// of it.
    pub async fn follow_wall(self: Arc<Self>, tasks: Tasks) {
        loop {
            tokio::select! {
                () = tasks.stopped() => return,
                () = tokio::time::sleep(limits::CLOCK_INTERVAL) => {}
            }
            self.follow(Self::wall());
            if !self.is_trusted() {
                tracing::warn!(
                    clock.off_ms = self.off.load(Ordering::Relaxed) / 1000,
                    "the machine's time has stepped; the clock follows slowly"
                );
            }
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = self.base.load(Ordering::Relaxed) + micros(self.monotonic());
        Timestamp(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn monotonic(&self) -> Duration {
        monotonic_now().saturating_duration_since(self.began)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the machine's clock"
)]
fn monotonic_now() -> Instant {
    Instant::now()
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_begins_at_the_databases_time_tells_it_whatever_this_machine_says() {
        let clock = SystemClock::beginning_at(Timestamp(5));
        assert!((5..60_000_000).contains(&clock.now().0));
        assert!(clock.is_trusted());
    }

    #[test]
    fn step_of_the_civil_clock_is_followed_by_at_most_a_tenth_of_the_time_passed() {
        let clock = SystemClock::new();
        let before = clock.now();
        let hour_ahead = before.plus(Duration::from_hours(1));
        let off = clock.follow(hour_ahead);
        assert!(off > 3_599_000_000, "{off}");
        let now = clock.now();
        let passed = clock.monotonic();
        assert!(now.since(before) <= passed + passed / 10 + Duration::from_millis(1));
    }

    #[test]
    fn clock_is_trusted_up_to_the_bound_of_its_distance_either_way() {
        let clock = SystemClock::new();
        let max = micros(limits::CLOCK_OFF_MAX);
        let off_by = |micros| {
            clock.off.store(micros, Ordering::Relaxed);
            clock.is_trusted()
        };
        assert!(off_by(0) && off_by(max) && off_by(-max));
        assert!(!off_by(max + 1) && !off_by(-max - 1));
    }

    #[tokio::test(start_paused = true)]
    async fn time_of_the_machine_is_looked_at_once_in_the_interval() {
        let (clock, tasks) = (Arc::new(SystemClock::new()), Tasks::new());
        tasks.spawn(Arc::clone(&clock).follow_wall(tasks.clone()));
        // No measurement says this.
        clock.off.store(i64::MAX, Ordering::Relaxed);
        let milli = Duration::from_millis(1);
        for (passes, is_measured) in [
            (limits::CLOCK_INTERVAL.saturating_sub(milli), false),
            (milli, true),
        ] {
            tokio::task::yield_now().await;
            tokio::time::advance(passes).await;
            tokio::task::yield_now().await;
            assert_eq!(clock.is_trusted(), is_measured);
        }
    }

    #[test]
    fn two_readings_never_go_backwards() {
        let clock = SystemClock::new();
        let mut last = clock.now();
        for _ in 0..1000 {
            clock.follow(Timestamp(0));
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
