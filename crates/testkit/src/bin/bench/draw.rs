//! `bench draw`: the desk on SQLite against two loops that write the same rows in
//! the same schema with the same durability: one transaction a draw, and raw group
//! commit. The floors of the foundation are checked at 128 callers.

use crate::desk::{Contender, key_of, user_of};
use crate::load::{Plan, run as load};
use crate::raw::{self, Ask};
use crate::report::{self, Measured};
use anyhow::{Result, ensure};
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

const FLOOR_CALLERS: usize = 128;
const FLOOR_OF_RAW: f64 = 0.60;
const FLOOR_TIMES_SINGLE: f64 = 3.5;
const FLOOR_RATE: f64 = 20_000.0;
const MEMORY_MB_MAX: u64 = 150;

/// `draw [--callers N,N,…] [--seconds N] [--dir DIR] [--alter SQL]`: with `--alter
/// "DROP INDEX …"` the desk runs once more on a database that was changed so.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut callers, mut seconds, mut dir) = (vec![FLOOR_CALLERS], 5, "target".to_owned());
    let mut alter = None;
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--callers" => callers = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--seconds" => seconds = value.parse()?,
            "--dir" => dir = value,
            "--alter" => alter = Some(value),
            other => {
                anyhow::bail!("`{other}` is not known; use --callers, --seconds, --dir, --alter")
            }
        }
    }
    std::fs::create_dir_all(&dir)?;
    let home = tempfile::tempdir_in(&dir)?;
    let fsyncs = report::fsyncs_per_second(home.path())?;
    println!(
        "fsync: {fsyncs:.0}/s; synchronous=FULL everywhere; {seconds} s each after 1 s of warm-up"
    );
    let runtime = Runtime::new()?;
    let (mut rows, mut others) = (Vec::new(), Vec::new());
    for callers in callers {
        let plan = Plan::new(callers, seconds);
        rows.push(desk(&runtime, home.path(), &plan, None)?);
        rows.push(rival(
            &runtime,
            home.path(),
            "raw group commit",
            &plan,
            raw::group_commit,
        )?);
        rows.push(rival(
            &runtime,
            home.path(),
            "one transaction a draw",
            &plan,
            raw::one_by_one,
        )?);
        if let Some(sql) = &alter {
            let altered = desk(&runtime, home.path(), &plan, Some(sql))?;
            let share = rows[rows.len() - 3].rate() / altered.rate();
            println!("desk: {:.1} % of one after `{sql}`", share * 100.0);
            others.push(altered);
        }
    }
    report::table(&rows);
    if !others.is_empty() {
        report::table(&others);
    }
    let memory = report::memory_peak_mb();
    let extra = json!({ "fsyncs_per_second": fsyncs.round(), "memory_peak_mb": memory });
    report::keep("draw", &rows, &extra)?;
    check_floors(&rows, memory)
}

fn check_floors(rows: &[Measured], memory: Option<u64>) -> Result<()> {
    for three in rows
        .chunks(3)
        .filter(|three| three[0].callers == FLOOR_CALLERS)
    {
        let (of_raw, times) = (
            three[0].rate() / three[1].rate(),
            three[0].rate() / three[2].rate(),
        );
        println!(
            "desk: {:.0} % of raw group commit, {times:.1} times one transaction a draw",
            of_raw * 100.0
        );
        ensure!(
            of_raw >= FLOOR_OF_RAW,
            "the desk is below {FLOOR_OF_RAW} of raw group commit"
        );
        ensure!(
            times >= FLOOR_TIMES_SINGLE,
            "the desk is below {FLOOR_TIMES_SINGLE} times single"
        );
        ensure!(
            three[0].rate() >= FLOOR_RATE,
            "the desk is below {FLOOR_RATE} draws/s"
        );
    }
    if let Some(memory) = memory {
        println!("memory: at most {memory} MB, load and rivals included");
        ensure!(memory < MEMORY_MB_MAX, "the process took {memory} MB");
    }
    Ok(())
}

fn desk(runtime: &Runtime, home: &Path, plan: &Plan, alter: Option<&str>) -> Result<Measured> {
    let dir = tempfile::tempdir_in(home)?;
    runtime.block_on(async {
        let contender = Contender::start(dir.path(), alter).await?;
        let name = if alter.is_some() {
            "desk, altered"
        } else {
            "desk"
        };
        let measured = load(name, plan, contender.ask()).await;
        contender.stop();
        measured
    })
}

fn rival(
    runtime: &Runtime,
    home: &Path,
    name: &str,
    plan: &Plan,
    write: fn(Connection, mpsc::Receiver<Ask>) -> Result<()>,
) -> Result<Measured> {
    let dir = tempfile::tempdir_in(home)?;
    let db = raw::open(dir.path())?;
    let (asks, asked) = mpsc::channel(4096);
    let writer = std::thread::spawn(move || write(db, asked));
    let measured = runtime.block_on(load(name, plan, move |number| {
        let asks = asks.clone();
        async move {
            let (answer, answered) = oneshot::channel();
            let roll = number.wrapping_mul(0x2545_F491_4F6C_DD1D);
            let ask = Ask {
                id: i64::try_from(number)?,
                roll,
                user: user_of(number),
                key: key_of(number),
                answer,
            };
            asks.send(ask).await?;
            answered.await?;
            Ok(())
        }
    }))?;
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer of `{name}` panicked"))??;
    Ok(measured)
}
