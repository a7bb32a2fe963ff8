//! Copies that a worker has in hand. Pauses are read first, in the same transaction;
//! the row decides whether a copy may be taken at all.

use super::super::error::inconsistent;
use super::super::session::Session;
use super::Shared;
use super::apart::{self, Method};
use super::codes::{self, Needed};
use super::columns::Stored;
use super::effect::{self, Effect};
use super::facts::{Known, Need};
use super::hand::{Hand, Turn, is_dead, lock_with_pauses};
use super::lines::{Line, What};
use crate::seal::Sealer;
use std::collections::BTreeMap;
use tombola_core::award::{Change, Event, Gate, Row, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::ports::{Claim, Copy, CopyAnswer, Deferral, StoreError, StoreResult};
use tombola_core::reason::{HoldReason, KeptReason};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, Timestamp};

/// Who a unit of stock goes back by, in the log, where no person is asked.
const WORKER: &str = "worker";

/// Local kinds are claimed, delivered and recorded here, by one update of the row;
/// outside kinds are only named.
pub(in crate::postgres) async fn deliver_local(
    session: &mut Session,
    shared: &Shared,
    sealer: &Sealer,
    (copies, now): (&[Copy], Timestamp),
) -> StoreResult<Vec<CopyAnswer>> {
    answer(session, shared, &Deliver { sealer }, (copies, now)).await
}

/// Claims for outside calls; the permit is there.
pub(in crate::postgres) async fn claim(
    session: &mut Session,
    shared: &Shared,
    copies: &[Copy],
    now: Timestamp,
) -> StoreResult<Vec<CopyAnswer>> {
    answer(session, shared, &Take, (copies, now)).await
}

/// Sets copies aside whose lane has no permit.
pub(in crate::postgres) async fn defer(
    session: &mut Session,
    shared: &Shared,
    deferrals: &[Deferral],
    now: Timestamp,
) -> StoreResult<Vec<CopyAnswer>> {
    answer(session, shared, &SetAside, (deferrals, now)).await
}

/// What is done with copies.
trait OfCopies: Sync {
    type Member: Sync;

    fn copy<'a>(&self, member: &'a Self::Member) -> &'a Copy;

    /// What must be known of a row that may be taken, beside what pauses ask.
    fn need(&self, _: &Stored, _: &mut Need) {}

    /// Opens codes, where codes are given.
    fn sealer(&self) -> Option<&Sealer> {
        None
    }

    fn one(&self, turn: &mut Turn<'_>, member: &Self::Member) -> StoreResult<CopyAnswer>;
}

async fn answer<M: OfCopies>(
    session: &mut Session,
    shared: &Shared,
    method: &M,
    (members, now): (&[M::Member], Timestamp),
) -> StoreResult<Vec<CopyAnswer>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let work = session.begin();
    let awards = members.iter().map(|member| method.copy(member).award);
    let (locked, pauses) = lock_with_pauses(&work, awards).await?;
    let mut hand = Hand::new(shared, now, locked);
    let copies = members.iter().map(|member| method.copy(member));
    let takeable = takeable(&hand, copies)?;
    let mut need = Need::default();
    for stored in takeable.values() {
        if pauses.is_empty() {
            method.need(stored, &mut need);
        } else {
            need.terms(stored);
            method.need(stored, &mut need);
        }
    }
    let known = Known::load(&work, shared, need, pauses).await?;
    if let Some(sealer) = method.sealer() {
        let needed = needed_codes(&known, takeable.values().copied());
        hand.codes = codes::take(&work, sealer, needed).await?;
    }
    hand.known = known;
    let answers = apart::each(&work, &mut hand, &Copies(method), members).await?;
    work.end(hand.has_written).await?;
    Ok(answers)
}

/// The rows that a copy of the batch may take, if nothing is paused.
fn takeable<'a>(
    hand: &'a Hand<'_>,
    copies: impl Iterator<Item = &'a Copy>,
) -> StoreResult<BTreeMap<AwardId, &'a Stored>> {
    let mut takeable = BTreeMap::new();
    for copy in copies {
        let Some(stored) = hand.locked.rows.get(&copy.award) else {
            continue;
        };
        let is_ours = stored.message_id == copy.message_id;
        if is_ours && !takeable.contains_key(&copy.award) {
            let event = Event::Copy {
                position: copy.position,
                gate: Gate::Permit,
            };
            if let Step::Changed(_) = hand.ask(stored, &stored.row, &event)? {
                takeable.insert(copy.award, stored);
            }
        }
    }
    Ok(takeable)
}

/// How many codes of which prize these rows ask for.
fn needed_codes<'a>(known: &Known, takeable: impl Iterator<Item = &'a Stored>) -> Needed {
    let mut needed = Needed::new();
    for stored in takeable {
        let is_code = stored.row.kind == Kind::Code && !stored.row.is_outside();
        // One whose facts are missing fails alone later.
        if is_code && !known.is_paused(stored).unwrap_or(true) {
            *needed.entry(stored.prize_id).or_default() += 1;
        }
    }
    needed
}

/// A method over copies, with what all of them answer to a member that fails.
struct Copies<'a, M>(&'a M);

impl<M: OfCopies> Method for Copies<'_, M> {
    type Member = M::Member;
    type Answer = CopyAnswer;

    fn one(&self, turn: &mut Turn<'_>, member: &M::Member) -> StoreResult<CopyAnswer> {
        self.0.one(turn, member)
    }

    fn failed(
        &self,
        turn: &mut Turn<'_>,
        member: &M::Member,
        error: &StoreError,
    ) -> StoreResult<CopyAnswer> {
        let award = self.0.copy(member).award;
        if turn.load(award)?.is_none() {
            return Ok(CopyAnswer::NotOurs(KeptReason::NoAward));
        }
        let counted = turn.count_failure(award, error, WORKER)?;
        Ok(
            counted.map_or(CopyAnswer::Dropped, |change| CopyAnswer::Failed {
                is_dead: is_dead(&change),
            }),
        )
    }

    fn unwritten(
        &self,
        _: &Hand<'_>,
        member: &M::Member,
        error: &StoreError,
    ) -> StoreResult<CopyAnswer> {
        let award = self.0.copy(member).award;
        tracing::error!(award.id = %award, %error, "an award's row cannot be written");
        Ok(CopyAnswer::Failed { is_dead: false })
    }
}

/// What came of looking at a copy's row.
enum Looked<'a> {
    Answered(CopyAnswer),
    MayTake(&'a Stored, Box<Change>),
}

/// What the copy's row allows: an answer (not ours, dropped, or paused, which is
/// written here), or the row and what the gate makes of it, not yet written.
fn look<'a>(turn: &mut Turn<'a>, copy: &Copy, gate: Gate) -> StoreResult<Looked<'a>> {
    let Some((before, row)) = turn.load(copy.award)? else {
        return Ok(Looked::Answered(CopyAnswer::NotOurs(KeptReason::NoAward)));
    };
    if before.message_id != copy.message_id {
        let other = KeptReason::OtherMessageId;
        return Ok(Looked::Answered(CopyAnswer::NotOurs(other)));
    }
    let position = copy.position;
    let event = Event::Copy { position, gate };
    let Step::Changed(taken) = turn.hand.ask(before, &row, &event)? else {
        return Ok(Looked::Answered(CopyAnswer::Dropped));
    };
    if !turn.hand.known.is_paused(before)? {
        return Ok(Looked::MayTake(before, taken));
    }
    let gate = Gate::Paused;
    let held = change(turn, before, &row, &Event::Copy { position, gate })?;
    let line = Line::new(What::Deliver, row.lease, "hold");
    let line = line.with(held.row.hold_reason.map(HoldReason::name));
    turn.write(before, &held, WORKER, Some(line));
    Ok(Looked::Answered(answer_of(&held)))
}

/// What an event makes of a row that it surely changes.
fn change(turn: &Turn<'_>, before: &Stored, row: &Row, event: &Event) -> StoreResult<Box<Change>> {
    match turn.hand.ask(before, row, event)? {
        Step::Changed(change) => Ok(change),
        Step::Late | Step::Same | Step::Refused(_) => Err(inconsistent(format!(
            "the table refuses {event:?} for award {}",
            row.award
        ))),
    }
}

fn answer_of(change: &Change) -> CopyAnswer {
    let kind = change.row.kind;
    match (change.row.state, change.row.hold_reason) {
        (State::Delivered, _) => CopyAnswer::Delivered { kind },
        (State::Held, Some(reason)) => CopyAnswer::Held { kind, reason },
        _ => CopyAnswer::Dropped,
    }
}

struct Deliver<'a> {
    sealer: &'a Sealer,
}

impl OfCopies for Deliver<'_> {
    type Member = Copy;

    fn copy<'a>(&self, member: &'a Copy) -> &'a Copy {
        member
    }

    fn need(&self, stored: &Stored, need: &mut Need) {
        effect::need(stored, need);
    }

    fn sealer(&self) -> Option<&Sealer> {
        Some(self.sealer)
    }

    fn one(&self, turn: &mut Turn<'_>, copy: &Copy) -> StoreResult<CopyAnswer> {
        let (before, claimed) = match look(turn, copy, Gate::Permit)? {
            Looked::Answered(answer) => return Ok(answer),
            Looked::MayTake(before, claimed) => (before, claimed),
        };
        if before.row.is_outside() {
            let lane = before.row.lane;
            return Ok(CopyAnswer::Outside { lane });
        }
        let Effect { decision, made } = effect::of(turn, before)?;
        let (lease, name) = (claimed.row.lease, decision.name().name());
        let event = Event::Decide {
            lease,
            decision,
            lane_at: turn.hand.now,
            has_hold_ended: false, // the effect has just looked
            jitter: Jitter::NONE,
        };
        let done = change(turn, before, &claimed.row, &event)?;
        let line = Line::new(What::Deliver, lease, name);
        let line = line.with(done.row.hold_reason.map(HoldReason::name));
        turn.write(before, &done, WORKER, Some(line));
        made.stage(turn, before);
        Ok(answer_of(&done))
    }
}

struct Take;

impl OfCopies for Take {
    type Member = Copy;

    fn copy<'a>(&self, member: &'a Copy) -> &'a Copy {
        member
    }

    fn one(&self, turn: &mut Turn<'_>, copy: &Copy) -> StoreResult<CopyAnswer> {
        let (before, claimed) = match look(turn, copy, Gate::Permit)? {
            Looked::Answered(answer) => return Ok(answer),
            Looked::MayTake(before, claimed) => (before, claimed),
        };
        let row = &claimed.row;
        let no_end = || inconsistent("a claim without an end");
        let claim = Claim {
            award: row.award,
            lease: row.lease,
            lane: row.lane,
            attempts: row.attempts,
            delivery_key: before.delivery_key.clone(),
            lease_ends: row.due_at.ok_or_else(no_end)?,
        };
        turn.write(before, &claimed, WORKER, None);
        Ok(CopyAnswer::Claimed(Box::new(claim)))
    }
}

struct SetAside;

impl OfCopies for SetAside {
    type Member = Deferral;

    fn copy<'a>(&self, member: &'a Deferral) -> &'a Copy {
        &member.copy
    }

    fn one(&self, turn: &mut Turn<'_>, deferral: &Deferral) -> StoreResult<CopyAnswer> {
        let until = deferral.until;
        match look(turn, &deferral.copy, Gate::NoPermit { until })? {
            Looked::Answered(answer) => Ok(answer),
            Looked::MayTake(before, deferred) => {
                turn.write(before, &deferred, WORKER, None);
                Ok(CopyAnswer::Deferred)
            }
        }
    }
}
