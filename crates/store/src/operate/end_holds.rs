//! Ending holds together: paused, no code, endpoint disabled. First it is looked
//! for what may have ended, beside the writer; then each row is asked again in the
//! transaction that changes it. What is missed in between stays held and is found
//! by the next look, or by rescue.

use crate::Shared;
use crate::facts::{Known, has_hold_ended};
use crate::read::column::{as_column, award_id};
use crate::rows::{self, Line, What, Write};
use crate::sql::{self, Connection, params};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use tombola_core::award::{Event, Step};
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::StoreResult;
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, Timestamp};

/// One step of awards whose hold may have ended, oldest first. Other reasons end
/// by a person's word on one award, or by their date.
pub(super) fn find(conn: &Connection, reason: HoldReason) -> sql::Result<Vec<AwardId>> {
    match reason {
        HoldReason::Paused => list(conn, NOT_PAUSED),
        HoldReason::EndpointDisabled => list(conn, ENDPOINT_ENABLED),
        HoldReason::NoCode => with_codes(conn),
        HoldReason::Manual
        | HoldReason::Scheduled
        | HoldReason::Address
        | HoldReason::Shipment
        | HoldReason::External => Ok(Vec::new()),
    }
}

const NOT_PAUSED: &str = "
  SELECT v.award_id FROM delivery v
  WHERE v.hold_reason = 'paused' AND NOT EXISTS (
    SELECT 1 FROM pause s
    JOIN prize p ON p.id = v.prize_id
    JOIN campaign c ON c.id = p.campaign_id
    LEFT JOIN endpoint e ON e.lane = v.lane
    WHERE s.campaign IN ('', c.slug) AND s.prize IN ('', p.slug) AND s.endpoint IN ('', coalesce(e.name, '')))
  ORDER BY v.award_id LIMIT ?1";

const ENDPOINT_ENABLED: &str = "
  SELECT v.award_id FROM delivery v
  WHERE v.hold_reason = 'endpoint_disabled' AND v.lane IN (SELECT lane FROM endpoint WHERE enabled)
  ORDER BY v.award_id LIMIT ?1";

fn list(conn: &Connection, sql: &str) -> sql::Result<Vec<AwardId>> {
    conn.prepare_cached(sql)?
        .query_map([as_column(STEP_ROWS_MAX as u64)], |row| award_id(row, 0))?
        .collect()
}

/// Of each prize as many as it has free codes that no award on its way will take:
/// more would only be held again.
fn with_codes(conn: &Connection) -> sql::Result<Vec<AwardId>> {
    let prizes: Vec<i64> = conn
        .prepare_cached("SELECT DISTINCT prize_id FROM delivery WHERE hold_reason = 'no_code' ORDER BY prize_id")?
        .query_map([], |row| row.get(0))?
        .collect::<sql::Result<_>>()?;
    let mut on_its_way = conn.prepare_cached(
        "SELECT count(*) FROM delivery
         WHERE due_at IS NOT NULL AND lane = 0 AND prize_id = ?1 AND state <> 'held'",
    )?;
    let mut free = conn.prepare_cached(
        "SELECT count(*) FROM (
           SELECT 1 FROM code_import i JOIN code c INDEXED BY code_free ON c.import_id = i.id
           WHERE i.prize_id = ?1 AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL LIMIT ?2) AS free",
    )?;
    let mut held = conn.prepare_cached(
        "SELECT award_id FROM delivery WHERE hold_reason = 'no_code' AND prize_id = ?1
         ORDER BY award_id LIMIT ?2",
    )?;
    let mut found = Vec::new();
    for prize in prizes {
        let room = as_column((STEP_ROWS_MAX - found.len()) as u64);
        let taken: i64 = on_its_way.query_row([prize], |row| row.get(0))?;
        let codes: i64 = free.query_row([prize, taken + room], |row| row.get(0))?;
        for award in held.query_map(params![prize, (codes - taken).max(0)], |row| {
            award_id(row, 0)
        })? {
            found.push(award?);
        }
    }
    Ok(found)
}

/// Ends those of the found holds that still stand and have ended; gives how many.
pub(super) fn end(
    conn: &Connection,
    shared: &Shared,
    found: &[AwardId],
    reason: HoldReason,
    now: Timestamp,
) -> StoreResult<u64> {
    let rows = rows::load_all(conn, found)?;
    let known = Known::default();
    let mut has_ended = HashMap::new();
    let mut changes = Vec::new();
    for stored in rows.iter().filter(|it| it.row.hold_reason == Some(reason)) {
        // All of one prize in one lane wait for the same.
        let has_ended = match has_ended.entry((stored.prize_id, stored.row.lane)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(has_hold_ended(conn, shared, stored, reason)?),
        };
        if !has_ended {
            continue;
        }
        if let Step::Changed(change) =
            known.ask(shared, &stored.row, &Event::End { reason }, now)?
        {
            changes.push((stored, change));
        }
    }
    let writes: Vec<Write<'_>> = changes
        .iter()
        .map(|(before, change)| Write {
            before,
            change,
            now,
            by: "store",
            line: Some(
                Line::new(What::Operator, before.row.lease, "release").with(Some(reason.name())),
            ),
        })
        .collect();
    rows::apply_all(conn, &writes)?;
    Ok(writes.len() as u64)
}
