//! One lane: its endpoint, the permits it gives (concurrency, pace, breaker) and the
//! rate that it was measured to take.
//!
//! Pure: time comes in as the monotonic reading of the clock.

use super::pace::Pace;
use crate::breaker::{Breaker, BreakerSettings, BreakerState, Pass};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;

/// What a call is taken to last until one was measured: little, for those that come
/// too early are set aside once more, while those that come too late leave the lane
/// idle.
const CALL_GUESS: Duration = Duration::from_millis(5);
/// A measured rate that is a little low would leave the lane idle; those that come
/// too early are set aside once more.
const EAGER_PERCENT: u32 = 110;
/// The farthest that a copy is set aside for want of a permit, the wait of an open
/// breaker aside: so long may the lane be idle after it has become faster. Beyond it
/// the dates begin anew, and a copy comes once in that time at most.
const ASIDE_MAX: Duration = limits::GRACE_MAX;

/// Why there is no permit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A call has to end first.
    ForACall,
    /// Not before this reading.
    Until(Duration),
}

/// What a lane gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// When the call may begin.
    pub(crate) at: Duration,
    /// Whether it is the breaker's probe.
    pub(crate) is_probe: bool,
}

/// One lane.
#[derive(Debug)]
pub(crate) struct Lane {
    endpoint: Arc<Endpoint>,
    pace: Option<Pace>,
    breaker: Breaker,
    /// When the calls in flight began, the oldest first.
    in_flight: Vec<Duration>,
    /// A moving mean of how long calls last.
    call_time: Duration,
    /// The last date given to a copy that was set aside.
    aside_until: Duration,
}

impl Lane {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            pace: endpoint.interval.map(Pace::new),
            endpoint: Arc::new(endpoint),
            breaker: Breaker::new(BreakerSettings::lane()),
            in_flight: Vec::new(),
            call_time: CALL_GUESS,
            aside_until: Duration::ZERO,
        }
    }

    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn in_flight(&self) -> u32 {
        u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn breaker_state(&self, now: Duration) -> BreakerState {
        self.breaker.state(now)
    }

    /// Takes over what an operator changed. An endpoint that is enabled again begins
    /// with a closed breaker.
    pub(crate) fn update(&mut self, endpoint: Endpoint) {
        if *self.endpoint == endpoint {
            return;
        }
        if self.endpoint.interval != endpoint.interval {
            self.pace = endpoint.interval.map(Pace::new);
        }
        if endpoint.is_enabled && !self.endpoint.is_enabled {
            self.breaker = Breaker::new(BreakerSettings::lane());
        }
        self.endpoint = Arc::new(endpoint);
    }

    /// Asked to be called no more.
    pub(crate) fn disable(&mut self) {
        self.endpoint = Arc::new(Endpoint {
            is_enabled: false,
            ..Endpoint::clone(&self.endpoint)
        });
    }

    /// Gives a permit whose turn is at most `ahead` away.
    pub(crate) fn take(&mut self, now: Duration, ahead: Duration) -> Result<Turn, Wait> {
        let at = self.turn(now, ahead)?;
        let is_probe = match self.breaker.pass(now) {
            Pass::Yes => false,
            Pass::Probe => true,
            Pass::No { until } => return Err(Wait::Until(until)),
        };
        self.occupy(at, now);
        Ok(Turn { at, is_probe })
    }

    /// The same for a test call, which goes past the breaker and tells it nothing.
    pub(crate) fn take_for_test(&mut self, now: Duration, ahead: Duration) -> Result<Turn, Wait> {
        let at = self.turn(now, ahead)?;
        self.occupy(at, now);
        Ok(Turn {
            at,
            is_probe: false,
        })
    }

    /// When one more call could begin, as far as concurrency and pace go.
    fn turn(&self, now: Duration, ahead: Duration) -> Result<Duration, Wait> {
        if self.in_flight() >= self.endpoint.concurrency {
            return Err(Wait::ForACall);
        }
        let at = self.pace.as_ref().map_or(now, |pace| pace.next_turn(now));
        if at > now + ahead {
            return Err(Wait::Until(at.saturating_sub(ahead)));
        }
        Ok(at)
    }

    fn occupy(&mut self, at: Duration, now: Duration) {
        if let Some(pace) = &mut self.pace {
            pace.take_turn(now);
        }
        let place = self.in_flight.partition_point(|begun| *begun <= at);
        self.in_flight.insert(place, at);
    }

    /// A call begins now, or has to wait so long still.
    pub(crate) fn begin(&mut self, now: Duration) -> Result<(), Duration> {
        self.pace.as_mut().map_or(Ok(()), |pace| pace.begin(now))
    }

    /// A permit comes back. `word`: how its call ended and how long it lasted, `None`
    /// if there was none.
    pub(crate) fn give(&mut self, turn: Turn, word: Option<(bool, Duration)>, now: Duration) {
        if let Ok(place) = self.in_flight.binary_search(&turn.at) {
            self.in_flight.remove(place);
        }
        match word {
            Some((is_ok, lasted)) => {
                self.call_time = (self.call_time * 7 + lasted) / 8;
                if turn.is_probe {
                    self.breaker.record_probe(is_ok, now);
                } else {
                    self.breaker.record(is_ok, now);
                }
            }
            None if turn.is_probe => self.breaker.give_probe_back(),
            None => {}
        }
    }

    /// How long a copy without a permit is set aside: the k-th that waits is looked
    /// at after k calls of the lane's measured rate, after its breaker's wait.
    pub(crate) fn set_aside(&mut self, now: Duration) -> Duration {
        let begins = match self.breaker.peek(now) {
            Pass::Yes | Pass::Probe => now,
            Pass::No { until } => until,
        };
        let each = self.each(now);
        let next = self.aside_until.max(begins) + each;
        self.aside_until = if next > begins + ASIDE_MAX {
            begins + each
        } else {
            next
        };
        self.aside_until.saturating_sub(now)
    }

    /// When an award whose call met the endpoint's fault is looked at again.
    pub(crate) fn again_in(&self, now: Duration) -> Duration {
        let open = match self.breaker.peek(now) {
            Pass::Yes | Pass::Probe => Duration::ZERO,
            Pass::No { until } => until.saturating_sub(now),
        };
        open.max(BreakerSettings::lane().open_first)
    }

    /// The time between two calls that the lane was measured to take. A call that is
    /// under way for longer than the mean says more than the mean.
    fn each(&self, now: Duration) -> Duration {
        let oldest = self
            .in_flight
            .first()
            .map_or(Duration::ZERO, |begun| now.saturating_sub(*begun));
        let by_calls = self.call_time.max(oldest) / self.endpoint.concurrency.max(1);
        let by_pace = self.pace.as_ref().map_or(Duration::ZERO, Pace::interval);
        (by_calls * 100 / EAGER_PERCENT)
            .max(by_pace)
            .max(Duration::from_micros(1))
    }
}

#[cfg(test)]
mod tests;
