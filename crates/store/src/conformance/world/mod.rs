//! The world of one case: an empty store, a clock that the case moves, and helpers
//! that speak the words of the path.

mod always;
mod awards;
mod draws;
mod words;

pub(super) use words::{
    Ask, BLUNT, CODE, EPOCH, EXTERNAL, KEEN, PHYSICAL, POINTS, PRIZE, TEXT, Won, actor, days, ok,
    one_prize, only, roll_at, secs,
};

use super::bench::{Bench, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::award::Row;
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

/// An empty store and a clock.
pub struct World {
    bench: Arc<dyn Bench>,
    now: Mutex<Timestamp>,
    /// Names and offsets that no two things of a world share.
    next: AtomicI64,
    seen: Mutex<BTreeMap<AwardId, Row>>,
    won: Mutex<Vec<AwardId>>,
    looks: AtomicI64,
}

/// A case that looks more often waits for something that a broken store never does.
const LOOKS_MAX: i64 = 5_000;

impl World {
    /// A world at an ordinary instant, 2026-02-13T16:26:40Z.
    pub fn new(bench: Arc<dyn Bench>) -> Self {
        Self {
            bench,
            now: Mutex::new(Timestamp(1_771_000_000_000_000)),
            next: AtomicI64::new(1),
            seen: Mutex::default(),
            won: Mutex::default(),
            looks: AtomicI64::new(0),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.bench.store()
    }

    pub(super) fn bench(&self) -> &dyn Bench {
        &*self.bench
    }

    pub(super) fn schedule(&self) -> &Schedule {
        self.bench.schedule()
    }

    pub(super) fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    /// The instant that far from now.
    pub(super) fn after(&self, span: Duration) -> Timestamp {
        self.now().plus(span)
    }

    /// Time passes.
    pub(super) fn advance(&self, by: Duration) {
        let now = self.now().plus(by);
        *lock(&self.now) = now;
    }

    /// It is `at` now.
    pub(super) fn move_to(&self, at: Timestamp) {
        *lock(&self.now) = at;
    }

    pub(super) fn fresh(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// A case that failed half-way left nothing half-written here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) async fn row(&self, won: &Won) -> Row {
        self.row_of(won.award).await
    }

    /// The row as it stands; it holds to what is always true.
    pub(super) async fn row_of(&self, award: AwardId) -> Row {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        assert!(looks < LOOKS_MAX, "the case comes to no end");
        let row = self.bench.row(award).await;
        let row = row.unwrap_or_else(|| panic!("award {award} has no row"));
        always::is_whole(&row);
        if let Some(before) = lock(&self.seen).insert(award, row.clone()) {
            always::follows(&before, &row);
        }
        row
    }

    /// Looks at every award of the world once more.
    pub(super) async fn look_at_all(&self) {
        let all = lock(&self.won).clone();
        for award in all {
            if self.bench.row(award).await.is_some() {
                self.row_of(award).await;
            }
        }
    }
}
