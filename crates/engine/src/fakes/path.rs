//! A store that answers as a test says and writes down what it was asked.

use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tombola_core::adoption::Adoption;
use tombola_core::award::{MqState, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::draw::DrawFact;
use tombola_core::ids::IdBlock;
use tombola_core::message::{Message, SCHEMA};
use tombola_core::ports::{
    AdoptAnswer, Arrivals, AwardPath, Claim, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch,
    DueLanes, DuePage, DueQuery, Handoff, KeptMessage, MarkOf, Record, Recorded, StoreError,
    StoreResult, Written,
};
use tombola_core::reason::KeptReason;
use tombola_core::{AwardId, DrawId, Timestamp};

type Answers<T, R> = Mutex<Option<Box<dyn FnMut(&T) -> StoreResult<R> + Send>>>;

/// Everything that a store was asked, and what it answers.
pub(crate) struct FakePath {
    next_id: AtomicI64,
    /// Commits wait here for a permit each.
    pub(crate) commits_allowed: Semaphore,
    pub(crate) marks_allowed: Semaphore,
    pub(crate) deliveries_allowed: Semaphore,
    pub(crate) records_allowed: Semaphore,
    pub(crate) record_sizes: Mutex<Vec<usize>>,
    pub(crate) claim_sizes: Mutex<Vec<usize>>,
    pub(crate) defer_sizes: Mutex<Vec<usize>>,
    /// What becomes of an award that is to be held.
    pub(crate) held_as: Mutex<State>,
    /// Overrides; without one all goes well.
    pub(crate) on_reserve: Answers<u32, ()>,
    /// Whether a batch, once its commit is allowed, takes in who arrived meanwhile.
    pub(crate) takes_turns: AtomicBool,
    pub(crate) on_commit: Answers<DrawBatch, Vec<DrawAnswer>>,
    pub(crate) on_adopt: Answers<Vec<Adoption>, ()>,
    pub(crate) on_mark: Answers<Vec<MarkOf>, ()>,
    pub(crate) on_deliver: Answers<Vec<Copy>, ()>,
    pub(crate) on_claim: Answers<Vec<Copy>, ()>,
    pub(crate) on_record: Answers<Vec<Record>, ()>,
    pub(crate) on_keep: Answers<Vec<KeptMessage>, ()>,
    pub(crate) on_due: Answers<DueQuery, DuePage>,
    /// What `deliver_local` says of an award; without a word it is a delivered text.
    pub(crate) copies: Mutex<HashMap<AwardId, CopyAnswer>>,
    pub(crate) lanes: Mutex<DueLanes>,
    pub(crate) lease_time: Mutex<Duration>,
    /// What was asked.
    pub(crate) batches: Mutex<Vec<DrawBatch>>,
    /// How many stood behind each batch whose turn came.
    pub(crate) stood: Mutex<Vec<usize>>,
    pub(crate) marks: Mutex<Vec<MarkOf>>,
    pub(crate) adopted: Mutex<Vec<Adoption>>,
    pub(crate) begun: AtomicI64,
    pub(crate) delivered: Mutex<Vec<Vec<i64>>>,
    pub(crate) claimed: Mutex<Vec<AwardId>>,
    pub(crate) deferred: Mutex<Vec<Deferral>>,
    pub(crate) records: Mutex<Vec<Record>>,
    pub(crate) given_back: Mutex<Vec<AwardId>>,
    pub(crate) kept: Mutex<Vec<KeptMessage>>,
    pub(crate) queries: Mutex<Vec<DueQuery>>,
    /// When rescue looked.
    pub(crate) looks: Mutex<Vec<Timestamp>>,
}

impl FakePath {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            next_id: AtomicI64::new(1),
            commits_allowed: Semaphore::new(Semaphore::MAX_PERMITS),
            marks_allowed: Semaphore::new(Semaphore::MAX_PERMITS),
            deliveries_allowed: Semaphore::new(Semaphore::MAX_PERMITS),
            records_allowed: Semaphore::new(Semaphore::MAX_PERMITS),
            record_sizes: Mutex::default(),
            claim_sizes: Mutex::default(),
            defer_sizes: Mutex::default(),
            held_as: Mutex::new(State::Held),
            on_reserve: Mutex::default(),
            takes_turns: AtomicBool::new(false),
            on_commit: Mutex::default(),
            on_adopt: Mutex::default(),
            on_mark: Mutex::default(),
            on_deliver: Mutex::default(),
            on_claim: Mutex::default(),
            on_record: Mutex::default(),
            on_keep: Mutex::default(),
            on_due: Mutex::default(),
            copies: Mutex::default(),
            lanes: Mutex::default(),
            lease_time: Mutex::new(tombola_core::limits::LEASE_TIME),
            batches: Mutex::default(),
            stood: Mutex::default(),
            marks: Mutex::default(),
            adopted: Mutex::default(),
            begun: AtomicI64::new(0),
            delivered: Mutex::default(),
            claimed: Mutex::default(),
            deferred: Mutex::default(),
            records: Mutex::default(),
            given_back: Mutex::default(),
            kept: Mutex::default(),
            queries: Mutex::default(),
            looks: Mutex::default(),
        })
    }

    /// A store whose commits wait until a test allows each.
    pub(crate) fn blocked() -> Arc<Self> {
        let path = Self::new();
        path.commits_allowed.forget_permits(Semaphore::MAX_PERMITS);
        path
    }

    /// The same, as where batches of several processes take turns.
    pub(crate) fn in_turns() -> Arc<Self> {
        let path = Self::blocked();
        path.takes_turns.store(true, Ordering::Relaxed);
        path
    }

    async fn commit(
        &self,
        mut batch: DrawBatch,
        arrivals: Option<&dyn Arrivals>,
    ) -> StoreResult<Vec<DrawAnswer>> {
        let nth = {
            let mut batches = self.batches.lock().unwrap();
            batches.push(batch.clone());
            batches.len() - 1
        };
        self.commits_allowed.acquire().await.unwrap().forget();
        if let Some(arrivals) = arrivals.filter(|_| self.takes_turns.load(Ordering::Relaxed)) {
            batch.now = arrivals.now();
            self.stood.lock().unwrap().push(arrivals.standing());
            batch.requests.extend(arrivals.join());
            self.batches.lock().unwrap()[nth] = batch.clone();
        }
        if let Some(answer) = overridden(&self.on_commit, &batch) {
            return answer;
        }
        let drawn = batch.requests.iter().map(|request| {
            let facts = request
                .tickets
                .iter()
                .map(|ticket| fact(ticket.id, &batch.campaign, &request.user, false));
            DrawAnswer::Drawn {
                draws: facts.collect(),
                handoffs: vec![],
            }
        });
        Ok(drawn.collect())
    }

    pub(crate) fn allow_commits(&self, count: usize) {
        self.commits_allowed.add_permits(count);
    }

    /// Request keys of each batch that was run.
    pub(crate) fn batch_keys(&self) -> Vec<Vec<String>> {
        let keys = |batch: &DrawBatch| {
            batch
                .requests
                .iter()
                .map(|request| request.key.to_string())
                .collect()
        };
        self.batches.lock().unwrap().iter().map(keys).collect()
    }

    /// Says what an answer to the next such calls is.
    pub(crate) fn say<T, R>(
        at: &Answers<T, R>,
        answer: impl FnMut(&T) -> StoreResult<R> + Send + 'static,
    ) {
        *at.lock().unwrap() = Some(Box::new(answer));
    }
}

/// `None` without an override.
fn overridden<T, R>(at: &Answers<T, R>, asked: &T) -> Option<StoreResult<R>> {
    at.lock().unwrap().as_mut().map(|answer| answer(asked))
}

fn check<T>(at: &Answers<T, ()>, asked: &T) -> StoreResult<()> {
    overridden(at, asked).unwrap_or(Ok(()))
}

/// What a client hears of a draw; a win of a text where `wins`.
pub(crate) fn fact(id: DrawId, campaign: &Arc<str>, user: &Arc<str>, wins: bool) -> DrawFact {
    DrawFact {
        id,
        campaign: Arc::clone(campaign),
        user: Arc::clone(user),
        prize: wins.then(|| Arc::from("p")),
        drawn_at: Timestamp(0),
        award: wins.then_some((Kind::Text, State::Pending)),
        claim_key_version: 1,
    }
}

pub(crate) fn message(award: i64) -> Message {
    Message {
        user: "u1".to_owned(),
        award: AwardId(award),
        prize: "fair/p".to_owned(),
        award_type: 1,
        name: "P".to_owned(),
        content: None,
        schema: 1,
        message_id: format!("{award}-abcdefghijkl"),
        campaign: "fair".to_owned(),
        drawn_at: Timestamp(1_771_000_000_000_000),
    }
}

pub(crate) fn handoff(award: i64, at: Timestamp) -> Handoff {
    Handoff {
        award: AwardId(award),
        lease: 1,
        message: message(award),
        traceparent: None,
        at,
    }
}

fn row(award: AwardId, state: State) -> Row {
    Row {
        award,
        kind: Kind::Webhook,
        lane: 1,
        state,
        lease: 2,
        due_at: (!state.is_final()).then_some(Timestamp(0)),
        attempts: 1,
        publishes: 0,
        in_doubt: false,
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        deferred_since: None,
        mq_state: MqState::Sent,
        position: None,
    }
}

#[async_trait]
impl AwardPath for FakePath {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        check(&self.on_reserve, &count)?;
        let next = self.next_id.fetch_add(i64::from(count), Ordering::Relaxed);
        Ok(IdBlock {
            next,
            end: next + i64::from(count),
        })
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        self.commit(batch, None).await
    }

    async fn commit_draws_with(
        &self,
        batch: DrawBatch,
        arrivals: &dyn Arrivals,
    ) -> StoreResult<Vec<DrawAnswer>> {
        self.commit(batch, Some(arrivals)).await
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        check(&self.on_adopt, &adoptions)?;
        let mut adopted = self.adopted.lock().unwrap();
        let answer = |it: &Adoption| {
            if adopted.iter().any(|before| before.order == it.order) {
                return AdoptAnswer::Known;
            }
            if &*it.prize == "gone" {
                return AdoptAnswer::Refused(KeptReason::NotAdoptable);
            }
            adopted.push(it.clone());
            AdoptAnswer::Adopted(Some(Box::new(Message {
                user: it.user.to_string(),
                award: it.ticket.id.award(),
                prize: format!("{}/{}", it.campaign, it.prize),
                award_type: 1,
                name: "It".to_owned(),
                content: None,
                schema: SCHEMA,
                message_id: format!("{}-abcdefghijkl", it.ticket.id),
                campaign: it.campaign.to_string(),
                drawn_at: now,
            })))
        };
        Ok(adoptions.iter().map(answer).collect())
    }

    async fn mark_published(&self, marks: Vec<MarkOf>, _: Timestamp) -> StoreResult<Vec<Written>> {
        self.marks_allowed.acquire().await.unwrap().forget();
        check(&self.on_mark, &marks)?;
        let written = vec![Written::Applied; marks.len()];
        self.marks.lock().unwrap().extend(marks);
        Ok(written)
    }

    async fn deliver_local(&self, copies: Vec<Copy>, _: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.deliveries_allowed.acquire().await.unwrap().forget();
        check(&self.on_deliver, &copies)?;
        self.delivered
            .lock()
            .unwrap()
            .push(copies.iter().map(|copy| copy.award.0).collect());
        let said = self.copies.lock().unwrap();
        let answer = |copy: &Copy| {
            said.get(&copy.award)
                .cloned()
                .unwrap_or(CopyAnswer::Delivered { kind: Kind::Text })
        };
        Ok(copies.iter().map(answer).collect())
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.claim_sizes.lock().unwrap().push(copies.len());
        check(&self.on_claim, &copies)?;
        let lease_ends = now.plus(*self.lease_time.lock().unwrap());
        let said = self.copies.lock().unwrap();
        let mut claimed = self.claimed.lock().unwrap();
        let claim = |copy: &Copy| {
            claimed.push(copy.award);
            let lane = match said.get(&copy.award) {
                Some(CopyAnswer::Outside { lane }) => *lane,
                other => panic!("claimed {other:?}"),
            };
            CopyAnswer::Claimed(Box::new(Claim {
                award: copy.award,
                lease: 7,
                lane,
                attempts: 1,
                delivery_key: format!("{}-mnopqrstuvwx", copy.award),
                lease_ends,
            }))
        };
        Ok(copies.iter().map(claim).collect())
    }

    async fn defer(&self, deferrals: Vec<Deferral>, _: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.defer_sizes.lock().unwrap().push(deferrals.len());
        let answers = vec![CopyAnswer::Deferred; deferrals.len()];
        self.deferred.lock().unwrap().extend(deferrals);
        Ok(answers)
    }

    async fn record(&self, records: Vec<Record>, _: Timestamp) -> StoreResult<Vec<Recorded>> {
        self.record_sizes.lock().unwrap().push(records.len());
        self.records_allowed.acquire().await.unwrap().forget();
        check(&self.on_record, &records)?;
        let recorded = records.iter().map(|record| {
            let state = match record.decision {
                Decision::Delivered { .. } => State::Delivered,
                Decision::Refuse => State::Dead,
                Decision::Hold(_) => *self.held_as.lock().unwrap(),
                Decision::Retry { .. } | Decision::Unknown | Decision::Defer => State::Retryable,
            };
            Recorded {
                written: Written::Applied,
                row: row(record.award, state),
            }
        });
        let recorded = recorded.collect();
        self.records.lock().unwrap().extend(records);
        Ok(recorded)
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        self.queries.lock().unwrap().push(query.clone());
        overridden(&self.on_due, &query).unwrap_or_else(|| Ok(DuePage::default()))
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        _: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        let written = vec![Written::Applied; claims.len()];
        self.given_back
            .lock()
            .unwrap()
            .extend(claims.into_iter().map(|(award, _)| award));
        Ok(written)
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, _: Timestamp) -> StoreResult<()> {
        check(&self.on_keep, &messages)?;
        self.kept.lock().unwrap().extend(messages);
        Ok(())
    }

    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        self.looks.lock().unwrap().push(now);
        Ok(self.lanes.lock().unwrap().clone())
    }

    async fn begin_alone(&self, _: Timestamp) -> StoreResult<u64> {
        Err(StoreError::Closed)
    }
}
