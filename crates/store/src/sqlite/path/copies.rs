//! Copies that a worker has in hand. Pauses are read first, in the same
//! transaction; the row decides whether a copy may be taken at all.

use super::super::alone;
use super::{Path, each, effect, is_own};
use crate::facts::{Pauses, ask};
use crate::rows::{self, Line, Stored, What, Write};
use crate::sql::inconsistent;
use tombola_core::Timestamp;
use tombola_core::award::{Change, Event, Gate, State, Step};
use tombola_core::decision::Decision;
use tombola_core::ports::{Claim, Copy, CopyAnswer, Deferral, StoreError, StoreResult, Written};
use tombola_core::reason::{HoldReason, KeptReason};
use tombola_core::retry::Jitter;

/// Who a unit of stock goes back by, in the log, where no person is asked.
const WORKER: &str = "worker";

/// Local kinds are claimed, delivered and recorded here, by one update of the row;
/// outside kinds are only named.
pub(super) fn deliver(
    path: Path<'_>,
    copies: &[Copy],
    now: Timestamp,
) -> StoreResult<Vec<CopyAnswer>> {
    let looks = Looks::new(path, now)?;
    each(
        path,
        copies,
        |copy| looks.deliver(copy),
        |copy, error| looks.failed(copy, error),
    )
}

/// Claims for outside calls; the permit is there.
pub(super) fn claim(
    path: Path<'_>,
    copies: &[Copy],
    now: Timestamp,
) -> StoreResult<Vec<CopyAnswer>> {
    let looks = Looks::new(path, now)?;
    each(
        path,
        copies,
        |copy| looks.claim(copy),
        |copy, error| looks.failed(copy, error),
    )
}

/// Sets copies aside whose lane has no permit.
pub(super) fn defer(
    path: Path<'_>,
    deferrals: &[Deferral],
    now: Timestamp,
) -> StoreResult<Vec<CopyAnswer>> {
    let looks = Looks::new(path, now)?;
    each(
        path,
        deferrals,
        |it| looks.defer(it),
        |it, error| looks.failed(&it.copy, error),
    )
}

/// A batch of copies: one instant, one reading of the pauses.
struct Looks<'a> {
    path: Path<'a>,
    now: Timestamp,
    pauses: Pauses,
}

impl<'a> Looks<'a> {
    fn new(path: Path<'a>, now: Timestamp) -> StoreResult<Self> {
        Ok(Self {
            path,
            now,
            pauses: Pauses::load(path.conn)?,
        })
    }

    fn deliver(&self, copy: &Copy) -> StoreResult<CopyAnswer> {
        let (before, claimed) = match self.look(copy, Gate::Permit)? {
            Looked::Answered(answer) => return Ok(answer),
            Looked::MayTake(before, claimed) => (before, claimed),
        };
        if before.row.is_outside() {
            return Ok(CopyAnswer::Outside {
                lane: before.row.lane,
            });
        }
        let decision = effect::deliver(self.path, &before, self.now)?;
        let event = Event::Decide {
            lease: claimed.row.lease,
            decision,
            lane_at: self.now,
            has_hold_ended: false, // `effect` has just looked
            jitter: Jitter::NONE,
        };
        let change = self.change(&claimed.row, &event)?;
        let Event::Decide { decision, .. } = event else {
            return Ok(CopyAnswer::Dropped);
        };
        let line = Line::new(What::Deliver, claimed.row.lease, decision.name().name());
        let line = line.with(change.row.hold_reason.map(HoldReason::name));
        self.write(&before, &change, Some(line))?;
        Ok(answer_of(&change))
    }

    fn claim(&self, copy: &Copy) -> StoreResult<CopyAnswer> {
        let (before, claimed) = match self.look(copy, Gate::Permit)? {
            Looked::Answered(answer) => return Ok(answer),
            Looked::MayTake(before, claimed) => (before, claimed),
        };
        self.write(&before, &claimed, None)?;
        let Change { row, .. } = *claimed;
        Ok(CopyAnswer::Claimed(Box::new(Claim {
            award: row.award,
            lease: row.lease,
            lane: row.lane,
            attempts: row.attempts,
            delivery_key: before.delivery_key,
            lease_ends: row
                .due_at
                .ok_or_else(|| inconsistent("a claim without an end"))?,
        })))
    }

    fn defer(&self, deferral: &Deferral) -> StoreResult<CopyAnswer> {
        match self.look(
            &deferral.copy,
            Gate::NoPermit {
                until: deferral.until,
            },
        )? {
            Looked::Answered(answer) => Ok(answer),
            Looked::MayTake(before, deferred) => {
                self.write(&before, &deferred, None)?;
                Ok(CopyAnswer::Deferred)
            }
        }
    }

    /// What the copy's row allows: an answer (not ours, dropped, or paused, which
    /// is written here), or the row and what the gate makes of it, not yet written.
    fn look(&self, copy: &Copy, gate: Gate) -> StoreResult<Looked> {
        let Some(before) = rows::load(self.path.conn, copy.award)? else {
            return Ok(Looked::Answered(CopyAnswer::NotOurs(KeptReason::NoAward)));
        };
        if before.message_id != copy.message_id {
            return Ok(Looked::Answered(CopyAnswer::NotOurs(
                KeptReason::OtherMessageId,
            )));
        }
        let is_paused = self
            .pauses
            .cover(self.path.conn, self.path.shared, &before)?;
        let gate = if is_paused { Gate::Paused } else { gate };
        let event = Event::Copy {
            position: copy.position,
            gate,
        };
        let step = ask(
            self.path.conn,
            self.path.shared,
            &before.row,
            &event,
            self.now,
        )?;
        let Step::Changed(change) = step else {
            return Ok(Looked::Answered(CopyAnswer::Dropped));
        };
        if !is_paused {
            return Ok(Looked::MayTake(before, change));
        }
        let line = Line::new(What::Deliver, before.row.lease, "hold");
        let line = line.with(change.row.hold_reason.map(HoldReason::name));
        self.write(&before, &change, Some(line))?;
        Ok(Looked::Answered(answer_of(&change)))
    }

    /// The copy's own row failed, alone: counted as an attempt, in a savepoint of
    /// its own. If even that fails, the row keeps its date and rescue comes to it.
    fn failed(&self, copy: &Copy, error: &StoreError) -> StoreResult<CopyAnswer> {
        match alone(self.path.conn, |_| self.count_failure(copy, error)) {
            Err(second) if is_own(&second) => {
                tracing::error!(award.id = %copy.award, %error, %second, "an award's row cannot be written");
                Ok(CopyAnswer::Failed { is_dead: false })
            }
            done => done,
        }
    }

    fn count_failure(&self, copy: &Copy, error: &StoreError) -> StoreResult<CopyAnswer> {
        let Some(before) = rows::load(self.path.conn, copy.award)? else {
            return Ok(CopyAnswer::NotOurs(KeptReason::NoAward));
        };
        Ok(match count_failure(self.path, &before, error, self.now)? {
            Some(change) => CopyAnswer::Failed {
                is_dead: change.row.state == State::Dead,
            },
            None => CopyAnswer::Dropped,
        })
    }

    /// What an event makes of a row that the table itself has just made.
    fn change(&self, row: &tombola_core::award::Row, event: &Event) -> StoreResult<Box<Change>> {
        match ask(self.path.conn, self.path.shared, row, event, self.now)? {
            Step::Changed(change) => Ok(change),
            Step::Late | Step::Same | Step::Refused(_) => Err(inconsistent(format!(
                "the table refuses {event:?} for award {}",
                row.award
            ))),
        }
    }

    /// Rows do not move between the reading and the writing of one transaction.
    fn write(&self, before: &Stored, change: &Change, line: Option<Line<'_>>) -> StoreResult<()> {
        match rows::apply(
            self.path.conn,
            Write {
                before,
                change,
                now: self.now,
                by: WORKER,
                line,
            },
        )? {
            Written::Applied => Ok(()),
            Written::Late => Err(inconsistent(format!(
                "award {} moved by itself",
                before.row.award
            ))),
        }
    }
}

/// What came of looking at a copy's row.
enum Looked {
    Answered(CopyAnswer),
    MayTake(Stored, Box<Change>),
}

fn answer_of(change: &Change) -> CopyAnswer {
    let kind = change.row.kind;
    match (change.row.state, change.row.hold_reason) {
        (State::Delivered, _) => CopyAnswer::Delivered { kind },
        (State::Held, Some(reason)) => CopyAnswer::Held { kind, reason },
        _ => CopyAnswer::Dropped,
    }
}

/// Counts an attempt of a row whose own transaction failed; `None` if the row is
/// not one that anybody could have taken.
pub(super) fn count_failure(
    path: Path<'_>,
    before: &Stored,
    error: &StoreError,
    now: Timestamp,
) -> StoreResult<Option<Box<Change>>> {
    // No source of randomness here: the award's id spreads the waits.
    let jitter = Jitter(u16::try_from(before.row.award.0.rem_euclid(1001)).unwrap_or_default());
    let event = Event::Fail {
        lease: before.row.lease,
        jitter,
    };
    let Step::Changed(change) = ask(path.conn, path.shared, &before.row, &event, now)? else {
        return Ok(None);
    };
    tracing::error!(award.id = %before.row.award, %error, "an award's own row fails; it is counted as an attempt");
    let text = error.to_string();
    let line = Line::new(What::Deliver, before.row.lease, "fail").with(Some(&text));
    rows::apply(
        path.conn,
        Write {
            before,
            change: &change,
            now,
            by: WORKER,
            line: Some(line),
        },
    )?;
    Ok(Some(change))
}

/// What a decision leaves in the award's log: receipt, error or the reason of a hold.
pub(super) fn detail<'a>(decision: &'a Decision, error: Option<&'a str>) -> Option<&'a str> {
    match decision {
        Decision::Delivered { receipt } => receipt.as_deref().or(error),
        Decision::Hold(reason) => error.or(Some(reason.name())),
        Decision::Retry { .. } | Decision::Refuse | Decision::Unknown | Decision::Defer => error,
    }
}
