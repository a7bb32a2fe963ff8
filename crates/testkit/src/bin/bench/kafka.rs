//! The Kafka that benchmarks run on: the one that `TOMBOLA_TEST_KAFKA` names, which
//! `cargo xtask bench` starts where nobody has. Each contender has topics of its own.

use anyhow::{Context as _, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tombola_broker::{KafkaOptions, KafkaTopic, TopicPlan};
use tombola_core::limits;
use tombola_engine::SystemClock;

const VARIABLE: &str = "TOMBOLA_TEST_KAFKA";

/// Running brokers.
pub(crate) struct Brokers(String);

impl Brokers {
    pub(crate) fn find() -> Result<Self> {
        let brokers = std::env::var(VARIABLE).with_context(|| {
            format!("{VARIABLE} names no brokers: run `cargo xtask bench`, which starts some")
        })?;
        Ok(Self(brokers))
    }

    /// A new topic, which no earlier run had.
    pub(crate) async fn topic(&self) -> Result<BenchTopic> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let options = KafkaOptions {
            brokers: self.0.clone(),
            topic: format!("tombola-bench-{}-{next}", SystemClock::wall().0),
            epoch: 1,
            settings: Vec::new(),
        };
        let topic = KafkaTopic::new(options.clone())?;
        let plan = TopicPlan {
            partitions: limits::TOPIC_PARTITIONS,
            replication: 1,
            min_insync_replicas: None,
        };
        topic.make(&plan).await?;
        topic.warm_up().await?;
        Ok(BenchTopic {
            topic: Arc::new(topic),
            options,
        })
    }
}

/// A topic, and how it is reached.
pub(crate) struct BenchTopic {
    pub(crate) topic: Arc<KafkaTopic>,
    pub(crate) options: KafkaOptions,
}
