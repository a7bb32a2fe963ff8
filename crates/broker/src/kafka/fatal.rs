//! A producer that fails for good while several batches are on their way, as the relay has
//! them. What librdkafka calls fatal is brought about by what a broker answers: a request
//! out of sequence, or no id for the producer.
//!
//! A batch is begun and then left alone while others go on: what it finds when it is looked
//! at again does not depend on who was faster.

use super::publish::Producer;
use super::tests::{KafkaWorld, SESSION_MS, TOPIC, connect};
use crate::suite::{PARTITIONS, in_time, outgoing, publish, taken};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tombola_core::ports::{Report, Topic as _};

const OUT_OF_SEQUENCE: RDKafkaRespErr =
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
const NO_ID: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;

impl KafkaWorld {
    fn producer(&self) -> Producer {
        self.topic.publisher.producer()
    }

    /// From now on what a node (-1: each) answers does not leave it.
    fn hold_answers(&self, node: i32) {
        let long = Duration::from_mins(10);
        self.order(move |cluster| cluster.broker_round_trip_time(node, long).unwrap());
    }

    fn let_answers_go(&self, node: i32) {
        self.order(move |cluster| {
            cluster
                .broker_round_trip_time(node, Duration::ZERO)
                .unwrap();
        });
    }

    /// What lies on the topic, by partition and offset.
    async fn everything(&self) -> BTreeMap<(i32, i64), String> {
        let position = self.topic.group_position("nobody").await.unwrap();
        let ends = position.partitions.iter().map(|it| it.high_watermark);
        let count = usize::try_from(ends.sum::<i64>()).unwrap();
        Onlooker::of(self).read(count).await
    }
}

/// Reads the topic beside all groups.
struct Onlooker(BaseConsumer);

impl Onlooker {
    fn of(world: &KafkaWorld) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &world.brokers)
            .set("group.id", "onlooker")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(TOPIC, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&all).unwrap();
        Self(consumer)
    }

    /// Reads on until there were so many; by partition and offset.
    async fn read(&self, count: usize) -> BTreeMap<(i32, i64), String> {
        let mut read = BTreeMap::new();
        in_time(async {
            while read.len() < count {
                if let Some(message) = self.0.poll(Duration::from_millis(10)) {
                    let message = message.unwrap();
                    let text = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
                    read.insert((message.partition(), message.offset()), text);
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        read
    }
}

/// Hands a batch over, and waits for none of its reports.
async fn begin(batch: &mut (impl Future<Output = Vec<Report>> + Unpin)) {
    tokio::select! {
        biased;
        reports = batch => panic!("reported on at once: {reports:?}"),
        () = std::future::ready(()) => {}
    }
}

fn is_same(one: &Producer, other: &Producer) -> bool {
    std::ptr::eq(one.client().native_ptr(), other.client().native_ptr())
}

fn are_unknown(reports: &[Report]) -> bool {
    reports.iter().all(|it| matches!(it, Report::Unknown(_)))
}

/// Two nodes: partition 1 is written at the second one, whose answers can be held back,
/// and read at the first one meanwhile.
async fn world_of_two() -> (KafkaWorld, Onlooker) {
    let world = KafkaWorld::of(2);
    world.order(|cluster| {
        for (partition, node) in [(0, 1), (1, 2), (2, 1), (3, 1)] {
            let led = cluster.partition_leader(TOPIC, partition, Some(node));
            led.unwrap();
        }
        cluster.partition_follower(TOPIC, 1, 1).unwrap();
    });
    let onlooker = Onlooker::of(&world);
    publish(&world, 1, &["before"]).await;
    onlooker.read(1).await;
    (world, onlooker)
}

/// Publishes what ends the producer.
async fn fail_for_good(world: &KafkaWorld) {
    world.fail_next(RDKafkaApiKey::Produce, OUT_OF_SEQUENCE, 1);
    let reports = world.topic.publish_batch(vec![outgoing(0, "failed")]).await;
    assert!(are_unknown(&reports), "{reports:?}");
}

#[tokio::test]
async fn batch_whose_answer_is_on_its_way_is_taken_all_the_same_while_the_next_has_a_new_producer()
{
    let (world, onlooker) = world_of_two().await;
    let old = world.producer();
    world.hold_answers(2);
    let batch = ["a", "b"].map(|text| outgoing(1, text));
    let mut waiting = pin!(world.topic.publish_batch(batch.to_vec()));
    begin(&mut waiting).await;
    let read = onlooker.read(2).await;
    fail_for_good(&world).await;
    let mut next = pin!(world.topic.publish_batch(vec![outgoing(2, "next")]));
    begin(&mut next).await;
    let new = world.producer();
    assert!(!is_same(&old, &new));
    world.let_answers_go(2);
    let places: Vec<(i32, i64)> = waiting.await.iter().map(taken).collect();
    assert_eq!(places, [(1, 1), (1, 2)]);
    let texts: Vec<&String> = places.iter().map(|place| &read[place]).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(taken(&next.await[0]), (2, 0));
    assert_eq!(publish(&world, 1, &["after"]).await, [3]);
    assert!(is_same(&new, &world.producer()));
}

/// The broker says nothing more at all: nobody waits for ever for what it has.
#[tokio::test]
async fn batch_whose_answer_never_comes_is_unknown_in_the_end_and_keeps_no_other_back() {
    let (world, onlooker) = world_of_two().await;
    world.hold_answers(2);
    let mut waiting = pin!(world.topic.publish_batch(vec![outgoing(1, "a")]));
    begin(&mut waiting).await;
    onlooker.read(1).await;
    fail_for_good(&world).await;
    assert_eq!(publish(&world, 2, &["next"]).await, [0]);
    let reports = in_time(waiting).await;
    assert!(are_unknown(&reports), "{reports:?}");
}

#[tokio::test]
async fn batches_that_were_not_sent_yet_are_each_reported_on_and_the_producer_is_replaced_once() {
    let mut world = KafkaWorld::of(1);
    publish(&world, 0, &["before"]).await;
    world.fail_next(RDKafkaApiKey::InitProducerId, NO_ID, 1);
    world.hold_answers(-1);
    world.topic = connect(&world.brokers, TOPIC, SESSION_MS);
    let old = world.producer();
    let batch = || {
        let places = 0..PARTITIONS;
        places.map(|place| outgoing(place, "never")).collect()
    };
    let mut first = pin!(world.topic.publish_batch(batch()));
    let mut second = pin!(world.topic.publish_batch(batch()));
    let mut third = pin!(world.topic.publish_batch(batch()));
    begin(&mut first).await;
    begin(&mut second).await;
    begin(&mut third).await;
    world.let_answers_go(-1);
    let reports = second.await;
    assert!(reports.len() == 4 && are_unknown(&reports), "{reports:?}");
    assert_eq!(publish(&world, 0, &["after"]).await, [1]);
    let new = world.producer();
    assert!(!is_same(&old, &new));
    // As one does that saw it fail while another was replacing it.
    world.topic.publisher.replace_failed("seen before");
    assert!(is_same(&new, &world.producer()));
    for late in [first.await, third.await] {
        assert!(late.len() == 4 && are_unknown(&late), "{late:?}");
    }
    assert_eq!(publish(&world, 0, &["at last"]).await, [2]);
    assert!(is_same(&new, &world.producer()));
    let texts: Vec<String> = world.everything().await.into_values().collect();
    assert_eq!(texts, ["before", "after", "at last"]);
}

/// What waits to be sent once more may be there from the first time: the broker took it,
/// and went away with its answer.
#[tokio::test]
async fn message_that_is_on_the_topic_is_not_called_absent_when_a_failed_producer_throws_it_away() {
    let (world, onlooker) = world_of_two().await;
    world.hold_answers(2);
    let mut waiting = pin!(world.topic.publish_batch(vec![outgoing(1, "a")]));
    begin(&mut waiting).await;
    assert_eq!(onlooker.read(1).await[&(1, 1)], "a");
    world.order(|cluster| cluster.broker_down(2).unwrap());
    fail_for_good(&world).await;
    let reports = waiting.await;
    assert!(are_unknown(&reports), "{reports:?}");
}

#[tokio::test]
async fn batch_that_comes_upon_a_failed_producer_is_published_by_a_new_one() {
    let world = KafkaWorld::of(1);
    publish(&world, 0, &["before"]).await;
    let old = world.producer();
    world.fail_next(RDKafkaApiKey::Produce, OUT_OF_SEQUENCE, 1);
    let mut failed = pin!(world.topic.publish_batch(vec![outgoing(0, "failed")]));
    begin(&mut failed).await;
    in_time(async {
        while old.client().fatal_error().is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(is_same(&old, &world.producer()), "nobody has looked yet");
    assert_eq!(publish(&world, 0, &["a", "b"]).await, [1, 2]);
    let failed = failed.await;
    assert!(failed.len() == 1 && are_unknown(&failed), "{failed:?}");
    let texts: Vec<String> = world.everything().await.into_values().collect();
    assert_eq!(texts, ["before", "a", "b"]);
}

/// Threads that publish side by side, as relay and rescue do, while one producer after the
/// other fails: whoever is faster, each message has one report, and the report is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_true_while_one_producer_after_the_other_fails_amid_batches_side_by_side() {
    const BATCHES: usize = 12;
    const MESSAGES: usize = 40;
    let world = KafkaWorld::of(1);
    let runtime = tokio::runtime::Handle::current();
    let publish_on = async |thread: usize| {
        let mut said = BTreeMap::new();
        for batch in 0..BATCHES {
            if batch % 4 == thread {
                world.fail_next(RDKafkaApiKey::Produce, OUT_OF_SEQUENCE, 1);
            }
            let texts: Vec<String> = (0..MESSAGES)
                .map(|number| format!("{thread}.{batch}.{number}"))
                .collect();
            let messages = (0..).zip(&texts);
            let messages = messages.map(|(number, text)| outgoing(number % PARTITIONS, text));
            let reports = world.topic.publish_batch(messages.collect()).await;
            assert_eq!(reports.len(), MESSAGES);
            said.extend(texts.into_iter().zip(reports));
        }
        said
    };
    let said: BTreeMap<String, Report> = std::thread::scope(|threads| {
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (runtime, publish_on) = (&runtime, &publish_on);
                threads.spawn(move || runtime.block_on(publish_on(thread)))
            })
            .collect();
        let said = threads.into_iter().map(|it| it.join().unwrap());
        said.flatten().collect()
    });
    assert_eq!(said.len(), 3 * BATCHES * MESSAGES);
    let there = world.everything().await;
    for (text, report) in &said {
        match report {
            Report::Taken { partition, offset } => {
                assert_eq!(there.get(&(*partition, *offset)), Some(text));
            }
            Report::NotTaken(_) => assert!(!there.values().any(|it| it == text), "{text}"),
            Report::Unknown(_) => {}
            Report::Refused(why) => panic!("{text}: {why}"),
        }
    }
    let is_failed = |it: &&Report| matches!(it, Report::Unknown(_));
    assert!(said.values().filter(is_failed).count() > 0);
    publish(&world, 0, &["after"]).await;
}
