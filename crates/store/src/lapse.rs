//! A database that lacks some time, in which awards went on elsewhere: it was restored from
//! a backup, or a transfer was undone.
//!
//! # What may have happened in that time
//! - Ids were given out. They are never given again: ids go on far above.
//! - Awards that are unfinished here were delivered. So deliveries are
//!   paused, all of them, until an operator says so. At endpoints that honour the
//!   delivery key nothing happens twice even then. At the others a call may have been
//!   made: the table is asked as if a worker had claimed each such award and was lost,
//!   and says `dead(unknown_outcome)`, which only an operator's word ends.
//! - Bulk actions were begun on what was known then. Those that are not over are
//!   cancelled, but erasures of users, which may not stop half-way.
//! - Winners gave addresses that are gone. They have time to give them again, before
//!   the prize is taken from them.
//!
//! Codes given in that time are free again here, and stock, allowances and keys are
//! as they were: nothing here can tell. Whoever brings such a database back is told.

use crate::Shared;
use crate::catalog::log;
use crate::facts::Known;
use crate::operate::bulk;
use crate::operate::pause::pause;
use crate::read::column::{count, word};
use crate::rows::{self, Line, Stored, What, Write, columns};
use crate::sql::{self, Connection, OrStoreError as _, inconsistent, params};
use std::collections::BTreeMap;
use tombola_core::Timestamp;
use tombola_core::award::{Change, Event, Gate, Position, Sight, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::ids;
use tombola_core::limits::{RESTORE_ADDRESS_TIME, STEP_ROWS_MAX};
use tombola_core::ports::{Actor, OperationState, PauseScope, StoreResult};
use tombola_core::reason::HoldReason;

/// What a database is like that lacks some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The first id that it will give out.
    pub ids_from: i64,
    /// Awards that are to be delivered yet, by kind; all of them wait.
    pub unfinished: BTreeMap<Kind, u64>,
    /// Dead letters now, because a call may have been made in that time.
    pub in_doubt: u64,
    /// Bulk actions that were not over, and were cancelled.
    pub operations_cancelled: u64,
}

/// Why a database lacks some time, as the log and the timelines of awards tell it.
pub(crate) struct Lapse {
    /// Of the operator log, and of each award that came into doubt.
    pub(crate) action: &'static str,
    /// Of the operator log.
    pub(crate) subject: String,
    /// Why an award is in doubt, in words.
    pub(crate) doubt: &'static str,
}

/// What was done first.
pub(crate) struct Begun {
    ids_from: i64,
    operations_cancelled: u64,
}

/// Of the unfinished rows of endpoints, in the order of their index, the last one that was looked
/// at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    lane: i64,
    due_at: i64,
    award: i64,
}

impl Place {
    /// Before the first one; lane 0 is of no endpoint.
    pub(crate) const BEGIN: Self = Self {
        lane: 0,
        due_at: i64::MAX,
        award: i64::MAX,
    };
}

/// What came of one page.
pub(crate) struct Page {
    /// Awards that are in doubt now.
    pub(crate) doubted: u64,
    /// Where the next page begins, if this one was full.
    pub(crate) next: Option<Place>,
}

impl Lapse {
    /// Makes of the database one that may be served, in the transaction that is open.
    pub(crate) fn bridge(
        &self,
        tx: &Connection,
        shared: &Shared,
        by: &Actor,
        now: Timestamp,
    ) -> StoreResult<Restored> {
        let begun = self.begin(tx, by, now)?;
        while Self::give_time(tx, now)? {}
        let (mut in_doubt, mut next) = (0, Some(Place::BEGIN));
        while let Some(place) = next {
            let page = self.doubt(tx, shared, place, now)?;
            (in_doubt, next) = (in_doubt + page.doubted, page.next);
        }
        Self::end(tx, &begun, in_doubt)
    }

    /// What is not of single awards. From here on nothing is delivered; where the rest does
    /// not come, this may be run again.
    pub(crate) fn begin(&self, tx: &Connection, by: &Actor, now: Timestamp) -> StoreResult<Begun> {
        let ids_from = leave_ids_out(tx, now)?;
        pause(tx, &PauseScope::default(), by, now).or_store()?;
        let line = log::Line {
            action: self.action,
            subject: &self.subject,
            ..log::Line::default()
        };
        log::write(tx, by, now, line).or_store()?;
        Ok(Begun {
            ids_from,
            operations_cancelled: cancel_operations(tx, by, now).or_store()?,
        })
    }

    /// Gives winners who owe an address time, so many at once; whether there may be more.
    pub(crate) fn give_time(tx: &Connection, now: Timestamp) -> StoreResult<bool> {
        let given = give_time_for_addresses(tx, now).or_store()?;
        Ok(given == STEP_ROWS_MAX)
    }

    /// A page of awards of endpoints that do not honour the delivery key, but those that a person
    /// holds: that person's word is needed in any case.
    pub(crate) fn doubt(
        &self,
        tx: &Connection,
        shared: &Shared,
        after: Place,
        now: Timestamp,
    ) -> StoreResult<Page> {
        let rows = page_of_endpoints(tx, after)?;
        let known = Known::load(tx, shared, &rows)?;
        let mut lost = Vec::new();
        for before in &rows {
            let row = &before.row;
            let is_held = row.hold_reason == Some(HoldReason::Manual);
            if !is_held && !known.is_idempotent(row.award) {
                lost.push((before, lost_in_hand(shared, &known, before, now)?));
            }
        }
        let writes = lost.iter().map(|(before, change)| Write {
            before,
            change,
            now,
            by: self.action,
            line: Some(
                Line::new(What::Operator, before.row.lease, self.action).with(Some(self.doubt)),
            ),
        });
        rows::apply_all(tx, &writes.collect::<Vec<_>>())?;
        let is_dead = |(_, change): &&(&Stored, Change)| change.row.state == State::Dead;
        let doubted = lost.iter().filter(is_dead).count() as u64;
        let last = rows.last().filter(|_| rows.len() == STEP_ROWS_MAX);
        let next = last.map(|it| Place {
            lane: it.row.lane,
            due_at: it.row.due_at.map_or(i64::MAX, |at| at.0),
            award: it.row.award.0,
        });
        Ok(Page { doubted, next })
    }

    /// What the database is like now.
    pub(crate) fn end(tx: &Connection, begun: &Begun, in_doubt: u64) -> StoreResult<Restored> {
        Ok(Restored {
            ids_from: begun.ids_from,
            unfinished: unfinished(tx).or_store()?,
            in_doubt,
            operations_cancelled: begun.operations_cancelled,
        })
    }
}

fn page_of_endpoints(conn: &Connection, after: Place) -> StoreResult<Vec<Stored>> {
    let rows: Vec<StoreResult<Stored>> = conn
        .prepare_cached(concat!(
            "SELECT ",
            columns!(),
            " FROM delivery WHERE due_at IS NOT NULL AND (lane, due_at, award_id) > (?1, ?2, ?3)
              ORDER BY lane, due_at, award_id LIMIT ?4"
        ))
        .and_then(|mut it| {
            let limit = i64::try_from(STEP_ROWS_MAX).unwrap_or(i64::MAX);
            let place = params![after.lane, after.due_at, after.award, limit];
            it.query_map(place, |row| Ok(Stored::read(row)))?.collect()
        })
        .or_store()?;
    rows.into_iter().collect()
}

fn leave_ids_out(conn: &Connection, now: Timestamp) -> StoreResult<i64> {
    let next: i64 = conn
        .query_row("SELECT next FROM id_block WHERE one = 1", [], |row| {
            row.get(0)
        })
        .or_store()?;
    let from = ids::after_restore(next, now)
        .ok_or_else(|| inconsistent("no ids below 2^53 are left for a restore"))?;
    conn.execute("UPDATE id_block SET next = ?1 WHERE one = 1", [from])
        .or_store()?;
    Ok(from)
}

/// What the table makes of an award that a worker claimed and never spoke of again.
fn lost_in_hand(
    shared: &Shared,
    known: &Known,
    before: &Stored,
    now: Timestamp,
) -> StoreResult<Change> {
    let mut row = before.row.clone();
    let later = |row: &tombola_core::award::Row| row.due_at.unwrap_or(now).max(now);
    let position = row.position.unwrap_or(Position {
        epoch: 0,
        partition: 0,
        offset: 0,
    });
    let mut events = Vec::new();
    events.extend(row.hold_reason.map(|reason| Event::End { reason }));
    if row.state != State::Delivering {
        let gate = Gate::Permit;
        events.push(Event::Copy { position, gate });
    }
    let sight = Sight::default();
    events.push(Event::Rescue { sight });
    for event in events {
        let at = later(&row);
        match known.ask(shared, &row, &event, at)? {
            Step::Changed(change) => row = change.row,
            Step::Late | Step::Same | Step::Refused(_) => {
                return Err(inconsistent(format!(
                    "award {}: the table says no to {event:?}",
                    row.award
                )));
            }
        }
    }
    // No copy was seen here: what people are told of the message stays.
    row.mq_state = before.row.mq_state;
    row.position = before.row.position;
    Ok(Change {
        row,
        publish: false,
        stock_back: false,
        alert: false,
    })
}

fn give_time_for_addresses(conn: &Connection, now: Timestamp) -> sql::Result<usize> {
    conn.execute(
        "UPDATE delivery SET due_at = ?2, lease = lease + 1 WHERE award_id IN (
           SELECT award_id FROM delivery WHERE hold_reason = ?1 AND due_at < ?2
           ORDER BY award_id LIMIT ?3)",
        params![
            HoldReason::Address.name(),
            now.plus(RESTORE_ADDRESS_TIME).0,
            i64::try_from(STEP_ROWS_MAX).unwrap_or(i64::MAX)
        ],
    )
}

fn unfinished(conn: &Connection) -> sql::Result<BTreeMap<Kind, u64>> {
    conn.prepare_cached(
        "SELECT kind, count(*) FROM delivery WHERE due_at IS NOT NULL GROUP BY kind",
    )?
    .query_map([], |row| Ok((word(row, 0, Kind::parse)?, count(row, 1)?)))?
    .collect()
}

fn cancel_operations(conn: &Connection, by: &Actor, now: Timestamp) -> sql::Result<u64> {
    let mut cancelled = 0;
    for id in bulk::running(conn)? {
        let it = bulk::cancel(conn, id, by, now)?;
        cancelled += u64::from(it.is_some_and(|it| it.state == OperationState::Cancelled));
    }
    Ok(cancelled)
}
