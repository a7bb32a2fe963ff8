//! The draw desk: requests that arrive while a batch of their campaign commits form
//! the next one. There is no timer and no added wait; the slower the store, the
//! larger the batches.
//!
//! # Model
//! One desk an instance, a task of its own: no transaction lives in a request's
//! future, so a client that hangs up harms nobody. A line for each campaign with
//! waiting requests; one batch in flight for each line; one batch is one
//! `commit_draws_with` is one transaction. Where batches of several processes wait for
//! their turns, those who stand in the line until a turn comes join it: the slower the
//! turns, the larger the batches, with many processes as with one.
//!
//! # What each failure does
//! - Too much waits, or a request waited too long: `Overloaded`, before anything is
//!   chosen.
//! - The store is away at the commit: nobody knows, so the same batch runs again, by
//!   its keys, a bounded number of times; nothing is looked up and concluded.
//! - One request cannot be written: the batch is halved until it is found; the
//!   others go through.
//! - The process dies after the commit: the client asks again with its key and hears
//!   the same answer; rescue publishes what was won.

mod batch;
mod desk;
mod lines;
mod queue;
#[cfg(test)]
mod tests;
mod tickets;

use crate::meters::Meters;
use crate::relay::RelayHandle;
use crate::rolls::Seed;
use crate::tasks::Tasks;
use batch::Member;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tombola_core::draw::{DrawFact, DrawRefusal};
use tombola_core::limits;
use tombola_core::ports::{AwardPath, Clock, StoreError};

/// What a client asks for: one or many draws of one user, all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawAsk {
    /// The campaign's slug.
    pub campaign: Arc<str>,
    /// The client name of the key that asks; scope of request keys.
    pub client: Arc<str>,
    /// Who draws.
    pub user: Arc<str>,
    /// The request key.
    pub key: Arc<str>,
    /// Of the parsed request: the same key with another one is refused.
    pub fingerprint: [u8; 16],
    /// How many draws, 1 to `limits::DRAWS_PER_REQUEST_MAX`.
    pub count: u32,
    /// Trace context, stored with the draw.
    pub traceparent: Option<Arc<str>>,
    /// Version of the key that signs the claim tokens of this answer.
    pub claim_key_version: i32,
}

/// The answer of the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeskAnswer {
    /// Committed now.
    Drawn(Vec<DrawFact>),
    /// Committed before, under the same request key: the same facts.
    Replayed(Vec<DrawFact>),
    /// A rule says no; nothing was changed.
    Refused(DrawRefusal),
}

/// Why the desk gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeskError {
    /// Too much waits; nothing was chosen. Ask again with the same key.
    #[error("too many draws wait")]
    Overloaded { retry_after: Duration },
    /// The store failed. With `Unavailable` nobody knows whether the draw was made:
    /// ask again with the same key.
    #[error("the draw could not be committed: {0}")]
    Store(Arc<StoreError>),
    /// The process stops; nothing was chosen.
    #[error("the draw desk is stopping")]
    Stopping,
    /// None, or more draws than one request may ask for.
    #[error("a request may ask for 1 to {} draws", limits::DRAWS_PER_REQUEST_MAX)]
    CountOutOfRange,
}

impl DeskError {
    const OVERLOADED: Self = Self::Overloaded {
        retry_after: limits::DESK_RETRY_AFTER,
    };
}

/// The bounds of a desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeskOptions {
    /// Requests that wait, all campaigns together.
    pub waiting_max: usize,
    /// Requests of one campaign that wait.
    pub waiting_per_campaign_max: usize,
    /// Draws in one transaction.
    pub batch_draws_max: u32,
    /// A request that waited longer is answered `Overloaded`.
    pub wait_max: Duration,
    /// Campaigns with a line.
    pub lines_max: usize,
    /// Ids reserved at a time.
    pub id_block: u32,
}

impl Default for DeskOptions {
    fn default() -> Self {
        Self {
            waiting_max: limits::DESK_WAITING_MAX,
            waiting_per_campaign_max: limits::DESK_WAITING_PER_CAMPAIGN_MAX,
            batch_draws_max: limits::DESK_BATCH_DRAWS_MAX,
            wait_max: limits::DESK_WAIT_MAX,
            lines_max: limits::DESK_LINES_MAX,
            id_block: limits::ID_BLOCK,
        }
    }
}

/// What a desk works with.
#[derive(Clone)]
pub struct DeskParts {
    /// Commits.
    pub path: Arc<dyn AwardPath>,
    /// One instant a batch.
    pub clock: Arc<dyn Clock>,
    /// Of rolls and tails.
    pub seed: Seed,
    /// Publishes what was committed; without one its rows are due at once.
    pub relay: Option<RelayHandle>,
    /// Counts.
    pub meters: Arc<Meters>,
    /// Bounds.
    pub options: DeskOptions,
}

/// A handle of the desk; clones are cheap and share it.
#[derive(Clone)]
pub struct Desk {
    intake: mpsc::Sender<Waiting>,
    places: Places,
    tasks: Tasks,
    meters: Arc<Meters>,
}

impl Desk {
    /// Starts the desk's task.
    pub fn start(parts: DeskParts, tasks: &Tasks) -> Self {
        let (intake, asked) = mpsc::channel(parts.options.waiting_max.max(1));
        let places = Places {
            taken: Arc::default(),
            max: parts.options.waiting_max,
        };
        let meters = Arc::clone(&parts.meters);
        tasks.spawn(desk::DeskTask::new(parts, asked, tasks.clone()).run());
        Self {
            intake,
            places,
            tasks: tasks.clone(),
            meters,
        }
    }

    /// Draws. Dropping the future takes nothing back: what is committed is committed,
    /// and the same key hears of it.
    pub async fn draw(&self, ask: DrawAsk) -> Result<DeskAnswer, DeskError> {
        if !(1..=limits::DRAWS_PER_REQUEST_MAX).contains(&ask.count) {
            return Err(DeskError::CountOutOfRange);
        }
        if self.tasks.is_stopped() {
            return Err(DeskError::Stopping);
        }
        let Some(place) = self.places.take() else {
            self.meters.draws_of(&ask.campaign).overloaded.one();
            return Err(DeskError::OVERLOADED);
        };
        let (answer, heard) = oneshot::channel();
        match self.intake.try_send(Waiting { ask, answer, place }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(DeskError::OVERLOADED),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(DeskError::Stopping),
        }
        heard.await.unwrap_or_else(|_| Err(lost_batch()))
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.places.taken.load(Ordering::Relaxed)
    }
}

/// The batch ended without a word, so nobody knows whether it was committed.
fn lost_batch() -> DeskError {
    DeskError::Store(Arc::new(StoreError::Unavailable(
        "the batch was lost".to_owned(),
    )))
}

type Answer = oneshot::Sender<Result<DeskAnswer, DeskError>>;

/// A request that waits for its batch.
struct Waiting {
    ask: DrawAsk,
    answer: Answer,
    place: Place,
}

/// The places in which requests wait, all campaigns together.
#[derive(Debug, Clone)]
struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
}

impl Places {
    fn take(&self) -> Option<Place> {
        let one_more = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

/// A taken place, free again when it is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
