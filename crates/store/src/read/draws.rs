//! Draws, those that won nothing too.

use super::column::{draw_id, instant, odd, word_or_null};
use super::{Page, PageQuery};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::campaign::odds::Roll;
use tombola_core::ports::StoreResult;
use tombola_core::{DrawId, Timestamp};

/// One draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrawRow {
    /// Its id; that of its award too.
    pub id: DrawId,
    /// The campaign's slug.
    pub campaign: String,
    /// Who drew.
    pub user: String,
    /// The program that asked.
    pub client: String,
    /// `won` or `nothing`.
    pub outcome: String,
    /// The prize's slug, if one was won.
    pub prize: Option<String>,
    /// When.
    pub drawn_at: Timestamp,
    /// The version of the rules it was drawn by.
    pub version: i32,
    /// The random number it consumed.
    pub roll: Roll,
    /// How its award is delivered, if it won.
    pub kind: Option<Kind>,
    /// Where its award stands now, if it won.
    pub state: Option<State>,
    /// Version of the key that signs its claim token.
    pub claim_key_version: i32,
}

/// Which draws.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrawFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this user.
    pub user: Option<String>,
}

impl SqliteStore {
    /// One draw; `None` if there is none of that id.
    pub async fn draw_show(&self, id: DrawId) -> StoreResult<Option<DrawRow>> {
        self.read(move |conn| {
            conn.prepare_cached(&format!("{SELECT} WHERE d.id = ?1"))
                .and_then(|mut it| it.query_row([id.0], draw_row).optional())
                .or_store()
        })
        .await
    }

    /// Draws, newest first.
    pub async fn draw_list(
        &self,
        filter: DrawFilter,
        page: PageQuery,
    ) -> StoreResult<Page<DrawRow>> {
        self.read(move |conn| {
            let draws = list(conn, &filter, &page).or_store()?;
            Ok(page.page(draws, |last| last.id.to_string()))
        })
        .await
    }
}

const SELECT: &str = "SELECT d.id, c.slug, d.user, d.client, p.slug, d.drawn_at, d.version, d.roll,
  p.kind, v.state, d.claim_key
  FROM draw d JOIN campaign c ON c.id = d.campaign_id
  LEFT JOIN prize p ON p.id = d.prize_id LEFT JOIN delivery v ON v.award_id = d.id";

fn list(
    conn: &Connection,
    filter: &DrawFilter,
    page: &PageQuery,
) -> rusqlite::Result<Vec<DrawRow>> {
    // The unary plus keeps the planner on the primary key: newest first, and it
    // stops when the page is full.
    let sql = format!(
        "{SELECT} WHERE d.id < ?1
           AND (?2 IS NULL OR +d.campaign_id = (SELECT id FROM campaign WHERE slug = ?2))
           AND (?3 IS NULL OR d.user = ?3)
         ORDER BY d.id DESC LIMIT ?4"
    );
    conn.prepare_cached(&sql)?
        .query_map(
            params![page.below(), filter.campaign, filter.user, page.rows()],
            draw_row,
        )?
        .collect()
}

fn draw_row(row: &Row<'_>) -> rusqlite::Result<DrawRow> {
    let prize: Option<String> = row.get(4)?;
    let outcome = if prize.is_some() { "won" } else { "nothing" };
    Ok(DrawRow {
        id: draw_id(row, 0)?,
        campaign: row.get(1)?,
        user: row.get(2)?,
        client: row.get(3)?,
        outcome: outcome.to_owned(),
        prize,
        drawn_at: instant(row, 5)?,
        version: row.get(6)?,
        roll: Roll::from_bits_i64(row.get(7)?),
        kind: word_or_null(row, 8, Kind::parse)?,
        state: word_or_null(row, 9, State::parse)?,
        claim_key_version: row.get(10).map_err(|error| odd(10, error.to_string()))?,
    })
}
