//! The lanes of this process: what is known of each endpoint, and its permits. No
//! claim without a permit: a slow or broken endpoint never turns awards dead without
//! a call. Limits hold per process.
//!
//! Locks here are held for a few lines and never across a wait, but for the one that
//! lets no older reading of the endpoints take the place of a newer one.

mod lane;
mod pace;

pub(crate) use lane::{Turn, Wait};

use crate::breaker::BreakerState;
use crate::meters::{LaneMeter, Meters};
use lane::Lane;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;
use tombola_core::ports::{Catalog, Clock, StoreResult};

/// Whether a copy of a lane may be claimed.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Claim it, then call.
    Permit(Permit),
    /// Claim it and hold it, without a call: the endpoint is disabled or gone.
    Disabled,
    /// Not now.
    Wait(Wait),
}

/// The lanes of one process.
pub struct Lanes {
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    inner: Mutex<Inner>,
    /// Held from the reading of the endpoints until they are in use.
    reload_turn: tokio::sync::Mutex<()>,
    calls_max: usize,
}

struct Inner {
    lanes: HashMap<i64, Lane>,
    calls: usize,
}

impl Lanes {
    /// None known yet.
    pub fn new(clock: Arc<dyn Clock>, meters: Arc<Meters>) -> Self {
        let inner = Mutex::new(Inner {
            lanes: HashMap::new(),
            calls: 0,
        });
        Self {
            clock,
            meters,
            inner,
            reload_turn: tokio::sync::Mutex::new(()),
            calls_max: limits::CALLS_IN_FLIGHT_MAX,
        }
    }

    /// Reads the endpoints anew: at the start, now and then, and after a change, which
    /// is in use when this is done.
    pub async fn reload(&self, catalog: &dyn Catalog) -> StoreResult<()> {
        let _turn = self.reload_turn.lock().await;
        let endpoints = catalog.endpoints().await?;
        self.set(endpoints);
        Ok(())
    }

    /// These are the endpoints; calls in flight and breakers stay.
    pub fn set(&self, endpoints: Vec<Endpoint>) {
        let mut inner = self.locked();
        inner.lanes.retain(|lane, it| {
            let is_there = endpoints.iter().any(|endpoint| endpoint.lane == *lane);
            if !is_there {
                it.disable();
            }
            is_there || it.in_flight() > 0
        });
        for endpoint in endpoints {
            match inner.lanes.get_mut(&endpoint.lane) {
                Some(lane) => lane.update(endpoint),
                None => drop(inner.lanes.insert(endpoint.lane, Lane::new(endpoint))),
            }
        }
        drop(inner);
        self.show();
    }

    /// How the breaker of a lane stands; that of a lane without calls is closed.
    pub fn breaker_state(&self, lane: i64) -> BreakerState {
        let now = self.clock.monotonic();
        self.locked()
            .lanes
            .get(&lane)
            .map_or(BreakerState::Closed, |lane| lane.breaker_state(now))
    }

    /// Calls in flight, all lanes together.
    pub fn calls(&self) -> usize {
        self.locked().calls
    }

    /// Puts the lanes as they stand into the meters.
    pub fn show(&self) {
        let now = self.clock.monotonic();
        let inner = self.locked();
        let shown = inner.lanes.iter().map(|(id, lane)| {
            let meter = LaneMeter {
                name: lane.endpoint().name.clone(),
                breaker: lane.breaker_state(now),
                in_flight: lane.in_flight(),
            };
            (*id, meter)
        });
        let shown = shown.collect();
        drop(inner);
        self.meters.set_lanes(shown);
    }

    pub(crate) fn knows(&self, lane: i64) -> bool {
        self.locked().lanes.contains_key(&lane)
    }

    /// The endpoint asked to be called no more: it is not, from now on.
    pub(crate) fn disable(&self, lane: i64) {
        if let Some(lane) = self.locked().lanes.get_mut(&lane) {
            lane.disable();
        }
    }

    /// Asks for a permit whose turn is at most `ahead` away.
    pub(crate) fn admit(self: &Arc<Self>, lane: i64, ahead: Duration) -> Admission {
        let now = self.clock.monotonic();
        let mut inner = self.locked();
        let is_full = inner.calls >= self.calls_max;
        let Some(it) = inner
            .lanes
            .get_mut(&lane)
            .filter(|it| it.endpoint().is_enabled)
        else {
            return Admission::Disabled;
        };
        if is_full {
            return Admission::Wait(Wait::ForACall);
        }
        match it.take(now, ahead) {
            Ok(turn) => {
                let endpoint = Arc::clone(it.endpoint());
                inner.calls += 1;
                Admission::Permit(self.permit(endpoint, turn))
            }
            Err(wait) => Admission::Wait(wait),
        }
    }

    /// A permit for a test call: one of the endpoint's calls and a turn of its pace,
    /// also of one that is disabled or whose breaker is open. `None`: this process
    /// knows no such lane, and has no call of it.
    pub(crate) fn admit_test(
        self: &Arc<Self>,
        lane: i64,
        ahead: Duration,
    ) -> Result<Option<Permit>, Wait> {
        let now = self.clock.monotonic();
        let mut inner = self.locked();
        if inner.calls >= self.calls_max {
            return Err(Wait::ForACall);
        }
        let Some(it) = inner.lanes.get_mut(&lane) else {
            return Ok(None);
        };
        let turn = it.take_for_test(now, ahead)?;
        let endpoint = Arc::clone(it.endpoint());
        inner.calls += 1;
        Ok(Some(self.permit(endpoint, turn)))
    }

    fn permit(self: &Arc<Self>, endpoint: Arc<Endpoint>, turn: Turn) -> Permit {
        Permit {
            lanes: Arc::clone(self),
            endpoint,
            turn,
            word: None,
        }
    }

    /// How long a copy without a permit is set aside.
    pub(crate) fn set_aside(&self, lane: i64) -> Duration {
        let now = self.clock.monotonic();
        self.locked()
            .lanes
            .get_mut(&lane)
            .map_or(limits::RETRY_FIRST, |lane| lane.set_aside(now))
    }

    /// When an award of this lane is looked at again after its endpoint's fault.
    pub(crate) fn again_in(&self, lane: i64) -> Duration {
        let now = self.clock.monotonic();
        self.locked()
            .lanes
            .get(&lane)
            .map_or(limits::BREAKER_OPEN_FIRST, |lane| lane.again_in(now))
    }

    fn begin(&self, lane: i64) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        self.locked()
            .lanes
            .get_mut(&lane)
            .map_or(Ok(()), |lane| lane.begin(now))
    }

    fn give(&self, lane: i64, turn: Turn, word: Option<(bool, Duration)>) {
        let now = self.clock.monotonic();
        let mut inner = self.locked();
        inner.calls = inner.calls.saturating_sub(1);
        if let Some(it) = inner.lanes.get_mut(&lane) {
            let before = it.breaker_state(now);
            it.give(turn, word, now);
            note_breaker(it.endpoint(), before, it.breaker_state(now));
        }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_breaker(endpoint: &Endpoint, before: BreakerState, after: BreakerState) {
    if before == after {
        return;
    }
    match after {
        BreakerState::Open => {
            tracing::warn!(
                endpoint = endpoint.name,
                "calls fail: the endpoint's breaker is open"
            );
        }
        BreakerState::Closed => {
            tracing::info!(
                endpoint = endpoint.name,
                "calls work again: the endpoint's breaker is closed"
            );
        }
        BreakerState::HalfOpen => {}
    }
}

/// The right to make one call; given back when it is dropped.
pub(crate) struct Permit {
    lanes: Arc<Lanes>,
    endpoint: Arc<Endpoint>,
    turn: Turn,
    word: Option<(bool, Duration)>,
}

impl Permit {
    /// The endpoint as it stood when the permit was given.
    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// When the call may begin.
    pub(crate) const fn turn(&self) -> Duration {
        self.turn.at
    }

    /// The call begins now, or has to wait so long still.
    pub(crate) fn begin(&self) -> Result<(), Duration> {
        self.lanes.begin(self.endpoint.lane)
    }

    /// The call ended: whether the endpoint is sound, and how long it took.
    pub(crate) fn end(mut self, is_ok: bool, lasted: Duration) {
        self.word = Some((is_ok, lasted));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.lanes
            .give(self.endpoint.lane, self.turn, self.word.take());
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permit")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
