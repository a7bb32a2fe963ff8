//! Endpoints: their pace, their breaker, and those that are not to be called.

use super::*;

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_calls_than_the_endpoints_rate_and_none_comes_in_a_burst() {
    let paced = Endpoint {
        interval: Some(Duration::from_millis(50)),
        concurrency: 100,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![paced],
        ..Setting::default()
    })
    .await;
    world.outside(1, 1..=90);
    for part in 0..9 {
        world
            .topic
            .show_awards(0, part * 10, part * 10 + 1..=part * 10 + 10);
        world.pass(500).await;
    }
    let begun: Vec<Duration> = world
        .distributor
        .begun
        .lock()
        .unwrap()
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert!(begun.len() >= 80, "{}", begun.len());
    for first in &begun {
        let second = begun
            .iter()
            .filter(|it| *it >= first && **it < *first + Duration::from_secs(1))
            .count();
        assert!(second <= 20, "{second} calls in a second");
    }
    assert!(
        begun
            .windows(2)
            .all(|two| two[1].saturating_sub(two[0]) >= Duration::from_millis(40))
    );
}

#[tokio::test(start_paused = true)]
async fn failing_endpoint_is_left_alone_and_probed_by_one_call_at_a_time() {
    let many = Endpoint {
        concurrency: 100,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![many],
        answer: |_| status(503),
        ..Setting::default()
    })
    .await;
    world.outside(1, 1..=200);
    world.topic.show_awards(0, 0, 1..=10);
    world.pass(200).await;
    let calls = |world: &World| world.distributor.begun.lock().unwrap().len();
    assert_eq!(calls(&world), 10);
    world.topic.show_awards(0, 10, 11..=50);
    world.pass(5000).await;
    assert_eq!(
        (calls(&world), world.path.deferred.lock().unwrap().len()),
        (10, 40)
    );
    let opens = world.clock.now().plus(limits::BREAKER_OPEN_FIRST / 4);
    assert!(
        world
            .path
            .deferred
            .lock()
            .unwrap()
            .iter()
            .all(|it| it.until > opens)
    );
    world.pass(5500).await;
    world.topic.show_awards(0, 50, 51..=90);
    world.pass(50).await;
    assert_eq!(calls(&world), 11);
    world.pass(15_000).await;
    assert_eq!(calls(&world), 11);
}

#[tokio::test(start_paused = true)]
async fn award_of_a_disabled_endpoint_is_held_without_a_call() {
    let off = Endpoint {
        is_enabled: false,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![off],
        ..Setting::default()
    })
    .await;
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(200).await;
    let record = world.path.records.lock().unwrap()[0].clone();
    assert_eq!(
        record.decision,
        Decision::Hold(HoldReason::EndpointDisabled)
    );
    assert_eq!(world.distributor.begun.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_answers_410_is_disabled_and_gets_no_further_call() {
    let one = Endpoint {
        concurrency: 1,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![one],
        answer: |_| status(410),
        ..Setting::default()
    })
    .await;
    world.outside(1, 1..=5);
    world.topic.show_awards(0, 0, 1..=5);
    world.pass(500).await;
    assert_eq!(*world.catalog.disabled.lock().unwrap(), [1]);
    assert_eq!(world.distributor.begun.lock().unwrap().len(), 1);
    assert_eq!(world.decisions().len(), 5);
    assert!(
        world
            .decisions()
            .iter()
            .all(|(_, decision)| *decision == DecisionName::Hold)
    );
}

#[tokio::test(start_paused = true)]
async fn endpoint_made_after_the_last_look_is_looked_up() {
    let world = World::new(Setting {
        endpoints: vec![],
        ..Setting::default()
    })
    .await;
    *world.catalog.endpoints.lock().unwrap() = vec![endpoint(4)];
    world.outside(4, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(300).await;
    assert_eq!(world.decisions(), [(1, DecisionName::Delivered)]);
}
