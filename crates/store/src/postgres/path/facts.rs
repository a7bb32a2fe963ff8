//! What the table asks beside the rows of a batch: the draws that won them, prize and
//! endpoint, pauses, and whether what a hold waits for has come. All of it is read in
//! a trip or two for the whole batch, in the transaction that uses it.
//!
//! What ends a hold is locked while it is read, so that whoever ends it comes either
//! before this reading or after the hold is committed, and then finds it. See the
//! order of locks in [`super`].

use super::super::error::{get, inconsistent};
use super::super::session::Work;
use super::Shared;
use super::columns::Stored;
use super::versions::Version;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::{Row, Statement};
use tombola_core::award::Terms;
use tombola_core::campaign::Prize;
use tombola_core::ports::{PauseScope, StoreError, StoreResult};
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, Timestamp};

/// The facts of the draw that won an award; they never change, but for the user's
/// name, and whoever changes that has the award's row locked.
pub(super) struct Facts {
    version: Arc<Version>,
    index: usize,
    pub(super) user: String,
    pub(super) drawn_at: Timestamp,
    pub(super) traceparent: Option<Arc<str>>,
}

impl Facts {
    /// The prize as the draw's rules have it.
    pub(super) fn prize(&self) -> &Prize {
        &self.version.rules.prizes[self.index]
    }

    /// The rules that it was drawn by.
    pub(super) fn rules(&self) -> &tombola_core::campaign::Rules {
        &self.version.rules
    }
}

struct Endpoint {
    name: String,
    is_idempotent: bool,
}

/// What a batch has to read, sorted: locks are taken in this order.
#[derive(Default)]
pub(super) struct Need {
    /// Awards whose draws are asked for.
    draws: BTreeSet<i64>,
    /// Lanes whose endpoints are.
    lanes: BTreeSet<i64>,
    /// Awards that may have an address.
    addressed: BTreeSet<i64>,
    /// Prizes that may have free codes.
    coded: BTreeSet<i64>,
    /// Lanes that may be enabled.
    enabled: BTreeSet<i64>,
}

impl Need {
    /// The draw of that award, and the endpoint of its lane.
    pub(super) fn terms(&mut self, stored: &Stored) {
        self.draws.insert(stored.row.award.0);
        if stored.row.is_outside() {
            self.lanes.insert(stored.row.lane);
        }
    }

    /// Whether the winner gave an address.
    pub(super) fn address(&mut self, stored: &Stored) {
        self.addressed.insert(stored.row.award.0);
    }

    /// Whether what a hold of that reason waits for has come.
    pub(super) fn end_of(&mut self, stored: &Stored, reason: HoldReason) {
        match reason {
            HoldReason::Address => self.address(stored),
            HoldReason::NoCode => drop(self.coded.insert(stored.prize_id)),
            HoldReason::EndpointDisabled => drop(self.enabled.insert(stored.row.lane)),
            // The pauses are read in any case.
            HoldReason::Paused => self.terms(stored),
            HoldReason::Manual
            | HoldReason::Scheduled
            | HoldReason::Shipment
            | HoldReason::External => {}
        }
    }
}

/// What was read.
#[derive(Default)]
pub(super) struct Known {
    pauses: Vec<PauseScope>,
    facts: HashMap<AwardId, Facts>,
    endpoints: HashMap<i64, Endpoint>,
    addressed: HashSet<i64>,
    coded: HashSet<i64>,
    enabled: HashSet<i64>,
}

impl Known {
    /// Reads what a batch needs; `pauses` came with its rows.
    pub(super) async fn load(
        work: &Work<'_>,
        shared: &Shared,
        need: Need,
        pauses: Vec<PauseScope>,
    ) -> StoreResult<Self> {
        let sql = work.sql;
        let (draws, endpoints, addressed, enabled, _, coded) = tokio::try_join!(
            biased;
            of(work, &sql.read_facts, &need.draws),
            of(work, &sql.read_endpoints, &need.lanes),
            of(work, &sql.read_addressed, &need.addressed),
            of(work, &sql.lock_endpoints, &need.enabled),
            of(work, &sql.share_prizes, &need.coded),
            of(work, &sql.read_coded, &need.coded),
        )?;
        Ok(Self {
            pauses,
            facts: read_facts(work, shared, &draws).await?,
            endpoints: endpoints.iter().map(endpoint).collect::<StoreResult<_>>()?,
            addressed: ids(&addressed)?,
            coded: ids(&coded)?,
            enabled: enabled
                .iter()
                .filter_map(|row| if_enabled(row).transpose())
                .collect::<StoreResult<_>>()?,
        })
    }

    pub(super) fn facts(&self, award: AwardId) -> StoreResult<&Facts> {
        let facts = self.facts.get(&award);
        facts.ok_or_else(|| inconsistent(format!("award {award} has no draw that won its prize")))
    }

    /// What prize and endpoint say of an award. An endpoint that is not there repeats
    /// nothing.
    pub(super) fn terms(&self, stored: &Stored) -> StoreResult<Terms> {
        let facts = self.facts(stored.row.award)?;
        let endpoint = self.endpoints.get(&stored.row.lane);
        let is_idempotent = stored.row.is_outside() && endpoint.is_some_and(|it| it.is_idempotent);
        Ok(Terms::of(facts.prize(), is_idempotent))
    }

    /// Whether the delivery of that award is paused.
    pub(super) fn is_paused(&self, stored: &Stored) -> StoreResult<bool> {
        if self.pauses.is_empty() {
            return Ok(false);
        }
        let facts = self.facts(stored.row.award)?;
        let endpoint = self.endpoints.get(&stored.row.lane);
        let endpoint = endpoint.map(|it| it.name.as_str());
        let fits = |scope: &Option<String>, name: Option<&str>| {
            scope.as_deref().is_none_or(|scope| name == Some(scope))
        };
        Ok(self.pauses.iter().any(|scope| {
            fits(&scope.campaign, Some(&facts.rules().slug))
                && fits(&scope.prize, Some(&facts.prize().slug))
                && fits(&scope.endpoint, endpoint)
        }))
    }

    pub(super) fn has_address(&self, award: AwardId) -> bool {
        self.addressed.contains(&award.0)
    }

    /// Whether what a hold of that reason waits for has come. The others end by a
    /// person's word or by their date.
    pub(super) fn has_hold_ended(&self, stored: &Stored, reason: HoldReason) -> StoreResult<bool> {
        Ok(match reason {
            HoldReason::Address => self.has_address(stored.row.award),
            HoldReason::NoCode => self.coded.contains(&stored.prize_id),
            HoldReason::EndpointDisabled => self.enabled.contains(&stored.row.lane),
            HoldReason::Paused => !self.is_paused(stored)?,
            HoldReason::Manual
            | HoldReason::Scheduled
            | HoldReason::Shipment
            | HoldReason::External => false,
        })
    }
}

/// The rows of these ids; no trip for none.
async fn of(work: &Work<'_>, sql: &Statement, ids: &BTreeSet<i64>) -> StoreResult<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ids.iter().copied().collect();
    work.query(sql, &[&ids]).await
}

fn ids(rows: &[Row]) -> StoreResult<HashSet<i64>> {
    rows.iter().map(|row| get(row, 0)).collect()
}

fn endpoint(row: &Row) -> StoreResult<(i64, Endpoint)> {
    let endpoint = Endpoint {
        name: get(row, 1)?,
        is_idempotent: get(row, 2)?,
    };
    Ok((get(row, 0)?, endpoint))
}

fn if_enabled(row: &Row) -> StoreResult<Option<i64>> {
    let (lane, is_enabled): (i64, bool) = (get(row, 0)?, get(row, 1)?);
    Ok(is_enabled.then_some(lane))
}

/// Reads which scopes are paused now.
pub(super) fn pauses(rows: &[Row]) -> StoreResult<Vec<PauseScope>> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let read = |row: &Row| {
        Ok(PauseScope {
            campaign: some(get(row, 0)?),
            prize: some(get(row, 1)?),
            endpoint: some(get(row, 2)?),
        })
    };
    rows.iter().map(read).collect()
}

/// A draw whose facts do not fit is left out: its award fails alone when it is asked.
async fn read_facts(
    work: &Work<'_>,
    shared: &Shared,
    rows: &[Row],
) -> StoreResult<HashMap<AwardId, Facts>> {
    let mut all = HashMap::with_capacity(rows.len());
    for row in rows {
        let award = AwardId(get(row, 0)?);
        match read_fact(work, shared, row).await {
            Ok(facts) => drop(all.insert(award, facts)),
            Err(error @ (StoreError::Inconsistent(_) | StoreError::Row(_))) => {
                tracing::error!(award.id = %award, %error, "the draw of an award cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn read_fact(work: &Work<'_>, shared: &Shared, row: &Row) -> StoreResult<Facts> {
    let version = (get(row, 1)?, get(row, 2)?);
    let version = shared.versions.get(work, version).await?;
    let prize: Option<i64> = get(row, 3)?;
    let prize = prize.ok_or_else(|| inconsistent("the draw won nothing"))?;
    let (index, _) = version.prize(prize)?;
    let traceparent: Option<&str> = get(row, 6)?;
    Ok(Facts {
        version,
        index,
        user: get(row, 4)?,
        drawn_at: Timestamp(get(row, 5)?),
        traceparent: traceparent.map(Arc::from),
    })
}
