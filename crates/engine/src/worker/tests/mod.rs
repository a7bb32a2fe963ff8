//! The worker between a topic that shows it messages, a store and endpoints.

mod adopt;
mod bounds;
mod calls;
mod copies;
mod endpoints;
mod ends;

use super::*;
use crate::fakes::{
    Asked, FakeCatalog, FakeDistributor, FakePath, FakeTopic, ORIGIN, TokioClock, endpoint,
    incoming, status,
};
use std::sync::atomic::Ordering;
use tombola_core::AwardId;
use tombola_core::decision::{CallAnswer, Decision, DecisionName};
use tombola_core::endpoint::Endpoint;
use tombola_core::ports::{Copy, CopyAnswer, Record, StoreError};
use tombola_core::reason::{HoldReason, KeptReason};

struct World {
    path: Arc<FakePath>,
    topic: Arc<FakeTopic>,
    catalog: Arc<FakeCatalog>,
    distributor: Arc<FakeDistributor>,
    clock: Arc<TokioClock>,
    meters: Arc<Meters>,
    tasks: Tasks,
}

/// How a world differs from the plain one.
struct Setting {
    endpoints: Vec<Endpoint>,
    lasts: Duration,
    answer: fn(&tombola_core::ports::Claim) -> CallAnswer,
    options: WorkerOptions,
    adopt: Option<Adopt>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            endpoints: vec![endpoint(1)],
            lasts: Duration::from_millis(100),
            answer: |_| status(200),
            options: WorkerOptions::default(),
            adopt: None,
        }
    }
}

impl World {
    /// A worker that owns partitions 0 and 1 and runs.
    async fn new(setting: Setting) -> Self {
        let (path, topic, clock) = (FakePath::new(), FakeTopic::new(), TokioClock::new());
        let (tasks, meters) = (Tasks::new(), Arc::new(Meters::new()));
        let catalog = FakeCatalog::with(setting.endpoints);
        let lanes = Arc::new(Lanes::new(Arc::clone(&clock) as _, Arc::clone(&meters)));
        lanes.reload(&*catalog).await.unwrap();
        let distributor =
            FakeDistributor::new(Arc::clone(&clock) as _, setting.lasts, setting.answer);
        let parts = WorkerParts {
            path: Arc::clone(&path) as _,
            catalog: Arc::clone(&catalog) as _,
            topic: Arc::clone(&topic) as _,
            group: "lottery".to_owned(),
            origin: Arc::from(ORIGIN),
            clock: Arc::clone(&clock) as _,
            lanes,
            distributor: Arc::clone(&distributor) as _,
            meters: Arc::clone(&meters),
            seed: Seed::Number(1),
            adopt: setting.adopt.map(Arc::new),
            options: setting.options,
        };
        topic.show(Polled::Assigned(vec![0, 1]));
        tasks.spawn(Worker::new(parts, tasks.clone()).run());
        let world = Self {
            path,
            topic,
            catalog,
            distributor,
            clock,
            meters,
            tasks,
        };
        world.pass(0).await;
        world
    }

    async fn plain() -> Self {
        Self::new(Setting::default()).await
    }

    /// Time passes in small steps, so that each timer fires at its own time.
    async fn pass(&self, millis: u64) {
        settle().await;
        for _ in 0..millis.div_ceil(5) {
            tokio::time::advance(Duration::from_millis(5.min(millis))).await;
            settle().await;
        }
    }

    /// The store says that these are of an outside kind.
    fn outside(&self, lane: i64, awards: impl IntoIterator<Item = i64>) {
        let mut said = self.path.copies.lock().unwrap();
        said.extend(
            awards
                .into_iter()
                .map(|award| (AwardId(award), CopyAnswer::Outside { lane })),
        );
    }

    fn decisions(&self) -> Vec<(i64, DecisionName)> {
        let records = self.path.records.lock().unwrap();
        records
            .iter()
            .map(|record| (record.award.0, record.decision.name()))
            .collect()
    }

    async fn stop(self) -> Arc<FakeTopic> {
        self.tasks.stop();
        self.tasks.ended().await;
        self.topic
    }
}

async fn settle() {
    for _ in 0..60 {
        tokio::task::yield_now().await;
    }
}
