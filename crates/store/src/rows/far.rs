//! Many rows on PostgreSQL, where each statement is a trip: one statement a table, by
//! those that the hot path has ready.

use super::{Stored, Write};
use crate::postgres::Rows;
use crate::sql::{self, Array, Connection, OrStoreError as _, inconsistent, params_from_iter};
use std::collections::BTreeMap;
use tombola_core::AwardId;
use tombola_core::ports::StoreResult;

pub(super) fn load(conn: &Connection, awards: &[AwardId]) -> StoreResult<Vec<Stored>> {
    let ids: Vec<i64> = awards.iter().map(|award| award.0).collect();
    conn.hot(|it| &it.lock_rows)
        .query_map([Array(&ids)], |row| Ok(Stored::read(row)))
        .and_then(Iterator::collect::<sql::Result<Vec<_>>>)
        .or_store()?
        .into_iter()
        .collect()
}

pub(super) fn apply(conn: &Connection, writes: &[Write<'_>]) -> StoreResult<()> {
    if writes.is_empty() {
        return Ok(());
    }
    move_rows(conn, writes)?;
    give_stock_back(conn, writes)?;
    write_lines(conn, writes).or_store()
}

fn move_rows(conn: &Connection, writes: &[Write<'_>]) -> StoreResult<()> {
    let mut rows = Rows::default();
    let (mut ended_at, mut states, mut leases) = (Vec::new(), Vec::new(), Vec::new());
    for write in writes {
        let row = &write.change.row;
        rows.push(row);
        ended_at.push(row.state.is_final().then_some(write.now.0));
        states.push(write.before.row.state.name());
        leases.push(write.before.row.lease);
    }
    let columns = rows.params(&[&ended_at, &states, &leases]);
    let moved: Vec<i64> = conn
        .hot(|it| &it.move_rows)
        .query_map(params_from_iter(columns.into_iter().map(Array)), |row| {
            row.get(0)
        })
        .and_then(Iterator::collect)
        .or_store()?;
    if moved.len() == writes.len() {
        return Ok(());
    }
    Err(inconsistent(format!(
        "awards changed while they were locked: of {} only {moved:?}",
        writes.len()
    )))
}

/// The prizes are locked in their order first.
fn give_stock_back(conn: &Connection, writes: &[Write<'_>]) -> StoreResult<()> {
    let back: Vec<&Write<'_>> = writes.iter().filter(|it| it.change.stock_back).collect();
    let Some(first) = back.first() else {
        return Ok(());
    };
    let mut units = BTreeMap::new();
    for write in &back {
        *units.entry(write.before.prize_id).or_insert(0_i64) += 1;
    }
    let (prizes, units): (Vec<i64>, Vec<i64>) = units.into_iter().unzip();
    let all = |sql: &mut sql::Statement<'_>, columns: &[Array<'_>]| -> StoreResult<usize> {
        sql.execute(params_from_iter(columns)).or_store()
    };
    all(&mut conn.hot(|it| &it.lock_given_prizes), &[Array(&prizes)])?;
    let given = [Array(&prizes), Array(&units)];
    if all(&mut conn.hot(|it| &it.give_stock_back), &given)? != prizes.len() {
        let what = format!("awards spent no unit of their prize: prizes {prizes:?}");
        return Err(inconsistent(what));
    }
    let awards: Vec<i64> = back.iter().map(|it| it.before.row.award.0).collect();
    let prizes: Vec<i64> = back.iter().map(|it| it.before.prize_id).collect();
    let by: Vec<&str> = back.iter().map(|it| it.by).collect();
    let reasons: Vec<&str> = back.iter().map(|it| it.change.row.state.name()).collect();
    let line = [
        Array(&first.now.0),
        Array(&awards),
        Array(&prizes),
        Array(&by),
        Array(&reasons),
    ];
    all(&mut conn.hot(|it| &it.log_stock_back), &line).map(drop)
}

/// Each award is in hand once, so each line is its award's next one.
fn write_lines(conn: &Connection, writes: &[Write<'_>]) -> sql::Result<()> {
    let lines = writes.iter().filter_map(|it| Some((it, it.line?)));
    let (mut awards, mut nth, mut what) = (Vec::new(), Vec::new(), Vec::new());
    let (mut leases, mut decisions, mut states) = (Vec::new(), Vec::new(), Vec::new());
    let (mut due_at, mut details) = (Vec::new(), Vec::new());
    for (write, line) in lines {
        let row = &write.change.row;
        awards.push(row.award.0);
        nth.push(1_i32);
        what.push(line.what.name());
        leases.push(line.lease);
        decisions.push(line.decision);
        states.push(row.state.name());
        due_at.push(row.due_at.map(|at| at.0));
        // PostgreSQL's text cannot hold U+0000.
        details.push(line.detail.map(|detail| detail.replace('\0', "")));
    }
    let Some(now) = writes.first().map(|it| it.now.0) else {
        return Ok(());
    };
    let columns = [
        Array(&now),
        Array(&awards),
        Array(&nth),
        Array(&what),
        Array(&leases),
        Array(&decisions),
        Array(&states),
        Array(&due_at),
        Array(&details),
    ];
    conn.hot(|it| &it.insert_lines)
        .execute(params_from_iter(&columns))
        .map(drop)
}
