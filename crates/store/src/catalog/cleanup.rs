//! Cleanup: what is older than its retention goes, in bounded steps.
//!
//! Removed are the attempt lines of awards that were delivered or cancelled
//! before, the kept messages of before, the request keys of draws whose campaign was
//! closed before, and all other request keys of before. Draws, deliveries, codes, points and
//! the operator log stay: counters are audited against them, and a late copy of a message
//! always finds its row. Dead letters keep their lines, for a person still has to read them.

use crate::read::audit::REQUESTS_REMOVED;
use crate::read::column::as_column;
use crate::requests;
use crate::sql::{self, Array, Connection, OptionalExtension, params};
use tombola_core::Timestamp;
use tombola_core::limits::{STEP_ROWS_MAX, STEP_ROWS_SEEN_MAX};

/// Where the last step stopped looking, in `meta`.
const CURSOR: &str = "cleanup_after_award";
/// One step; gives the number of rows removed, 0 when there is nothing more.
pub(super) fn step(conn: &Connection, before: Timestamp) -> sql::Result<u64> {
    let messages = old_messages(conn, before)?;
    if messages > 0 {
        return Ok(messages as u64);
    }
    let kept = requests::remove_old(conn, before)?;
    if kept > 0 {
        return Ok(kept as u64);
    }
    let requests = old_requests(conn, before)?;
    if requests > 0 {
        return Ok(requests as u64);
    }
    Ok(old_attempts(conn, before)? as u64)
}

fn old_messages(conn: &Connection, before: Timestamp) -> sql::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM kept_message WHERE id IN
           (SELECT id FROM kept_message WHERE at < ?1 ORDER BY id LIMIT ?2)",
    )?
    .execute([before.0, as_column(STEP_ROWS_MAX as u64)])
}

/// Request keys live as long as their campaign, and a retention more.
fn old_requests(conn: &Connection, before: Timestamp) -> sql::Result<usize> {
    let closed: Option<(i64, i64)> = conn
        .prepare_cached(
            "SELECT c.id, c.updated_at FROM campaign c
             WHERE c.state = 'closed' AND c.updated_at < ?1
               AND EXISTS (SELECT 1 FROM request r WHERE r.campaign_id = c.id) LIMIT 1",
        )?
        .query_row([before.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((campaign, closed_at)) = closed else {
        return Ok(0);
    };
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![
        format!("{REQUESTS_REMOVED}{campaign}"),
        closed_at.to_string()
    ])?;
    conn.prepare_cached(
        "DELETE FROM request WHERE (campaign_id, client, request_key) IN
           (SELECT campaign_id, client, request_key FROM request WHERE campaign_id = ?1 LIMIT ?2)",
    )?
    .execute([campaign, as_column(STEP_ROWS_MAX as u64)])
}

/// Where lines lie that go one by one: on PostgreSQL a month goes as a whole, and only what is of
/// none is left for this.
fn attempts(conn: &Connection) -> &'static str {
    conn.either("attempt", "attempt_rest")
}

/// Walks the attempt lines behind the cursor. A step that reaches the end begins
/// anew the next time.
fn old_attempts(conn: &Connection, before: Timestamp) -> sql::Result<usize> {
    let after: i64 = conn
        .prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1")?
        .query_row([CURSOR], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let table = attempts(conn);
    let mut seen = conn.prepare_cached(&format!(
        "SELECT a.award_id, a.n, d.state IN ('delivered', 'cancelled') AND d.ended_at < ?2
         FROM {table} a LEFT JOIN delivery d ON d.award_id = a.award_id
         WHERE a.award_id > ?1 ORDER BY a.award_id, a.n LIMIT ?3"
    ))?;
    let mut rows = seen.query([after, before.0, as_column(STEP_ROWS_SEEN_MAX as u64)])?;
    let (mut lines, mut cursor, mut last) = (0, after, after);
    let mut old = Old::default();
    while let Some(row) = rows.next()? {
        let award: i64 = row.get(0)?;
        if award != last {
            // Stop between awards, so that the next step sees all lines of each.
            cursor = last;
            last = award;
            if old.awards.len() >= STEP_ROWS_MAX {
                break;
            }
        }
        lines += 1;
        if row.get::<_, Option<bool>>(2)? == Some(true) {
            old.awards.push(award);
            old.numbers.push(row.get(1)?);
        }
    }
    drop(rows);
    let removed = old.remove(conn)?;
    let is_end = lines < STEP_ROWS_SEEN_MAX && removed < STEP_ROWS_MAX;
    // One award with more lines than a step sees must not hold the cursor for ever.
    let cursor = if cursor == after { last } else { cursor };
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![CURSOR, if is_end { 0 } else { cursor }.to_string()])?;
    Ok(removed)
}

/// Attempt lines that go.
#[derive(Default)]
struct Old {
    awards: Vec<i64>,
    numbers: Vec<i32>,
}

impl Old {
    /// In one trip where each statement is one: whatever else is written waits for this.
    fn remove(&self, conn: &Connection) -> sql::Result<usize> {
        if conn.is_far() {
            return conn
                .prepare_cached(&format!(
                    "DELETE FROM {} AS a
                     USING (SELECT unnest(?1::bigint[]) AS award_id, unnest(?2::integer[]) AS n) AS k
                     WHERE a.award_id = ANY (?1) AND a.award_id = k.award_id AND a.n = k.n",
                    attempts(conn)
                ))?
                .execute(params![Array(&self.awards), Array(&self.numbers)]);
        }
        let mut remove =
            conn.prepare_cached("DELETE FROM attempt WHERE award_id = ?1 AND n = ?2")?;
        let mut removed = 0;
        for (award, n) in self.awards.iter().zip(&self.numbers) {
            removed += remove.execute(params![award, n])?;
        }
        Ok(removed)
    }
}
