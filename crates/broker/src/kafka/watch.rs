//! Questions about the topic: how far a group has come, what it is, making it.
//!
//! librdkafka answers these only to a caller that waits, so they run beside the
//! tasks, each with a deadline.

use super::KafkaOptions;
use super::config::{self, ASK_TIMEOUT};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tombola_core::ports::{PartitionPosition, TopicDescription, TopicError, TopicSpec};

/// The group of the client that asks what the topic is: it never joins or commits,
/// so no cluster ever hears of it.
const NOBODY: &str = "tombola-describe";

pub(super) struct Watch {
    options: Arc<KafkaOptions>,
    /// One client for each group that is asked about; it never joins.
    clients: Mutex<BTreeMap<String, Arc<BaseConsumer>>>,
}

impl Watch {
    pub(super) fn new(options: Arc<KafkaOptions>) -> Self {
        Self {
            options,
            clients: Mutex::default(),
        }
    }

    pub(super) async fn positions(
        self: &Arc<Self>,
        group: &str,
    ) -> Result<Vec<PartitionPosition>, TopicError> {
        let (watch, group) = (Arc::clone(self), group.to_owned());
        beside(move || watch.ask_positions(&group)).await
    }

    fn ask_positions(&self, group: &str) -> Result<Vec<PartitionPosition>, TopicError> {
        let client = self.client(group)?;
        let topic = &self.options.topic;
        let (partitions, _) = ask_shape(&client, topic)?
            .ok_or_else(|| TopicError::Mismatch(format!("there is no topic {topic}")))?;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in &partitions {
            list.add_partition(topic, *partition);
        }
        let committed = client.committed_offsets(list, ASK_TIMEOUT);
        let committed = committed.map_err(|error| config::unavailable(&error))?;
        let mut positions = Vec::with_capacity(partitions.len());
        for it in committed.elements() {
            it.error().map_err(|error| config::unavailable(&error))?;
            let (log_start, high_watermark) = client
                .fetch_watermarks(topic, it.partition(), ASK_TIMEOUT)
                .map_err(|error| config::unavailable(&error))?;
            let committed = match it.offset() {
                Offset::Offset(offset) => offset,
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => log_start, // nothing committed yet
            };
            let partition = it.partition();
            positions.push(PartitionPosition {
                partition,
                committed,
                log_start,
                high_watermark,
            });
        }
        Ok(positions)
    }

    fn client(&self, group: &str) -> Result<Arc<BaseConsumer>, TopicError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(group) {
            drop(client.poll(std::time::Duration::ZERO)); // its errors were logged already
            return Ok(Arc::clone(client));
        }
        let client: BaseConsumer = config::consumer(&self.options, group)
            .create()
            .map_err(|error| config::unavailable(&error))?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    pub(super) async fn describe(self: &Arc<Self>) -> Result<Option<TopicDescription>, TopicError> {
        let Some(TopicSpec {
            partitions,
            replication,
        }) = self.shape().await?
        else {
            return Ok(None);
        };
        let min_insync_replicas = self.min_insync_replicas().await;
        let name = self.options.topic.clone();
        Ok(Some(TopicDescription {
            name,
            partitions,
            replication,
            min_insync_replicas,
        }))
    }

    /// What it was made with, `None` if it is not there.
    async fn shape(self: &Arc<Self>) -> Result<Option<TopicSpec>, TopicError> {
        let watch = Arc::clone(self);
        beside(move || {
            let shape = ask_shape(&*watch.client(NOBODY)?, &watch.options.topic)?;
            let spec = |(partitions, replication): (Vec<i32>, i32)| {
                Ok(TopicSpec {
                    partitions: count(partitions.len())?,
                    replication,
                })
            };
            shape.map(spec).transpose()
        })
        .await
    }

    /// Zero where the cluster does not say.
    async fn min_insync_replicas(self: &Arc<Self>) -> i32 {
        let watch = Arc::clone(self);
        let entries = self.administer(async move |admin| {
            let topic = ResourceSpecifier::Topic(&watch.options.topic);
            let configs = admin.describe_configs([&topic], &patience()).await?;
            Ok(configs
                .into_iter()
                .flatten()
                .flat_map(|config| config.entries)
                .collect::<Vec<_>>())
        });
        let entries = entries.await.unwrap_or_default();
        let mut found = entries
            .into_iter()
            .filter(|entry| entry.name == "min.insync.replicas");
        found
            .find_map(|entry| entry.value?.parse().ok())
            .unwrap_or(0)
    }

    /// Runs `ask` with a client of its own, which is also dropped beside the tasks:
    /// it waits for its thread.
    async fn administer<T: Send + 'static>(
        &self,
        ask: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, TopicError> {
        let (options, runtime) = (Arc::clone(&self.options), Handle::current());
        beside(move || {
            let admin: KafkaResult<AdminClient<_>> = config::administrator(&options).create();
            let asked = admin.and_then(|admin| runtime.block_on(ask(&admin)));
            asked.map_err(|error| config::unavailable(&error))
        })
        .await
    }

    pub(super) async fn create(self: &Arc<Self>, spec: &TopicSpec) -> Result<(), TopicError> {
        if let Some(there) = self.shape().await? {
            return compare(&there, spec);
        }
        let (watch, asked) = (Arc::clone(self), spec.clone());
        let created = self.administer(async move |admin| {
            let replication = TopicReplication::Fixed(asked.replication);
            let topic = NewTopic::new(&watch.options.topic, asked.partitions, replication);
            admin.create_topics([&topic], &patience()).await
        });
        for answer in created.await? {
            match answer {
                // Another one was as quick: whether it fits is asked again.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    let there = self.shape().await?;
                    there.map_or(Ok(()), |there| compare(&there, spec))?;
                }
                Err((name, code)) => {
                    return Err(TopicError::Mismatch(format!(
                        "{name} cannot be made: {code}"
                    )));
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

fn patience() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ASK_TIMEOUT))
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

/// Runs `ask` where waiting harms nobody.
async fn beside<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or_else(|error| Err(TopicError::Unavailable(error.to_string())))
}

/// Partitions of the topic and replicas of each, `None` if it is not there.
fn ask_shape(client: &BaseConsumer, topic: &str) -> Result<Option<(Vec<i32>, i32)>, TopicError> {
    let metadata = client
        .fetch_metadata(Some(topic), ASK_TIMEOUT)
        .map_err(|error| config::unavailable(&error))?;
    let Some(topic) = metadata.topics().iter().find(|it| it.name() == topic) else {
        return Ok(None);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(code) => return Err(TopicError::Unavailable(code.to_string())),
    }
    let mut partitions: Vec<i32> = topic
        .partitions()
        .iter()
        .map(MetadataPartition::id)
        .collect();
    partitions.sort_unstable();
    let fewest = topic
        .partitions()
        .iter()
        .map(|it| it.replicas().len())
        .min();
    Ok(Some((partitions, count(fewest.unwrap_or(0))?)))
}

fn count(count: usize) -> Result<i32, TopicError> {
    i32::try_from(count).map_err(|error| TopicError::Mismatch(error.to_string()))
}

fn compare(there: &TopicSpec, asked: &TopicSpec) -> Result<(), TopicError> {
    if there == asked {
        return Ok(());
    }
    Err(TopicError::Mismatch(format!(
        "it has {} partitions of {} replicas, asked were {} of {}",
        there.partitions, there.replication, asked.partitions, asked.replication
    )))
}
