//! `bench relay`: the relay as `serve` wires it, with the producer of `crates/broker`,
//! against librdkafka's idempotent producer alone, which gets the same bytes and the
//! same settings. They take turns on the same broker.
//!
//! The relay's marks go to a store in memory here: what is compared is the way onto the
//! topic. What a database makes of marks is measured beside it, alone and with the
//! relay before it.

use crate::backlog::History;
use crate::desk::user_of;
use crate::kafka::Brokers;
use crate::postgres::Server;
use crate::raw_kafka;
use crate::report;
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tombola_core::award::{Mark, Position};
use tombola_core::message::Message;
use tombola_core::ports::{AwardPath, Clock, Handoff, MarkOf, Outgoing};
use tombola_core::{AwardId, Timestamp, limits};
use tombola_engine::{Meters, Publisher, Relay, SystemClock, Tasks};
use tombola_store::{Store, StoreOptions};
use tombola_testkit::ModelStore;

const FLOOR_OF_RAW: f64 = 0.40;
const ORIGIN: &str = "5ea4f2a0-0000-4000-8000-000000000001";
/// Between two looks whether the relay has room again.
const ROOM_WAIT: Duration = Duration::from_micros(200);

struct Options {
    messages: u32,
    rounds: u32,
    marks: u32,
}

/// `relay [--messages N] [--rounds N] [--marks N]`: messages of each contender in each
/// round, and rows that are marked on PostgreSQL; `--marks 0` leaves PostgreSQL out.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        messages: 200_000,
        rounds: 5,
        marks: 100_000,
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--messages" => options.messages = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--marks" => options.marks = value.parse()?,
            other => bail!("`{other}` is not known; use --messages, --rounds, --marks"),
        }
    }
    ensure!(options.rounds > 0, "a round at least");
    tokio::runtime::Runtime::new()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let brokers = Brokers::find()?;
    let pairs = pairs(&brokers, options.messages, options.rounds).await?;
    let (ours, raw): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (relay, rival) = (mean(&ours), mean(&raw));
    println!("{:<44} {:>12}", "", "messages/s");
    line("raw idempotent producer", rival);
    line("relay, marks in memory", relay);
    let marks = match options.marks {
        0 => None,
        count => Some(on_postgres(&brokers, count).await?),
    };
    if let Some(marks) = &marks {
        println!("{}", marks.settings);
        line("marks alone, on PostgreSQL", marks.alone);
        line("relay, marks on PostgreSQL", marks.relay);
    }
    let of_raw = relay / rival;
    let extra = json!({
        "pairs": pairs.iter().map(|(ours, raw)| json!({ "relay": ours.round(), "raw": raw.round() })).collect::<Vec<_>>(),
        "message_bytes": bytes(&outgoing(&handoff(1))),
        "of_raw": of_raw,
        "marks_alone": marks.as_ref().map(|it| it.alone.round()),
        "relay_on_postgres": marks.as_ref().map(|it| it.relay.round()),
        "server": marks.map(|it| it.settings),
    });
    report::keep("relay", &[], &extra)?;
    println!(
        "relay: {:.0} % of the raw producer in the mean of {} pairs",
        of_raw * 100.0,
        pairs.len()
    );
    ensure!(
        of_raw >= FLOOR_OF_RAW,
        "the relay is below {FLOOR_OF_RAW} of the raw producer"
    );
    Ok(())
}

fn line(name: &str, rate: f64) {
    println!("{name:<44} {rate:>12.0}");
}

fn mean(rates: &[f64]) -> f64 {
    rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len()).unwrap_or(1))
}

fn per_second(messages: u32, took: Duration) -> f64 {
    f64::from(messages) / took.as_secs_f64()
}

/// Messages a second of the relay and of the raw producer, in turns, after a round that
/// does not count.
pub(crate) async fn pairs(
    brokers: &Brokers,
    messages: u32,
    rounds: u32,
) -> Result<Vec<(f64, f64)>> {
    let handoffs: Vec<Handoff> = (1..=i64::from(messages)).map(handoff).collect();
    let raw: Arc<[Outgoing]> = handoffs.iter().map(outgoing).collect();
    let mut pairs = Vec::new();
    for round in 0..=rounds {
        let store = Arc::new(ModelStore::new());
        let ours = relay(brokers, store, handoffs.clone()).await?;
        let (topic, raw) = (brokers.topic().await?, Arc::clone(&raw));
        let took = tokio::task::spawn_blocking(move || raw_kafka::produce(&topic, &raw)).await??;
        if round > 0 {
            pairs.push((per_second(messages, ours), per_second(messages, took)));
        }
    }
    Ok(pairs)
}

/// How long the relay takes until every message is published and marked.
async fn relay(
    brokers: &Brokers,
    path: Arc<dyn AwardPath>,
    handoffs: Vec<Handoff>,
) -> Result<Duration> {
    let topic = brokers.topic().await?.topic;
    let (clock, meters) = (Arc::new(SystemClock::new()), Arc::new(Meters::new()));
    let publisher = Publisher::new(
        topic,
        path,
        Arc::clone(&clock) as _,
        Arc::clone(&meters),
        ORIGIN.into(),
    );
    let (publisher, messages) = (Arc::new(publisher), handoffs.len());
    let (handle, relay) = Relay::new(publisher, limits::RELAY_WAITING_MAX, Arc::clone(&meters));
    let tasks = Tasks::new();
    tasks.spawn(relay.run(tasks.clone()));
    let mut handoffs = handoffs.into_iter();
    let begun = Instant::now();
    loop {
        // As many as a desk commits at a time.
        let mut next: Vec<Handoff> = handoffs.by_ref().take(500).collect();
        if next.is_empty() {
            break;
        }
        while handle.waiting() + next.len() > limits::RELAY_WAITING_MAX {
            tokio::time::sleep(ROOM_WAIT).await;
        }
        let now = clock.now();
        for handoff in &mut next {
            handoff.at = now;
        }
        handle.offer(next);
    }
    tasks.stop();
    tasks.ended().await;
    let took = begun.elapsed();
    let taken = meters.publishes.taken.get();
    ensure!(
        taken == u64::try_from(messages)?,
        "the relay: {taken} of {messages} messages were taken"
    );
    Ok(took)
}

/// What a database makes of marks.
struct Marks {
    /// A second, in batches, one after the other.
    alone: f64,
    /// Messages a second of a relay that marks there.
    relay: f64,
    settings: String,
}

async fn on_postgres(brokers: &Brokers, count: u32) -> Result<Marks> {
    let server = Server::find().await?;
    let database = server.database("relay").await?;
    let history = History {
        later: 2 * u64::from(count),
        ..History::default()
    };
    history.fill(&database).await?;
    let store = Store::connect(&database.options(), StoreOptions::default()).await?;
    let (first, second) = (
        1..=i64::from(count),
        i64::from(count) + 1..=2 * i64::from(count),
    );
    let took = mark_all(&store, first.collect()).await?;
    database.checkpoint().await?;
    let path = Arc::clone(&store) as Arc<dyn AwardPath>;
    let published = relay(brokers, path, second.map(handoff).collect()).await?;
    store.close();
    database.drop().await?;
    Ok(Marks {
        alone: per_second(count, took),
        relay: per_second(count, published),
        settings: server.settings,
    })
}

async fn mark_all(store: &Store, awards: Vec<i64>) -> Result<Duration> {
    let clock = SystemClock::new();
    let begun = Instant::now();
    for batch in awards.chunks(limits::RELAY_BATCH_MAX) {
        let mark = |award: &i64| MarkOf {
            award: AwardId(*award),
            lease: 1,
            mark: Mark::Taken(Position {
                epoch: 1,
                partition: 1,
                offset: *award,
            }),
            error: None,
        };
        let marks = batch.iter().map(mark).collect();
        store.mark_published(marks, clock.now()).await?;
    }
    Ok(begun.elapsed())
}

/// Of the campaign that all benchmarks draw in.
pub(crate) fn handoff(award: i64) -> Handoff {
    let message = Message {
        user: user_of(award.unsigned_abs()),
        award: AwardId(award),
        prize: "bench/a".to_owned(),
        award_type: 1,
        name: "A".to_owned(),
        content: Some("a".to_owned()),
        schema: 1,
        message_id: format!("{award}-abcdefghijkl"),
        campaign: "bench".to_owned(),
        drawn_at: Timestamp(1_771_000_000_000_000),
    };
    Handoff {
        award: AwardId(award),
        lease: 1,
        message,
        traceparent: None,
        at: Timestamp(0),
    }
}

/// What the relay makes of it.
pub(crate) fn outgoing(handoff: &Handoff) -> Outgoing {
    let header = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    Outgoing {
        key: handoff.message.user.clone(),
        value: handoff.message.encode().into(),
        headers: vec![
            header("message-id", &handoff.message.message_id),
            header("origin", ORIGIN),
            header("content-type", "application/json"),
        ],
    }
}

fn bytes(message: &Outgoing) -> usize {
    let headers = message.headers.iter();
    let headers = headers.map(|(name, text)| name.len() + text.len());
    message.key.len() + message.value.len() + headers.sum::<usize>()
}
