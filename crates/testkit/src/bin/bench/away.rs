//! `bench away`: Kafka is killed while draws go on, at a tenth of the rate that awards
//! are delivered at, and comes back minutes later. Four claims:
//! - draws go on at 95 % of their rate at least;
//! - every award is delivered within two minutes of Kafka's return, those that are drawn
//!   meanwhile too;
//! - no second sees more publishes than the relay's highest steady rate, so that a broker
//!   that has just come back is not met by a storm;
//! - of an award there are two copies on average at most.
//!
//! All roles are in one process, on PostgreSQL. Kafka is back when its node counts itself
//! among the living, or when it takes the first message, whichever is first.

use crate::desk;
use crate::kafka::Brokers;
use crate::postgres::Server;
use crate::relay;
use crate::report;
use crate::roles::{PRIZES, Running};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tombola_broker::KafkaTopic;
use tombola_store::{Store, StoreOptions};

const FLOOR_OF_RATE: f64 = 0.95;
const DELIVERED_WITHIN: Duration = Duration::from_mins(2);
const COPIES_MAX: f64 = 2.0;
/// Of the rate of `bench deliver`, draws are asked for.
const SHARE: f64 = 0.1;
/// How long all is well before Kafka is killed.
const BEFORE: Duration = Duration::from_secs(10);
/// Between two samples.
const SAMPLE: Duration = Duration::from_millis(100);
/// How long the catching-up may take before the run is broken off.
const CATCH_UP_MAX: Duration = Duration::from_mins(5);
/// Of each row of the timeline.
const STEP: Duration = Duration::from_secs(10);
/// What kills Kafka and starts it.
const XTASK: &str = "TOMBOLA_XTASK";

struct Options {
    minutes: f64,
    delivered: Option<f64>,
    relay: Option<f64>,
    meanwhile: Option<f64>,
}

/// `away [--minutes N] [--delivered RATE] [--relay RATE] [--meanwhile DRAWS]`: the rates of
/// `bench deliver` and `bench relay`, which are measured first where they are not given. With
/// more draws a second while Kafka is away, a short outage leaves as much behind as a long
/// one.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        minutes: 10.0,
        delivered: None,
        relay: None,
        meanwhile: None,
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--minutes" => options.minutes = value.parse()?,
            "--delivered" => options.delivered = Some(value.parse()?),
            "--relay" => options.relay = Some(value.parse()?),
            "--meanwhile" => options.meanwhile = Some(value.parse()?),
            other => {
                bail!("`{other}` is not known; use --minutes, --delivered, --relay, --meanwhile")
            }
        }
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    let (server, brokers) = (Server::find().await?, Brokers::find()?);
    println!("{}", server.settings);
    let relay = match options.relay {
        Some(rate) => rate,
        None => steady_relay(&brokers).await?,
    };
    let delivered = match options.delivered {
        Some(rate) => rate,
        None => steady_delivery(&server, &brokers).await?,
    };
    println!("relay: {relay:.0} messages/s; delivered: {delivered:.0} awards/s");
    let rate = delivered * SHARE;
    let rates = Rates {
        with_kafka: rate,
        without: options.meanwhile.unwrap_or(rate),
    };
    let story = play(&server, &brokers, rates, options.minutes).await?;
    let claims = story.claims(relay)?;
    for claim in &claims {
        println!("{claim}");
    }
    let extra = json!({
        "server": server.settings,
        "minutes": options.minutes,
        "relay_per_second": relay.round(),
        "delivered_per_second": delivered.round(),
        "story": story.json(),
        "claims": claims.iter().map(Claim::json).collect::<Vec<_>>(),
    });
    report::keep("away", &[], &extra)?;
    let broken: Vec<&str> = claims.iter().filter_map(Claim::broken).collect();
    ensure!(broken.is_empty(), "broken: {}", broken.join("; "));
    Ok(())
}

/// The highest of a few.
async fn steady_relay(brokers: &Brokers) -> Result<f64> {
    let pairs = relay::pairs(brokers, 100_000, 3).await?;
    Ok(pairs.into_iter().map(|(ours, _)| ours).fold(0.0, f64::max))
}

async fn steady_delivery(server: &Server, brokers: &Brokers) -> Result<f64> {
    let (running, _) = start(server, brokers, "away_rate").await?;
    let (warm_up, measured) = (Duration::from_secs(3), Duration::from_secs(8));
    let rate = running.closed_loop(warm_up, measured).await?;
    running.stop().await?;
    Ok(rate)
}

async fn start(
    server: &Server,
    brokers: &Brokers,
    database: &str,
) -> Result<(Running, Arc<KafkaTopic>)> {
    let database = server.database(database).await?;
    desk::prepare(&database, PRIZES).await?;
    database.checkpoint().await?;
    let store = Store::connect(&database.options(), StoreOptions::default()).await?;
    let topic = brokers.topic().await?.topic;
    let running = Running::start(store, Arc::clone(&topic) as _).await?;
    Ok((running, topic))
}

/// How things stood at one instant.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    committed: u64,
    delivered: u64,
    /// Reported on, whatever the report.
    published: u64,
    taken: u64,
}

impl Sample {
    fn of(running: &Running) -> Self {
        let publishes = &running.meters().publishes;
        Self {
            at: Instant::now(),
            committed: running.watched.committed(),
            delivered: running.watched.delivered(),
            published: publishes.each().iter().map(|(_, count)| count).sum(),
            taken: publishes.taken.get(),
        }
    }
}

/// Draws a second.
#[derive(Clone, Copy)]
struct Rates {
    with_kafka: f64,
    without: f64,
}

/// What happened.
struct Story {
    rates: Rates,
    samples: Vec<Sample>,
    times: Times,
    /// On the topic at the end.
    copies: u64,
}

struct Times {
    killed: Instant,
    /// The command to start it was given, and came back.
    started: (Instant, Instant),
    /// Everything was delivered.
    over: Instant,
}

async fn play(server: &Server, brokers: &Brokers, rates: Rates, minutes: f64) -> Result<Story> {
    let (running, topic) = start(server, brokers, "away").await?;
    let (is_drawing, is_over) = (AtomicBool::new(true), AtomicBool::new(false));
    let is_away = AtomicBool::new(false);
    let scenario = async {
        let away = Duration::from_secs_f64(60.0 * minutes);
        let times = outage(&running, (rates.with_kafka, away), (&is_away, &is_drawing)).await;
        is_drawing.store(false, Ordering::Relaxed);
        is_over.store(true, Ordering::Relaxed);
        times
    };
    let sampling = async {
        let mut samples = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            samples.push(Sample::of(&running));
            tokio::time::sleep(SAMPLE).await;
        }
        samples.push(Sample::of(&running));
        samples
    };
    let drawing = running.open_loop(|| {
        let rate = if is_away.load(Ordering::Relaxed) {
            rates.without
        } else {
            rates.with_kafka
        };
        is_drawing.load(Ordering::Relaxed).then_some(rate)
    });
    let (offered, samples, times) = tokio::join!(drawing, sampling, scenario);
    let (offered, times) = (offered?, times?);
    println!(
        "draws: {} asked for, {} answered",
        offered.asked, offered.answered
    );
    let counters = running.meters().publishes.each();
    let dropped = running.meters().handoffs_dropped.get();
    println!("publishes {counters:?}, hand-offs dropped {dropped}");
    let inspection = topic
        .inspect("lottery")
        .await?
        .context("the topic is there")?;
    let copies = inspection.partitions.iter();
    let copies: i64 = copies.map(|it| it.high_watermark - it.log_start).sum();
    running.stop().await?;
    Ok(Story {
        rates,
        samples,
        times,
        copies: u64::try_from(copies)?,
    })
}

/// Kills Kafka, starts it again, and waits until all is delivered.
async fn outage(
    running: &Running,
    (rate, away): (f64, Duration),
    (is_away, is_drawing): (&AtomicBool, &AtomicBool),
) -> Result<Times> {
    tokio::time::sleep(BEFORE).await;
    let killed = Instant::now();
    is_away.store(true, Ordering::Relaxed);
    kafka("kill").await?;
    tokio::time::sleep_until((killed + away).into()).await;
    is_away.store(false, Ordering::Relaxed);
    let starting = Instant::now();
    kafka("start").await?;
    let started = (starting, Instant::now());
    // Until no more is on its way than a second's draws.
    loop {
        let now = Sample::of(running);
        let waits = now.committed - now.delivered;
        if count(waits) <= rate {
            break;
        }
        ensure!(
            started.1.elapsed() < CATCH_UP_MAX,
            "{waits} awards still wait {CATCH_UP_MAX:?} after Kafka's return"
        );
        tokio::time::sleep(SAMPLE).await;
    }
    is_drawing.store(false, Ordering::Relaxed);
    running.all_delivered().await?;
    Ok(Times {
        killed,
        started,
        over: Instant::now(),
    })
}

/// `cargo xtask services kafka kill 1`, or `start`.
async fn kafka(verb: &'static str) -> Result<()> {
    let xtask = std::env::var_os(XTASK)
        .with_context(|| format!("{XTASK} names no program: run `cargo xtask bench away`"))?;
    let mut command = Command::new(xtask);
    command.args(["services", "kafka", verb, "1"]);
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    ensure!(status.success(), "Kafka did not {verb}: {status}");
    Ok(())
}

/// One claim, with what was measured and what it has to be.
struct Claim {
    what: &'static str,
    measured: f64,
    bound: f64,
    /// Whether the bound is the most that it may be, not the least.
    is_most: bool,
}

impl Claim {
    fn holds(&self) -> bool {
        if self.is_most {
            self.measured <= self.bound
        } else {
            self.measured >= self.bound
        }
    }

    fn broken(&self) -> Option<&str> {
        (!self.holds()).then_some(self.what)
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "measured": self.measured, "bound": self.bound, "holds": self.holds() })
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (word, least) = (
            if self.holds() { "holds" } else { "BROKEN" },
            if self.is_most { "at most" } else { "at least" },
        );
        write!(
            f,
            "{word:<7} {:<58} {:>9.2}, {least} {:.2}",
            self.what, self.measured, self.bound
        )
    }
}

impl Story {
    fn claims(&self, relay: f64) -> Result<[Claim; 4]> {
        let last = self.samples.last().context("a sample at least")?;
        let awards = last.committed.max(1);
        let away = self.times.started.0 - self.times.killed;
        let drawn = self.at(self.times.started.0).committed - self.at(self.times.killed).committed;
        let copies = self.copies.max(last.published);
        Ok([
            Claim {
                what: "draws while Kafka is away, of their rate",
                measured: count(drawn) / away.as_secs_f64() / self.rates.without,
                bound: FLOOR_OF_RATE,
                is_most: false,
            },
            Claim {
                what: "seconds from Kafka's return until every award is delivered",
                measured: (self.times.over - self.returned()).as_secs_f64(),
                bound: DELIVERED_WITHIN.as_secs_f64(),
                is_most: true,
            },
            Claim {
                what: "publishes in any one second, of the relay's own rate",
                measured: self.publishes_max(),
                bound: relay,
                is_most: true,
            },
            Claim {
                what: "copies or publishes per award, whichever are more",
                measured: count(copies) / count(awards),
                bound: COPIES_MAX,
                is_most: true,
            },
        ])
    }

    /// The last sample before that.
    fn at(&self, instant: Instant) -> &Sample {
        let after = self.samples.partition_point(|it| it.at <= instant);
        &self.samples[after.saturating_sub(1)]
    }

    fn returned(&self) -> Instant {
        let (asked, came_back) = self.times.started;
        let before = self.at(asked).taken;
        let mut after = self.samples.iter().filter(|it| it.at > asked);
        let first = after.find(|it| it.taken > before).map(|it| it.at);
        first.map_or(came_back, |first| first.min(came_back))
    }

    /// Of all windows of a second.
    fn publishes_max(&self) -> f64 {
        let window = |from: &Sample| {
            let to = self.at(from.at + Duration::from_secs(1));
            count(to.published - from.published)
        };
        self.samples.iter().map(window).fold(0.0, f64::max)
    }

    /// Rates in steps, for who looks closer.
    fn json(&self) -> Value {
        let begun = self.samples[0].at;
        let since = |instant: Instant| (instant - begun).as_secs_f64().round();
        let mut steps = Vec::new();
        let mut from = self.samples[0];
        for to in &self.samples {
            let took = to.at - from.at;
            if took >= STEP {
                let rate = |from, to| (count(to - from) / took.as_secs_f64()).round();
                steps.push(json!([
                    since(to.at),
                    rate(from.committed, to.committed),
                    rate(from.published, to.published),
                    rate(from.delivered, to.delivered),
                ]));
                from = *to;
            }
        }
        json!({
            "draws_per_second": self.rates.with_kafka.round(),
            "draws_per_second_meanwhile": self.rates.without.round(),
            "killed_at": since(self.times.killed),
            "started_at": since(self.times.started.0),
            "returned_at": since(self.returned()),
            "over_at": since(self.times.over),
            "second_committed_published_delivered_per_second": steps,
        })
    }
}

fn count(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(published: &[u64]) -> Story {
        let begun = Instant::now();
        let at = |tenths: usize| begun + SAMPLE * u32::try_from(tenths).unwrap();
        let samples = published
            .iter()
            .enumerate()
            .map(|(tenths, published)| Sample {
                at: at(tenths),
                committed: 10 * u64::try_from(tenths).unwrap(),
                delivered: 0,
                published: *published,
                taken: *published,
            });
        Story {
            rates: Rates {
                with_kafka: 100.0,
                without: 100.0,
            },
            samples: samples.collect(),
            times: Times {
                killed: at(0),
                started: (at(20), at(25)),
                over: at(30),
            },
            copies: 0,
        }
    }

    #[test]
    fn storm_that_straddles_two_seconds_is_seen_whole() {
        let mut published = vec![0; 8];
        published.extend([500, 1_000, 1_000, 1_500]);
        published.extend(vec![1_500; 20]);
        let claims = story(&published).claims(1_499.0).unwrap();
        let broken: Vec<&str> = claims.iter().filter_map(Claim::broken).collect();
        assert_eq!(
            broken,
            [
                "publishes in any one second, of the relay's own rate",
                "copies or publishes per award, whichever are more"
            ]
        );
    }

    #[test]
    fn kafka_is_back_with_the_first_message_that_it_takes() {
        let mut published = vec![7; 23];
        published.extend(vec![8; 10]);
        let story = story(&published);
        assert_eq!(story.returned(), story.samples[23].at);
        let claims = story.claims(1e9).unwrap();
        assert!(claims.iter().all(Claim::holds));
    }
}
