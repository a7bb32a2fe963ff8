//! Questions about the topic: how far a group has come, what life it is in, what it
//! is, making it.
//!
//! librdkafka answers these only to a caller that waits, so they run beside the
//! tasks, each with a deadline.

use super::KafkaOptions;
use super::config::{self, ASK_AGAIN, ASK_TIMEOUT};
use super::epoch::Seen;
use super::inspection::{
    GroupInspection, Inspection, MemberInspection, PartitionInspection, TopicSettings, assigned,
};
use super::plan::{Made, TopicPlan, differences};
use super::trouble::{LogContext, Trouble};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tombola_core::ports::{PartitionPosition, TopicDescription, TopicError};

/// The group of the client that asks what the topic is: it never joins or commits,
/// so no cluster ever hears of it.
const NOBODY: &str = "tombola-describe";

type Client = BaseConsumer<LogContext>;

pub(super) struct Watch {
    options: Arc<KafkaOptions>,
    trouble: Arc<Trouble>,
    /// One client for each group that is asked about; it never joins.
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

/// Where the copies of a partition are.
struct Place {
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
}

impl Watch {
    pub(super) fn new(options: Arc<KafkaOptions>, trouble: Arc<Trouble>) -> Self {
        Self {
            options,
            trouble,
            clients: Mutex::default(),
        }
    }

    pub(super) async fn positions(
        self: &Arc<Self>,
        group: &str,
    ) -> Result<Vec<PartitionPosition>, TopicError> {
        let (watch, group) = (Arc::clone(self), group.to_owned());
        self.beside(move || {
            let client = watch.client(&group)?;
            let places = watch.places(&client)?.ok_or_else(|| watch.missing())?;
            let committed = watch.committed(&client, &places)?;
            let position = |(place, committed): (&Place, Option<i64>)| {
                let (log_start, high_watermark) = watch.watermarks(&client, place.partition)?;
                Ok(PartitionPosition {
                    partition: place.partition,
                    committed: committed.unwrap_or(log_start),
                    log_start,
                    high_watermark,
                })
            };
            places.iter().zip(committed).map(position).collect()
        })
        .await
    }

    /// The cluster, and how far each partition has come.
    pub(super) async fn see(self: &Arc<Self>) -> Result<Seen, TopicError> {
        let watch = Arc::clone(self);
        self.beside(move || {
            let client = watch.client(NOBODY)?;
            // Metadata first: with it comes the cluster's id, if it is another by now.
            let places = watch.places(&client)?.ok_or_else(|| watch.missing())?;
            let cluster_id = client.client().fetch_cluster_id(ASK_TIMEOUT);
            let cluster_id = cluster_id.ok_or_else(|| {
                TopicError::Unavailable("the cluster did not say who it is".to_owned())
            })?;
            let ends = places.iter().map(|place| {
                let (_, end) = watch.watermarks(&client, place.partition)?;
                Ok((place.partition, end))
            });
            Ok(Seen {
                cluster_id,
                topic: watch.options.topic.clone(),
                high_watermarks: ends.collect::<Result<_, TopicError>>()?,
            })
        })
        .await
    }

    fn client(&self, group: &str) -> Result<Arc<Client>, TopicError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(group) {
            drop(client.poll(Duration::ZERO)); // its errors were logged already
            return Ok(Arc::clone(client));
        }
        let client: Client = config::consumer(&self.options, group)
            .create_with_context(LogContext(Arc::clone(&self.trouble)))
            .map_err(|error| config::unavailable(&error))?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    fn missing(&self) -> TopicError {
        TopicError::Mismatch(format!(
            "there is no topic {}; `tombola topic create` makes it",
            self.options.topic
        ))
    }

    fn watermarks(&self, client: &Client, partition: i32) -> Result<(i64, i64), TopicError> {
        client
            .fetch_watermarks(&self.options.topic, partition, ASK_TIMEOUT)
            .map_err(|error| match error.rdkafka_error_code() {
                Some(code) if is_missing(code) => self.missing(),
                Some(_) | None => config::unavailable(&error),
            })
    }

    /// What the client's group has committed, partition by partition.
    fn committed(&self, client: &Client, places: &[Place]) -> Result<Vec<Option<i64>>, TopicError> {
        let mut list = TopicPartitionList::with_capacity(places.len());
        for place in places {
            list.add_partition(&self.options.topic, place.partition);
        }
        let committed = client.committed_offsets(list, ASK_TIMEOUT);
        let committed = committed.map_err(|error| config::unavailable(&error))?;
        let mut offsets: BTreeMap<i32, i64> = BTreeMap::new();
        for it in committed.elements() {
            it.error().map_err(|error| config::unavailable(&error))?;
            if let Offset::Offset(offset) = it.offset() {
                offsets.insert(it.partition(), offset);
            }
        }
        let of = |place: &Place| offsets.get(&place.partition).copied();
        Ok(places.iter().map(of).collect())
    }

    /// The topic's partitions in order, `None` if it is not there.
    fn places(&self, client: &Client) -> Result<Option<Vec<Place>>, TopicError> {
        let name = &self.options.topic;
        let metadata = match client.fetch_metadata(Some(name), ASK_TIMEOUT) {
            Ok(metadata) => metadata,
            // One that was there a moment ago.
            Err(error) if error.rdkafka_error_code().is_some_and(is_missing) => return Ok(None),
            Err(error) => return Err(config::unavailable(&error)),
        };
        let Some(topic) = metadata.topics().iter().find(|it| it.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(code) if is_missing(code) => return Ok(None),
            Some(code) => return Err(TopicError::Unavailable(code.to_string())),
        }
        let place = |it: &rdkafka::metadata::MetadataPartition| Place {
            partition: it.id(),
            leader: (it.leader() >= 0).then_some(it.leader()),
            replicas: it.replicas().to_vec(),
            in_sync: it.isr().to_vec(),
        };
        let mut places: Vec<Place> = topic.partitions().iter().map(place).collect();
        places.sort_unstable_by_key(|it| it.partition);
        // A topic that is just being made has none yet.
        Ok((!places.is_empty()).then_some(places))
    }

    fn group(&self, client: &Client, name: &str) -> GroupInspection {
        let groups = match client.fetch_group_list(Some(name), ASK_TIMEOUT) {
            Ok(groups) => groups,
            Err(error) => {
                tracing::debug!(%error, "the group's members could not be asked for");
                return GroupInspection {
                    name: name.to_owned(),
                    state: "Unknown".to_owned(),
                    members: Vec::new(),
                };
            }
        };
        let ours = config::client_id(&self.options);
        let member = |it: &rdkafka::groups::GroupMemberInfo| MemberInspection {
            id: it.id().to_owned(),
            client_id: it.client_id().to_owned(),
            host: it.client_host().to_owned(),
            is_ours: it.client_id() == ours,
            partitions: assigned(it.assignment().unwrap_or_default(), &self.options.topic),
        };
        let found = groups.groups().iter().find(|it| it.name() == name);
        GroupInspection {
            name: name.to_owned(),
            state: found.map_or("Dead", |it| it.state()).to_owned(),
            members: found.map_or_else(Vec::new, |it| it.members().iter().map(member).collect()),
        }
    }

    pub(super) async fn inspect(
        self: &Arc<Self>,
        group: &str,
    ) -> Result<Option<Inspection>, TopicError> {
        let settings = self.settings().await;
        let (watch, name) = (Arc::clone(self), group.to_owned());
        self.beside(move || {
            let client = watch.client(&name)?;
            let Some(places) = watch.places(&client)? else {
                return Ok(None);
            };
            let committed = watch.committed(&client, &places)?;
            let partition = |(place, committed): (Place, Option<i64>)| {
                // A partition without a leader says nothing; the rest is still worth saying.
                let (log_start, high_watermark) = match place.leader {
                    Some(_) => watch.watermarks(&client, place.partition)?,
                    None => (0, 0),
                };
                Ok(PartitionInspection {
                    partition: place.partition,
                    leader: place.leader,
                    replicas: place.replicas,
                    in_sync: place.in_sync,
                    log_start,
                    high_watermark,
                    committed,
                })
            };
            let partitions = places.into_iter().zip(committed).map(partition);
            Ok(Some(Inspection {
                name: watch.options.topic.clone(),
                cluster_id: client.client().fetch_cluster_id(ASK_TIMEOUT),
                partitions: partitions.collect::<Result<_, TopicError>>()?,
                settings,
                group: watch.group(&client, &name),
            }))
        })
        .await
    }

    pub(super) async fn describe(self: &Arc<Self>) -> Result<Option<TopicDescription>, TopicError> {
        let Some(is) = self.shape().await? else {
            return Ok(None);
        };
        Ok(Some(TopicDescription {
            name: self.options.topic.clone(),
            partitions: is.partitions,
            replication: is.replication,
            min_insync_replicas: self.settings().await.min_insync_replicas.unwrap_or(0),
        }))
    }

    /// What it was made with, `None` if it is not there.
    async fn shape(self: &Arc<Self>) -> Result<Option<TopicPlan>, TopicError> {
        let watch = Arc::clone(self);
        self.beside(move || {
            let places = watch.places(&*watch.client(NOBODY)?)?;
            let plan = |places: Vec<Place>| {
                let fewest = places.iter().map(|it| it.replicas.len()).min();
                Ok(TopicPlan {
                    partitions: count(places.len())?,
                    replication: count(fewest.unwrap_or(0))?,
                    min_insync_replicas: None,
                })
            };
            places.map(plan).transpose()
        })
        .await
    }

    /// Its settings, as far as the cluster says them: we may not be allowed to ask.
    async fn settings(self: &Arc<Self>) -> TopicSettings {
        self.ask_settings().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the topic's settings could not be asked for");
            TopicSettings::default()
        })
    }

    async fn ask_settings(self: &Arc<Self>) -> Result<TopicSettings, TopicError> {
        let watch = Arc::clone(self);
        let configs = self.administer(async move |admin| {
            let topic = ResourceSpecifier::Topic(&watch.options.topic);
            admin.describe_configs([&topic], &patience()).await
        });
        let mut entries = BTreeMap::new();
        for config in configs.await? {
            let config = config.map_err(|code| TopicError::Unavailable(code.to_string()))?;
            let said = config.entries.into_iter();
            entries.extend(said.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        let of = |name: &str| entries.get(name);
        let number = |name: &str| of(name).and_then(|value| value.parse().ok());
        Ok(TopicSettings {
            min_insync_replicas: of("min.insync.replicas").and_then(|value| value.parse().ok()),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            cleanup_policy: of("cleanup.policy").cloned(),
            max_message_bytes: number("max.message.bytes"),
            is_unclean_election_allowed: of("unclean.leader.election.enable")
                .and_then(|value| value.parse().ok()),
        })
    }

    /// Runs `ask` where waiting harms nobody.
    async fn beside<T: Send + 'static>(
        &self,
        ask: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
    ) -> Result<T, TopicError> {
        let asked = tokio::task::spawn_blocking(ask).await;
        let asked = asked.unwrap_or_else(|error| Err(TopicError::Unavailable(error.to_string())));
        self.trouble.explain(asked)
    }

    /// Runs `ask` with a client of its own, which is also dropped beside the tasks:
    /// it waits for its thread.
    pub(super) async fn administer<T: Send + 'static>(
        &self,
        ask: impl AsyncFnOnce(&AdminClient<LogContext>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, TopicError> {
        let (options, runtime) = (Arc::clone(&self.options), Handle::current());
        let context = LogContext(Arc::clone(&self.trouble));
        self.beside(move || {
            let admin: KafkaResult<AdminClient<_>> =
                config::administrator(&options).create_with_context(context);
            let asked = admin.and_then(|admin| runtime.block_on(ask(&admin)));
            asked.map_err(|error| config::unavailable(&error))
        })
        .await
    }

    pub(super) async fn make(self: &Arc<Self>, plan: &TopicPlan) -> Result<Made, TopicError> {
        if let Some(is) = self.shape().await? {
            return self.compare(plan, is).await;
        }
        let (watch, asked) = (Arc::clone(self), plan.clone());
        let created = self.administer(async move |admin| {
            let replication = TopicReplication::Fixed(asked.replication);
            let topic = NewTopic::new(&watch.options.topic, asked.partitions, replication);
            let minimum = asked.min_insync_replicas.map(|it| it.to_string());
            let topic = match &minimum {
                Some(minimum) => topic.set("min.insync.replicas", minimum),
                None => topic,
            };
            // The cluster's own choice could be to compact.
            let topic = topic.set("cleanup.policy", "delete");
            admin.create_topics([&topic], &patience()).await
        });
        for answer in created.await? {
            match answer {
                Ok(_) => {}
                // Another one was as quick: whether it fits is asked again.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    let is = self.until_there().await?;
                    return self.compare(plan, is).await;
                }
                Err((name, code)) => {
                    return Err(TopicError::Mismatch(format!(
                        "{name} cannot be made with {} partitions of {} replicas: {code}",
                        plan.partitions, plan.replication
                    )));
                }
            }
        }
        self.until_there().await.map(|_| Made::New)
    }

    async fn compare(
        self: &Arc<Self>,
        plan: &TopicPlan,
        is: TopicPlan,
    ) -> Result<Made, TopicError> {
        let min_insync_replicas = match plan.min_insync_replicas {
            // What nobody says must not pass for a match.
            Some(_) => self.ask_settings().await?.min_insync_replicas,
            None => None,
        };
        let is = TopicPlan {
            min_insync_replicas,
            ..is
        };
        let differences = differences(plan, &is);
        if differences.is_empty() {
            return Ok(Made::AsPlanned);
        }
        Ok(Made::Differs(differences))
    }

    /// Brokers hear of a topic that was made a moment later.
    async fn until_there(self: &Arc<Self>) -> Result<TopicPlan, TopicError> {
        let end = Instant::now() + ASK_TIMEOUT;
        loop {
            if let Some(is) = self.shape().await? {
                return Ok(is);
            }
            if Instant::now() >= end {
                return Err(TopicError::Unavailable(
                    "the topic was made, and does not show".to_owned(),
                ));
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

fn patience() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK_TIMEOUT))
        .operation_timeout(Some(ASK_TIMEOUT))
}

impl Drop for Watch {
    /// A client that is dropped says good-bye to the broker, which may take a while.
    fn drop(&mut self) {
        let clients = std::mem::take(&mut self.clients);
        let spawned = std::thread::Builder::new()
            .name("kafka-put-away".to_owned())
            .spawn(move || drop(clients));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to close clients on");
        }
    }
}

fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
    )
}

fn count(count: usize) -> Result<i32, TopicError> {
    i32::try_from(count).map_err(|error| TopicError::Mismatch(error.to_string()))
}
