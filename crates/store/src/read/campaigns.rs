//! Campaigns as people see them. Phases are computed at the instant asked.

use super::column::{count, count_or_null, instant, odd, word, word_or_null};
use super::page::{Cuts, Page, PageQuery};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::odds::{Availability, effective_odds};
use tombola_core::campaign::{CampaignFile, CampaignState, Kind, Phase, Rules, state};
use tombola_core::ports::StoreResult;

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CampaignFact {
    /// Its slug.
    pub campaign: String,
    /// Shown to people.
    pub name: String,
    /// As stored.
    pub state: CampaignState,
    /// As seen at the instant asked.
    pub phase: Phase,
    /// The version in force, or the newest if none ever was.
    pub version: i32,
    /// A newer version that is being prepared.
    pub next_version: Option<i32>,
    /// Where that one stands.
    pub next_state: Option<CampaignState>,
    /// Draws of all users.
    pub draws: u64,
    /// First instant of the period.
    pub starts_at: Option<Timestamp>,
    /// First instant after it.
    pub ends_at: Option<Timestamp>,
    /// IANA name of its zone.
    pub time_zone: String,
    /// When it was first put in.
    pub created_at: Timestamp,
    /// When it was last edited or moved.
    pub updated_at: Timestamp,
}

/// One campaign with its prizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CampaignDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub fact: CampaignFact,
    /// In the order of the file of `version`; after them those that only other
    /// versions have.
    pub prizes: Vec<PrizeFact>,
    /// The odds of winning nothing, as the file says.
    pub nothing_odds: String,
    /// The odds of winning nothing now.
    pub nothing_effective: String,
}

/// One prize and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrizeFact {
    /// Its slug.
    pub prize: String,
    /// Shown to people; the slug of a prize that is in no file of this version.
    pub name: String,
    /// How it is delivered.
    pub kind: Kind,
    /// What the file says, in percent; null if it is not in this version.
    pub odds: Option<String>,
    /// What a draw gets now, by stock and daily cap; limits by user are not in it.
    pub effective: Option<String>,
    /// Units to give in all; null is unlimited.
    pub stock: Option<u64>,
    /// Units given and not returned.
    pub spent: u64,
    /// Units left; null is unlimited.
    pub left: Option<u64>,
    /// Units given on the present civil day.
    pub today: u64,
    /// Awards in all.
    pub won: u64,
    /// Awards delivered.
    pub delivered: u64,
    /// Awards that are neither delivered nor dead nor cancelled, held ones included.
    pub unfinished: u64,
    /// Of the unfinished, those that wait for a person or an event.
    pub held: u64,
    /// Awards given up on.
    pub dead: u64,
    /// Awards ended by an operator or a deadline.
    pub cancelled: u64,
}

impl Store {
    /// Campaigns, newest first, with their phase at `now`.
    pub async fn campaign_list(
        &self,
        page: PageQuery,
        now: Timestamp,
    ) -> StoreResult<Page<CampaignFact>> {
        self.read(move |conn| list(conn, page, now).or_store())
            .await
    }

    /// One campaign with its prizes, odds and counts; `None` if there is none.
    pub async fn campaign_show(
        &self,
        campaign: &str,
        now: Timestamp,
    ) -> StoreResult<Option<CampaignDetail>> {
        let slug = campaign.to_owned();
        self.read(move |conn| {
            let Some(loaded) = load(conn, &slug, now).or_store()? else {
                return Ok(None);
            };
            detail(conn, loaded, now).map(Some).or_store()
        })
        .await
    }

    /// The campaign's file: the version asked for, else the newest.
    pub async fn campaign_export(
        &self,
        campaign: &str,
        version: Option<i32>,
    ) -> StoreResult<Option<CampaignFile>> {
        let slug = campaign.to_owned();
        self.read(move |conn| {
            conn.prepare_cached(
                "SELECT v.file FROM campaign_version v JOIN campaign c ON c.id = v.campaign_id
                 WHERE c.slug = ?1 AND v.version = coalesce(?2, c.next_version, c.version)",
            )
            .and_then(|mut it| {
                it.query_row(params![slug, version], |row| file_of(row.text(0)?, &slug))
                    .optional()
            })
            .or_store()
        })
        .await
    }
}

const SELECT: &str = "SELECT c.slug, c.state, c.version, c.next_version, c.next_state, n.draws,
  c.created_at, c.updated_at, v.file, c.id
  FROM campaign c JOIN campaign_count n ON n.campaign_id = c.id
  JOIN campaign_version v ON v.campaign_id = c.id AND v.version = c.version";

fn list(conn: &Connection, page: PageQuery, now: Timestamp) -> sql::Result<Page<CampaignFact>> {
    let sql = format!("{SELECT} WHERE c.id < ?1 ORDER BY c.id DESC LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let cuts = Cuts::one(i64::MIN, page.below(), false);
    let page = page.fill(
        cuts,
        |cut, rows| {
            statement
                .query_map([cut.below, rows], |row| loaded(row, now))?
                .collect::<sql::Result<Vec<_>>>()
        },
        |loaded| loaded.id,
    )?;
    Ok(page.map(|it| it.fact))
}

/// A campaign as read, with its rules.
pub(super) struct Loaded {
    pub(super) id: i64,
    pub(super) fact: CampaignFact,
    pub(super) rules: Rules,
}

/// The campaign of that slug.
pub(super) fn load(conn: &Connection, slug: &str, now: Timestamp) -> sql::Result<Option<Loaded>> {
    conn.prepare_cached(&format!("{SELECT} WHERE c.slug = ?1"))?
        .query_row([slug], |row| loaded(row, now))
        .optional()
}

fn loaded(row: &Row<'_>, now: Timestamp) -> sql::Result<Loaded> {
    let campaign: String = row.get(0)?;
    let state = word(row, 1, CampaignState::parse)?;
    let file = file_of(row.text(8)?, &campaign)?;
    let rules = rules_of(&file)?;
    let fact = CampaignFact {
        name: rules.name.clone(),
        state,
        phase: state::phase(state, &rules, now),
        version: row.get(2)?,
        next_version: row.get(3)?,
        next_state: word_or_null(row, 4, CampaignState::parse)?,
        draws: count(row, 5)?,
        starts_at: rules.starts_at,
        ends_at: rules.ends_at,
        time_zone: file.campaign.time_zone.unwrap_or_else(|| "UTC".to_owned()),
        created_at: instant(row, 6)?,
        updated_at: instant(row, 7)?,
        campaign,
    };
    Ok(Loaded {
        id: row.get(9)?,
        fact,
        rules,
    })
}

pub(super) fn file_of(json: &str, campaign: &str) -> sql::Result<CampaignFile> {
    serde_json::from_str(json).map_err(|error| odd(8, format!("the file of {campaign}: {error}")))
}

/// The rules of a file that was checked before it was put in.
pub(super) fn rules_of(file: &CampaignFile) -> sql::Result<Rules> {
    file.check().map_err(|problems| {
        odd(
            8,
            format!("the file of {}: {problems:?}", file.campaign.slug),
        )
    })
}

struct PrizeRow {
    id: i64,
    slug: String,
    kind: Kind,
    stock: Option<u64>,
    spent: u64,
    today: u64,
}

fn prize_rows(conn: &Connection, loaded: &Loaded, now: Timestamp) -> sql::Result<Vec<PrizeRow>> {
    let today = now.civil_day(&loaded.rules.zone).0;
    conn.prepare_cached(
        "SELECT p.id, p.slug, p.kind, p.stock, n.spent, CASE WHEN n.day >= ?2 THEN n.day_spent ELSE 0 END
         FROM prize p JOIN prize_count n ON n.prize_id = p.id WHERE p.campaign_id = ?1 ORDER BY p.id",
    )?
    .query_map(params![loaded.id, today], |row| {
        Ok(PrizeRow {
            id: row.get(0)?,
            slug: row.get(1)?,
            kind: word(row, 2, Kind::parse)?,
            stock: count_or_null(row, 3)?,
            spent: count(row, 4)?,
            today: count(row, 5)?,
        })
    })?
    .collect()
}

fn detail(conn: &Connection, loaded: Loaded, now: Timestamp) -> sql::Result<CampaignDetail> {
    let mut rows = prize_rows(conn, &loaded, now)?;
    let place = |slug: &str| {
        loaded
            .rules
            .prize(slug)
            .map_or(usize::MAX, |(index, _)| index)
    };
    rows.sort_by_key(|row| place(&row.slug));
    let counts = counts_by_prize(conn, loaded.id)?;
    let availability = rows.iter().fold(Availability::all(), |set, row| {
        let Some((index, prize)) = loaded.rules.prize(&row.slug) else {
            return set;
        };
        let is_out = row.stock.is_some_and(|stock| row.spent >= stock)
            || prize.daily_cap.is_some_and(|cap| row.today >= cap);
        if is_out { set.without(index) } else { set }
    });
    let shares = effective_odds(&loaded.rules, &availability);
    let share = |index: Option<usize>| shares.iter().find(|share| share.prize == index);
    let prizes = rows
        .into_iter()
        .map(|row| {
            let known = loaded.rules.prize(&row.slug);
            let share = known.and_then(|(index, _)| share(Some(index)));
            let in_state = |wanted: &[State]| -> u64 {
                wanted
                    .iter()
                    .filter_map(|state| counts.get(&(row.id, *state)))
                    .sum()
            };
            PrizeFact {
                name: known.map_or_else(|| row.slug.clone(), |(_, prize)| prize.name.clone()),
                kind: row.kind,
                odds: share.map(|share| share.declared.to_string()),
                effective: share.map(|share| share.effective.to_string()),
                stock: row.stock,
                spent: row.spent,
                left: row.stock.map(|stock| stock.saturating_sub(row.spent)),
                today: row.today,
                won: in_state(State::ALL),
                delivered: in_state(&[State::Delivered]),
                unfinished: in_state(&[
                    State::Pending,
                    State::Delivering,
                    State::Retryable,
                    State::Held,
                ]),
                held: in_state(&[State::Held]),
                dead: in_state(&[State::Dead]),
                cancelled: in_state(&[State::Cancelled]),
                prize: row.slug,
            }
        })
        .collect();
    let nothing = |of: fn(&tombola_core::campaign::odds::Share) -> String| {
        share(None).map(of).unwrap_or_default()
    };
    Ok(CampaignDetail {
        prizes,
        nothing_odds: nothing(|share| share.declared.to_string()),
        nothing_effective: nothing(|share| share.effective.to_string()),
        fact: loaded.fact,
    })
}

fn counts_by_prize(conn: &Connection, campaign: i64) -> sql::Result<HashMap<(i64, State), u64>> {
    conn.prepare_cached(
        "SELECT prize_id, state, count(*) FROM delivery
         WHERE prize_id IN (SELECT id FROM prize WHERE campaign_id = ?1) GROUP BY prize_id, state",
    )?
    .query_map([campaign], |row| {
        Ok(((row.get(0)?, word(row, 1, State::parse)?), count(row, 2)?))
    })?
    .collect()
}
