//! The suite on librdkafka's mock cluster, and what only Kafka does: brokers that
//! go away, errors of a broker, a producer that fails for good.

use super::{KafkaOptions, KafkaTopic, Renewal, Why};
use crate::suite::{PARTITIONS, Reader, World, in_time, outgoing, publish, taken};
use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tombola_core::ports::{Report, Topic, TopicError, TopicSpec};

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Order = Box<dyn FnOnce(&Cluster) + Send>;

pub(super) const TOPIC: &str = "lottery_invoice";

/// The mock cluster takes almost this long over each change of a group's members,
/// even when all of them have joined.
pub(super) const SESSION_MS: u32 = 6_000;

/// A cluster, on a thread that it never leaves.
pub(super) struct KafkaWorld {
    pub(super) topic: KafkaTopic,
    pub(super) brokers: String,
    orders: Sender<Order>,
}

#[expect(clippy::disallowed_methods, reason = "orders are given one at a time")]
fn start_cluster(nodes: i32) -> (String, Sender<Order>) {
    let (orders, todo) = channel::<Order>();
    let (told, brokers) = channel();
    std::thread::spawn(move || {
        let cluster = MockCluster::new(nodes).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        told.send(cluster.bootstrap_servers()).unwrap();
        for order in todo {
            order(&cluster);
        }
    });
    (brokers.recv().unwrap(), orders)
}

pub(super) fn connect(brokers: &str, topic: &str, session_ms: u32) -> KafkaTopic {
    // Heartbeats carry the news of a rebalance: the shorter, the sooner.
    let heartbeat = ("heartbeat.interval.ms".to_owned(), "100".to_owned());
    let settings = vec![
        heartbeat,
        ("session.timeout.ms".to_owned(), session_ms.to_string()),
    ];
    KafkaTopic::new(KafkaOptions {
        brokers: brokers.to_owned(),
        topic: topic.to_owned(),
        epoch: 7,
        settings,
    })
    .unwrap()
}

impl KafkaWorld {
    /// A cluster of so many brokers.
    pub(super) fn of(nodes: i32) -> Self {
        let (brokers, orders) = start_cluster(nodes);
        Self {
            topic: connect(&brokers, TOPIC, SESSION_MS),
            brokers,
            orders,
        }
    }

    /// Does something to the cluster, and returns when it is done.
    #[expect(clippy::disallowed_methods, reason = "carries one answer")]
    pub(super) fn order(&self, order: impl FnOnce(&Cluster) + Send + 'static) {
        let (done, wait) = channel();
        let order = move |cluster: &Cluster| {
            order(cluster);
            done.send(()).unwrap();
        };
        self.orders.send(Box::new(order)).unwrap();
        wait.recv().unwrap();
    }

    pub(super) fn fail_next(&self, request: RDKafkaApiKey, error: RDKafkaRespErr, times: usize) {
        self.order(move |cluster| cluster.request_errors(request, &vec![error; times]));
    }
}

#[async_trait(?Send)]
impl World for KafkaWorld {
    async fn open() -> Self {
        Self::of(1)
    }

    fn topic(&self) -> &dyn Topic {
        &self.topic
    }

    async fn publish_foreign(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let producer: FutureProducer = config.create().unwrap();
        let record = FutureRecord::<[u8], [u8]> {
            key,
            payload: value,
            ..FutureRecord::to(TOPIC)
        };
        producer
            .send(record, Duration::from_secs(10))
            .await
            .unwrap();
    }
}

topic_suite!(KafkaWorld);

#[tokio::test]
async fn publish_is_unknown_while_the_broker_is_away_and_taken_when_it_is_back() {
    let world = KafkaWorld::open().await;
    publish(&world, 0, &["before"]).await;
    world.order(|cluster| cluster.broker_down(-1).unwrap());
    let reports = world
        .topic
        .publish_batch(vec![outgoing(0, "meanwhile")])
        .await;
    assert!(matches!(reports[0], Report::Unknown(_)), "{:?}", reports[0]);
    world.order(|cluster| cluster.broker_up(-1).unwrap());
    in_time(async {
        loop {
            let reports = world.topic.publish_batch(vec![outgoing(0, "after")]).await;
            if matches!(reports[0], Report::Taken { .. }) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn error_that_passes_costs_neither_the_message_nor_a_second_copy() {
    let world = KafkaWorld::open().await;
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    world.fail_next(RDKafkaApiKey::Produce, error, 2);
    assert_eq!(publish(&world, 0, &["a", "b"]).await, [0, 1]);
    let position = world.topic.group_position("g").await.unwrap();
    assert_eq!(position.partitions[0].high_watermark, 2);
}

#[tokio::test]
async fn producer_that_failed_for_good_is_replaced() {
    let world = KafkaWorld::open().await;
    publish(&world, 0, &["before"]).await;
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    world.fail_next(RDKafkaApiKey::Produce, error, 1);
    let reports = world.topic.publish_batch(vec![outgoing(0, "lost")]).await;
    assert!(
        !matches!(reports[0], Report::Taken { .. }),
        "{:?}",
        reports[0]
    );
    assert_eq!(publish(&world, 0, &["after"]).await, [1]);
}

#[tokio::test]
async fn batch_that_is_refused_costs_its_innocent_members_nothing() {
    let world = KafkaWorld::open().await;
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    world.fail_next(RDKafkaApiKey::Produce, error, 1);
    let mut offsets = publish(&world, 0, &["a", "b", "c"]).await;
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2]);
    world.fail_next(RDKafkaApiKey::Produce, error, 2);
    let batch = ["d", "e", "f"].map(|text| outgoing(0, text));
    let reports = world.topic.publish_batch(batch.to_vec()).await;
    let refused = reports.iter().filter(|it| matches!(it, Report::Refused(_)));
    assert_eq!(refused.count(), 1, "{reports:?}");
    assert_eq!(publish(&world, 0, &["g"]).await, [5], "the relay goes on");
}

#[tokio::test]
async fn commit_of_a_generation_that_the_broker_ended_is_lost() {
    let world = KafkaWorld::open().await;
    publish(&world, 0, &["a"]).await;
    let mut reader = Reader::alone(&world, "g").await;
    reader.read(1).await;
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
    world.fail_next(RDKafkaApiKey::OffsetCommit, error, 1);
    assert_eq!(
        reader.member.commit(&[(0, 1)]).await,
        Err(TopicError::LostGeneration)
    );
    let position = world.topic.group_position("g").await.unwrap();
    assert_eq!(position.partitions[0].committed, 0);
}

#[tokio::test]
async fn commit_while_the_broker_is_away_is_unavailable_and_good_when_it_is_back() {
    let world = KafkaWorld::open().await;
    // Its session outlasts the outage, so that its generation does.
    let topic = connect(&world.brokers, TOPIC, 60_000);
    let world = KafkaWorld { topic, ..world };
    publish(&world, 0, &["a"]).await;
    let mut reader = Reader::alone(&world, "g").await;
    reader.read(1).await;
    world.order(|cluster| cluster.broker_down(-1).unwrap());
    let away = reader.member.commit(&[(0, 1)]).await;
    assert!(matches!(away, Err(TopicError::Unavailable(_))), "{away:?}");
    world.order(|cluster| cluster.broker_up(-1).unwrap());
    let back = in_time(async {
        loop {
            let back = reader.member.commit(&[(0, 1)]).await;
            if !matches!(back, Err(TopicError::Unavailable(_))) {
                break back;
            }
        }
    });
    assert_eq!(back.await, Ok(()));
    let position = world.topic.group_position("g").await.unwrap();
    assert_eq!(position.partitions[0].committed, 1);
}

#[tokio::test]
async fn topic_that_is_not_there_is_said_so() {
    let world = KafkaWorld::open().await;
    let other = connect(&world.brokers, "another", SESSION_MS);
    assert_eq!(other.describe().await, Ok(None));
    assert!(matches!(
        other.group_position("g").await,
        Err(TopicError::Mismatch(_))
    ));
    assert_eq!(other.describe().await, Ok(None), "asking makes no topic");
    // The mock cluster cannot make one by request; that must not pass for success.
    let spec = TopicSpec {
        partitions: 1,
        replication: 1,
    };
    assert!(other.create(&spec).await.is_err());
}

#[tokio::test]
async fn life_is_begun_grows_and_is_renewed_when_a_partition_went_back() {
    let world = KafkaWorld::open().await;
    let topic = &world.topic;
    let Renewal::Renewed(first, Why::First) = topic.look(None, 11).await.unwrap() else {
        panic!("no life was kept");
    };
    assert_eq!((first.epoch, first.topic.as_str()), (11, TOPIC));
    assert_eq!(first.highest, [(0, 0), (1, 0), (2, 0), (3, 0)]);
    assert_eq!(topic.look(Some(&first), 12).await, Ok(Renewal::Same));
    publish(&world, 2, &["a", "b"]).await;
    let Renewal::Grown(grown) = topic.look(Some(&first), 12).await.unwrap() else {
        panic!("two messages came");
    };
    assert_eq!((grown.epoch, grown.highest[2]), (11, (2, 2)));
    let mut further = grown;
    further.highest[2] = (2, 3);
    let Renewal::Renewed(second, why) = topic.look(Some(&further), 12).await.unwrap() else {
        panic!("a message is gone");
    };
    let (partition, was, is) = (2, 3, 2);
    assert_eq!(
        (second.epoch, why),
        (12, Why::WentBack { partition, was, is })
    );
    assert_eq!(topic.epoch(), 7, "a look changes nothing");
    topic.enter(&second);
    assert_eq!(topic.epoch(), 12);
    assert_eq!(topic.group_position("g").await.unwrap().epoch, 12);
}

#[tokio::test]
async fn life_on_another_cluster_is_another() {
    let (one, other) = (KafkaWorld::open().await, KafkaWorld::open().await);
    let Renewal::Renewed(kept, _) = one.topic.look(None, 11).await.unwrap() else {
        panic!("no life was kept");
    };
    let there = other.topic.look(Some(&kept), 12).await.unwrap();
    assert!(
        matches!(there, Renewal::Renewed(_, Why::OtherCluster)),
        "{there:?}"
    );
}

#[tokio::test]
async fn warm_up_publishes_nothing_and_says_when_the_broker_is_away() {
    let world = KafkaWorld::open().await;
    assert_eq!(world.topic.warm_up().await, Ok(()));
    let position = world.topic.group_position("g").await.unwrap();
    assert!(position.partitions.iter().all(|it| it.high_watermark == 0));
    world.order(|cluster| cluster.broker_down(-1).unwrap());
    let away = world.topic.warm_up().await;
    assert!(matches!(away, Err(TopicError::Unavailable(_))), "{away:?}");
}

#[tokio::test]
async fn cluster_that_is_not_reached_is_said_with_the_cause() {
    let nobody = connect("127.0.0.1:1", TOPIC, SESSION_MS);
    for said in [nobody.warm_up().await, nobody.describe().await.map(drop)] {
        let said = said.unwrap_err().to_string();
        assert!(said.contains("127.0.0.1:1"), "{said}");
        assert!(said.contains("refused"), "{said}");
    }
}

#[tokio::test]
async fn setting_that_librdkafka_does_not_know_is_refused_and_its_words_are_passed_on() {
    let world = KafkaWorld::open().await;
    let of = |name: &str, value: &str| KafkaOptions {
        brokers: world.brokers.clone(),
        topic: TOPIC.to_owned(),
        epoch: 7,
        settings: vec![(name.to_owned(), value.to_owned())],
    };
    let said = of("sasl.mechanics", "PLAIN")
        .check()
        .unwrap_err()
        .to_string();
    assert!(said.contains("sasl.mechanics"), "{said}");
    let said = of("linger.ms", "soon").check().unwrap_err().to_string();
    assert!(said.contains("linger.ms"), "{said}");
    // What TLS, SASL and zstd need was built along.
    for (name, value) in [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("compression.type", "zstd"),
    ] {
        assert_eq!(of(name, value).check(), Ok(()), "{name}");
    }
}

#[tokio::test]
async fn flush_returns_when_nothing_is_on_its_way() {
    let world = KafkaWorld::open().await;
    let reports = world.topic.publish_batch(vec![outgoing(1, "a")]).await;
    assert_eq!(taken(&reports[0]), (1, 0));
    assert_eq!(world.topic.flush(Duration::from_secs(5)).await, Ok(()));
}
