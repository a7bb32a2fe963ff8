//! Whether members do their work: for readiness, which fails when polling stops.

use super::config::{ASKED_AGE_MAX, POLLED_AGE_MAX};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// How one member of this process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Its group.
    pub group: String,
    /// Since its thread last polled the broker.
    pub polled_ago: Duration,
    /// Since the worker last asked it for messages; nothing while it waits for some.
    pub asked_ago: Duration,
    /// Its thread has ended: it must join anew.
    pub is_over: bool,
    /// It did not poll in time and the group went on without it: until it is back, and
    /// its worker too, which may be why.
    pub is_out: bool,
}

impl MemberHealth {
    /// What is the matter with it, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let group = &self.group;
        if self.is_over {
            return Some(format!("the member of `{group}` has ended"));
        }
        if self.is_out {
            return Some(format!(
                "the member of `{group}` did not poll in time, and the group went on without it"
            ));
        }
        let late = |who: &str, ago: Duration| {
            format!("{who} of `{group}` has not polled for {} s", ago.as_secs())
        };
        if self.polled_ago > POLLED_AGE_MAX {
            return Some(late("the member", self.polled_ago));
        }
        (self.asked_ago > ASKED_AGE_MAX).then(|| late("the worker", self.asked_ago))
    }
}

/// What a member's threads and its worker write down as they go.
pub(super) struct Pulse {
    group: String,
    born: Instant,
    /// Milliseconds after the birth.
    polled: AtomicU64,
    asked: AtomicU64,
    /// Polls of the worker that wait now.
    waiting: AtomicUsize,
    is_over: AtomicBool,
    /// Until the group has it back.
    is_out: AtomicBool,
    /// Until its worker asks again.
    is_missed: AtomicBool,
    is_gone: AtomicBool,
}

impl Pulse {
    pub(super) fn new(group: &str) -> Arc<Self> {
        Arc::new(Self {
            group: group.to_owned(),
            born: Instant::now(),
            polled: AtomicU64::default(),
            asked: AtomicU64::default(),
            waiting: AtomicUsize::default(),
            is_over: AtomicBool::default(),
            is_out: AtomicBool::default(),
            is_missed: AtomicBool::default(),
            is_gone: AtomicBool::default(),
        })
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn poll(&self) {
        self.polled.store(self.age(), Ordering::Relaxed);
    }

    /// The worker waits, until what is returned is dropped.
    pub(super) fn ask(&self) -> Asking<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.is_missed.store(false, Ordering::Relaxed);
        Asking(self)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// The group went on without it.
    pub(super) fn out(&self) {
        self.is_out.store(true, Ordering::Relaxed);
        self.is_missed.store(true, Ordering::Relaxed);
    }

    /// The group has it.
    pub(super) fn back(&self) {
        self.is_out.store(false, Ordering::Relaxed);
    }

    /// The worker let it go: no complaint about it any more.
    pub(super) fn go(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    fn health(&self) -> MemberHealth {
        let age = self.age();
        let since = |at: u64| Duration::from_millis(age.saturating_sub(at));
        let asked_ago = if self.waiting.load(Ordering::Relaxed) > 0 {
            Duration::ZERO
        } else {
            since(self.asked.load(Ordering::Relaxed))
        };
        MemberHealth {
            group: self.group.clone(),
            polled_ago: since(self.polled.load(Ordering::Relaxed)),
            asked_ago,
            is_over: self.is_over.load(Ordering::Relaxed),
            is_out: self.is_out.load(Ordering::Relaxed) || self.is_missed.load(Ordering::Relaxed),
        }
    }
}

/// A poll of the worker that waits.
pub(super) struct Asking<'a>(&'a Pulse);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Self(pulse) = self;
        pulse.asked.store(pulse.age(), Ordering::Relaxed);
        pulse.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The members of this process.
#[derive(Default)]
pub(super) struct Pulses(Mutex<Vec<Weak<Pulse>>>);

impl Pulses {
    pub(super) fn add(&self, pulse: &Arc<Pulse>) {
        let mut pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|it| it.strong_count() > 0);
        pulses.push(Arc::downgrade(pulse));
    }

    pub(super) fn health(&self) -> Vec<MemberHealth> {
        let pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let living = pulses.iter().filter_map(Weak::upgrade);
        living
            .filter(|it| !it.is_gone.load(Ordering::Relaxed))
            .map(|it| it.health())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(pulses: &Pulses) -> Option<String> {
        let healths = pulses.health();
        healths.iter().find_map(MemberHealth::complaint)
    }

    fn one() -> (Pulses, Arc<Pulse>) {
        let (pulses, pulse) = (Pulses::default(), Pulse::new("g"));
        pulses.add(&pulse);
        (pulses, pulse)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn thread_that_stops_polling_is_complained_of_until_it_polls() {
        let (pulses, pulse) = one();
        let _waits = pulse.ask();
        tokio::time::advance(POLLED_AGE_MAX).await;
        assert_eq!(complaint(&pulses), None);
        tokio::time::advance(SECOND).await;
        let said = complaint(&pulses).unwrap();
        assert!(
            said.starts_with("the member of `g` has not polled"),
            "{said}"
        );
        pulse.poll();
        assert_eq!(complaint(&pulses), None);
    }

    #[tokio::test(start_paused = true)]
    async fn worker_that_stops_asking_is_complained_of_and_one_that_waits_is_not() {
        let (pulses, pulse) = one();
        let waits = pulse.ask();
        tokio::time::advance(ASKED_AGE_MAX * 2).await;
        pulse.poll();
        assert_eq!(complaint(&pulses), None);
        drop(waits);
        tokio::time::advance(ASKED_AGE_MAX + SECOND).await;
        pulse.poll();
        let said = complaint(&pulses).unwrap();
        assert!(
            said.starts_with("the worker of `g` has not polled"),
            "{said}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn member_that_is_out_or_over_is_complained_of_and_one_that_left_is_not() {
        let (pulses, pulse) = one();
        let is_out = || complaint(&pulses).is_some_and(|it| it.contains("went on without it"));
        pulse.out();
        pulse.back();
        assert!(is_out(), "its worker has not asked since");
        drop(pulse.ask());
        assert!(!is_out());
        pulse.out();
        drop(pulse.ask());
        assert!(is_out(), "the group has not taken it back");
        pulse.back();
        assert_eq!(complaint(&pulses), None);
        pulse.end();
        assert!(complaint(&pulses).unwrap().contains("has ended"));
        pulse.go();
        assert_eq!(pulses.health(), []);
    }
}
