//! The suite on Apache Kafka, and what the mock cluster does not have: topics that are
//! deleted and made anew, groups with members, settings. Runs where
//! `TOMBOLA_TEST_KAFKA` names brokers, as `cargo xtask services up` prints it; each
//! test has a topic and groups of its own, and takes them away again.

use super::config::Patience;
use super::tests::connect;
use super::{
    Difference, KafkaTopic, Made, MemberHealth, PartitionInspection, Renewal, TopicPlan,
    TopicWarning, Why,
};
use crate::suite::{PARTITIONS, Reader, World, in_time, outgoing, publish, skip, until_both};
use async_trait::async_trait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tombola_core::ports::{
    GroupPosition, Member, Outgoing, Report, Topic, TopicDescription, TopicError, TopicSpec,
};

fn brokers() -> Option<String> {
    std::env::var("TOMBOLA_TEST_KAFKA").ok()
}

/// The least that brokers allow, unless they are told otherwise.
const SESSION_MS: u32 = 6_000;

/// A topic whose groups are named after it, so that tests side by side share none.
pub(super) struct Named {
    pub(super) topic: KafkaTopic,
    name: String,
    groups: Mutex<BTreeSet<String>>,
}

impl Named {
    fn group(&self, group: &str) -> String {
        let group = format!("{}-{group}", self.name);
        self.groups.lock().unwrap().insert(group.clone());
        group
    }
}

#[async_trait]
impl Topic for Named {
    fn epoch(&self) -> i64 {
        self.topic.epoch()
    }
    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        self.topic.publish_batch(messages).await
    }
    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError> {
        self.topic.subscribe(&self.group(group)).await
    }
    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError> {
        self.topic.group_position(&self.group(group)).await
    }
    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        self.topic.create(spec).await
    }
    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        self.topic.describe().await
    }
}

pub(super) struct RealWorld {
    brokers: String,
    pub(super) named: Named,
}

#[expect(clippy::disallowed_methods, reason = "a name that no earlier run had")]
pub(super) fn fresh_name() -> String {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("tombola-test-{}-{next}", since.as_micros())
}

pub(super) const PLAN: TopicPlan = TopicPlan {
    partitions: PARTITIONS,
    replication: 1,
    min_insync_replicas: None,
};

impl RealWorld {
    /// A world whose topic is not made yet, `None` (and a line) where there is no Kafka.
    fn bare(test: &str) -> Option<Self> {
        let Some(brokers) = brokers() else {
            let name = format!("{}::{test}", module_path!());
            skip(&name, Self::absent().unwrap_or_default());
            return None;
        };
        let name = fresh_name();
        let named = Named {
            topic: connect(&brokers, &name, SESSION_MS),
            name,
            groups: Mutex::default(),
        };
        Some(Self { brokers, named })
    }

    pub(super) async fn made(test: &str) -> Option<Self> {
        let world = Self::bare(test)?;
        assert_eq!(world.named.topic.make(&PLAN).await, Ok(Made::New));
        in_time(world.until_every_broker_knows()).await;
        Some(world)
    }

    /// One that does not tells a member that there is no topic. A client that is new
    /// asks the broker that it was told of.
    async fn until_every_broker_knows(&self) {
        for broker in self.brokers.split(',') {
            let knows = async || {
                let topic = connect(broker, &self.named.name, SESSION_MS);
                topic.describe().await.is_ok_and(|it| it.is_some())
            };
            while !knows().await {}
        }
    }

    async fn delete_topic(&self) {
        let name = self.named.name.clone();
        let deleted = self.named.topic.watch.administer(async move |admin| {
            let patience = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
            admin.delete_topics(&[&name], &patience).await
        });
        assert!(deleted.await.unwrap().iter().all(Result::is_ok));
        in_time(async {
            while self.named.topic.describe().await.unwrap().is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn health(&self) -> Vec<MemberHealth> {
        self.named.topic.health()
    }
}

impl Drop for RealWorld {
    /// The cluster is left as it was found, as far as it lets us.
    fn drop(&mut self) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let name = self.named.name.clone();
        let groups: Vec<String> = self.named.groups.lock().unwrap().iter().cloned().collect();
        let put_away = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let admin: rdkafka::admin::AdminClient<_> = config.create().unwrap();
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            runtime.unwrap().block_on(async {
                let patience = AdminOptions::new();
                drop(admin.delete_topics(&[&name], &patience).await);
                if !groups.is_empty() {
                    drop(admin.delete_groups(&groups, &patience).await);
                }
            });
        });
        put_away.join().unwrap();
    }
}

#[async_trait(?Send)]
impl World for RealWorld {
    fn absent() -> Option<&'static str> {
        let why = "TOMBOLA_TEST_KAFKA names no broker; `cargo xtask services up` starts one";
        brokers().is_none().then_some(why)
    }

    async fn open() -> Self {
        Self::made("open").await.expect("the suite asked before")
    }

    fn topic(&self) -> &dyn Topic {
        &self.named
    }

    async fn publish_foreign(&self, key: Option<&[u8]>, value: Option<&[u8]>) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let producer: FutureProducer = config.create().unwrap();
        let record = FutureRecord::<[u8], [u8]> {
            key,
            payload: value,
            ..FutureRecord::to(&self.named.name)
        };
        producer
            .send(record, Duration::from_secs(10))
            .await
            .unwrap();
    }
}

topic_suite!(RealWorld);

#[tokio::test]
async fn topic_that_is_made_anew_is_another_life_and_publishing_notices() {
    let test = "topic_that_is_made_anew_is_another_life_and_publishing_notices";
    let Some(world) = RealWorld::made(test).await else {
        return;
    };
    let topic = &world.named.topic;
    let Renewal::Renewed(first, Why::First) = topic.look(None, 11).await.unwrap() else {
        panic!("no life was kept");
    };
    topic.enter(&first);
    publish(&world, 0, &["a", "b", "c"]).await;
    let Renewal::Grown(grown) = topic.look(Some(&first), 12).await.unwrap() else {
        panic!("three messages came");
    };
    world.delete_topic().await;
    let gone = topic.look(Some(&grown), 12).await;
    assert!(matches!(gone, Err(TopicError::Mismatch(_))), "{gone:?}");
    assert_eq!(topic.make(&PLAN).await, Ok(Made::New));
    in_time(async {
        // Brokers and clients hear of the new one in their own time.
        loop {
            let reports = topic.publish_batch(vec![outgoing(0, "anew")]).await;
            if matches!(reports[0], Report::Taken { .. }) {
                break;
            }
        }
        topic.doubted().await;
    })
    .await;
    let Renewal::Renewed(second, why) = topic.look(Some(&grown), 12).await.unwrap() else {
        panic!("the topic was made anew");
    };
    assert!(matches!(why, Why::WentBack { was: 3, .. }), "{why}");
    topic.enter(&second);
    assert_eq!(topic.epoch(), 12);
    assert_eq!(topic.look(Some(&second), 13).await, Ok(Renewal::Same));
}

#[tokio::test]
async fn topic_is_made_once_and_a_difference_is_said() {
    let Some(world) = RealWorld::bare("topic_is_made_once_and_a_difference_is_said") else {
        return;
    };
    let topic = &world.named.topic;
    let group = world.named.group("g");
    assert_eq!(topic.inspect(&group).await, Ok(None), "asking makes none");
    let plan = TopicPlan {
        min_insync_replicas: Some(1),
        ..PLAN
    };
    assert_eq!(topic.make(&plan).await, Ok(Made::New));
    in_time(world.until_every_broker_knows()).await;
    assert_eq!(topic.make(&plan).await, Ok(Made::AsPlanned));
    let wider = TopicPlan {
        partitions: PARTITIONS + 1,
        min_insync_replicas: Some(2),
        ..PLAN
    };
    let difference = |what, planned, is| Difference { what, planned, is };
    assert_eq!(
        topic.make(&wider).await,
        Ok(Made::Differs(vec![
            difference("partitions", PARTITIONS + 1, PARTITIONS),
            difference("min.insync.replicas", 2, 1),
        ]))
    );
    let described = topic.describe().await.unwrap().unwrap();
    assert_eq!(described.min_insync_replicas, 1);
    let impossible = connect(&world.brokers, &fresh_name(), SESSION_MS);
    let spread = TopicPlan {
        replication: 99,
        ..PLAN
    };
    let said = impossible.make(&spread).await.unwrap_err().to_string();
    assert!(said.contains("99 replicas"), "{said}");
}

/// The topic's bound is below ours: a batch of small messages is over it as well.
#[tokio::test]
async fn message_that_the_topic_refuses_stops_itself_alone() {
    let Some(world) = RealWorld::bare("message_that_the_topic_refuses_stops_itself_alone") else {
        return;
    };
    let topic = &world.named.topic;
    let name = world.named.name.clone();
    let made = topic.watch.administer(async move |admin| {
        let new = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1));
        let new = new.set("max.message.bytes", "20000");
        admin.create_topics([&new], &AdminOptions::new()).await
    });
    assert!(made.await.unwrap().iter().all(Result::is_ok));
    in_time(world.until_every_broker_knows()).await;
    assert_eq!(topic.make(&PLAN).await, Ok(Made::AsPlanned));
    let mut batch: Vec<Outgoing> = (0..100).map(|seed| incompressible(seed, 1_000)).collect();
    batch.insert(50, incompressible(100, 30_000));
    let reports = topic.publish_batch(batch).await;
    for (at, report) in reports.iter().enumerate() {
        let is_good = match report {
            Report::Taken { .. } => at != 50,
            Report::Refused(_) => at == 50,
            Report::NotTaken(_) | Report::Unknown(_) => false,
        };
        assert!(is_good, "{at}: {report:?}");
    }
    let group = world.named.group("g");
    let warnings = topic.inspect(&group).await.unwrap().unwrap().warnings();
    let small = TopicWarning::SmallMessages { bytes: 20_000 };
    assert!(warnings.contains(&small), "{warnings:?}");
}

fn incompressible(seed: u64, bytes: usize) -> Outgoing {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    Outgoing {
        value: (0..bytes).map(|_| next()).collect(),
        ..outgoing(0, "")
    }
}

#[tokio::test]
async fn inspection_shows_lag_members_and_strangers() {
    let Some(world) = RealWorld::made("inspection_shows_lag_members_and_strangers").await else {
        return;
    };
    let (topic, group) = (&world.named.topic, world.named.group("g"));
    publish(&world, 1, &["a", "b", "c"]).await;
    let mut reader = Reader::alone(&world, "g").await;
    reader.read(3).await;
    reader.member.commit(&[(1, 1)]).await.unwrap();
    let seen = topic.inspect(&group).await.unwrap().unwrap();
    assert_eq!(seen.replication(), 1);
    assert!(seen.cluster_id.is_some());
    let lags: Vec<i64> = seen
        .partitions
        .iter()
        .map(PartitionInspection::lag)
        .collect();
    assert_eq!(lags, [0, 2, 0, 0]);
    assert_eq!(seen.partitions[1].committed, Some(1));
    assert_eq!(seen.settings.cleanup_policy.as_deref(), Some("delete"));
    assert_eq!(seen.group.state, "Stable");
    let owned: Vec<_> = seen.group.members.iter().map(|it| &it.partitions).collect();
    assert_eq!(owned, [&[0, 1, 2, 3]]);
    let codes = seen.warnings();
    assert!(codes.contains(&TopicWarning::NotReplicated), "{codes:?}");

    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &world.brokers)
        .set("client.id", "billing")
        .set("group.id", &group)
        .set("partition.assignment.strategy", "cooperative-sticky");
    let stranger: BaseConsumer = config.create().unwrap();
    stranger.subscribe(&[&world.named.name]).unwrap();
    let found = in_time(async {
        loop {
            drop(stranger.poll(Duration::from_millis(10)));
            tokio::select! {
                polled = reader.member.poll(10) => drop(polled.unwrap()),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
            let seen = topic.inspect(&group).await.unwrap().unwrap();
            let mut warnings = seen.warnings().into_iter();
            let found = warnings.find(|it| it.code() == "stranger");
            if let Some(found) = found {
                break found.to_string();
            }
        }
    });
    assert!(found.await.starts_with("`billing` at "));
}

/// A worker that stops: its thread waits to tell it, misses `max.poll.interval`, and the
/// group goes on. When the worker is back it sees what it lost and joins in again.
#[tokio::test]
async fn member_that_stalls_is_passed_over_is_seen_by_readiness_and_comes_back() {
    let test = "member_that_stalls_is_passed_over_is_seen_by_readiness_and_comes_back";
    let Some(mut world) = RealWorld::made(test).await else {
        return;
    };
    world.named.topic.patience = Patience {
        told: Duration::from_secs(8),
        polled: Duration::from_millis(u64::from(SESSION_MS)),
    };
    let mut stalled = Reader::alone(&world, "g").await;
    publish(&world, 0, &["a"]).await;
    stalled.read(1).await;
    world.named.topic.patience = Patience::default();
    let mut other = Reader::join(&world, "g").await;
    other.until_owns(PARTITIONS).await;
    in_time(async {
        while !world.health().iter().any(|it| it.complaint().is_some()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut is_told = false;
    in_time(async {
        while !(is_told && stalled.owned.is_empty()) {
            match stalled.member.poll(10).await {
                Ok(polled) => stalled.note(&polled),
                Err(_) => is_told = true,
            }
        }
    })
    .await;
    let lost = stalled.member.commit(&[(0, 1)]).await;
    assert_eq!(lost, Err(TopicError::LostGeneration));
    until_both(&mut stalled, 2, &mut other, 2).await;
    let healths = world.health();
    assert!(
        healths.iter().all(|it| it.complaint().is_none()),
        "{healths:?}"
    );
}

#[tokio::test]
async fn two_members_share_and_both_are_well() {
    let Some(world) = RealWorld::made("two_members_share_and_both_are_well").await else {
        return;
    };
    let mut first = Reader::alone(&world, "g").await;
    let mut second = Reader::join(&world, "g").await;
    until_both(&mut first, 2, &mut second, 2).await;
    let healths = world.health();
    assert_eq!(healths.len(), 2);
    assert!(
        healths.iter().all(|it| it.complaint().is_none()),
        "{healths:?}"
    );
    first.member.leave().await.unwrap();
    assert_eq!(world.health().len(), 1, "who left is not complained of");
}
