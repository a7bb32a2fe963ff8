//! What moves an award: commit, mark, claim, record, rescue.

use super::StoreResult;
use crate::adoption::Adoption;
use crate::award::{Context, Event, Mark, Position, Row, Sight, Step, StepFn, Terms};
use crate::campaign::Kind;
use crate::decision::Decision;
use crate::draw::{DrawFact, DrawRefusal, DrawRequest};
use crate::ids::{AwardId, IdBlock};
use crate::message::Message;
use crate::reason::{HoldReason, KeptReason};
use crate::retry::{Jitter, Schedule};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::sync::Arc;

/// A message to publish, and the lease that its mark must carry. It lives in
/// memory and may be lost: rescue finds the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// Whose message it is.
    pub award: AwardId,
    /// Mine: what the mark must carry.
    pub lease: i64,
    /// What to publish.
    pub message: Message,
    /// Trace context of the draw.
    pub traceparent: Option<Arc<str>>,
    /// When it was handed over.
    pub at: Timestamp,
}

/// One campaign's requests for one transaction.
#[derive(Debug, Clone)]
pub struct DrawBatch {
    /// The campaign's slug.
    pub campaign: Arc<str>,
    /// In order of arrival.
    pub requests: Vec<DrawRequest>,
    /// The one instant of the batch.
    pub now: Timestamp,
    /// Whether this process publishes what it commits; without a relay the rows
    /// are due at once, and nothing is handed off.
    pub has_relay: bool,
}

/// Who arrives while a batch waits for its turn.
pub trait Arrivals: Send + Sync {
    /// This instant; the batch is of the one at which its turn began.
    fn now(&self) -> Timestamp;

    /// How many requests stand behind the batch. Not all of them may be able to join it.
    fn standing(&self) -> usize;

    /// The requests that join the batch: of its campaign, and of no key that it has already.
    /// They are its own from here on, whatever becomes of it.
    fn join(&self) -> Vec<DrawRequest>;
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrawAnswer {
    /// Committed now.
    Drawn {
        draws: Vec<DrawFact>,
        handoffs: Vec<Handoff>,
    },
    /// Committed before, under the same request key.
    Replayed { draws: Vec<DrawFact> },
    /// Nothing was changed.
    Refused(DrawRefusal),
}

impl DrawAnswer {
    /// The answer to a repeated request of `user` whose draws were kept. Draws that
    /// have another name by now were erased with their user.
    pub fn replayed(draws: Vec<DrawFact>, user: &str) -> Self {
        if draws.iter().all(|draw| &*draw.user == user) {
            Self::Replayed { draws }
        } else {
            Self::Refused(DrawRefusal::UserErased)
        }
    }
}

/// What came of an adoption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdoptAnswer {
    /// Committed now. The message of an award that may be delivered at once: the one in
    /// hand stands for it, and none has to be published.
    Adopted(Option<Box<Message>>),
    /// Its order was adopted before; nothing was done.
    Known,
    /// Nothing was done: keep the message.
    Refused(KeptReason),
}

/// What the relay heard of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkOf {
    /// Whose message.
    pub award: AwardId,
    /// Mine.
    pub lease: i64,
    /// What the broker said.
    pub mark: Mark,
    /// The broker's error, for the timeline.
    pub error: Option<String>,
}

/// Whether a guarded write took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It did.
    Applied,
    /// The row had moved on: logged, not written.
    Late,
}

/// A copy of a message that a worker has in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The award it speaks of.
    pub award: AwardId,
    /// Its message id; a copy with another one is kept as a dead-letter message.
    pub message_id: String,
    /// Where it lies.
    pub position: Position,
}

/// What came of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyAnswer {
    /// Delivered now, in this transaction.
    Delivered { kind: Kind },
    /// Held now: paused, or a step of a kind that waits.
    Held { kind: Kind, reason: HoldReason },
    /// Not takeable: a duplicate, or the row has moved on. The offset may move.
    Dropped,
    /// Claimed for an outside call.
    Claimed(Box<Claim>),
    /// Deferred until its lane takes it.
    Deferred,
    /// An outside kind: needs a permit of its lane, then `claim`.
    Outside { lane: i64 },
    /// Its own row failed, alone; counted as an attempt.
    Failed { is_dead: bool },
    /// No such award, or another message id: keep the message.
    NotOurs(KeptReason),
}

/// A claim of an award for an outside call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub award: AwardId,
    /// Mine: what the record must carry.
    pub lease: i64,
    /// The endpoint.
    pub lane: i64,
    /// Attempts begun, this one counted.
    pub attempts: u32,
    /// The key given to the endpoint on every attempt.
    pub delivery_key: String,
    /// What the lease allows, from the instant of the claim.
    pub lease_ends: Timestamp,
}

/// A copy without a permit, and when its lane would take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// The copy.
    pub copy: Copy,
    /// When to look again.
    pub until: Timestamp,
}

/// What came of an outside call, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub award: AwardId,
    /// Mine.
    pub lease: i64,
    /// What the distributor decided.
    pub decision: Decision,
    /// Why, for the timeline; no secret and no payload in it.
    pub error: Option<String>,
    /// When the lane would take it again.
    pub lane_at: Timestamp,
    /// Variation of the wait.
    pub jitter: Jitter,
}

/// What a record made of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Whether it took effect.
    pub written: Written,
    /// The row as it stands now.
    pub row: Row,
}

/// What rescue knows of the topic: how far the group has come in each partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupPosition {
    /// The topic's life; rows of another one have no excuse of lag.
    pub epoch: i64,
    /// By partition.
    pub partitions: Vec<PartitionPosition>,
}

/// One partition as the group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartitionPosition {
    /// Its number.
    pub partition: i32,
    /// The next offset the group will read, as committed.
    pub committed: i64,
    /// The first offset still kept.
    pub log_start: i64,
    /// One past the last offset.
    pub high_watermark: i64,
}

impl GroupPosition {
    /// Whether a copy at `position` is still there and the group has not come to
    /// it: lag is not loss.
    pub fn is_ahead(&self, position: Position) -> bool {
        position.epoch == self.epoch
            && self.partitions.iter().any(|it| {
                it.partition == position.partition
                    && position.offset >= it.committed
                    && (it.log_start..it.high_watermark).contains(&position.offset)
            })
    }
}

/// Where rescue stands in a lane: rows that only wait are passed by, not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueCursor {
    /// `due_at` of the last row seen.
    pub due_at: Timestamp,
    /// Its award.
    pub award: AwardId,
}

/// One step of rescue in one lane.
#[derive(Debug, Clone)]
pub struct DueQuery {
    /// The lane.
    pub lane: i64,
    /// Where the last step ended, `None` for the beginning.
    pub after: Option<DueCursor>,
    /// Rows read at most.
    pub limit: usize,
    /// The instant of the step.
    pub now: Timestamp,
    /// How far the group has come; `None` when nobody could say (every position
    /// then counts as lagging until `redelivery_max`).
    pub group: Option<GroupPosition>,
    /// Whether the topic's breaker or the lane's is open.
    pub is_breaker_open: bool,
}

impl DueQuery {
    /// What rescue knows of a row beside the row itself. Where nobody could say how far the
    /// group has come, every copy with a position may still be on its way.
    pub fn sight(&self, row: &Row, has_hold_ended: bool) -> Sight {
        let is_ahead = |position| {
            let group = self.group.as_ref();
            group.is_none_or(|group| group.is_ahead(position))
        };
        Sight {
            is_lagging: row.position.is_some_and(is_ahead),
            is_breaker_open: self.is_breaker_open,
            has_hold_ended,
        }
    }

    /// Whether the table leaves this row as it is, whatever its terms are and whatever its
    /// hold waits for: so nothing of it has to be locked or read beside it.
    pub fn only_waits(&self, row: &Row, step: StepFn, schedule: &Schedule) -> bool {
        let sight = self.sight(row, true);
        let context = Context {
            now: self.now,
            schedule,
            terms: &Terms::default(),
        };
        step(row, &Event::Rescue { sight }, context) == Step::Same
    }
}

/// What a step of rescue found.
#[derive(Debug, Clone, Default)]
pub struct DuePage {
    /// To be published, those never published first.
    pub handoffs: Vec<Handoff>,
    /// Rows changed, by the state they came from.
    pub rescued: Vec<(AwardId, crate::award::State)>,
    /// Rows that ended dead or cancelled in this step.
    pub ended: Vec<(AwardId, crate::award::State)>,
    /// Holds past their date: a person should look.
    pub alerts: Vec<(AwardId, HoldReason)>,
    /// Rows read.
    pub seen: usize,
    /// Where to go on, `None` when the lane is done for now.
    pub next: Option<DueCursor>,
}

/// A message that changed no award and is kept for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMessage {
    /// Where it lay.
    pub position: Position,
    /// Its key, as far as it is text.
    pub key: Option<String>,
    /// Its value, cut at `limits::KEPT_MESSAGE_BYTES_MAX`.
    pub value: Option<Vec<u8>>,
    /// Its headers, as far as they are text.
    pub headers: Vec<(String, String)>,
    /// Why it was kept.
    pub reason: KeptReason,
}

/// What moves an award along the path.
#[async_trait]
pub trait AwardPath: Send + Sync {
    /// Reserves a block of ids; a block that is lost leaves a gap, nothing more.
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock>;

    /// One transaction: keys claimed or replayed, `decide` asked, counters, draws
    /// and deliveries written. One answer for each request, in order.
    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>>;

    /// The same for a batch that others may still join. A store where batches of several
    /// processes wait for each other asks who arrives until a batch has its turn;
    /// elsewhere nobody joins. One answer for each request, those who joined
    /// behind the others, in the order in which they did.
    async fn commit_draws_with(
        &self,
        batch: DrawBatch,
        _arrivals: &dyn Arrivals,
    ) -> StoreResult<Vec<DrawAnswer>> {
        self.commit_draws(batch).await
    }

    /// Takes in what another system has drawn, all for one campaign: the award and the
    /// row that demands its delivery, once for each order of a source, whatever comes
    /// twice. One answer for each, in order.
    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>>;

    /// Writes what the broker said; a late mark is logged only.
    async fn mark_published(&self, marks: Vec<MarkOf>, now: Timestamp)
    -> StoreResult<Vec<Written>>;

    /// For each copy: local kinds are claimed, delivered and recorded in this one
    /// transaction; outside kinds are only named; paused ones are held.
    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>>;

    /// Claims copies of outside kinds that have a permit.
    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>>;

    /// Sets copies without a permit aside until their lane takes them.
    async fn defer(&self, deferrals: Vec<Deferral>, now: Timestamp)
    -> StoreResult<Vec<CopyAnswer>>;

    /// Records what came of outside calls; one answer for each, in order.
    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>>;

    /// One step of rescue in one lane: bounded, and what it takes it owns.
    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage>;

    /// Gives claims back whose call can no longer begin.
    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>>;

    /// Keeps messages that change no award; the same position is kept once.
    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()>;

    /// Lanes that have due rows, and the earliest `due_at` that is still to come.
    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes>;

    /// Makes `pending` and `delivering` rows due now. Only under the lock of the
    /// data directory, before this process's own workers begin: it proves that no
    /// other holder lives. Never touches `retryable` or `held`, whose dates are
    /// promises.
    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64>;
}

/// Where there is something to rescue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DueLanes {
    /// Lanes with rows that are due.
    pub due: Vec<i64>,
    /// The next `due_at` after now, over all lanes.
    pub next: Option<Timestamp>,
}
