//! Batches of copies in the store: bad messages kept, local kinds delivered, copies of
//! outside kinds claimed or set aside.

use super::intake::{Bad, Ordered, Taken};
use super::outside::Claimed;
use super::partitions::Place;
use super::{Shared, Worker};
use crate::kill;
use crate::lanes::Permit;
use crate::store_calls::{NoAnswer, Patience, StoreCall, halved, patiently};
use std::sync::Arc;
use tombola_core::decision::DecisionName;
use tombola_core::ports::{AwardPath, Copy, CopyAnswer, Deferral, KeptMessage};
use tombola_core::{AwardId, Timestamp};
use tracing::Instrument;

/// What came of a task of the store.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// What these asked of is durable: their offsets may move.
    pub(super) done: Vec<Place>,
    /// Copies of outside kinds, by lane.
    pub(super) outside: Vec<(i64, Taken)>,
    /// Claims whose call can begin.
    pub(super) claimed: Vec<Claimed>,
    /// Whether it was a batch of fresh copies.
    pub(super) is_batch: bool,
}

impl Worker {
    /// Gives fresh copies to the store, a bounded number of batches at a time.
    pub(super) fn begin_batches(&mut self) {
        while self.batches < tombola_core::limits::WORKER_BATCHES_MAX
            && !(self.queue.is_empty() && self.bad.is_empty() && self.orders.is_empty())
        {
            let size = self.queue.len().min(self.shared.parts.options.poll_max);
            let partitions = &self.partitions;
            let fresh: Vec<Taken> = self
                .queue
                .drain(..size)
                .filter(|taken| partitions.is_current(taken.place))
                .collect();
            let bad = std::mem::take(&mut self.bad);
            let size = self
                .orders
                .len()
                .min(self.shared.parts.options.poll_max - fresh.len());
            let orders = self.orders.drain(..size);
            let orders = orders
                .filter(|it| partitions.is_current(it.place))
                .collect();
            self.batches += 1;
            let shared = Arc::clone(&self.shared);
            self.shared
                .tasks
                .spawn_on(&mut self.settling, shared.deliver(bad, orders, fresh));
        }
    }

    /// Takes over what came of a task of the store.
    pub(super) fn settle(&mut self, settled: Settled) {
        self.batches -= usize::from(settled.is_batch);
        for place in settled.done {
            self.partitions.end(place);
        }
        for (lane, taken) in settled.outside {
            if self.partitions.is_current(taken.place) {
                self.waiting
                    .push(lane, taken, self.shared.parts.clock.monotonic());
            }
        }
        for claimed in settled.claimed {
            self.begin_call(claimed);
        }
    }
}

/// One method of the store over a batch.
pub(super) type Method<T, R> = fn(Arc<dyn AwardPath>, Vec<T>, Timestamp) -> StoreCall<Vec<R>>;

impl Shared {
    /// A batch of fresh copies.
    async fn deliver(
        self: Arc<Self>,
        bad: Vec<Bad>,
        orders: Vec<Ordered>,
        mut taken: Vec<Taken>,
    ) -> Settled {
        let mut settled = Settled {
            is_batch: true,
            ..Settled::default()
        };
        self.keep(bad, &mut settled).await;
        taken.extend(self.adopt(orders, &mut settled).await);
        if !taken.is_empty() {
            kill::point("before_deliver");
            let copies: Vec<Copy> = taken.iter().map(Taken::copy).collect();
            let span = tracing::debug_span!("consume", copies = copies.len());
            let answers = self.ask(&copies, deliver_local).instrument(span).await;
            kill::point("after_deliver");
            self.sort(taken, answers, &mut settled).await;
        }
        self.know_lanes(&settled.outside).await;
        settled
    }

    /// Copies with a permit, or of a lane that is disabled.
    pub(super) async fn claim(self: Arc<Self>, admitted: Vec<(Taken, Option<Permit>)>) -> Settled {
        let mut settled = Settled::default();
        let (taken, permits): (Vec<Taken>, Vec<Option<Permit>>) = admitted.into_iter().unzip();
        kill::point("before_claim");
        let copies: Vec<Copy> = taken.iter().map(Taken::copy).collect();
        let answers = self.ask(&copies, claim).await;
        kill::point("after_claim");
        let (now, monotonic) = (self.parts.clock.now(), self.parts.clock.monotonic());
        let mut others = (Vec::new(), Vec::new());
        for ((taken, permit), answer) in taken.into_iter().zip(permits).zip(answers) {
            if let Ok(CopyAnswer::Claimed(claim)) = answer {
                settled.done.push(taken.place);
                // From here on the lease is counted by the monotonic clock.
                let lease_until = monotonic + claim.lease_ends.since(now);
                let traceparent = taken.traceparent();
                settled.claimed.push(Claimed {
                    traceparent,
                    claim,
                    message: taken.message,
                    permit,
                    lease_until,
                });
            } else {
                others.0.push(taken);
                others.1.push(answer);
            }
        }
        self.sort(others.0, others.1, &mut settled).await;
        settled
    }

    /// Copies without a permit, and when their lane would take them.
    pub(super) async fn set_aside(self: Arc<Self>, aside: Vec<(Taken, Timestamp)>) -> Settled {
        let mut settled = Settled::default();
        let deferrals: Vec<Deferral> = aside
            .iter()
            .map(|(taken, until)| Deferral {
                copy: taken.copy(),
                until: *until,
            })
            .collect();
        kill::point("before_defer");
        let answers = self.ask(&deferrals, defer).await;
        kill::point("after_defer");
        let taken = aside.into_iter().map(|(taken, _)| taken).collect();
        self.sort(taken, answers, &mut settled).await;
        settled
    }

    /// What the store said of each copy: which offsets may move, which copies need a
    /// permit, which messages are no award's.
    async fn sort(
        self: &Arc<Self>,
        taken: Vec<Taken>,
        answers: Vec<Result<CopyAnswer, NoAnswer>>,
        settled: &mut Settled,
    ) {
        let meters = &self.parts.meters;
        let mut bad = Vec::new();
        for (taken, answer) in taken.into_iter().zip(answers) {
            let award = taken.message.award;
            match answer {
                Ok(CopyAnswer::Outside { lane }) => {
                    settled.outside.push((lane, taken));
                    continue;
                }
                Ok(CopyAnswer::NotOurs(reason)) => {
                    bad.push(Bad {
                        place: taken.place,
                        kept: taken.kept(reason),
                    });
                    continue;
                }
                // The store stays away and a stop has come: others read it again.
                Err(NoAnswer::Store(_)) => continue,
                Ok(CopyAnswer::Delivered { kind }) => meters.attempt(kind, DecisionName::Delivered),
                Ok(CopyAnswer::Held { kind, reason }) => {
                    meters.attempt(kind, DecisionName::Hold);
                    tracing::debug!(award.id = %award, hold.reason = %reason, "the award is held");
                }
                Ok(CopyAnswer::Dropped) => meters.duplicates_dropped.one(),
                Ok(CopyAnswer::Deferred) => meters.deferred.one(),
                Ok(CopyAnswer::Failed { is_dead }) => self.note_failed(award, is_dead),
                Ok(CopyAnswer::Claimed(_)) => {
                    tracing::error!(award.id = %award, "the store claimed where nobody asked; rescue decides");
                }
                Err(NoAnswer::Member(error)) => {
                    meters.row_failures.one();
                    tracing::error!(award.id = %award, error, "its row cannot be written; rescue looks again");
                }
            }
            settled.done.push(taken.place);
        }
        self.keep(bad, settled).await;
    }

    fn note_failed(&self, award: AwardId, is_dead: bool) {
        self.parts.meters.row_failures.one();
        if is_dead {
            tracing::error!(award.id = %award, "its row fails, alone: the award is a dead letter");
        } else {
            tracing::warn!(award.id = %award, "its row fails, alone; it is tried again");
        }
    }

    /// Keeps messages that are no award's; then their offsets may move.
    pub(super) async fn keep(self: &Arc<Self>, bad: Vec<Bad>, settled: &mut Settled) {
        if bad.is_empty() {
            return;
        }
        for Bad { kept, .. } in &bad {
            let (partition, offset) = (kept.position.partition, kept.position.offset);
            tracing::warn!(partition, offset, reason = %kept.reason, "a message is no award's; it is kept as a dead letter");
        }
        let messages: Vec<KeptMessage> = bad.iter().map(|bad| bad.kept.clone()).collect();
        kill::point("before_keep");
        let answers = self.ask(&messages, keep_messages).await;
        kill::point("after_keep");
        for (bad, answer) in bad.into_iter().zip(answers) {
            match answer {
                Ok(()) => self.parts.meters.messages_kept.one(),
                Err(NoAnswer::Member(error)) => {
                    let offset = bad.place.offset;
                    tracing::error!(
                        offset,
                        error,
                        "a dead-letter message cannot be kept; it is on the topic only"
                    );
                }
                Err(NoAnswer::Store(_)) => continue,
            }
            settled.done.push(bad.place);
        }
    }

    /// Reads the endpoints anew if one of these lanes is not known: it is younger than
    /// the last look.
    async fn know_lanes(&self, outside: &[(i64, Taken)]) {
        let is_known = outside
            .iter()
            .all(|(lane, _)| self.parts.lanes.knows(*lane));
        if !is_known && let Err(error) = self.parts.lanes.reload(&*self.parts.catalog).await {
            tracing::warn!(%error, "the endpoints could not be read");
        }
    }

    /// Asks the store, with patience, in halves where one member fails.
    pub(super) async fn ask<T, R>(
        self: &Arc<Self>,
        members: &[T],
        method: Method<T, R>,
    ) -> Vec<Result<R, NoAnswer>>
    where
        T: Clone + Send + Sync + 'static,
        R: Send + 'static,
    {
        let call = |part: Vec<T>| -> StoreCall<Vec<R>> {
            let shared = Arc::clone(self);
            Box::pin(async move {
                let call = || {
                    method(
                        Arc::clone(&shared.parts.path),
                        part.clone(),
                        shared.parts.clock.now(),
                    )
                };
                patiently(&shared.tasks, Patience::UntilStop, call).await
            })
        };
        halved(members, call).await
    }
}

fn deliver_local(
    path: Arc<dyn AwardPath>,
    copies: Vec<Copy>,
    now: Timestamp,
) -> StoreCall<Vec<CopyAnswer>> {
    Box::pin(async move { path.deliver_local(copies, now).await })
}

fn claim(
    path: Arc<dyn AwardPath>,
    copies: Vec<Copy>,
    now: Timestamp,
) -> StoreCall<Vec<CopyAnswer>> {
    Box::pin(async move { path.claim(copies, now).await })
}

fn defer(
    path: Arc<dyn AwardPath>,
    deferrals: Vec<Deferral>,
    now: Timestamp,
) -> StoreCall<Vec<CopyAnswer>> {
    Box::pin(async move { path.defer(deferrals, now).await })
}

fn keep_messages(
    path: Arc<dyn AwardPath>,
    messages: Vec<KeptMessage>,
    now: Timestamp,
) -> StoreCall<Vec<()>> {
    let count = messages.len();
    Box::pin(async move {
        path.keep_messages(messages, now)
            .await
            .map(|()| vec![(); count])
    })
}
