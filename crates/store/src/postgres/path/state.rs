//! What a batch locks and reads before it is decided, in the one order that every
//! transaction keeps: campaign, prizes. Keys came before. Allowances need no lock: whoever
//! counts draws of a campaign has the campaign.

use super::super::error::{get, inconsistent};
use super::super::session::{Params, Work};
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
}

/// A user's counters as they are kept, before it is known which day it is.
struct Used {
    user: String,
    total: u64,
    day: CivilDay,
    day_total: u64,
}

/// Locks and reads what decides these requests.
pub(super) async fn lock(
    work: &Work<'_>,
    versions: &Versions,
    campaign: i64,
    requests: &[&DrawRequest],
    now: Timestamp,
) -> StoreResult<Locked> {
    let mut users: Vec<&Arc<str>> = requests.iter().map(|request| &request.user).collect();
    users.sort_unstable();
    users.dedup();
    let names: Vec<&str> = users.iter().map(|user| &***user).collect();
    let trip = Trip::run(work, campaign, &names).await?;
    let (mut state, version) =
        campaign_state(work, versions, campaign, &trip.campaign, now).await?;
    let used: Vec<Used> = trip
        .allowances
        .iter()
        .map(Used::read)
        .collect::<StoreResult<_>>()?;
    let used: HashMap<&str, Allowance> = used
        .iter()
        .map(|it| (it.user.as_str(), it.on(state.day)))
        .collect();
    for user in &users {
        let allowance = used.get(&***user).copied().unwrap_or_default();
        state.allowances.insert(Arc::clone(user), allowance);
    }
    // Only a started campaign draws, and only its prizes surely have their rows.
    if state.state == CampaignState::Started {
        for row in &trip.blocked {
            let user: &str = get(row, 0)?;
            state.blocked.insert(user.into());
        }
        read_wins(work, &version, &names, &mut state).await?;
        count_prizes(&version, &trip.prizes, &mut state)?;
    }
    Ok(Locked { state, version })
}

impl Used {
    fn read(row: &Row) -> StoreResult<Self> {
        Ok(Self {
            user: get(row, 0)?,
            total: count(row, 1)?,
            day: CivilDay(get(row, 2)?),
            day_total: count(row, 3)?,
        })
    }

    fn on(&self, day: CivilDay) -> Allowance {
        let today = if self.day >= day { self.day_total } else { 0 };
        Allowance {
            total: self.total,
            today,
        }
    }
}

/// What the locks gave.
struct Trip {
    campaign: Vec<Row>,
    prizes: Vec<Row>,
    allowances: Vec<Row>,
    blocked: Vec<Row>,
}

impl Trip {
    /// The campaign is locked first, then all its prizes, also those that never run out:
    /// what was won of them is added up in the end, and a row that is only then locked
    /// would be out of order with a unit that rescue gives back. The statements go to the
    /// server together and run there one after the other, in this order; each sees what
    /// was committed before it began, so what is read behind the lock stays.
    async fn run(work: &Work<'_>, campaign: i64, users: &[&str]) -> StoreResult<Self> {
        let sql = work.sql;
        let of_users: Params<'_> = &[&campaign, &users];
        let of_campaign: Params<'_> = &[&campaign];
        let by_name: Params<'_> = &[&users];
        let (campaign, prizes, allowances, blocked) = tokio::try_join!(
            biased;
            work.query(&sql.lock_campaign, of_campaign),
            work.query(&sql.lock_prizes, of_campaign),
            work.query(&sql.read_allowances, of_users),
            work.query(&sql.read_blocked, by_name),
        )?;
        Ok(Self {
            campaign,
            prizes,
            allowances,
            blocked,
        })
    }
}

/// The campaign's row says which rules are in force, they say the zone, and only
/// then is it known which day it is; never a day before one that was drawn on.
async fn campaign_state(
    work: &Work<'_>,
    versions: &Versions,
    campaign: i64,
    rows: &[Row],
    now: Timestamp,
) -> StoreResult<(BatchState, Arc<Version>)> {
    let row = rows
        .first()
        .ok_or_else(|| inconsistent(format!("campaign {campaign} is gone")))?;
    let (state, number, day): (&str, i32, i32) = (get(row, 0)?, get(row, 1)?, get(row, 3)?);
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
        day: now.civil_day(&rules.zone).max(CivilDay(day)),
        draws: count(row, 2)?,
        prizes: vec![PrizeCount::default(); rules.prizes.len()],
        allowances: HashMap::new(),
        wins: HashMap::new(),
        blocked: HashSet::new(),
        rules,
    };
    Ok((state, version))
}

/// Wins need no lock of their own: whoever writes them has the campaign.
async fn read_wins(
    work: &Work<'_>,
    version: &Version,
    users: &[&str],
    state: &mut BatchState,
) -> StoreResult<()> {
    let capped = ids_where(version, |prize| prize.per_user_wins.is_some())?;
    if capped.is_empty() {
        return Ok(());
    }
    for row in work.query(&work.sql.read_wins, &[&capped, &users]).await? {
        let (index, _) = version.prize(get(&row, 0)?)?;
        let user: &str = get(&row, 1)?;
        state.wins.insert((user.into(), index), count(&row, 2)?);
    }
    Ok(())
}

/// What is left of the version's prizes; those of other versions are none of its business.
fn count_prizes(version: &Version, rows: &[Row], state: &mut BatchState) -> StoreResult<()> {
    for (count, lane) in state.prizes.iter_mut().zip(&version.lanes) {
        count.lane = lane.unwrap_or_default();
    }
    for row in rows {
        let Some(index) = version.index(get(row, 0)?) else {
            continue;
        };
        let (stock, day): (Option<i64>, i32) = (get(row, 1)?, get(row, 3)?);
        let prize = &mut state.prizes[index];
        prize.stock = stock.map(natural).transpose()?;
        prize.spent = count(row, 2)?;
        prize.today = if CivilDay(day) >= state.day {
            count(row, 4)?
        } else {
            0
        };
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
