//! A transaction held open: while it lives, no version of a row that died after its
//! snapshot is removed, and whoever looks for a row's newest version by an index meets
//! all of them.

use super::{Options, Pair, Rates, reads, ready};
use crate::postgres::Database;
use crate::report::Measured;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tombola_core::limits::{RESCUE_PROBE_INTERVAL, RESCUE_PROBE_ROWS};

/// Of the rate before.
const FLOOR: f64 = 0.90;
/// Between two draws on each side while the transaction is held.
const PACE: Duration = Duration::from_millis(10);

/// Rates while it is held, measured in the end, and what they are of those before.
pub(super) async fn measure(
    pair: &Pair,
    options: &Options,
    before: &Rates,
) -> Result<([Measured; 3], Value)> {
    let held = [
        open(&pair.empty.database).await?,
        open(&pair.backlog.database).await?,
    ];
    let draws = go_on(pair, Duration::from_secs(options.hold)).await?;
    println!(
        "held for {} s, {draws} draws on each side meanwhile",
        options.hold
    );
    ready(options)?;
    let rates = pair.rates(options, ", held").await?;
    let versions = dead(&pair.backlog.database).await?;
    for client in held {
        client.batch_execute("ROLLBACK").await?;
    }
    let of = |now: &Measured, before: &Measured| now.rate() / before.rate();
    let shares = json!({
        "seconds": options.hold,
        "draws_meanwhile": draws,
        "dead_versions": versions,
        "empty": of(&rates.empty, &before.empty),
        "backlog": of(&rates.backlog, &before.backlog),
        "rescue": of(&rates.rescue, &before.rescue),
    });
    println!("of the rates before: {shares}");
    Ok(([rates.empty, rates.backlog, rates.rescue], shares))
}

/// Whether no rate fell below the floor; true where nothing was held.
pub(super) fn check_floor(held: &Value) -> Result<()> {
    for name in ["empty", "backlog", "rescue"] {
        if let Some(share) = held[name].as_f64() {
            ensure!(
                share >= FLOOR,
                "{name}: a transaction held open took the rate to {share:.2} of that before"
            );
        }
    }
    Ok(())
}

/// A snapshot, and an id of its own.
async fn open(database: &Database) -> Result<Client> {
    let client = database.connect().await?;
    client
        .batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ;
             SELECT count(*), pg_current_xact_id() FROM campaign",
        )
        .await?;
    Ok(client)
}

/// Draws at a light pace on both sides, each a transaction of its own, and a probe of
/// rescue as often as where the topic is away.
async fn go_on(pair: &Pair, held: Duration) -> Result<u64> {
    let begun = Instant::now();
    let (mut draws, mut probed) = (0, begun);
    let mut pace = tokio::time::interval(PACE);
    while begun.elapsed() < held {
        pace.tick().await;
        tokio::try_join!(pair.empty.draw(), pair.backlog.draw())?;
        draws += 1;
        if probed.elapsed() >= RESCUE_PROBE_INTERVAL {
            probed = Instant::now();
            reads::step(pair.backlog.desk.store(), None, RESCUE_PROBE_ROWS).await?;
        }
    }
    Ok(draws)
}

/// Dead versions that lie in the hot tables.
async fn dead(database: &Database) -> Result<Value> {
    let sql = "SELECT jsonb_object_agg(relname, n_dead_tup)::text FROM pg_stat_user_tables
        WHERE n_dead_tup > 0";
    let client = database.connect().await?;
    let dead: Option<String> = client.query_one(sql, &[]).await?.get(0);
    serde_json::from_str(&dead.unwrap_or_else(|| "{}".to_owned())).context("counts of versions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_fell_by_more_than_a_tenth_misses_the_floor() {
        check_floor(&json!({ "empty": 0.90, "backlog": 1.3, "rescue": 0.95 })).unwrap();
        assert!(check_floor(&json!({ "empty": 1.0, "backlog": 0.89 })).is_err());
        check_floor(&Value::Null).unwrap();
    }
}
