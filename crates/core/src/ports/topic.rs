//! The topic: the named log between the draw and its delivery. It promises
//! at-least-once and order within a partition, no more.

use super::GroupPosition;
use async_trait::async_trait;
use std::sync::Arc;

/// What went wrong with a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The broker cannot be reached or did not answer in time.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// This member no longer owns what it speaks of; what it did not commit will
    /// be read again by another member.
    #[error("the member's generation is over")]
    LostGeneration,
    /// The topic does not exist, or differs from what was asked.
    #[error("the topic does not fit: {0}")]
    Mismatch(String),
    /// The topic was closed.
    #[error("the topic is closed")]
    Closed,
}

/// A message on its way to the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Decides the partition.
    pub key: String,
    /// The value.
    pub value: Arc<[u8]>,
    /// Text headers.
    pub headers: Vec<(String, String)>,
}

/// What the broker said of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It is on the topic.
    Taken { partition: i32, offset: i64 },
    /// It is surely not there; try later.
    NotTaken(String),
    /// Nobody knows.
    Unknown(String),
    /// It never will be: too large, invalid.
    Refused(String),
}

/// A message read from the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Arc<[u8]>>,
    /// Its value.
    pub value: Option<Arc<[u8]>>,
    /// Its headers, as far as they are text.
    pub headers: Vec<(String, String)>,
}

/// What a member of a group sees when it polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Messages, in order within each partition.
    Messages(Vec<Incoming>),
    /// These partitions are ours from now on; reading begins at the committed
    /// offset.
    Assigned(Vec<i32>),
    /// These are no longer ours: forget what is known of them, commit no more.
    Revoked(Vec<i32>),
}

/// What a topic is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication: i32,
}

/// What a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// Replicas of each.
    pub replication: i32,
    /// Replicas that must have a message before it is acknowledged.
    pub min_insync_replicas: i32,
}

/// The named log.
#[async_trait]
pub trait Topic: Send + Sync {
    /// This life of the topic; read before a publish and stored with its mark.
    fn epoch(&self) -> i64;

    /// Publishes; one report for each message, in order. A report that does not
    /// come within the publish time-out is `Unknown`.
    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report>;

    /// Joins `group`.
    async fn subscribe(&self, group: &str) -> Result<Box<dyn Member>, TopicError>;

    /// How far `group` has come.
    async fn group_position(&self, group: &str) -> Result<GroupPosition, TopicError>;

    /// Makes the topic; fine if it is there and matches.
    async fn create(&self, spec: &TopicSpec) -> Result<(), TopicError>;

    /// Says what the topic is, `None` if it is not there.
    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError>;
}

/// A member of a group. Dropping it without `leave` is a crash: its partitions
/// move on when the broker notices.
#[async_trait]
pub trait Member: Send {
    /// Waits for the next thing to see: at most `max` messages. Cancel-safe:
    /// dropping the future loses nothing.
    async fn poll(&mut self, max: usize) -> Result<Polled, TopicError>;

    /// Commits the next offset to read, by partition. Fails with
    /// `LostGeneration`, having committed nothing, if any of them is not ours.
    async fn commit(&mut self, next: &[(i32, i64)]) -> Result<(), TopicError>;

    /// Stops reading these partitions until `resume`; polling goes on.
    async fn pause(&mut self, partitions: &[i32]) -> Result<(), TopicError>;

    /// Reads them again.
    async fn resume(&mut self, partitions: &[i32]) -> Result<(), TopicError>;

    /// Leaves the group; what was not committed is read again by others.
    async fn leave(self: Box<Self>) -> Result<(), TopicError>;
}
