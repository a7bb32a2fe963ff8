//! `bench draw-hot`: every draw wins the one prize with stock. The desk on PostgreSQL
//! against the naive transaction and against the same in one round trip, each with
//! several pools of connections. The floor is checked at 256 callers, against the best
//! pool of those that so many callers have: a pool is what they wait for each other in,
//! and a very small one takes the naive transaction's own queue away from it.

use crate::desk::{self, Contender};
use crate::draw_pg::numbers;
use crate::load::{Plan, run as load};
use crate::naive::{self, Pool, Way};
use crate::postgres::Server;
use crate::report::{self, Measured};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

const FLOOR_CALLERS: usize = 256;
const FLOOR_TIMES: f64 = 12.0;
/// The smallest pool that the floor is about. What the smaller ones reach is told beside.
const FLOOR_POOL_MIN: usize = 32;

const PRIZES: &str = r#"
[[prize]]
slug = "hot"
name = "Hot"
kind = "text"
text = "hot"
odds = "100%"
stock = 1000000000
"#;

/// `draw-hot [--callers N,…] [--pools N,…] [--seconds N] [--dir DIR]`
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut callers, mut pools) = (vec![32, FLOOR_CALLERS], vec![4, 10, 32, 64, 128]);
    let (mut seconds, mut dir) = (4, "target".to_owned());
    while let Some(flag) = args.next() {
        let value = args.next().unwrap_or_default();
        match flag.as_str() {
            "--callers" => callers = numbers(&value)?,
            "--pools" => pools = numbers(&value)?,
            "--seconds" => seconds = value.parse()?,
            "--dir" => dir = value,
            other => bail!("`{other}` is not known; use --callers, --pools, --seconds, --dir"),
        }
    }
    std::fs::create_dir_all(&dir)?;
    let fsyncs = report::fsyncs_per_second(tempfile::tempdir_in(Path::new(&dir))?.path())?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let server = Server::find().await?;
        println!("{}; fsync: {fsyncs:.0}/s", server.settings);
        let mut rows = Vec::new();
        for callers in callers {
            let plan = Plan::new(callers, seconds);
            rows.push(contender(&server, &plan).await?);
            for way in [Way::OneByOne, Way::AtOnce] {
                // More connections than callers are not used.
                for &connections in pools.iter().filter(|pool| **pool <= callers) {
                    rows.push(rival(&server, &plan, way, connections).await?);
                }
            }
        }
        report::table(&rows);
        let extra = json!({ "server": server.settings, "fsyncs_per_second": fsyncs.round() });
        report::keep("draw-hot", &rows, &extra)?;
        check_floor(&rows, &pools)
    })
}

fn check_floor(rows: &[Measured], pools: &[usize]) -> Result<()> {
    let mut callers: Vec<usize> = rows.iter().map(|row| row.callers).collect();
    callers.dedup();
    for callers in callers {
        let desk = best(rows, callers, "desk");
        let times = desk / best(rows, callers, Way::OneByOne.name());
        let times_at_once = desk / best(rows, callers, Way::AtOnce.name());
        println!(
            "desk at {callers} callers: {times:.1} times the best naive transaction of all pools, {times_at_once:.1} times the best one round trip"
        );
        let usual = pools.iter().filter(|pool| **pool >= FLOOR_POOL_MIN);
        let usual = usual.map(|pool| best(rows, callers, &named(Way::OneByOne, *pool)));
        let times = desk / usual.fold(0.0, f64::max);
        println!(
            "desk at {callers} callers: {times:.1} times the naive transaction with {FLOOR_POOL_MIN} connections or more"
        );
        ensure!(
            callers != FLOOR_CALLERS || times >= FLOOR_TIMES,
            "the desk is below {FLOOR_TIMES} times the naive transaction"
        );
    }
    Ok(())
}

fn named(way: Way, connections: usize) -> String {
    format!("{}, pool of {connections}", way.name())
}

/// The best rate at so many callers of those whose name begins so.
fn best(rows: &[Measured], callers: usize, name: &str) -> f64 {
    let rows = rows.iter().filter(|row| row.callers == callers);
    let rows = rows.filter(|row| row.name.starts_with(name));
    rows.map(Measured::rate).fold(0.0, f64::max)
}

async fn contender(server: &Server, plan: &Plan) -> Result<Measured> {
    let database = server.database("desk").await?;
    desk::prepare(&database, PRIZES).await?;
    database.checkpoint().await?;
    let contender = Contender::on_postgres(&database, 1).await?;
    let measured = load("desk", plan, contender.ask()).await?;
    contender.stop();
    database.drop().await?;
    Ok(measured)
}

async fn rival(server: &Server, plan: &Plan, way: Way, connections: usize) -> Result<Measured> {
    let database = server.database("naive").await?;
    naive::fill(&database).await?;
    database.checkpoint().await?;
    let pool = Pool::open(&database, connections).await?;
    let measured = load(&named(way, connections), plan, move |number| {
        let pool = Arc::clone(&pool);
        async move { pool.draw(way, number).await }
    })
    .await?;
    database.drop().await?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn measured(name: &str, callers: usize, draws: u64) -> Measured {
        Measured {
            name: name.to_owned(),
            callers,
            draws,
            took: Duration::from_secs(1),
            waits: Vec::new(),
        }
    }

    #[test]
    fn best_naive_pool_of_the_usual_ones_is_the_rival_and_only_at_the_same_callers() {
        let naive = |pool, callers, draws| measured(&named(Way::OneByOne, pool), callers, draws);
        let mut rows = vec![
            measured("desk", 256, 12_000),
            naive(4, 256, 2000),
            naive(32, 256, 1000),
            naive(64, 256, 900),
            naive(32, 32, 5000),
            measured(&named(Way::AtOnce, 32), 256, 2000),
        ];
        assert!((best(&rows, 256, Way::OneByOne.name()) - 2000.0).abs() < 0.1);
        let pools = [4, 32, 64];
        check_floor(&rows[..4], &pools).unwrap();
        rows[0].draws = 11_999;
        assert!(check_floor(&rows[..4], &pools).is_err());
    }
}
