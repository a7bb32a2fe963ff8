//! What a batch locks and reads before it is decided. The campaign is all that it locks,
//! behind its keys: whoever counts draws, units or allowances of a campaign has that lock.

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
    pub(super) places: Places,
}

/// Where the users' counters lie, of those who have any.
pub(super) type Places = HashMap<String, String>;

/// A user's counters as they are kept, before it is known which day it is.
struct Used {
    user: String,
    place: String,
    total: u64,
    day: CivilDay,
    day_total: u64,
}

/// Each user once.
pub(super) fn users(requests: &[DrawRequest]) -> Vec<&Arc<str>> {
    let mut users: Vec<&Arc<str>> = requests.iter().map(|request| &request.user).collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// What a batch is decided by, as it was read.
pub(super) async fn of(
    work: &Work<'_>,
    versions: &Versions,
    (campaign, now): (i64, Timestamp),
    users: &[&Arc<str>],
    (turn, read): (&Turn, &Users),
) -> StoreResult<Locked> {
    let tally = Tally::read(turn.tally.first())?;
    let of = (&tally, &*turn.campaign);
    let (mut state, version) = campaign_state(work, versions, campaign, of, now).await?;
    let used: Vec<Used> = read
        .allowances
        .iter()
        .map(Used::read)
        .collect::<StoreResult<_>>()?;
    let allowances: HashMap<&str, Allowance> = used
        .iter()
        .map(|it| (it.user.as_str(), it.on(state.day)))
        .collect();
    for user in users {
        let allowance = allowances.get(&***user).copied().unwrap_or_default();
        state.allowances.insert(Arc::clone(user), allowance);
    }
    // Only a started campaign draws, and only its prizes surely have their rows.
    if state.state == CampaignState::Started {
        for row in &read.blocked {
            let user: &str = get(row, 0)?;
            state.blocked.insert(user.into());
        }
        let names: Vec<&str> = users.iter().map(|user| &***user).collect();
        read_wins(work, &version, &names, &mut state).await?;
        count_prizes(&version, &turn.prizes, &tally, &mut state)?;
    }
    Ok(Locked {
        state,
        version,
        tally,
        places: used.into_iter().map(|it| (it.user, it.place)).collect(),
    })
}

impl Used {
    fn read(row: &Row) -> StoreResult<Self> {
        Ok(Self {
            user: get(row, 0)?,
            total: count(row, 1)?,
            day: CivilDay(get(row, 2)?),
            day_total: count(row, 3)?,
            place: get(row, 4)?,
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

/// The campaign's lock, and what was read behind it.
pub(super) struct Turn {
    campaign: Vec<Row>,
    tally: Vec<Row>,
    prizes: Vec<Row>,
}

/// The statements go to the server together and run there one after the other, in this
/// order; each sees what was committed before it began, so what is read behind the lock
/// stays.
pub(super) async fn turn(work: &Work<'_>, campaign: i64) -> StoreResult<Turn> {
    let sql = work.sql;
    let of_campaign: Params<'_> = &[&campaign];
    let (campaign, tally, prizes) = tokio::try_join!(
        biased;
        work.query(&sql.lock_campaign, of_campaign),
        work.query(&sql.read_tally, of_campaign),
        work.query(&sql.read_stocks, of_campaign),
    )?;
    Ok(Turn {
        campaign,
        tally,
        prizes,
    })
}

/// What users have used, and who of them is blocked.
pub(super) struct Users {
    allowances: Vec<Row>,
    blocked: Vec<Row>,
}

impl Users {
    pub(super) fn add(&mut self, other: Self) {
        self.allowances.extend(other.allowances);
        self.blocked.extend(other.blocked);
    }
}

/// Read behind the campaign's lock.
pub(super) async fn of_users(
    work: &Work<'_>,
    campaign: i64,
    users: &[&Arc<str>],
) -> StoreResult<Users> {
    let users: Vec<&str> = users.iter().map(|user| &***user).collect();
    let of_users: Params<'_> = &[&campaign, &users];
    let by_name: Params<'_> = &[&users];
    let (allowances, blocked) = tokio::try_join!(
        biased;
        work.query(&work.sql.read_allowances, of_users),
        work.query(&work.sql.read_blocked, by_name),
    )?;
    Ok(Users {
        allowances,
        blocked,
    })
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
fn count_prizes(
    version: &Version,
    rows: &[Row],
    tally: &Tally,
    state: &mut BatchState,
) -> StoreResult<()> {
    for (count, lane) in state.prizes.iter_mut().zip(&version.lanes) {
        count.lane = lane.unwrap_or_default();
    }
    for row in rows {
        let id = get(row, 0)?;
        let Some(index) = version.index(id) else {
            continue;
        };
        let given = tally.given(id, state.day);
        let (stock, besides): (Option<i64>, i64) = (get(row, 1)?, get(row, 2)?);
        let (day, on_day): (i32, i64) = (get(row, 3)?, get(row, 4)?);
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
