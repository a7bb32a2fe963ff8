//! Start-up alone: only under the lock of the data directory, which proves that no
//! holder of a lease lives. What is on its way or in hand becomes due now, so that
//! a restart recovers in milliseconds and not in graces. Leases stay: rescue
//! decides each row by its kind, as after any lost worker. `retryable` and `held`
//! keep their dates, which are promises.

use super::super::{Priority, Sqlite};
use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use tombola_core::Timestamp;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::StoreResult;

/// Lane, date and award of the last row seen.
type Cursor = (i64, i64, i64);

/// In steps, so that nothing else waits long.
pub(super) async fn begin_alone(store: &Sqlite, now: Timestamp) -> StoreResult<u64> {
    let (mut moved, mut cursor) = (0, (i64::MIN, i64::MIN, i64::MIN));
    loop {
        let step = move |conn: &Connection| begin_step(conn, cursor, now);
        let (count, last) = store.write(Priority::Other, STEP_ROWS_MAX, step).await?;
        moved += count;
        match last {
            Some(last) => cursor = last,
            None => return Ok(moved),
        }
    }
}

/// One step: how many rows moved, and where to go on. A row that moves goes to
/// `now`, which lies before the cursor: it is not met again.
fn begin_step(
    conn: &Connection,
    after: Cursor,
    now: Timestamp,
) -> StoreResult<(u64, Option<Cursor>)> {
    let mut select = conn
        .prepare_cached(
            "SELECT lane, due_at, award_id, state IN ('pending', 'delivering') AND due_at > ?4
             FROM delivery INDEXED BY delivery_due
             WHERE due_at IS NOT NULL AND (lane, due_at, award_id) > (?1, ?2, ?3)
             ORDER BY lane, due_at, award_id LIMIT ?5",
        )
        .or_store()?;
    let limit = i64::try_from(STEP_ROWS_MAX).unwrap_or(i64::MAX);
    let rows: Vec<(Cursor, bool)> = select
        .query_map([after.0, after.1, after.2, now.0, limit], |row| {
            Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?))
        })
        .and_then(Iterator::collect)
        .or_store()?;
    let mut update = conn
        .prepare_cached("UPDATE delivery SET due_at = ?2 WHERE award_id = ?1")
        .or_store()?;
    let mut moved = 0;
    for ((_, _, award), _) in rows.iter().filter(|(_, moves)| *moves) {
        update.execute([*award, now.0]).or_store()?;
        moved += 1;
    }
    let last = (rows.len() >= STEP_ROWS_MAX)
        .then(|| rows.last().map(|(cursor, _)| *cursor))
        .flatten();
    Ok((moved, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::tests::won_by_many;

    #[tokio::test]
    async fn a_step_of_a_start_alone_sees_as_many_rows_as_its_bound_and_goes_on_behind_them() {
        let fixture = won_by_many(STEP_ROWS_MAX + 1).await;
        let now = crate::read::fixture::NOW;
        let step = async |after: Cursor| {
            let step = move |conn: &Connection| begin_step(conn, after, now);
            fixture.store.write(Priority::Other, 1, step).await.unwrap()
        };
        let (moved, last) = step((i64::MIN, i64::MIN, i64::MIN)).await;
        assert_eq!(moved, STEP_ROWS_MAX as u64);
        assert_eq!(step(last.unwrap()).await, (1, None));
    }
}
