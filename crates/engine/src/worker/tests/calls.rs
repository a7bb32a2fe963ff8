//! Copies of outside kinds: permits, claims, calls, and those set aside.

use super::*;

#[tokio::test(start_paused = true)]
async fn outside_copy_is_claimed_called_and_recorded_and_its_offset_moves_at_the_claim() {
    let world = World::new(Setting {
        lasts: Duration::from_millis(900),
        ..Setting::default()
    })
    .await;
    world.outside(1, [5]);
    world.topic.show_awards(0, 0, [5, 6]);
    world.pass(200).await;
    assert_eq!(*world.path.claimed.lock().unwrap(), [AwardId(5)]);
    assert_eq!(
        (world.topic.committed(0), world.decisions().len()),
        (Some(2), 0)
    );
    world.pass(1000).await;
    assert_eq!(world.decisions(), [(5, DecisionName::Delivered)]);
    let record = world.path.records.lock().unwrap()[0].clone();
    assert_eq!(record.lease, 7);
    let attempts = world.meters.attempts();
    assert!(attempts.contains(&(
        tombola_core::campaign::Kind::Webhook,
        DecisionName::Delivered,
        1
    )));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_endpoints_concurrency_and_those_that_wait_go_on() {
    let world = World::plain().await;
    world.outside(1, 1..=20);
    world.topic.show_awards(0, 0, 1..=20);
    world.pass(1100).await;
    assert_eq!(world.distributor.most_in_flight(), 2);
    let (called, aside) = (
        world.decisions().len(),
        world.path.deferred.lock().unwrap().len(),
    );
    assert!(
        called >= 18 && called + aside == 20,
        "{called} called, {aside} set aside"
    );
    assert_eq!(world.topic.committed(0), Some(20));
}

#[tokio::test(start_paused = true)]
async fn copies_that_wait_too_long_for_a_permit_are_set_aside_at_the_pace_of_their_lane() {
    let setting = Setting {
        lasts: Duration::from_mins(1),
        ..Setting::default()
    };
    let world = World::new(setting).await;
    world.outside(1, 1..=12);
    world.topic.show_awards(0, 0, 1..=12);
    world.pass(900).await;
    assert_eq!(world.topic.committed(0), Some(2));
    world.pass(400).await;
    assert_eq!(world.topic.committed(0), Some(12));
    let deferred = world.path.deferred.lock().unwrap();
    assert_eq!(
        (world.path.claimed.lock().unwrap().len(), deferred.len()),
        (2, 10)
    );
    let mut until: Vec<i64> = deferred
        .iter()
        .map(|it| it.until.0 - world.clock.now().0)
        .collect();
    until.sort_unstable();
    // A call under way for a second, two at a time, a tenth sooner: the tenth that
    // waits is looked at after four and a half seconds, a fifth more or less.
    assert!(until[0] < 1_000_000, "{until:?}");
    assert!((3_000_000..5_500_000).contains(&until[9]), "{until:?}");
    assert_eq!(world.meters.deferred.get(), 10);
}

#[tokio::test(start_paused = true)]
async fn copies_beyond_the_bound_of_a_lane_do_not_wait_in_memory() {
    let world = World::new(Setting {
        lasts: Duration::from_mins(1),
        ..Setting::default()
    })
    .await;
    world.outside(1, 1..=500);
    world.topic.show_awards(0, 0, 1..=500);
    world.pass(100).await;
    let aside = world.path.deferred.lock().unwrap().len();
    assert_eq!(aside, 500 - 2 - limits::LANE_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn copies_of_all_lanes_that_wait_in_memory_are_bounded_together() {
    let endpoints: Vec<Endpoint> = (1..=6).map(endpoint).collect();
    let world = World::new(Setting {
        endpoints,
        lasts: Duration::from_mins(1),
        ..Setting::default()
    })
    .await;
    for lane in 1..=6 {
        let awards = lane * 1000..lane * 1000 + 300;
        world.outside(lane, awards.clone());
        world.topic.show_awards(0, lane * 1000, awards);
    }
    world.pass(300).await;
    let aside = world.path.deferred.lock().unwrap().len();
    assert_eq!(aside, 6 * 300 - 6 * 2 - limits::LANES_WAITING_MAX);
}
