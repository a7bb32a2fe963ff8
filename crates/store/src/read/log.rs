//! The operator log.

use super::column::instant;
use super::page::{Cut, Page, PageQuery};
use super::walk::{Conditions, Index, Reach, dense, page_of};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::Value;
use crate::sql::{self, Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use tombola_core::limits::LOG_CLOCK_BACK_MAX;
use tombola_core::ports::StoreResult;
use tombola_core::{AwardId, Timestamp};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogFact {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: the client name of the key, or `local`.
    pub by: String,
    /// The command.
    pub action: String,
    /// Campaign, `campaign/prize`, endpoint, award … by name.
    pub subject: String,
    /// The award, if it is about one.
    pub award: Option<AwardId>,
    /// Stock changed, or given back.
    pub units: Option<i64>,
    /// Why, where a reason was given.
    pub reason: Option<String>,
}

/// Which lines; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogFilter {
    /// Written since then.
    pub since: Option<Timestamp>,
    /// Written before then.
    pub until: Option<Timestamp>,
    /// By this client.
    pub by: Option<String>,
    /// About this award.
    pub award: Option<AwardId>,
    /// Whose action begins like that.
    pub action: Option<String>,
}

impl Store {
    /// The operator log, newest first.
    pub async fn log_list(&self, filter: LogFilter, page: PageQuery) -> StoreResult<Page<LogFact>> {
        self.read(move |conn| list(conn, &filter, page, Reach::default()).or_store())
            .await
    }
}

/// Of one award there are few lines, found by their index.
fn index_of(filter: &LogFilter) -> Option<Index> {
    let award = filter.award?;
    let mut fixed = Conditions::default();
    fixed.value("award_id = ?", Some(award.0));
    Some(Index {
        table: "operator_log INDEXED BY operator_log_award",
        id: "id",
        fixed,
    })
}

/// The statement of one cut, less its values: places from, below, the filter's, the
/// number of rows.
fn statement(filter: &LogFilter, index: Option<&Index>) -> (String, Vec<Value>) {
    let (table, mut fits) = match index {
        Some(index) => (index.table, index.fixed.clone()),
        None => ("operator_log NOT INDEXED", Conditions::default()),
    };
    fits.period("at", (filter.since, filter.until));
    fits.value("actor = ?", filter.by.clone());
    fits.value("instr(action, ?) = 1", filter.action.clone());
    let sql = format!(
        "SELECT id, at, actor, action, subject, award_id, units, reason FROM {table}
         WHERE id >= ? AND id < ?{} ORDER BY id DESC LIMIT ?",
        fits.sql
    );
    (sql, fits.values)
}

/// Below which line a page begins, and at which the walk ends: it reads no line that
/// lies outside the period by more than a clock may have been set back.
fn period(conn: &Connection, filter: &LogFilter, page: PageQuery) -> sql::Result<Cut> {
    let from = match filter.since {
        Some(since) => first_at(conn, since.minus(LOG_CLOCK_BACK_MAX))?,
        None => i64::MIN,
    };
    let below = match filter.until {
        Some(until) => first_at(conn, until.plus(LOG_CLOCK_BACK_MAX))?,
        None => i64::MAX,
    };
    Ok(Cut {
        from,
        below: below.min(page.below()),
    })
}

/// The first line that is not before `at`, by halving: lines are numbered in the order
/// in which they are written.
fn first_at(conn: &Connection, at: Timestamp) -> sql::Result<i64> {
    let (mut from, mut below) = conn
        .prepare_cached("SELECT coalesce(min(id), 0), coalesce(max(id), 0) + 1 FROM operator_log")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut next = conn.prepare_cached(
        "SELECT id, at FROM operator_log WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
    )?;
    while from < below {
        let middle = from + (below - from) / 2;
        let line: Option<(i64, i64)> = next
            .query_row([middle, below], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match line {
            Some((id, written_at)) if written_at < at.0 => from = id + 1,
            Some(_) | None => below = middle,
        }
    }
    Ok(from)
}

pub(super) fn list(
    conn: &Connection,
    filter: &LogFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<LogFact>> {
    let index = index_of(filter);
    let cuts = match &index {
        Some(index) => index.cuts(conn, page.below(), reach)?,
        None => dense(conn, "operator_log", period(conn, filter, page)?, reach)?,
    };
    let (sql, values) = statement(filter, index.as_ref());
    page_of(conn, (&sql, &values), (page, cuts), fact, |line| line.id)
}

fn fact(row: &Row<'_>) -> sql::Result<LogFact> {
    Ok(LogFact {
        id: row.get(0)?,
        at: instant(row, 1)?,
        by: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        award: row.get::<_, Option<i64>>(5)?.map(AwardId),
        units: row.get(6)?,
        reason: row.get(7)?,
    })
}
