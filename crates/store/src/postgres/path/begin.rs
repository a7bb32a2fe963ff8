//! Start-up alone: what is on its way or in hand becomes due now, so that a restart
//! recovers at once and not in graces. Leases stay: rescue decides each row by its
//! kind, as after any lost worker. `retryable` and `held` keep their dates, which are
//! promises.
//!
//! On PostgreSQL hardly anybody is alone, and nobody calls this who is not. Should
//! another process live all the same, it is as if its graces had ended early: its
//! copies and records are guarded by their leases like everybody's.

use super::super::error::get;
use super::super::session::Session;
use tombola_core::Timestamp;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::StoreResult;

/// Lane, date and award of the last row seen.
type Cursor = (i64, i64, i64);

/// In steps, each a transaction, so that nothing else waits long.
pub(in crate::postgres) async fn begin_alone(
    session: &mut Session,
    now: Timestamp,
) -> StoreResult<u64> {
    let (mut moved, mut cursor) = (0, (i64::MIN, i64::MIN, i64::MIN));
    loop {
        let (count, last) = step(session, cursor, now).await?;
        moved += count;
        match last {
            Some(last) => cursor = last,
            None => return Ok(moved),
        }
    }
}

/// One step: how many rows moved, and where to go on. A row that moves goes to `now`,
/// which lies before the cursor: it is not met again.
async fn step(
    session: &mut Session,
    after: Cursor,
    now: Timestamp,
) -> StoreResult<(u64, Option<Cursor>)> {
    let work = session.begin();
    let limit = i64::try_from(STEP_ROWS_MAX).unwrap_or(i64::MAX);
    let sql = &work.sql.read_unfinished;
    let rows = work
        .query(sql, &[&after.0, &after.1, &after.2, &now.0, &limit])
        .await?;
    let mut moving: Vec<i64> = Vec::new();
    for row in &rows {
        if get(row, 3)? {
            moving.push(get(row, 2)?);
        }
    }
    let mut moved = 0;
    if !moving.is_empty() {
        let rows = work.query(&work.sql.make_due, &[&moving, &now.0]).await?;
        moved = rows.len() as u64;
    }
    work.end(moved > 0).await?;
    let last = rows.last().filter(|_| rows.len() >= STEP_ROWS_MAX);
    let last = last.map(|row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?)));
    Ok((moved, last.transpose()?))
}
