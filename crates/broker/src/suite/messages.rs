//! Cases of single messages: where they go, in which order, and what is kept.

use super::{PARTITIONS, Reader, World, key_of, outgoing, publish, taken};
use crate::placing::partition_of;
use std::sync::Arc;
use tombola_core::limits;
use tombola_core::ports::{Outgoing, Polled, Report};

/// Two batches of one user's messages come out as they went in.
pub async fn same_key_is_read_in_the_order_of_publishing(world: &dyn World) {
    let texts: Vec<String> = (0..200).map(|number| format!("{number}")).collect();
    for half in texts.chunks(100) {
        let half: Vec<&str> = half.iter().map(String::as_str).collect();
        publish(world, 1, &half).await;
    }
    let mut reader = Reader::alone(world, "g").await;
    let read = reader.read_texts(200).await;
    let expected: Vec<_> = texts.into_iter().map(|text| (1, text)).collect();
    assert_eq!(read, expected);
}

/// Several batches may be on their way: what was begun first lies first.
pub async fn batches_side_by_side_keep_the_order_of_a_key(world: &dyn World) {
    let batch = |numbers: std::ops::Range<i32>| {
        let texts = numbers.map(|number| number.to_string());
        let messages = texts.map(|text| outgoing(1, &text)).collect();
        world.topic().publish_batch(messages)
    };
    let (one, two, three) = tokio::join!(batch(0..50), batch(50..100), batch(100..150));
    let offsets = [one, two, three].concat();
    let offsets: Vec<i64> = offsets.iter().map(|report| taken(report).1).collect();
    assert_eq!(offsets, (0..150).collect::<Vec<i64>>());
    let mut reader = Reader::alone(world, "g").await;
    let expected: Vec<_> = (0..150).map(|number| (1, number.to_string())).collect();
    assert_eq!(reader.read_texts(150).await, expected);
}

/// The same key has the same partition in memory, on Kafka, and for Kafka's own
/// clients: murmur2.
pub async fn key_has_the_place_that_kafkas_clients_give_it(world: &dyn World) {
    let keys: Vec<String> = (0..64).map(|user| format!("user-{user}")).collect();
    let of = |key: &String| Outgoing {
        key: key.clone(),
        ..outgoing(0, "x")
    };
    let reports = world
        .topic()
        .publish_batch(keys.iter().map(of).collect())
        .await;
    for (key, report) in keys.iter().zip(&reports) {
        assert_eq!(
            taken(report).0,
            partition_of(key.as_bytes(), PARTITIONS),
            "{key}"
        );
    }
}

/// The position that a mark stores is the one at which a worker finds the copy.
pub async fn report_names_the_place_where_the_message_is_read(world: &dyn World) {
    let places: Vec<i32> = (0..20).map(|number| number % PARTITIONS).collect();
    let messages = places
        .iter()
        .zip(0..)
        .map(|(place, n)| outgoing(*place, &format!("{n}")));
    let reports = world.topic().publish_batch(messages.collect()).await;
    let mut reader = Reader::alone(world, "g").await;
    for message in reader.read(20).await {
        let number: usize = super::reader::text(&message)
            .parse()
            .expect("a number went in");
        assert_eq!(taken(&reports[number]), (message.partition, message.offset));
    }
}

/// An empty value is not the absent one.
pub async fn headers_and_empty_values_are_kept(world: &dyn World) {
    let header = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let headers = vec![
        header("message-id", "1-a"),
        header("twice", "1"),
        header("twice", ""),
    ];
    let message = Outgoing {
        value: Arc::from([]),
        headers: headers.clone(),
        ..outgoing(2, "")
    };
    let reports = world.topic().publish_batch(vec![message]).await;
    assert_eq!(taken(&reports[0]).0, 2);
    let mut reader = Reader::alone(world, "g").await;
    let read = reader.read(1).await.remove(0);
    assert_eq!(read.headers, headers);
    assert_eq!(read.value.as_deref(), Some(&[][..]));
    assert_eq!(read.key.as_deref(), Some(key_of(2).as_bytes()));
}

/// The worker keeps such a message as a dead letter, so it must see it.
pub async fn null_key_and_null_value_of_a_foreign_producer_are_kept(world: &dyn World) {
    world.publish_foreign(None, Some(b"without a key")).await;
    world.publish_foreign(Some(b"k"), None).await;
    world
        .publish_foreign(Some(b"k"), Some(&vec![b'x'; limits::MESSAGE_BYTES_MAX + 1]))
        .await;
    let mut reader = Reader::alone(world, "g").await;
    let read = reader.read(3).await;
    let shape = |key: Option<&[u8]>, bytes: Option<usize>| {
        let is_it = |it: &&tombola_core::ports::Incoming| {
            it.key.as_deref() == key && it.value.as_deref().map(<[u8]>::len) == bytes
        };
        read.iter().filter(is_it).count()
    };
    assert_eq!(shape(None, Some(13)), 1);
    assert_eq!(shape(Some(b"k"), None), 1);
    assert_eq!(shape(Some(b"k"), Some(limits::MESSAGE_BYTES_MAX + 1)), 1);
}

/// Refused is for good and for this one message only.
pub async fn too_large_is_refused_and_its_neighbours_are_taken(world: &dyn World) {
    let wide = "x".repeat(limits::MESSAGE_BYTES_MAX + 1);
    let messages = vec![
        outgoing(0, "before"),
        outgoing(0, &wide),
        outgoing(0, "after"),
    ];
    let reports = world.topic().publish_batch(messages).await;
    assert!(matches!(reports[1], Report::Refused(_)), "{:?}", reports[1]);
    assert_eq!([taken(&reports[0]), taken(&reports[2])], [(0, 0), (0, 1)]);
    let mut reader = Reader::alone(world, "g").await;
    let read = reader.read_texts(2).await;
    assert_eq!(read, [(0, "before".to_owned()), (0, "after".to_owned())]);
}

/// The bound itself is within bounds, headers on top of it.
pub async fn largest_value_is_taken(world: &dyn World) {
    let headers = vec![("origin".to_owned(), "o".repeat(64))];
    let wide = "x".repeat(limits::MESSAGE_BYTES_MAX);
    let message = Outgoing {
        headers,
        ..outgoing(0, &wide)
    };
    let reports = world.topic().publish_batch(vec![message]).await;
    assert_eq!(taken(&reports[0]), (0, 0));
    let mut reader = Reader::alone(world, "g").await;
    let read = reader.read(1).await.remove(0);
    assert_eq!(
        read.value.map(|value| value.len()),
        Some(limits::MESSAGE_BYTES_MAX)
    );
}

/// A worker that asks for one gets one.
pub async fn poll_gives_no_more_than_asked(world: &dyn World) {
    publish(world, 0, &["a", "b", "c"]).await;
    publish(world, 1, &["d", "e"]).await;
    let mut reader = Reader::alone(world, "g").await;
    let mut sizes = Vec::new();
    while reader.got.len() < 5 {
        let polled = reader.member.poll(2).await.expect("the topic is open");
        reader.note(&polled);
        if let Polled::Messages(messages) = polled {
            sizes.push(messages.len());
        }
    }
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
}

/// A poll that found nothing is woken by the publish.
pub async fn waiting_member_sees_a_later_message(world: &dyn World) {
    let mut reader = Reader::alone(world, "g").await;
    let publish = async {
        tokio::task::yield_now().await; // the reader waits by now
        publish(world, 3, &["later"]).await
    };
    let (read, _) = tokio::join!(reader.read_texts(1), publish);
    assert_eq!(read, [(3, "later".to_owned())]);
}

/// Cancel-safe: whatever the instant at which a poll is given up, the next one
/// sees what it would have seen.
pub async fn poll_that_is_dropped_loses_nothing(world: &dyn World) {
    let mut reader = Reader::join(world, "g").await;
    let (mut published, mut dropped) = (0, 0);
    while reader.got.len() < 30 {
        let given_up = tokio::select! {
            biased;
            polled = reader.member.poll(1) => {
                let polled = polled.expect("the topic is open");
                reader.note(&polled);
                false
            }
            () = tokio::task::yield_now() => true,
        };
        dropped += i32::from(given_up);
        if given_up && published < 30 && published == reader.got.len() {
            publish(world, 2, &[&published.to_string()]).await;
            published += 1;
        }
    }
    assert!(dropped >= 30, "each message came after a poll was given up");
    let texts: Vec<String> = reader.got.iter().map(super::reader::text).collect();
    let expected: Vec<String> = (0..30).map(|number: i32| number.to_string()).collect();
    assert_eq!(texts, expected);
}
