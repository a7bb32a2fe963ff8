//! The relay between a desk that hands over, a broker and a store.

use super::*;
use crate::fakes::{FakePath, FakeTopic, ORIGIN, Says, TokioClock, handoff};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position};
use tombola_core::ports::{AwardPath, Clock, StoreError};

struct World<R = Relay> {
    handle: RelayHandle,
    relay: R,
    publisher: Arc<Publisher>,
    path: Arc<FakePath>,
    topic: Arc<FakeTopic>,
    clock: Arc<TokioClock>,
    meters: Arc<Meters>,
}

impl World {
    fn new(waiting_max: usize) -> Self {
        let (path, topic, clock) = (FakePath::new(), FakeTopic::new(), TokioClock::new());
        let meters = Arc::new(Meters::new());
        let publisher = Arc::new(Publisher::new(
            Arc::clone(&topic) as _,
            Arc::clone(&path) as Arc<dyn AwardPath>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&meters),
            Arc::from(ORIGIN),
        ));
        let (handle, relay) = Relay::new(Arc::clone(&publisher), waiting_max, Arc::clone(&meters));
        Self {
            handle,
            relay,
            publisher,
            path,
            topic,
            clock,
            meters,
        }
    }

    /// Its relay runs by itself.
    fn run(self) -> (World<()>, Tasks) {
        let tasks = Tasks::new();
        tasks.spawn(self.relay.run(tasks.clone()));
        let world = World {
            handle: self.handle,
            relay: (),
            publisher: self.publisher,
            path: self.path,
            topic: self.topic,
            clock: self.clock,
            meters: self.meters,
        };
        (world, tasks)
    }
}

impl<R> World<R> {
    fn offer(&self, awards: std::ops::Range<i64>) {
        let now = self.clock.now();
        self.handle
            .offer(awards.map(|award| handoff(award, now)).collect());
    }

    fn marks(&self) -> Vec<(i64, Mark)> {
        self.path
            .marks
            .lock()
            .unwrap()
            .iter()
            .map(|mark| (mark.award.0, mark.mark))
            .collect()
    }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn message_is_published_with_its_key_and_headers_and_marked_with_the_epoch_before_the_publish()
 {
    let mut world = World::new(10);
    let mut one = handoff(7, world.clock.now());
    one.traceparent = Some(Arc::from("00-1-2-01"));
    world.handle.offer(vec![one.clone()]);
    assert_eq!(
        world.relay.run_once().await,
        RelayStep {
            published: 1,
            dropped: 0
        }
    );
    let published = world.topic.published.lock().unwrap();
    assert_eq!(
        (published[0].key.as_str(), &*published[0].value),
        ("u1", &*one.message.encode())
    );
    let headers: Vec<(&str, &str)> = published[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("message-id", "7-abcdefghijkl"),
            ("origin", ORIGIN),
            ("content-type", "application/json"),
            ("traceparent", "00-1-2-01"),
        ]
    );
    assert_eq!(
        world.marks(),
        [(
            7,
            Mark::Taken(Position {
                epoch: 9,
                partition: 3,
                offset: 0
            })
        )]
    );
    assert_eq!(world.handle.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn handoffs_beyond_the_bound_are_dropped_and_counted() {
    let mut world = World::new(5);
    world.offer(0..3);
    world.offer(3..9);
    assert_eq!(
        (world.handle.waiting(), world.meters.handoffs_dropped.get()),
        (5, 4)
    );
    assert_eq!(world.relay.run_once().await.published, 5);
    world.offer(9..10);
    assert_eq!(world.relay.run_once().await.published, 1);
}

#[tokio::test(start_paused = true)]
async fn handoff_that_rescue_may_own_is_dropped() {
    let mut world = World::new(10);
    let milli = Duration::from_millis(1);
    world.offer(0..2);
    tokio::time::advance(milli).await;
    world.offer(2..3);
    tokio::time::advance(limits::HANDOFF_AGE_MAX.saturating_sub(milli)).await;
    assert_eq!(
        world.relay.run_once().await,
        RelayStep {
            published: 1,
            dropped: 2
        }
    );
    assert_eq!(world.meters.handoffs_dropped.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn batch_is_no_larger_than_its_bound() {
    let mut world = World::new(10_000);
    world.offer(0..2500);
    while world.handle.waiting() > 0 {
        world.relay.run_once().await;
    }
    assert_eq!(*world.topic.batches.lock().unwrap(), [1000, 1000, 500]);
}

#[tokio::test(start_paused = true)]
async fn failures_open_the_breaker_and_then_handoffs_are_dropped_without_asking_the_broker() {
    let mut world = World::new(100);
    world.topic.say(Says::NotTaken);
    world.offer(0..10);
    world.relay.run_once().await;
    assert!(world.marks().iter().all(|(_, mark)| *mark == Mark::Failed));
    assert!(!world.publisher.is_closed());
    assert_eq!(world.meters.topic_breaker(), 2);
    world.topic.say(Says::Taken);
    world.offer(10..20);
    assert_eq!(
        world.relay.run_once().await,
        RelayStep {
            published: 0,
            dropped: 10
        }
    );
    assert_eq!(world.topic.batches.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn half_open_breaker_lets_one_small_batch_through_and_its_word_decides() {
    let mut world = World::new(100);
    world.topic.say(Says::NotTaken);
    world.offer(0..10);
    world.relay.run_once().await;
    for (says, is_closed) in [(Says::NotTaken, false), (Says::Taken, true)] {
        world.topic.say(says);
        tokio::time::advance(limits::RESCUE_PROBE_INTERVAL).await;
        world.offer(10..40);
        let probe = limits::RESCUE_PROBE_ROWS;
        let expected = RelayStep {
            published: probe,
            dropped: 30 - probe,
        };
        assert_eq!(world.relay.run_once().await, expected);
        assert_eq!(world.publisher.is_closed(), is_closed);
    }
    assert_eq!(*world.topic.batches.lock().unwrap(), [10, 10, 10]);
}

#[tokio::test(start_paused = true)]
async fn message_too_large_for_the_topic_is_refused_alone_and_never_given_to_the_broker() {
    let mut world = World::new(10);
    // A name of such a length that the message has so many bytes.
    let of_bytes = |award, bytes: usize| {
        let mut one = handoff(award, world.clock.now());
        let rest = bytes - one.message.encode().len();
        one.message.name.push_str(&"x".repeat(rest));
        one
    };
    let max = limits::MESSAGE_BYTES_MAX;
    world.handle.offer(vec![
        handoff(1, world.clock.now()),
        of_bytes(2, max + 1),
        of_bytes(3, max),
    ]);
    world.relay.run_once().await;
    let marks = world.marks();
    assert!(matches!(
        marks[..],
        [(1, Mark::Taken(_)), (2, Mark::Refused), (3, Mark::Taken(_))]
    ));
    assert_eq!(world.topic.published.lock().unwrap().len(), 2);
    assert!(world.publisher.is_closed());
}

#[tokio::test(start_paused = true)]
async fn broker_that_says_nothing_leaves_the_publish_unknown_before_rescue_owns_the_row() {
    let mut world = World::new(10);
    world.topic.say(Says::Nothing);
    world.offer(0..1);
    let began = world.clock.monotonic();
    world.relay.run_once().await;
    let took = world.clock.monotonic().saturating_sub(began);
    // Half a second more than a broker may take: its own word is better than none.
    assert_eq!(took, limits::PUBLISH_TIMEOUT + Duration::from_millis(500));
    assert!(took < limits::GRACE_FIRST);
    assert_eq!(world.marks(), [(0, Mark::Failed)]);
    assert_eq!(world.meters.publishes.unknown.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn full_batches_are_published_side_by_side_up_to_a_bound() {
    let (world, tasks) = World::new(10_000).run();
    world.topic.say(Says::Nothing);
    world.offer(0..9_000);
    settle().await;
    let batches = world.topic.batches.lock().unwrap().clone();
    assert_eq!(
        batches,
        [limits::RELAY_BATCH_MAX; limits::RELAY_BATCHES_MAX]
    );
    tasks.abandon();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn handoffs_that_fill_no_batch_wait_for_the_one_with_the_broker_and_go_together() {
    let (world, tasks) = World::new(10_000).run();
    let first = world.topic.hold_batch();
    for award in 0..5 {
        world.offer(award..award + 1);
        settle().await;
    }
    assert_eq!(*world.topic.batches.lock().unwrap(), [1]);
    drop(first);
    settle().await;
    assert_eq!(*world.topic.batches.lock().unwrap(), [1, 4]);
    tasks.stop();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn batch_that_is_reported_on_before_an_earlier_one_is_marked_after_it() {
    let (world, tasks) = World::new(10_000).run();
    let (first, second) = (world.topic.hold_batch(), world.topic.hold_batch());
    world.offer(0..2_000);
    settle().await;
    assert_eq!(*world.topic.batches.lock().unwrap(), [1_000, 1_000]);
    drop(second);
    settle().await;
    assert_eq!(world.marks(), []);
    drop(first);
    settle().await;
    let marked: Vec<i64> = world.marks().into_iter().map(|(award, _)| award).collect();
    assert_eq!(marked, (0..2_000).collect::<Vec<_>>());
    tasks.stop();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn broker_that_fails_with_batches_side_by_side_opens_the_breaker_once_and_marks_them_all() {
    let (world, tasks) = World::new(10_000).run();
    let held: Vec<_> = (0..3).map(|_| world.topic.hold_batch()).collect();
    world.topic.say(Says::NotTaken);
    world.offer(0..3_000);
    settle().await;
    drop(held);
    settle().await;
    assert_eq!(world.marks().len(), 3_000);
    assert!(world.marks().iter().all(|(_, mark)| *mark == Mark::Failed));
    assert!(!world.publisher.is_closed());
    world.topic.say(Says::Taken);
    tokio::time::advance(limits::RESCUE_PROBE_INTERVAL).await;
    world.offer(3_000..3_001);
    settle().await;
    assert!(world.publisher.is_closed());
    tasks.stop();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn marks_that_wait_while_others_are_written_are_written_together() {
    let (world, tasks) = World::new(10_000).run();
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&sizes);
    FakePath::say(&world.path.on_mark, move |marks: &Vec<MarkOf>| {
        seen.lock().unwrap().push(marks.len());
        Ok(())
    });
    world
        .path
        .marks_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    for award in 0..3 {
        world.offer(award..award + 1);
        settle().await;
    }
    world.path.marks_allowed.add_permits(100);
    settle().await;
    assert_eq!(*sizes.lock().unwrap(), [1, 2]);
    tasks.stop();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_every_batch_that_is_with_the_broker() {
    let (world, tasks) = World::new(10_000).run();
    let held = [world.topic.hold_batch(), world.topic.hold_batch()];
    world.offer(0..2_500);
    settle().await;
    tasks.stop();
    settle().await;
    assert_eq!(world.marks(), []);
    drop(held);
    tasks.ended().await;
    assert_eq!(world.marks().len(), 2_500);
}

#[tokio::test(start_paused = true)]
async fn next_batch_is_published_while_the_last_is_marked_up_to_a_bound() {
    let World {
        handle,
        relay,
        path,
        topic,
        clock,
        ..
    } = World::new(10_000);
    path.marks_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let tasks = Tasks::new();
    tasks.spawn(relay.run(tasks.clone()));
    for n in 0..10 {
        handle.offer(vec![handoff(n, clock.now())]);
        settle().await;
    }
    // One is being marked, two wait for it, one waits for room.
    assert_eq!(
        topic.batches.lock().unwrap().len(),
        limits::RELAY_MARKS_WAITING_MAX + 2
    );
    path.marks_allowed.add_permits(100);
    settle().await;
    assert_eq!(path.marks.lock().unwrap().len(), 10);
    tasks.stop();
    tasks.ended().await;
}

#[tokio::test(start_paused = true)]
async fn marks_of_a_store_that_is_away_are_tried_a_few_times_and_then_left_to_rescue() {
    let mut world = World::new(10);
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    FakePath::say(&world.path.on_mark, move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Unavailable("away".to_owned()))
    });
    world.offer(0..1);
    world.relay.run_once().await;
    assert_eq!(
        tries.load(Ordering::Relaxed),
        limits::MARK_TRIES_MAX as usize
    );
}

#[tokio::test(start_paused = true)]
async fn mark_that_cannot_be_written_does_not_keep_the_others_from_it() {
    let mut world = World::new(100);
    FakePath::say(&world.path.on_mark, |marks: &Vec<MarkOf>| {
        if marks.iter().any(|mark| mark.award == AwardId(5)) {
            Err(StoreError::Row("5".to_owned()))
        } else {
            Ok(())
        }
    });
    world.offer(0..9);
    world.relay.run_once().await;
    let marked: Vec<i64> = world.marks().into_iter().map(|(award, _)| award).collect();
    assert_eq!(marked, [0, 1, 2, 3, 4, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn stop_still_publishes_what_was_handed_over() {
    let World {
        handle,
        relay,
        path,
        clock,
        ..
    } = World::new(10_000);
    handle.offer((0..1500).map(|award| handoff(award, clock.now())).collect());
    let tasks = Tasks::new();
    tasks.stop();
    relay.run(tasks.clone()).await;
    tasks.ended().await;
    assert_eq!(path.marks.lock().unwrap().len(), 1500);
    handle.offer(vec![handoff(1, clock.now())]);
    assert_eq!(handle.waiting(), 0);
}
