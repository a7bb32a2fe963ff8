//! A transaction held open: while it lives, no version of a row that died after its
//! snapshot is removed, and whoever looks for a row's newest version by an index meets
//! all of them.

use super::{Options, Pair, Rates, Round, reads, ready};
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

/// What is measured of both pairs: of the one on which it is held, and of its twin on which nothing is.
type Phase = [Rates; 2];

/// Rates before, with the transaction held, and with it gone; what became of them by it; and what
/// the backlog left of the rate before.
///
/// Each rate is compared with the twin's, round by round, and the middle of the rounds counts: what
/// the machine, and ten minutes of draws, do to a rate they do to both. A snapshot keeps the dead of
/// its own database only; what it did to the twin too, the rates with it gone would show. What the
/// sessions worked for a draw is compared in the same way: it does not wait for a disk.
pub(super) async fn measure(
    pairs: [&Pair; 2],
    options: &Options,
) -> Result<(Vec<Measured>, Value, Value)> {
    ready(options)?;
    let before = Pair::rates(pairs, options, ["", ", twin"]).await?;
    let mut held = Vec::new();
    for side in [&pairs[0].empty, &pairs[0].backlog] {
        if options.opens {
            held.push(open(&side.database).await?);
        }
    }
    let draws = go_on(pairs, Duration::from_secs(options.hold)).await?;
    println!(
        "{} transactions held for {} s, {draws} draws on each side meanwhile",
        held.len(),
        options.hold
    );
    let looks = looks(pairs).await?;
    ready(options)?;
    settle(pairs).await?;
    let after = Pair::rates(pairs, options, [", held", ", twin of held"]).await?;
    let versions = dead(&pairs[0].backlog.database).await?;
    let versions_of_twin = dead(&pairs[1].backlog.database).await?;
    for client in held {
        client.batch_execute("ROLLBACK").await?;
    }
    settle(pairs).await?;
    let gone = Pair::rates(pairs, options, [", gone", ", twin of gone"]).await?;
    let phases = [before, after, gone];
    let mut told = changes(&phases);
    told["seconds"] = json!(options.hold);
    told["opened"] = json!(options.opens);
    told["draws_meanwhile"] = json!(draws);
    told["look_at_all_lanes_ms"] = looks;
    told["dead_versions"] = versions;
    told["dead_versions_of_twin"] = versions_of_twin;
    println!("changed by the held transaction, beside the twin: {told:#}");
    let of_empty = json!(phases[0][0].of_empty());
    let rows = phases.into_iter().flatten().flat_map(Rates::into_rows);
    Ok((rows.collect(), told, of_empty))
}

/// Vacuumed, as autovacuum would in a minute, so that no phase pays for the one before it.
async fn settle(pairs: [&Pair; 2]) -> Result<()> {
    for side in pairs.iter().flat_map(|it| [&it.empty, &it.backlog]) {
        let client = side.database.connect().await?;
        client.batch_execute("VACUUM (ANALYZE)").await?;
        side.database.checkpoint().await?;
    }
    Ok(())
}

/// By name, beside the twin: what became of the rate, and of the work, by the transaction; and in
/// each phase the shares of the twin's that they come of, and what a draw or a row worked.
fn changes(phases: &[Phase; 3]) -> Value {
    let mut told = json!({});
    for (which, name) in ["empty", "backlog", "rescue"].into_iter().enumerate() {
        let [rate, work]: [fn(&Round) -> f64; 2] = [|it| it.rate, |it| it.work];
        let shares = |of| {
            phases
                .each_ref()
                .map(|phase| Share::of_twin(phase, which, of))
        };
        let own = |of| {
            let both = |phase: &Phase| {
                let both = phase.each_ref();
                both.map(|rates| round(middle(rates.values(which, of))))
            };
            phases.each_ref().map(both)
        };
        let change = |shares: &[Share; 3]| round(shares[1].middle / shares[0].middle);
        let (rates, works) = (shares(rate), shares(work));
        told[name] = json!({
            "rate": change(&rates),
            "work": change(&works),
            "rate_of_twin": rates.map(|it| it.json()),
            "work_of_twin": works.map(|it| it.json()),
            "rates": own(rate),
            "work_us": own(work),
        });
    }
    told
}

/// A value by the twin's, of rounds of both: the middle, and between which it lies in 95 of 100
/// cases, whatever the rounds are distributed like. (The places are those of the interval for a
/// median by the sign test, the binomial distribution taken as a normal one.)
#[derive(Debug, PartialEq)]
struct Share {
    low: f64,
    middle: f64,
    high: f64,
}

impl Share {
    fn of_twin([held, twin]: &[Rates; 2], which: usize, of: fn(&Round) -> f64) -> Self {
        let rounds = held.values(which, of).into_iter();
        let rounds = rounds.zip(twin.values(which, of));
        Self::of(rounds.map(|(held, twin)| held / twin).collect())
    }

    fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_unstable_by(f64::total_cmp);
        let count = rounds.len();
        let left_out = (0..count).take_while(|&it| {
            // Of so many throws of a coin fewer than these are heads, once in forty.
            let (it, count) = (number(it + 1), number(count));
            it <= f64::midpoint(count, -1.96 * count.sqrt())
        });
        let low = left_out.count();
        Self {
            low: rounds[low],
            high: rounds[count - 1 - low],
            middle: middle(rounds),
        }
    }

    fn json(&self) -> Value {
        json!([round(self.low), round(self.middle), round(self.high)])
    }
}

impl Rates {
    fn values(&self, which: usize, of: fn(&Round) -> f64) -> Vec<f64> {
        self.rounds[which].iter().map(of).collect()
    }
}

/// The middle of some; a round at least.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        return values[half];
    }
    f64::midpoint(values[half - 1], values[half])
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// To the thousandth.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Whether no rate fell below the floor; true where nothing was held, as in a control.
pub(super) fn check_floor(held: &Value) -> Result<()> {
    if held["opened"] != true {
        return Ok(());
    }
    for name in ["empty", "backlog", "rescue"] {
        let share = held[name]["rate"].as_f64();
        let share = share.with_context(|| format!("{name}: no rate was measured"))?;
        ensure!(
            share >= FLOOR,
            "{name}: a transaction held open took the rate to {share:.2} of that without"
        );
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

    fn rates(rounds: &[f64]) -> Rates {
        let measured = |rate: &f64| {
            let measured = Measured {
                name: String::new(),
                callers: 1,
                draws: 1,
                took: Duration::from_secs_f64(1.0 / rate),
                waits: Vec::new(),
            };
            (measured, 1.0 / rate)
        };
        Rates::of([(); 3].map(|()| rounds.iter().map(measured).collect()), "").unwrap()
    }

    #[test]
    fn middle_of_the_rounds_beside_the_twin_counts() {
        let both = [rates(&[1.0, 9.0, 4.0, 4.0]), rates(&[2.0, 3.0, 4.0, 5.0])];
        assert!((Share::of_twin(&both, 0, |it| it.rate).middle - 0.9).abs() < 1e-6);
        let both = [rates(&[1.0, 9.0, 4.0]), rates(&[2.0, 3.0, 4.0])];
        assert!((Share::of_twin(&both, 1, |it| it.rate).middle - 1.0).abs() < 1e-6);
    }

    #[test]
    fn change_is_what_came_of_the_share_of_the_twin() {
        let phase = |held, twin| [rates(&[held, held]), rates(&[twin, twin])];
        let told = changes(&[phase(2.0, 1.0), phase(1.0, 1.0), phase(4.0, 2.0)]);
        assert_eq!(told["backlog"]["rate"], json!(0.5));
        assert_eq!(told["backlog"]["work"], json!(2.0));
        let rates = json!([[2.0, 1.0], [1.0, 1.0], [4.0, 2.0]]);
        assert_eq!(told["rescue"]["rates"], rates);
    }

    #[test]
    fn share_lies_between_the_rounds_that_the_sign_test_names() {
        // Of 40 the 14th from both ends, of 20 the 6th; of 5 all.
        for (count, low) in [(40, 14), (20, 6), (5, 1)] {
            let share = Share::of((1..=count).map(number).collect());
            let high = number(count + 1 - low);
            assert_eq!((share.low, share.high), (number(low), high), "{count}");
        }
    }

    #[test]
    fn a_rate_that_fell_by_more_than_a_tenth_misses_the_floor() {
        let told = |opened: bool, backlog: Value| {
            let rate = |rate: Value| json!({ "rate": rate });
            check_floor(&json!({
                "opened": opened, "empty": rate(json!(0.90)), "backlog": rate(backlog),
                "rescue": rate(json!(1.3)),
            }))
        };
        told(true, json!(0.95)).unwrap();
        assert!(told(true, json!(0.89)).is_err());
        assert!(told(true, Value::Null).is_err());
        told(false, json!(0.89)).unwrap();
        check_floor(&Value::Null).unwrap();
    }
}
