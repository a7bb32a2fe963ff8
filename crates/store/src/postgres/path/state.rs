//! What a batch locks and reads before it is decided. The campaign is all that it locks:
//! whoever adds request keys, or counts draws, units or allowances of a campaign, has that
//! lock.

use super::super::error::{get, inconsistent};
use super::super::session::{Params, Work};
use super::tally::Tally;
use super::versions::{Version, Versions};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::Row;
use tombola_core::Timestamp;
use tombola_core::campaign::{CampaignState, Prize};
use tombola_core::draw::{Allowance, BatchState, DrawRequest, PrizeCount};
use tombola_core::ports::StoreResult;
use tombola_core::time::CivilDay;

/// What was read and locked.
pub(super) struct Locked {
    pub(super) state: BatchState,
    pub(super) version: Arc<Version>,
    pub(super) tally: Tally,
}

/// What a batch is decided by, as it was read.
pub(super) async fn of(
    work: &Work<'_>,
    versions: &Versions,
    (campaign, now): (i64, Timestamp),
    turn: &Turn,
    of_requests: &[Row],
) -> StoreResult<Locked> {
    let (tallies, prizes): (Vec<&Row>, Vec<&Row>) = {
        let is_tally = |row: &&Row| matches!(row.try_get(0), Ok(Some::<i64>(_)));
        turn.counts.iter().partition(is_tally)
    };
    let tally = Tally::read(tallies.first().copied())?;
    let of = (&tally, &*turn.campaign);
    let (mut state, version) = campaign_state(work, versions, campaign, of, now).await?;
    for row in of_requests {
        let user: Arc<str> = get::<&str>(row, 5)?.into();
        let allowance = allowance(row, state.day)?;
        state.allowances.insert(Arc::clone(&user), allowance);
        // A campaign that has not started says so to all alike.
        if get(row, 9)? && state.state == CampaignState::Started {
            state.blocked.insert(user);
        }
    }
    // Only a started campaign draws, and only its prizes surely have their rows.
    if state.state == CampaignState::Started {
        read_wins(work, &version, &mut state).await?;
        count_prizes(&version, &prizes, &tally, &mut state)?;
    }
    Ok(Locked {
        state,
        version,
        tally,
    })
}

/// What the user of a request has used by that day; nothing before the first draw.
fn allowance(row: &Row, today: CivilDay) -> StoreResult<Allowance> {
    let Some(total) = get::<Option<i64>>(row, 6)? else {
        return Ok(Allowance::default());
    };
    let (day, on_day): (i32, i64) = (get(row, 7)?, get(row, 8)?);
    let on_day = if CivilDay(day) >= today { on_day } else { 0 };
    Ok(Allowance {
        total: natural(total)?,
        today: natural(on_day)?,
    })
}

/// The campaign's lock, and what was read behind it.
pub(super) struct Turn {
    campaign: Vec<Row>,
    /// The tally, if there is one, and the prizes.
    counts: Vec<Row>,
}

/// The statements go to the server together and run there one after the other, in this
/// order; each sees what was committed before it began, so what is read behind the lock
/// stays.
pub(super) async fn turn(work: &Work<'_>, campaign: i64) -> StoreResult<Turn> {
    let of_campaign: Params<'_> = &[&campaign];
    let (campaign, counts) = tokio::try_join!(
        biased;
        work.query(&work.sql.lock_campaign, of_campaign),
        work.query(&work.sql.read_counts, of_campaign),
    )?;
    Ok(Turn { campaign, counts })
}

/// What is known of requests, behind the campaign's lock or ahead of it; no trip for none.
pub(super) async fn of_requests(
    work: &Work<'_>,
    campaign: i64,
    requests: &[DrawRequest],
) -> StoreResult<Vec<Row>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let clients: Vec<&str> = requests.iter().map(|it| &*it.client).collect();
    let keys: Vec<&str> = requests.iter().map(|it| &*it.key).collect();
    let users: Vec<&str> = requests.iter().map(|it| &*it.user).collect();
    let params: Params<'_> = &[&campaign, &clients, &keys, &users];
    work.query(&work.sql.read_requests, params).await
}

/// The campaign's row says which rules are in force, they say the zone, and only
/// then is it known which day it is; never a day before one that was drawn on.
async fn campaign_state(
    work: &Work<'_>,
    versions: &Versions,
    campaign: i64,
    (tally, rows): (&Tally, &[Row]),
    now: Timestamp,
) -> StoreResult<(BatchState, Arc<Version>)> {
    let row = rows
        .first()
        .ok_or_else(|| inconsistent(format!("campaign {campaign} is gone")))?;
    let (state, number): (&str, i32) = (get(row, 0)?, get(row, 1)?);
    let (besides, day): (i64, i32) = (get(row, 2)?, get(row, 3)?);
    let state = CampaignState::parse(state)
        .ok_or_else(|| inconsistent(format!("no campaign state is called {state}")))?;
    let version = versions.get(work, (campaign, number)).await?;
    let rules = Arc::clone(&version.rules);
    let is_lacking = state == CampaignState::Started && !version.has_endpoints();
    if is_lacking {
        tracing::error!(
            campaign.id = rules.slug,
            "an endpoint of a started campaign is missing: nothing is drawn"
        );
    }
    let state = BatchState {
        version: version.number,
        // A win could not be written; it stands still as if a person had paused it.
        state: if is_lacking {
            CampaignState::Paused
        } else {
            state
        },
        now,
        day: now.civil_day(&rules.zone).max(CivilDay(day)).max(tally.day),
        draws: natural(besides + tally.draws)?,
        prizes: vec![PrizeCount::default(); rules.prizes.len()],
        allowances: HashMap::new(),
        wins: HashMap::new(),
        blocked: HashSet::new(),
        rules,
    };
    Ok((state, version))
}

/// Wins need no lock of their own: whoever writes them has the campaign.
async fn read_wins(work: &Work<'_>, version: &Version, state: &mut BatchState) -> StoreResult<()> {
    let capped = ids_where(version, |prize| prize.per_user_wins.is_some())?;
    if capped.is_empty() {
        return Ok(());
    }
    let users: Vec<&str> = state.allowances.keys().map(|user| &**user).collect();
    let wins = work.query(&work.sql.read_wins, &[&capped, &users]).await?;
    for row in wins {
        let (index, _) = version.prize(get(&row, 0)?)?;
        let user: &str = get(&row, 1)?;
        state.wins.insert((user.into(), index), count(&row, 2)?);
    }
    Ok(())
}

/// What is left of the version's prizes; those of other versions are none of its business.
fn count_prizes(
    version: &Version,
    rows: &[&Row],
    tally: &Tally,
    state: &mut BatchState,
) -> StoreResult<()> {
    for (count, lane) in state.prizes.iter_mut().zip(&version.lanes) {
        count.lane = lane.unwrap_or_default();
    }
    for row in rows {
        let id = get(row, 7)?;
        let Some(index) = version.index(id) else {
            continue;
        };
        let given = tally.given(id, state.day);
        let (stock, besides): (Option<i64>, i64) = (get(row, 8)?, get(row, 9)?);
        let (day, on_day): (i32, i64) = (get(row, 10)?, get(row, 11)?);
        let on_day = if CivilDay(day) >= state.day {
            on_day
        } else {
            0
        };
        let prize = &mut state.prizes[index];
        prize.stock = stock.map(natural).transpose()?;
        prize.spent = natural(besides + given.spent)?;
        prize.today = natural(on_day + given.on_day)?;
    }
    Ok(())
}

fn ids_where(version: &Version, is_wanted: fn(&Prize) -> bool) -> StoreResult<Vec<i64>> {
    let prizes = version.rules.prizes.iter().enumerate();
    prizes
        .filter(|(_, prize)| is_wanted(prize))
        .map(|(index, _)| version.prize_id(index))
        .collect()
}

fn count(row: &Row, column: usize) -> StoreResult<u64> {
    natural(get(row, column)?)
}

fn natural(count: i64) -> StoreResult<u64> {
    u64::try_from(count).map_err(|_| inconsistent("a count below zero"))
}
