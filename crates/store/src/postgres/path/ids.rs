//! Ids, reserved in blocks.

use super::super::error::{get, inconsistent};
use super::super::session::Session;
use tombola_core::ids::{ID_MAX, IdBlock};
use tombola_core::ports::StoreResult;

/// A row and not a sequence: what a sequence gave out may be given again after a
/// crash, if nothing was committed with it.
pub(in crate::postgres) async fn reserve_ids(
    session: &mut Session,
    count: u32,
) -> StoreResult<IdBlock> {
    let count = i64::from(count);
    let work = session.begin();
    let sql = &work.sql.reserve_ids;
    let rows = work.query(sql, &[&count, &(ID_MAX + 1 - count)]).await?;
    let Some(row) = rows.first() else {
        work.roll_back().await?;
        return Err(inconsistent("all ids below 2^53 are used up"));
    };
    let end: i64 = get(row, 0)?;
    work.commit().await?;
    Ok(IdBlock {
        next: end - count,
        end,
    })
}
