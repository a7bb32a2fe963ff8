//! Awards: the list that people search in.

use super::column::{award_id, count, instant, instant_or_null, odd, word, word_or_null};
use super::{Page, PageQuery};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use tombola_core::award::{MqState, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::StoreResult;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// One award as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AwardFact {
    /// Its id; that of its draw too.
    pub id: AwardId,
    /// The campaign's slug.
    pub campaign: String,
    /// Who won.
    pub user: String,
    /// The prize's slug.
    pub prize: String,
    /// How it is delivered.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// Why it waits, if it is held.
    pub hold_reason: Option<HoldReason>,
    /// Why it was given up on, if it is dead.
    pub dead_reason: Option<DeadReason>,
    /// 0 not sent, 1 sent, 2 send failed.
    #[cfg_attr(feature = "schema", schemars(range(max = 2)))]
    pub mq_state: u8,
    /// 0 unfinished, 1 delivered, 2 dead or cancelled.
    #[cfg_attr(feature = "schema", schemars(range(max = 2)))]
    pub grant_state: u8,
    /// Whether an effect may exist that was not recorded.
    pub in_doubt: bool,
    /// When it is looked at again; of a delivery in hand, when its lease ends.
    pub due_at: Option<Timestamp>,
    /// Attempts begun since the draw or the last requeue.
    pub attempts: u64,
    /// When it was won.
    pub drawn_at: Timestamp,
    /// When it came into its final state.
    pub ended_at: Option<Timestamp>,
}

/// Which awards; an absent field matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AwardFilter {
    /// Of this campaign.
    pub campaign: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this prize, by its slug.
    pub prize: Option<String>,
    /// Drawn since then.
    pub since: Option<Timestamp>,
}

impl SqliteStore {
    /// Awards, newest first.
    pub async fn award_list(
        &self,
        filter: AwardFilter,
        page: PageQuery,
    ) -> StoreResult<Page<AwardFact>> {
        self.read(move |conn| {
            let awards = list(conn, &filter, &page).or_store()?;
            Ok(page.page(awards, |last| last.id.to_string()))
        })
        .await
    }
}

/// What [`fact`] reads, in its order.
pub(super) const COLUMNS: &str =
    "v.award_id, c.slug, d.user, p.slug, v.kind, v.state, v.hold_reason,
  v.dead_reason, v.mq_state, v.in_doubt, v.due_at, v.attempts, d.drawn_at, v.ended_at";

/// The tables that [`COLUMNS`] names.
pub(super) const FROM: &str = "FROM delivery v JOIN draw d ON d.id = v.award_id
  JOIN prize p ON p.id = v.prize_id JOIN campaign c ON c.id = p.campaign_id";

/// By the primary key from its end, so that a full page ends the search. The
/// states that are few have an index of their own, in the same order.
fn list(
    conn: &Connection,
    filter: &AwardFilter,
    page: &PageQuery,
) -> rusqlite::Result<Vec<AwardFact>> {
    let by_state = match filter.state {
        Some(State::Dead) => "v.state = 'dead'",
        Some(State::Held) => "v.state = 'held' AND v.hold_reason IS NOT NULL",
        Some(
            State::Pending
            | State::Delivering
            | State::Retryable
            | State::Delivered
            | State::Cancelled,
        )
        | None => "(?2 IS NULL OR +v.state = ?2)",
    };
    let sql = format!(
        "SELECT {COLUMNS} {FROM}
         WHERE v.award_id < ?1 AND {by_state} AND (?2 IS NULL OR v.state = ?2)
           AND (?3 IS NULL OR +v.prize_id IN (SELECT id FROM prize WHERE campaign_id =
                 (SELECT id FROM campaign WHERE slug = ?3)))
           AND (?4 IS NULL OR d.user = ?4) AND (?5 IS NULL OR v.kind = ?5)
           AND (?6 IS NULL OR p.slug = ?6) AND (?7 IS NULL OR d.drawn_at >= ?7)
         ORDER BY v.award_id DESC LIMIT ?8"
    );
    conn.prepare_cached(&sql)?
        .query_map(
            params![
                page.below(),
                filter.state.map(State::name),
                filter.campaign,
                filter.user,
                filter.kind.map(Kind::name),
                filter.prize,
                filter.since.map(|since| since.0),
                page.rows(),
            ],
            fact,
        )?
        .collect()
}

/// One row of [`COLUMNS`].
pub(super) fn fact(row: &Row<'_>) -> rusqlite::Result<AwardFact> {
    let state = word(row, 5, State::parse)?;
    let mq_state = row.get::<_, u8>(8)?;
    Ok(AwardFact {
        id: award_id(row, 0)?,
        campaign: row.get(1)?,
        user: row.get(2)?,
        prize: row.get(3)?,
        kind: word(row, 4, Kind::parse)?,
        state,
        hold_reason: word_or_null(row, 6, HoldReason::parse)?,
        dead_reason: word_or_null(row, 7, DeadReason::parse)?,
        mq_state: MqState::from_code(mq_state)
            .ok_or_else(|| odd(8, "no such mq_state"))?
            .code(),
        grant_state: state.grant_state(),
        in_doubt: row.get(9)?,
        due_at: instant_or_null(row, 10)?,
        attempts: count(row, 11)?,
        drawn_at: instant(row, 12)?,
        ended_at: instant_or_null(row, 13)?,
    })
}
