//! `bench backlog`: what a million undelivered awards cost the draws; how many rows
//! rescue reads, whatever lies finished beside them; and what a transaction that is
//! held open for minutes, which keeps every dead row version in its place, changes.

mod fill;
mod hold;
mod reads;

use crate::desk::Contender;
use crate::draw_pg::numbers;
use crate::load::{Plan, run as load};
use crate::postgres::{Database, Server};
use crate::report::{self, Measured};
use anyhow::{Context as _, Result, bail, ensure};
pub(crate) use fill::History;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tombola_core::ports::{AwardPath as _, Clock as _};
use tombola_engine::SystemClock;

/// Of the rate on an empty database.
const FLOOR_OF_EMPTY: f64 = 0.80;
/// Of the undelivered awards so many are due now, for some forty rounds in each of three phases.
const DUE: u64 = 400_000;
/// Of rescue, in a round.
const STEPS: usize = 6;
/// Before each measurement of draws.
const WARM_UP: Duration = Duration::from_millis(300);

struct Options {
    undelivered: u64,
    finished: Vec<usize>,
    callers: usize,
    seconds: u64,
    rounds: u32,
    hold: u64,
    opens: bool,
    asks: bool,
    dir: String,
}

/// `backlog [--undelivered N] [--finished N,…] [--callers N] [--seconds N] [--rounds N]
/// [--hold SECONDS] [--open no] [--ask yes] [--dir DIR]`. With `--open no` all is as with `--hold`,
/// but no transaction is open: what is then said to have changed, the machine changed. With
/// `--ask yes` each measurement waits for a line of the standard input, so that somebody can see
/// to a quiet machine.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        undelivered: 1_000_000,
        finished: vec![10_000, 1_000_000],
        callers: 128,
        seconds: 4,
        rounds: 3,
        hold: 0,
        opens: true,
        asks: false,
        dir: "target".to_owned(),
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--undelivered" => options.undelivered = value.parse()?,
            "--finished" if value == "none" => options.finished.clear(),
            "--finished" => options.finished = numbers(&value)?,
            "--callers" => options.callers = value.parse()?,
            "--seconds" => options.seconds = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--hold" => options.hold = value.parse()?,
            "--open" => options.opens = value != "no",
            "--ask" => options.asks = value == "yes",
            "--dir" => options.dir = value,
            other => bail!(
                "`{other}` is not known; use --undelivered, --finished, --callers, --seconds, --rounds, --hold, --open, --ask, --dir"
            ),
        }
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    let fsyncs = report::fsyncs_per_second(tempfile::tempdir_in(Path::new(&options.dir))?.path())?;
    let server = Server::find().await?;
    println!("{}; fsync: {fsyncs:.0}/s", server.settings);
    let mut extra = json!({ "server": server.settings, "fsyncs_per_second": fsyncs.round() });
    let mut rows = Vec::new();
    if options.undelivered > 0 {
        let pair = Pair::fill(&server, options.undelivered, "").await?;
        if options.hold > 0 {
            let twin = Pair::fill(&server, options.undelivered, "_twin").await?;
            let held = hold::measure([&pair, &twin], options).await?;
            (rows, extra["held"], extra["of_empty"]) = held;
            twin.drop().await?;
        } else {
            ready(options)?;
            let [rates] = Pair::rates([&pair], options, [""]).await?;
            extra["of_empty"] = json!(rates.of_empty());
            rows.extend(rates.into_rows());
        }
        println!(
            "draws with {} undelivered awards: {:.2} times the rate without any",
            options.undelivered, extra["of_empty"]
        );
        pair.drop().await?;
        report::table(&rows);
    }
    let mut reads = Vec::new();
    for &finished in &options.finished {
        reads.push(reads::at(&server, u64::try_from(finished)?).await?);
    }
    extra["reads"] = json!(reads);
    report::keep("backlog", &rows, &extra)?;
    check_floors(&extra)
}

fn check_floors(extra: &Value) -> Result<()> {
    if let Some(share) = extra["of_empty"].as_f64() {
        ensure!(
            share >= FLOOR_OF_EMPTY,
            "the desk with a backlog is below {FLOOR_OF_EMPTY} of the desk without one"
        );
    }
    hold::check_floor(&extra["held"])
}

/// Waits for a line, if it was asked to.
fn ready(options: &Options) -> Result<()> {
    if options.asks {
        println!("ready to measure: waits for a line");
        let read = std::io::stdin().read_line(&mut String::new())?;
        ensure!(read > 0, "the standard input ended");
    }
    Ok(())
}

/// A database without a history, one with a backlog, and a desk on each.
struct Pair {
    empty: Side,
    backlog: Side,
}

struct Side {
    database: Database,
    desk: Contender,
    /// Numbers of draws that were asked for before.
    asked: AtomicU64,
}

/// What was measured of a pair.
struct Rates {
    /// Draws without a backlog, draws beside one, rows of rescue.
    rounds: [Vec<Round>; 3],
    empty: Measured,
    backlog: Measured,
    /// Rows that rescue took and wrote, and how long its steps took.
    rescue: Measured,
}

/// One round of one of the three.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// A second.
    rate: f64,
    /// Microseconds that the database's sessions worked for each.
    work: f64,
}

impl Rates {
    fn of(parts: [Vec<(Measured, f64)>; 3], name: &str) -> Option<Self> {
        let rounds = parts.each_ref().map(|parts| {
            let rounds = parts.iter().map(|(part, work)| Round {
                rate: part.rate(),
                work: *work,
            });
            rounds.collect()
        });
        let [empty, backlog, rescue] = parts.map(|parts| {
            let parts = parts.into_iter().map(|(part, _)| part).collect();
            let mut whole = Measured::join(parts)?;
            whole.name.push_str(name);
            Some(whole)
        });
        Some(Self {
            rounds,
            empty: empty?,
            backlog: backlog?,
            rescue: rescue?,
        })
    }

    /// The rate with the backlog, of the one without.
    fn of_empty(&self) -> f64 {
        self.backlog.rate() / self.empty.rate()
    }

    fn into_rows(self) -> [Measured; 3] {
        [self.empty, self.backlog, self.rescue]
    }
}

impl Pair {
    async fn fill(server: &Server, undelivered: u64, name: &str) -> Result<Self> {
        let due = DUE.min(undelivered / 2);
        let backlog = History {
            finished: 0,
            due,
            later: undelivered - due,
        };
        Ok(Self {
            empty: Side::fill(server, &format!("empty{name}"), History::default()).await?,
            backlog: Side::fill(server, &format!("backlog{name}"), backlog).await?,
        })
    }

    /// Rounds of each of the three on each pair, every second round backwards: what is compared
    /// is measured one right after the other, so that what the machine does meanwhile is shared.
    async fn rates<const N: usize>(
        pairs: [&Self; N],
        options: &Options,
        names: [&str; N],
    ) -> Result<[Rates; N]> {
        let mut parts = [const { [const { Vec::new() }; 3] }; N];
        let plan = Plan {
            callers: options.callers,
            warm_up: WARM_UP,
            measured: Duration::from_secs(options.seconds),
        };
        for round in 0..options.rounds {
            let mut order: Vec<usize> = (0..N).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for &place in &order {
                let empty = pairs[place].empty.draws("desk, empty", &plan).await?;
                parts[place][0].push(empty);
            }
            for &place in &order {
                let backlog = pairs[place].backlog.draws("desk, backlog", &plan).await?;
                parts[place][1].push(backlog);
            }
            for &place in &order {
                let rescue = pairs[place].backlog.rescue().await?;
                parts[place][2].push(rescue);
            }
        }
        let wholes: Option<Vec<Rates>> = parts
            .into_iter()
            .zip(names)
            .map(|(parts, name)| Rates::of(parts, name))
            .collect();
        let wholes = wholes.context("a round at least")?.try_into();
        wholes.map_err(|_| anyhow::anyhow!("a pair has no rates"))
    }

    async fn drop(self) -> Result<()> {
        self.empty.desk.stop();
        self.backlog.desk.stop();
        self.empty.database.drop().await?;
        self.backlog.database.drop().await
    }
}

impl Side {
    async fn fill(server: &Server, name: &str, history: History) -> Result<Self> {
        let database = server.database(name).await?;
        history.fill(&database).await?;
        Ok(Self {
            desk: Contender::on_postgres(&database, 1).await?,
            database,
            asked: AtomicU64::new(0),
        })
    }

    /// What a load measured, and how much the sessions worked for a draw.
    async fn draws(&self, name: &str, plan: &Plan) -> Result<(Measured, f64)> {
        let ask = self.desk.ask();
        // More than a load asks for.
        let first = self.asked.fetch_add(1 << 32, Ordering::Relaxed);
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let before = self.database.work().await?;
        let measured = load(name, plan, move |number| {
            count.fetch_add(1, Ordering::Relaxed);
            ask(first + number)
        });
        let measured = measured.await?;
        let worked = self.database.work().await?.since(&before);
        let asked = asked.load(Ordering::Relaxed);
        Ok((measured, micros_for_each(worked, asked)))
    }

    /// One draw.
    async fn draw(&self) -> Result<()> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        self.desk.ask()(number).await
    }

    /// A turn of rescue, a look at all lanes and some steps from the front of one: the rows of the
    /// steps and how long each took (the first with the look), and how much the sessions worked for
    /// a row.
    async fn rescue(&self) -> Result<(Measured, f64)> {
        let (mut returned, mut waits, mut after) = (0, Vec::new(), None);
        let before = self.database.work().await?;
        for step in 0..STEPS {
            let begun = std::time::Instant::now();
            if step == 0 {
                let now = SystemClock::new().now();
                self.desk.store().due_lanes(now).await?;
            }
            let (rows, next) = reads::steps(self.desk.store(), after, 1).await?;
            waits.push(begun.elapsed());
            (returned, after) = (returned + rows, next);
        }
        let worked = self.database.work().await?.since(&before);
        let took: Duration = waits.iter().sum();
        waits.sort_unstable();
        let draws = u64::try_from(returned)?;
        let measured = Measured {
            name: "rescue, rows of steps".to_owned(),
            callers: 1,
            draws,
            took,
            waits,
        };
        Ok((measured, micros_for_each(worked, draws)))
    }
}

fn micros_for_each(worked: Duration, count: u64) -> f64 {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    worked.as_secs_f64() * 1e6 / f64::from(count)
}
