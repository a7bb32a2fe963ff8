//! How calls end: records, claims given back, unknown outcomes, a stop.

use super::*;

#[tokio::test(start_paused = true)]
async fn call_does_not_begin_when_the_lease_is_too_short_for_it_and_its_record() {
    let world = World::plain().await;
    *world.path.lease_time.lock().unwrap() = limits::RECORD_ALLOWANCE + Duration::from_millis(999);
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(200).await;
    assert_eq!(*world.path.given_back.lock().unwrap(), [AwardId(1)]);
    assert_eq!(world.distributor.begun.lock().unwrap().len(), 0);
    assert_eq!(world.meters.given_back.get(), 1);
    world.outside(1, [2, 3]);
    world.topic.show_awards(0, 1, [2, 3]);
    world.pass(200).await;
    assert_eq!(world.path.given_back.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn distributor_that_panics_or_hangs_leaves_an_unknown_outcome_and_its_permit_comes_back() {
    let answer = |claim: &tombola_core::ports::Claim| {
        assert!(claim.award != AwardId(1), "a bug");
        status(200)
    };
    let world = World::new(Setting {
        answer,
        ..Setting::default()
    })
    .await;
    world.outside(1, [1, 2, 3]);
    world.topic.show_awards(0, 0, [1, 2, 3]);
    world.pass(500).await;
    let mut decisions = world.decisions();
    decisions.sort_unstable();
    let expected = [
        (1, DecisionName::Unknown),
        (2, DecisionName::Delivered),
        (3, DecisionName::Delivered),
    ];
    assert_eq!(decisions, expected);
    let hanging = World::new(Setting {
        lasts: Duration::from_hours(1),
        ..Setting::default()
    })
    .await;
    hanging.outside(1, [1]);
    hanging.topic.show_awards(0, 0, [1]);
    hanging.pass(2100).await;
    assert_eq!(hanging.decisions(), [(1, DecisionName::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn record_is_tried_while_the_store_is_away_until_the_lease_is_over() {
    let world = World::plain().await;
    FakePath::say(&world.path.on_record, |_: &Vec<Record>| {
        Err(StoreError::Unavailable("away".to_owned()))
    });
    world.outside(1, [1, 2]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(5000).await;
    *world.path.on_record.lock().unwrap() = None;
    world.pass(3000).await;
    assert_eq!(world.decisions(), [(1, DecisionName::Delivered)]);
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    FakePath::say(&world.path.on_record, move |_: &Vec<Record>| {
        seen.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Unavailable("away".to_owned()))
    });
    world.topic.show_awards(0, 1, [2]);
    world.pass(70_000).await;
    let by_then = tries.load(Ordering::Relaxed);
    assert!(by_then > 20, "{by_then}");
    world.pass(10_000).await;
    assert_eq!(tries.load(Ordering::Relaxed), by_then);
}

#[tokio::test(start_paused = true)]
async fn record_that_cannot_be_written_does_not_keep_the_others_from_it() {
    let many = Endpoint {
        concurrency: 100,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![many],
        ..Setting::default()
    })
    .await;
    FakePath::say(&world.path.on_record, |records: &Vec<Record>| {
        let is_bad = records.iter().any(|record| record.award == AwardId(3));
        if is_bad {
            Err(StoreError::Inconsistent("3".to_owned()))
        } else {
            Ok(())
        }
    });
    world.outside(1, 1..=8);
    world.topic.show_awards(0, 0, 1..=8);
    world.pass(500).await;
    let mut recorded: Vec<i64> = world
        .decisions()
        .into_iter()
        .map(|(award, _)| award)
        .collect();
    recorded.sort_unstable();
    assert_eq!(recorded, [1, 2, 4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn stop_gives_back_claims_whose_call_has_not_begun_and_finishes_those_that_have() {
    let slow = Endpoint {
        concurrency: 10,
        interval: Some(Duration::from_millis(200)),
        ..endpoint(1)
    };
    let setting = Setting {
        endpoints: vec![slow],
        lasts: Duration::from_millis(800),
        ..Setting::default()
    };
    let world = World::new(setting).await;
    world.outside(1, 1..=4);
    world.topic.show_awards(0, 0, 1..=4);
    world.pass(60).await;
    // The first is under way, the second is claimed ahead of its turn, two wait.
    assert_eq!(
        (
            world.distributor.begun.lock().unwrap().len(),
            world.path.claimed.lock().unwrap().len()
        ),
        (1, 2)
    );
    let (path, distributor) = (Arc::clone(&world.path), Arc::clone(&world.distributor));
    let topic = world.stop().await;
    assert_eq!(*path.given_back.lock().unwrap(), [AwardId(2)]);
    assert_eq!(path.records.lock().unwrap().len(), 1);
    assert_eq!(distributor.begun.lock().unwrap().len(), 1);
    assert_eq!(topic.committed(0), Some(2));
    assert_eq!(topic.asked.lock().unwrap().last(), Some(&Asked::Left));
}

#[tokio::test(start_paused = true)]
async fn call_that_is_cut_off_by_the_end_of_a_stop_is_recorded_as_unknown() {
    let world = World::new(Setting {
        lasts: Duration::from_mins(1),
        ..Setting::default()
    })
    .await;
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(20).await;
    world.tasks.stop();
    world.pass(50).await;
    assert_eq!(world.decisions(), []);
    world.tasks.abandon();
    world.tasks.ended().await;
    assert_eq!(world.decisions(), [(1, DecisionName::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn records_are_written_in_bounded_batches_and_a_bounded_number_at_a_time() {
    let endpoints: Vec<Endpoint> = (1..=3)
        .map(|lane| Endpoint {
            concurrency: 1000,
            ..endpoint(lane)
        })
        .collect();
    let world = World::new(Setting {
        endpoints,
        ..Setting::default()
    })
    .await;
    world
        .path
        .records_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    for lane in 1..=3 {
        let awards = lane * 10_000..lane * 10_000 + 340;
        world.outside(lane, awards.clone());
        world.topic.show_awards(0, lane * 10_000, awards);
    }
    world.pass(200).await;
    let writing = || world.path.record_sizes.lock().unwrap().clone();
    assert_eq!(writing().len(), limits::RECORD_BATCHES_MAX);
    world.path.records_allowed.add_permits(100);
    world.pass(100).await;
    assert_eq!(writing().iter().sum::<usize>(), 3 * 340);
    assert!(
        writing()
            .iter()
            .all(|size| *size <= limits::RECORD_BATCH_MAX)
    );
    assert_eq!(
        writing().iter().max(),
        Some(&limits::RECORD_BATCH_MAX),
        "{:?}",
        writing()
    );
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_was_enabled_meanwhile_is_looked_up_when_its_award_is_not_held() {
    let off = Endpoint {
        is_enabled: false,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        endpoints: vec![off],
        ..Setting::default()
    })
    .await;
    *world.catalog.endpoints.lock().unwrap() = vec![endpoint(1)];
    *world.path.held_as.lock().unwrap() = tombola_core::award::State::Pending;
    world.outside(1, [1, 2]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(100).await;
    world.topic.show_awards(0, 1, [2]);
    world.pass(300).await;
    assert_eq!(
        world.decisions(),
        [(1, DecisionName::Hold), (2, DecisionName::Delivered)]
    );
}

#[tokio::test(start_paused = true)]
async fn stop_while_the_store_is_away_moves_no_offset_of_what_it_did_not_write() {
    let world = World::plain().await;
    let away = || StoreError::Unavailable("away".to_owned());
    world.topic.show_awards(0, 0, [1]);
    world.pass(200).await;
    FakePath::say(&world.path.on_deliver, move |_| Err(away()));
    FakePath::say(&world.path.on_keep, move |_| Err(away()));
    let mut bad = incoming(1, 0, 9);
    bad.value = None;
    world.topic.show_awards(0, 1, [2, 3]);
    world.topic.show(Polled::Messages(vec![bad]));
    world.pass(300).await;
    let topic = world.stop().await;
    assert_eq!((topic.committed(0), topic.committed(1)), (Some(1), None));
    assert_eq!(topic.asked.lock().unwrap().last(), Some(&Asked::Left));
}
