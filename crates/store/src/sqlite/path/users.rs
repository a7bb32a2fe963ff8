//! What a batch reads of its users: only what the rules and the rolls ask for.

use super::Path;
use super::state::from_count;
use crate::rules::Places;
use crate::sql::OrStoreError as _;
use crate::sql::{OptionalExtension as _, Statement};
use std::collections::HashSet;
use std::sync::Arc;
use tombola_core::campaign::odds::{Availability, choose};
use tombola_core::campaign::{OnUnavailable, Rules};
use tombola_core::draw::{Allowance, BatchState, DrawRequest};
use tombola_core::ports::StoreResult;
use tombola_core::time::CivilDay;

/// Adds to `state` what these requests' users have drawn and won, and who may not
/// draw.
pub(super) fn read(
    path: Path<'_>,
    campaign_id: i64,
    places: &Places,
    requests: &[DrawRequest],
    state: &mut BatchState,
) -> StoreResult<()> {
    let limits = &state.rules.limits;
    if limits.per_user_total.is_some() || limits.per_user_per_day.is_some() {
        read_allowances(path, campaign_id, requests, state)?;
    }
    read_wins(path, places, requests, state)?;
    read_blocked(path, requests, state)
}

fn read_allowances(
    path: Path<'_>,
    campaign_id: i64,
    requests: &[DrawRequest],
    state: &mut BatchState,
) -> StoreResult<()> {
    let mut statement = path
        .conn
        .prepare_cached(
            "SELECT total, day, day_total FROM allowance WHERE campaign_id = ?1 AND user = ?2",
        )
        .or_store()?;
    for request in requests {
        if state.allowances.contains_key(&request.user) {
            continue;
        }
        if let Some(used) = allowance(&mut statement, campaign_id, &request.user, state.day)? {
            state.allowances.insert(Arc::clone(&request.user), used);
        }
    }
    Ok(())
}

/// A row that speaks of a later day counts for this one: a clock that goes back
/// over midnight gives nobody a second day.
fn allowance(
    statement: &mut Statement<'_>,
    campaign_id: i64,
    user: &str,
    day: CivilDay,
) -> StoreResult<Option<Allowance>> {
    let found: Option<(i64, i32, i64)> = statement
        .query_row((campaign_id, user), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .or_store()?;
    let Some((total, of_day, today)) = found else {
        return Ok(None);
    };
    let today = if CivilDay(of_day) >= day { today } else { 0 };
    Ok(Some(Allowance {
        total: from_count(total)?,
        today: from_count(today)?,
    }))
}

/// Wins of the prizes with `per_user_wins` that the rolls can reach: under `spread`
/// each of them, else the one that a roll falls on.
fn read_wins(
    path: Path<'_>,
    places: &Places,
    requests: &[DrawRequest],
    state: &mut BatchState,
) -> StoreResult<()> {
    let rules = Arc::clone(&state.rules);
    let capped: Vec<usize> = (0..rules.prizes.len())
        .filter(|index| rules.prizes[*index].per_user_wins.is_some())
        .collect();
    if capped.is_empty() {
        return Ok(());
    }
    let mut statement = path
        .conn
        .prepare_cached("SELECT wins FROM user_win WHERE prize_id = ?1 AND user = ?2")
        .or_store()?;
    for request in requests {
        for index in reached(&rules, &capped, request) {
            let found: Option<i64> = statement
                .query_row((places.ids[index], &*request.user), |row| row.get(0))
                .optional()
                .or_store()?;
            if let Some(wins) = found {
                let pair = (Arc::clone(&request.user), index);
                state.wins.insert(pair, from_count(wins)?);
            }
        }
    }
    Ok(())
}

fn reached(rules: &Rules, capped: &[usize], request: &DrawRequest) -> Vec<usize> {
    if rules.on_unavailable == OnUnavailable::Spread {
        return capped.to_vec();
    }
    let all = Availability::all();
    let fallen_on = request
        .tickets
        .iter()
        .filter_map(|it| choose(rules, &all, it.roll));
    fallen_on.filter(|index| capped.contains(index)).collect()
}

fn read_blocked(
    path: Path<'_>,
    requests: &[DrawRequest],
    state: &mut BatchState,
) -> StoreResult<()> {
    let has_any: bool = path
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM blocked_user)")
        .and_then(|mut it| it.query_row([], |row| row.get(0)))
        .or_store()?;
    if !has_any {
        return Ok(());
    }
    let mut statement = path
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM blocked_user WHERE user = ?1)")
        .or_store()?;
    let users: HashSet<&Arc<str>> = requests.iter().map(|it| &it.user).collect();
    for user in users {
        if statement
            .query_row([&**user], |row| row.get(0))
            .or_store()?
        {
            state.blocked.insert(Arc::clone(user));
        }
    }
    Ok(())
}
