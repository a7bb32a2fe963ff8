//! Publishing: an idempotent producer, a report for each message.

use super::KafkaOptions;
use super::config::{self, ASK_TIMEOUT};
use super::epoch::Life;
use super::settings::SettingsError;
use super::trouble::{LogContext, Trouble};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::OwnedDeliveryResult;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tombola_core::limits;
use tombola_core::ports::{Outgoing, Report, TopicError};

pub(super) type Producer = FutureProducer<LogContext>;

pub(super) struct Publisher {
    options: Arc<KafkaOptions>,
    life: Arc<Life>,
    trouble: Arc<Trouble>,
    /// Replaced by the next batch when it has failed for good; taken at the end.
    producer: RwLock<Option<Producer>>,
}

impl Publisher {
    pub(super) fn new(
        options: Arc<KafkaOptions>,
        life: Arc<Life>,
        trouble: Arc<Trouble>,
    ) -> Result<Self, SettingsError> {
        let producer = RwLock::new(Some(create(&options, &trouble)?));
        Ok(Self {
            options,
            life,
            trouble,
            producer,
        })
    }

    /// Connects and learns where the partitions are, so that the first publish does
    /// not wait for it. Publishes nothing.
    pub(super) async fn warm_up(&self) -> Result<(), TopicError> {
        let (producer, topic) = (self.producer(), self.options.topic.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let client = producer.client();
            client.fetch_metadata(Some(&topic), ASK_TIMEOUT).map(drop)
        });
        let asked = asked.await;
        let asked = asked.map_err(|error| TopicError::Unavailable(error.to_string()))?;
        let asked = asked.map_err(|error| config::unavailable(&error));
        self.trouble.explain(asked)
    }

    pub(super) fn producer(&self) -> Producer {
        let producer = self.producer.read();
        let producer = producer.unwrap_or_else(PoisonError::into_inner);
        producer.clone().expect("only the end takes the producer")
    }

    /// Everything is handed over before the first wait, so of batches side by side the
    /// one that was polled first lies first.
    pub(super) async fn publish(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        let producer = self.living_producer();
        let before = self.life.taken();
        let deadline = Instant::now() + limits::PUBLISH_TIMEOUT;
        let all: Vec<&Outgoing> = messages.iter().collect();
        let mut answers = self.ask(&producer, &all, deadline).await;
        if answers.contains(&Answer::BatchRefused) {
            self.ask_alone(&all, &mut answers, deadline).await;
        }
        let reports: Vec<Report> = answers.into_iter().map(Answer::report).collect();
        self.life.note(&before, &reports);
        if producer.client().fatal_error().is_some() {
            // A later batch may have replaced it: then this may be its last handle.
            put_away(producer);
        }
        reports
    }

    async fn ask(
        &self,
        producer: &Producer,
        messages: &[&Outgoing],
        deadline: Instant,
    ) -> Vec<Answer> {
        let handed: Vec<Result<DeliveryFuture, Report>> = messages
            .iter()
            .map(|message| self.hand_over(producer, message))
            .collect();
        let mut answers = Vec::with_capacity(handed.len());
        for handed in handed {
            answers.push(match handed {
                Ok(delivery) => read_answer(timeout_at(deadline, delivery).await.ok()),
                Err(report) => Answer::Said(report),
            });
        }
        answers
    }

    /// Kafka refuses batches, and one of ours may have come into a batch with others:
    /// a producer that makes batches of one says whose fault it was.
    async fn ask_alone(&self, messages: &[&Outgoing], answers: &mut [Answer], deadline: Instant) {
        let refused = |answer: &Answer| *answer == Answer::BatchRefused;
        let again: Vec<usize> = (0..answers.len())
            .filter(|at| refused(&answers[*at]))
            .collect();
        tracing::warn!(
            messages = again.len(),
            "a batch was refused: its messages are published one by one"
        );
        let alone = config::producer(&self.options)
            .set("batch.num.messages", "1")
            .create_with_context(LogContext(Arc::clone(&self.trouble)));
        let producer: Producer = match alone {
            Ok(producer) => producer,
            Err(error) => {
                for at in again {
                    answers[at] = Answer::Said(Report::NotTaken(error.to_string()));
                }
                return;
            }
        };
        let messages: Vec<&Outgoing> = again.iter().map(|at| messages[*at]).collect();
        let said = self.ask(&producer, &messages, deadline).await;
        for (at, answer) in again.into_iter().zip(said) {
            answers[at] = answer;
        }
        put_away(producer);
    }

    /// An error here means that the producer never had it.
    fn hand_over(&self, producer: &Producer, message: &Outgoing) -> Result<DeliveryFuture, Report> {
        if let Some(why) = crate::refusal(message) {
            return Err(Report::Refused(why));
        }
        let headers = OwnedHeaders::new_with_capacity(message.headers.len());
        let headers = message
            .headers
            .iter()
            .fold(headers, |headers, (name, text)| {
                headers.insert(Header {
                    key: name,
                    value: Some(text),
                })
            });
        let record = FutureRecord::to(&self.options.topic)
            .key(&message.key)
            .payload(&message.value[..])
            .headers(headers);
        producer.send_result(record).map_err(|(error, _)| {
            if is_refusal(&error) {
                Report::Refused(error.to_string())
            } else {
                Report::NotTaken(error.to_string())
            }
        })
    }

    /// A fatal error ends a producer: its sequence numbers can no longer be trusted, and it
    /// takes nothing more. Batches that are on their way keep it until they are reported on.
    fn living_producer(&self) -> Producer {
        let producer = self.producer();
        let Some((_, reason)) = producer.client().fatal_error() else {
            return producer;
        };
        put_away(producer);
        self.replace_failed(&reason);
        self.producer()
    }

    /// Of batches that see it fail at once, the first one replaces it.
    pub(super) fn replace_failed(&self, reason: &str) {
        let mut producer = self
            .producer
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let has_failed = |it: &Producer| it.client().fatal_error().is_some();
        if !producer.as_ref().is_some_and(has_failed) {
            return;
        }
        match create(&self.options, &self.trouble) {
            Ok(new) => {
                tracing::error!(reason, "the producer failed for good and was replaced");
                if let Some(failed) = producer.replace(new) {
                    put_away(failed);
                }
            }
            Err(error) => tracing::error!(reason, %error, "the producer cannot be replaced"),
        }
    }

    pub(super) async fn flush(&self, deadline: Duration) -> Result<(), TopicError> {
        let producer = self.producer();
        let flushed = tokio::task::spawn_blocking(move || producer.flush(deadline)).await;
        flushed
            .map_err(|error| TopicError::Unavailable(error.to_string()))?
            .map_err(|error| config::unavailable(&error))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let producer = self.producer.get_mut();
        let producer = producer.unwrap_or_else(PoisonError::into_inner);
        // Out of its place: what stays there would be dropped on this thread.
        if let Some(last) = producer.take() {
            put_away(last);
        }
    }
}

/// Dropping the last handle of a producer purges and then waits: not on a thread
/// that serves others.
fn put_away(producer: Producer) {
    let spawned = std::thread::Builder::new()
        .name("kafka-put-away".to_owned())
        .spawn(move || {
            if let Err(error) = producer.flush(limits::PUBLISH_TIMEOUT) {
                tracing::warn!(%error, "messages were left with the producer: rescue finds them");
            }
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread to flush the producer on");
    }
}

fn create(options: &KafkaOptions, trouble: &Arc<Trouble>) -> Result<Producer, SettingsError> {
    config::producer(options)
        .create_with_context(LogContext(Arc::clone(trouble)))
        .map_err(|error| SettingsError::of(&error))
}

/// What came of one message.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Said(Report),
    /// The batch that it was in was refused, by its own fault or another's.
    BatchRefused,
}

impl Answer {
    /// Of a batch of one it was its own fault.
    fn report(self) -> Report {
        match self {
            Self::Said(report) => report,
            Self::BatchRefused => Report::Refused("the broker refuses it".to_owned()),
        }
    }
}

/// `None`: nothing came in time.
fn read_answer<E>(delivered: Option<Result<OwnedDeliveryResult, E>>) -> Answer {
    Answer::Said(match delivered {
        Some(Ok(Err((error, _)))) if is_batch_refusal(&error) => return Answer::BatchRefused,
        Some(Ok(Err((error, _)))) => judge(&error),
        // A repeat that the broker had long taken in: it does not say where.
        Some(Ok(Ok(place))) if place.offset < 0 => {
            Report::Unknown("it is on the topic, nobody knows where".to_owned())
        }
        Some(Ok(Ok(place))) => Report::Taken {
            partition: place.partition,
            offset: place.offset,
        },
        Some(Err(_)) => Report::Unknown("the producer was dropped".to_owned()),
        None => Report::Unknown("no report within the publish time-out".to_owned()),
    })
}

/// What a failed report proves. Whatever is not surely absent may be there: an
/// expired message too, since its request may have arrived, and one that a producer
/// that failed for good threw out of its queue, where it may have waited for another try.
fn judge(error: &KafkaError) -> Report {
    const ABSENT: &[RDKafkaErrorCode] = &[
        RDKafkaErrorCode::QueueFull,
        RDKafkaErrorCode::UnknownTopic,
        RDKafkaErrorCode::UnknownPartition,
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::TopicAuthorizationFailed,
        RDKafkaErrorCode::ClusterAuthorizationFailed,
    ];
    let why = error.to_string();
    if has_code(error, ABSENT) {
        Report::NotTaken(why)
    } else {
        Report::Unknown(why)
    }
}

/// The producer itself does not take it.
fn is_refusal(error: &KafkaError) -> bool {
    const REFUSED: &[RDKafkaErrorCode] = &[
        RDKafkaErrorCode::MessageSizeTooLarge,
        RDKafkaErrorCode::InvalidMessageSize,
    ];
    has_code(error, REFUSED)
}

fn is_batch_refusal(error: &KafkaError) -> bool {
    const REFUSED: &[RDKafkaErrorCode] = &[
        RDKafkaErrorCode::MessageSizeTooLarge,
        RDKafkaErrorCode::InvalidMessageSize,
        RDKafkaErrorCode::MessageBatchTooLarge,
        RDKafkaErrorCode::InvalidRecord,
        RDKafkaErrorCode::InvalidDifferentRecord,
    ];
    has_code(error, REFUSED)
}

fn has_code(error: &KafkaError, codes: &[RDKafkaErrorCode]) -> bool {
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_absent_is_called_not_taken() {
        use RDKafkaErrorCode as Code;
        let of = |code| judge(&KafkaError::MessageProduction(code));
        for code in [
            Code::MessageTimedOut,
            Code::PurgeInflight,
            Code::PurgeQueue,
            Code::RequestTimedOut,
            Code::Fatal,
        ] {
            assert!(matches!(of(code), Report::Unknown(_)), "{code}");
        }
        for code in [Code::QueueFull, Code::UnknownTopicOrPartition] {
            assert!(matches!(of(code), Report::NotTaken(_)), "{code}");
        }
        for code in [Code::MessageSizeTooLarge, Code::InvalidRecord] {
            let error = KafkaError::MessageProduction(code);
            assert!(is_batch_refusal(&error), "{code}");
        }
    }
}
