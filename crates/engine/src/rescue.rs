//! Rescue: puts whatever is overdue back on the path. It is the outbox poller, the
//! retry queue and the repair job in one, because the row decides: `claim_due` takes
//! what is due, and what it returns is published like any other message.
//!
//! # Model
//! In rounds: lanes in turn, a page of each, until a lane has no more that is due.
//! Rows that only wait (their copy is on the topic and the group has not come to it)
//! are passed by with a keyset cursor, never rewritten; a cursor outlives its round,
//! so that a page full of waiting rows never hides those behind it. Bounded: pages a
//! round, rows a page, idle pages a lane. A page is published before the next is
//! taken, so that no row is rewritten under a breaker that has just opened; its marks are
//! written meanwhile, for no page has rows of the one before it.
//!
//! # Authority
//! It runs in every instance that may; there is no leader to lose. Two rescuers on
//! the same rows publish twice at most, and the row drops the second copy.
//!
//! # What each failure does
//! - The topic's breaker is open: one probe batch when the breaker lets one through,
//!   no other row is rewritten.
//! - A lane's breaker is open: its rows stay, save those whose holder was lost; when
//!   it is half-open, a few rows go as its probe.
//! - The store is away: the round ends, the next one begins anew.

use crate::breaker::{BreakerState, Pass};
use crate::kill;
use crate::lanes::Lanes;
use crate::meters::Meters;
use crate::relay::{Passing, Publisher};
use crate::store_calls::kept_from_panic;
use crate::tasks::Tasks;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::limits;
use tombola_core::ports::{
    AwardPath, Clock, DueCursor, DuePage, DueQuery, GroupPosition, Handoff, MarkOf, StoreResult,
    Topic,
};

/// What rescue works with.
#[derive(Clone)]
pub struct RescuerParts {
    /// Finds what is due.
    pub path: Arc<dyn AwardPath>,
    /// Says how far the group has come.
    pub topic: Arc<dyn Topic>,
    /// The workers' group.
    pub group: String,
    /// Publishes and marks.
    pub publisher: Arc<Publisher>,
    /// The breakers of this process's lanes.
    pub lanes: Arc<Lanes>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counts.
    pub meters: Arc<Meters>,
}

/// What one round did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RescueRound {
    /// Published again.
    pub published: usize,
    /// Rows changed, by the award and the state they came from.
    pub rescued: usize,
    /// Awards that ended dead or cancelled.
    pub ended: usize,
    /// Holds past their date.
    pub alerts: usize,
    /// Rows read.
    pub seen: usize,
    /// Whether the round ended at its bound and not because nothing more is due.
    pub has_more: bool,
    /// The next row that will be due.
    pub next_due: Option<Timestamp>,
}

/// Wakes rescue before its time.
#[derive(Debug, Clone, Default)]
pub struct RescueHandle(Arc<Notify>);

impl RescueHandle {
    /// Something is due now.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Finds messages and deliveries that are stuck and puts them back.
pub struct Rescuer {
    parts: RescuerParts,
    handle: RescueHandle,
    cursors: HashMap<i64, DueCursor>,
    /// The lane that comes first in the next round.
    turn: usize,
    /// When it was last heard, or not, how far the group has come.
    asked_at: Duration,
    /// Marks of the last page, not written yet.
    unwritten: Vec<MarkOf>,
    /// Once it runs by itself, until when.
    tasks: Option<Tasks>,
}

impl Rescuer {
    /// Begins at the beginning of every lane.
    pub fn new(parts: RescuerParts) -> Self {
        Self {
            parts,
            handle: RescueHandle::default(),
            cursors: HashMap::new(),
            turn: 0,
            asked_at: Duration::ZERO,
            unwritten: Vec::new(),
            tasks: None,
        }
    }

    /// Wakes this rescuer.
    pub fn handle(&self) -> RescueHandle {
        self.handle.clone()
    }

    /// Rounds until a stop: at the next due date, but within the interval.
    pub async fn run(mut self, tasks: Tasks) {
        let mut wait = Duration::ZERO;
        self.tasks = Some(tasks.clone());
        loop {
            let handle = self.handle.clone();
            tokio::select! {
                biased;
                () = tasks.stopped() => return,
                () = handle.0.notified() => tokio::time::sleep(limits::RESCUE_INTERVAL_MIN).await,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match self.run_once().await {
                Ok(round) => self.wait_after(&round),
                Err(error) => {
                    tracing::warn!(%error, "rescue could not look; it will again");
                    limits::RESCUE_INTERVAL
                }
            };
        }
    }

    fn wait_after(&self, round: &RescueRound) -> Duration {
        let wait = if round.has_more {
            Duration::ZERO
        } else {
            round.next_due.map_or(limits::RESCUE_INTERVAL, |due| {
                due.since(self.parts.clock.now())
            })
        };
        // Rows that only wait are passed by again and again, for nothing but what may lie
        // behind them: at a pace that leaves the database to the workers they wait for.
        let passed_by = round.seen.saturating_sub(round.rescued);
        let passed_by = u32::try_from(passed_by).unwrap_or(u32::MAX);
        let pace = Duration::from_secs(1) * passed_by / limits::RESCUE_PASSED_BY_PER_SECOND;
        wait.max(pace)
            .clamp(limits::RESCUE_INTERVAL_MIN, limits::RESCUE_INTERVAL)
    }

    /// One round.
    pub async fn run_once(&mut self) -> StoreResult<RescueRound> {
        let now = self.parts.clock.now();
        let due = kept_from_panic(self.parts.path.due_lanes(now)).await?;
        let mut round = RescueRound {
            next_due: due.next,
            ..RescueRound::default()
        };
        let pass = self.parts.publisher.pass();
        let is_topic_probe = pass == Pass::Probe;
        if due.due.is_empty() || matches!(pass, Pass::No { .. }) {
            if is_topic_probe {
                self.parts.publisher.give_probe_back();
            }
            if self.is_lag_stale() {
                self.group_position().await;
            }
            return Ok(round);
        }
        let group = self.group_position().await;
        self.cursors.retain(|lane, _| due.due.contains(lane));
        let mut lanes = self.in_turn(due.due);
        if is_topic_probe {
            lanes.truncate(1);
        }
        let worked = self.work(lanes, group, is_topic_probe, &mut round).await;
        let marks = std::mem::take(&mut self.unwritten);
        self.parts.publisher.mark(marks).await;
        if is_topic_probe && round.published == 0 {
            self.parts.publisher.give_probe_back();
        }
        worked.map(|()| round)
    }

    /// Lanes in turn, each round beginning with another.
    fn in_turn(&mut self, mut lanes: Vec<i64>) -> VecDeque<i64> {
        lanes.sort_unstable();
        let first = self.turn % lanes.len().max(1);
        self.turn = self.turn.wrapping_add(1);
        lanes.rotate_left(first);
        lanes.into()
    }

    async fn work(
        &mut self,
        mut lanes: VecDeque<i64>,
        mut group: Option<GroupPosition>,
        is_topic_probe: bool,
        round: &mut RescueRound,
    ) -> StoreResult<()> {
        let mut idle: HashMap<i64, usize> = HashMap::new();
        for _ in 0..limits::RESCUE_STEPS_MAX {
            let Some(lane) = lanes.pop_front() else {
                return Ok(());
            };
            // What is published from here on may lie on a topic that ends with this process.
            if self.tasks.as_ref().is_some_and(Tasks::is_stopped) {
                round.has_more = true;
                return Ok(());
            }
            let state = self.parts.lanes.breaker_state(lane);
            let is_probe = is_topic_probe || state == BreakerState::HalfOpen;
            // A round may outlast a grace. What was published since this was asked would
            // lie past the end of the topic as it was then, and be taken for lost.
            if self.is_lag_stale() {
                group = self.group_position().await;
            }
            let marks = std::mem::take(&mut self.unwritten);
            let ((), page) = tokio::join!(
                biased;
                self.parts.publisher.mark(marks),
                self.page(lane, group.as_ref(), is_probe, state == BreakerState::Open),
            );
            let page = page?;
            let is_idle =
                page.handoffs.is_empty() && page.rescued.is_empty() && page.ended.is_empty();
            let next = page.next;
            self.note(lane, &page, round);
            let handoffs = page.handoffs;
            round.published += handoffs.len();
            self.unwritten = self.publish(handoffs, is_topic_probe).await;
            self.go_on_from(lane, next);
            if is_topic_probe || !self.parts.publisher.is_closed() {
                return Ok(());
            }
            let idle = idle.entry(lane).or_default();
            *idle += usize::from(is_idle);
            let is_one_page = is_probe || state == BreakerState::Open;
            if next.is_some() && !is_one_page && *idle < limits::RESCUE_IDLE_STEPS_MAX {
                lanes.push_back(lane);
            } else if next.is_some() && !is_one_page {
                round.has_more = true;
            }
        }
        round.has_more |= !lanes.is_empty();
        Ok(())
    }

    async fn page(
        &self,
        lane: i64,
        group: Option<&GroupPosition>,
        is_probe: bool,
        is_breaker_open: bool,
    ) -> StoreResult<DuePage> {
        let query = DueQuery {
            lane,
            after: self.cursors.get(&lane).copied(),
            limit: if is_probe {
                limits::RESCUE_PROBE_ROWS
            } else {
                limits::RESCUE_BATCH_MAX
            },
            now: self.parts.clock.now(),
            group: group.cloned(),
            is_breaker_open,
        };
        kill::point("before_rescue_claim");
        let page = kept_from_panic(self.parts.path.claim_due(query)).await?;
        kill::point("rescue_after_claim");
        Ok(page)
    }

    fn go_on_from(&mut self, lane: i64, next: Option<DueCursor>) {
        match next {
            Some(cursor) => self.cursors.insert(lane, cursor),
            None => self.cursors.remove(&lane),
        };
    }

    async fn publish(&self, handoffs: Vec<Handoff>, is_topic_probe: bool) -> Vec<MarkOf> {
        if handoffs.is_empty() {
            return Vec::new();
        }
        let passing = Passing {
            handoffs,
            is_probe: is_topic_probe,
        };
        self.parts.publisher.publish_passing(passing).await
    }

    /// Whether people should be told anew how far the group has come.
    fn is_lag_stale(&self) -> bool {
        self.parts.clock.monotonic().saturating_sub(self.asked_at) >= limits::RESCUE_INTERVAL
    }

    /// How far the group has come, `None` when nobody can say.
    async fn group_position(&mut self) -> Option<GroupPosition> {
        let asked = self.parts.topic.group_position(&self.parts.group);
        let group = match tokio::time::timeout(limits::GROUP_POSITION_TIMEOUT, asked).await {
            Ok(Ok(group)) => Some(group),
            Ok(Err(error)) => {
                tracing::warn!(%error, "nobody can say how far the group has come");
                None
            }
            Err(_) => {
                tracing::warn!("the broker does not say in time how far the group has come");
                None
            }
        };
        self.asked_at = self.parts.clock.monotonic();
        self.parts.meters.set_group(group.clone());
        group
    }

    fn note(&self, lane: i64, page: &DuePage, round: &mut RescueRound) {
        for (award, from) in &page.rescued {
            self.parts.meters.rescue(*from);
            tracing::debug!(award.id = %award, lane, from = %from, "rescued");
        }
        for (award, end) in &page.ended {
            if *end == State::Dead {
                tracing::error!(award.id = %award, lane, "rescue gave the award up: it is a dead letter");
            } else {
                tracing::info!(award.id = %award, lane, state = %end, "the award ended by its date");
            }
        }
        for (award, reason) in &page.alerts {
            tracing::warn!(award.id = %award, hold.reason = %reason, "the award is held past its date; a person should look");
        }
        round.rescued += page.rescued.len();
        round.ended += page.ended.len();
        round.alerts += page.alerts.len();
        round.seen += page.seen;
    }
}

#[cfg(test)]
mod tests;
