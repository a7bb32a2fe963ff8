//! `bench deliver`: from commit to delivered, with all roles in one process: desk,
//! relay, worker and rescue. On PostgreSQL and Kafka, which run beside it on the same
//! cores, and for comparison on SQLite with the topic in memory.
//!
//! Two figures of each. The rate: callers draw as fast as awards are delivered, a
//! bounded number of them between commit and delivery. The wait: at half of that rate,
//! draws on time whatever becomes of them; from the answer of the commit to the answer
//! of the delivery's transaction, by the clock of the process. Every draw wins.
//!
//! The rival is librdkafka alone: it produces and consumes the same number of messages
//! of the same bytes, and writes nothing down.

use crate::kafka::Brokers;
use crate::postgres::Server;
use crate::report;
use crate::roles::{PRIZES, Running};
use crate::{desk, raw_kafka, relay};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tombola_broker::{MemoryOptions, MemoryTopic};
use tombola_core::ports::Topic;
use tombola_store::{Store, StoreOptions};

const FLOOR_RATE: f64 = 5_000.0;
const P99_MAX: Duration = Duration::from_millis(500);
/// Of the draws that are asked for on time.
const FLOOR_OFFERED: f64 = 0.98;
const WARM_UP: Duration = Duration::from_secs(3);
/// Messages of the rival.
const RAW_MESSAGES: u32 = 200_000;

struct Options {
    seconds: u64,
    dir: String,
    with_sqlite: bool,
}

/// `deliver [--seconds N] [--dir DIR] [--sqlite no]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        seconds: 10,
        dir: "target".to_owned(),
        with_sqlite: true,
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--dir" => options.dir = value,
            "--sqlite" => options.with_sqlite = value != "no",
            other => bail!("`{other}` is not known; use --seconds, --dir, --sqlite"),
        }
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&options))
}

/// What was measured of one pair of database and topic.
struct Delivered {
    name: &'static str,
    rate: f64,
    /// Sorted.
    waits: Vec<Duration>,
    /// Of the draws that were to be answered on time.
    answered: f64,
}

impl Delivered {
    fn wait(&self, percent: usize) -> Duration {
        let last = self.waits.len().saturating_sub(1);
        let at = (self.waits.len() * percent / 100).min(last);
        self.waits.get(at).copied().unwrap_or_default()
    }

    fn print(&self) {
        let ms = |percent| self.wait(percent).as_secs_f64() * 1e3;
        println!(
            "{:<34} {:>10.0} {:>10.1} {:>10.1} {:>10.1}",
            self.name,
            self.rate,
            ms(50),
            ms(99),
            ms(100)
        );
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "awards_per_second": self.rate.round(),
            "p50_ms_at_half": self.wait(50).as_secs_f64() * 1e3,
            "p99_ms_at_half": self.wait(99).as_secs_f64() * 1e3,
            "max_ms_at_half": self.wait(100).as_secs_f64() * 1e3,
            "answered_at_half": self.answered,
        })
    }
}

async fn measure(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    let home = tempfile::tempdir_in(&options.dir)?;
    let fsyncs = report::fsyncs_per_second(home.path())?;
    let (server, brokers) = (Server::find().await?, Brokers::find()?);
    println!("{}; fsync: {fsyncs:.0}/s", server.settings);
    let raw = raw(&brokers).await?;
    let kafka = on_kafka(&server, &brokers, options).await?;
    let sqlite = if options.with_sqlite {
        Some(on_sqlite(home.path(), options).await?)
    } else {
        None
    };
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>10}",
        "", "awards/s", "p50 ms", "p99 ms", "max ms"
    );
    println!("{:<34} {raw:>10.0}", "raw produce and consume on Kafka");
    kafka.print();
    sqlite.iter().for_each(Delivered::print);
    let extra = json!({
        "server": server.settings,
        "fsyncs_per_second": fsyncs.round(),
        "raw_messages_per_second": raw.round(),
        "kafka": kafka.json(),
        "sqlite": sqlite.as_ref().map(Delivered::json),
    });
    report::keep("deliver", &[], &extra)?;
    check_floors(&kafka)
}

fn check_floors(kafka: &Delivered) -> Result<()> {
    ensure!(
        kafka.rate >= FLOOR_RATE,
        "fewer than {FLOOR_RATE} awards/s are delivered"
    );
    ensure!(
        kafka.answered >= FLOOR_OFFERED,
        "of the draws at half of the rate only {} were answered",
        kafka.answered
    );
    let p99 = kafka.wait(99);
    ensure!(
        p99 < P99_MAX,
        "from commit to delivered it takes {p99:?} at p99"
    );
    Ok(())
}

async fn raw(brokers: &Brokers) -> Result<f64> {
    let topic = brokers.topic().await?;
    let took = tokio::task::spawn_blocking(move || {
        let messages: Vec<_> = (1..=i64::from(RAW_MESSAGES))
            .map(|award| relay::outgoing(&relay::handoff(award)))
            .collect();
        raw_kafka::produce_and_consume(&topic, &messages)
    });
    Ok(f64::from(RAW_MESSAGES) / took.await??.as_secs_f64())
}

async fn on_kafka(server: &Server, brokers: &Brokers, options: &Options) -> Result<Delivered> {
    let database = server.database("deliver").await?;
    desk::prepare(&database, PRIZES).await?;
    database.checkpoint().await?;
    let store = Store::connect(&database.options(), StoreOptions::default()).await?;
    let topic = brokers.topic().await?.topic;
    let delivered = both("PostgreSQL and Kafka", store, topic, options.seconds).await?;
    database.drop().await?;
    Ok(delivered)
}

async fn on_sqlite(dir: &Path, options: &Options) -> Result<Delivered> {
    let store = Store::open(&dir.join("tombola.db"), StoreOptions::default())?;
    desk::put_campaign(&store, PRIZES).await?;
    let topic = Arc::new(MemoryTopic::new(MemoryOptions::default()));
    both("SQLite and memory", store, topic, options.seconds).await
}

/// The rate, then the waits at half of it.
async fn both(
    name: &'static str,
    store: Arc<Store>,
    topic: Arc<dyn Topic>,
    seconds: u64,
) -> Result<Delivered> {
    let running = Running::start(store, topic).await?;
    let measured = Duration::from_secs(seconds);
    let rate = running.closed_loop(WARM_UP, measured).await?;
    running.watched.take_waits();
    let from = Instant::now() + WARM_UP;
    let until = from + measured;
    let offered = running
        .open_loop(|| (Instant::now() < until).then_some(rate / 2.0))
        .await?;
    running.all_delivered().await?;
    let waits = running.watched.take_waits().into_iter();
    let mut waits: Vec<Duration> = waits
        .filter_map(|(at, wait)| (at >= from).then_some(wait))
        .collect();
    waits.sort_unstable();
    waits.last().context("an award at least")?;
    let counters = running.meters().publishes.each();
    let dropped = running.meters().handoffs_dropped.get();
    println!("{name}: publishes {counters:?}, hand-offs dropped {dropped}");
    running.stop().await?;
    Ok(Delivered {
        name,
        rate,
        waits,
        answered: f64::from(offered.answered) / f64::from(offered.asked.max(1)),
    })
}
