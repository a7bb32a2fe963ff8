//! The topic on Kafka, through librdkafka.
//!
//! # Model
//! Publishing goes through one idempotent producer with `acks=all`. A member is a
//! consumer that its own thread polls without pause, so that a slow worker never
//! costs it its place in the group; what the thread sees goes into a `Ledger`,
//! and the port's `poll` takes it from there. Commits have a second thread, because
//! librdkafka answers them only to a caller that waits.
//!
//! # What each failure does
//! - The broker is away: publishes end as `Unknown` after the publish time-out,
//!   commits as `Unavailable`; members wait and say `Unavailable` once.
//! - The producer fails for good (a fatal error): the next batch gets a new one.
//! - The group takes a partition away: the callback waits until the worker has been
//!   handed `Revoked`, at most `config::TOLD_WAIT`, and until no commit is on its
//!   way; after that nothing of the old assignment can be committed.
//! - The member is dropped: its thread leaves the group in its own time. Only a dead
//!   process has to be noticed by the session time-out.
//! - An operator's setting would take a promise away: no topic is made ([`settings`]).

mod config;
mod ledger;
mod member;
mod publish;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use async_trait::async_trait;
use ledger::Ledger;
use member::KafkaMember;
use publish::Publisher;
pub use settings::SettingsError;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::ports::{
    GroupPosition, Member, Outgoing, Report, Topic, TopicDescription, TopicError, TopicSpec,
};
use watch::Watch;

/// What a topic on Kafka is reached with.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's life, as kept in the database.
    pub epoch: i64,
    /// Passed through to librdkafka: TLS, SASL, compression and whatever else
    /// contradicts none of our promises.
    pub settings: Vec<(String, String)>,
}

impl KafkaOptions {
    /// Whether clients can be made of it; connects to nobody.
    pub fn check(&self) -> Result<(), SettingsError> {
        settings::check(self)?;
        let clients = [config::producer(self), config::consumer(self, "check")];
        clients.iter().try_for_each(|client| {
            let checked = client.create_native_config();
            checked.map(drop).map_err(|error| SettingsError::of(&error))
        })
    }
}

/// The topic on Kafka.
pub struct KafkaTopic {
    options: Arc<KafkaOptions>,
    publisher: Publisher,
    watch: Arc<Watch>,
}

impl KafkaTopic {
    /// Makes the clients; they connect by themselves, and keep trying.
    pub fn new(options: KafkaOptions) -> Result<Self, SettingsError> {
        options.check()?;
        let options = Arc::new(options);
        let publisher = Publisher::new(Arc::clone(&options))?;
        let watch = Arc::new(Watch::new(Arc::clone(&options)));
        Ok(Self {
            options,
            publisher,
            watch,
        })
    }

    /// Waits until what was handed to the producer has been reported on: to be
    /// called after the last publish, since a dropped producer forgets the rest.
    pub async fn flush(&self, deadline: Duration) -> Result<(), TopicError> {
        self.publisher.flush(deadline).await
    }
}

#[async_trait]
impl Topic for KafkaTopic {
    fn epoch(&self) -> i64 {
        self.options.epoch
    }

    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        self.publisher.publish(messages).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError> {
        Ok(Box::new(KafkaMember::join(&self.options, group)?))
    }

    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError> {
        let partitions = self.watch.positions(group).await?;
        Ok(GroupPosition {
            epoch: self.options.epoch,
            partitions,
        })
    }

    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        self.watch.create(spec).await
    }

    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        self.watch.describe().await
    }
}
