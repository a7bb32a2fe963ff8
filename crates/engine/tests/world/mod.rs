//! A whole engine in one process: the model store, the topic in memory behind a switch,
//! an outside service that keeps one effect for each delivery key.

use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_broker::{MemoryOptions, MemoryTopic};
use tombola_core::award::State;
use tombola_core::campaign::file::parse_toml;
use tombola_core::campaign::{Approval, Transition};
use tombola_core::decision::CallAnswer;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::message::Message;
use tombola_core::ports::{
    Actor, Catalog, Claim, Clock, GroupPosition, Member, Outgoing, Report, Topic, TopicDescription,
    TopicError, TopicSpec, Transitioned,
};
use tombola_core::{AwardId, Timestamp};
use tombola_engine::{
    DeskAnswer, DeskError, Distributor, DrawAsk, Engine, EngineOptions, EngineParts, Roles, Seed,
};
use tombola_testkit::ModelStore;

const CAMPAIGN: &str = r#"
[campaign]
slug = "fair"
name = "Fair"

[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "hello"
odds = "40%"

[[prize]]
slug = "points"
name = "10 points"
kind = "points"
points = 10
odds = "30%"

[[prize]]
slug = "coupon"
name = "A coupon"
kind = "webhook"
endpoint = "coupons"
odds = "20%"
"#;

/// Follows tokio's clock, which the tests pause; it goes on where `from` ended.
pub(crate) struct TokioClock {
    from: Duration,
    began: tokio::time::Instant,
}

impl TokioClock {
    pub(crate) fn new(from: Duration) -> Arc<Self> {
        Arc::new(Self {
            from,
            began: tokio::time::Instant::now(),
        })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_771_000_000_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        self.from + self.began.elapsed()
    }
}

/// An outside service that honours the delivery key.
pub(crate) struct Service {
    /// Calls by delivery key.
    calls: Mutex<HashMap<String, u32>>,
    /// What is said of call number `n` of a key, after its effect.
    says: fn(u32) -> CallAnswer,
    lasts: Duration,
}

impl Service {
    pub(crate) fn new(lasts: Duration, says: fn(u32) -> CallAnswer) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            says,
            lasts,
        })
    }

    pub(crate) fn calls(&self) -> HashMap<String, u32> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Distributor for Service {
    async fn deliver(
        &self,
        _: &Endpoint,
        claim: &Claim,
        _: &Message,
    ) -> (CallAnswer, Option<String>) {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            let number = calls.entry(claim.delivery_key.clone()).or_default();
            *number += 1;
            *number
        };
        tokio::time::sleep_until(tokio::time::Instant::now() + self.lasts).await;
        ((self.says)(number), None)
    }
}

pub(crate) fn status(status: u16) -> CallAnswer {
    CallAnswer::Status {
        status,
        retry_after: None,
        receipt: None,
    }
}

/// A topic whose broker can be switched off: publishes are then not taken.
pub(crate) struct SwitchedTopic {
    topic: MemoryTopic,
    pub(crate) is_away: AtomicBool,
}

#[async_trait]
impl Topic for SwitchedTopic {
    fn epoch(&self) -> i64 {
        self.topic.epoch()
    }
    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        if self.is_away.load(Ordering::Relaxed) {
            return vec![Report::NotTaken("away".to_owned()); messages.len()];
        }
        self.topic.publish_batch(messages).await
    }
    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError> {
        self.topic.subscribe(group).await
    }
    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError> {
        self.topic.group_position(group).await
    }
    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        self.topic.create(spec).await
    }
    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        self.topic.describe().await
    }
}

/// One life of the process; the store outlives it.
pub(crate) struct World {
    pub(crate) store: Arc<ModelStore>,
    pub(crate) topic: Arc<SwitchedTopic>,
    pub(crate) service: Arc<Service>,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) engine: Engine,
}

impl World {
    /// A fresh store with a running campaign and an endpoint.
    pub(crate) async fn new(service: Arc<Service>) -> Self {
        let (store, clock) = (
            Arc::new(ModelStore::new()),
            TokioClock::new(Duration::from_hours(1)),
        );
        fill(&store, clock.now()).await;
        Self::alive(store, service, clock, 1).await
    }

    /// The process begins on a store that may hold what an earlier one left.
    pub(crate) async fn alive(
        store: Arc<ModelStore>,
        service: Arc<Service>,
        clock: Arc<TokioClock>,
        life: i64,
    ) -> Self {
        let memory = MemoryTopic::new(MemoryOptions {
            epoch: life,
            ..MemoryOptions::default()
        });
        let topic = Arc::new(SwitchedTopic {
            topic: memory,
            is_away: AtomicBool::new(false),
        });
        let parts = EngineParts {
            path: Arc::clone(&store) as _,
            catalog: Arc::clone(&store) as _,
            topic: Arc::clone(&topic) as _,
            clock: Arc::clone(&clock) as _,
            distributor: Some(Arc::clone(&service) as _),
            options: EngineOptions {
                seed: Seed::Number(life.unsigned_abs()),
                is_alone: true,
                ..EngineOptions::default()
            },
        };
        let engine = Engine::start(parts, Roles::ALL).await.unwrap();
        Self {
            store,
            topic,
            service,
            clock,
            engine,
        }
    }

    /// Draws by many users at once; gives those that were answered.
    pub(crate) async fn draw(
        &self,
        name: &str,
        count: usize,
    ) -> Vec<Result<DeskAnswer, DeskError>> {
        let desk = self.engine.desk().unwrap();
        let draws = (0..count).map(|n| desk.draw(ask(&format!("{name}-{n:08}"), n)));
        futures_util::future::join_all(draws).await
    }

    /// Time passes until nothing is unfinished, at most `most`; gives how long it took.
    pub(crate) async fn finish(&self, most: Duration) -> Duration {
        let began = self.clock.monotonic();
        // Tokio moves its paused clock from timer to timer.
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while self.unfinished() > 0 {
            let took = self.clock.monotonic().saturating_sub(began);
            assert!(
                took < most,
                "{} unfinished after {took:?}",
                self.unfinished()
            );
            looks.tick().await;
        }
        self.clock.monotonic().saturating_sub(began)
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.store
            .rows()
            .iter()
            .filter(|row| !row.state.is_final())
            .count()
    }

    pub(crate) fn in_state(&self, state: State) -> usize {
        self.store
            .rows()
            .iter()
            .filter(|row| row.state == state)
            .count()
    }

    /// Every win that was answered has its row, and each delivered coupon was called.
    pub(crate) fn check(&self, answers: &[Result<DeskAnswer, DeskError>]) {
        let won = answers
            .iter()
            .filter_map(|answer| answer.as_ref().ok())
            .flat_map(|answer| match answer {
                DeskAnswer::Drawn(facts) | DeskAnswer::Replayed(facts) => facts.clone(),
                DeskAnswer::Refused(refusal) => panic!("{refusal:?}"),
            });
        let calls = self.service.calls();
        for fact in won.filter(|fact| fact.prize.is_some()) {
            let award: AwardId = fact.id.award();
            let row = self.store.row(award).unwrap();
            if row.is_outside() && row.state == State::Delivered {
                assert!(calls.contains_key(&self.store.delivery_key(award).unwrap()));
            }
        }
    }
}

async fn fill(store: &ModelStore, now: Timestamp) {
    let by = Actor {
        name: "test".to_owned(),
        reason: None,
        request: None,
    };
    let spec = EndpointSpec {
        name: "coupons".to_owned(),
        url: "https://coupons.example/awards".to_owned(),
        secret: None,
        idempotent: true,
        conflict_means_delivered: false,
        timeout: "10s".to_owned(),
        concurrency: 16,
        rate: None,
        allow_private: false,
    };
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
    store
        .put_endpoint(spec, secret, by.clone(), now)
        .await
        .unwrap();
    store
        .put_campaign(parse_toml("fair.toml", CAMPAIGN).unwrap(), by.clone(), now)
        .await
        .unwrap();
    for command in [Transition::Submit, Transition::Approve, Transition::Start] {
        let moved = store
            .transition("fair", command, Approval::Anybody, by.clone(), now)
            .await
            .unwrap();
        assert!(matches!(moved, Transitioned::Moved { .. }), "{moved:?}");
    }
}

pub(crate) fn ask(key: &str, n: usize) -> DrawAsk {
    DrawAsk {
        campaign: Arc::from("fair"),
        client: Arc::from("shop"),
        user: Arc::from(format!("u{}", n % 50)),
        key: Arc::from(key),
        fingerprint: [0; 16],
        count: 1,
        traceparent: None,
        claim_key_version: 1,
    }
}

pub(crate) async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}
