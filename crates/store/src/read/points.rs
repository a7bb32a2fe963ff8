//! The points of a user: a balance is the sum of what was given and not
//! taken back.

use super::column::{award_id, instant, instant_or_null};
use super::page::{Cuts, Page, PageQuery};
use super::walk::page_of;
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::Value;
use crate::sql::{self, Connection, Row};
use serde::{Deserialize, Serialize};
use tombola_core::ports::StoreResult;
use tombola_core::{AwardId, Timestamp};

/// What a user has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointsFact {
    /// Who.
    pub user: String,
    /// The sum of all entries that were not taken back.
    pub balance: i64,
    /// One page of them, newest first.
    pub entries: Page<PointsEntry>,
}

/// One credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PointsEntry {
    /// The award that it delivered.
    pub award: AwardId,
    /// How many.
    pub points: i64,
    /// When.
    pub at: Timestamp,
    /// When they were taken back, if they were.
    pub reversed_at: Option<Timestamp>,
}

impl Store {
    /// The points of a user, zero of one that never had any.
    pub async fn points_show(&self, user: &str, page: PageQuery) -> StoreResult<PointsFact> {
        let user = user.to_owned();
        self.read(move |conn| {
            let balance = balance(conn, &user).or_store()?;
            let entries = entries(conn, &user, page).or_store()?;
            Ok(PointsFact {
                user,
                balance,
                entries,
            })
        })
        .await
    }
}

/// What was given to a user less what was taken back.
pub(crate) fn balance(conn: &Connection, user: &str) -> sql::Result<i64> {
    conn.prepare_cached(
        "SELECT (SELECT coalesce(sum(points), 0) FROM points_entry WHERE user = ?1)
              - (SELECT coalesce(sum(points), 0) FROM points_reversal WHERE user = ?1)",
    )?
    .query_row([user], |row| row.get(0))
}

/// A user has as many entries as awards: the index gives them in order.
pub(super) fn entries(
    conn: &Connection,
    user: &str,
    page: PageQuery,
) -> sql::Result<Page<PointsEntry>> {
    let sql = "SELECT e.award_id, e.points, e.at, r.at
       FROM points_entry e LEFT JOIN points_reversal r ON r.award_id = e.award_id
       WHERE e.award_id >= ? AND e.award_id < ? AND e.user = ? ORDER BY e.award_id DESC LIMIT ?";
    let cuts = Cuts::one(i64::MIN, page.below(), false);
    let values = [Value::from(user.to_owned())];
    page_of(conn, (sql, &values), (page, cuts), entry, |it| it.award.0)
}

fn entry(row: &Row<'_>) -> sql::Result<PointsEntry> {
    Ok(PointsEntry {
        award: award_id(row, 0)?,
        points: row.get(1)?,
        at: instant(row, 2)?,
        reversed_at: instant_or_null(row, 3)?,
    })
}
