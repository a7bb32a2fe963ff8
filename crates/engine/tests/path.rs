//! The whole path in one process, on the model store and the topic in memory: what is
//! drawn is delivered, whatever is lost on the way.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of tests stops where it stands"
)]

mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tombola_core::award::State;
use tombola_core::decision::CallAnswer;
use tombola_core::limits;
use tombola_core::ports::{Actor, Catalog, Clock, Operate};
use tombola_core::reason::HoldReason;
use tombola_testkit::ModelStore;
use world::{Service, TokioClock, World, settle, status};

const MILLI: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn what_is_drawn_is_delivered_each_kind_in_its_way_and_nothing_is_left() {
    let world = World::new(Service::new(20 * MILLI, |_| status(200))).await;
    let answers = world.draw("k", 300).await;
    assert!(answers.iter().all(Result::is_ok));
    let took = world.finish(Duration::from_secs(30)).await;
    assert!(took < limits::GRACE_FIRST, "no grace had to end: {took:?}");
    world.check(&answers);
    assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
    assert!(world.service.calls().values().all(|calls| *calls == 1));
    let meters = Arc::clone(world.engine.meters());
    assert!(world.engine.stop(limits::STOP_DEADLINE).await.is_clean);
    assert_eq!(meters.handoffs_dropped.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn endpoint_with_unknown_outcomes_and_refusals_of_load_is_called_until_it_says_yes() {
    let says = |number| match number {
        1 => CallAnswer::Broken,
        2 => status(429),
        _ => status(200),
    };
    let world = World::new(Service::new(5 * MILLI, says)).await;
    let answers = world.draw("k", 20).await;
    world.finish(Duration::from_hours(1)).await;
    world.check(&answers);
    assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
    assert!(world.service.calls().values().all(|calls| *calls == 3));
}

#[tokio::test(start_paused = true)]
async fn broker_away_for_an_hour_stops_no_draw_and_deliveries_catch_up() {
    let world = World::new(Service::new(MILLI, |_| status(200))).await;
    world.topic.is_away.store(true, Ordering::Relaxed);
    let mut answers = Vec::new();
    for round in 0..60 {
        answers.extend(world.draw(&format!("r{round}"), 5).await);
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            settle().await;
        }
    }
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.in_state(State::Delivered), 0);
    let most = world
        .store
        .rows()
        .iter()
        .map(|row| world.store.log_of(row.award).len())
        .max();
    assert!(
        most < Some(40),
        "no storm of copies while it is away: {most:?}"
    );
    world.topic.is_away.store(false, Ordering::Relaxed);
    world.finish(limits::GRACE_MAX * 2).await;
    world.check(&answers);
    assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
}

#[tokio::test(start_paused = true)]
async fn backlog_of_an_endpoint_drains_nearly_as_fast_as_the_endpoint_takes_it() {
    // 16 calls at a time: (how long a call lasts, how many awards).
    for (lasts, draws) in [(5, 20_000), (200, 5000), (3000, 1500)] {
        let lasts = MILLI * lasts;
        let world = World::new(Service::new(lasts, |_| status(200))).await;
        for part in 0..draws / 500 {
            assert!(
                world
                    .draw(&format!("part-{part}"), 500)
                    .await
                    .iter()
                    .all(Result::is_ok)
            );
        }
        let calls = world
            .store
            .rows()
            .iter()
            .filter(|row| row.is_outside())
            .count();
        let ideal = lasts * u32::try_from(calls.div_ceil(16)).unwrap();
        let took = world.finish(ideal * 3 / 2 + Duration::from_secs(2)).await;
        let publishes = world.engine.meters().publishes.taken.get();
        let rows = u64::try_from(world.store.rows().len()).unwrap();
        assert!(publishes < rows * 4, "{publishes} copies for {rows} awards");
        assert_eq!(
            world.in_state(State::Delivered),
            world.store.rows().len(),
            "{took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_another_process_disables_is_called_no_more_after_the_next_look() {
    let world = World::new(Service::new(MILLI, |_| status(200))).await;
    let by = Actor {
        name: "operator".to_owned(),
        reason: None,
        request: None,
    };
    let now = world.clock.now();
    assert!(
        world
            .store
            .enable_endpoint(1, false, by.clone(), now)
            .await
            .unwrap()
    );
    settle().await;
    tokio::time::advance(limits::ENDPOINT_REFRESH).await;
    settle().await;
    world.draw("k", 50).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(world.service.calls().len(), 0);
    assert!(world.in_state(State::Held) > 0);
    assert_eq!(world.engine.ended(), Vec::<&str>::new());
    let now = world.clock.now();
    assert!(world.store.enable_endpoint(1, true, by, now).await.unwrap());
    world
        .store
        .end_holds(HoldReason::EndpointDisabled, now)
        .await
        .unwrap();
    world.engine.wake_rescue();
    world.finish(limits::HOLD_REVIEW).await;
    assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
}

/// A process of its own: dropping it is a crash, nothing of it goes on.
fn process() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

#[test]
fn process_that_dies_with_everything_in_hand_leaves_nothing_behind_that_the_next_does_not_finish() {
    for seed in 1..20 {
        let (first, service) = (process(), Service::new(300 * MILLI, |_| status(200)));
        let (store, at, answers) = first.block_on(async {
            let world = World::new(Arc::clone(&service)).await;
            let answers = world.draw("k", 100).await;
            // At another moment each time: before the relay, in a call, at a record.
            tokio::time::advance(MILLI * seed * 17).await;
            settle().await;
            (Arc::clone(&world.store), world.clock.monotonic(), answers)
        });
        first.shutdown_background();
        process().block_on(async {
            let clock = TokioClock::new(at + MILLI);
            let world = World::alive(store, Arc::clone(&service), clock, i64::from(seed) + 1).await;
            world.finish(Duration::from_mins(2)).await;
            world.check(&answers);
            assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
        });
        let most = service.calls().into_values().max();
        assert!(
            most <= Some(2),
            "a call is repeated once for one crash: {most:?}"
        );
    }
}

#[test]
fn stop_under_load_ends_within_its_deadline_and_the_next_process_takes_up_the_rest() {
    let service = Service::new(Duration::from_secs(8), |_| status(200));
    let first = process();
    let (store, at, answers): (Arc<ModelStore>, Duration, Vec<_>) = first.block_on(async {
        let world = World::new(Arc::clone(&service)).await;
        let answers = world.draw("k", 400).await;
        tokio::time::advance(50 * MILLI).await;
        settle().await;
        let World {
            store,
            clock,
            engine,
            ..
        } = world;
        let began = clock.monotonic();
        let desk = engine.desk().unwrap().clone();
        let report = engine.stop(Duration::from_secs(4)).await;
        let ended = clock.monotonic();
        assert!(ended.saturating_sub(began) <= Duration::from_secs(4));
        assert!(!report.is_clean, "calls of eight seconds were cut off");
        assert!(desk.draw(world::ask("after", 1)).await.is_err());
        (store, ended, answers)
    });
    let cut_off = store.rows().iter().filter(|row| row.in_doubt).count();
    assert_eq!(cut_off, 16, "calls in flight were recorded as unknown");
    assert!(
        store
            .rows()
            .iter()
            .all(|row| row.state != State::Delivering)
    );
    first.shutdown_background();
    process().block_on(async {
        let world = World::alive(store, service, TokioClock::new(at), 2).await;
        world.finish(Duration::from_mins(10)).await;
        world.check(&answers);
        assert_eq!(world.in_state(State::Delivered), world.store.rows().len());
    });
}
