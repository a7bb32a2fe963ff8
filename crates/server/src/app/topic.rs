//! The topic of this process, in memory or on Kafka; and on Kafka the life that it
//! lives, which the database keeps (decision 0016).
//!
//! # What each failure does
//! - The brokers are away, or the topic is not there: the kept life is entered without a
//!   look, draws go on, and the next look comes soon. `/readyz` says what was seen last,
//!   so that nobody who asks it waits for a broker.
//! - Another process stored another life between our read and our write: the look is
//!   made anew over what it stored.
//! - The database is away: nothing is entered, the life before goes on.

use super::{App, ServeRole, ServeRoles};
use crate::config::Config;
use crate::random;
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tombola_broker::{
    KafkaTopic, KeptEpoch, MemberHealth, MemoryOptions, MemoryTopic, Renewal, SettingsError, Why,
};
use tombola_core::ports::{StoreResult, Topic, TopicError};
use tombola_store::Store;

/// Time between two looks at the topic's life.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The same while something is the matter.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Looks of which another process was quicker to store, before the next interval.
const LOOKS_MAX: u32 = 8;

/// The topic of one process.
#[derive(Clone)]
pub(crate) enum OurTopic {
    Memory(MemoryTopic),
    Kafka(Arc<Kafka>),
}

/// The topic on Kafka, and how it was at the last look.
pub(crate) struct Kafka {
    topic: Arc<KafkaTopic>,
    seen: Mutex<Seen>,
}

/// What the last look saw.
struct Seen {
    /// What is the matter, if anything is.
    trouble: Option<String>,
    /// Which error it was: their texts change from look to look.
    kind: Option<Discriminant<TopicError>>,
}

impl Seen {
    fn of(error: Option<&TopicError>) -> Self {
        Self {
            trouble: error.map(TopicError::to_string),
            kind: error.map(discriminant),
        }
    }
}

impl OurTopic {
    /// The one that the settings name. Waits for no broker.
    pub(super) fn new(config: &Config) -> Result<Self, SettingsError> {
        let broker = &config.broker;
        if let Some(options) = broker.kafka(any_life()) {
            return Ok(Self::Kafka(Arc::new(Kafka {
                topic: Arc::new(KafkaTopic::new(options)?),
                seen: Mutex::new(Seen {
                    trouble: Some("nobody has looked at it yet".to_owned()),
                    kind: None,
                }),
            })));
        }
        Ok(Self::Memory(MemoryTopic::new(MemoryOptions {
            name: broker.topic.clone(),
            partitions: broker.partitions,
            // Positions of an earlier process say nothing about this one's topic.
            epoch: i64::from(u32::from_be_bytes(random::bytes())) + 1,
            ..MemoryOptions::default()
        })))
    }

    /// As the engine knows it.
    pub(super) fn port(&self) -> Arc<dyn Topic> {
        match self {
            Self::Memory(topic) => Arc::new(topic.clone()),
            Self::Kafka(kafka) => kafka.topic.clone(),
        }
    }

    /// The topic on Kafka, if it is there.
    pub(crate) fn kafka(&self) -> Option<&Arc<KafkaTopic>> {
        match self {
            Self::Memory(_) => None,
            Self::Kafka(kafka) => Some(&kafka.topic),
        }
    }

    /// What is the matter with it, if anything is: on Kafka what the last look saw, and
    /// how the members of this process do.
    pub(super) fn trouble(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Kafka(kafka) => {
                let members = kafka.topic.health();
                let complaint = members.iter().find_map(MemberHealth::complaint);
                kafka.trouble().or(complaint)
            }
        }
    }

    /// Ends it. On Kafka what was handed over is waited for, at most so long.
    pub(super) async fn close(&self, deadline: Duration) {
        match self {
            Self::Memory(topic) => topic.close(),
            Self::Kafka(kafka) => {
                if let Err(error) = kafka.topic.flush(deadline).await {
                    tracing::warn!(%error, "not every publish was reported on; rescue finds them");
                }
            }
        }
    }
}

impl Kafka {
    fn trouble(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.trouble.clone()
    }

    /// Keeps what a look saw; says it once when trouble comes, and once when it is over.
    fn note(&self, error: Option<&TopicError>) {
        let now = Seen::of(error);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.kind != now.kind {
            if let Some(why) = &now.trouble {
                tracing::warn!(why, "the topic is out of reach; draws go on");
            } else {
                tracing::info!("the topic is within reach again");
            }
        }
        *seen = now;
    }

    /// Looks, and lives what is to be lived from now on.
    async fn look(&self, store: &Store) -> StoreResult<()> {
        for _ in 0..LOOKS_MAX {
            let row = store.kept_topic_life().await?;
            let kept = row.as_deref().and_then(read);
            let looked = self.topic.look(kept.as_ref(), any_life()).await;
            self.note(looked.as_ref().err());
            let (now, why) = match looked {
                Ok(Renewal::Grown(now)) => (now, None),
                Ok(Renewal::Renewed(now, why)) => (now, Some(why)),
                Ok(Renewal::Same) | Err(_) => {
                    if let Some(kept) = &kept {
                        self.topic.enter(kept);
                    }
                    return Ok(());
                }
            };
            // Stored before it is used: a mark of a life that the database does not keep
            // would be of nobody's life after a crash.
            if store.keep_topic_life(row, written(&now)).await? {
                say(&now, why.as_ref());
                self.topic.enter(&now);
                return Ok(());
            }
        }
        tracing::debug!("other processes were quicker; the next look comes soon");
        Ok(())
    }
}

impl App {
    /// Lives the kept life of the topic before anything is published.
    pub(super) async fn begin_topic(&self) -> StoreResult<()> {
        match &self.0.topic {
            OurTopic::Memory(_) => Ok(()),
            OurTopic::Kafka(kafka) => kafka.look(self.store()).await,
        }
    }

    pub(super) fn follow_topic(&self, roles: &ServeRoles) {
        let OurTopic::Kafka(kafka) = &self.0.topic else {
            return;
        };
        self.tasks().spawn(follow(self.clone(), Arc::clone(kafka)));
        if roles.has(ServeRole::Api) || roles.has(ServeRole::Rescue) {
            self.tasks().spawn(warm_up(self.clone(), Arc::clone(kafka)));
        }
    }
}

async fn follow(app: App, kafka: Arc<Kafka>) {
    loop {
        let pause = if kafka.trouble().is_some() {
            LOOK_AGAIN
        } else {
            LOOK_INTERVAL
        };
        tokio::select! {
            () = app.tasks().stopped() => return,
            () = tokio::time::sleep(pause) => {}
            () = kafka.topic.doubted() => {}
        }
        if let Err(error) = kafka.look(app.store()).await {
            tracing::warn!(%error, "the topic's life is looked at later");
        }
    }
}

async fn warm_up(app: App, kafka: Arc<Kafka>) {
    tokio::select! {
        () = app.tasks().stopped() => {}
        warm = kafka.topic.warm_up() => {
            if let Err(error) = warm {
                tracing::info!(%error, "the first publish connects to the broker");
            }
        }
    }
}

/// A number that no life has had.
fn any_life() -> i64 {
    (i64::from_be_bytes(random::bytes()) & i64::MAX).max(1)
}

/// What cannot be read is no life that is kept: another one begins.
fn read(row: &str) -> Option<KeptEpoch> {
    let kept = serde_json::from_str(row);
    kept.inspect_err(|error| tracing::error!(%error, "the kept life of the topic cannot be read"))
        .ok()
}

fn written(kept: &KeptEpoch) -> String {
    serde_json::to_string(kept).expect("numbers and texts are JSON")
}

fn say(now: &KeptEpoch, why: Option<&Why>) {
    let topic = now.topic.as_str();
    match why {
        None => {}
        Some(why @ Why::First) => tracing::info!(topic, %why, "a life of the topic begins"),
        Some(why) => tracing::warn!(
            topic, %why,
            "the topic is another one than before: what the group had not read is published again"
        ),
    }
}
