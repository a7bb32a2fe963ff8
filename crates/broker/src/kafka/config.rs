//! The settings of the clients, and librdkafka's log lines as ours.

use super::KafkaOptions;
use crate::WHOLE_BYTES_MAX;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use std::time::Duration;
use tombola_core::limits;
use tombola_core::ports::TopicError;

/// How long a member's thread waits for a message before it looks after the rest.
pub(super) const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a partition that the group takes away waits for the worker to be told.
/// Below `max.poll.interval.ms`, beyond which the group would go on without us.
pub(super) const TOLD_WAIT: Duration = Duration::from_secs(30);
/// How long a commit may take.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Commits that wait for the thread: more only pile up if callers give up on them.
pub(super) const COMMITS_WAITING_MAX: usize = 4;
/// How long leaving a group may take before the thread is left to it.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a question to the cluster may take.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of one partition that wait for the worker; beyond it fetching stops.
pub(super) const WAITING_MAX: usize = 2 * limits::WORKER_POLL_MAX;
/// The same in bytes.
pub(super) const WAITING_BYTES_MAX: usize = 4 << 20;

const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);
const _: () = assert!(TOLD_WAIT.as_secs() < MAX_POLL_INTERVAL.as_secs());

/// librdkafka looks for messages that are too old once a second at worst, and its
/// word is better than our time-out.
const MESSAGE_TIMEOUT: Duration = Duration::from_millis(2_500);
const _: () = assert!(MESSAGE_TIMEOUT.as_millis() + 1_000 < limits::PUBLISH_TIMEOUT.as_millis());

fn common(options: &KafkaOptions) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "tombola")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true");
    config.extend(options.settings.iter().cloned());
    config
        .set("bootstrap.servers", &options.brokers)
        .set_log_level(RDKafkaLogLevel::Notice);
    config
}

pub(super) fn producer(options: &KafkaOptions) -> ClientConfig {
    let mut config = common(options);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random") // as `placing` computes it
        .set("message.max.bytes", (WHOLE_BYTES_MAX + 4096).to_string())
        .set(
            "message.timeout.ms",
            MESSAGE_TIMEOUT.as_millis().to_string(),
        );
    config
}

pub(super) fn consumer(options: &KafkaOptions, group: &str) -> ClientConfig {
    let mut config = common(options);
    config
        .set("group.id", group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false")
        .set(
            "max.poll.interval.ms",
            MAX_POLL_INTERVAL.as_millis().to_string(),
        )
        // What waits here is fetched again after a pause, so it stays small.
        .set("queued.min.messages", WAITING_MAX.to_string())
        .set(
            "queued.max.messages.kbytes",
            (WAITING_BYTES_MAX >> 10).to_string(),
        );
    config
}

/// A failure of the cluster, or of the way to it.
pub(super) fn unavailable(error: &KafkaError) -> TopicError {
    TopicError::Unavailable(error.to_string())
}

/// Writes what librdkafka has to say where our own log lines go.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => {
            tracing::error!(target: "librdkafka", facility, text, "librdkafka reports an error");
        }
        RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, text, "librdkafka warns");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(target: "librdkafka", facility, text, "librdkafka says");
        }
    }
}

/// A connection that breaks is mended by librdkafka; who waits hears of it.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    tracing::warn!(target: "librdkafka", %error, reason, "the broker gives trouble");
}
