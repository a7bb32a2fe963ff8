//! Claims of copies for outside calls: the rows are locked, the table is asked,
//! and what it says is written in one guarded update.

use super::columns::{Rows, Stored};
use super::error::{get, inconsistent};
use super::session::{Session, Work};
use super::versions::Versions;
use std::collections::{BTreeMap, HashMap, HashSet};
use tombola_core::award::{Context, Event, Gate, Row, Step, Terms, step};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{Claim, Copy, CopyAnswer, PauseScope, StoreResult};
use tombola_core::reason::{HoldReason, KeptReason};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

/// Claims copies at one instant.
pub(super) struct Claimer<'a> {
    pub(super) versions: &'a Versions,
    pub(super) schedule: &'a Schedule,
    pub(super) now: Timestamp,
}

/// What prize and endpoint say of one award.
struct Facts {
    campaign: String,
    prize: String,
    endpoint: Option<String>,
    terms: Terms,
}

/// An award of the batch: as it was read, and as the table has it now.
struct Award {
    before: Stored,
    now: Row,
    facts: Facts,
}

impl Claimer<'_> {
    /// One answer for each copy, in order.
    pub(super) async fn claim(
        &self,
        session: &mut Session,
        copies: &[Copy],
    ) -> StoreResult<Vec<CopyAnswer>> {
        let work = session.begin().await?;
        let mut awards = self.lock(&work, copies).await?;
        let pauses = pauses(&work).await?;
        let mut answers: Vec<CopyAnswer> = copies
            .iter()
            .map(|copy| self.answer(&mut awards, &pauses, copy))
            .collect();
        let late = self.write(&work, &awards).await?;
        work.commit().await?;
        for (copy, answer) in copies.iter().zip(&mut answers) {
            if late.contains(&copy.award) {
                *answer = CopyAnswer::Dropped;
            }
        }
        Ok(answers)
    }

    /// Locks the rows of the copies, in the order of their awards.
    async fn lock(
        &self,
        work: &Work<'_>,
        copies: &[Copy],
    ) -> StoreResult<BTreeMap<AwardId, Award>> {
        let ids: Vec<i64> = copies.iter().map(|copy| copy.award.0).collect();
        let rows = work.query(&work.sql.lock_copies, &[&ids]).await?;
        let stored = rows.iter().map(Stored::read);
        let stored: Vec<Stored> = stored.collect::<StoreResult<_>>()?;
        let endpoints = endpoints(work, &stored).await?;
        let mut awards = BTreeMap::new();
        for before in stored {
            let version = self.versions.get(work, before.version).await?;
            let (_, prize) = version.prize(before.prize_id)?;
            let endpoint = endpoints.get(&before.row.lane);
            let facts = Facts {
                campaign: version.rules.slug.clone(),
                prize: prize.slug.clone(),
                terms: Terms::of(prize, endpoint.is_some_and(|it| it.idempotent)),
                endpoint: endpoint.map(|it| it.name.clone()),
            };
            let now = before.row.clone();
            awards.insert(now.award, Award { before, now, facts });
        }
        Ok(awards)
    }

    /// What comes of one copy; a second copy of an award sees what the first left.
    fn answer(
        &self,
        awards: &mut BTreeMap<AwardId, Award>,
        pauses: &[PauseScope],
        copy: &Copy,
    ) -> CopyAnswer {
        let Some(award) = awards.get_mut(&copy.award) else {
            return CopyAnswer::NotOurs(KeptReason::NoAward);
        };
        if award.before.message_id != copy.message_id {
            return CopyAnswer::NotOurs(KeptReason::OtherMessageId);
        }
        let is_paused = pauses.iter().any(|pause| award.facts.is_in(pause));
        let gate = if is_paused {
            Gate::Paused
        } else {
            Gate::Permit
        };
        let position = copy.position;
        let context = Context {
            now: self.now,
            schedule: self.schedule,
            terms: &award.facts.terms,
        };
        match step(&award.now, &Event::Copy { position, gate }, context) {
            Step::Changed(change) => award.now = change.row,
            Step::Late | Step::Same | Step::Refused(_) => return CopyAnswer::Dropped,
        }
        if is_paused {
            return CopyAnswer::Held {
                kind: award.now.kind,
                reason: HoldReason::Paused,
            };
        }
        CopyAnswer::Claimed(Box::new(Claim {
            award: copy.award,
            lease: award.now.lease,
            lane: award.now.lane,
            attempts: award.now.attempts,
            delivery_key: award.before.delivery_key.clone(),
            lease_ends: award.now.due_at.unwrap_or(self.now),
        }))
    }

    /// Writes what changed; gives the awards whose rows had moved on after all.
    async fn write(
        &self,
        work: &Work<'_>,
        awards: &BTreeMap<AwardId, Award>,
    ) -> StoreResult<HashSet<AwardId>> {
        let mut rows = Rows::default();
        let (mut ended_at, mut states, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        let mut late = HashSet::new();
        for (id, award) in awards {
            if award.now != award.before.row {
                rows.push(&award.now);
                ended_at.push(award.now.state.is_final().then_some(self.now.0));
                states.push(award.before.row.state.name());
                leases.push(award.before.row.lease);
                late.insert(*id);
            }
        }
        if rows.is_empty() {
            return Ok(late);
        }
        let params = rows.params(&[&ended_at, &states, &leases]);
        for row in work.query(&work.sql.move_rows, &params).await? {
            late.remove(&AwardId(get(&row, 0)?));
        }
        Ok(late)
    }
}

impl Facts {
    fn is_in(&self, pause: &PauseScope) -> bool {
        let fits = |scope: &Option<String>, name: Option<&str>| {
            scope.as_deref().is_none_or(|scope| name == Some(scope))
        };
        fits(&pause.campaign, Some(&self.campaign))
            && fits(&pause.prize, Some(&self.prize))
            && fits(&pause.endpoint, self.endpoint.as_deref())
    }
}

/// The endpoints of these awards, by lane.
async fn endpoints(work: &Work<'_>, awards: &[Stored]) -> StoreResult<HashMap<i64, EndpointSpec>> {
    let lanes: HashSet<i64> = awards.iter().map(|it| it.row.lane).collect();
    let lanes: Vec<i64> = lanes.into_iter().filter(|lane| *lane != 0).collect();
    let mut endpoints = HashMap::new();
    if lanes.is_empty() {
        return Ok(endpoints);
    }
    for row in work.query(&work.sql.read_endpoints, &[&lanes]).await? {
        let (lane, spec): (i64, &str) = (get(&row, 0)?, get(&row, 1)?);
        let spec = serde_json::from_str(spec)
            .map_err(|error| inconsistent(format!("endpoint of lane {lane}: {error}")))?;
        endpoints.insert(lane, spec);
    }
    Ok(endpoints)
}

async fn pauses(work: &Work<'_>) -> StoreResult<Vec<PauseScope>> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let read = |row: &tokio_postgres::Row| {
        Ok(PauseScope {
            campaign: some(get(row, 0)?),
            prize: some(get(row, 1)?),
            endpoint: some(get(row, 2)?),
        })
    };
    let rows = work.query(&work.sql.lock_pauses, &[]).await?;
    rows.iter().map(read).collect()
}
