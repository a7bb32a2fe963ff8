//! The worker between a topic that shows it messages, a store and endpoints.

use super::*;
use crate::fakes::{
    Asked, FakeCatalog, FakeDistributor, FakePath, FakeTopic, ORIGIN, TokioClock, endpoint, incoming, status,
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
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            endpoints: vec![endpoint(1)],
            lasts: Duration::from_millis(100),
            answer: |_| status(200),
            options: WorkerOptions::default(),
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
        let distributor = FakeDistributor::new(Arc::clone(&clock) as _, setting.lasts, setting.answer);
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
            options: setting.options,
        };
        topic.show(Polled::Assigned(vec![0, 1]));
        tasks.spawn(Worker::new(parts, tasks.clone()).run());
        let world = Self { path, topic, catalog, distributor, clock, meters, tasks };
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
        said.extend(awards.into_iter().map(|award| (AwardId(award), CopyAnswer::Outside { lane })));
    }

    fn decisions(&self) -> Vec<(i64, DecisionName)> {
        let records = self.path.records.lock().unwrap();
        records.iter().map(|record| (record.award.0, record.decision.name())).collect()
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

#[tokio::test(start_paused = true)]
async fn local_copies_are_delivered_in_a_batch_and_then_the_offset_moves() {
    let world = World::plain().await;
    world.path.deliveries_allowed.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 10, 1..=3);
    world.pass(500).await;
    assert_eq!(world.topic.committed(0), None);
    world.path.deliveries_allowed.add_permits(1);
    world.pass(200).await;
    assert_eq!(*world.path.delivered.lock().unwrap(), [[1, 2, 3]]);
    assert_eq!(world.topic.committed(0), Some(13));
    let topic = world.stop().await;
    assert_eq!(topic.asked.lock().unwrap().last(), Some(&Asked::Left));
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_no_awards_are_kept_with_their_reason_and_acknowledged() {
    let world = World::plain().await;
    let odd = |offset, value: Option<&[u8]>| {
        let mut one = incoming(0, offset, 1);
        one.value = value.map(Arc::from);
        one
    };
    let mut foreign = incoming(0, 3, 4);
    foreign.headers[0].1 = "another".to_owned();
    let messages =
        vec![incoming(0, 0, 1), odd(1, None), odd(2, Some(b"{")), foreign, incoming(0, 4, 5), incoming(0, 5, 6)];
    let no_award = CopyAnswer::NotOurs(KeptReason::NoAward);
    world.path.copies.lock().unwrap().insert(AwardId(5), no_award);
    world.topic.show(Polled::Messages(messages));
    world.pass(200).await;
    let kept: Vec<(i64, KeptReason)> =
        world.path.kept.lock().unwrap().iter().map(|it| (it.position.offset, it.reason)).collect();
    let expected =
        [(1, KeptReason::Empty), (2, KeptReason::Undecodable), (3, KeptReason::Foreign), (4, KeptReason::NoAward)];
    assert_eq!(kept, expected);
    assert_eq!(world.topic.committed(0), Some(6));
    assert_eq!(world.meters.messages_kept.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn offset_stays_before_a_bad_message_that_could_not_be_kept_yet() {
    let world = World::plain().await;
    let mut times = 0;
    FakePath::say(&world.path.on_keep, move |_| {
        times += 1;
        if times < 4 { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    });
    let mut bad = incoming(0, 1, 2);
    bad.value = None;
    world.topic.show(Polled::Messages(vec![incoming(0, 0, 1), bad, incoming(0, 2, 3)]));
    world.pass(100).await;
    assert_eq!(world.topic.committed(0), None);
    world.pass(1000).await;
    assert_eq!(world.topic.committed(0), Some(3));
}

#[tokio::test(start_paused = true)]
async fn batch_of_a_store_that_is_away_is_tried_again_and_its_offsets_stay() {
    let world = World::plain().await;
    let mut times = 0;
    FakePath::say(&world.path.on_deliver, move |_| {
        times += 1;
        if times < 6 { Err(StoreError::Unavailable("away".to_owned())) } else { Ok(()) }
    });
    world.topic.show_awards(1, 0, 1..=2);
    world.pass(700).await;
    assert_eq!((world.topic.committed(1), world.path.delivered.lock().unwrap().len()), (None, 0));
    world.pass(3000).await;
    assert_eq!(world.topic.committed(1), Some(2));
}

#[tokio::test(start_paused = true)]
async fn poison_row_is_found_by_halving_and_its_neighbours_are_delivered_within_a_second() {
    let world = World::plain().await;
    FakePath::say(&world.path.on_deliver, |copies: &Vec<Copy>| {
        let is_poisoned = copies.iter().any(|copy| copy.award == AwardId(33));
        if is_poisoned { Err(StoreError::Row("33".to_owned())) } else { Ok(()) }
    });
    world.topic.show_awards(0, 0, 1..=100);
    world.pass(200).await;
    let mut delivered: Vec<i64> = world.path.delivered.lock().unwrap().concat();
    delivered.sort_unstable();
    assert_eq!(delivered, (1..=100).filter(|award| *award != 33).collect::<Vec<_>>());
    assert_eq!(world.topic.committed(0), Some(100));
    assert_eq!(world.meters.row_failures.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_in_the_store_are_bounded() {
    let setting = Setting { options: WorkerOptions { poll_max: 1, ..WorkerOptions::default() }, ..Setting::default() };
    let world = World::new(setting).await;
    world.path.deliveries_allowed.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=20);
    world.pass(50).await;
    assert_eq!(world.path.begun.load(Ordering::Relaxed), i64::try_from(limits::WORKER_BATCHES_MAX).unwrap());
}

#[tokio::test(start_paused = true)]
async fn outside_copy_is_claimed_called_and_recorded_and_its_offset_moves_at_the_claim() {
    let world = World::new(Setting { lasts: Duration::from_millis(900), ..Setting::default() }).await;
    world.outside(1, [5]);
    world.topic.show_awards(0, 0, [5, 6]);
    world.pass(200).await;
    assert_eq!(*world.path.claimed.lock().unwrap(), [AwardId(5)]);
    assert_eq!((world.topic.committed(0), world.decisions().len()), (Some(2), 0));
    world.pass(1000).await;
    assert_eq!(world.decisions(), [(5, DecisionName::Delivered)]);
    let record = world.path.records.lock().unwrap()[0].clone();
    assert_eq!(record.lease, 7);
    let attempts = world.meters.attempts();
    assert!(attempts.contains(&(tombola_core::campaign::Kind::Webhook, DecisionName::Delivered, 1)));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_endpoints_concurrency_and_those_that_wait_go_on() {
    let world = World::plain().await;
    world.outside(1, 1..=20);
    world.topic.show_awards(0, 0, 1..=20);
    world.pass(1100).await;
    assert_eq!(world.distributor.most_in_flight(), 2);
    let (called, aside) = (world.decisions().len(), world.path.deferred.lock().unwrap().len());
    assert!(called >= 18 && called + aside == 20, "{called} called, {aside} set aside");
    assert_eq!(world.topic.committed(0), Some(20));
}

#[tokio::test(start_paused = true)]
async fn copies_that_wait_too_long_for_a_permit_are_set_aside_at_the_pace_of_their_lane() {
    let setting = Setting { lasts: Duration::from_secs(60), ..Setting::default() };
    let world = World::new(setting).await;
    world.outside(1, 1..=12);
    world.topic.show_awards(0, 0, 1..=12);
    world.pass(900).await;
    assert_eq!(world.topic.committed(0), Some(2));
    world.pass(400).await;
    assert_eq!(world.topic.committed(0), Some(12));
    let deferred = world.path.deferred.lock().unwrap();
    assert_eq!((world.path.claimed.lock().unwrap().len(), deferred.len()), (2, 10));
    let mut until: Vec<i64> = deferred.iter().map(|it| it.until.0 - world.clock.now().0).collect();
    until.sort_unstable();
    // 100 ms by guess in 2 at a time, a tenth sooner: the tenth waits half a second.
    assert!(until[9] - until[0] > 200_000 && until[9] < 600_000, "{until:?}");
    assert_eq!(world.meters.deferred.get(), 10);
}

#[tokio::test(start_paused = true)]
async fn copies_beyond_the_bound_of_a_lane_do_not_wait_in_memory() {
    let world = World::new(Setting { lasts: Duration::from_secs(60), ..Setting::default() }).await;
    world.outside(1, 1..=500);
    world.topic.show_awards(0, 0, 1..=500);
    world.pass(100).await;
    let aside = world.path.deferred.lock().unwrap().len();
    assert_eq!(aside, 500 - 2 - limits::LANE_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn copies_of_all_lanes_that_wait_in_memory_are_bounded_together() {
    let endpoints: Vec<Endpoint> = (1..=6).map(endpoint).collect();
    let world = World::new(Setting { endpoints, lasts: Duration::from_secs(60), ..Setting::default() }).await;
    for lane in 1..=6 {
        let awards = lane * 1000..lane * 1000 + 300;
        world.outside(lane, awards.clone());
        world.topic.show_awards(0, lane * 1000, awards);
    }
    world.pass(300).await;
    let aside = world.path.deferred.lock().unwrap().len();
    assert_eq!(aside, 6 * 300 - 6 * 2 - limits::LANES_WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_calls_than_the_endpoints_rate_and_none_comes_in_a_burst() {
    let paced = Endpoint { interval: Some(Duration::from_millis(50)), concurrency: 100, ..endpoint(1) };
    let world = World::new(Setting { endpoints: vec![paced], ..Setting::default() }).await;
    world.outside(1, 1..=90);
    for part in 0..9 {
        world.topic.show_awards(0, part * 10, part * 10 + 1..=part * 10 + 10);
        world.pass(500).await;
    }
    let begun: Vec<Duration> = world.distributor.begun.lock().unwrap().iter().map(|(at, _)| *at).collect();
    assert!(begun.len() >= 80, "{}", begun.len());
    for first in &begun {
        let second = begun.iter().filter(|it| *it >= first && **it < *first + Duration::from_secs(1)).count();
        assert!(second <= 20, "{second} calls in a second");
    }
    assert!(begun.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(40)));
}

#[tokio::test(start_paused = true)]
async fn failing_endpoint_is_left_alone_and_probed_by_one_call_at_a_time() {
    let many = Endpoint { concurrency: 100, ..endpoint(1) };
    let world = World::new(Setting { endpoints: vec![many], answer: |_| status(503), ..Setting::default() }).await;
    world.outside(1, 1..=200);
    world.topic.show_awards(0, 0, 1..=10);
    world.pass(200).await;
    let calls = |world: &World| world.distributor.begun.lock().unwrap().len();
    assert_eq!(calls(&world), 10);
    world.topic.show_awards(0, 10, 11..=50);
    world.pass(5000).await;
    assert_eq!((calls(&world), world.path.deferred.lock().unwrap().len()), (10, 40));
    let opens = world.clock.now().plus(limits::BREAKER_OPEN_FIRST / 4);
    assert!(world.path.deferred.lock().unwrap().iter().all(|it| it.until > opens));
    world.pass(5500).await;
    world.topic.show_awards(0, 50, 51..=90);
    world.pass(50).await;
    assert_eq!(calls(&world), 11);
    world.pass(15_000).await;
    assert_eq!(calls(&world), 11);
}

#[tokio::test(start_paused = true)]
async fn award_of_a_disabled_endpoint_is_held_without_a_call() {
    let off = Endpoint { is_enabled: false, ..endpoint(1) };
    let world = World::new(Setting { endpoints: vec![off], ..Setting::default() }).await;
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(200).await;
    let record = world.path.records.lock().unwrap()[0].clone();
    assert_eq!(record.decision, Decision::Hold(HoldReason::EndpointDisabled));
    assert_eq!(world.distributor.begun.lock().unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_answers_410_is_disabled_and_gets_no_further_call() {
    let one = Endpoint { concurrency: 1, ..endpoint(1) };
    let world = World::new(Setting { endpoints: vec![one], answer: |_| status(410), ..Setting::default() }).await;
    world.outside(1, 1..=5);
    world.topic.show_awards(0, 0, 1..=5);
    world.pass(500).await;
    assert_eq!(*world.catalog.disabled.lock().unwrap(), [1]);
    assert_eq!(world.distributor.begun.lock().unwrap().len(), 1);
    assert_eq!(world.decisions().len(), 5);
    assert!(world.decisions().iter().all(|(_, decision)| *decision == DecisionName::Hold));
}

#[tokio::test(start_paused = true)]
async fn endpoint_made_after_the_last_look_is_looked_up() {
    let world = World::new(Setting { endpoints: vec![], ..Setting::default() }).await;
    *world.catalog.endpoints.lock().unwrap() = vec![endpoint(4)];
    world.outside(4, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(300).await;
    assert_eq!(world.decisions(), [(1, DecisionName::Delivered)]);
}

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
    let world = World::new(Setting { answer, ..Setting::default() }).await;
    world.outside(1, [1, 2, 3]);
    world.topic.show_awards(0, 0, [1, 2, 3]);
    world.pass(500).await;
    let mut decisions = world.decisions();
    decisions.sort_unstable();
    let expected = [(1, DecisionName::Unknown), (2, DecisionName::Delivered), (3, DecisionName::Delivered)];
    assert_eq!(decisions, expected);
    let hanging = World::new(Setting { lasts: Duration::from_hours(1), ..Setting::default() }).await;
    hanging.outside(1, [1]);
    hanging.topic.show_awards(0, 0, [1]);
    hanging.pass(2100).await;
    assert_eq!(hanging.decisions(), [(1, DecisionName::Unknown)]);
}

#[tokio::test(start_paused = true)]
async fn results_of_a_revoked_partition_are_dropped_and_nothing_of_it_is_committed() {
    let world = World::plain().await;
    world.path.deliveries_allowed.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=3);
    world.topic.show_awards(1, 7, [9]);
    world.pass(20).await;
    world.topic.show(Polled::Revoked(vec![0]));
    world.topic.show(Polled::Assigned(vec![0]));
    world.pass(20).await;
    world.path.deliveries_allowed.add_permits(10);
    world.pass(300).await;
    assert_eq!((world.topic.committed(0), world.topic.committed(1)), (None, Some(8)));
    world.topic.show_awards(0, 0, 1..=3);
    world.pass(300).await;
    assert_eq!(world.topic.committed(0), Some(3));
}

#[tokio::test(start_paused = true)]
async fn commit_of_a_lost_generation_moves_nothing_and_is_tried_again() {
    let world = World::plain().await;
    world.topic.commit_errors.lock().unwrap().push(TopicError::LostGeneration);
    world.topic.show_awards(0, 0, [1]);
    world.pass(50).await;
    assert_eq!(world.topic.committed(0), None);
    world.pass(300).await;
    assert_eq!(world.topic.committed(0), Some(1));
}

#[tokio::test(start_paused = true)]
async fn partitions_pause_at_the_bound_of_copies_in_hand_and_resume_at_half_of_it() {
    let options = WorkerOptions { in_hand_max: 100, poll_max: 40, ..WorkerOptions::default() };
    let world = World::new(Setting { options, ..Setting::default() }).await;
    world.path.deliveries_allowed.forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=100);
    world.pass(20).await;
    let asked = || -> Vec<Asked> {
        let asked = world.topic.asked.lock().unwrap();
        asked.iter().filter(|it| !matches!(it, Asked::Committed(_))).cloned().collect()
    };
    assert!(matches!(&asked()[..], [Asked::Paused(partitions)] if partitions.len() == 2));
    // A partition that comes now has to pause as well.
    world.topic.show(Polled::Assigned(vec![2]));
    world.pass(20).await;
    assert!(matches!(&asked()[..], [_, Asked::Paused(partitions)] if partitions.len() == 3));
    world.path.deliveries_allowed.add_permits(50);
    world.pass(20).await;
    assert!(matches!(&asked()[..], [_, _, Asked::Resumed(partitions)] if partitions.len() == 3));
}

#[tokio::test(start_paused = true)]
async fn record_is_tried_while_the_store_is_away_until_the_lease_is_over() {
    let world = World::plain().await;
    FakePath::say(&world.path.on_record, |_: &Vec<Record>| Err(StoreError::Unavailable("away".to_owned())));
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
    let many = Endpoint { concurrency: 100, ..endpoint(1) };
    let world = World::new(Setting { endpoints: vec![many], ..Setting::default() }).await;
    FakePath::say(&world.path.on_record, |records: &Vec<Record>| {
        let is_bad = records.iter().any(|record| record.award == AwardId(3));
        if is_bad { Err(StoreError::Inconsistent("3".to_owned())) } else { Ok(()) }
    });
    world.outside(1, 1..=8);
    world.topic.show_awards(0, 0, 1..=8);
    world.pass(500).await;
    let mut recorded: Vec<i64> = world.decisions().into_iter().map(|(award, _)| award).collect();
    recorded.sort_unstable();
    assert_eq!(recorded, [1, 2, 4, 5, 6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn stop_gives_back_claims_whose_call_has_not_begun_and_finishes_those_that_have() {
    let slow = Endpoint { concurrency: 10, interval: Some(Duration::from_millis(200)), ..endpoint(1) };
    let setting = Setting { endpoints: vec![slow], lasts: Duration::from_millis(800), ..Setting::default() };
    let world = World::new(setting).await;
    world.outside(1, 1..=4);
    world.topic.show_awards(0, 0, 1..=4);
    world.pass(60).await;
    // The first is under way, the second is claimed ahead of its turn, two wait.
    assert_eq!((world.distributor.begun.lock().unwrap().len(), world.path.claimed.lock().unwrap().len()), (1, 2));
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
    let world = World::new(Setting { lasts: Duration::from_secs(60), ..Setting::default() }).await;
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
