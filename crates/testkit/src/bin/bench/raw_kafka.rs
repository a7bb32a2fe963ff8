//! The rival on Kafka: librdkafka alone, as fast as it goes. The idempotent producer has
//! the settings of ours and gets the same keys, values and headers; it counts its
//! reports and does nothing else.

use crate::kafka::BenchTopic;
use anyhow::{Context as _, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tombola_core::limits;
use tombola_core::ports::Outgoing;

/// Between two looks whether there is room again.
const ROOM_WAIT: Duration = Duration::from_micros(200);
/// A report, or a message to read, that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Reports {
    taken: AtomicU64,
    failed: AtomicU64,
}

impl Reports {
    fn all(&self) -> u64 {
        self.taken.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Default)]
struct Counting(Arc<Reports>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        let counter = match delivered {
            Ok(_) => &self.0.taken,
            Err(_) => &self.0.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

type Producer = ThreadedProducer<Counting>;

fn producer(topic: &BenchTopic) -> Result<(Producer, Arc<Reports>)> {
    let mut config = ClientConfig::new();
    config.extend(topic.options.producer_settings());
    let counting = Counting::default();
    let reports = Arc::clone(&counting.0);
    let producer: Producer = config.create_with_context(counting)?;
    let name = topic.options.topic.clone();
    producer.client().fetch_metadata(Some(&name), PATIENCE)?;
    Ok((producer, reports))
}

/// How long it takes until every message was reported on. Blocks.
pub(crate) fn produce(topic: &BenchTopic, messages: &[Outgoing]) -> Result<Duration> {
    let (producer, reports) = producer(topic)?;
    let begun = Instant::now();
    hand_over(&producer, &reports, &topic.options.topic, messages)?;
    all_taken(&producer, &reports, messages.len())?;
    Ok(begun.elapsed())
}

fn all_taken(producer: &Producer, reports: &Reports, messages: usize) -> Result<()> {
    producer.flush(PATIENCE)?;
    let taken = reports.taken.load(Ordering::Relaxed);
    ensure!(
        taken == u64::try_from(messages)?,
        "the raw producer: {taken} of {messages} messages were taken"
    );
    Ok(())
}

/// The same until a consumer, which reads meanwhile, has read every message.
pub(crate) fn produce_and_consume(topic: &BenchTopic, messages: &[Outgoing]) -> Result<Duration> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &topic.options.brokers)
        .set("group.id", format!("{}-raw", topic.options.topic))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        .create()?;
    consumer.subscribe(&[&topic.options.topic])?;
    // The group is there before the first message.
    consumer.poll(Duration::from_secs(3));
    let (producer, reports) = producer(topic)?;
    let begun = Instant::now();
    let read = std::thread::scope(|threads| {
        let reader = threads.spawn(|| read_all(&consumer, messages.len()));
        hand_over(&producer, &reports, &topic.options.topic, messages)?;
        all_taken(&producer, &reports, messages.len())?;
        reader.join().ok().context("the raw consumer panicked")?
    });
    read.map(|()| begun.elapsed())
}

fn read_all(consumer: &BaseConsumer, count: usize) -> Result<()> {
    for read in 0..count {
        let message = consumer
            .poll(PATIENCE)
            .with_context(|| format!("the raw consumer: nothing after {read} of {count}"))?;
        message?;
    }
    Ok(())
}

/// With as many on their way as may wait for the relay.
fn hand_over(
    producer: &Producer,
    reports: &Reports,
    topic: &str,
    messages: &[Outgoing],
) -> Result<()> {
    let window = u64::try_from(limits::RELAY_WAITING_MAX)?;
    for (message, handed) in messages.iter().zip(0_u64..) {
        while handed - reports.all() >= window {
            std::thread::sleep(ROOM_WAIT);
        }
        let headers = OwnedHeaders::new_with_capacity(message.headers.len());
        let headers = message.headers.iter().fold(headers, |all, (name, text)| {
            all.insert(Header {
                key: name,
                value: Some(text),
            })
        });
        let mut record = BaseRecord::to(topic)
            .key(&message.key)
            .payload(&message.value[..])
            .headers(headers);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(KafkaError::into(error));
            }
            record = back;
            std::thread::sleep(ROOM_WAIT);
        }
    }
    Ok(())
}
