//! What the metrics show of the database.

use super::column::{count, instant_or_null, word};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::ports::StoreResult;
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};

/// Unfinished awards among which the oldest is looked for.
const OLDEST_AMONG: i64 = 1000;

/// Counts and ages at one state of the database. Names without rows are there, at zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gauges {
    /// Awards by state.
    pub awards: BTreeMap<State, u64>,
    /// Held awards by reason.
    pub held: BTreeMap<HoldReason, u64>,
    /// Dead awards by reason.
    pub dead: BTreeMap<DeadReason, u64>,
    /// Kept messages by reason.
    pub kept: BTreeMap<KeptReason, u64>,
    /// When the oldest award was drawn whose message no broker has yet.
    pub oldest_unpublished: Option<Timestamp>,
    /// When the oldest award was drawn that is on its way; held ones wait for a
    /// person and are counted apart.
    pub oldest_undelivered: Option<Timestamp>,
    /// Finite prizes of campaigns that are started or paused.
    pub stock_left: Vec<StockLeft>,
}

/// Units left of a prize.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLeft {
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// Units left.
    pub left: u64,
}

impl Store {
    /// Everything that the metrics show of the database.
    pub async fn gauges(&self) -> StoreResult<Gauges> {
        self.read(|conn| gauges(conn).or_store()).await
    }
}

/// Reads nothing of what is delivered: the cost follows the unfinished, dead and
/// cancelled awards, each counted in an index of its own.
fn gauges(conn: &Connection) -> sql::Result<Gauges> {
    let mut gauges = Gauges {
        awards: unfinished(conn)?,
        held: counts(conn, HELD, HoldReason::ALL, HoldReason::parse)?,
        dead: counts(conn, DEAD, DeadReason::ALL, DeadReason::parse)?,
        kept: counts(conn, KEPT, KeptReason::ALL, KeptReason::parse)?,
        oldest_unpublished: oldest(conn, "AND mq_state <> 1")?,
        oldest_undelivered: oldest(conn, "")?,
        stock_left: stock_left(conn)?,
    };
    let number = |sql: &str| conn.prepare_cached(sql)?.query_row([], |row| count(row, 0));
    let cancelled = number(CANCELLED)?;
    let wins = number("SELECT coalesce(sum(wins), 0) FROM campaign_count")?;
    let dead = gauges.dead.values().sum();
    let others = gauges.awards.values().sum::<u64>() + dead + cancelled;
    gauges.awards.extend([
        (State::Dead, dead),
        (State::Cancelled, cancelled),
        (State::Delivered, wins.saturating_sub(others)),
    ]);
    Ok(gauges)
}

const UNFINISHED: &str = "SELECT count(*) FILTER (WHERE state = 'pending'),
  count(*) FILTER (WHERE state = 'delivering'), count(*) FILTER (WHERE state = 'retryable'),
  count(*) FILTER (WHERE state = 'held')
  FROM delivery INDEXED BY delivery_due WHERE due_at IS NOT NULL";
const HELD: &str = "SELECT hold_reason, count(*) FROM delivery INDEXED BY delivery_held
  WHERE hold_reason IS NOT NULL GROUP BY hold_reason";
const DEAD: &str = "SELECT dead_reason, count(*) FROM delivery INDEXED BY delivery_dead_reason
  WHERE dead_reason IS NOT NULL GROUP BY dead_reason";
const CANCELLED: &str =
    "SELECT count(*) FROM delivery INDEXED BY delivery_cancelled WHERE state = 'cancelled'";
const KEPT: &str = "SELECT reason, count(*) FROM kept_message GROUP BY reason";

/// What is counted of deliveries.
#[cfg(test)]
pub(super) const COUNTED: [&str; 4] = [UNFINISHED, HELD, DEAD, CANCELLED];

/// How many there are of each name.
fn counts<T: Copy + Ord>(
    conn: &Connection,
    sql: &str,
    all: &[T],
    parse: fn(&str) -> Option<T>,
) -> sql::Result<BTreeMap<T, u64>> {
    let mut counts: BTreeMap<T, u64> = all.iter().map(|name| (*name, 0)).collect();
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        counts.insert(word(&row, 0, parse)?, count(&row, 1)?);
    }
    Ok(counts)
}

/// Unfinished awards by state, in one pass over the index of rescue: groups would
/// be made by sorting it.
fn unfinished(conn: &Connection) -> sql::Result<BTreeMap<State, u64>> {
    conn.prepare_cached(UNFINISHED)?.query_row([], |row| {
        let states = [
            State::Pending,
            State::Delivering,
            State::Retryable,
            State::Held,
        ];
        let counted = states.into_iter().enumerate();
        counted
            .map(|(column, state)| Ok((state, count(row, column)?)))
            .collect()
    })
}

/// When the oldest award was drawn that is on its way. Ids grow with time but for
/// those that other processes have reserved, so it is among the lowest.
fn oldest(conn: &Connection, which: &str) -> sql::Result<Option<Timestamp>> {
    let sql = format!(
        "SELECT min(drawn_at) FROM draw WHERE id IN (
           SELECT award_id FROM delivery INDEXED BY delivery_due
           WHERE due_at IS NOT NULL AND state <> 'held' {which} ORDER BY award_id LIMIT ?1)"
    );
    conn.prepare_cached(&sql)?
        .query_row([OLDEST_AMONG], |row| instant_or_null(row, 0))
}

fn stock_left(conn: &Connection) -> sql::Result<Vec<StockLeft>> {
    conn.prepare_cached(
        "SELECT c.slug, p.slug, p.stock - n.spent
         FROM prize p JOIN prize_count n ON n.prize_id = p.id JOIN campaign c ON c.id = p.campaign_id
         WHERE p.stock IS NOT NULL AND c.state IN ('started', 'paused') ORDER BY c.slug, p.id",
    )?
    .query_map([], |row| {
        Ok(StockLeft {
            campaign: row.get(0)?,
            prize: row.get(1)?,
            left: count(row, 2)?,
        })
    })?
    .collect()
}
