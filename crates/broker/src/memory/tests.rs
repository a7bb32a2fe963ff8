//! The suite on the topic in memory, and what only that topic does: a full log, a
//! trimmed head, crashes that are noticed at once, members that are expelled.

use super::{MemoryOptions, MemoryTopic};
use crate::suite::{
    PARTITIONS, Reader, World, in_time, outgoing, publish, publish_everywhere, taken,
};
use async_trait::async_trait;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tombola_core::limits;
use tombola_core::ports::{Member, Polled, Report, Topic, TopicError};

struct MemoryWorld(MemoryTopic);

#[async_trait(?Send)]
impl World for MemoryWorld {
    async fn open() -> Self {
        open(usize::MAX)
    }

    fn topic(&self) -> &dyn Topic {
        &self.0
    }

    async fn publish_foreign(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        taken(&self.0.publish_foreign(key, value, Vec::new()));
    }
}

topic_suite!(MemoryWorld);

fn open(bytes_max: usize) -> MemoryWorld {
    let options = MemoryOptions {
        partitions: PARTITIONS,
        bytes_max,
        ..MemoryOptions::default()
    };
    MemoryWorld(MemoryTopic::new(options))
}

/// What the member sees without waiting.
fn poll_now(member: &mut Box<dyn Member>) -> Option<Result<Polled, TopicError>> {
    let mut future = pin!(member.poll(100));
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(polled) => Some(polled),
        Poll::Pending => None,
    }
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

async fn publish_texts(world: &dyn World, texts: &[String]) -> Vec<Report> {
    world
        .topic()
        .publish_batch(texts.iter().map(|text| outgoing(0, text)).collect())
        .await
}

#[tokio::test]
async fn full_topic_refuses_and_takes_again_after_a_commit() {
    let world = open(4096);
    let reports = publish_texts(&world, &texts(100)).await;
    let count = reports
        .iter()
        .filter(|report| matches!(report, Report::Taken { .. }))
        .count();
    assert!((1..100).contains(&count), "{count}");
    assert!(
        reports[count..]
            .iter()
            .all(|report| matches!(report, Report::NotTaken(_)))
    );
    assert!(matches!(
        publish_texts(&world, &texts(1)).await[..],
        [Report::NotTaken(_)]
    ));

    let mut reader = Reader::alone(&world, "g").await;
    let read = reader.read_texts(count).await;
    assert!(
        read.iter().map(|(_, text)| text).eq(&texts(100)[..count]),
        "nothing was dropped"
    );
    assert!(matches!(
        publish_texts(&world, &texts(1)).await[..],
        [Report::NotTaken(_)]
    ));
    reader.commit_all().await;
    let again = publish_texts(&world, &texts(count)).await;
    assert!(
        again
            .iter()
            .all(|report| matches!(report, Report::Taken { .. }))
    );
    assert_eq!(taken(&again[0]), (0, i64::try_from(count).unwrap()));
}

#[tokio::test]
async fn topic_as_it_is_by_default_keeps_as_many_bytes_as_its_bound() {
    let topic = MemoryTopic::new(MemoryOptions::default());
    // One allocation, however often it is kept.
    let message = outgoing(0, &"x".repeat(limits::MESSAGE_BYTES_MAX));
    let each = 1 + limits::MEMORY_TOPIC_BYTES_MAX / limits::MESSAGE_BYTES_MAX;
    let reports = topic.publish_batch(vec![message; each]).await;
    let taken = |report: &&Report| matches!(report, Report::Taken { .. });
    let count = reports.iter().filter(taken).count();
    assert!(matches!(reports.last(), Some(Report::NotTaken(_))));
    let bytes = topic.shared.lock().bytes();
    let of_one = bytes / count;
    let free = limits::MEMORY_TOPIC_BYTES_MAX - bytes;
    assert!(
        free < of_one,
        "{free} bytes are free, one message has {of_one}"
    );
}

#[tokio::test]
async fn topic_as_it_is_by_default_has_as_many_partitions_as_the_bound_says() {
    let topic = MemoryTopic::new(MemoryOptions::default());
    let described = topic.describe().await.unwrap().unwrap();
    assert_eq!(described.partitions, limits::TOPIC_PARTITIONS);
    let places: std::collections::BTreeSet<i32> = (0..1000)
        .map(|user| topic.place(format!("user-{user}").as_bytes()))
        .collect();
    assert!(places.into_iter().eq(0..limits::TOPIC_PARTITIONS));
}

#[tokio::test]
async fn full_topic_takes_no_small_message_past_a_large_one() {
    let world = open(4096);
    let large = "x".repeat(5000);
    let reports = publish_texts(&world, &["a".to_owned(), large, "b".to_owned()]).await;
    assert!(matches!(
        reports[..],
        [
            Report::Taken { .. },
            Report::NotTaken(_),
            Report::NotTaken(_)
        ]
    ));
}

#[tokio::test]
async fn head_is_trimmed_once_every_group_has_committed_past_it() {
    let world = open(usize::MAX);
    publish(&world, 0, &["a", "b", "c"]).await;
    let mut ahead = Reader::alone(&world, "ahead").await;
    let mut behind = Reader::alone(&world, "behind").await;
    ahead.read(3).await;
    ahead.commit_all().await;
    let start = async || world.0.group_position("ahead").await.unwrap().partitions[0].log_start;
    assert_eq!(start().await, 0);
    behind.read(3).await;
    behind.member.commit(&[(0, 2)]).await.unwrap();
    assert_eq!(start().await, 2);

    let mut new = Reader::alone(&world, "new").await;
    assert_eq!(new.read_texts(1).await, [(0, "c".to_owned())]);
}

#[tokio::test]
async fn trimmed_topic_is_as_empty_as_a_new_one() {
    let world = open(64 * 1024);
    let mut reader = Reader::alone(&world, "g").await;
    for round in 0..50 {
        let reports = publish_texts(&world, &texts(150)).await;
        assert!(
            reports.iter().all(|it| matches!(it, Report::Taken { .. })),
            "round {round}"
        );
        reader.read(150).await;
        reader.commit_all().await;
    }
    assert_eq!(world.0.shared.lock().bytes(), 0);
}

#[tokio::test]
async fn crash_is_noticed_without_anybody_waiting() {
    let world = open(usize::MAX);
    let mut first = Reader::alone(&world, "g").await;
    let mut second = world.0.subscribe("g").await.unwrap();
    assert_eq!(poll_now(&mut second), None);
    first.until_owns(2).await;
    let moved = poll_now(&mut second);
    drop(second);
    assert_eq!(poll_now(&mut first.member), moved);
}

#[tokio::test]
async fn partition_waits_for_its_owner_to_be_told() {
    let world = open(usize::MAX);
    let mut first = Reader::alone(&world, "g").await;
    publish_everywhere(&world).await;
    first.read(4).await;
    let mut second = world.0.subscribe("g").await.unwrap();
    assert_eq!(poll_now(&mut second), None);
    first.commit_all().await; // still the owner of all four
    first.until_owns(2).await;
    assert!(matches!(
        poll_now(&mut second),
        Some(Ok(Polled::Assigned(_)))
    ));
    assert_eq!(
        poll_now(&mut second),
        None,
        "what was committed is not read again"
    );
}

#[tokio::test]
async fn member_that_came_and_went_unseen_changes_nothing() {
    let world = open(usize::MAX);
    let mut first = Reader::alone(&world, "g").await;
    publish(&world, 0, &["a"]).await;
    let second = world.0.subscribe("g").await.unwrap();
    drop(second);
    assert!(matches!(
        poll_now(&mut first.member),
        Some(Ok(Polled::Messages(_)))
    ));
    assert_eq!(poll_now(&mut first.member), None);
}

#[tokio::test]
async fn expelled_member_cannot_commit_and_joins_again() {
    let world = open(usize::MAX);
    publish(&world, 0, &["a", "b"]).await;
    let mut reader = Reader::alone(&world, "g").await;
    let read = reader.read_texts(2).await;
    world.0.expel("g");
    assert_eq!(
        reader.member.commit(&[(0, 1)]).await,
        Err(TopicError::LostGeneration)
    );
    assert!(matches!(reader.step().await, Polled::Revoked(all) if all == [0, 1, 2, 3]));
    assert!(matches!(reader.step().await, Polled::Assigned(all) if all == [0, 1, 2, 3]));
    assert_eq!(reader.read_texts(2).await, read);
    reader.commit_all().await;
}

#[tokio::test]
async fn what_an_expelled_member_had_goes_to_those_who_are_there() {
    let world = open(usize::MAX);
    let mut asleep = Reader::alone(&world, "g").await;
    world.0.expel("g");
    let mut awake = Reader::alone(&world, "g").await;
    assert!(matches!(asleep.step().await, Polled::Revoked(_)));
    crate::suite::until_both(&mut asleep, 2, &mut awake, 2).await;
    assert!(asleep.owned.is_disjoint(&awake.owned));
}

#[tokio::test]
async fn more_members_than_partitions_wait_for_their_turn() {
    let world = open(usize::MAX);
    let mut members = Vec::new();
    for _ in 0..=PARTITIONS {
        members.push(world.0.subscribe("g").await.unwrap());
    }
    let mut told = Vec::new();
    for member in &mut members {
        told.push(poll_now(member));
    }
    assert_eq!(told.iter().filter(|polled| polled.is_some()).count(), 4);
    members.remove(0);
    assert!(matches!(
        poll_now(members.last_mut().unwrap()),
        Some(Ok(Polled::Assigned(_)))
    ));
}

#[tokio::test]
async fn deep_partition_starves_nobody() {
    let world = open(usize::MAX);
    publish(&world, 0, &["x"; 100]).await;
    publish(&world, 3, &["y"]).await;
    let mut reader = Reader::alone(&world, "g").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let Ok(Polled::Messages(messages)) = in_time(reader.member.poll(10)).await else {
            panic!()
        };
        seen.extend(messages.iter().map(|message| message.partition));
    }
    assert!(seen.contains(&3), "{seen:?}");
}

#[tokio::test]
async fn closed_topic_says_so_to_everybody() {
    let world = open(usize::MAX);
    let mut reader = Reader::alone(&world, "g").await;
    let closing = async {
        tokio::task::yield_now().await; // the reader waits by now
        world.0.close();
    };
    let (polled, ()) = tokio::join!(in_time(reader.member.poll(1)), closing);
    assert_eq!(polled, Err(TopicError::Closed));
    assert_eq!(reader.member.commit(&[]).await, Err(TopicError::Closed));
    assert_eq!(world.0.subscribe("g").await.err(), Some(TopicError::Closed));
    assert!(matches!(
        publish_texts(&world, &texts(1)).await[..],
        [Report::NotTaken(_)]
    ));
}

#[tokio::test]
async fn values_are_shared_not_copied() {
    let world = open(usize::MAX);
    let message = outgoing(0, "a");
    let value = std::sync::Arc::clone(&message.value);
    world.0.publish_batch(vec![message]).await;
    let mut reader = Reader::alone(&world, "g").await;
    let read = reader.read(1).await.remove(0);
    assert!(std::sync::Arc::ptr_eq(&value, &read.value.unwrap()));
}
