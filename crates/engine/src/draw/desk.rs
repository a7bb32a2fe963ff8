//! The desk's task: takes requests in, forms batches, turns away those who waited
//! too long. It never waits for the store itself, so it is never late.

use super::batch::{Committer, FreeLine};
use super::lines::Standing;
use super::queue::Queue;
use super::tickets::Tickets;
use super::{DeskError, DeskParts, Waiting};
use crate::store_calls::{Backoff, Patience};
use crate::tasks::Tasks;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tombola_core::ids::IdBlock;
use tombola_core::limits;
use tombola_core::ports::{AwardPath, Clock};

/// Requests taken in at one go.
const INTAKE_MAX: usize = 1024;

pub(super) struct DeskTask {
    asked: mpsc::Receiver<Waiting>,
    queue: Arc<Queue>,
    blocks: mpsc::Receiver<IdBlock>,
    freed: mpsc::Receiver<Arc<str>>,
    free: mpsc::Sender<Arc<str>>,
    expiry: Interval,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl DeskTask {
    pub(super) fn new(parts: DeskParts, asked: mpsc::Receiver<Waiting>, tasks: Tasks) -> Self {
        let mut options = parts.options;
        // A batch holds at least the largest request.
        options.batch_draws_max = options.batch_draws_max.max(limits::DRAWS_PER_REQUEST_MAX);
        let (blocks_in, blocks) = mpsc::channel(1);
        tasks.spawn(reserve_ids(
            Arc::clone(&parts.path),
            options.id_block,
            blocks_in,
            tasks.clone(),
        ));
        // A line is freed once for each time it was busy, so there is always room.
        let (free, freed) = mpsc::channel(options.lines_max.max(1));
        let mut expiry = interval(options.wait_max / 8);
        expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let clock = parts.clock;
        let tickets = Tickets::new(parts.seed.generator(0), options.batch_draws_max);
        let queue = Arc::new(Queue::new(tickets, Arc::clone(&clock), &options));
        let committer = Committer {
            path: parts.path,
            queue: Arc::clone(&queue),
            clock: Arc::clone(&clock),
            relay: parts.relay,
            meters: parts.meters,
        };
        Self {
            asked,
            queue,
            blocks,
            freed,
            free,
            expiry,
            committer: Arc::new(committer),
            clock,
            tasks,
        }
    }

    pub(super) async fn run(mut self) {
        let mut arrived = Vec::with_capacity(INTAKE_MAX);
        loop {
            let tasks = self.tasks.clone();
            let (is_low, is_empty) = {
                let queue = self.queue.lock();
                (queue.tickets.is_low(), queue.lines.is_empty())
            };
            tokio::select! {
                biased;
                () = tasks.stopped() => break,
                Some(line) = self.freed.recv() => self.queue.lock().lines.free(&line),
                Some(block) = self.blocks.recv(), if is_low => self.queue.lock().tickets.refill(block),
                count = self.asked.recv_many(&mut arrived, INTAKE_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.take_in(&mut arrived);
                }
                _ = self.expiry.tick(), if !is_empty => self.turn_away_the_late(),
            }
            self.begin_batches();
        }
        self.turn_all_away();
    }

    fn take_in(&mut self, arrived: &mut Vec<Waiting>) {
        let since = self.clock.monotonic();
        let mut queue = self.queue.lock();
        for Waiting { ask, answer, place } in arrived.drain(..) {
            let standing = Standing {
                ask,
                answer,
                since,
                _place: place,
            };
            if let Err(one) = queue.lines.push(standing) {
                self.committer.turn_away(*one, DeskError::OVERLOADED);
            }
        }
    }

    /// Begins a batch for every line that is ready, as far as ids are in hand.
    fn begin_batches(&self) {
        while let Some((campaign, taken)) = self.queue.begin() {
            let free = FreeLine::new(Arc::clone(&campaign), self.free.clone());
            self.turn_away(taken.late);
            let batch = Arc::clone(&self.committer).run(campaign, taken.members, free);
            self.tasks.spawn(batch);
        }
    }

    fn turn_away_the_late(&self) {
        let oldest = self.queue.oldest_allowed();
        let late = self.queue.lock().lines.take_expired(oldest);
        self.turn_away(late);
    }

    fn turn_away(&self, late: Vec<Standing>) {
        for one in late {
            self.committer.turn_away(one, DeskError::OVERLOADED);
        }
    }

    /// Nothing begins after a stop: those who wait have had nothing chosen.
    fn turn_all_away(mut self) {
        for one in self.queue.lock().lines.take_all() {
            self.committer.turn_away(one, DeskError::Stopping);
        }
        self.asked.close();
        while let Ok(Waiting { answer, .. }) = self.asked.try_recv() {
            drop(answer.send(Err(DeskError::Stopping)));
        }
    }
}

/// Keeps one block of ids reserved ahead.
async fn reserve_ids(
    path: Arc<dyn AwardPath>,
    count: u32,
    blocks: mpsc::Sender<IdBlock>,
    tasks: Tasks,
) {
    let mut backoff = Backoff::new();
    loop {
        let place = tokio::select! {
            () = tasks.stopped() => return,
            place = blocks.reserve() => place,
        };
        let Ok(place) = place else { return };
        match path.reserve_ids(count).await {
            Ok(block) => {
                backoff = Backoff::new();
                place.send(block);
            }
            Err(error) => {
                tracing::warn!(%error, "ids could not be reserved; draws wait for them");
                if !backoff.wait(&tasks, Patience::UntilStop).await {
                    return;
                }
            }
        }
    }
}
