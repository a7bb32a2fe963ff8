//! Aim: the bounds of a whole engine: what its relay holds, how long its stop takes.

use super::*;
use crate::fakes::{
    FakeCatalog, FakeDistributor, FakePath, FakeTopic, TokioClock, endpoint, handoff, status,
};
use tokio::sync::Semaphore;
use tombola_core::AwardId;
use tombola_core::endpoint::Endpoint;
use tombola_core::ports::{CopyAnswer, Polled};

struct World {
    path: Arc<FakePath>,
    topic: Arc<FakeTopic>,
    clock: Arc<TokioClock>,
    engine: Engine,
}

impl World {
    /// An engine whose calls last longer than any deadline.
    async fn new(roles: Roles) -> Self {
        let (path, topic, clock) = (FakePath::new(), FakeTopic::new(), TokioClock::new());
        let patient = Endpoint {
            timeout: limits::CALL_TIMEOUT_MAX,
            ..endpoint(1)
        };
        let forever = Duration::from_hours(1);
        let distributor = FakeDistributor::new(Arc::clone(&clock) as _, forever, |_| status(200));
        let parts = EngineParts {
            path: Arc::clone(&path) as _,
            catalog: FakeCatalog::with(vec![patient]),
            topic: Arc::clone(&topic) as _,
            clock: Arc::clone(&clock) as _,
            distributor: Some(distributor),
            options: EngineOptions::default(),
        };
        let engine = Engine::start(parts, roles).await.unwrap();
        Self {
            path,
            topic,
            clock,
            engine,
        }
    }

    /// Lets every task run as far as it can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

const API: Roles = Roles {
    api: true,
    worker: false,
    rescue: false,
};
const WORKER: Roles = Roles {
    api: false,
    worker: true,
    rescue: false,
};

#[tokio::test(start_paused = true)]
async fn relay_holds_as_many_messages_as_its_bound_and_drops_one_more() {
    let world = World::new(API).await;
    let relay = world.engine.relay().unwrap();
    let now = world.clock.now();
    let most = i64::try_from(limits::RELAY_WAITING_MAX).unwrap();
    // Its task has not run yet.
    relay.offer((1..=most).map(|award| handoff(award, now)).collect());
    let dropped = &world.engine.meters().handoffs_dropped;
    assert_eq!(
        (relay.waiting(), dropped.get()),
        (limits::RELAY_WAITING_MAX, 0)
    );
    relay.offer(vec![handoff(most + 1, now)]);
    assert_eq!(
        (relay.waiting(), dropped.get()),
        (limits::RELAY_WAITING_MAX, 1)
    );
}

/// Stops with a call under way; gives how long that took.
async fn stop_takes(world: World) -> Duration {
    let outside = CopyAnswer::Outside { lane: 1 };
    let copies = &world.path.copies;
    copies.lock().unwrap().insert(AwardId(1), outside);
    world.topic.show(Polled::Assigned(vec![0]));
    world.topic.show_awards(0, 0, [1]);
    World::settle().await;
    let began = world.clock.monotonic();
    let report = world.engine.stop(limits::STOP_DEADLINE).await;
    assert!(!report.is_clean);
    world.clock.monotonic().saturating_sub(began)
}

#[tokio::test(start_paused = true)]
async fn stop_cuts_calls_off_so_early_that_what_is_known_can_still_be_written() {
    let world = World::new(WORKER).await;
    let path = Arc::clone(&world.path);
    let took = stop_takes(world).await;
    assert_eq!(
        took,
        limits::STOP_DEADLINE.saturating_sub(limits::STOP_RESERVE)
    );
    assert_eq!(path.records.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stop_ends_at_its_deadline_whatever_is_not_written_by_then() {
    let world = World::new(WORKER).await;
    let path = Arc::clone(&world.path);
    path.records_allowed.forget_permits(Semaphore::MAX_PERMITS);
    assert_eq!(stop_takes(world).await, limits::STOP_DEADLINE);
    assert_eq!(path.records.lock().unwrap().len(), 0);
}
