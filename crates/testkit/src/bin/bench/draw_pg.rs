//! `bench draw-pg`: the desk on PostgreSQL, with one, two and four instances, against
//! the best rate that pgbench's TPC-B-like transaction reaches at any of several
//! numbers of clients on the same server. In rounds, each with all of them: what the
//! machine does beside is spread over all, and the median of the rounds counts. The
//! floor is checked at 128 callers.

use crate::desk::{self, Contender, PRIZES};
use crate::load::{Plan, run as load};
use crate::pgbench;
use crate::postgres::Server;
use crate::report::{self, Measured};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use tokio::runtime::Runtime;

const FLOOR_CALLERS: usize = 128;
const FLOOR_TIMES: f64 = 2.5;

struct Options {
    callers: Vec<usize>,
    instances: Vec<usize>,
    clients: Vec<usize>,
    seconds: u64,
    rounds: usize,
    dir: String,
}

/// `draw-pg [--callers N,…] [--instances N,…] [--clients N,…] [--seconds N] [--rounds N]
/// [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut options = Options {
        callers: vec![FLOOR_CALLERS],
        instances: vec![1, 2, 4],
        clients: vec![8, 32, 64],
        seconds: 5,
        rounds: 3,
        dir: "target".to_owned(),
    };
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--callers" => options.callers = numbers(&value)?,
            "--instances" => options.instances = numbers(&value)?,
            "--clients" => options.clients = numbers(&value)?,
            "--seconds" => options.seconds = value.parse()?,
            "--rounds" => options.rounds = value.parse()?,
            "--dir" => options.dir = value,
            other => bail!(
                "`{other}` is not known; use --callers, --instances, --clients, --seconds, --rounds, --dir"
            ),
        }
    }
    measure(&options)
}

/// A list of numbers.
pub(crate) fn numbers(list: &str) -> Result<Vec<usize>> {
    Ok(list.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn measure(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    let home = tempfile::tempdir_in(&options.dir)?;
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::find())?;
    let fsyncs = report::fsyncs_per_second(home.path())?;
    println!("{}; fsync: {fsyncs:.0}/s", server.settings);
    let database = runtime.block_on(server.database("pgbench"))?;
    pgbench::fill(&database)?;
    let (mut rivals, mut desks, mut wal) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for &clients in &options.clients {
            runtime.block_on(database.checkpoint())?;
            rivals.push(pgbench::run(
                &database,
                clients,
                options.seconds,
                home.path(),
            )?);
        }
        for &callers in &options.callers {
            for &instances in &options.instances {
                let plan = Plan::new(callers, options.seconds);
                let (measured, bytes) = runtime.block_on(contender(&server, &plan, instances))?;
                desks.push(measured);
                wal.push(bytes);
            }
        }
    }
    runtime.block_on(database.drop())?;
    let (rivals, desks) = (medians(rivals), medians(desks));
    wal.truncate(desks.len());
    let best = rivals.iter().map(Measured::rate).fold(0.0, f64::max);
    let lowest = lowest_times(&desks, best);
    let rows: Vec<Measured> = rivals.into_iter().chain(desks).collect();
    report::table(&rows);
    println!("bytes of the log a draw, desk by desk: {wal:?}");
    let extra = json!({
        "server": server.settings,
        "fsyncs_per_second": fsyncs.round(),
        "pgbench_best": best.round(),
        "wal_bytes_per_draw": wal,
    });
    report::keep("draw-pg", &rows, &extra)?;
    if let Some(lowest) = lowest {
        println!("desk at {FLOOR_CALLERS} callers: at least {lowest:.2} times pgbench's best");
        ensure!(
            lowest >= FLOOR_TIMES,
            "the desk is below {FLOOR_TIMES} times pgbench's best"
        );
    }
    Ok(())
}

/// The least of what the desks are of the rival, whatever the instances; `None` where
/// none ran at the callers of the floor.
fn lowest_times(desks: &[Measured], best: f64) -> Option<f64> {
    let at_floor = desks.iter().filter(|desk| desk.callers == FLOOR_CALLERS);
    at_floor.map(|desk| desk.rate() / best).reduce(f64::min)
}

/// Of the rounds of each contender, in the order of their first, the one whose rate is the
/// median; the lower one of two.
fn medians(rounds: Vec<Measured>) -> Vec<Measured> {
    let mut groups: Vec<Vec<Measured>> = Vec::new();
    for one in rounds {
        let same = |group: &&mut Vec<Measured>| {
            (&group[0].name, group[0].callers) == (&one.name, one.callers)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    let median = |mut group: Vec<Measured>| {
        group.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
        group.swap_remove((group.len() - 1) / 2)
    };
    groups.into_iter().map(median).collect()
}

/// Desks on a fresh database, and what each draw wrote into the server's log.
async fn contender(server: &Server, plan: &Plan, instances: usize) -> Result<(Measured, u64)> {
    let database = server.database("desk").await?;
    desk::prepare(&database, PRIZES).await?;
    database.checkpoint().await?;
    let contender = Contender::on_postgres(&database, instances).await?;
    let before = database.wal_bytes().await?;
    let name = match instances {
        1 => "desk".to_owned(),
        _ => format!("desk, {instances} instances"),
    };
    let measured = load(&name, plan, contender.ask()).await?;
    let written = database.wal_bytes().await? - before;
    contender.stop();
    let draws: i64 = {
        let client = database.connect().await?;
        let count = "SELECT sum(draws)::bigint FROM campaign_count";
        client.query_one(count, &[]).await?.get(0)
    };
    database.drop().await?;
    Ok((measured, written / u64::try_from(draws.max(1))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn measured(callers: usize, draws: u64) -> Measured {
        Measured {
            name: "desk".to_owned(),
            callers,
            draws,
            took: Duration::from_secs(1),
            waits: Vec::new(),
        }
    }

    #[test]
    fn median_of_the_rounds_counts_for_each_contender() {
        let rounds = [(8, 5), (128, 70), (8, 9), (128, 50), (8, 7), (128, 60)];
        let rounds = rounds.map(|(callers, draws)| measured(callers, draws));
        let medians = medians(rounds.into());
        let of = medians.iter().map(|it| (it.callers, it.draws));
        assert_eq!(of.collect::<Vec<_>>(), [(8, 7), (128, 60)]);
    }

    #[test]
    fn floor_is_held_by_the_slowest_desk_at_its_callers() {
        let desks = [
            measured(8, 1),
            measured(FLOOR_CALLERS, 3000),
            measured(FLOOR_CALLERS, 2500),
        ];
        assert_eq!(lowest_times(&desks, 1000.0), Some(2.5));
        assert_eq!(lowest_times(&desks[..1], 1000.0), None);
    }
}
