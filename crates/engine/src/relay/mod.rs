//! The relay: publishes what was just committed, and marks it.
//!
//! # Model
//! A hand-off lives in memory and may be lost at any time: its row is due when its
//! grace ends, and rescue publishes then. So the queue is bounded and drops what it
//! cannot hold, and a hand-off expires before rescue owns its row. Publishing and
//! marking are pipelined: while one batch is marked the next is published; marks
//! that cannot be written hold the publishing back. While a batch is with the broker,
//! full ones go beside it, so that the broker never waits for us; what fills none
//! waits, so that few draws share a publish and a mark. Batches are marked in the
//! order in which they were begun.
//!
//! # What each failure does
//! - The broker does not take a message, or nobody knows: marked as failed; its row
//!   is due after the backoff.
//! - It never will (size): the award is dead, `unpublishable`, at once.
//! - Many fail: the topic's breaker opens and hand-offs are dropped; once a second
//!   one probe batch goes, of rescue's or of fresh ones, for a process may have the
//!   one role without the other.
//! - The store is away: the marks are tried a few times, then forgotten; rescue
//!   publishes again, and the row drops the second copy.

mod publish;
#[cfg(test)]
mod tests;

pub(crate) use publish::Passing;
pub use publish::Publisher;

use crate::meters::Meters;
use crate::tasks::Tasks;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tombola_core::limits;
use tombola_core::ports::{Handoff, MarkOf};

/// Where the draw desk puts what it committed.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    queue: mpsc::Sender<Vec<Handoff>>,
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
    meters: Arc<Meters>,
}

impl RelayHandle {
    /// Takes messages over; those for which there is no room are dropped and found by
    /// rescue.
    pub fn offer(&self, mut handoffs: Vec<Handoff>) {
        let offered = handoffs.len();
        let before = self.waiting.fetch_add(offered, Ordering::Relaxed);
        let room = self.waiting_max.saturating_sub(before);
        handoffs.truncate(room);
        let taken = handoffs.len();
        if taken < offered {
            self.waiting.fetch_sub(offered - taken, Ordering::Relaxed);
            self.meters.handoffs_dropped.add(offered - taken);
            tracing::warn!(
                dropped = offered - taken,
                "the relay is full; rescue will publish"
            );
        }
        if taken > 0 && self.queue.try_send(handoffs).is_err() {
            self.waiting.fetch_sub(taken, Ordering::Relaxed);
            self.meters.handoffs_dropped.add(taken);
        }
    }

    /// Messages that wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// What one step of the relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayStep {
    /// Published, whatever the broker said.
    pub published: usize,
    /// Dropped: expired, or the breaker is open.
    pub dropped: usize,
}

/// The relay itself; [`Relay::run`] is its task, [`Relay::run_once`] one step of it.
pub struct Relay {
    queue: mpsc::Receiver<Vec<Handoff>>,
    waiting: Arc<AtomicUsize>,
    publisher: Arc<Publisher>,
    meters: Arc<Meters>,
    /// Taken off the queue, beyond the batch before.
    left: Vec<Handoff>,
}

impl Relay {
    /// A relay that holds `waiting_max` messages, and its handle.
    pub fn new(
        publisher: Arc<Publisher>,
        waiting_max: usize,
        meters: Arc<Meters>,
    ) -> (RelayHandle, Self) {
        // Each entry holds one message at least, so entries need no bound of their own.
        let (entry, queue) = mpsc::channel(waiting_max.max(1));
        let waiting = Arc::new(AtomicUsize::new(0));
        let handle = RelayHandle {
            queue: entry,
            waiting: Arc::clone(&waiting),
            waiting_max,
            meters: Arc::clone(&meters),
        };
        (
            handle,
            Self {
                queue,
                waiting,
                publisher,
                meters,
                left: Vec::new(),
            },
        )
    }

    /// Publishes and marks until a stop; then what waits is still published, for its
    /// draws are committed, unless the stop's deadline comes first.
    pub async fn run(mut self, tasks: Tasks) {
        let (marks, written) = mpsc::channel(limits::RELAY_MARKS_WAITING_MAX);
        let marker = tasks.spawn(write_marks(Arc::clone(&self.publisher), written));
        let mut publishing = FuturesOrdered::new();
        let mut has_more = true;
        while has_more || !publishing.is_empty() {
            let has_room = has_more && publishing.len() < limits::RELAY_BATCHES_MAX;
            let size_min = if publishing.is_empty() {
                1
            } else {
                limits::RELAY_BATCH_MAX
            };
            tokio::select! {
                biased;
                Some(published) = publishing.next() => {
                    // The marker ends after this loop, so it takes what comes.
                    if marks.send(published).await.is_err() {
                        break;
                    }
                }
                batch = self.next_batch(&tasks, size_min), if has_room => {
                    has_more = batch.is_some();
                    let passing = self.let_through(batch.unwrap_or_default());
                    if !passing.handoffs.is_empty() {
                        let publisher = Arc::clone(&self.publisher);
                        publishing.push_back(async move { publisher.publish_passing(passing).await });
                    }
                }
            }
        }
        drop(marks);
        drop(marker.await);
    }

    /// One step: what waits now is published, in one batch, and marked.
    pub async fn run_once(&mut self) -> RelayStep {
        while let Ok(more) = self.queue.try_recv() {
            self.left.extend(more);
        }
        let batch = self.take_batch();
        let taken = batch.len();
        let passing = self.let_through(batch);
        let published = passing.handoffs.len();
        if published > 0 {
            let marks = self.publisher.publish_passing(passing).await;
            self.publisher.mark(marks).await;
        }
        RelayStep {
            published,
            dropped: taken - published,
        }
    }

    /// The next batch, once it has so many messages; what is left, when none will come
    /// any more. Nothing is lost where its caller stops waiting for it.
    async fn next_batch(&mut self, tasks: &Tasks, size_min: usize) -> Option<Vec<Handoff>> {
        if tasks.is_abandoned() {
            return None;
        }
        while self.left.len() < size_min {
            let more = tokio::select! {
                biased;
                more = self.queue.recv() => more,
                () = tasks.stopped() => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            let Some(more) = more else {
                break;
            };
            self.left.extend(more);
        }
        while self.left.len() < limits::RELAY_BATCH_MAX
            && let Ok(more) = self.queue.try_recv()
        {
            self.left.extend(more);
        }
        (!self.left.is_empty()).then(|| self.take_batch())
    }

    fn take_batch(&mut self) -> Vec<Handoff> {
        let rest = self
            .left
            .split_off(self.left.len().min(limits::RELAY_BATCH_MAX));
        let batch = std::mem::replace(&mut self.left, rest);
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        batch
    }

    /// Those that may go now; the others are dropped.
    fn let_through(&self, batch: Vec<Handoff>) -> Passing {
        let offered = batch.len();
        let passing = self.publisher.let_through(batch);
        self.meters
            .handoffs_dropped
            .add(offered - passing.handoffs.len());
        passing
    }
}

/// Those that came while others were written are written together.
async fn write_marks(publisher: Arc<Publisher>, mut published: mpsc::Receiver<Vec<MarkOf>>) {
    while let Some(mut marks) = published.recv().await {
        while marks.len() < limits::RELAY_BATCH_MAX
            && let Ok(more) = published.try_recv()
        {
            marks.extend(more);
        }
        publisher.mark(marks).await;
    }
}
