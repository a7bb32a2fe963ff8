//! How often somebody may ask: a client by its name, a user (or the bearer of a
//! claim token), and an address that shows no good key. What is refused here has
//! done nothing.
//!
//! What is remembered is a number for each, never a name: a hash and an instant.
//! Whoever has been quiet long enough is forgotten. Beyond a bound new ones are let
//! in and not remembered: a flood of new names costs the server what its requests
//! cost, which other bounds hold, and can neither take memory nor lock others out.

use super::auth::Who;
use super::error::{ApiError, Code};
use crate::config::{Http, Rate};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tombola_core::limits;

/// The rates of one server.
pub(crate) struct Rates {
    hash: RandomState,
    key: Option<Limiter>,
    user: Option<Limiter>,
    peer: Option<Limiter>,
}

impl Rates {
    /// As the settings say.
    pub(crate) fn new(http: &Http) -> Self {
        let limiter = |name, rate| Limiter::new(name, rate, DefaultClock::default());
        Self {
            hash: RandomState::new(),
            key: limiter("rate_per_key", http.rate_per_key),
            user: limiter("rate_per_user", http.rate_per_user),
            peer: limiter("rate_per_peer", http.rate_per_peer),
        }
    }

    /// A request of this caller, whatever it asks for.
    pub(super) fn caller(&self, who: &Who) -> Result<(), ApiError> {
        match who {
            Who::Key(key) => self.check(self.key.as_ref(), &key.client),
            Who::Winner(award) => self.check(self.user.as_ref(), ("winner", award.0)),
            Who::Player(player, _) => self.check(self.user.as_ref(), ("player", &player.user)),
            Who::Local | Who::Nobody => Ok(()),
        }
    }

    /// A draw for this user. An operator of this machine draws for whom it likes.
    pub(super) fn user(&self, who: &Who, user: &str) -> Result<(), ApiError> {
        match who {
            Who::Local => Ok(()),
            Who::Key(_) | Who::Winner(_) | Who::Player(..) | Who::Nobody => {
                self.check(self.user.as_ref(), user)
            }
        }
    }

    /// A request from this address that shows no good key where one is needed.
    pub(super) fn stranger(&self, peer: IpAddr) -> Result<(), ApiError> {
        self.check(self.peer.as_ref(), network(peer))
    }

    fn check(&self, limiter: Option<&Limiter>, whose: impl Hash) -> Result<(), ApiError> {
        match limiter {
            Some(limiter) => limiter.check(self.hash.hash_one(whose)),
            None => Ok(()),
        }
    }
}

/// Whoever has one address of IPv6 has its whole network of 64 bits.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::from([a, b, c, d, 0, 0, 0, 0]).into()
        }
    }
}

/// One rate, of many.
struct Limiter<C: Clock = DefaultClock> {
    /// Its key in the config.
    name: &'static str,
    limit: RateLimiter<u64, Remembered, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    checks: AtomicU32,
}

impl<C: Clock + Clone> Limiter<C> {
    /// None, where there is no limit.
    fn new(name: &'static str, rate: Rate, clock: C) -> Option<Self> {
        let rate = rate.0?;
        let quota = Quota::with_period(rate.interval())?.allow_burst(NonZeroU32::new(rate.count)?);
        Some(Self {
            name,
            limit: RateLimiter::new(quota, Remembered::default(), clock.clone()),
            clock,
            checks: AtomicU32::new(0),
        })
    }

    fn check(&self, whose: u64) -> Result<(), ApiError> {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks % limits::RATED_CHECKS == limits::RATED_CHECKS - 1 {
            self.limit.retain_recent();
        }
        self.limit.check_key(&whose).map_err(|not_until| {
            ApiError::new(Code::RateLimited, format!("beyond `http.{}`", self.name))
                .with("limit", self.name)
                .after(not_until.wait_time_from(self.clock.now()))
        })
    }
}

/// When each has used up what it used, as the limiter counts time.
#[derive(Default)]
struct Remembered(Mutex<HashMap<u64, Nanos>>);

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Nanos>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Remembered {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut remembered = self.lock();
        let is_full = remembered.len() >= limits::RATED_MAX;
        match remembered.entry(*key) {
            Entry::Occupied(mut known) => {
                let (answer, until) = measure(Some(*known.get()))?;
                known.insert(until);
                Ok(answer)
            }
            Entry::Vacant(new) => {
                let (answer, until) = measure(None)?;
                if !is_full {
                    new.insert(until);
                }
                Ok(answer)
            }
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for Remembered {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, until| *until > drop_below);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;
    use tombola_core::endpoint::parse_rate;

    fn limiter(rate: &str) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = Rate(parse_rate(rate));
        (Limiter::new("rate", rate, clock.clone()).unwrap(), clock)
    }

    #[test]
    fn as_many_at_once_as_the_number_says_and_then_at_its_pace() {
        let (limiter, clock) = limiter("20/s");
        let at_once = (0..100).take_while(|_| limiter.check(1).is_ok()).count();
        assert_eq!(at_once, 20);
        let error = limiter.check(1).unwrap_err();
        assert_eq!(error.code, Code::RateLimited);
        assert_eq!(error.retry_after, Some(Duration::from_millis(50)));
        assert!(limiter.check(2).is_ok(), "another is not touched");
        clock.advance(Duration::from_millis(50));
        assert!(limiter.check(1).is_ok());
        assert!(limiter.check(1).is_err());
    }

    #[test]
    fn who_was_quiet_is_forgotten() {
        let (limiter, clock) = limiter("20/s");
        for whose in 0..u64::from(limits::RATED_CHECKS) - 1 {
            limiter.check(whose).unwrap();
        }
        clock.advance(Duration::from_secs(2));
        limiter.check(u64::MAX).unwrap();
        assert_eq!(limiter.limit.len(), 1, "the last one alone");
    }

    #[test]
    fn a_flood_of_new_names_takes_no_more_memory_and_locks_nobody_out() {
        let (limiter, _clock) = limiter("1/h");
        for whose in 0..u64::try_from(limits::RATED_MAX).unwrap() + 1000 {
            assert!(limiter.check(whose).is_ok());
        }
        assert_eq!(limiter.limit.len(), limits::RATED_MAX);
        assert!(limiter.check(0).is_err(), "those known are held to it");
        assert!(limiter.check(u64::MAX).is_ok());
    }

    #[test]
    fn networks_of_ipv6_are_one_and_addresses_of_ipv4_each_their_own() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
