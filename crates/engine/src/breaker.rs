//! The breaker: keeps calls away from something that fails, and tries it again with
//! one probe at a time. The topic has one, each lane has one.
//!
//! # Model
//! *Closed*: everything passes; failures in a row, or half of the last results,
//! open it. *Open*: nothing passes until its wait is over. *Half-open*: one probe is
//! out at most. A probe that succeeds closes the breaker; one that fails opens it
//! again for twice as long, up to a maximum. Results of calls that began before it
//! opened change nothing: only the probe's word counts then.
//!
//! Pure: time comes in as the monotonic reading of the clock.

use std::collections::VecDeque;
use std::time::Duration;
use tombola_core::limits;

/// How long one waits who finds a probe out, before asking again.
const PROBE_WAIT: Duration = limits::LANE_WAIT_MAX;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures_in_row: u32,
    /// Results looked back on; half of a full window opens it.
    pub window: usize,
    /// First wait before a probe.
    pub open_first: Duration,
    /// Longest wait before a probe.
    pub open_max: Duration,
}

impl BreakerSettings {
    /// Of an endpoint's lane.
    pub const fn lane() -> Self {
        Self {
            failures_in_row: limits::BREAKER_FAILURES_IN_ROW,
            window: limits::BREAKER_WINDOW,
            open_first: limits::BREAKER_OPEN_FIRST,
            open_max: limits::BREAKER_OPEN_MAX,
        }
    }

    /// Of the topic: rescue sends a probe batch at a steady pace.
    pub const fn topic() -> Self {
        Self {
            open_first: limits::RESCUE_PROBE_INTERVAL,
            open_max: limits::RESCUE_PROBE_INTERVAL,
            ..Self::lane()
        }
    }
}

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// One probe passes.
    HalfOpen,
}

impl BreakerState {
    /// As a gauge: 0 closed, 1 half-open, 2 open.
    pub const fn code(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}

/// The answer to one who wants to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Go.
    Yes,
    /// Go, as the one probe: report what came of it, or give it back.
    Probe,
    /// Not before this monotonic reading.
    No { until: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Duration,
    },
    /// `probe_until`: a probe is out, and nobody waits for its word beyond this.
    HalfOpen {
        probe_until: Option<Duration>,
    },
}

/// One breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    wait: Duration,
    in_row: u32,
    failures: usize,
    window: VecDeque<bool>,
}

impl Breaker {
    /// Closed, with nothing seen.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            wait: settings.open_first,
            window: VecDeque::with_capacity(settings.window),
            settings,
            state: State::Closed,
            in_row: 0,
            failures: 0,
        }
    }

    /// How it stands now.
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Asks to pass; a `Probe` is handed out once until its word comes.
    pub fn pass(&mut self, now: Duration) -> Pass {
        match self.state {
            State::Closed => Pass::Yes,
            State::Open { until } if now < until => Pass::No { until },
            // The probe may be back at any time.
            State::HalfOpen {
                probe_until: Some(until),
            } if now < until => Pass::No {
                until: until.min(now + PROBE_WAIT),
            },
            State::Open { .. } | State::HalfOpen { .. } => {
                let probe_until = Some(now + self.settings.open_max.max(limits::LEASE_TIME));
                self.state = State::HalfOpen { probe_until };
                Pass::Probe
            }
        }
    }

    /// What would be said to one who asks, without handing out a probe.
    pub fn peek(&self, now: Duration) -> Pass {
        self.clone().pass(now)
    }

    /// The word of one that passed with `Yes`.
    pub fn record(&mut self, is_ok: bool, now: Duration) {
        if self.state != State::Closed {
            return;
        }
        self.in_row = if is_ok { 0 } else { self.in_row + 1 };
        if self.window.len() == self.settings.window && self.window.pop_front() == Some(false) {
            self.failures -= 1;
        }
        self.window.push_back(is_ok);
        self.failures += usize::from(!is_ok);
        let half_failed =
            self.window.len() == self.settings.window && self.failures * 2 >= self.settings.window;
        if self.in_row >= self.settings.failures_in_row || half_failed {
            self.open(now);
        }
    }

    /// The word of the probe.
    pub fn record_probe(&mut self, is_ok: bool, now: Duration) {
        if !matches!(self.state, State::HalfOpen { .. }) {
            return;
        }
        if is_ok {
            *self = Self::new(self.settings.clone());
        } else {
            self.wait = (self.wait * 2).min(self.settings.open_max);
            self.open(now);
        }
    }

    /// The probe was not used: another may go.
    pub fn give_probe_back(&mut self) {
        if let State::HalfOpen { probe_until } = &mut self.state {
            *probe_until = None;
        }
    }

    fn open(&mut self, now: Duration) {
        self.state = State::Open {
            until: now + self.wait,
        };
        self.in_row = 0;
        self.failures = 0;
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(BreakerSettings::lane());
        for _ in 0..limits::BREAKER_FAILURES_IN_ROW {
            breaker.record(false, Duration::ZERO);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_the_count_anew() {
        let mut breaker = Breaker::new(BreakerSettings::lane());
        for _ in 1..limits::BREAKER_FAILURES_IN_ROW {
            breaker.record(false, Duration::ZERO);
        }
        breaker.record(true, Duration::ZERO);
        for _ in 1..limits::BREAKER_FAILURES_IN_ROW {
            breaker.record(false, Duration::ZERO);
        }
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Closed);
        breaker.record(false, Duration::ZERO);
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Open);
    }

    #[test]
    fn half_of_the_window_opens_it_and_one_less_does_not() {
        for (failures, expected) in [(24, BreakerState::Closed), (25, BreakerState::Open)] {
            let mut breaker = Breaker::new(BreakerSettings::lane());
            for n in 0..limits::BREAKER_WINDOW {
                breaker.record(n % 2 == 0 || n / 2 >= failures, Duration::ZERO);
            }
            assert_eq!(breaker.state(Duration::ZERO), expected, "{failures} of 50");
        }
    }

    #[test]
    fn window_forgets_what_is_older() {
        let mut breaker = Breaker::new(BreakerSettings::lane());
        for n in 0..10_000 {
            breaker.record(n % 5 < 3, Duration::ZERO);
        }
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Closed);
    }

    #[test]
    fn one_probe_passes_per_half_open_period() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(9 * SECOND), Pass::No { until: 10 * SECOND });
        assert_eq!(breaker.peek(10 * SECOND), Pass::Probe);
        assert_eq!(breaker.pass(10 * SECOND), Pass::Probe);
        for n in 10..60 {
            assert!(matches!(breaker.pass(n * SECOND), Pass::No { .. }), "{n}");
        }
        breaker.record_probe(true, 60 * SECOND);
        assert_eq!(breaker.pass(60 * SECOND), Pass::Yes);
    }

    #[test]
    fn failing_probes_double_the_wait_up_to_its_maximum() {
        let mut breaker = opened();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..7 {
            let Pass::No { until } = breaker.pass(now) else {
                panic!("it is open")
            };
            waits.push(until.saturating_sub(now).as_secs());
            now = until;
            assert_eq!(breaker.pass(now), Pass::Probe);
            breaker.record_probe(false, now);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn probe_given_back_lets_another_go_and_a_closed_breaker_begins_with_the_first_wait() {
        let mut breaker = opened();
        assert_eq!(breaker.pass(10 * SECOND), Pass::Probe);
        breaker.give_probe_back();
        assert_eq!(breaker.pass(10 * SECOND), Pass::Probe);
        breaker.record_probe(false, 10 * SECOND);
        assert_eq!(breaker.pass(30 * SECOND), Pass::Probe);
        breaker.record_probe(true, 30 * SECOND);
        for _ in 0..limits::BREAKER_FAILURES_IN_ROW {
            breaker.record(false, 30 * SECOND);
        }
        assert_eq!(breaker.pass(30 * SECOND), Pass::No { until: 40 * SECOND });
    }

    #[test]
    fn words_of_calls_that_began_before_it_opened_change_nothing() {
        let mut breaker = opened();
        breaker.record(true, SECOND);
        assert_eq!(breaker.state(SECOND), BreakerState::Open);
        assert_eq!(breaker.pass(10 * SECOND), Pass::Probe);
        breaker.record(true, 11 * SECOND);
        breaker.record(false, 11 * SECOND);
        assert_eq!(breaker.state(11 * SECOND), BreakerState::HalfOpen);
        assert!(matches!(breaker.pass(11 * SECOND), Pass::No { .. }));
    }
}
