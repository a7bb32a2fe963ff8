//! The desk's task: takes requests in, forms batches, turns away those who waited
//! too long. It never waits for the store itself, so it is never late.

use super::batch::{Batch, Committer, FreeLine};
use super::lines::{Lines, Standing};
use super::tickets::Tickets;
use super::{DeskError, DeskOptions, DeskParts, Waiting};
use crate::store_calls::{Backoff, Patience};
use crate::tasks::Tasks;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tombola_core::ids::IdBlock;
use tombola_core::limits;
use tombola_core::ports::{AwardPath, Clock};

/// Requests taken in at one go.
const INTAKE_MAX: usize = 1024;

pub(super) struct DeskTask {
    asked: mpsc::Receiver<Waiting>,
    lines: Lines,
    tickets: Tickets,
    blocks: mpsc::Receiver<IdBlock>,
    freed: mpsc::Receiver<Arc<str>>,
    free: mpsc::Sender<Arc<str>>,
    expiry: Interval,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    options: DeskOptions,
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
        let clock = Arc::clone(&parts.clock);
        let committer = Committer {
            path: parts.path,
            clock: parts.clock,
            relay: parts.relay,
            meters: parts.meters,
        };
        Self {
            asked,
            lines: Lines::new(options.lines_max, options.waiting_per_campaign_max),
            tickets: Tickets::new(parts.seed.generator(0), options.batch_draws_max),
            blocks,
            freed,
            free,
            expiry,
            committer: Arc::new(committer),
            clock,
            options,
            tasks,
        }
    }

    pub(super) async fn run(mut self) {
        let mut arrived = Vec::with_capacity(INTAKE_MAX);
        loop {
            let tasks = self.tasks.clone();
            tokio::select! {
                biased;
                () = tasks.stopped() => break,
                Some(line) = self.freed.recv() => self.lines.free(&line),
                Some(block) = self.blocks.recv(), if self.tickets.is_low() => self.tickets.refill(block),
                count = self.asked.recv_many(&mut arrived, INTAKE_MAX) => {
                    if count == 0 {
                        break;
                    }
                    self.take_in(&mut arrived);
                }
                _ = self.expiry.tick(), if !self.lines.is_empty() => self.turn_away_the_late(),
            }
            self.begin_batches();
        }
        self.turn_all_away();
    }

    fn take_in(&mut self, arrived: &mut Vec<Waiting>) {
        let since = self.clock.monotonic();
        for Waiting { ask, answer, place } in arrived.drain(..) {
            let standing = Standing {
                ask,
                answer,
                since,
                _place: place,
            };
            if let Err(one) = self.lines.push(standing) {
                self.committer.turn_away(*one, DeskError::OVERLOADED);
            }
        }
    }

    /// Begins a batch for every line that is ready, as far as ids are in hand.
    fn begin_batches(&mut self) {
        while let Some((_, first)) = self.lines.next_ready() {
            let left = u32::try_from(self.tickets.left()).unwrap_or(u32::MAX);
            if left < first {
                return;
            }
            let draws_max = self.options.batch_draws_max.min(left);
            let Some((campaign, standing)) = self.lines.take_batch(draws_max) else {
                return;
            };
            let oldest = self.oldest_allowed();
            let (late, on_time): (Vec<_>, Vec<_>) =
                standing.into_iter().partition(|one| one.since < oldest);
            for one in late {
                self.committer.turn_away(one, DeskError::OVERLOADED);
            }
            let free = FreeLine::new(Arc::clone(&campaign), self.free.clone());
            let tickets = |one: &Standing| one.ask.count;
            let batch = on_time.into_iter().map(|one| {
                let tickets = self.tickets.take(tickets(&one));
                (one, tickets)
            });
            let batch = Batch::new(campaign, batch);
            self.tasks
                .spawn(Arc::clone(&self.committer).run(batch, free));
        }
    }

    /// What arrived before this has waited too long.
    fn oldest_allowed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.options.wait_max)
    }

    fn turn_away_the_late(&mut self) {
        for one in self.lines.take_expired(self.oldest_allowed()) {
            self.committer.turn_away(one, DeskError::OVERLOADED);
        }
    }

    /// Nothing begins after a stop: those who wait have had nothing chosen.
    fn turn_all_away(mut self) {
        for one in self.lines.take_all() {
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
