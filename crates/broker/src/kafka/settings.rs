//! The settings that our promises rest on, and those of an operator that would take
//! them away: refused by name, never overridden in silence.

use super::KafkaOptions;
use super::config::{MAX_POLL_INTERVAL, MESSAGE_TIMEOUT, WAITING_BYTES_MAX, WAITING_MAX};
use crate::WHOLE_BYTES_MAX;
use rdkafka::error::KafkaError;

/// The largest batch that a producer of ours may make, and that a topic has to take:
/// our largest message with what Kafka writes around it.
pub(super) const BATCH_BYTES: usize = WHOLE_BYTES_MAX + 4096;

/// Why no client can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// One setting cannot be what it is.
    #[error("broker.kafka.{name} cannot be `{value}`: {why}")]
    Refused {
        /// Its name, as librdkafka knows it.
        name: String,
        /// What it was set to.
        value: String,
        /// Why not, and what to do.
        why: String,
    },
    /// librdkafka does not know one, or they do not go together. Its words never
    /// carry a password.
    #[error("broker.kafka does not make a client: {0}")]
    Unfit(String),
}

impl SettingsError {
    pub(super) fn of(error: &KafkaError) -> Self {
        // Its own words carry the value, which may be a password.
        Self::Unfit(if let KafkaError::ClientConfig(_, why, name, _) = error {
            format!("{name}: {why}")
        } else {
            error.to_string()
        })
    }
}

/// A setting that is ours.
pub(super) struct Ours {
    /// The name that we set, then its other names.
    pub(super) names: &'static [&'static str],
    pub(super) value: String,
    /// Other ways to write the value.
    same: &'static [&'static str],
    /// What would not hold without it.
    why: &'static str,
}

fn ours(names: &'static [&'static str], value: impl std::fmt::Display, why: &'static str) -> Ours {
    Ours {
        names,
        value: format!("{value}"),
        same: &[],
        why,
    }
}

/// What the producer is set to, whatever else is asked for.
pub(super) fn of_producer() -> Vec<Ours> {
    vec![
        ours(
            &["enable.idempotence"],
            true,
            "a request that is repeated must not put a second copy there",
        ),
        Ours {
            same: &["-1"],
            ..ours(
                &["acks", "request.required.acks"],
                "all",
                "a mark says that every replica in sync has the message",
            )
        },
        ours(
            &["partitioner"],
            "murmur2_random",
            "a user's messages have the place that Kafka's own clients give them",
        ),
        ours(
            &["message.timeout.ms", "delivery.timeout.ms"],
            MESSAGE_TIMEOUT.as_millis(),
            "the broker's word must come before rescue looks at the row",
        ),
        ours(
            &["message.max.bytes"],
            BATCH_BYTES,
            "every message within our own bound must fit",
        ),
    ]
}

/// What a member's consumer is set to, whatever else is asked for.
pub(super) fn of_consumer() -> Vec<Ours> {
    vec![
        ours(
            &["partition.assignment.strategy"],
            "cooperative-sticky",
            "what does not move when a member comes must be read on without a break",
        ),
        ours(
            &["group.protocol"],
            "classic",
            "a partition is handed on only after its old owner was told",
        ),
        ours(
            &["enable.auto.commit"],
            false,
            "an offset moves only after what lies before it is in the database",
        ),
        ours(
            &["enable.auto.offset.store"],
            false,
            "an offset moves only after what lies before it is in the database",
        ),
        Ours {
            same: &["smallest", "beginning"],
            ..ours(
                &["auto.offset.reset"],
                "earliest",
                "a group without offsets reads what is there, and does not pass it by",
            )
        },
        ours(
            &["allow.auto.create.topics"],
            false,
            "the topic is made by `tombola topic create`, with the partitions it is asked for",
        ),
        ours(
            &["max.poll.interval.ms"],
            MAX_POLL_INTERVAL.as_millis(),
            "it must outlast the wait for a worker that is told of a revocation",
        ),
        ours(
            &["queued.min.messages"],
            WAITING_MAX,
            "it bounds what a member holds in memory",
        ),
        ours(
            &["queued.max.messages.kbytes"],
            WAITING_BYTES_MAX >> 10,
            "it bounds what a member holds in memory",
        ),
    ]
}

/// Settings that have a place of their own, or none at all, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("bootstrap.servers", "the brokers stand in broker.url"),
    ("metadata.broker.list", "the brokers stand in broker.url"),
    ("group.id", "the group stands in broker.group"),
    (
        "transactional.id",
        "messages are published without transactions; remove it",
    ),
];

/// Refuses the first setting that would take a promise away.
pub(super) fn check(options: &KafkaOptions) -> Result<(), SettingsError> {
    let fixed: Vec<Ours> = of_producer().into_iter().chain(of_consumer()).collect();
    for (name, value) in &options.settings {
        let refuse = |why: String| {
            let (name, value) = (name.clone(), value.clone());
            Err(SettingsError::Refused { name, value, why })
        };
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(it, _)| it == name) {
            return refuse((*instead).to_owned());
        }
        let Some(ours) = fixed.iter().find(|it| it.names.contains(&name.as_str())) else {
            continue;
        };
        let means_ours = std::iter::once(ours.value.as_str())
            .chain(ours.same.iter().copied())
            .any(|it| it.eq_ignore_ascii_case(value.trim()));
        if !means_ours {
            return refuse(format!(
                "it is `{}` here, for {}; remove it",
                ours.value, ours.why
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), String> {
        let options = KafkaOptions {
            brokers: "localhost:9092".to_owned(),
            topic: "t".to_owned(),
            epoch: 1,
            settings: vec![(name.to_owned(), value.to_owned())],
        };
        check(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn setting_that_contradicts_a_promise_is_refused_by_name() {
        assert_eq!(
            checked("acks", "1").unwrap_err(),
            "broker.kafka.acks cannot be `1`: it is `all` here, for a mark says that every \
             replica in sync has the message; remove it"
        );
        for (name, value) in [
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("delivery.timeout.ms", "300000"),
            ("enable.auto.commit", "true"),
            ("group.protocol", "consumer"),
            ("auto.offset.reset", "latest"),
        ] {
            let said = checked(name, value).unwrap_err();
            assert!(said.contains(&format!("broker.kafka.{name} ")), "{said}");
        }
    }

    #[test]
    fn setting_with_a_place_of_its_own_is_sent_there() {
        for (name, place) in [
            ("bootstrap.servers", "broker.url"),
            ("group.id", "broker.group"),
        ] {
            let said = checked(name, "x").unwrap_err();
            assert!(said.contains(place), "{said}");
        }
    }

    #[test]
    fn setting_that_says_the_same_or_concerns_no_promise_passes() {
        for (name, value) in [
            ("acks", "-1"),
            ("enable.idempotence", "True"),
            ("security.protocol", "SASL_SSL"),
            ("compression.type", "zstd"),
            ("linger.ms", "50"),
        ] {
            assert_eq!(checked(name, value), Ok(()), "{name}");
        }
    }
}
