//! Writes that follow a hand-off or a claim: marks, records, claims given back.
//! Each carries the lease it was given; one that comes late leaves a line in the
//! award's log and nothing else.

use super::copies::detail;
use super::{Path, each};
use crate::facts::{ask, has_hold_ended};
use crate::rows::{self, Line, Stored, What, Write};
use crate::sql::inconsistent;
use tombola_core::award::{Event, Mark, MqState, Row, State, Step};
use tombola_core::decision::Decision;
use tombola_core::ports::{MarkOf, Record, Recorded, StoreError, StoreResult, Written};
use tombola_core::{AwardId, Timestamp};

/// Writes what the broker said.
pub(super) fn mark(path: Path<'_>, marks: &[MarkOf], now: Timestamp) -> StoreResult<Vec<Written>> {
    let one = |mark: &MarkOf| {
        let Some(before) = rows::load(path.conn, mark.award)? else {
            return Ok(Written::Late);
        };
        let event = Event::Mark {
            lease: mark.lease,
            mark: mark.mark,
        };
        let (decision, place) = match mark.mark {
            Mark::Taken(at) => (
                "taken",
                Some(format!("partition {} offset {}", at.partition, at.offset)),
            ),
            Mark::Failed => ("failed", None),
            Mark::Refused => ("refused", None),
        };
        let line = Line::new(What::Publish, mark.lease, decision)
            .with(mark.error.as_deref().or(place.as_deref()));
        let line = is_worth_telling(mark, &before.row).then_some(line);
        write(path, &before, &event, line, now).map(|(written, _)| written)
    };
    each(path, marks, one, |mark, error| {
        Ok(unwritten(mark.award, error))
    })
}

/// A publish that went well is told by the row itself, which has its position: by its own
/// mark, or by the copy that a worker took before the mark came. Of the one that went well
/// after another one a line is kept.
fn is_worth_telling(mark: &MarkOf, before: &Row) -> bool {
    let Mark::Taken(at) = mark.mark else {
        return true;
    };
    let is_in_time = (before.lease, before.state) == (mark.lease, State::Pending);
    let will_be_told = is_in_time || before.mq_state == MqState::Sent;
    !(will_be_told && before.position.is_none_or(|it| it == at))
}

/// Records what came of outside calls.
pub(super) fn record(
    path: Path<'_>,
    records: &[Record],
    now: Timestamp,
) -> StoreResult<Vec<Recorded>> {
    let load = |award| {
        rows::load(path.conn, award)?
            .ok_or_else(|| inconsistent(format!("a record of award {award}, which is not there")))
    };
    let one = |record: &Record| {
        let before = load(record.award)?;
        let has_hold_ended = match record.decision {
            Decision::Hold(reason) => has_hold_ended(path.conn, path.shared, &before, reason)?,
            Decision::Delivered { .. }
            | Decision::Retry { .. }
            | Decision::Refuse
            | Decision::Unknown
            | Decision::Defer => false,
        };
        let event = Event::Decide {
            lease: record.lease,
            decision: record.decision.clone(),
            lane_at: record.lane_at,
            has_hold_ended,
            jitter: record.jitter,
        };
        let line = Line::new(What::Deliver, record.lease, record.decision.name().name())
            .with(detail(&record.decision, record.error.as_deref()));
        let (written, row) = write(path, &before, &event, Some(line), now)?;
        Ok(Recorded { written, row })
    };
    // Not written: the lease ends, and rescue decides by the kind.
    each(path, records, one, |record, error| {
        Ok(Recorded {
            written: unwritten(record.award, error),
            row: load(record.award)?.row,
        })
    })
}

/// Gives claims back whose call can no longer begin.
pub(super) fn give_back(
    path: Path<'_>,
    claims: &[(AwardId, i64)],
    now: Timestamp,
) -> StoreResult<Vec<Written>> {
    let one = |(award, lease): &(AwardId, i64)| {
        let Some(before) = rows::load(path.conn, *award)? else {
            return Ok(Written::Late);
        };
        let event = Event::GiveBack { lease: *lease };
        let line = Line::new(What::Deliver, *lease, "give_back");
        write(path, &before, &event, Some(line), now).map(|(written, _)| written)
    };
    each(path, claims, one, |(award, _), error| {
        Ok(unwritten(*award, error))
    })
}

/// Asks the table and writes; gives the row as it stands after it.
fn write(
    path: Path<'_>,
    before: &Stored,
    event: &Event,
    line: Option<Line<'_>>,
    now: Timestamp,
) -> StoreResult<(Written, Row)> {
    match ask(path.conn, path.shared, &before.row, event, now)? {
        Step::Changed(change) => {
            let by = "worker";
            let written = rows::apply(
                path.conn,
                Write {
                    before,
                    change: &change,
                    now,
                    by,
                    line,
                },
            )?;
            Ok((written, change.row))
        }
        Step::Late | Step::Same | Step::Refused(_) => {
            if let Some(line) = line {
                line.late().write(path.conn, &before.row, now)?;
            }
            Ok((Written::Late, before.row.clone()))
        }
    }
}

/// The row keeps its date, and rescue comes to it.
fn unwritten(award: AwardId, error: &StoreError) -> Written {
    tracing::error!(award.id = %award, %error, "an award's row cannot be written");
    Written::Late
}
