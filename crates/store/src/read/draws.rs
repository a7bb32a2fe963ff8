//! Draws, those that won nothing too.

use super::column::{draw_id, instant, odd, word_or_null};
use super::page::{Page, PageQuery};
use super::walk::{Conditions, Reach, Within, of_user, page_of, spans, spans_of_user};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::Value;
use crate::sql::{self, Connection, OptionalExtension, Row};
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
    /// What came of it.
    pub outcome: Outcome,
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

/// What came of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A prize.
    Won,
    /// None.
    Nothing,
}

impl Outcome {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Nothing => "nothing",
        }
    }
}

/// Which draws; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrawFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// That won this prize, by its slug.
    pub prize: Option<String>,
    /// Asked for by this program.
    pub client: Option<String>,
    /// Since then.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

impl Store {
    /// One draw; `None` if there is none of that id.
    pub async fn draw_show(&self, id: DrawId) -> StoreResult<Option<DrawRow>> {
        self.read(move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM draw d {JOINS} WHERE d.id = ?1"
            ))
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
        self.read(move |conn| list(conn, &filter, page, Reach::default()).or_store())
            .await
    }
}

const COLUMNS: &str = "d.id, c.slug, d.user, d.client, p.slug, d.drawn_at, d.version, d.roll,
  p.kind, v.state, d.claim_key";

const JOINS: &str = "CROSS JOIN campaign c ON c.id = d.campaign_id
  LEFT JOIN prize p ON p.id = d.prize_id LEFT JOIN delivery v ON v.award_id = d.id";

/// The user, where only what the user won is asked for.
fn winner(filter: &DrawFilter) -> Option<&str> {
    let has_won = filter.outcome == Some(Outcome::Won) || filter.prize.is_some();
    filter.user.as_deref().filter(|_| has_won)
}

/// The statement of one cut, less its values: places from, below, the filter's, the
/// number of rows. What a user won by its index, others over the table from its end.
pub(super) fn statement(filter: &DrawFilter) -> (String, Vec<Value>) {
    let (table, mut fits) = match winner(filter) {
        Some(_) => ("draw d INDEXED BY draw_user", of_user()),
        None => ("draw d NOT INDEXED", Conditions::default()),
    };
    fits.value("d.user = ?", filter.user.clone());
    fits.value(
        "d.campaign_id = (SELECT id FROM campaign WHERE slug = ?)",
        filter.campaign.clone(),
    );
    match filter.outcome {
        Some(Outcome::Won) => fits.always("d.prize_id IS NOT NULL"),
        Some(Outcome::Nothing) => fits.always("d.prize_id IS NULL"),
        None => {}
    }
    fits.value(
        "d.prize_id IN (SELECT id FROM prize WHERE slug = ?)",
        filter.prize.clone(),
    );
    fits.value("d.client = ?", filter.client.clone());
    fits.period("d.drawn_at", (filter.since, filter.until));
    let sql = format!(
        "SELECT {COLUMNS} FROM {table} {JOINS} WHERE d.id >= ? AND d.id < ?{}
         ORDER BY d.id DESC LIMIT ?",
        fits.sql
    );
    (sql, fits.values)
}

pub(super) fn list(
    conn: &Connection,
    filter: &DrawFilter,
    page: PageQuery,
    reach: Reach,
) -> sql::Result<Page<DrawRow>> {
    let within = Within {
        campaign: filter.campaign.as_deref(),
        period: (filter.since, filter.until),
    };
    let cuts = match winner(filter) {
        Some(user) => spans_of_user(conn, user, within, page.below(), reach)?,
        None => spans(conn, within, page.below(), reach)?,
    };
    let (sql, values) = statement(filter);
    page_of(conn, (&sql, &values), (page, cuts), draw_row, |draw| {
        draw.id.0
    })
}

fn draw_row(row: &Row<'_>) -> sql::Result<DrawRow> {
    let prize: Option<String> = row.get(4)?;
    let outcome = match prize {
        Some(_) => Outcome::Won,
        None => Outcome::Nothing,
    };
    Ok(DrawRow {
        id: draw_id(row, 0)?,
        campaign: row.get(1)?,
        user: row.get(2)?,
        client: row.get(3)?,
        outcome,
        prize,
        drawn_at: instant(row, 5)?,
        version: row.get(6)?,
        roll: Roll::from_bits_i64(row.get(7)?),
        kind: word_or_null(row, 8, Kind::parse)?,
        state: word_or_null(row, 9, State::parse)?,
        claim_key_version: row.get(10).map_err(|error| odd(10, error.to_string()))?,
    })
}
