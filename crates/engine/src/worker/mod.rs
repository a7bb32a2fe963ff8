//! The worker: consumes copies, delivers local kinds in batches, calls endpoints for
//! the others, and lets offsets move when what a copy asked of is durable.
//!
//! # Model
//! One loop owns the member of the group, the watermarks and the lists of what waits;
//! it polls and commits, and never runs a handler or waits for the store. Work goes
//! out in tasks and comes back as results:
//! 1. a batch of copies to `deliver_local`: local kinds are delivered there and then;
//!    copies of outside kinds come back;
//! 2. a copy of an outside kind gets a permit of its lane (concurrency, pace, breaker)
//!    and then a claim; without a permit it waits a short while in memory, then it is
//!    set aside in the database until its lane takes it;
//! 3. a claim becomes a call, in a task of its own, and the call a record.
//!
//! An offset may move once the claim, the deferral or the delivery is durable, so a
//! slow endpoint never stalls a partition. What is in hand is bounded in count: beyond
//! it the partitions pause, and polling goes on, so that the member stays in its group.
//!
//! # What each failure does
//! - A message that is no award's: kept with its bytes, then acknowledged.
//! - One row cannot be written: the batch is halved until it is found; the store
//!   counts the attempt, the others go through.
//! - The store is away: the same batch is tried again; its offsets stay where they are.
//! - A partition is revoked: what is known of it is forgotten, results that still come
//!   are dropped, the next owner reads the copies again and the rows drop them.
//! - The process dies after a claim: the lease ends, rescue decides by kind.
//! - A record cannot be written before its lease is over: dropped; rescue decides.

mod adopt;
mod call;
mod copies;
mod intake;
mod outside;
mod partitions;
mod poll;
mod records;
#[cfg(test)]
mod tests;
mod watermark;

use crate::distributor::Distributor;
use crate::lanes::Lanes;
use crate::meters::Meters;
use crate::rolls::{Rolls, Seed};
use crate::tasks::Tasks;
pub use adopt::{Adopt, PrizeOf};
use call::CallEnd;
use copies::Settled;
use intake::{Bad, Ordered, Taken};
use outside::Waiting;
use partitions::Partitions;
use poll::poll;
use records::Records;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tombola_core::limits;
use tombola_core::ports::{AwardPath, Catalog, Clock, Member, Polled, Topic, TopicError};

/// What a worker works with.
#[derive(Clone)]
pub struct WorkerParts {
    /// Moves awards.
    pub path: Arc<dyn AwardPath>,
    /// Endpoints, and where they are disabled.
    pub catalog: Arc<dyn Catalog>,
    /// Where copies come from.
    pub topic: Arc<dyn Topic>,
    /// The group to join.
    pub group: String,
    /// The database's own uuid.
    pub origin: Arc<str>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Permits.
    pub lanes: Arc<Lanes>,
    /// Makes the calls.
    pub distributor: Arc<dyn Distributor>,
    /// Counts.
    pub meters: Arc<Meters>,
    /// Of jitter, and of the tails of what is adopted.
    pub seed: Seed,
    /// Whose messages are adopted; without it they are kept.
    pub adopt: Option<Arc<Adopt>>,
    /// Bounds and waits.
    pub options: WorkerOptions,
}

/// The bounds and waits of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Copies taken at a time.
    pub poll_max: usize,
    /// Copies in hand before the partitions pause.
    pub in_hand_max: usize,
    /// How long a copy waits in memory for a permit.
    pub lane_wait: Duration,
    /// How far ahead of its turn a call is claimed.
    pub call_ahead: Duration,
    /// Longest time between two commits of moved offsets.
    pub commit_interval: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            poll_max: limits::WORKER_POLL_MAX,
            in_hand_max: limits::WORKER_IN_HAND_MAX,
            lane_wait: limits::LANE_WAIT_MAX,
            call_ahead: limits::CALL_AHEAD_MAX,
            commit_interval: limits::OFFSET_COMMIT_INTERVAL,
        }
    }
}

impl WorkerOptions {
    /// For worlds whose clock is moved by hand: nothing waits in memory for a time
    /// that does not come by itself.
    pub fn stepped() -> Self {
        Self {
            lane_wait: Duration::ZERO,
            call_ahead: Duration::ZERO,
            ..Self::default()
        }
    }
}

/// What one step of a worker saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerStep {
    /// Messages read.
    pub read: usize,
    /// Calls made.
    pub calls: usize,
}

/// What tasks of the worker share.
struct Shared {
    parts: WorkerParts,
    tasks: Tasks,
}

/// One member of the workers' group.
pub struct Worker {
    shared: Arc<Shared>,
    member: Option<Box<dyn Member>>,
    partitions: Partitions,
    /// Read and not yet given to the store.
    queue: VecDeque<Taken>,
    bad: Vec<Bad>,
    orders: Vec<Ordered>,
    settling: JoinSet<Settled>,
    /// Batches of copies in the store.
    batches: usize,
    waiting: Waiting,
    calls: JoinSet<CallEnd>,
    records: Records,
    rolls: Rolls,
    is_paused: bool,
    /// Partitions came while the others were paused.
    came_unpaused: bool,
    commit_at: Duration,
    /// After an error of the topic it is not asked before this.
    poll_at: Duration,
    step: WorkerStep,
}

impl Worker {
    /// A worker that has not joined yet.
    pub fn new(parts: WorkerParts, tasks: Tasks) -> Self {
        Self {
            rolls: parts.seed.generator(2),
            shared: Arc::new(Shared { parts, tasks }),
            member: None,
            partitions: Partitions::default(),
            queue: VecDeque::new(),
            bad: Vec::new(),
            orders: Vec::new(),
            settling: JoinSet::new(),
            batches: 0,
            waiting: Waiting::default(),
            calls: JoinSet::new(),
            records: Records::default(),
            is_paused: false,
            came_unpaused: false,
            commit_at: Duration::ZERO,
            poll_at: Duration::ZERO,
            step: WorkerStep::default(),
        }
    }

    /// Works until a stop, then drains and leaves the group.
    pub async fn run(mut self) {
        let tasks = self.shared.tasks.clone();
        while !tasks.is_stopped() && self.turn().await {}
        self.drain().await;
    }

    /// One step: reads what is on the topic, works until nothing is in hand, commits.
    pub async fn run_once(&mut self) -> Result<WorkerStep, TopicError> {
        self.step = WorkerStep::default();
        self.join().await?;
        // What is there comes at once; a topic that says nothing has nothing more.
        while let Ok(polled) = tokio::time::timeout(
            Duration::from_millis(1),
            poll(&mut self.member, self.shared.parts.options.poll_max),
        )
        .await
        {
            self.take_in(polled?);
            while !self.is_quiet() {
                self.go_on();
                self.finish_one().await;
            }
        }
        self.commit().await?;
        Ok(self.step)
    }

    /// Nothing is in hand and nothing under way.
    fn is_quiet(&self) -> bool {
        self.queue.is_empty()
            && self.bad.is_empty()
            && self.orders.is_empty()
            && self.settling.is_empty()
            && self.waiting.is_empty()
            && self.calls.is_empty()
            && self.records.is_quiet()
    }

    /// One turn of the loop: whatever comes first. `false` when the topic is closed.
    async fn turn(&mut self) -> bool {
        self.go_on();
        match self.next().await {
            Ok(Some(came)) => {
                self.take(came);
                true
            }
            Ok(None) => true,
            Err(error) => self.after(&error),
        }
    }

    async fn next(&mut self) -> Result<Option<Came>, TopicError> {
        let tasks = self.shared.tasks.clone();
        let now = self.shared.parts.clock.monotonic();
        let polls = now >= self.poll_at;
        if polls {
            tokio::select! {
                biased;
                () = tasks.stopped() => return Ok(None),
                joined = self.join() => joined?,
            }
            self.keep_flow().await?;
        }
        if now >= self.commit_at {
            self.commit_in_time(now).await?;
        }
        let mut wake = self.wake_in(now);
        if !self.partitions.to_commit().is_empty() {
            wake = wake.min(self.commit_at.saturating_sub(now));
        }
        let room = self.room();
        // In no fixed order: polling must not starve behind results, nor they behind it.
        tokio::select! {
            () = tasks.stopped() => Ok(None),
            Some(settled) = self.settling.join_next() => Ok(Some(Came::Settled(settled.ok()))),
            Some(ended) = self.calls.join_next() => Ok(Some(Came::Called(ended.ok()))),
            Some(()) = self.records.written() => Ok(None),
            polled = poll(&mut self.member, room), if polls => Ok(Some(Came::Polled(polled?))),
            () = tokio::time::sleep(wake) => Ok(None),
        }
    }

    fn take(&mut self, came: Came) {
        match came {
            Came::Settled(Some(settled)) => self.settle(settled),
            Came::Settled(None) => {
                tracing::error!("a batch of copies was lost; its offsets stay where they are");
            }
            Came::Called(ended) => self.called(ended),
            Came::Polled(polled) => self.take_in(polled),
        }
    }

    /// Waits for one thing under way, or for the next instant at which something can
    /// be done; without polling.
    async fn finish_one(&mut self) {
        let wake = self.wake_in(self.shared.parts.clock.monotonic());
        let came = tokio::select! {
            biased;
            Some(settled) = self.settling.join_next() => Some(Came::Settled(settled.ok())),
            Some(ended) = self.calls.join_next() => Some(Came::Called(ended.ok())),
            Some(()) = self.records.written() => None,
            () = tokio::time::sleep(wake) => None,
        };
        if let Some(came) = came {
            self.take(came);
        }
    }

    /// Begins everything that can begin now.
    fn go_on(&mut self) {
        self.begin_batches();
        self.give_permits();
        self.write_records();
    }

    /// How long nothing has to happen by itself.
    fn wake_in(&self, now: Duration) -> Duration {
        let look = self
            .waiting
            .next_look()
            .map(|at| at.saturating_sub(now).max(Duration::from_millis(1)));
        look.unwrap_or(limits::RESCUE_INTERVAL)
            .min(limits::RESCUE_INTERVAL)
    }
}

/// What came first in a turn.
enum Came {
    Settled(Option<Settled>),
    Called(Option<CallEnd>),
    Polled(Polled),
}
