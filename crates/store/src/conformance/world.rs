//! The world of one case: an empty store, a clock that the case moves, and helpers
//! that speak the words of the path.

use super::bench::{Bench, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::award::{Mark, MqState, Position, Row, State};
use tombola_core::campaign::odds::Roll;
use tombola_core::campaign::{Transition, parse_toml};
use tombola_core::decision::Decision;
use tombola_core::draw::{DrawFact, DrawRequest, NewDraw, Ticket};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{
    Acted, Action, Actor, Claim, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch, DuePage,
    DueQuery, GroupPosition, Handoff, MarkOf, PutCampaign, Record, Recorded, StockChanged,
    StoreResult, Transitioned, Written,
};
use tombola_core::retry::{Jitter, Schedule};
use tombola_core::{AwardId, DrawId, Timestamp};

/// An empty store and a clock.
pub struct World {
    bench: Arc<dyn Bench>,
    now: Mutex<Timestamp>,
    /// Names and offsets that no two things of a world share.
    next: AtomicI64,
    seen: Mutex<BTreeMap<AwardId, Row>>,
    won: Mutex<Vec<AwardId>>,
    looks: AtomicI64,
}

/// A case that looks more often waits for something that a broken store never does.
const LOOKS_MAX: i64 = 5_000;

/// An award as its draw left it.
pub(super) struct Won {
    pub(super) award: AwardId,
    pub(super) campaign: String,
    pub(super) user: String,
    pub(super) message_id: String,
    pub(super) delivery_key: String,
    pub(super) handoff: Option<Handoff>,
}

impl Won {
    /// The award of a draw of [`World::draw`].
    pub(super) fn of(draw: &DrawFact) -> Self {
        let ticket = ticket(draw.id, Roll(0));
        let named = NewDraw { ticket, unavailable: None, prize: None, award: None };
        Self {
            award: draw.id.award(),
            campaign: draw.campaign.to_string(),
            user: draw.user.to_string(),
            message_id: named.message_id(),
            delivery_key: named.delivery_key(),
            handoff: None,
        }
    }
}

/// The tails of a world's tickets follow from their ids.
fn ticket(id: DrawId, roll: Roll) -> Ticket {
    let tail = id.0.cast_unsigned();
    Ticket { id, roll, message_tail: tail * 7 + 1, delivery_tail: tail * 11 + 3 }
}

/// A request for draws, as a case words it.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) user: String,
    pub(super) client: String,
    pub(super) key: String,
    pub(super) fingerprint: [u8; 16],
    pub(super) rolls: Vec<Roll>,
}

/// The lines of a prize of each kind, and of endpoints with and without a
/// memory for delivery keys.
pub(super) const TEXT: &str = "kind = \"text\"\ntext = \"hello\"\n";
pub(super) const POINTS: &str = "kind = \"points\"\npoints = 7\n";
pub(super) const CODE: &str = "kind = \"code\"\n";
pub(super) const KEEN: &str = "kind = \"webhook\"\nendpoint = \"keen\"\n";
pub(super) const BLUNT: &str = "kind = \"webhook\"\nendpoint = \"blunt\"\n";
pub(super) const PHYSICAL: &str = "kind = \"physical\"\nclaim_within = \"14d\"\nship_within = \"30d\"\n";
pub(super) const EXTERNAL: &str = "kind = \"external\"\nconfirm_within = \"7d\"\n";

/// The slug of the prize of [`World::win`].
pub(super) const PRIZE: &str = "it";

/// The epoch of every copy, unless a case says otherwise.
pub(super) const EPOCH: i64 = 1;

/// What a store must not fail at.
pub(super) fn ok<T>(answer: StoreResult<T>) -> T {
    answer.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

/// The only member of an answer.
pub(super) fn only<T>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1, "one answer for each member");
    answers.remove(0)
}

pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const fn days(days: u64) -> Duration {
    Duration::from_hours(days * 24)
}

/// A roll in the middle of position `at` of a whole of `total`.
pub(super) fn roll_at(at: u64, total: u64) -> Roll {
    let roll = ((u128::from(at) << 64) + (1 << 63)) / u128::from(total);
    Roll(u64::try_from(roll).unwrap_or(u64::MAX))
}

pub(super) fn actor() -> Actor {
    Actor { name: "ada".to_owned(), reason: Some("because".to_owned()) }
}

impl Ask {
    /// One draw by `user` with the lowest roll, under `key`.
    pub(super) fn new(user: &str, key: &str) -> Self {
        Self {
            user: user.to_owned(),
            client: "shop".to_owned(),
            key: key.to_owned(),
            fingerprint: [1; 16],
            rolls: vec![Roll(0)],
        }
    }

    pub(super) fn rolls(self, rolls: &[Roll]) -> Self {
        Self { rolls: rolls.to_vec(), ..self }
    }

    pub(super) fn times(self, count: usize) -> Self {
        Self { rolls: vec![Roll(0); count], ..self }
    }
}

impl World {
    /// A world at an ordinary instant, 2026-02-13T16:26:40Z.
    pub fn new(bench: Arc<dyn Bench>) -> Self {
        Self {
            bench,
            now: Mutex::new(Timestamp(1_771_000_000_000_000)),
            next: AtomicI64::new(1),
            seen: Mutex::default(),
            won: Mutex::default(),
            looks: AtomicI64::new(0),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.bench.store()
    }

    pub(super) fn bench(&self) -> &dyn Bench {
        &*self.bench
    }

    pub(super) fn schedule(&self) -> &Schedule {
        self.bench.schedule()
    }

    pub(super) fn now(&self) -> Timestamp {
        *lock(&self.now)
    }

    /// The instant that far from now.
    pub(super) fn after(&self, span: Duration) -> Timestamp {
        self.now().plus(span)
    }

    /// Time passes.
    pub(super) fn advance(&self, by: Duration) {
        let now = self.now().plus(by);
        *lock(&self.now) = now;
    }

    /// It is `at` now.
    pub(super) fn move_to(&self, at: Timestamp) {
        *lock(&self.now) = at;
    }

    pub(super) fn fresh(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// A case that failed half-way left nothing half-written here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Campaigns and draws.
impl World {
    pub(super) async fn put(&self, text: &str) -> PutCampaign {
        let file = parse_toml("case.toml", text)
            .unwrap_or_else(|problems| panic!("the case's own file is wrong: {problems:?}"));
        ok(self.store().put_campaign(file, actor(), self.now()).await)
    }

    pub(super) async fn move_campaign(&self, slug: &str, command: Transition) -> Transitioned {
        ok(self.store().transition(slug, command, actor(), self.now()).await)
    }

    /// Puts a campaign in and starts it.
    pub(super) async fn start(&self, slug: &str, text: &str) {
        self.put(text).await;
        for command in [Transition::Submit, Transition::Approve, Transition::Start] {
            let moved = self.move_campaign(slug, command).await;
            assert!(matches!(moved, Transitioned::Moved { .. }), "{command}: {moved:?}");
        }
    }

    pub(super) async fn put_endpoint(&self, name: &str, is_idempotent: bool) -> i64 {
        let spec = EndpointSpec {
            name: name.to_owned(),
            url: format!("https://{name}.example/awards"),
            secret: None,
            idempotent: is_idempotent,
            conflict_means_delivered: false,
            timeout: "10s".to_owned(),
            concurrency: 16,
            rate: None,
            allow_private: false,
        };
        let secret = "whsec_bmV2ZXIgdG9sZA==".to_owned();
        ok(self.store().put_endpoint(spec, secret, actor(), self.now()).await).lane
    }

    /// One request of a batch of its own.
    pub(super) async fn draw(&self, campaign: &str, ask: Ask) -> DrawAnswer {
        only(self.draw_all(campaign, vec![ask]).await)
    }

    /// One batch.
    pub(super) async fn draw_all(&self, campaign: &str, asks: Vec<Ask>) -> Vec<DrawAnswer> {
        let mut requests = Vec::with_capacity(asks.len());
        for ask in asks {
            requests.push(self.request(ask).await);
        }
        let batch =
            DrawBatch { campaign: campaign.into(), requests, now: self.now(), has_relay: true };
        self.commit(batch).await
    }

    pub(super) async fn commit(&self, batch: DrawBatch) -> Vec<DrawAnswer> {
        let asked = batch.requests.len();
        let answers = ok(self.store().commit_draws(batch).await);
        assert_eq!(answers.len(), asked, "one answer for each request");
        for answer in &answers {
            if let DrawAnswer::Drawn { draws, .. } = answer {
                let won = draws.iter().filter(|draw| draw.award.is_some());
                lock(&self.won).extend(won.map(|draw| draw.id.award()));
            }
        }
        answers
    }

    pub(super) async fn request(&self, ask: Ask) -> DrawRequest {
        let count = u32::try_from(ask.rolls.len()).unwrap_or(u32::MAX);
        let mut ids = ok(self.store().reserve_ids(count).await);
        let next = |roll| {
            let id = ids.take().unwrap_or_else(|| panic!("{count} ids were reserved"));
            ticket(id, roll)
        };
        DrawRequest {
            client: ask.client.as_str().into(),
            user: ask.user.as_str().into(),
            key: ask.key.as_str().into(),
            fingerprint: ask.fingerprint,
            tickets: ask.rolls.into_iter().map(next).collect(),
            traceparent: None,
            claim_key_version: 1,
        }
    }

    /// An award of a campaign of its own, whose only prize has these lines.
    pub(super) async fn win(&self, lines: &str) -> Won {
        only(self.win_many(lines, 1).await)
    }

    /// So many awards of one such campaign, won by one user each.
    pub(super) async fn win_many(&self, lines: &str, count: usize) -> Vec<Won> {
        let campaign = self.campaign_of(lines).await;
        self.win_from(&campaign, count).await
    }

    /// A started campaign whose only prize has these lines; every draw wins it.
    pub(super) async fn campaign_of(&self, lines: &str) -> String {
        if lines.contains("\"keen\"") {
            self.put_endpoint("keen", true).await;
        }
        if lines.contains("\"blunt\"") {
            self.put_endpoint("blunt", false).await;
        }
        let slug = format!("fair-{}", self.fresh());
        self.start(&slug, &one_prize(&slug, lines)).await;
        slug
    }

    pub(super) async fn win_from(&self, campaign: &str, count: usize) -> Vec<Won> {
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let n = self.fresh();
            requests.push(self.request(Ask::new(&format!("user-{n}"), &format!("key-{n:08}"))).await);
        }
        let batch =
            DrawBatch { campaign: campaign.into(), requests, now: self.now(), has_relay: true };
        let mut won = Vec::with_capacity(count);
        for answer in self.commit(batch).await {
            let DrawAnswer::Drawn { draws, handoffs } = answer else { panic!("not drawn: {answer:?}") };
            won.push(Won { handoff: handoffs.into_iter().next(), ..Won::of(&only(draws)) });
        }
        won
    }

    /// Units of a prize that are left.
    pub(super) async fn stock_left(&self, campaign: &str, prize: &str) -> u64 {
        let answer = self.store().change_stock(campaign, prize, 0, actor(), self.now()).await;
        match ok(answer) {
            StockChanged::Changed { left, .. } => left,
            other => panic!("no stock to look at: {other:?}"),
        }
    }
}

/// A campaign file with one prize, whose chance is 100 %.
pub(super) fn one_prize(slug: &str, lines: &str) -> String {
    format!(
        "[campaign]\nslug = \"{slug}\"\nname = \"Fair\"\n\n[[prize]]\nslug = \"{PRIZE}\"\nname = \"It\"\nweight = 1\n{lines}"
    )
}

/// What happens to one award.
impl World {
    /// A copy of the award's message at an offset of its own.
    pub(super) fn copy(&self, won: &Won) -> Copy {
        let position = Position { epoch: EPOCH, partition: 0, offset: self.fresh() };
        Copy { award: won.award, message_id: won.message_id.clone(), position }
    }

    pub(super) async fn deliver(&self, won: &Won) -> CopyAnswer {
        only(ok(self.store().deliver_local(vec![self.copy(won)], self.now()).await))
    }

    pub(super) async fn try_claim(&self, won: &Won) -> CopyAnswer {
        only(ok(self.store().claim(vec![self.copy(won)], self.now()).await))
    }

    pub(super) async fn claim(&self, won: &Won) -> Claim {
        match self.try_claim(won).await {
            CopyAnswer::Claimed(claim) => *claim,
            other => panic!("not claimed: {other:?}"),
        }
    }

    pub(super) async fn defer(&self, won: &Won, until: Timestamp) -> CopyAnswer {
        let deferral = Deferral { copy: self.copy(won), until };
        only(ok(self.store().defer(vec![deferral], self.now()).await))
    }

    pub(super) async fn mark(&self, award: AwardId, lease: i64, mark: Mark) -> Written {
        let mark = MarkOf { award, lease, mark, error: None };
        only(ok(self.store().mark_published(vec![mark], self.now()).await))
    }

    /// The broker took the award's message, at `offset` of partition 0.
    pub(super) async fn taken(&self, won: &Won, offset: i64) {
        let lease = self.row(won).await.lease;
        let position = Position { epoch: EPOCH, partition: 0, offset };
        let written = self.mark(won.award, lease, Mark::Taken(position)).await;
        assert_eq!(written, Written::Applied);
    }

    pub(super) async fn record_with(
        &self,
        award: AwardId,
        lease: i64,
        decision: Decision,
        lane_at: Timestamp,
    ) -> Recorded {
        let record =
            Record { award, lease, decision, error: None, lane_at, jitter: Jitter::NONE };
        only(ok(self.store().record(vec![record], self.now()).await))
    }

    /// Records what came of a call.
    pub(super) async fn record(&self, claim: &Claim, decision: Decision) -> Recorded {
        self.record_with(claim.award, claim.lease, decision, self.now()).await
    }

    /// Records it, and it takes effect.
    pub(super) async fn decide(&self, claim: &Claim, decision: Decision) -> Row {
        let recorded = self.record(claim, decision).await;
        assert_eq!(recorded.written, Written::Applied);
        let row = self.row_of(claim.award).await;
        assert_eq!(recorded.row, row, "the answer shows the row as it stands");
        row
    }

    pub(super) async fn give_back(&self, award: AwardId, lease: i64) -> Written {
        only(ok(self.store().give_back(vec![(award, lease)], self.now()).await))
    }

    pub(super) async fn act(&self, won: &Won, action: Action) -> Acted {
        ok(self.store().act(won.award, action, actor(), self.now()).await)
    }

    /// Acts, and it is done.
    pub(super) async fn done(&self, won: &Won, action: Action) -> Row {
        match self.act(won, action).await {
            Acted::Done(row) => {
                assert_eq!(row, self.row(won).await, "the answer shows the row as it stands");
                row
            }
            other => panic!("not done: {other:?}"),
        }
    }

    /// What rescue asks now of a lane when the group has read everything.
    pub(super) fn due(&self, lane: i64) -> DueQuery {
        DueQuery {
            lane,
            after: None,
            limit: 100,
            now: self.now(),
            group: Some(GroupPosition { epoch: EPOCH, partitions: Vec::new() }),
            is_breaker_open: false,
        }
    }

    pub(super) async fn rescue_with(&self, query: DueQuery) -> DuePage {
        ok(self.store().claim_due(query).await)
    }

    /// One step of rescue in the award's lane.
    pub(super) async fn rescue(&self, won: &Won) -> DuePage {
        let lane = self.row(won).await.lane;
        self.rescue_with(self.due(lane)).await
    }

    /// Waits until the row is due and lets rescue look.
    pub(super) async fn rescue_when_due(&self, won: &Won) -> DuePage {
        self.move_to_due(won).await;
        self.rescue(won).await
    }

    pub(super) async fn move_to_due(&self, won: &Won) {
        let due = self.row(won).await.due_at;
        self.move_to(due.unwrap_or_else(|| panic!("a final row is never due")));
    }
}

/// Looking.
impl World {
    pub(super) async fn row(&self, won: &Won) -> Row {
        self.row_of(won.award).await
    }

    /// The row as it stands; it holds to what is always true.
    pub(super) async fn row_of(&self, award: AwardId) -> Row {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        assert!(looks < LOOKS_MAX, "the case comes to no end");
        let row = self.bench.row(award).await;
        let row = row.unwrap_or_else(|| panic!("award {award} has no row"));
        is_whole(&row);
        if let Some(before) = lock(&self.seen).insert(award, row.clone()) {
            follows(&before, &row);
        }
        row
    }

    /// Looks at every award of the world once more.
    pub(super) async fn look_at_all(&self) {
        let all = lock(&self.won).clone();
        for award in all {
            if self.bench.row(award).await.is_some() {
                self.row_of(award).await;
            }
        }
    }
}

/// What is true of every row at every instant.
fn is_whole(row: &Row) {
    assert_eq!(row.due_at.is_none(), row.state.is_final(), "due_at is null in the final states: {row:?}");
    assert_eq!(row.hold_reason.is_some(), row.state == State::Held, "{row:?}");
    assert_eq!(row.held_at.is_some(), row.state == State::Held, "{row:?}");
    assert_eq!(row.dead_reason.is_some(), row.state == State::Dead, "{row:?}");
    assert!(row.lease >= 1, "{row:?}");
}

/// What is true of every two rows of one award, the one seen after the other.
fn follows(before: &Row, row: &Row) {
    let context = format!("{before:?} became {row:?}");
    assert!(row.lease >= before.lease, "a lease never falls: {context}");
    assert!(
        row.state == before.state || row.lease > before.lease,
        "a lease grows with each change of state: {context}"
    );
    assert!(row.in_doubt || !before.in_doubt, "nothing clears a doubt: {context}");
    assert!(
        before.mq_state != MqState::Sent || row.mq_state == MqState::Sent,
        "what was sent stays sent: {context}"
    );
    let is_over = matches!(before.state, State::Delivered | State::Cancelled);
    assert!(!is_over || before == row, "what is over stays as it is: {context}");
}
