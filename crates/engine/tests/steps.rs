//! The path in explicit steps, on a clock that is moved by hand: a lost hand-off is
//! found when its grace ends, and not before.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests stops where it stands"
)]

use std::sync::Arc;
use std::time::Duration;
use tombola_broker::{MemoryOptions, MemoryTopic};
use tombola_core::award::State;
use tombola_core::campaign::file::parse_toml;
use tombola_core::campaign::{Approval, Transition};
use tombola_core::limits;
use tombola_core::ports::{Actor, Catalog, Clock};
use tombola_engine::{
    Desk, DeskOptions, DeskParts, DrawAsk, Lanes, Meters, Publisher, Relay, Rescuer, RescuerParts,
    Seed, Tasks, WebhookDistributor, Worker, WorkerOptions, WorkerParts,
};
use tombola_testkit::{ModelStore, TestClock};

const CAMPAIGN: &str = r#"
[campaign]
slug = "fair"
name = "Fair"

[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "hello"
odds = "100%"
"#;

struct Steps {
    store: Arc<ModelStore>,
    clock: Arc<TestClock>,
    desk: Desk,
    relay: Relay,
    worker: Worker,
    rescuer: Rescuer,
}

impl Steps {
    async fn new() -> Self {
        let (store, clock) = (Arc::new(ModelStore::new()), Arc::new(TestClock::default()));
        start_campaign(&store, &clock).await;
        let topic = Arc::new(MemoryTopic::new(MemoryOptions::default()));
        let (tasks, meters) = (Tasks::new(), Arc::new(Meters::new()));
        let origin: Arc<str> = store.origin().await.unwrap().into();
        let lanes = Arc::new(Lanes::new(Arc::clone(&clock) as _, Arc::clone(&meters)));
        let publisher = Arc::new(Publisher::new(
            Arc::clone(&topic) as _,
            Arc::clone(&store) as _,
            Arc::clone(&clock) as _,
            Arc::clone(&meters),
            Arc::clone(&origin),
        ));
        let (handle, relay) = Relay::new(
            Arc::clone(&publisher),
            limits::RELAY_WAITING_MAX,
            Arc::clone(&meters),
        );
        let desk = DeskParts {
            path: Arc::clone(&store) as _,
            clock: Arc::clone(&clock) as _,
            seed: Seed::Number(1),
            relay: Some(handle),
            meters: Arc::clone(&meters),
            options: DeskOptions::default(),
        };
        let worker = WorkerParts {
            path: Arc::clone(&store) as _,
            catalog: Arc::clone(&store) as _,
            topic: Arc::clone(&topic) as _,
            group: "lottery".to_owned(),
            origin,
            clock: Arc::clone(&clock) as _,
            lanes: Arc::clone(&lanes),
            distributor: Arc::new(WebhookDistributor::new(Arc::clone(&clock) as _)),
            meters: Arc::clone(&meters),
            seed: Seed::Number(1),
            adopt: None,
            options: WorkerOptions::stepped(),
        };
        let rescuer = RescuerParts {
            path: Arc::clone(&store) as _,
            topic,
            group: "lottery".to_owned(),
            publisher,
            lanes,
            clock: Arc::clone(&clock) as _,
            meters,
        };
        Self {
            desk: Desk::start(desk, &tasks),
            worker: Worker::new(worker, tasks),
            rescuer: Rescuer::new(rescuer),
            store,
            clock,
            relay,
        }
    }

    async fn draw(&self, key: &str) {
        let ask = DrawAsk {
            campaign: Arc::from("fair"),
            client: Arc::from("shop"),
            user: Arc::from("u1"),
            key: Arc::from(key),
            fingerprint: [0; 16],
            count: 1,
            traceparent: None,
            claim_key_version: 1,
        };
        self.desk.draw(ask).await.unwrap();
        tokio::task::yield_now().await;
    }

    fn states(&self) -> Vec<State> {
        self.store.rows().iter().map(|row| row.state).collect()
    }
}

async fn start_campaign(store: &ModelStore, clock: &TestClock) {
    let by = Actor {
        name: "test".to_owned(),
        reason: None,
        request: None,
    };
    let file = parse_toml("fair.toml", CAMPAIGN).unwrap();
    store
        .put_campaign(file, by.clone(), clock.now())
        .await
        .unwrap();
    for command in [Transition::Submit, Transition::Approve, Transition::Start] {
        store
            .transition("fair", command, Approval::Anybody, by.clone(), clock.now())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn each_step_moves_the_award_one_hop() {
    let mut steps = Steps::new().await;
    steps.draw("request-1").await;
    assert_eq!(steps.states(), [State::Pending]);
    assert_eq!(steps.worker.run_once().await.unwrap().read, 0);
    assert_eq!(steps.relay.run_once().await.published, 1);
    assert_eq!(steps.states(), [State::Pending]);
    assert_eq!(steps.worker.run_once().await.unwrap().read, 1);
    assert_eq!(steps.states(), [State::Delivered]);
    assert_eq!(steps.rescuer.run_once().await.unwrap().seen, 0);
}

#[tokio::test]
async fn lost_handoff_is_published_by_rescue_when_its_grace_ends_and_not_before() {
    let mut steps = Steps::new().await;
    steps.draw("request-1").await;
    steps
        .clock
        .advance(limits::GRACE_FIRST.saturating_sub(Duration::from_micros(1)));
    assert_eq!(steps.rescuer.run_once().await.unwrap().published, 0);
    steps.clock.advance(Duration::from_micros(1));
    assert_eq!(steps.rescuer.run_once().await.unwrap().published, 1);
    steps.worker.run_once().await.unwrap();
    assert_eq!(steps.states(), [State::Delivered]);
    // The hand-off was not lost after all, but rescue owned the row by then.
    let step = steps.relay.run_once().await;
    assert_eq!((step.published, step.dropped), (0, 1));
    assert_eq!(steps.worker.run_once().await.unwrap().read, 0);
}
