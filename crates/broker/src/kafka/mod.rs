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
//!   commits as `Unavailable`; members wait and say `Unavailable` once. Of what is on
//!   its way then, second copies may come even from an idempotent producer, whose
//!   sequence numbers begin anew after a time-out: the row drops them.
//! - The broker refuses a batch, too large for the topic or with an invalid message
//!   among it: each of its messages is published once more in a batch of its own, so
//!   that only the one that is to blame ends its award.
//! - The producer fails for good (a fatal error): the next batch gets a new one. Of the
//!   batches that are with the old one, what the broker still answers for is `Taken`; the
//!   rest is `Unknown`, at once or when its time is over.
//! - The group takes a partition away: the callback waits until the worker has been
//!   handed `Revoked`, at most `config::TOLD_WAIT`, and until no commit is on its
//!   way; after that nothing of the old assignment can be committed.
//! - The thread does not poll within `max.poll.interval.ms`: the group goes on without
//!   the member, whose worker hears `Unavailable` and `Revoked`, and which joins again
//!   by itself; [`KafkaTopic::health`] says so until its worker polls again.
//! - The topic is deleted and made anew: it is another life, see [`KafkaTopic`].
//! - The member is dropped: its thread leaves the group in its own time. Only a dead
//!   process has to be noticed by the session time-out.
//! - An operator's setting would take a promise away: no topic is made ([`settings`]).

mod config;
mod epoch;
#[cfg(test)]
mod fatal;
#[cfg(test)]
mod faults;
mod health;
mod inspection;
mod ledger;
mod member;
mod plan;
mod publish;
#[cfg(test)]
mod real;
#[cfg(test)]
mod secure;
mod settings;
#[cfg(test)]
mod tests;
mod trouble;
mod warnings;
mod watch;

use async_trait::async_trait;
use config::Patience;
use epoch::Life;
pub use epoch::{KeptEpoch, Renewal, Seen, Why, renewal};
pub use health::MemberHealth;
use health::{Pulse, Pulses};
pub use inspection::{
    GroupInspection, Inspection, MemberInspection, PartitionInspection, TopicSettings,
};
use ledger::Ledger;
use member::KafkaMember;
pub use plan::{Difference, Made, TopicPlan};
use publish::Publisher;
pub use settings::SettingsError;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::ports::{
    GroupPosition, Member, Outgoing, Report, Topic, TopicDescription, TopicError, TopicSpec,
};
use trouble::Trouble;
pub use warnings::TopicWarning;
use watch::Watch;

/// What a topic on Kafka is reached with.
#[derive(Clone)]
pub struct KafkaOptions {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's life until [`KafkaTopic::enter`] says another: the kept one, or a
    /// random one of this process.
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

    /// All that the producer is set to, for who measures it against another one.
    pub fn producer_settings(&self) -> Vec<(String, String)> {
        let producer = config::producer(self);
        let all = producer.config_map().into_iter();
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// The topic on Kafka.
///
/// # Its life
/// Whoever runs it keeps one [`KeptEpoch`] in the database and, at the start, every
/// few seconds, and whenever [`KafkaTopic::doubted`] returns:
/// 1. reads the row, for another process may have written it;
/// 2. calls [`KafkaTopic::look`] with it and a random positive number;
/// 3. writes what is to be stored, on the condition that the row is still the one that
///    was read, else begins again;
/// 4. calls [`KafkaTopic::enter`] with what the row says now.
///
/// In this order: a mark with an epoch that the database does not keep would be of
/// nobody's life after a crash. While the broker is away the kept life is entered
/// without a look; a mark of too old a life costs a second copy at most.
pub struct KafkaTopic {
    options: Arc<KafkaOptions>,
    life: Arc<Life>,
    publisher: Publisher,
    watch: Arc<Watch>,
    members: Pulses,
    patience: Patience,
}

impl KafkaTopic {
    /// Makes the clients; they connect by themselves, and keep trying.
    pub fn new(options: KafkaOptions) -> Result<Self, SettingsError> {
        options.check()?;
        let options = Arc::new(options);
        let life = Arc::new(Life::new(options.epoch));
        let trouble = Arc::new(Trouble::default());
        let publisher = Publisher::new(
            Arc::clone(&options),
            Arc::clone(&life),
            Arc::clone(&trouble),
        )?;
        let watch = Arc::new(Watch::new(Arc::clone(&options), trouble));
        Ok(Self {
            options,
            life,
            publisher,
            watch,
            members: Pulses::default(),
            patience: Patience::default(),
        })
    }

    /// Connects the producer, so that the first publish does not wait for it.
    /// Publishes nothing; a failure means that the broker is away now.
    pub async fn warm_up(&self) -> Result<(), TopicError> {
        self.publisher.warm_up().await
    }

    /// Waits until what was handed to the producer has been reported on: to be
    /// called after the last publish, since a dropped producer forgets the rest.
    pub async fn flush(&self, deadline: Duration) -> Result<(), TopicError> {
        self.publisher.flush(deadline).await
    }

    /// Asks the cluster whether the topic still lives the life that is kept; `fresh`
    /// is the number of a new one. Changes nothing.
    pub async fn look(&self, kept: Option<&KeptEpoch>, fresh: i64) -> Result<Renewal, TopicError> {
        let seen = self.watch.see().await?;
        Ok(renewal(kept, &seen, fresh))
    }

    /// From now on the topic lives this life. Only after it was stored.
    pub fn enter(&self, kept: &KeptEpoch) {
        self.life.enter(kept.epoch);
    }

    /// Returns when a publish was reported at a place that is not of this life: the
    /// time to look has come at once.
    pub async fn doubted(&self) {
        self.life.doubted().await;
    }

    /// How the members of this process do, for readiness.
    pub fn health(&self) -> Vec<MemberHealth> {
        self.members.health()
    }

    /// What the topic is and how `group` stands, `None` if the topic is not there.
    pub async fn inspect(&self, group: &str) -> Result<Option<Inspection>, TopicError> {
        self.watch.inspect(group).await
    }

    /// Makes the topic, if it is not there. What is there is never changed.
    pub async fn make(&self, plan: &TopicPlan) -> Result<Made, TopicError> {
        self.watch.make(plan).await
    }
}

#[async_trait]
impl Topic for KafkaTopic {
    fn epoch(&self) -> i64 {
        self.life.epoch()
    }

    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        self.publisher.publish(messages).await
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError> {
        let pulse = Pulse::new(group);
        self.members.add(&pulse);
        let member = KafkaMember::join(&self.options, group, self.patience, pulse)?;
        Ok(Box::new(member))
    }

    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError> {
        // Read first: positions of a later life than the epoch's excuse no row for long.
        let epoch = self.epoch();
        let partitions = self.watch.positions(group).await?;
        Ok(GroupPosition { epoch, partitions })
    }

    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        let plan = TopicPlan {
            partitions: spec.partitions,
            replication: spec.replication,
            min_insync_replicas: None,
        };
        match self.make(&plan).await? {
            Made::New | Made::AsPlanned => Ok(()),
            Made::Differs(differences) => {
                let said: Vec<String> = differences.iter().map(ToString::to_string).collect();
                Err(TopicError::Mismatch(said.join(", ")))
            }
        }
    }

    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        self.watch.describe().await
    }
}
