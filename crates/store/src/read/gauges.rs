//! What the metrics show of the database.

use super::column::{count, instant_or_null, word, word_or_null};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::ports::StoreResult;
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};

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

impl SqliteStore {
    /// Everything that the metrics show of the database.
    pub async fn gauges(&self) -> StoreResult<Gauges> {
        self.read(|conn| gauges(conn).or_store()).await
    }
}

fn gauges(conn: &Connection) -> rusqlite::Result<Gauges> {
    let mut gauges = Gauges {
        awards: zeros(State::ALL),
        held: zeros(HoldReason::ALL),
        dead: zeros(DeadReason::ALL),
        kept: zeros(KeptReason::ALL),
        ..Gauges::default()
    };
    let mut counts = conn.prepare_cached(
        "SELECT state, hold_reason, dead_reason, count(*) FROM delivery GROUP BY state, hold_reason, dead_reason",
    )?;
    let mut rows = counts.query([])?;
    while let Some(row) = rows.next()? {
        let awards = count(row, 3)?;
        *gauges
            .awards
            .entry(word(row, 0, State::parse)?)
            .or_default() += awards;
        if let Some(reason) = word_or_null(row, 1, HoldReason::parse)? {
            *gauges.held.entry(reason).or_default() += awards;
        }
        if let Some(reason) = word_or_null(row, 2, DeadReason::parse)? {
            *gauges.dead.entry(reason).or_default() += awards;
        }
    }
    let mut kept =
        conn.prepare_cached("SELECT reason, count(*) FROM kept_message GROUP BY reason")?;
    let mut rows = kept.query([])?;
    while let Some(row) = rows.next()? {
        gauges
            .kept
            .insert(word(row, 0, KeptReason::parse)?, count(row, 1)?);
    }
    (gauges.oldest_unpublished, gauges.oldest_undelivered) = conn
        .prepare_cached(
            "SELECT min(CASE WHEN v.mq_state <> 1 THEN d.drawn_at END), min(d.drawn_at)
             FROM delivery v JOIN draw d ON d.id = v.award_id
             WHERE v.due_at IS NOT NULL AND v.state <> 'held'",
        )?
        .query_row([], |row| {
            Ok((instant_or_null(row, 0)?, instant_or_null(row, 1)?))
        })?;
    gauges.stock_left = conn
        .prepare_cached(
            "SELECT c.slug, p.slug, p.stock - p.spent FROM prize p JOIN campaign c ON c.id = p.campaign_id
             WHERE p.stock IS NOT NULL AND c.state IN ('started', 'paused') ORDER BY c.slug, p.id",
        )?
        .query_map([], |row| {
            Ok(StockLeft { campaign: row.get(0)?, prize: row.get(1)?, left: count(row, 2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(gauges)
}

fn zeros<T: Copy + Ord>(all: &[T]) -> BTreeMap<T, u64> {
    all.iter().map(|name| (*name, 0)).collect()
}
