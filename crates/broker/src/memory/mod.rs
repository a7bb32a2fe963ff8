//! The topic in memory: partitions, offsets, groups and generations as Kafka has
//! them, in one process. It needs no durability of its own: the row in the
//! database is the truth, and what a crash takes from here rescue publishes again.
//!
//! # Model
//! One lock guards the log and its groups; nobody waits while holding it. A member
//! that finds nothing waits on its own `Notify`, so only those wake who have
//! something to see.
//!
//! # What each failure does
//! - A member is dropped: noticed at once; the others get its partitions and read
//!   on from what was committed.
//! - A member does not poll: it keeps its partitions (there is no clock here to
//!   expel it by), and one that is to be handed over waits for it.
//! - A group falls behind: the log keeps what it has not committed past, until the
//!   topic is full; then publishing is refused. Nothing unread is ever dropped.

mod group;
mod log;
mod member;
#[cfg(test)]
mod schedules;
mod share;
mod state;
#[cfg(test)]
mod tests;

use crate::placing::partition_of;
use async_trait::async_trait;
use log::Entry;
use member::MemoryMember;
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tombola_core::limits;
use tombola_core::ports::{
    GroupPosition, Member, Outgoing, Report, Topic, TopicDescription, TopicError, TopicSpec,
};

/// What a topic in memory is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Its name, for `describe`.
    pub name: String,
    /// Partitions; at least one is made.
    pub partitions: i32,
    /// Bytes kept, bookkeeping included; a full topic refuses.
    pub bytes_max: usize,
    /// This process's incarnation: positions of another one say nothing.
    pub epoch: i64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            name: "lottery_invoice".to_owned(),
            partitions: limits::TOPIC_PARTITIONS,
            bytes_max: limits::MEMORY_TOPIC_BYTES_MAX,
            epoch: 1,
        }
    }
}

/// The topic in memory. Clones are handles of the same topic.
#[derive(Clone)]
pub struct MemoryTopic {
    shared: Arc<Shared>,
}

struct Shared {
    options: MemoryOptions,
    state: Mutex<State>,
}

impl Shared {
    /// A panic under the lock would be a defect of ours; the other awards go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryTopic {
    /// An empty topic.
    pub fn new(options: MemoryOptions) -> Self {
        let options = MemoryOptions {
            partitions: options.partitions.max(1),
            ..options
        };
        let state = Mutex::new(State::new(options.partitions, options.bytes_max));
        Self {
            shared: Arc::new(Shared { options, state }),
        }
    }

    /// Puts a message there as a foreign producer could: without a key (it goes to
    /// the first partition) or a value, or too large.
    pub fn publish_foreign(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Vec<(String, String)>,
    ) -> Report {
        let entry = Entry::new(key.map(Arc::from), value.map(Arc::from), headers);
        let place = key.map_or(0, |key| self.place(key));
        let mut reports = self.shared.lock().append(vec![Ok((place, entry))]);
        reports.pop().expect("one report for each message")
    }

    /// Throws every member of `group` out, as a broker does with members that it
    /// has not heard of for too long. What they commit is lost; when they poll,
    /// they see what was revoked and join again.
    pub fn expel(&self, group: &str) {
        self.shared.lock().expel(group);
    }

    /// Ends the topic: publishes are not taken, members see `Closed`.
    pub fn close(&self) {
        self.shared.lock().close();
    }

    fn place(&self, key: &[u8]) -> i32 {
        partition_of(key, self.shared.options.partitions)
    }

    fn prepare(&self, message: Outgoing) -> Result<(i32, Entry), Report> {
        if let Some(why) = crate::refusal(&message) {
            return Err(Report::Refused(why));
        }
        let key = message.key.into_bytes();
        let place = self.place(&key);
        Ok((
            place,
            Entry::new(Some(key.into()), Some(message.value), message.headers),
        ))
    }
}

#[async_trait]
impl Topic for MemoryTopic {
    fn epoch(&self) -> i64 {
        self.shared.options.epoch
    }

    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        // Hashed and allocated before the lock is taken.
        let prepared = messages
            .into_iter()
            .map(|message| self.prepare(message))
            .collect();
        self.shared.lock().append(prepared)
    }

    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError> {
        Ok(Box::new(MemoryMember::join(
            Arc::clone(&self.shared),
            group,
        )?))
    }

    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError> {
        let partitions = self.shared.lock().positions(group);
        Ok(GroupPosition {
            epoch: self.shared.options.epoch,
            partitions,
        })
    }

    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError> {
        let made = TopicSpec {
            partitions: self.shared.options.partitions,
            replication: 1,
        };
        if *spec == made {
            return Ok(());
        }
        Err(TopicError::Mismatch(format!(
            "it has {} partitions of 1 replica, asked were {} of {}",
            made.partitions, spec.partitions, spec.replication
        )))
    }

    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        Ok(Some(TopicDescription {
            name: self.shared.options.name.clone(),
            partitions: self.shared.options.partitions,
            replication: 1,
            min_insync_replicas: 1,
        }))
    }
}
