//! Copies between the topic and the store: delivered, kept, tried again, halved; offsets.

use super::*;

#[tokio::test(start_paused = true)]
async fn local_copies_are_delivered_in_a_batch_and_then_the_offset_moves() {
    let world = World::plain().await;
    world
        .path
        .deliveries_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
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
    let messages = vec![
        incoming(0, 0, 1),
        odd(1, None),
        odd(2, Some(b"{")),
        foreign,
        incoming(0, 4, 5),
        incoming(0, 5, 6),
    ];
    let no_award = CopyAnswer::NotOurs(KeptReason::NoAward);
    world
        .path
        .copies
        .lock()
        .unwrap()
        .insert(AwardId(5), no_award);
    world.topic.show(Polled::Messages(messages));
    world.pass(200).await;
    let kept: Vec<(i64, KeptReason)> = world
        .path
        .kept
        .lock()
        .unwrap()
        .iter()
        .map(|it| (it.position.offset, it.reason))
        .collect();
    let expected = [
        (1, KeptReason::Empty),
        (2, KeptReason::Undecodable),
        (3, KeptReason::Foreign),
        (4, KeptReason::NoAward),
    ];
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
        if times < 4 {
            Err(StoreError::Unavailable("away".to_owned()))
        } else {
            Ok(())
        }
    });
    let mut bad = incoming(0, 1, 2);
    bad.value = None;
    world.topic.show(Polled::Messages(vec![
        incoming(0, 0, 1),
        bad,
        incoming(0, 2, 3),
    ]));
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
        if times < 6 {
            Err(StoreError::Unavailable("away".to_owned()))
        } else {
            Ok(())
        }
    });
    world.topic.show_awards(1, 0, 1..=2);
    world.pass(700).await;
    assert_eq!(
        (
            world.topic.committed(1),
            world.path.delivered.lock().unwrap().len()
        ),
        (None, 0)
    );
    world.pass(3000).await;
    assert_eq!(world.topic.committed(1), Some(2));
}

#[tokio::test(start_paused = true)]
async fn poison_row_is_found_by_halving_and_its_neighbours_are_delivered_within_a_second() {
    let world = World::plain().await;
    FakePath::say(&world.path.on_deliver, |copies: &Vec<Copy>| {
        let is_poisoned = copies.iter().any(|copy| copy.award == AwardId(33));
        if is_poisoned {
            Err(StoreError::Row("33".to_owned()))
        } else {
            Ok(())
        }
    });
    world.topic.show_awards(0, 0, 1..=100);
    world.pass(200).await;
    let mut delivered: Vec<i64> = world.path.delivered.lock().unwrap().concat();
    delivered.sort_unstable();
    assert_eq!(
        delivered,
        (1..=100).filter(|award| *award != 33).collect::<Vec<_>>()
    );
    assert_eq!(world.topic.committed(0), Some(100));
    assert_eq!(world.meters.row_failures.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn batches_in_the_store_are_bounded() {
    let setting = Setting {
        options: WorkerOptions {
            poll_max: 1,
            ..WorkerOptions::default()
        },
        ..Setting::default()
    };
    let world = World::new(setting).await;
    world
        .path
        .deliveries_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=20);
    world.pass(50).await;
    assert_eq!(
        world.path.begun.load(Ordering::Relaxed),
        i64::try_from(limits::WORKER_BATCHES_MAX).unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn results_of_a_revoked_partition_are_dropped_and_nothing_of_it_is_committed() {
    let world = World::plain().await;
    world
        .path
        .deliveries_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=3);
    world.topic.show_awards(1, 7, [9]);
    world.pass(20).await;
    world.topic.show(Polled::Revoked(vec![0]));
    world.topic.show(Polled::Assigned(vec![0]));
    world.pass(20).await;
    world.path.deliveries_allowed.add_permits(10);
    world.pass(300).await;
    assert_eq!(
        (world.topic.committed(0), world.topic.committed(1)),
        (None, Some(8))
    );
    world.topic.show_awards(0, 0, 1..=3);
    world.pass(300).await;
    assert_eq!(world.topic.committed(0), Some(3));
}

#[tokio::test(start_paused = true)]
async fn commit_that_fails_moves_nothing_and_is_tried_again() {
    let world = World::plain().await;
    let away = TopicError::Unavailable("away".to_owned());
    for (error, after) in [(TopicError::LostGeneration, 300), (away, 5200)] {
        world.topic.commit_errors.lock().unwrap().push(error);
        let before = world.topic.committed(0);
        let offset = before.unwrap_or(0);
        world.topic.show_awards(0, offset, [1]);
        world.pass(90).await;
        assert_eq!(world.topic.committed(0), before);
        world.pass(after).await;
        assert_eq!(world.topic.committed(0), Some(offset + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn topic_that_is_away_holds_up_nothing_that_is_in_hand() {
    let world = World::plain().await;
    world.outside(1, [1]);
    world.topic.show_awards(0, 0, [1]);
    world.pass(20).await;
    let away = TopicError::Unavailable("away".to_owned());
    world.topic.poll_errors.lock().unwrap().push(away);
    world.topic.show(Polled::Messages(vec![]));
    world.pass(20).await;
    world.topic.show_awards(0, 1, [2]);
    world.pass(200).await;
    assert_eq!(world.decisions(), [(1, DecisionName::Delivered)]);
    assert_eq!(world.path.delivered.lock().unwrap().concat(), [1]);
    world.pass(2000).await;
    assert_eq!(world.path.delivered.lock().unwrap().concat(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn partitions_pause_at_the_bound_of_copies_in_hand_and_resume_at_half_of_it() {
    let options = WorkerOptions {
        in_hand_max: 100,
        poll_max: 40,
        ..WorkerOptions::default()
    };
    let world = World::new(Setting {
        options,
        ..Setting::default()
    })
    .await;
    world
        .path
        .deliveries_allowed
        .forget_permits(tokio::sync::Semaphore::MAX_PERMITS);
    world.topic.show_awards(0, 0, 1..=100);
    world.pass(20).await;
    let asked = || -> Vec<Asked> {
        let asked = world.topic.asked.lock().unwrap();
        asked
            .iter()
            .filter(|it| !matches!(it, Asked::Committed(_)))
            .cloned()
            .collect()
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
async fn bytes_of_a_message_that_is_kept_are_bounded() {
    let world = World::plain().await;
    let mut large = incoming(0, 0, 1);
    large.value = Some(Arc::from(vec![b'x'; limits::KEPT_MESSAGE_BYTES_MAX + 1]));
    world.topic.show(Polled::Messages(vec![large]));
    world.pass(200).await;
    let kept = world.path.kept.lock().unwrap();
    let bytes = kept[0].value.as_ref().map(Vec::len);
    assert_eq!(
        (kept[0].reason, bytes),
        (
            KeptReason::Undecodable,
            Some(limits::KEPT_MESSAGE_BYTES_MAX)
        )
    );
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_once_in_their_interval_and_no_more_is_read_than_is_asked_for() {
    let world = World::plain().await;
    for n in 0..40 {
        world.topic.show_awards(0, n * 10, n * 10 + 1..=n * 10 + 10);
        world.pass(10).await;
    }
    world.pass(200).await;
    let commits = world.topic.asked.lock().unwrap().len();
    assert!((4..=6).contains(&commits), "{commits} commits in 600 ms");
    assert_eq!(world.topic.committed(0), Some(400));
    world.topic.show_awards(0, 400, 401..=2400);
    world.pass(200).await;
    let largest = world
        .path
        .delivered
        .lock()
        .unwrap()
        .iter()
        .map(Vec::len)
        .max();
    assert_eq!(largest, Some(limits::WORKER_POLL_MAX));
}
