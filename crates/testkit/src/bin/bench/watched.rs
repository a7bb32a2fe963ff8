//! A store that notes when its calls come back: an award is committed when the commit
//! of its draw was answered, and delivered when the transaction of its delivery was.
//! Both instants are of one monotonic clock, outside the database.

use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tombola_core::adoption::Adoption;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    AdoptAnswer, Arrivals, AwardPath, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch, DueLanes,
    DuePage, DueQuery, KeptMessage, MarkOf, Record, Recorded, StoreResult, Written,
};
use tombola_core::{AwardId, Timestamp};
use tombola_store::Store;

/// The path of awards through that store.
pub(crate) struct Watched {
    pub(crate) store: Arc<Store>,
    /// Committed and not yet delivered.
    unfinished: Mutex<HashMap<AwardId, Instant>>,
    /// Of each delivered award, when it was committed and how long it took from there.
    waits: Mutex<Vec<(Instant, Duration)>>,
    committed: AtomicU64,
    delivered: AtomicU64,
    /// A permit comes back with each delivery.
    pub(crate) room: Semaphore,
}

impl Watched {
    /// With so many awards at most between commit and delivery, where callers ask for
    /// `room`.
    pub(crate) fn new(store: Arc<Store>, room: usize) -> Arc<Self> {
        Arc::new(Self {
            store,
            unfinished: Mutex::default(),
            waits: Mutex::default(),
            committed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            room: Semaphore::new(room),
        })
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Takes out what was noted: when each award was committed, and its wait.
    pub(crate) fn take_waits(&self) -> Vec<(Instant, Duration)> {
        std::mem::take(&mut *locked(&self.waits))
    }

    fn note_committed(&self, answers: &[DrawAnswer]) {
        let now = Instant::now();
        let mut unfinished = locked(&self.unfinished);
        let before = unfinished.len();
        for answer in answers {
            if let DrawAnswer::Drawn { draws, .. } = answer {
                let won = draws.iter().filter(|draw| draw.award.is_some());
                unfinished.extend(won.map(|draw| (AwardId(draw.id.0), now)));
            }
        }
        let more = u64::try_from(unfinished.len() - before).unwrap_or_default();
        self.committed.fetch_add(more, Ordering::Relaxed);
    }

    fn note_delivered(&self, awards: &[AwardId], answers: &[CopyAnswer]) {
        let now = Instant::now();
        let (mut unfinished, mut waits) = (locked(&self.unfinished), locked(&self.waits));
        let mut count = 0;
        for (award, answer) in awards.iter().zip(answers) {
            if matches!(answer, CopyAnswer::Delivered { .. })
                && let Some(at) = unfinished.remove(award)
            {
                waits.push((at, now - at));
                count += 1;
            }
        }
        drop((unfinished, waits));
        self.room.add_permits(count);
        let count = u64::try_from(count).unwrap_or_default();
        self.delivered.fetch_add(count, Ordering::Relaxed);
    }
}

/// A list stays sound, whoever panicked over it.
fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl AwardPath for Watched {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        self.store.reserve_ids(count).await
    }
    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        let answers = self.store.commit_draws(batch).await?;
        self.note_committed(&answers);
        Ok(answers)
    }
    async fn commit_draws_with(
        &self,
        batch: DrawBatch,
        arrivals: &dyn Arrivals,
    ) -> StoreResult<Vec<DrawAnswer>> {
        let answers = self.store.commit_draws_with(batch, arrivals).await?;
        self.note_committed(&answers);
        Ok(answers)
    }
    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        self.store.adopt(adoptions, now).await
    }
    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.store.mark_published(marks, now).await
    }
    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        let awards: Vec<AwardId> = copies.iter().map(|copy| copy.award).collect();
        let answers = self.store.deliver_local(copies, now).await?;
        self.note_delivered(&awards, &answers);
        Ok(answers)
    }
    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.store.claim(copies, now).await
    }
    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.store.defer(deferrals, now).await
    }
    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        self.store.record(records, now).await
    }
    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        self.store.claim_due(query).await
    }
    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.store.give_back(claims, now).await
    }
    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()> {
        self.store.keep_messages(messages, now).await
    }
    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        self.store.due_lanes(now).await
    }
    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        self.store.begin_alone(now).await
    }
}
