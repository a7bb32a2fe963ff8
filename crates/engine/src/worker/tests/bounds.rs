//! Aim: the bounds of a worker as it is set by default, each at its bound and one past
//! it; waits to the step by which time passes here.

use super::*;
use tokio::sync::Semaphore;
use tombola_core::endpoint::Endpoint;

/// What [`World::pass`] advances by.
const STEP: u64 = 5;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap()
}

impl World {
    /// Almost the span passes, then the rest of it.
    async fn pass_almost(&self, span: Duration) {
        self.pass(millis(span) - STEP).await;
    }

    async fn pass_the_rest(&self) {
        self.pass(STEP).await;
    }
}

/// An endpoint that takes no end of calls, which take a minute.
fn slow(endpoint: Endpoint) -> Setting {
    Setting {
        endpoints: vec![endpoint],
        lasts: Duration::from_mins(1),
        ..Setting::default()
    }
}

#[tokio::test(start_paused = true)]
async fn member_is_asked_for_as_many_copies_as_the_bound_at_a_time() {
    let world = World::plain().await;
    world.topic.show_awards(0, 0, 1..=2000);
    world.pass(200).await;
    let asked_for = world.topic.asked_for.load(Ordering::Relaxed);
    assert_eq!(asked_for, limits::WORKER_POLL_MAX);
    assert_eq!(world.topic.committed(0), Some(2000));
}

#[tokio::test(start_paused = true)]
async fn partitions_pause_when_as_many_copies_as_the_bound_are_in_hand() {
    for (copies, pauses) in [
        (limits::WORKER_IN_HAND_MAX - 1, false),
        (limits::WORKER_IN_HAND_MAX, true),
    ] {
        let world = World::plain().await;
        let allowed = &world.path.deliveries_allowed;
        allowed.forget_permits(Semaphore::MAX_PERMITS);
        let copies = i64::try_from(copies).unwrap();
        world.topic.show_awards(0, 0, 1..=copies);
        world.pass(20).await;
        let asked = world.topic.asked.lock().unwrap();
        let has_paused = asked.iter().any(|it| matches!(it, Asked::Paused(_)));
        assert_eq!(has_paused, pauses, "{copies} in hand");
    }
}

#[tokio::test(start_paused = true)]
async fn copies_are_claimed_and_set_aside_in_steps_of_the_bound() {
    let options = WorkerOptions {
        poll_max: 3 * limits::STEP_ROWS_MAX,
        ..WorkerOptions::default()
    };
    let copies = limits::STEP_ROWS_MAX + 500;
    let awards = 1..=i64::try_from(copies).unwrap();
    // Each copy of a disabled endpoint is claimed, to be held.
    let off = Endpoint {
        is_enabled: false,
        ..endpoint(1)
    };
    let world = World::new(Setting {
        options: options.clone(),
        ..slow(off)
    })
    .await;
    world.outside(1, awards.clone());
    world.topic.show_awards(0, 0, awards.clone());
    world.pass(20).await;
    let sizes = world.path.claim_sizes.lock().unwrap().clone();
    assert_eq!(sizes, [limits::STEP_ROWS_MAX, 500]);
    // Of those of an endpoint that is busy most are set aside at once.
    let world = World::new(Setting {
        options,
        ..slow(endpoint(1))
    })
    .await;
    world.outside(1, awards.clone());
    world.topic.show_awards(0, 0, awards);
    world.pass(20).await;
    let sizes = world.path.defer_sizes.lock().unwrap().clone();
    let beyond = 500 - limits::LANE_WAITING_MAX - 2;
    assert_eq!(sizes, [limits::STEP_ROWS_MAX, beyond]);
}

#[tokio::test(start_paused = true)]
async fn copy_waits_in_memory_for_its_permit_as_long_as_the_bound_says() {
    let world = World::new(slow(endpoint(1))).await;
    world.outside(1, 1..=3);
    world.topic.show_awards(0, 0, 1..=3);
    let aside = || world.path.deferred.lock().unwrap().len();
    world.pass_almost(limits::LANE_WAIT_MAX).await;
    assert_eq!(aside(), 0);
    world.pass_the_rest().await;
    assert_eq!(aside(), 1);
}

#[tokio::test(start_paused = true)]
async fn call_is_claimed_as_far_ahead_of_its_turn_as_the_bound_says_and_no_farther() {
    let step = Duration::from_millis(STEP);
    for (interval, claimed) in [
        (limits::CALL_AHEAD_MAX, 2),
        (limits::CALL_AHEAD_MAX + step, 1),
    ] {
        let paced = Endpoint {
            concurrency: 10,
            interval: Some(interval),
            ..endpoint(1)
        };
        let world = World::new(slow(paced)).await;
        world.outside(1, [1, 2]);
        world.topic.show_awards(0, 0, [1, 2]);
        world.pass(0).await;
        assert_eq!(world.path.claimed.lock().unwrap().len(), claimed);
        world.pass_the_rest().await;
        assert_eq!(world.path.claimed.lock().unwrap().len(), 2);
        assert_eq!(world.distributor.begun.lock().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn call_begins_when_its_lease_is_as_long_as_its_deadline_and_the_time_to_record_it() {
    let needed = endpoint(1).timeout + limits::RECORD_ALLOWANCE;
    for (lease_time, begins) in [
        (needed, 1),
        (needed.saturating_sub(Duration::from_micros(1)), 0),
    ] {
        let world = World::plain().await;
        *world.path.lease_time.lock().unwrap() = lease_time;
        world.outside(1, [1]);
        world.topic.show_awards(0, 0, [1]);
        world.pass(0).await;
        assert_eq!(world.distributor.begun.lock().unwrap().len(), begins);
        assert_eq!(world.path.given_back.lock().unwrap().len(), 1 - begins);
    }
}

#[tokio::test(start_paused = true)]
async fn distributor_that_hangs_is_cut_off_at_its_deadline_and_the_time_beyond_it() {
    let world = World::new(slow(endpoint(1))).await;
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world
        .pass_almost(endpoint(1).timeout + limits::CALL_OVERTIME)
        .await;
    assert_eq!(world.decisions(), []);
    world.pass_the_rest().await;
    assert_eq!(world.decisions(), [(1, DecisionName::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_asks_for_it_is_disabled_in_as_many_tries_as_the_bound() {
    let world = World::new(Setting {
        answer: |_| status(410),
        ..Setting::default()
    })
    .await;
    world.catalog.is_away.store(true, Ordering::Relaxed);
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(10_000).await;
    let tries = world.catalog.tries.load(Ordering::Relaxed);
    assert_eq!(tries, limits::ENDPOINT_DISABLE_TRIES_MAX);
    assert_eq!(world.decisions(), [(1, DecisionName::Hold)]);
}

#[tokio::test(start_paused = true)]
async fn moved_offset_is_committed_when_the_interval_since_the_last_time_is_over() {
    let world = World::plain().await;
    for (offset, before) in [(0, None), (1, Some(1))] {
        world.topic.show_awards(0, offset, [offset]);
        world.pass_almost(limits::OFFSET_COMMIT_INTERVAL).await;
        assert_eq!(world.topic.committed(0), before);
        world.pass_the_rest().await;
        assert_eq!(world.topic.committed(0), Some(offset + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn commit_that_hangs_holds_the_worker_up_as_long_as_the_bound_and_comes_again_later() {
    let world = World::plain().await;
    let delivered = || world.path.delivered.lock().unwrap().len();
    world.topic.hangs.store(true, Ordering::Relaxed);
    world.topic.show_awards(0, 0, [1]);
    world.pass(millis(limits::OFFSET_COMMIT_INTERVAL)).await;
    world.topic.show_awards(0, 1, [2]);
    world.pass_almost(limits::OFFSET_COMMIT_TIMEOUT).await;
    assert_eq!(delivered(), 1);
    world.pass_the_rest().await;
    assert_eq!(delivered(), 2);
    // Counted from the beginning of the commit that failed.
    world.topic.hangs.store(false, Ordering::Relaxed);
    let again = limits::OFFSET_COMMIT_AGAIN.saturating_sub(limits::OFFSET_COMMIT_TIMEOUT);
    world.pass_almost(again).await;
    assert_eq!(world.topic.committed(0), None);
    world.pass_the_rest().await;
    assert_eq!(world.topic.committed(0), Some(2));
}

#[tokio::test(start_paused = true)]
async fn worker_that_stops_waits_for_its_group_as_long_as_the_bound() {
    let world = World::plain().await;
    world.topic.hangs.store(true, Ordering::Relaxed);
    let (clock, began) = (Arc::clone(&world.clock), world.clock.monotonic());
    world.stop().await;
    assert_eq!(
        clock.monotonic().saturating_sub(began),
        limits::GROUP_LEAVE_TIMEOUT
    );
}

#[tokio::test(start_paused = true)]
async fn topic_that_is_away_is_asked_again_after_the_longest_wait() {
    let world = World::plain().await;
    let away = TopicError::Unavailable("away".to_owned());
    world.topic.poll_errors.lock().unwrap().push(away);
    world.topic.show(Polled::Messages(vec![]));
    world.pass(0).await;
    world.topic.show_awards(0, 0, [1]);
    let delivered = || world.path.delivered.lock().unwrap().len();
    world.pass_almost(*limits::STORE_BACKOFF.end()).await;
    assert_eq!(delivered(), 0);
    world.pass_the_rest().await;
    assert_eq!(delivered(), 1);
}
