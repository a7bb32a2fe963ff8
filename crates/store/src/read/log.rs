//! The operator log.

use super::column::instant;
use super::{Page, PageQuery};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFilter {
    /// Written since then.
    pub since: Option<Timestamp>,
    /// By this client.
    pub by: Option<String>,
    /// About this award.
    pub award: Option<AwardId>,
}

impl SqliteStore {
    /// The operator log, newest first.
    pub async fn log_list(&self, filter: LogFilter, page: PageQuery) -> StoreResult<Page<LogFact>> {
        self.read(move |conn| {
            let lines = list(conn, &filter, &page).or_store()?;
            Ok(page.page(lines, |last| last.id.to_string()))
        })
        .await
    }
}

fn list(conn: &Connection, filter: &LogFilter, page: &PageQuery) -> rusqlite::Result<Vec<LogFact>> {
    // Of one award there are few lines, found by their index.
    let by_award = if filter.award.is_some() {
        "award_id = ?4"
    } else {
        "?4 IS NULL"
    };
    let sql = format!(
        "SELECT id, at, actor, action, subject, award_id, units, reason FROM operator_log
         WHERE id < ?1 AND (?2 IS NULL OR at >= ?2) AND (?3 IS NULL OR actor = ?3) AND {by_award}
         ORDER BY id DESC LIMIT ?5"
    );
    let award = filter.award.map(|award| award.0);
    conn.prepare_cached(&sql)?
        .query_map(
            params![
                page.below(),
                filter.since.map(|since| since.0),
                filter.by,
                award,
                page.rows()
            ],
            |row| {
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
            },
        )?
        .collect()
}
