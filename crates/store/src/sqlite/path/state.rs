//! What a batch reads before it is decided, and the counters it writes after.

use super::{Path, users};
use crate::read::column::as_column;
use crate::rules::Places;
use crate::sql;
use crate::sql::{OptionalExtension as _, params};
use crate::sql::{OrStoreError as _, inconsistent};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::campaign::{CampaignState, Rules};
use tombola_core::draw::{BatchState, DrawRequest, PrizeCount};
use tombola_core::limits::SPAN_GRAIN;
use tombola_core::ports::StoreResult;
use tombola_core::time::CivilDay;

/// A campaign's row, with the rules in force.
pub(super) struct Campaign {
    pub(super) id: i64,
    pub(super) version: i32,
    pub(super) rules: Arc<Rules>,
    pub(super) state: CampaignState,
    draws: i64,
    /// Latest civil day of its draws.
    day: CivilDay,
}

/// The campaign of that slug.
pub(super) fn campaign(path: Path<'_>, slug: &str) -> StoreResult<Option<Campaign>> {
    let found = path
        .conn
        .prepare_cached("SELECT id, version, state, draws, day FROM campaign WHERE slug = ?1")
        .and_then(|mut it| {
            it.query_row([slug], |row| {
                let state = CampaignState::parse(row.text(2)?);
                Ok((row.get(0)?, row.get(1)?, state, row.get(3)?, row.get(4)?))
            })
            .optional()
        })
        .or_store()?;
    let Some((id, version, state, draws, day)) = found else {
        return Ok(None);
    };
    let rules = path.shared.rules.rules(path.conn, id, version)?;
    let state = state.ok_or_else(|| inconsistent(format!("campaign {slug} has no known state")))?;
    Ok(Some(Campaign {
        id,
        version,
        rules,
        state,
        draws,
        day: CivilDay(day),
    }))
}

/// Where the prizes of a campaign that was started stand, and its day; `None` of one
/// whose prizes may have no rows yet.
pub(super) fn places(
    path: Path<'_>,
    campaign: &Campaign,
    now: Timestamp,
) -> StoreResult<Option<(Arc<Places>, CivilDay)>> {
    match campaign.state {
        CampaignState::Started | CampaignState::Paused => {}
        CampaignState::Draft
        | CampaignState::Submitted
        | CampaignState::Approved
        | CampaignState::Refused
        | CampaignState::Closed => return Ok(None),
    }
    let rules = &campaign.rules;
    let known = &path.shared.rules;
    let places = known.places(path.conn, campaign.id, campaign.version, rules)?;
    let day = now.civil_day(&rules.zone).max(campaign.day);
    Ok(Some((places, day)))
}

/// What [`read`] read beside the state itself.
pub(super) struct Before {
    pub(super) state: BatchState,
    /// Where its prizes stand.
    pub(super) places: Arc<Places>,
    /// Whether every webhook prize has its endpoint.
    pub(super) has_endpoints: bool,
}

/// Reads what decides these requests.
pub(super) fn read(
    path: Path<'_>,
    campaign: &Campaign,
    requests: &[DrawRequest],
    now: Timestamp,
) -> StoreResult<Before> {
    let rules = Arc::clone(&campaign.rules);
    let mut state = BatchState {
        version: campaign.version,
        state: campaign.state,
        now,
        // A clock that goes back opens no day again: its limits would be given twice.
        day: now.civil_day(&rules.zone).max(campaign.day),
        draws: from_count(campaign.draws)?,
        prizes: vec![PrizeCount::default(); rules.prizes.len()],
        allowances: HashMap::with_capacity(requests.len()),
        wins: HashMap::new(),
        blocked: HashSet::new(),
        rules,
    };
    // A campaign that is not started draws nothing; its prizes may have no rows yet.
    if state.state != CampaignState::Started {
        return Ok(Before {
            state,
            places: Arc::default(),
            has_endpoints: true,
        });
    }
    let places =
        path.shared
            .rules
            .places(path.conn, campaign.id, campaign.version, &state.rules)?;
    let has_endpoints = places.lanes.iter().all(Option::is_some);
    read_prizes(path, campaign.id, &places, &mut state)?;
    users::read(path, campaign.id, &places, requests, &mut state)?;
    Ok(Before {
        state,
        places,
        has_endpoints,
    })
}

fn read_prizes(
    path: Path<'_>,
    campaign_id: i64,
    places: &Places,
    state: &mut BatchState,
) -> StoreResult<()> {
    let mut statement = path
        .conn
        .prepare_cached("SELECT id, stock, spent, day, day_spent FROM prize WHERE campaign_id = ?1")
        .or_store()?;
    let mut rows = statement.query([campaign_id]).or_store()?;
    while let Some(row) = rows.next().or_store()? {
        let Some(index) = places.index_of(row.get(0).or_store()?) else {
            continue;
        };
        let stock: Option<i64> = row.get(1).or_store()?;
        let day = CivilDay(row.get(3).or_store()?);
        state.prizes[index] = PrizeCount {
            stock: stock.map(from_count).transpose()?,
            spent: from_count(row.get(2).or_store()?)?,
            today: if day >= state.day {
                from_count(row.get(4).or_store()?)?
            } else {
                0
            },
            lane: places.lanes[index].unwrap_or_default(),
        };
    }
    Ok(())
}

/// What a batch adds to the counters, and which spans of ids its draws are in.
#[derive(Default)]
pub(super) struct Added {
    /// Spans of its draws.
    pub(super) spans: BTreeSet<i64>,
    /// By user.
    pub(super) draws: HashMap<Arc<str>, i64>,
    /// By index of the prize.
    pub(super) wins: Vec<i64>,
    /// By index and user, only of prizes with `per_user_wins`.
    pub(super) user_wins: Vec<(usize, Arc<str>)>,
}

/// Writes the counters, each once for the whole batch.
pub(super) fn add(
    path: Path<'_>,
    campaign_id: i64,
    places: &Places,
    (day, now): (CivilDay, Timestamp),
    added: &Added,
) -> StoreResult<()> {
    let mut allowances = path
        .conn
        .prepare_cached(
            "INSERT INTO allowance (campaign_id, user, total, day, day_total) VALUES (?1, ?2, ?3, ?4, ?3)
             ON CONFLICT DO UPDATE SET total = total + excluded.total,
               day_total = iif(day >= excluded.day, day_total, 0) + excluded.day_total,
               day = max(day, excluded.day)",
        )
        .or_store()?;
    for (user, draws) in &added.draws {
        allowances
            .execute(params![campaign_id, &**user, draws, day.0])
            .or_store()?;
    }
    let mut prizes = path
        .conn
        .prepare_cached(
            "UPDATE prize SET spent = spent + ?2,
               day_spent = iif(day >= ?3, day_spent, 0) + ?2, day = max(day, ?3)
             WHERE id = ?1",
        )
        .or_store()?;
    for (index, wins) in added.wins.iter().enumerate().filter(|(_, wins)| **wins > 0) {
        prizes
            .execute(params![places.ids[index], wins, day.0])
            .or_store()?;
    }
    let mut user_wins = path
        .conn
        .prepare_cached(
            "INSERT INTO user_win (prize_id, user, wins) VALUES (?1, ?2, 1)
             ON CONFLICT DO UPDATE SET wins = wins + 1",
        )
        .or_store()?;
    for (index, user) in &added.user_wins {
        user_wins
            .execute(params![places.ids[*index], &**user])
            .or_store()?;
    }
    let draws: i64 = added.draws.values().sum();
    let wins: i64 = added.wins.iter().sum();
    path.conn
        .prepare_cached(
            "UPDATE campaign SET draws = draws + ?2, wins = wins + ?3, day = ?4 WHERE id = ?1",
        )
        .and_then(|mut it| it.execute([campaign_id, draws, wins, i64::from(day.0)]))
        .or_store()?;
    spans(path, campaign_id, now, &added.spans).or_store()
}

/// Lets lists find the draws of a span of ids by campaign and time. The instants
/// are coarse, so that nearly always nothing is written.
fn spans(
    path: Path<'_>,
    campaign_id: i64,
    now: Timestamp,
    spans: &BTreeSet<i64>,
) -> sql::Result<()> {
    let mut statement = path.conn.prepare_cached(
        "INSERT INTO draw_span (span, campaign_id, from_at, to_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (span, campaign_id) DO UPDATE
           SET from_at = min(from_at, excluded.from_at), to_at = max(to_at, excluded.to_at)
           WHERE excluded.from_at < from_at OR excluded.to_at > to_at",
    )?;
    let grain = as_column(SPAN_GRAIN.as_micros().try_into().unwrap_or(u64::MAX));
    let from_at = now.0.div_euclid(grain).saturating_mul(grain);
    for span in spans {
        statement.execute([*span, campaign_id, from_at, from_at.saturating_add(grain)])?;
    }
    Ok(())
}

pub(super) fn from_count(count: i64) -> StoreResult<u64> {
    u64::try_from(count).map_err(|_| inconsistent("a count below zero"))
}
