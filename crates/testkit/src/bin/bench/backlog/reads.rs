//! How many rows a step of rescue reads for those that it returns: by the plan of the
//! statement that finds them, and by the server's own counters.

use super::fill::History;
use crate::postgres::{Database, Server};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::Instant;
use tokio_postgres::Client;
use tombola_core::limits::RESCUE_BATCH_MAX;
use tombola_core::ports::{AwardPath as _, Clock, DueCursor, DuePage, DueQuery};
use tombola_engine::SystemClock;
use tombola_store::conformance::counted::{Counted, until_alone};
use tombola_store::postgres::READ_PAGE;
use tombola_store::read::audit::AuditDepth;
use tombola_store::{Store, StoreOptions};

/// Rows read for each one returned, at most.
const FLOOR: f64 = 2.0;
/// The same of a whole step, which also locks and writes each row that it returns.
const STEP_FLOOR: f64 = 4.5;
const STEPS: usize = 20;
/// Awards that are due, more than all steps here take.
const DUE: u64 = 2 * (STEPS * RESCUE_BATCH_MAX) as u64;
/// An audit of more rows takes long.
const AUDITED_MAX: u64 = 100_000;

/// Measures at so many finished rows.
pub(super) async fn at(server: &Server, finished: u64) -> Result<Value> {
    let database = server.database("reads").await?;
    let history = History {
        finished,
        due: DUE,
        later: 0,
    };
    let begun = Instant::now();
    history.fill(&database).await?;
    println!(
        "{finished} finished rows and {DUE} due, filled in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let reading = read(&database, history).await;
    database.drop().await?;
    reading
}

async fn read(database: &Database, history: History) -> Result<Value> {
    let client = database.connect().await?;
    let mut planned = Vec::new();
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let rows = explain(&client, mode, history.finished).await?;
        planned.push(rows / rows_of(RESCUE_BATCH_MAX));
    }
    let found = find(&client).await?;
    if history.draws() <= AUDITED_MAX {
        let store = Store::connect(&database.options(), StoreOptions::default()).await?;
        let report = store.audit(AuditDepth::Full).await?;
        ensure!(report.ok, "the bulk insert is wrong: {report:?}");
        // What it read is counted when its sessions end, and must not count for the steps.
        store.close();
        until_alone(&client).await?;
    }
    let store = Store::connect(&database.options(), StoreOptions::default()).await?;
    let before = counted(&client).await?;
    let begun = Instant::now();
    let (returned, _) = steps(&store, None, STEPS).await?;
    let took = begun.elapsed();
    store.close();
    until_alone(&client).await?;
    let per_row = |count: i64| -> Result<f64> {
        let each = rows_of(usize::try_from(count)?) / rows_of(returned);
        Ok((each * 1000.0).round() / 1000.0)
    };
    let mut whole_step = serde_json::Map::new();
    let mut step_sum = 0;
    for (table, read) in counted(&client).await?.since(&before) {
        step_sum += read.rows;
        let each = json!({ "entries": per_row(read.entries)?, "rows": per_row(read.rows)? });
        whole_step.insert(table, each);
    }
    let (whole_step, step_sum) = (Value::from(whole_step), per_row(step_sum)?);
    println!(
        "read for each row returned: by plan {planned:.2?}, counted {found:.2}; by a whole step of \
         all its statements {step_sum:.2} rows, by table {whole_step}; {:.0} rows/s",
        rows_of(returned) / took.as_secs_f64(),
    );
    let worst = planned.iter().copied().fold(found, f64::max);
    ensure!(
        worst <= FLOOR,
        "finding reads {worst:.2} rows for each that it returns"
    );
    ensure!(
        step_sum <= STEP_FLOOR,
        "a step reads {step_sum:.2} rows for each that it returns"
    );
    Ok(json!({
        "finished": history.finished,
        "rows_per_returned_by_plan": planned,
        "rows_per_returned_counted": found,
        "whole_step": whole_step,
        "whole_step_rows": step_sum,
        "rescued_per_second": (rows_of(returned) / took.as_secs_f64()).round(),
    }))
}

fn rows_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// So many steps from there; how many rows they returned, and where to go on.
pub(super) async fn steps(
    store: &Store,
    mut after: Option<DueCursor>,
    count: usize,
) -> Result<(usize, Option<DueCursor>)> {
    let mut returned = 0;
    for _ in 0..count {
        let page = step(store, after, RESCUE_BATCH_MAX).await?;
        ensure!(!page.rescued.is_empty(), "nothing more is due");
        returned += page.rescued.len();
        after = page.next;
    }
    Ok((returned, after))
}

/// One step of so many rows, as rescue takes it.
pub(super) async fn step(store: &Store, after: Option<DueCursor>, limit: usize) -> Result<DuePage> {
    let query = DueQuery {
        lane: 0,
        after,
        limit,
        now: SystemClock::new().now(),
        group: None,
        is_breaker_open: false,
    };
    Ok(store.claim_due(query).await?)
}

/// Runs the first page and gives the rows that its plan's scans read.
async fn explain(client: &Client, mode: &str, finished: u64) -> Result<f64> {
    let now = SystemClock::new().now().0;
    let page = format!(
        "EXECUTE find (0, {now}, {}, 0, {RESCUE_BATCH_MAX})",
        i64::MIN
    );
    client
        .batch_execute(&format!(
            "SET plan_cache_mode = {mode}; PREPARE find (bigint, bigint, bigint, bigint, bigint) AS {READ_PAGE}"
        ))
        .await?;
    let plan = format!("BEGIN; EXPLAIN (ANALYZE, BUFFERS, COSTS off, TIMING off) {page}; ROLLBACK");
    println!("-- {mode}, {finished} finished rows");
    for message in client.simple_query(&plan).await? {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            println!("   {}", row.get(0).unwrap_or_default());
        }
    }
    client.batch_execute("BEGIN").await?;
    let plan = format!("EXPLAIN (ANALYZE, FORMAT JSON) {page}");
    let plan: Value = client
        .simple_query(&plan)
        .await?
        .iter()
        .find_map(|message| {
            let tokio_postgres::SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            serde_json::from_str(row.get(0)?).ok()
        })
        .context("EXPLAIN gave no plan")?;
    client.batch_execute("ROLLBACK; DEALLOCATE find").await?;
    Ok(rows_read(&plan[0]["Plan"]))
}

/// Rows that the scans of tables and indexes in a plan read, also those that they then
/// left out.
fn rows_read(node: &Value) -> f64 {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let is_scan = kind.ends_with("Scan") && !["CTE Scan", "Subquery Scan"].contains(&kind);
    let here = if is_scan {
        let left_out = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        (number("Actual Rows") + left_out) * number("Actual Loops")
    } else {
        0.0
    };
    let below = node["Plans"].as_array().map_or(&[][..], Vec::as_slice);
    here + below.iter().map(rows_read).sum::<f64>()
}

/// The statement alone, page after page: rows counted as read for each one returned.
async fn find(client: &Client) -> Result<f64> {
    let statement = client.prepare(READ_PAGE).await?;
    let now = SystemClock::new().now().0;
    let limit = i64::try_from(RESCUE_BATCH_MAX)?;
    let before = counted(client).await?;
    let (mut after, mut returned) = ((i64::MIN, 0_i64), 0);
    for _ in 0..STEPS {
        client.batch_execute("BEGIN").await?;
        let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
            &[&0_i64, &now, &after.0, &after.1, &limit];
        let page = client.query(&statement, params).await?;
        client.batch_execute("ROLLBACK").await?;
        let places = page.iter().map(|row| (row.get(5), row.get(0)));
        after = places.max().context("nothing more is due")?;
        returned += page.len();
    }
    let read = counted(client).await?.since(&before);
    let read: i64 = read.values().map(|it| it.rows.max(it.entries)).sum();
    Ok(rows_of(usize::try_from(read)?) / rows_of(returned))
}

/// What scans have read so far, those of this client too.
async fn counted(client: &Client) -> Result<Counted> {
    client
        .batch_execute("SELECT pg_stat_force_next_flush(); SELECT 1")
        .await?;
    Ok(Counted::read(client).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_a_scan_left_out_were_read_too_and_a_cte_reads_none_again() {
        let plan = json!({
            "Node Type": "Nested Loop", "Actual Rows": 500, "Actual Loops": 1, "Plans": [
                { "Node Type": "Index Only Scan", "Actual Rows": 500, "Actual Loops": 1,
                  "Rows Removed by Filter": 20 },
                { "Node Type": "CTE Scan", "Actual Rows": 500, "Actual Loops": 1 },
                { "Node Type": "LockRows", "Actual Rows": 1, "Actual Loops": 500, "Plans": [
                    { "Node Type": "Index Scan", "Actual Rows": 1, "Actual Loops": 500 } ] } ]
        });
        assert!((rows_read(&plan) - 1020.0).abs() < 0.1);
    }
}
