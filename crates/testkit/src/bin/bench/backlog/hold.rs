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
use tombola_core::ports::{AwardPath as _, Clock as _};
use tombola_engine::SystemClock;

/// Of the rate without.
const FLOOR: f64 = 0.90;
/// Between two draws on each side while the transaction is held.
const PACE: Duration = Duration::from_millis(10);

/// Rates of the pair on which it is held and of its twin on which nothing is, before and in the
/// end; what became of the ones by it; and what the backlog left of the rate before.
///
/// Each rate is compared with the twin's, round by round, and the middle of the rounds counts: what
/// the machine, and ten minutes of draws, do to a rate they do to both. A snapshot keeps the dead of
/// its own database only.
pub(super) async fn measure(
    pairs: [&Pair; 2],
    options: &Options,
) -> Result<(Vec<Measured>, Value, Value)> {
    ready(options)?;
    let before = Pair::rates(pairs, options, ["", ", twin"]).await?;
    let held = [
        open(&pairs[0].empty.database).await?,
        open(&pairs[0].backlog.database).await?,
    ];
    let draws = go_on(pairs, Duration::from_secs(options.hold)).await?;
    println!(
        "held for {} s, {draws} draws on each side meanwhile",
        options.hold
    );
    let looks = looks(pairs).await?;
    ready(options)?;
    let after = Pair::rates(pairs, options, [", held", ", not held"]).await?;
    let versions = dead(&pairs[0].backlog.database).await?;
    let versions_of_twin = dead(&pairs[1].backlog.database).await?;
    for client in held {
        client.batch_execute("ROLLBACK").await?;
    }
    let change = |which: usize| of_twin(&after, which) / of_twin(&before, which);
    let of_before = |of: fn(&Rates) -> &Measured| of(&after[0]).rate() / of(&before[0]).rate();
    let changes = json!({
        "seconds": options.hold,
        "draws_meanwhile": draws,
        "look_at_all_lanes_ms": looks,
        "dead_versions": versions,
        "dead_versions_of_twin": versions_of_twin,
        "empty": change(0),
        "backlog": change(1),
        "rescue": change(2),
        "of_before": {
            "empty": of_before(|it| &it.empty),
            "backlog": of_before(|it| &it.backlog),
            "rescue": of_before(|it| &it.rescue),
        },
    });
    println!("changed by the held transaction, beside the twin: {changes}");
    let of_empty = json!(before[0].of_empty());
    let rows = before.into_iter().chain(after).flat_map(Rates::into_rows);
    Ok((rows.collect(), changes, of_empty))
}

/// A rate by the twin's of the same round: the middle of the rounds.
fn of_twin([held, twin]: &[Rates; 2], which: usize) -> f64 {
    let rounds = held.rounds.iter().zip(&twin.rounds);
    let mut rounds: Vec<f64> = rounds
        .map(|(held, twin)| held[which] / twin[which])
        .collect();
    rounds.sort_unstable_by(f64::total_cmp);
    let middle = rounds.len() / 2;
    if rounds.len() % 2 == 1 {
        return rounds[middle];
    }
    f64::midpoint(rounds[middle - 1], rounds[middle])
}

/// Whether no rate fell below the floor; true where nothing was held.
pub(super) fn check_floor(held: &Value) -> Result<()> {
    for name in ["empty", "backlog", "rescue"] {
        if let Some(share) = held[name].as_f64() {
            ensure!(
                share >= FLOOR,
                "{name}: a transaction held open took the rate to {share:.2} of that without"
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

/// How long rescue looks for what is due where all that was due is delivered: the middle of many
/// looks, and the longest, with the transaction held and without.
async fn looks(pairs: [&Pair; 2]) -> Result<Value> {
    const LOOKS: usize = 200;
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..LOOKS {
        for (pair, took) in pairs.iter().zip(&mut took) {
            let begun = Instant::now();
            let now = SystemClock::new().now();
            pair.empty.desk.store().due_lanes(now).await?;
            took.push(begun.elapsed());
        }
    }
    let told = took.map(|mut took| {
        took.sort_unstable();
        let ms = |it: Duration| (it.as_secs_f64() * 1e5).round() / 100.0;
        json!({ "middle": ms(took[LOOKS / 2]), "longest": ms(took[LOOKS - 1]) })
    });
    let [held, twin] = told;
    Ok(json!({ "held": held, "twin": twin }))
}

/// What workers leave of awards that were drawn behind this one; the last one now.
async fn deliver(client: &Client, after: i64) -> Result<i64> {
    let sql = "UPDATE delivery SET state = 'delivered', due_at = NULL
        WHERE award_id > $1 AND due_at IS NOT NULL";
    client.execute(sql, &[&after]).await?;
    let last = "SELECT coalesce(max(award_id), 0) FROM delivery";
    Ok(client.query_one(last, &[]).await?.get(0))
}

/// Draws at a light pace on all sides, each a transaction of its own, and once a second a probe
/// of rescue as where the topic is away; where there is no backlog all is delivered.
async fn go_on(pairs: [&Pair; 2], held: Duration) -> Result<u64> {
    let begun = Instant::now();
    let (mut draws, mut probed) = (0, begun);
    let mut pace = tokio::time::interval(PACE);
    let [one, twin] = pairs;
    let mut workers = [
        (one.empty.database.connect().await?, 0),
        (twin.empty.database.connect().await?, 0),
    ];
    while begun.elapsed() < held {
        pace.tick().await;
        tokio::try_join!(
            one.empty.draw(),
            one.backlog.draw(),
            twin.empty.draw(),
            twin.backlog.draw()
        )?;
        draws += 1;
        if probed.elapsed() >= RESCUE_PROBE_INTERVAL {
            probed = Instant::now();
            for pair in pairs {
                reads::step(pair.backlog.desk.store(), None, RESCUE_PROBE_ROWS).await?;
            }
            for (client, last) in &mut workers {
                *last = deliver(client, *last).await?;
            }
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
    fn middle_of_the_rounds_beside_the_twin_counts() {
        let rates = |rounds: &[f64]| {
            let measured = |rate: &f64| Measured {
                name: String::new(),
                callers: 1,
                draws: 1,
                took: Duration::from_secs_f64(1.0 / rate),
                waits: Vec::new(),
            };
            let rounds = rounds.iter().map(|it| [it; 3].map(measured)).collect();
            Rates::of(rounds, "").unwrap()
        };
        let both = [rates(&[1.0, 9.0, 4.0, 4.0]), rates(&[2.0, 3.0, 4.0, 5.0])];
        assert!((of_twin(&both, 0) - 0.9).abs() < 1e-6);
        let both = [rates(&[1.0, 9.0, 4.0]), rates(&[2.0, 3.0, 4.0])];
        assert!((of_twin(&both, 1) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_rate_that_fell_by_more_than_a_tenth_misses_the_floor() {
        check_floor(&json!({ "empty": 0.90, "backlog": 1.3, "rescue": 0.95 })).unwrap();
        assert!(check_floor(&json!({ "empty": 1.0, "backlog": 0.89 })).is_err());
        check_floor(&Value::Null).unwrap();
    }
}
