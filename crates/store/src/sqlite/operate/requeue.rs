//! Requeueing dead letters in bulk, by filter. A step sees a bounded number of
//! dead letters, whether or not they fit; the next goes on behind the last one
//! seen, so what dies again meanwhile is not requeued twice by one operation.

use crate::read::column::{as_column, award_id};
use crate::sqlite::Shared;
use crate::sqlite::catalog::log;
use crate::sqlite::error::OrStoreError as _;
use crate::sqlite::facts::ask;
use crate::sqlite::rows::{self, Line, What, Write};
use rusqlite::{Connection, params};
use tombola_core::award::{Event, Refusal, Step};
use tombola_core::campaign::Kind;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{Actor, DeadFilter, RequeueStep, Requeued, StoreResult, Written};
use tombola_core::reason::DeadReason;
use tombola_core::{AwardId, Timestamp};

/// One step.
pub(super) fn requeue(
    conn: &Connection,
    shared: &Shared,
    step: &RequeueStep,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<Requeued> {
    let seen = see(conn, &step.filter, step.after).or_store()?;
    let mut done = Requeued::default();
    let fitting: Vec<AwardId> = seen
        .iter()
        .filter(|(_, fits)| *fits)
        .map(|(award, _)| *award)
        .collect();
    for (index, award) in fitting.iter().enumerate() {
        let due_at = spread(now, step.until, index, fitting.len());
        let event = Event::Requeue {
            not_delivered: step.not_delivered,
            due_at,
        };
        match put_back(conn, shared, *award, &event, by, now)? {
            PutBack::Requeued => done.requeued += 1,
            PutBack::InDoubt => done.in_doubt += 1,
            PutBack::Not => {}
        }
    }
    done.next = seen
        .last()
        .filter(|_| seen.len() == STEP_ROWS_MAX)
        .map(|(award, _)| *award);
    Ok(done)
}

/// The next dead letters and whether they fit the filter.
fn see(
    conn: &Connection,
    filter: &DeadFilter,
    after: Option<AwardId>,
) -> rusqlite::Result<Vec<(AwardId, bool)>> {
    conn.prepare_cached(
        "SELECT v.award_id,
           (?2 IS NULL OR c.slug = ?2) AND (?3 IS NULL OR v.kind = ?3)
           AND (?4 IS NULL OR v.dead_reason = ?4) AND (?5 IS NULL OR d.drawn_at >= ?5)
         FROM delivery v JOIN draw d ON d.id = v.award_id JOIN campaign c ON c.id = d.campaign_id
         WHERE v.state = 'dead' AND v.award_id > ?1 ORDER BY v.award_id LIMIT ?6",
    )?
    .query_map(
        params![
            after.map_or(0, |award| award.0),
            filter.campaign,
            filter.kind.map(Kind::name),
            filter.reason.map(DeadReason::name),
            filter.since.map(|since| since.0),
            as_column(STEP_ROWS_MAX as u64),
        ],
        |row| Ok((award_id(row, 0)?, row.get(1)?)),
    )?
    .collect()
}

/// The instant of the `index`th of `count`, spread evenly from `now` to `until`.
fn spread(now: Timestamp, until: Timestamp, index: usize, count: usize) -> Timestamp {
    let share = until.since(now).as_micros() * index as u128 / count.max(1) as u128;
    Timestamp(
        now.0
            .saturating_add(i64::try_from(share).unwrap_or(i64::MAX)),
    )
}

enum PutBack {
    Requeued,
    InDoubt,
    Not,
}

fn put_back(
    conn: &Connection,
    shared: &Shared,
    award: AwardId,
    event: &Event,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<PutBack> {
    let Some(stored) = rows::load(conn, award)? else {
        return Ok(PutBack::Not);
    };
    match ask(conn, shared, &stored.row, event, now)? {
        Step::Changed(change) => {
            let line =
                Line::new(What::Operator, stored.row.lease, "requeue").with(by.reason.as_deref());
            let write = Write {
                before: &stored,
                change: &change,
                now,
                by: &by.name,
                line: Some(line),
            };
            if rows::apply(conn, write)? == Written::Late {
                return Ok(PutBack::Not);
            }
            let subject = format!("award {award}");
            let line = log::Line {
                action: "dead-letter requeue",
                subject: &subject,
                award: Some(award),
                units: None,
            };
            log::write(conn, by, now, line).or_store()?;
            Ok(PutBack::Requeued)
        }
        Step::Refused(Refusal::OutcomeUnknown) => Ok(PutBack::InDoubt),
        Step::Refused(Refusal::Delivering { .. } | Refusal::WrongState { .. })
        | Step::Late
        | Step::Same => Ok(PutBack::Not),
    }
}
