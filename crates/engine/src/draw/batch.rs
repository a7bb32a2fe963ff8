//! One batch: committed, run again by its keys while nobody knows, halved while one
//! of its requests cannot be read or written; then its callers are answered and its messages
//! handed to the relay.

use super::lines::Standing;
use super::queue::{Key, Queue};
use super::{Answer, DeskAnswer, DeskError, DrawAsk};
use crate::kill;
use crate::meters::{DrawCounters, Meters, OTHER};
use crate::relay::RelayHandle;
use crate::store_calls::{is_of_a_member, kept_from_panic};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tombola_core::Timestamp;
use tombola_core::draw::{DrawRefusal, DrawRequest, Ticket};
use tombola_core::limits;
use tombola_core::ports::{
    Arrivals, AwardPath, Clock, DrawAnswer, DrawBatch, Handoff, StoreError, StoreResult,
};

/// A request with its tickets, of whom somebody waits for the answer.
pub(super) struct Member {
    request: DrawRequest,
    answer: Answer,
    since: Duration,
}

impl Member {
    pub(super) fn new(standing: Standing, tickets: Vec<Ticket>) -> Self {
        Self {
            request: request(standing.ask, tickets),
            answer: standing.answer,
            since: standing.since,
        }
    }

    fn key(&self) -> Key {
        let request = &self.request;
        (Arc::clone(&request.client), Arc::clone(&request.key))
    }

    fn draws(&self) -> u32 {
        u32::try_from(self.request.tickets.len()).unwrap_or(u32::MAX)
    }
}

fn request(ask: DrawAsk, tickets: Vec<Ticket>) -> DrawRequest {
    DrawRequest {
        client: ask.client,
        user: ask.user,
        key: ask.key,
        fingerprint: ask.fingerprint,
        tickets,
        traceparent: ask.traceparent,
        claim_key_version: ask.claim_key_version,
    }
}

/// Frees its line when it is dropped, also by a panic.
pub(super) struct FreeLine {
    campaign: Arc<str>,
    free: mpsc::Sender<Arc<str>>,
}

impl FreeLine {
    pub(super) const fn new(campaign: Arc<str>, free: mpsc::Sender<Arc<str>>) -> Self {
        Self { campaign, free }
    }
}

impl Drop for FreeLine {
    fn drop(&mut self) {
        // There is room for each line, and a desk that is gone has no lines.
        drop(self.free.try_send(Arc::clone(&self.campaign)));
    }
}

/// Commits batches.
pub(super) struct Committer {
    pub(super) path: Arc<dyn AwardPath>,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) relay: Option<RelayHandle>,
    pub(super) meters: Arc<Meters>,
}

impl Committer {
    /// Runs a batch to its end. Its line is free as soon as the last commit is done,
    /// before the callers are answered, so that the store is never idle meanwhile.
    pub(super) async fn run(
        self: Arc<Self>,
        campaign: Arc<str>,
        members: Vec<Member>,
        free: FreeLine,
    ) {
        let mut free = Some(free);
        let mut parts = vec![members];
        // Only a whole batch may grow, or one that is halved might never get smaller.
        let mut may_grow = true;
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let committed = self.commit(&campaign, &mut part, may_grow).await;
            may_grow = false;
            match committed {
                Ok(answers) => {
                    if parts.is_empty() {
                        free = None;
                    }
                    self.answer(part, answers, &campaign);
                }
                Err(error) if is_of_a_member(&error) && part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
                Err(error) => fail(part, error, &campaign, &self.meters.draws_of(&campaign)),
            }
        }
        drop(free);
    }

    /// One transaction. Where nobody knows how it ended, the same batch runs again:
    /// its keys make it take effect once. Who joined it is a member from then on.
    async fn commit(
        &self,
        campaign: &Arc<str>,
        part: &mut Vec<Member>,
        may_grow: bool,
    ) -> StoreResult<Vec<DrawAnswer>> {
        let now = self.clock.now();
        let mut wait = limits::DESK_COMMIT_BACKOFF;
        let mut is_unknown = None;
        for tries_left in (0..limits::DESK_COMMIT_TRIES_MAX).rev() {
            kill::point("before_commit");
            let batch = self.draw_batch(campaign, part, now);
            let answers = if may_grow {
                let joining = Joining::new(self, campaign, part);
                let growing = self.path.commit_draws_with(batch, &joining);
                let answers = kept_from_panic(growing).await;
                let joined = joining.into_members();
                part.extend(joined);
                answers
            } else {
                kept_from_panic(self.path.commit_draws(batch)).await
            };
            match answers {
                Ok(answers) if answers.len() == part.len() => {
                    kill::point("after_commit");
                    return Ok(answers);
                }
                Ok(answers) => {
                    let what = format!("{} answers for {} requests", answers.len(), part.len());
                    return Err(StoreError::Inconsistent(what));
                }
                Err(error @ (StoreError::Unavailable(_) | StoreError::Overloaded)) => {
                    if matches!(error, StoreError::Unavailable(_)) || is_unknown.is_none() {
                        is_unknown = Some(error);
                    }
                }
                Err(error) => return Err(error),
            }
            if tries_left > 0 {
                tracing::warn!(campaign.id = %campaign, "the store is away; the batch runs again by its keys");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
        Err(is_unknown.unwrap_or(StoreError::Overloaded))
    }

    fn draw_batch(&self, campaign: &Arc<str>, part: &[Member], now: Timestamp) -> DrawBatch {
        DrawBatch {
            campaign: Arc::clone(campaign),
            requests: part.iter().map(|member| member.request.clone()).collect(),
            now,
            has_relay: self.relay.is_some(),
        }
    }

    /// Answers each caller, then hands the messages over.
    fn answer(&self, part: Vec<Member>, answers: Vec<DrawAnswer>, campaign: &Arc<str>) {
        let counters = self.counters(campaign, &answers);
        let now = self.clock.monotonic();
        let mut messages = Vec::new();
        let mut draws = 0;
        for (member, answer) in part.into_iter().zip(answers) {
            self.meters
                .draw_seconds
                .observe_span(now.saturating_sub(member.since));
            let answer = count(answer, &counters, &mut draws, &mut messages);
            // A client that hung up hears it when it asks again with its key.
            drop(member.answer.send(Ok(answer)));
        }
        self.meters.draw_batch_size.observe_count(draws);
        kill::point("before_handoff");
        if let Some(relay) = &self.relay {
            relay.offer(messages);
        }
    }

    /// A campaign that nobody made has no series of its own.
    fn counters(&self, campaign: &Arc<str>, answers: &[DrawAnswer]) -> Arc<DrawCounters> {
        let is_unknown = matches!(
            answers.first(),
            Some(DrawAnswer::Refused(DrawRefusal::CampaignNotFound))
        );
        if is_unknown {
            self.meters.draws_of(&Arc::from(OTHER))
        } else {
            self.meters.draws_of(campaign)
        }
    }

    /// Answers a request of which nothing was chosen.
    pub(super) fn turn_away(&self, one: Standing, error: DeskError) {
        if matches!(error, DeskError::Overloaded { .. }) {
            self.meters.draws_of(&one.ask.campaign).overloaded.one();
        }
        drop(one.answer.send(Err(error)));
    }
}

/// Who joins a batch while the store has it.
struct Joining<'a> {
    committer: &'a Committer,
    campaign: &'a str,
    members: &'a [Member],
    joined: Mutex<Vec<Member>>,
}

impl<'a> Joining<'a> {
    fn new(committer: &'a Committer, campaign: &'a str, members: &'a [Member]) -> Self {
        Self {
            committer,
            campaign,
            members,
            joined: Mutex::default(),
        }
    }

    fn into_members(self) -> Vec<Member> {
        self.joined
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrivals for Joining<'_> {
    fn now(&self) -> Timestamp {
        self.committer.clock.now()
    }

    fn standing(&self) -> usize {
        self.committer.queue.lock().lines.standing(self.campaign)
    }

    fn join(&self) -> Vec<DrawRequest> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || self.members.iter().chain(&*joined);
        let keys = all().map(Member::key).collect();
        let draws = all().map(Member::draws).sum();
        let taken = self.committer.queue.join(self.campaign, keys, draws);
        for one in taken.late {
            self.committer.turn_away(one, DeskError::OVERLOADED);
        }
        let requests = taken.members.iter().map(|it| it.request.clone()).collect();
        joined.extend(taken.members);
        requests
    }
}

fn count(
    answer: DrawAnswer,
    counters: &DrawCounters,
    draws: &mut u32,
    messages: &mut Vec<Handoff>,
) -> DeskAnswer {
    match answer {
        DrawAnswer::Drawn {
            draws: facts,
            handoffs,
        } => {
            let won = facts.iter().filter(|fact| fact.prize.is_some()).count();
            counters.won.add(won);
            counters.nothing.add(facts.len() - won);
            *draws += u32::try_from(facts.len()).unwrap_or(u32::MAX);
            messages.extend(handoffs);
            DeskAnswer::Drawn(facts)
        }
        DrawAnswer::Replayed { draws } => {
            counters.replayed.add(draws.len());
            DeskAnswer::Replayed(draws)
        }
        DrawAnswer::Refused(refusal) => {
            counters.refused.one();
            DeskAnswer::Refused(refusal)
        }
    }
}

fn fail(part: Vec<Member>, error: StoreError, campaign: &str, counters: &DrawCounters) {
    tracing::error!(campaign.id = %campaign, requests = part.len(), %error, "a batch could not be committed");
    counters.failed.add(part.len());
    let error = if matches!(error, StoreError::Overloaded) {
        DeskError::OVERLOADED
    } else {
        DeskError::Store(Arc::new(error))
    };
    for member in part {
        drop(member.answer.send(Err(error.clone())));
    }
}
