//! Writes that follow a hand-off or a claim: marks, records, claims given back. Each
//! carries the lease it was given; one that comes late leaves a line in the award's
//! log and nothing else.

use super::super::error::inconsistent;
use super::super::session::Session;
use super::Shared;
use super::apart::{self, Method};
use super::columns::Stored;
use super::facts::{Known, Need};
use super::hand::{Hand, Turn, lock, lock_with_pauses, needs_terms_of};
use super::lines::{Line, What};
use tombola_core::award::{Event, Mark, MqState, Row, State, Step};
use tombola_core::decision::Decision;
use tombola_core::ports::{MarkOf, Record, Recorded, StoreError, StoreResult, Written};
use tombola_core::{AwardId, Timestamp};

/// Who a unit of stock goes back by, in the log, where no person is asked.
const WORKER: &str = "worker";

/// Writes what the broker said.
pub(in crate::postgres) async fn mark_published(
    session: &mut Session,
    shared: &Shared,
    marks: &[MarkOf],
    now: Timestamp,
) -> StoreResult<Vec<Written>> {
    let awards = marks.iter().map(|mark| mark.award).collect();
    with_rows(session, shared, &Marks, awards, (marks, now)).await
}

/// Gives claims back whose call can no longer begin.
pub(in crate::postgres) async fn give_back(
    session: &mut Session,
    shared: &Shared,
    claims: &[(AwardId, i64)],
    now: Timestamp,
) -> StoreResult<Vec<Written>> {
    let awards = claims.iter().map(|(award, _)| *award).collect();
    with_rows(session, shared, &GiveBack, awards, (claims, now)).await
}

/// Records what came of outside calls.
pub(in crate::postgres) async fn record(
    session: &mut Session,
    shared: &Shared,
    records: &[Record],
    now: Timestamp,
) -> StoreResult<Vec<Recorded>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let work = session.begin();
    let awards = records.iter().map(|record| record.award);
    let (locked, pauses) = lock_with_pauses(&work, awards).await?;
    let mut need = Need::default();
    for record in records {
        let Some(stored) = locked.rows.get(&record.award) else {
            continue;
        };
        if needs_terms_of(&record.decision) {
            need.terms(stored);
        }
        if let Decision::Hold(reason) = record.decision {
            need.end_of(stored, reason);
        }
    }
    let mut hand = Hand::new(shared, now, locked);
    hand.known = Known::load(&work, shared, need, pauses).await?;
    let recorded = apart::each(&work, &mut hand, &Records, records).await?;
    work.end(hand.has_written).await?;
    Ok(recorded)
}

/// Methods that ask for nothing but their rows.
async fn with_rows<M: Method>(
    session: &mut Session,
    shared: &Shared,
    method: &M,
    awards: Vec<AwardId>,
    (members, now): (&[M::Member], Timestamp),
) -> StoreResult<Vec<M::Answer>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let work = session.begin();
    let locked = lock(&work, awards.into_iter()).await?;
    let mut hand = Hand::new(shared, now, locked);
    let answers = apart::each(&work, &mut hand, method, members).await?;
    work.end(hand.has_written).await?;
    Ok(answers)
}

/// Asks the table; gives the row as it stands after it.
fn write(
    turn: &mut Turn<'_>,
    (before, row): (&Stored, Row),
    event: &Event,
    line: Option<Line>,
) -> StoreResult<(Written, Row)> {
    match turn.hand.ask(before, &row, event)? {
        Step::Changed(change) => {
            turn.write(before, &change, WORKER, line);
            Ok((Written::Applied, change.row))
        }
        Step::Late | Step::Same | Step::Refused(_) => {
            if let Some(line) = line {
                turn.staged.lines.push(&row, line.late());
            }
            Ok((Written::Late, row))
        }
    }
}

/// The row keeps its date, and rescue comes to it.
fn unwritten(award: AwardId, error: &StoreError) -> Written {
    tracing::error!(award.id = %award, %error, "an award's row cannot be written");
    Written::Late
}

struct Marks;

impl Method for Marks {
    type Member = MarkOf;
    type Answer = Written;

    fn one(&self, turn: &mut Turn<'_>, mark: &MarkOf) -> StoreResult<Written> {
        let Some((before, row)) = turn.load(mark.award)? else {
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
        let line = is_worth_telling(mark, &row).then_some(line);
        write(turn, (before, row), &event, line).map(|(written, _)| written)
    }

    fn failed(&self, _: &mut Turn<'_>, mark: &MarkOf, error: &StoreError) -> StoreResult<Written> {
        Ok(unwritten(mark.award, error))
    }

    fn unwritten(&self, _: &Hand<'_>, mark: &MarkOf, error: &StoreError) -> StoreResult<Written> {
        Ok(unwritten(mark.award, error))
    }
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

struct GiveBack;

impl Method for GiveBack {
    type Member = (AwardId, i64);
    type Answer = Written;

    fn one(&self, turn: &mut Turn<'_>, (award, lease): &(AwardId, i64)) -> StoreResult<Written> {
        let Some((before, row)) = turn.load(*award)? else {
            return Ok(Written::Late);
        };
        let event = Event::GiveBack { lease: *lease };
        let line = Line::new(What::Deliver, *lease, "give_back");
        write(turn, (before, row), &event, Some(line)).map(|(written, _)| written)
    }

    fn failed(
        &self,
        _: &mut Turn<'_>,
        claim: &(AwardId, i64),
        error: &StoreError,
    ) -> StoreResult<Written> {
        Ok(unwritten(claim.0, error))
    }

    fn unwritten(
        &self,
        _: &Hand<'_>,
        claim: &(AwardId, i64),
        error: &StoreError,
    ) -> StoreResult<Written> {
        Ok(unwritten(claim.0, error))
    }
}

struct Records;

fn missing(award: AwardId) -> StoreError {
    inconsistent(format!("a record of award {award}, which is not there"))
}

impl Method for Records {
    type Member = Record;
    type Answer = Recorded;

    fn one(&self, turn: &mut Turn<'_>, record: &Record) -> StoreResult<Recorded> {
        let loaded = turn.load(record.award)?;
        let (before, row) = loaded.ok_or_else(|| missing(record.award))?;
        let has_hold_ended = match record.decision {
            Decision::Hold(reason) => turn.hand.known.has_hold_ended(before, reason)?,
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
        let (written, row) = write(turn, (before, row), &event, Some(line))?;
        Ok(Recorded { written, row })
    }

    /// Not written: the lease ends, and rescue decides by the kind.
    fn failed(
        &self,
        turn: &mut Turn<'_>,
        record: &Record,
        error: &StoreError,
    ) -> StoreResult<Recorded> {
        let loaded = turn.load(record.award)?;
        let (_, row) = loaded.ok_or_else(|| missing(record.award))?;
        let written = unwritten(record.award, error);
        Ok(Recorded { written, row })
    }

    fn unwritten(
        &self,
        hand: &Hand<'_>,
        record: &Record,
        error: &StoreError,
    ) -> StoreResult<Recorded> {
        let stored = hand.locked.get(record.award)?;
        let row = stored.ok_or_else(|| missing(record.award))?.row.clone();
        let written = unwritten(record.award, error);
        Ok(Recorded { written, row })
    }
}

/// What a decision leaves in the award's log: receipt, error or the reason of a hold.
fn detail<'a>(decision: &'a Decision, error: Option<&'a str>) -> Option<&'a str> {
    match decision {
        Decision::Delivered { receipt } => receipt.as_deref().or(error),
        Decision::Hold(reason) => error.or(Some(reason.name())),
        Decision::Retry { .. } | Decision::Refuse | Decision::Unknown | Decision::Defer => error,
    }
}
