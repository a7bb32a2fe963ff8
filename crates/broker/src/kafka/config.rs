//! The settings of the clients, and librdkafka's log lines as ours.

use super::KafkaOptions;
use super::settings::{self, Ours};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
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
/// A member whose thread has not polled for so long does not do its work: longer
/// than a revocation waits for the worker.
pub(super) const POLLED_AGE_MAX: Duration = TOLD_WAIT.saturating_add(Duration::from_secs(5));
/// A worker that has not asked for so long does not do its work: longer than it
/// waits after an error.
pub(super) const ASKED_AGE_MAX: Duration = Duration::from_mins(1);
/// Between two questions whether what was made shows.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Messages of one partition that wait for the worker; beyond it fetching stops.
pub(super) const WAITING_MAX: usize = 2 * limits::WORKER_POLL_MAX;
/// The same in bytes.
pub(super) const WAITING_BYTES_MAX: usize = 4 << 20;

pub(super) const MAX_POLL_INTERVAL: Duration = Duration::from_mins(5);
const _: () = assert!(TOLD_WAIT.as_secs() < MAX_POLL_INTERVAL.as_secs());

/// How long others wait for a member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// A revocation, for the worker to be told.
    pub(super) told: Duration,
    /// The group, for the thread to poll.
    pub(super) polled: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            told: TOLD_WAIT,
            polled: MAX_POLL_INTERVAL,
        }
    }
}

/// librdkafka looks for messages that are too old once a second at worst, and its
/// word is better than our time-out.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_millis(2_500);
const _: () = assert!(MESSAGE_TIMEOUT.as_millis() + 1_000 < limits::PUBLISH_TIMEOUT.as_millis());

fn common(options: &KafkaOptions, fixed: Vec<Ours>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", CLIENT_ID)
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        // OpenSSL is built along and knows no machine's certificates by itself.
        .set("ssl.ca.location", "probe");
    config.extend(options.settings.iter().cloned());
    for ours in fixed {
        // An operator's equal setting under another name would be set a second time.
        for name in ours.names {
            config.remove(name);
        }
        config.set(ours.names[0], ours.value);
    }
    config
        .set("bootstrap.servers", &options.brokers)
        // Why a broker hangs up is said at this level alone; our own log has it at `debug`.
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

/// What clients of ours are called, unless the operator calls them otherwise.
const CLIENT_ID: &str = "tombola";

/// The name that our members show in the group.
pub(super) fn client_id(options: &KafkaOptions) -> &str {
    let mut set = options.settings.iter().rev();
    set.find(|(name, _)| name == "client.id")
        .map_or(CLIENT_ID, |(_, value)| value)
}

/// Measured on Apache Kafka 4: with librdkafka's own 5 ms a batch of a thousand waits
/// longer than it takes, and lz4 costs less than the bytes that it saves.
const PRODUCER_DEFAULTS: &[(&[&str], &str)] = &[
    (&["linger.ms", "queue.buffering.max.ms"], "1"),
    (&["compression.type", "compression.codec"], "lz4"),
];

const CONSUMER_DEFAULTS: &[(&[&str], &str)] = &[
    // Where a partition has as many messages waiting as we let it, librdkafka by itself
    // does not fetch from it for a second: one more for every award of a busy topic.
    (&["fetch.queue.backoff.ms"], "10"),
    // Fetching stops where enough waits for the worker, and what was fetched beyond it is
    // thrown away then. By librdkafka's own 1 MiB a partition that was most of it: the
    // broker sent a backlog twenty times over. A larger message comes alone.
    (
        &["fetch.message.max.bytes", "max.partition.fetch.bytes"],
        "65536",
    ),
    // A process that died has its partitions for so long, and so has a member that lost
    // the broker and joins anew: nobody reads them until then. The heart beats on a thread
    // of its own, whatever the worker does.
    (&["session.timeout.ms"], "10000"),
];

pub(super) fn producer(options: &KafkaOptions) -> ClientConfig {
    let mut config = common(options, settings::of_producer());
    set_defaults(&mut config, PRODUCER_DEFAULTS);
    config
}

pub(super) fn consumer(options: &KafkaOptions, group: &str) -> ClientConfig {
    let mut config = common(options, settings::of_consumer());
    set_defaults(&mut config, CONSUMER_DEFAULTS);
    config.set("group.id", group);
    config
}

/// What the operator has not set.
fn set_defaults(config: &mut ClientConfig, defaults: &[(&[&str], &str)]) {
    for (names, value) in defaults {
        // Two names of one setting would be set in no order.
        if !names.iter().any(|name| config.get(name).is_some()) {
            config.set(names[0], *value);
        }
    }
}

/// For questions about the topic, and for making it.
pub(super) fn administrator(options: &KafkaOptions) -> ClientConfig {
    common(options, Vec::new())
}

/// A failure of the cluster, or of the way to it.
pub(super) fn unavailable(error: &KafkaError) -> TopicError {
    TopicError::Unavailable(error.to_string())
}

/// Writes what librdkafka has to say where our own log lines go.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    if facility == "CONFWARN" {
        // That a setting of members is none of a producer's, said of each client.
        tracing::debug!(target: "librdkafka", facility, text, "librdkafka says");
        return;
    }
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
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
        // Said again and again; why they are was said before.
        tracing::debug!(target: "librdkafka", %error, reason, "the broker gives trouble");
    } else {
        tracing::warn!(target: "librdkafka", %error, reason, "the broker gives trouble");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(settings: &[(&str, &str)]) -> KafkaOptions {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaOptions {
            brokers: "localhost:9092".to_owned(),
            topic: "t".to_owned(),
            epoch: 1,
            settings: settings.iter().map(owned).collect(),
        }
    }

    #[test]
    fn busy_partition_is_fetched_from_at_once_and_a_dead_member_is_missed_for_seconds() {
        let consumer = consumer(&options(&[]), "g");
        assert_eq!(consumer.get("fetch.queue.backoff.ms"), Some("10"));
        assert_eq!(consumer.get("session.timeout.ms"), Some("10000"));
        assert_eq!(consumer.get("fetch.message.max.bytes"), Some("65536"));
        assert!(consumer.create_native_config().is_ok());
    }

    #[test]
    fn operators_setting_takes_the_place_of_a_default_under_any_of_its_names() {
        let options = options(&[
            ("session.timeout.ms", "6000"),
            ("compression.codec", "zstd"),
        ]);
        let consumer = consumer(&options, "g");
        assert_eq!(consumer.get("session.timeout.ms"), Some("6000"));
        let producer = producer(&options);
        assert_eq!(producer.get("compression.codec"), Some("zstd"));
        assert_eq!(producer.get("compression.type"), None);
    }
}
