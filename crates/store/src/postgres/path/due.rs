//! Rescue: one bounded step through a lane's overdue rows, in the order of their
//! dates. Rows that only wait are passed by, neither locked nor written, so the page's
//! cursor moves past them: behind an outage there are hundreds of thousands, looked at
//! again and again until the workers have come to them. A row that somebody has in hand is
//! passed by too: several instances look through one lane at once, each takes what the
//! others have not, and whoever has the row is about to move its date.

use super::super::error::get;
use super::super::session::{Params, Session, Work};
use super::Shared;
use super::apart::{self, Method};
use super::columns::Stored;
use super::facts::{Known, Need, pauses};
use super::fronts::Fronts;
use super::hand::{Hand, Locked, Turn};
use super::lines::{Line, What};
use tokio::time::Instant;
use tombola_core::award::{Change, Event, MqState, Sight, State, Step};
use tombola_core::message::Message;
use tombola_core::ports::{
    DueCursor, DueLanes, DuePage, DueQuery, Handoff, StoreError, StoreResult,
};
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// Who a unit of stock goes back by, in the log, where no person is asked.
const RESCUE: &str = "rescue";
/// The same where a row failed.
const WORKER: &str = "worker";

/// One step of rescue in one lane.
pub(in crate::postgres) async fn claim_due(
    session: &mut Session,
    shared: &Shared,
    query: &DueQuery,
) -> StoreResult<DuePage> {
    let work = session.begin();
    let front = shared.fronts.of(query.lane, query.now);
    let seen = read_page(&work, query, front).await?;
    let mut page = DuePage {
        seen: seen.len(),
        ..DuePage::default()
    };
    if seen.len() >= query.limit {
        page.next = seen.last().map(|(cursor, _)| *cursor);
    }
    let may_move = |(_, row): &(DueCursor, Option<Stored>)| {
        let row = &row.as_ref()?.row;
        let only_waits = query.only_waits(row, shared.step, &shared.schedule);
        (!only_waits).then_some(row.award)
    };
    let wanted: Vec<AwardId> = seen.iter().filter_map(may_move).collect();
    if wanted.is_empty() {
        work.end(false).await?;
        return Ok(page);
    }
    // What is read again under its lock is asked again: it may have moved on meanwhile.
    let locked = lock_free(&work, &wanted).await?;
    let in_hand = |it: &AwardId| locked.rows.get(it).cloned();
    let rows: Vec<Stored> = wanted.iter().filter_map(in_hand).collect();
    let mut hand = Hand::new(shared, query.now, locked);
    hand.known = look_up(&work, shared, &rows).await?;
    let rescued = apart::each(&work, &mut hand, &Rescue { query }, &rows).await?;
    work.end(hand.has_written).await?;
    fill(&mut page, &rows, rescued);
    Ok(page)
}

fn fill(page: &mut DuePage, rows: &[Stored], rescued: Vec<Rescued>) {
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
}

/// The rows of the page, in order; `None` for one that holds what nobody wrote.
async fn read_page(
    work: &Work<'_>,
    query: &DueQuery,
    front: i64,
) -> StoreResult<Vec<(DueCursor, Option<Stored>)>> {
    let after = query.after.unwrap_or(DueCursor {
        due_at: Timestamp(front),
        award: AwardId(0),
    });
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let sql = &work.sql.read_page;
    let found = work
        .query(
            sql,
            &[
                &query.lane,
                &query.now.0,
                &after.due_at.0,
                &after.award.0,
                &limit,
            ],
        )
        .await?;
    let mut seen = Vec::with_capacity(found.len());
    for row in &found {
        let cursor = DueCursor {
            due_at: Timestamp(get(row, 5)?),
            award: AwardId(get(row, 0)?),
        };
        let stored = Stored::read(row).inspect_err(|error| {
            tracing::error!(award.id = %cursor.award, %error, "a delivery row cannot be read");
        });
        seen.push((cursor, stored.ok()));
    }
    // What a join gives has no promised order.
    seen.sort_unstable_by_key(|(it, _)| (it.due_at, it.award));
    Ok(seen)
}

/// Those of these rows that nobody has in hand.
async fn lock_free(work: &Work<'_>, awards: &[AwardId]) -> StoreResult<Locked> {
    let ids: Vec<i64> = awards.iter().map(|award| award.0).collect();
    let mut locked = Locked::default();
    for row in &work.query(&work.sql.lock_free_rows, &[&ids]).await? {
        locked.put(row)?;
    }
    Ok(locked)
}

/// What rescue has to know of these rows.
async fn look_up(work: &Work<'_>, shared: &Shared, rows: &[Stored]) -> StoreResult<Known> {
    let mut need = Need::default();
    let mut asks_for_pauses = false;
    for stored in rows {
        need.terms(stored);
        if let Some(reason) = stored.row.hold_reason {
            need.end_of(stored, reason);
            asks_for_pauses |= reason == HoldReason::Paused;
        }
    }
    let paused = if asks_for_pauses {
        pauses(&work.query(&work.sql.lock_pauses, &[]).await?)?
    } else {
        Vec::new()
    };
    Known::load(work, shared, need, paused).await
}

/// A row that changed, and its message if it is to be published.
type Rescued = Option<(Box<Change>, Option<Handoff>)>;

struct Rescue<'a> {
    query: &'a DueQuery,
}

impl Method for Rescue<'_> {
    type Member = Stored;
    type Answer = Rescued;

    fn one(&self, turn: &mut Turn<'_>, before: &Stored) -> StoreResult<Rescued> {
        let event = Event::Rescue {
            sight: self.sight(turn.hand, before)?,
        };
        let Step::Changed(change) = turn.hand.ask(before, &before.row, &event)? else {
            return Ok(None);
        };
        let handoff = change
            .publish
            .then(|| self.handoff(turn.hand, before, &change))
            .transpose()?;
        let decision = decision_name(&change);
        let line = Line::new(What::Rescue, before.row.lease, decision)
            .with(change.row.dead_reason.map(DeadReason::name));
        // A retry whose time has come is the normal way; its publish is told by its mark.
        let line = (before.row.state != State::Retryable).then_some(line);
        turn.write(before, &change, RESCUE, line);
        Ok(Some((change, handoff)))
    }

    /// Counted; one that cannot even be counted keeps its date and is met again.
    fn failed(
        &self,
        turn: &mut Turn<'_>,
        before: &Stored,
        error: &StoreError,
    ) -> StoreResult<Rescued> {
        let counted = turn.count_failure(before.row.award, error, WORKER)?;
        Ok(counted.map(|change| (change, None)))
    }

    fn unwritten(&self, _: &Hand<'_>, before: &Stored, error: &StoreError) -> StoreResult<Rescued> {
        tracing::error!(award.id = %before.row.award, %error, "an award's row cannot be written");
        Ok(None)
    }
}

impl Rescue<'_> {
    fn sight(&self, hand: &Hand<'_>, before: &Stored) -> StoreResult<Sight> {
        let has_hold_ended = match before.row.hold_reason {
            Some(reason) => hand.known.has_hold_ended(before, reason)?,
            None => false,
        };
        Ok(self.query.sight(&before.row, has_hold_ended))
    }

    /// The message again, from the draw's facts and the rules it was drawn by.
    fn handoff(&self, hand: &Hand<'_>, before: &Stored, change: &Change) -> StoreResult<Handoff> {
        let award = before.row.award;
        let facts = hand.known.facts(award)?;
        let message = Message::new(
            facts.rules(),
            facts.prize(),
            award,
            &facts.user,
            &before.message_id,
            facts.drawn_at,
        );
        Ok(Handoff {
            award,
            lease: change.row.lease,
            message,
            traceparent: facts.traceparent.clone(),
            at: self.query.now,
        })
    }
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

/// Lanes with overdue rows, and the next date to come.
pub(in crate::postgres) async fn due_lanes(
    session: &mut Session,
    fronts: &Fronts,
    now: Timestamp,
) -> StoreResult<DueLanes> {
    let work = session.begin();
    let (from, begun) = (fronts.next(now), Instant::now());
    let rows = match &from {
        None => work.query(&work.sql.due_lanes, &[&now.0]).await?,
        Some(from) => {
            let params: Params<'_> = &[&now.0, &from.lanes, &from.fronts, &from.beyond];
            work.query(&work.sql.due_lanes_from, params).await?
        }
    };
    let whole = from.is_none().then(|| begun.elapsed());
    work.end(false).await?;
    let (mut lanes, mut firsts) = (DueLanes::default(), Vec::with_capacity(rows.len()));
    for row in &rows {
        let (lane, first): (i64, Option<i64>) = (get(row, 0)?, get(row, 1)?);
        if first.is_some_and(|due_at| due_at <= now.0) {
            lanes.due.push(lane);
        }
        let to_come = get::<Option<i64>>(row, 2)?.map(Timestamp);
        lanes.next = lanes.next.into_iter().chain(to_come).min();
        firsts.push((lane, first));
    }
    fronts.seen(now, firsts.into_iter(), whole);
    Ok(lanes)
}
