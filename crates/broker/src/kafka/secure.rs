//! Aim: TLS and SASL reach librdkafka as they are set, a cluster that asks for them is used like any
//! other, and one that refuses us says why. Runs where `TOMBOLA_TEST_KAFKA_SECURE` names brokers
//! behind both, as `cargo xtask services up` prints it.

use super::real::{PLAN, fresh_name};
use super::{KafkaOptions, KafkaTopic, Made};
use crate::suite::{in_time, outgoing, skip, taken};
use tombola_core::ports::{Topic, TopicError};

/// Those of the services.
const USER: &str = "tombola";
const PASSWORD: &str = "a-password-of-the-tests";

/// Brokers behind TLS, and the certificate by which they are trusted.
struct Secure {
    brokers: String,
    authority: String,
}

impl Secure {
    /// `None` (and a line) where there are none.
    fn find(test: &str) -> Option<Self> {
        let of = |name| std::env::var(name).ok();
        let found = of("TOMBOLA_TEST_KAFKA_SECURE").zip(of("TOMBOLA_TEST_KAFKA_CA"));
        if found.is_none() {
            let name = format!("{}::{test}", module_path!());
            skip(&name, "TOMBOLA_TEST_KAFKA_SECURE names no broker");
        }
        let (brokers, authority) = found?;
        Some(Self { brokers, authority })
    }

    /// All that is needed.
    fn settings(&self, mechanism: &'static str) -> Vec<(&'static str, &str)> {
        vec![
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", &self.authority),
            ("sasl.mechanism", mechanism),
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
        ]
    }

    fn connect(&self, settings: &[(&str, &str)]) -> KafkaTopic {
        let settings = settings.iter();
        KafkaTopic::new(KafkaOptions {
            brokers: self.brokers.clone(),
            topic: fresh_name(),
            epoch: 7,
            settings: settings
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
        .unwrap()
    }

    /// What a topic with the settings is told instead of an answer.
    async fn refusal(&self, settings: &[(&str, &str)]) -> String {
        let topic = self.connect(settings);
        match in_time(topic.describe()).await {
            Err(TopicError::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

async fn is_used_like_any_other(secure: &Secure, mechanism: &'static str) {
    let topic = secure.connect(&secure.settings(mechanism));
    assert_eq!(in_time(topic.make(&PLAN)).await, Ok(Made::New));
    let reports = in_time(topic.publish_batch(vec![outgoing(2, "behind TLS")])).await;
    assert_eq!(taken(&reports[0]).0, 2);
    let seen = in_time(topic.inspect("nobody")).await.unwrap().unwrap();
    assert_eq!(seen.partitions[2].high_watermark, 1);
    let name = seen.name;
    let gone = topic.watch.administer(async move |admin| {
        admin
            .delete_topics(&[&name], &rdkafka::admin::AdminOptions::new())
            .await
    });
    assert!(in_time(gone).await.unwrap().iter().all(Result::is_ok));
}

#[tokio::test]
async fn topic_behind_tls_and_scram_is_used_like_any_other() {
    if let Some(secure) = Secure::find("scram") {
        is_used_like_any_other(&secure, "SCRAM-SHA-512").await;
    }
}

#[tokio::test]
async fn topic_behind_tls_and_plain_is_used_like_any_other() {
    if let Some(secure) = Secure::find("plain") {
        is_used_like_any_other(&secure, "PLAIN").await;
    }
}

#[tokio::test]
async fn broker_that_no_authority_vouches_for_is_refused_and_the_error_names_the_setting() {
    let Some(secure) = Secure::find("no authority") else {
        return;
    };
    let mut settings = secure.settings("PLAIN");
    settings.retain(|(name, _)| *name != "ssl.ca.location");
    let why = secure.refusal(&settings).await;
    assert!(why.contains("ssl.ca.location"), "{why}");
}

#[tokio::test]
async fn wrong_password_is_told_as_such_and_not_shown() {
    let Some(secure) = Secure::find("wrong password") else {
        return;
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let mut settings = secure.settings(mechanism);
        settings.retain(|(name, _)| *name != "sasl.password");
        settings.push(("sasl.password", "another-password"));
        let why = secure.refusal(&settings).await;
        assert!(why.contains("Authentication failed"), "{mechanism}: {why}");
        assert!(!why.contains("another-password"), "{mechanism}: {why}");
    }
}

#[tokio::test]
async fn broker_behind_tls_hangs_up_on_who_talks_plainly_and_the_error_says_so() {
    let Some(secure) = Secure::find("no TLS") else {
        return;
    };
    let why = secure.refusal(&[]).await;
    // All that librdkafka knows of it, and only as a line of its log.
    assert!(why.contains("Disconnected"), "{why}");
}
