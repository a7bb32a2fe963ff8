//! Rescue: one bounded step through a lane's overdue rows, in the order of their
//! dates. Rows that only wait are passed by and not written, so the page's cursor
//! moves past them.

use super::copies::count_failure;
use super::{Path, each, is_own};
use crate::facts::{ask, facts, has_hold_ended};
use crate::rows::{self, Line, Stored, What, Write, columns};
use crate::sql::OrStoreError as _;
use crate::sql::{Connection, OptionalExtension as _, params};
use crate::sqlite::alone;
use std::sync::Arc;
use tombola_core::award::{Change, Event, MqState, Sight, State, Step};
use tombola_core::message::Message;
use tombola_core::ports::{
    DueCursor, DueLanes, DuePage, DueQuery, Handoff, StoreError, StoreResult,
};
use tombola_core::reason::DeadReason;
use tombola_core::{AwardId, Timestamp};

/// One step of rescue in one lane.
pub(super) fn claim_due(path: Path<'_>, query: &DueQuery) -> StoreResult<DuePage> {
    let found = read_page(path, query)?;
    let mut page = DuePage {
        seen: found.len(),
        ..DuePage::default()
    };
    if found.len() >= query.limit {
        page.next = found.last().map(|(cursor, _)| *cursor);
    }
    let rows: Vec<Stored> = found
        .into_iter()
        .filter_map(|(cursor, row)| readable(cursor, row))
        .collect();
    let rescued = each(
        path,
        &rows,
        |before| rescue(path, query, before),
        |before, error| failed(path, query, before, error),
    )?;
    let mut handoffs = Vec::new();
    for (before, done) in rows.iter().zip(rescued) {
        let Some((change, handoff)) = done else {
            continue;
        };
        page.rescued.push((before.row.award, before.row.state));
        if change.row.state.is_final() {
            page.ended.push((before.row.award, change.row.state));
        }
        if let (true, Some(reason)) = (change.alert, change.row.hold_reason) {
            page.alerts.push((before.row.award, reason));
        }
        handoffs.extend(handoff.map(|handoff| (before.row.mq_state == MqState::Sent, handoff)));
    }
    handoffs.sort_by_key(|(was_sent, _)| *was_sent);
    page.handoffs = handoffs.into_iter().map(|(_, handoff)| handoff).collect();
    Ok(page)
}

fn read_page(
    path: Path<'_>,
    query: &DueQuery,
) -> StoreResult<Vec<(DueCursor, StoreResult<Stored>)>> {
    let after = query.after.unwrap_or(DueCursor {
        due_at: Timestamp(i64::MIN),
        award: AwardId(0),
    });
    let mut statement = path
        .conn
        .prepare_cached(concat!(
            "SELECT ", columns!(), " FROM delivery INDEXED BY delivery_due
             WHERE lane = ?1 AND due_at IS NOT NULL AND due_at <= ?2 AND (due_at, award_id) > (?3, ?4)
             ORDER BY due_at, award_id LIMIT ?5"
        ))
        .or_store()?;
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(
            params![
                query.lane,
                query.now.0,
                after.due_at.0,
                after.award.0,
                limit
            ],
            |row| {
                let cursor = DueCursor {
                    due_at: Timestamp(row.get(5)?),
                    award: AwardId(row.get(0)?),
                };
                Ok((cursor, Stored::read(row)))
            },
        )
        .or_store()?;
    rows.collect::<Result<_, _>>().or_store()
}

/// A row that cannot be read must not stop those behind it.
fn readable(cursor: DueCursor, row: StoreResult<Stored>) -> Option<Stored> {
    row.inspect_err(|error| {
        tracing::error!(award.id = %cursor.award, %error, "a delivery row cannot be read");
    })
    .ok()
}

/// A row that changed, and its message if it is to be published.
type Rescued = Option<(Box<Change>, Option<Handoff>)>;

fn rescue(path: Path<'_>, query: &DueQuery, before: &Stored) -> StoreResult<Rescued> {
    if query.only_waits(&before.row, path.shared.step, &path.shared.schedule) {
        return Ok(None);
    }
    let event = Event::Rescue {
        sight: sight(path, query, before)?,
    };
    let Step::Changed(change) = ask(path.conn, path.shared, &before.row, &event, query.now)? else {
        return Ok(None);
    };
    let decision = decision_name(&change);
    let line = Line::new(What::Rescue, before.row.lease, decision)
        .with(change.row.dead_reason.map(DeadReason::name));
    // A retry whose time has come is the normal way; its publish is told by its mark.
    let line = (before.row.state != State::Retryable).then_some(line);
    let write = Write {
        before,
        change: &change,
        now: query.now,
        by: "rescue",
        line,
    };
    rows::apply(path.conn, write)?;
    let handoff = change
        .publish
        .then(|| handoff(path, query, before, &change))
        .transpose()?;
    Ok(Some((change, handoff)))
}

const fn decision_name(change: &Change) -> &'static str {
    if change.publish {
        "publish"
    } else if change.alert {
        "alert"
    } else {
        change.row.state.name()
    }
}

fn sight(path: Path<'_>, query: &DueQuery, before: &Stored) -> StoreResult<Sight> {
    let has_hold_ended = match before.row.hold_reason {
        Some(reason) => has_hold_ended(path.conn, path.shared, before, reason)?,
        None => false,
    };
    Ok(query.sight(&before.row, has_hold_ended))
}

/// The message again, from the draw's facts and the rules it was drawn by.
fn handoff(
    path: Path<'_>,
    query: &DueQuery,
    before: &Stored,
    change: &Change,
) -> StoreResult<Handoff> {
    let award = before.row.award;
    let facts = facts(path.conn, path.shared, award)?;
    let message = Message::new(
        &facts.rules,
        facts.prize(),
        award,
        &facts.user,
        &before.message_id,
        facts.drawn_at,
    );
    let traceparent = facts.traceparent.map(Arc::from);
    Ok(Handoff {
        award,
        lease: change.row.lease,
        message,
        traceparent,
        at: query.now,
    })
}

/// A row that fails alone is counted; one that cannot even be counted keeps its
/// date and is met again.
fn failed(
    path: Path<'_>,
    query: &DueQuery,
    before: &Stored,
    error: &StoreError,
) -> StoreResult<Rescued> {
    match alone(path.conn, |_| count_failure(path, before, error, query.now)) {
        Err(second) if is_own(&second) => {
            tracing::error!(award.id = %before.row.award, %error, %second, "an award's row cannot be written");
            Ok(None)
        }
        done => Ok(done?.map(|change| (change, None))),
    }
}

/// Lanes with overdue rows, and the next date to come. One seek of the index for
/// each lane that has anything unfinished.
pub(super) fn due_lanes(conn: &Connection, now: Timestamp) -> StoreResult<DueLanes> {
    let first_from = |lane: i64, from: i64| {
        conn.prepare_cached(
            "SELECT due_at FROM delivery INDEXED BY delivery_due
             WHERE lane = ?1 AND due_at IS NOT NULL AND due_at >= ?2 ORDER BY due_at LIMIT 1",
        )
        .and_then(|mut it| {
            it.query_row([lane, from], |row| row.get::<_, i64>(0))
                .optional()
        })
        .or_store()
    };
    let mut lanes = DueLanes::default();
    let mut after = i64::MIN;
    while let Some(lane) = next_lane(conn, after)? {
        if first_from(lane, i64::MIN)?.is_some_and(|due_at| due_at <= now.0) {
            lanes.due.push(lane);
        }
        let to_come = first_from(lane, now.0.saturating_add(1))?.map(Timestamp);
        lanes.next = lanes.next.into_iter().chain(to_come).min();
        after = lane;
    }
    Ok(lanes)
}

fn next_lane(conn: &Connection, after: i64) -> StoreResult<Option<i64>> {
    conn.prepare_cached(
        "SELECT lane FROM delivery INDEXED BY delivery_due
         WHERE due_at IS NOT NULL AND lane > ?1 ORDER BY lane LIMIT 1",
    )
    .and_then(|mut it| it.query_row([after], |row| row.get(0)).optional())
    .or_store()
}
