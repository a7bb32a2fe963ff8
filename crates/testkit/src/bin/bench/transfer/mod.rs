//! `bench transfer`: a million draws move from SQLite to PostgreSQL, against the same rows piped
//! from one database to another by plain COPY; and COPY against `unnest`, by rows in a statement.

mod statements;

use crate::desk::Contender;
use crate::postgres::{Database, Server};
use crate::report;
use anyhow::{Result, bail, ensure};
use futures_util::future::try_join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tombola_core::ports::Clock;
use tombola_core::retry::Schedule;
use tombola_engine::SystemClock;
use tombola_store::transfer::{
    self, CHUNK_ROWS_MAX, Doing, Progress, TransferOptions, TransferReport, Transferred,
};

/// Of the rows a second that plain COPY pipes.
const FLOOR_OF_PIPED: f64 = 0.4;
/// Of the whole, with the comparison and both audits, for each million draws.
const FLOOR_OF_MILLION: Duration = Duration::from_mins(1);
/// Callers that fill the old database.
const CALLERS: u64 = 512;
/// Tables with nearly all of the rows.
const LARGE: [&str; 4] = ["draw", "delivery", "request", "allowance"];
struct Options {
    draws: u64,
    dir: PathBuf,
}

/// `transfer [--draws N] [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        draws: 1_000_000,
        dir: "target".into(),
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--draws" => options.draws = value.parse()?,
            "--dir" => options.dir = value.into(),
            other => bail!("`{other}` is not known; use --draws, --dir"),
        }
    }
    tokio::runtime::Runtime::new()?.block_on(measure(&options))
}

async fn measure(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    let home = tempfile::tempdir_in(&options.dir)?;
    let fsyncs = report::fsyncs_per_second(home.path())?;
    let server = Server::find().await?;
    println!("{}; fsync: {fsyncs:.0}/s", server.settings);
    let begun = Instant::now();
    fill(home.path(), options.draws).await?;
    let draws = options.draws;
    println!(
        "{draws} draws, filled in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let new = server.database("transfer").await?;
    let moved = Moved::measure(&home.path().join("tombola.db"), &new).await?;
    moved.print();
    let piped = pipe(&server, &new).await?;
    let of_piped = moved.rows_per_second() / piped;
    println!(
        "piped by plain COPY: {piped:.0} rows/s; the transfer copies {:.0} % of that",
        of_piped * 100.0
    );
    new.drop().await?;
    let statements = statements::measure(&server).await?;
    let extra = json!({
        "server": server.settings, "fsyncs_per_second": fsyncs.round(), "draws": draws,
        "moved": moved.json(), "piped_rows_per_second": piped.round(), "of_piped": of_piped,
        "statements": statements.iter().map(statements::Pair::json).collect::<Vec<_>>(),
    });
    report::keep("transfer", &[], &extra)?;
    ensure!(
        of_piped >= FLOOR_OF_PIPED,
        "the transfer copies less than {FLOOR_OF_PIPED} of what plain COPY pipes"
    );
    let million = moved.whole.as_secs_f64() * 1e6 / f64::from(u32::try_from(draws)?);
    ensure!(
        million <= FLOOR_OF_MILLION.as_secs_f64(),
        "a million draws take {million:.0} s"
    );
    statements::check_floors(&statements)
}

/// Draws in a fresh file at `dir`, of which nothing is delivered yet.
async fn fill(dir: &Path, draws: u64) -> Result<()> {
    let contender = Contender::start(dir, None).await?;
    let ask = contender.ask();
    let next = Arc::new(AtomicU64::new(0));
    let caller = || {
        let (ask, next) = (ask.clone(), Arc::clone(&next));
        async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= draws {
                    return Ok::<_, anyhow::Error>(());
                }
                ask(number).await?;
            }
        }
    };
    try_join_all((0..CALLERS).map(|_| caller())).await?;
    contender.close();
    Ok(())
}

/// A transfer, and how long its parts took.
struct Moved {
    report: TransferReport,
    copying: Duration,
    comparing: Duration,
    auditing: Duration,
    whole: Duration,
    memory: Option<u64>,
}

impl Moved {
    async fn measure(file: &Path, to: &Database) -> Result<Self> {
        let options = TransferOptions {
            seal_keys: None,
            schedule: Schedule::default(),
            now: SystemClock::new().now(),
            chunk_rows_max: CHUNK_ROWS_MAX,
        };
        let begun = Instant::now();
        let mut ends: [Option<Duration>; 3] = [None; 3];
        let mut on_step = |progress: Progress| {
            let end = match progress.doing {
                Doing::Copying => 0,
                Doing::Comparing | Doing::Auditing => 1,
                Doing::Releasing => 2,
            };
            ends[end] = Some(begun.elapsed());
            true
        };
        let done = transfer::run(file, &to.options(), options, &mut on_step).await;
        let whole = begun.elapsed();
        let Transferred::Ended(report) = done.map_err(|error| anyhow::anyhow!("{error}"))? else {
            bail!("the transfer ended early");
        };
        ensure!(report.is_released, "the two databases differ: {report:?}");
        let [Some(copied), Some(compared), Some(audited)] = ends else {
            bail!("a part of the transfer was not told");
        };
        Ok(Self {
            report: *report,
            copying: copied,
            comparing: compared.saturating_sub(copied),
            auditing: audited.saturating_sub(compared),
            whole,
            memory: report::memory_peak_mb(),
        })
    }

    /// While they were copied.
    fn rows_per_second(&self) -> f64 {
        rows_of(self.report.moved) / self.copying.as_secs_f64()
    }

    fn print(&self) {
        println!(
            "{} rows transferred in {:.1} s: copied in {:.1} s ({:.0} rows/s), compared in {:.1} s, \
             audited in {:.1} s; memory: at most {} MB, the load included",
            self.report.moved,
            self.whole.as_secs_f64(),
            self.copying.as_secs_f64(),
            self.rows_per_second(),
            self.comparing.as_secs_f64(),
            self.auditing.as_secs_f64(),
            self.memory.unwrap_or_default(),
        );
    }

    fn json(&self) -> Value {
        json!({
            "rows": self.report.moved, "copying": self.copying.as_secs_f64(),
            "comparing": self.comparing.as_secs_f64(), "auditing": self.auditing.as_secs_f64(),
            "whole": self.whole.as_secs_f64(), "rows_per_second": self.rows_per_second().round(),
            "memory_peak_mb": self.memory,
        })
    }
}

fn rows_of(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The rival: the rows of the large tables from that database into another, each table by one COPY,
/// as a dump and its restore with the indexes there. Rows a second.
async fn pipe(server: &Server, from: &Database) -> Result<f64> {
    let to = server.database("piped").await?;
    crate::desk::prepare(&to, crate::desk::PRIZES).await?;
    let (source, target) = (from.connect().await?, to.connect().await?);
    to.checkpoint().await?;
    let begun = Instant::now();
    let mut rows = 0;
    for table in LARGE {
        rows += pipe_table(&source, &target, table).await?;
    }
    let took = begun.elapsed();
    to.drop().await?;
    Ok(rows_of(rows) / took.as_secs_f64())
}

async fn pipe_table(from: &Client, to: &Client, table: &str) -> Result<u64> {
    let out = format!("COPY {table} TO STDOUT (FORMAT binary)");
    let mut pieces = pin!(from.copy_out(&out).await?);
    let into = format!("COPY {table} FROM STDIN (FORMAT binary)");
    let mut sink = pin!(to.copy_in(&into).await?);
    while let Some(piece) = pieces.next().await {
        sink.feed(piece?).await?;
    }
    Ok(sink.finish().await?)
}
