//! What the table asks beside the row: the terms of prize and endpoint, pauses,
//! and whether what a hold waits for has come. All is read in the transaction
//! that uses it.

use crate::Shared;
use crate::rows::Stored;
use crate::sql::{Array, Connection, OptionalExtension as _};
use crate::sql::{OrStoreError as _, inconsistent};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tombola_core::AwardId;
use tombola_core::award::{Context, Event, Row, Step, Terms};
use tombola_core::campaign::{Prize, Rules};
use tombola_core::decision::Decision;
use tombola_core::ports::{PauseScope, StoreResult};
use tombola_core::reason::HoldReason;
use tombola_core::time::Timestamp;

/// The facts of the draw that won an award; they never change.
pub(crate) struct Facts {
    /// The rules it was drawn by.
    pub(crate) rules: Arc<Rules>,
    /// The prize's index in them.
    pub(crate) index: usize,
    /// Who won.
    pub(crate) user: String,
    /// When.
    pub(crate) drawn_at: Timestamp,
    /// Trace context of the draw.
    pub(crate) traceparent: Option<String>,
}

impl Facts {
    /// The prize as the draw's rules have it.
    pub(crate) fn prize(&self) -> &Prize {
        &self.rules.prizes[self.index]
    }
}

/// The facts of an award's draw.
pub(crate) fn facts(conn: &Connection, shared: &Shared, award: AwardId) -> StoreResult<Facts> {
    let found = conn
        .prepare_cached(
            "SELECT campaign_id, version, prize_id, user, drawn_at, traceparent FROM draw WHERE id = ?1",
        )
        .and_then(|mut it| {
            it.query_row([award.draw().0], |row| {
                let prize: (i64, i32, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok((prize, row.get(3)?, row.get(4)?, row.get(5)?))
            })
            .optional()
        })
        .or_store()?;
    let Some(((campaign_id, version, Some(prize_id)), user, drawn_at, traceparent)) = found else {
        return Err(inconsistent(format!("award {award} has no draw that won")));
    };
    let rules = shared.rules.rules(conn, campaign_id, version)?;
    let places = shared.rules.places(conn, campaign_id, version, &rules)?;
    let index = places
        .index_of(prize_id)
        .ok_or_else(|| inconsistent(format!("the prize of award {award} is not in its rules")))?;
    Ok(Facts {
        rules,
        index,
        user,
        drawn_at: Timestamp(drawn_at),
        traceparent,
    })
}

/// What the table makes of `event`, with the terms of prize and endpoint where it
/// asks for them.
pub(crate) fn ask(
    conn: &Connection,
    shared: &Shared,
    row: &Row,
    event: &Event,
    now: Timestamp,
) -> StoreResult<Step> {
    let terms = if needs_terms(event) {
        terms(conn, shared, row)?
    } else {
        Terms::default()
    };
    let context = Context {
        now,
        schedule: &shared.schedule,
        terms: &terms,
    };
    Ok((shared.step)(row, event, context))
}

/// The terms of many awards, read together where each statement is a trip.
#[derive(Default)]
pub(crate) struct Known(HashMap<AwardId, Terms>);

impl Known {
    pub(crate) fn load(conn: &Connection, shared: &Shared, rows: &[Stored]) -> StoreResult<Self> {
        let terms = if conn.is_far() {
            terms_far(conn, shared, rows)?
        } else {
            let terms = |it: &Stored| Ok((it.row.award, terms(conn, shared, &it.row)?));
            rows.iter().map(terms).collect::<StoreResult<_>>()?
        };
        Ok(Self(terms))
    }

    /// Whether the award's endpoint honours the delivery key.
    pub(crate) fn is_idempotent(&self, award: AwardId) -> bool {
        self.0.get(&award).is_some_and(|it| it.is_idempotent)
    }

    /// The same as [`ask`].
    pub(crate) fn ask(
        &self,
        shared: &Shared,
        row: &Row,
        event: &Event,
        now: Timestamp,
    ) -> StoreResult<Step> {
        let none = Terms::default();
        let missing = || inconsistent(format!("award {} has no draw that won", row.award));
        let terms = if needs_terms(event) {
            self.0.get(&row.award).ok_or_else(missing)?
        } else {
            &none
        };
        let context = Context {
            now,
            schedule: &shared.schedule,
            terms,
        };
        Ok((shared.step)(row, event, context))
    }
}

fn terms_far(
    conn: &Connection,
    shared: &Shared,
    rows: &[Stored],
) -> StoreResult<HashMap<AwardId, Terms>> {
    let ids: Vec<i64> = rows.iter().map(|it| it.row.award.draw().0).collect();
    let versions: HashMap<i64, (i64, i32)> = conn
        .prepare_cached("SELECT id, campaign_id, version FROM draw WHERE id = ANY (?1)")
        .and_then(|mut it| {
            it.query_map([Array(&ids)], |row| {
                Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
            })?
            .collect()
        })
        .or_store()?;
    let mut lanes = HashMap::new();
    let mut terms = HashMap::with_capacity(rows.len());
    for it in rows {
        let (award, lane) = (it.row.award, it.row.lane);
        let version = versions.get(&award.draw().0);
        let (campaign, version) =
            *version.ok_or_else(|| inconsistent(format!("award {award} has no draw that won")))?;
        let rules = shared.rules.rules(conn, campaign, version)?;
        let places = shared.rules.places(conn, campaign, version, &rules)?;
        let index = places.index_of(it.prize_id).ok_or_else(|| {
            inconsistent(format!("the prize of award {award} is not in its rules"))
        })?;
        let is_idempotent = it.row.is_outside()
            && match lanes.entry(lane) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(is_idempotent(conn, lane)?),
            };
        terms.insert(award, Terms::of(&rules.prizes[index], is_idempotent));
    }
    Ok(terms)
}

/// Whether the table's answer depends on the terms. The others are the hot path,
/// spared two reads each.
const fn needs_terms(event: &Event) -> bool {
    match event {
        Event::Rescue { .. } | Event::Requeue { .. } | Event::Cancel { .. } => true,
        Event::Decide { decision, .. } => matches!(decision, Decision::Unknown | Decision::Hold(_)),
        Event::Mark { .. }
        | Event::Copy { .. }
        | Event::Fail { .. }
        | Event::GiveBack { .. }
        | Event::End { .. }
        | Event::Hold
        | Event::Ship
        | Event::Confirm => false,
    }
}

/// What prize and endpoint say of an award.
pub(crate) fn terms(conn: &Connection, shared: &Shared, row: &Row) -> StoreResult<Terms> {
    let facts = facts(conn, shared, row.award)?;
    let is_idempotent = row.is_outside() && is_idempotent(conn, row.lane)?;
    Ok(Terms::of(facts.prize(), is_idempotent))
}

/// Whether the endpoint honours the delivery key; `false`, which repeats nothing,
/// if it is not there.
fn is_idempotent(conn: &Connection, lane: i64) -> StoreResult<bool> {
    let found: Option<bool> = conn
        .prepare_cached(conn.either(
            "SELECT COALESCE(spec ->> '$.idempotent', 0) FROM endpoint WHERE lane = ?1",
            "SELECT COALESCE((spec::json ->> 'idempotent')::boolean, false) FROM endpoint WHERE lane = ?1",
        ))
        .and_then(|mut it| it.query_row([lane], |row| row.get(0)).optional())
        .or_store()?;
    Ok(found.unwrap_or(false))
}

/// What is paused now.
pub(crate) struct Pauses(Vec<PauseScope>);

impl Pauses {
    /// Reads them; none, most of the time.
    pub(crate) fn load(conn: &Connection) -> StoreResult<Self> {
        let mut statement = conn
            .prepare_cached("SELECT campaign, prize, endpoint FROM pause")
            .or_store()?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let rows = statement
            .query_map([], |row| {
                Ok(PauseScope {
                    campaign: some(row.get(0)?),
                    prize: some(row.get(1)?),
                    endpoint: some(row.get(2)?),
                })
            })
            .or_store()?;
        Ok(Self(rows.collect::<Result<_, _>>().or_store()?))
    }

    /// Whether the delivery of that award is paused.
    pub(crate) fn cover(
        &self,
        conn: &Connection,
        shared: &Shared,
        stored: &Stored,
    ) -> StoreResult<bool> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let facts = facts(conn, shared, stored.row.award)?;
        let endpoint = endpoint_name(conn, stored.row.lane)?;
        let fits = |scope: &Option<String>, name: Option<&str>| {
            scope.as_deref().is_none_or(|scope| name == Some(scope))
        };
        Ok(self.0.iter().any(|scope| {
            fits(&scope.campaign, Some(&facts.rules.slug))
                && fits(&scope.prize, Some(&facts.prize().slug))
                && fits(&scope.endpoint, endpoint.as_deref())
        }))
    }
}

fn endpoint_name(conn: &Connection, lane: i64) -> StoreResult<Option<String>> {
    if lane == 0 {
        return Ok(None);
    }
    conn.prepare_cached("SELECT name FROM endpoint WHERE lane = ?1")
        .and_then(|mut it| it.query_row([lane], |row| row.get(0)).optional())
        .or_store()
}

/// Whether what a hold of that reason waits for has come. The others end by a
/// person's word or by their date.
pub(crate) fn has_hold_ended(
    conn: &Connection,
    shared: &Shared,
    stored: &Stored,
    reason: HoldReason,
) -> StoreResult<bool> {
    match reason {
        HoldReason::Address => has_address(conn, stored.row.award),
        HoldReason::NoCode => has_free_code(conn, stored.prize_id),
        HoldReason::EndpointDisabled => is_enabled(conn, stored.row.lane),
        HoldReason::Paused => Ok(!Pauses::load(conn)?.cover(conn, shared, stored)?),
        HoldReason::Manual
        | HoldReason::Scheduled
        | HoldReason::Shipment
        | HoldReason::External => Ok(false),
    }
}

/// Whether the winner gave an address.
pub(crate) fn has_address(conn: &Connection, award: AwardId) -> StoreResult<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM address WHERE award_id = ?1)")
        .and_then(|mut it| it.query_row([award.0], |row| row.get(0)))
        .or_store()
}

fn has_free_code(conn: &Connection, prize_id: i64) -> StoreResult<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (
           SELECT 1 FROM code_import AS i INDEXED BY code_import_prize
           CROSS JOIN code AS c INDEXED BY code_free ON c.import_id = i.id
           WHERE i.prize_id = ?1 AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL)",
    )
    .and_then(|mut it| it.query_row([prize_id], |row| row.get(0)))
    .or_store()
}

fn is_enabled(conn: &Connection, lane: i64) -> StoreResult<bool> {
    let found: Option<bool> = conn
        .prepare_cached("SELECT enabled FROM endpoint WHERE lane = ?1")
        .and_then(|mut it| it.query_row([lane], |row| row.get(0)).optional())
        .or_store()?;
    Ok(found.unwrap_or(false))
}
