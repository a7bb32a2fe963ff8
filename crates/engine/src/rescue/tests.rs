//! Rescue over a store that says which rows are due.

use super::*;
use crate::breaker::BreakerState;
use crate::fakes::{FakeCatalog, FakePath, FakeTopic, ORIGIN, Says, TokioClock, endpoint, handoff};
use tombola_core::AwardId;
use tombola_core::ports::{DueLanes, StoreError};

struct World {
    rescuer: Rescuer,
    path: Arc<FakePath>,
    topic: Arc<FakeTopic>,
    lanes: Arc<Lanes>,
    clock: Arc<TokioClock>,
    meters: Arc<Meters>,
}

impl World {
    async fn new(due: &[i64]) -> Self {
        let (path, topic, clock) = (FakePath::new(), FakeTopic::new(), TokioClock::new());
        let meters = Arc::new(Meters::new());
        let lanes = Arc::new(Lanes::new(Arc::clone(&clock) as _, Arc::clone(&meters)));
        lanes
            .reload(&*FakeCatalog::with(vec![endpoint(1), endpoint(2)]))
            .await
            .unwrap();
        *path.lanes.lock().unwrap() = DueLanes {
            due: due.to_vec(),
            next: None,
        };
        let publisher = Publisher::new(
            Arc::clone(&topic) as _,
            Arc::clone(&path) as _,
            Arc::clone(&clock) as _,
            Arc::clone(&meters),
            Arc::from(ORIGIN),
        );
        let rescuer = Rescuer::new(RescuerParts {
            path: Arc::clone(&path) as _,
            topic: Arc::clone(&topic) as _,
            group: "lottery".to_owned(),
            publisher: Arc::new(publisher),
            lanes: Arc::clone(&lanes),
            clock: Arc::clone(&clock) as _,
            meters: Arc::clone(&meters),
        });
        Self {
            rescuer,
            path,
            topic,
            lanes,
            clock,
            meters,
        }
    }

    fn lanes_asked(&self) -> Vec<i64> {
        self.path
            .queries
            .lock()
            .unwrap()
            .iter()
            .map(|query| query.lane)
            .collect()
    }

    /// Calls of lane 1 fail until its breaker opens.
    fn break_lane(&self) {
        for _ in 0..limits::BREAKER_FAILURES_IN_ROW {
            match self.lanes.admit(1, Duration::ZERO) {
                crate::lanes::Admission::Permit(permit) => permit.end(false, Duration::ZERO),
                other @ (crate::lanes::Admission::Disabled | crate::lanes::Admission::Wait(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }
}

fn cursor(n: i64) -> DueCursor {
    DueCursor {
        due_at: Timestamp(n),
        award: AwardId(n),
    }
}

/// Page number `n` of a lane, of `pages`, one message each.
fn page(after: Option<DueCursor>, pages: i64, with_message: bool) -> DuePage {
    let n = after.map_or(0, |cursor| cursor.award.0) + 1;
    DuePage {
        handoffs: if with_message {
            vec![handoff(n, Timestamp(0))]
        } else {
            vec![]
        },
        rescued: if with_message {
            vec![(AwardId(n), State::Pending)]
        } else {
            vec![]
        },
        seen: 1,
        next: (n < pages).then(|| cursor(n)),
        ..DuePage::default()
    }
}

#[tokio::test(start_paused = true)]
async fn page_is_taken_while_the_one_before_is_marked_and_the_round_ends_with_all_marks_written() {
    let mut world = World::new(&[0]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, 4, true))
    });
    let (path, topic) = (Arc::clone(&world.path), Arc::clone(&world.topic));
    path.marks_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    let mut round = std::pin::pin!(world.rescuer.run_once());
    assert!(futures_util::poll!(round.as_mut()).is_pending());
    // The second page is in hand, and not on the topic: the first one's marks come first.
    assert_eq!(path.queries.lock().unwrap().len(), 2);
    assert_eq!(*topic.batches.lock().unwrap(), [1]);
    path.marks_allowed.add_permits(100);
    assert_eq!(round.await.unwrap().published, 4);
    let marked: Vec<i64> = path
        .marks
        .lock()
        .unwrap()
        .iter()
        .map(|it| it.award.0)
        .collect();
    assert_eq!(marked, [1, 2, 3, 4]);
}

/// What it published would lie on a topic that ends with the process.
#[tokio::test(start_paused = true)]
async fn round_ends_with_the_page_in_hand_once_the_process_stops() {
    let mut world = World::new(&[0]).await;
    let tasks = Tasks::new();
    world.rescuer.tasks = Some(tasks.clone());
    FakePath::say(&world.path.on_due, move |query: &DueQuery| {
        tasks.stop();
        Ok(page(query.after, 9, true))
    });
    let round = world.rescuer.run_once().await.unwrap();
    assert_eq!((round.published, round.has_more), (1, true));
}

#[tokio::test(start_paused = true)]
async fn round_that_lasts_asks_again_how_far_the_group_has_come() {
    let mut world = World::new(&[0]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, 9, true))
    });
    // Each page takes a third of a second, for which its marks are tried in vain.
    FakePath::say(&world.path.on_mark, |_| {
        Err(StoreError::Unavailable("away".to_owned()))
    });
    world.rescuer.run_once().await.unwrap();
    let queries = world.path.queries.lock().unwrap();
    // The epoch tells answers apart: it is another after each publish.
    let epoch = |query: &DueQuery| query.group.as_ref().unwrap().epoch;
    let mut answers: Vec<i64> = queries.iter().map(epoch).collect();
    assert_eq!(answers.len(), 9);
    answers.dedup();
    assert_eq!(answers.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn marks_are_written_although_the_next_page_cannot_be_read() {
    let mut world = World::new(&[0]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| match query.after {
        None => Ok(page(None, 2, true)),
        Some(_) => Err(StoreError::Unavailable("away".to_owned())),
    });
    assert!(world.rescuer.run_once().await.is_err());
    assert_eq!(world.path.marks.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn lanes_are_served_in_turn_page_by_page_until_nothing_more_is_due() {
    let mut world = World::new(&[0, 1]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, if query.lane == 0 { 3 } else { 2 }, true))
    });
    let round = world.rescuer.run_once().await.unwrap();
    assert_eq!(world.lanes_asked(), [0, 1, 0, 1, 0]);
    assert_eq!(
        (round.published, round.rescued, round.seen, round.has_more),
        (5, 5, 5, false)
    );
    assert_eq!(world.path.marks.lock().unwrap().len(), 5);
    assert!(world.meters.rescued().contains(&(State::Pending, 5)));
    world.path.queries.lock().unwrap().clear();
    world.rescuer.run_once().await.unwrap();
    assert_eq!(world.lanes_asked()[..2], [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn rows_that_only_wait_are_passed_by_and_the_next_round_goes_on_behind_them() {
    let mut world = World::new(&[0]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, 20, false))
    });
    let round = world.rescuer.run_once().await.unwrap();
    assert!(round.has_more);
    assert_eq!(world.lanes_asked().len(), limits::RESCUE_IDLE_STEPS_MAX);
    let round = world.rescuer.run_once().await.unwrap();
    assert!(!round.has_more);
    let queries = world.path.queries.lock().unwrap();
    assert_eq!(
        queries[limits::RESCUE_IDLE_STEPS_MAX].after,
        Some(cursor(16))
    );
    assert_eq!(queries.len(), 20);
    assert!(
        queries
            .iter()
            .all(|query| query.limit == limits::RESCUE_BATCH_MAX)
    );
}

/// What they wait for is the workers, who ask the same database.
#[tokio::test(start_paused = true)]
async fn rows_that_only_wait_are_passed_by_at_a_pace_and_those_that_are_rescued_at_none() {
    let mut world = World::new(&[0]).await;
    let second = usize::try_from(limits::RESCUE_PASSED_BY_PER_SECOND).unwrap();
    let of_page = second / limits::RESCUE_IDLE_STEPS_MAX;
    let mut waits = Vec::new();
    for (seen, rescued) in [(of_page / 4, 0), (9 * of_page, 0), (of_page, of_page)] {
        FakePath::say(&world.path.on_due, move |query: &DueQuery| {
            Ok(DuePage {
                seen,
                rescued: vec![(AwardId(1), State::Pending); rescued],
                ..page(query.after, i64::MAX, false)
            })
        });
        let round = world.rescuer.run_once().await.unwrap();
        assert!(round.has_more);
        waits.push(world.rescuer.wait_after(&round));
    }
    let most = limits::RESCUE_INTERVAL;
    assert_eq!(waits, [most / 4, most, limits::RESCUE_INTERVAL_MIN]);
}

#[tokio::test(start_paused = true)]
async fn round_is_bounded_in_steps_and_says_that_there_is_more() {
    let mut world = World::new(&[0]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, i64::MAX, true))
    });
    let round = world.rescuer.run_once().await.unwrap();
    assert!(round.has_more);
    assert_eq!(
        (world.lanes_asked().len(), round.published),
        (limits::RESCUE_STEPS_MAX, limits::RESCUE_STEPS_MAX)
    );
}

#[tokio::test(start_paused = true)]
async fn open_breaker_of_a_lane_is_told_to_the_store_and_half_open_lets_a_probe_batch_through() {
    let mut world = World::new(&[1, 2]).await;
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        Ok(page(query.after, 5, false))
    });
    world.break_lane();
    world.rescuer.run_once().await.unwrap();
    let asked = |world: &World| {
        let mut queries = world.path.queries.lock().unwrap();
        let of_lane_1: Vec<_> = queries
            .drain(..)
            .filter(|it| it.lane == 1)
            .map(|it| (it.is_breaker_open, it.limit))
            .collect();
        of_lane_1
    };
    assert_eq!(asked(&world), [(true, limits::RESCUE_BATCH_MAX)]);
    tokio::time::advance(limits::BREAKER_OPEN_FIRST).await;
    assert_eq!(world.lanes.breaker_state(1), BreakerState::HalfOpen);
    world.rescuer.run_once().await.unwrap();
    assert_eq!(asked(&world), [(false, limits::RESCUE_PROBE_ROWS)]);
}

#[tokio::test(start_paused = true)]
async fn while_the_topic_fails_one_probe_batch_goes_each_interval_and_no_other_row_is_rewritten() {
    let mut world = World::new(&[0, 1]).await;
    world.topic.say(Says::NotTaken);
    FakePath::say(&world.path.on_due, |query: &DueQuery| {
        let handoffs = (0..10).map(|n| handoff(n, Timestamp(0))).collect();
        Ok(DuePage {
            handoffs,
            seen: 10,
            next: Some(cursor(query.lane)),
            ..DuePage::default()
        })
    });
    world.rescuer.run_once().await.unwrap();
    assert_eq!(world.lanes_asked(), [0]);
    for probes in 1..4 {
        for _ in 0..5 {
            world.rescuer.run_once().await.unwrap();
        }
        let milli = Duration::from_millis(1);
        tokio::time::advance(limits::RESCUE_PROBE_INTERVAL.saturating_sub(milli)).await;
        world.rescuer.run_once().await.unwrap();
        assert_eq!(world.lanes_asked().len(), probes);
        tokio::time::advance(milli).await;
    }
    assert!(
        world.path.queries.lock().unwrap()[1..]
            .iter()
            .all(|it| it.limit == limits::RESCUE_PROBE_ROWS)
    );
    world.topic.say(Says::Taken);
    world.rescuer.run_once().await.unwrap();
    assert!(world.rescuer.parts.publisher.is_closed());
}

#[tokio::test(start_paused = true)]
async fn probe_of_the_topic_that_finds_nothing_to_publish_is_given_back() {
    let mut world = World::new(&[0]).await;
    world.topic.say(Says::NotTaken);
    FakePath::say(&world.path.on_due, |_| {
        let handoffs = (0..10).map(|n| handoff(n, Timestamp(0))).collect();
        Ok(DuePage {
            handoffs,
            ..DuePage::default()
        })
    });
    world.rescuer.run_once().await.unwrap();
    tokio::time::advance(limits::RESCUE_PROBE_INTERVAL).await;
    FakePath::say(&world.path.on_due, |_| Ok(DuePage::default()));
    world.rescuer.run_once().await.unwrap();
    world.rescuer.run_once().await.unwrap();
    assert_eq!(world.lanes_asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn group_that_nobody_can_speak_of_in_time_is_passed_on_as_unknown() {
    let mut world = World::new(&[0]).await;
    for says in [Says::Taken, Says::NotTaken, Says::Nothing] {
        world.topic.say(says);
        let began = world.clock.monotonic();
        world.rescuer.run_once().await.unwrap();
        let took = world.clock.monotonic().saturating_sub(began);
        let waited = if says == Says::Nothing {
            limits::GROUP_POSITION_TIMEOUT
        } else {
            Duration::ZERO
        };
        assert_eq!(took, waited);
    }
    let queries = world.path.queries.lock().unwrap();
    let known: Vec<bool> = queries.iter().map(|query| query.group.is_some()).collect();
    assert_eq!(known, [true, false, false]);
    assert_eq!(world.meters.group(), None);
}

#[tokio::test(start_paused = true)]
async fn store_that_is_away_ends_the_round_and_the_next_begins_anew() {
    let mut world = World::new(&[0]).await;
    let mut times = 0;
    FakePath::say(&world.path.on_due, move |query: &DueQuery| {
        times += 1;
        if times == 2 {
            Err(StoreError::Unavailable("away".to_owned()))
        } else {
            Ok(page(query.after, 3, true))
        }
    });
    assert!(world.rescuer.run_once().await.is_err());
    let round = world.rescuer.run_once().await.unwrap();
    assert_eq!(round.published, 2);
    assert_eq!(world.path.queries.lock().unwrap()[2].after, Some(cursor(1)));
}

#[tokio::test(start_paused = true)]
async fn rescue_looks_at_the_next_due_date_but_within_its_interval() {
    let World {
        rescuer,
        path,
        clock,
        ..
    } = World::new(&[]).await;
    let (tasks, start) = (Tasks::new(), clock.now());
    let at = |millis| Some(start.plus(Duration::from_millis(millis)));
    path.lanes.lock().unwrap().next = at(300);
    let handle = rescuer.handle();
    tasks.spawn(rescuer.run(tasks.clone()));
    // (the next due date is said, time passes, looks so far)
    for (next, passes, looks) in [
        (at(300), 299, 1),
        (at(310), 2, 2),
        (at(60_000), 49, 2),
        (at(60_000), 1, 3),
        (None, 999, 3),
        (None, 1, 4),
        (None, 999, 4),
        (None, 1, 5),
    ] {
        settle().await;
        tokio::time::advance(Duration::from_millis(passes)).await;
        path.lanes.lock().unwrap().next = next;
        settle().await;
        assert_eq!(path.looks.lock().unwrap().len(), looks, "{next:?} {passes}");
    }
    handle.wake();
    tokio::time::advance(limits::RESCUE_INTERVAL_MIN).await;
    settle().await;
    tokio::time::advance(limits::RESCUE_INTERVAL_MIN).await;
    settle().await;
    assert_eq!(path.looks.lock().unwrap().len(), 6);
    tasks.stop();
    tasks.ended().await;
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
