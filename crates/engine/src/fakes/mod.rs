//! The outsides as the engine's own tests see them: a store, a topic and a catalog
//! that do what a test says and write down what they were asked; a clock that follows
//! tokio's, which tests move.

mod path;
mod topic;

pub(crate) use path::{FakePath, fact, handoff, message};
pub(crate) use topic::{Asked, FakeTopic, Says, incoming};

use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::{Approval, CampaignFile, Transition};
use tombola_core::decision::CallAnswer;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::message::Message;
use tombola_core::ports::{
    Actor, ApiKey, Catalog, Claim, Clock, CodesAdded, ImportBegun, ImportFinished, ImportId,
    KeptAnswer, KeptRequest, NewSecret, PutCampaign, PutEndpoint, RequestKey, Resealed,
    SecretRotated, StockChanged, StoreError, StoreResult, Transitioned,
};
use tombola_core::signing::SigningSecret;

/// The database's uuid in these tests.
pub(crate) const ORIGIN: &str = "5ea4f2a0-0000-4000-8000-000000000001";

/// Follows tokio's clock, paused or not.
pub(crate) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_771_000_000_000_000).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        // Away from zero, as the clock of a process that has run for a while.
        Duration::from_hours(1) + self.0.elapsed()
    }
}

/// Endpoints, and who disabled them.
#[derive(Default)]
pub(crate) struct FakeCatalog {
    pub(crate) endpoints: Mutex<Vec<Endpoint>>,
    pub(crate) disabled: Mutex<Vec<i64>>,
    /// Nobody can be disabled now.
    pub(crate) is_away: AtomicBool,
    /// How often it was tried.
    pub(crate) tries: AtomicU32,
    /// How long the next reading of the endpoints is on its way.
    pub(crate) yields: AtomicU32,
}

impl FakeCatalog {
    pub(crate) fn with(endpoints: Vec<Endpoint>) -> Arc<Self> {
        Arc::new(Self {
            endpoints: Mutex::new(endpoints),
            ..Self::default()
        })
    }
}

/// An endpoint of that lane: 2 calls at a time, 1 s each, no pace.
pub(crate) fn endpoint(lane: i64) -> Endpoint {
    Endpoint {
        lane,
        name: format!("endpoint-{lane}"),
        url: "http://localhost/awards".to_owned(),
        secrets: vec![SigningSecret::newest(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )],
        is_idempotent: true,
        conflict_means_delivered: false,
        timeout: Duration::from_secs(1),
        concurrency: 2,
        interval: None,
        allow_private: true,
        is_enabled: true,
    }
}

fn not_asked<T>() -> StoreResult<T> {
    Err(StoreError::Closed)
}

#[async_trait]
impl Catalog for FakeCatalog {
    async fn origin(&self) -> StoreResult<String> {
        Ok(ORIGIN.to_owned())
    }
    async fn put_campaign(
        &self,
        _: CampaignFile,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<PutCampaign> {
        not_asked()
    }
    async fn transition(
        &self,
        _: &str,
        _: Transition,
        _: Approval,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<Transitioned> {
        not_asked()
    }
    async fn change_stock(
        &self,
        _: &str,
        _: &str,
        _: i64,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<StockChanged> {
        not_asked()
    }
    async fn put_endpoint(
        &self,
        _: EndpointSpec,
        _: String,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<PutEndpoint> {
        not_asked()
    }
    async fn rotate_secret(
        &self,
        _: &str,
        _: NewSecret,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<SecretRotated> {
        not_asked()
    }
    async fn end_secrets(&self, _: Timestamp) -> StoreResult<u64> {
        not_asked()
    }
    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>> {
        let read = self.endpoints.lock().unwrap().clone();
        for _ in 0..self.yields.swap(0, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        Ok(read)
    }
    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<bool> {
        assert!(!is_enabled, "the engine only disables");
        self.tries.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        self.disabled.lock().unwrap().push(lane);
        Ok(true)
    }
    async fn begin_import(
        &self,
        _: &str,
        _: &str,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<ImportBegun> {
        not_asked()
    }
    async fn add_codes(&self, _: ImportId, _: Vec<String>, _: bool) -> StoreResult<CodesAdded> {
        not_asked()
    }
    async fn finish_import(
        &self,
        _: ImportId,
        _: u64,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<ImportFinished> {
        not_asked()
    }
    async fn withdraw_import(
        &self,
        _: &str,
        _: &str,
        _: ImportId,
        _: Actor,
        _: Timestamp,
    ) -> StoreResult<bool> {
        not_asked()
    }
    async fn remove_import(&self, _: Option<ImportId>) -> StoreResult<bool> {
        not_asked()
    }
    async fn reseal_step(&self) -> StoreResult<Resealed> {
        not_asked()
    }
    async fn put_key(&self, _: ApiKey, _: Actor) -> StoreResult<ApiKey> {
        not_asked()
    }
    async fn keys(&self) -> StoreResult<Vec<ApiKey>> {
        not_asked()
    }
    async fn revoke_key(&self, _: i64, _: Actor, _: Timestamp) -> StoreResult<bool> {
        not_asked()
    }
    async fn kept_request(&self, _: &RequestKey) -> StoreResult<Option<KeptRequest>> {
        not_asked()
    }
    async fn keep_answer(
        &self,
        _: RequestKey,
        _: KeptAnswer,
        _: Timestamp,
    ) -> StoreResult<KeptAnswer> {
        not_asked()
    }
    async fn cleanup(&self, _: Timestamp) -> StoreResult<u64> {
        not_asked()
    }
}

/// A distributor that notes when it was called, takes `lasts` and answers `answer`.
pub(crate) struct FakeDistributor {
    clock: Arc<dyn Clock>,
    pub(crate) lasts: Duration,
    pub(crate) answer: Box<dyn Fn(&Claim) -> CallAnswer + Send + Sync>,
    /// Beginnings, by monotonic reading.
    pub(crate) begun: Mutex<Vec<(Duration, i64)>>,
    pub(crate) in_flight: Mutex<(u32, u32)>,
}

impl FakeDistributor {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        lasts: Duration,
        answer: impl Fn(&Claim) -> CallAnswer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock,
            lasts,
            answer: Box::new(answer),
            begun: Mutex::default(),
            in_flight: Mutex::default(),
        })
    }

    /// The most calls that were in flight at a time.
    pub(crate) fn most_in_flight(&self) -> u32 {
        self.in_flight.lock().unwrap().1
    }
}

/// A whole answer with that status.
pub(crate) fn status(status: u16) -> CallAnswer {
    CallAnswer::Status {
        status,
        retry_after: None,
        receipt: None,
    }
}

#[async_trait]
impl crate::Distributor for FakeDistributor {
    async fn deliver(
        &self,
        endpoint: &Endpoint,
        claim: &Claim,
        message: &Message,
    ) -> (CallAnswer, Option<String>) {
        assert_eq!((endpoint.lane, message.award), (claim.lane, claim.award));
        self.begun
            .lock()
            .unwrap()
            .push((self.clock.monotonic(), claim.lane));
        {
            let mut in_flight = self.in_flight.lock().unwrap();
            in_flight.0 += 1;
            in_flight.1 = in_flight.1.max(in_flight.0);
        }
        tokio::time::sleep(self.lasts).await;
        self.in_flight.lock().unwrap().0 -= 1;
        ((self.answer)(claim), None)
    }
}
