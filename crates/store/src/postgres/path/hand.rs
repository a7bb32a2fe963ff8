//! What a batch has in hand: the rows that it has locked, what is known beside them,
//! and the codes that it may give.
//!
//! Members are decided in memory, one after the other, each against what the ones
//! before it left; so several copies of one award in a batch are answered as if each
//! had come alone. [`Turn`] gathers what they change, and it is written in one trip.

use super::super::error::{get, inconsistent};
use super::super::session::Work;
use super::Shared;
use super::codes::Codes;
use super::columns::Stored;
use super::facts::{Known, pauses};
use super::lines::{Line, What};
use super::staged::Staged;
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::Row as Columns;
use tombola_core::award::{Change, Context, Event, Row, State, Step, Terms};
use tombola_core::decision::Decision;
use tombola_core::ports::{PauseScope, StoreError, StoreResult};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, Timestamp};

/// Locked rows of a batch.
#[derive(Default)]
pub(super) struct Locked {
    pub(super) rows: BTreeMap<AwardId, Stored>,
    /// Rows that hold what nobody wrote. They must not stop the others.
    unreadable: HashSet<AwardId>,
}

impl Locked {
    /// Takes in a row as it was read.
    pub(super) fn put(&mut self, row: &Columns) -> StoreResult<()> {
        match Stored::read(row) {
            Ok(stored) => drop(self.rows.insert(stored.row.award, stored)),
            Err(error) => {
                let award = AwardId(get(row, 0)?);
                tracing::error!(award.id = %award, %error, "a delivery row cannot be read");
                self.unreadable.insert(award);
            }
        }
        Ok(())
    }

    /// The row of an award, `None` if there is none.
    pub(super) fn get(&self, award: AwardId) -> StoreResult<Option<&Stored>> {
        if self.unreadable.contains(&award) {
            return Err(inconsistent(format!("the row of award {award} is odd")));
        }
        Ok(self.rows.get(&award))
    }
}

/// Locks the rows of these awards in their order.
pub(super) async fn lock(
    work: &Work<'_>,
    awards: impl Iterator<Item = AwardId>,
) -> StoreResult<Locked> {
    let ids: Vec<i64> = awards.map(|award| award.0).collect();
    let mut locked = Locked::default();
    for row in &work.query(&work.sql.lock_rows, &[&ids]).await? {
        locked.put(row)?;
    }
    Ok(locked)
}

/// The same, and reads what is paused, in one trip.
pub(super) async fn lock_with_pauses(
    work: &Work<'_>,
    awards: impl Iterator<Item = AwardId>,
) -> StoreResult<(Locked, Vec<PauseScope>)> {
    let (locked, paused) = tokio::try_join!(
        biased;
        lock(work, awards),
        work.query(&work.sql.lock_pauses, &[]),
    )?;
    Ok((locked, pauses(&paused)?))
}

/// All that the members of a batch are decided by.
pub(super) struct Hand<'a> {
    pub(super) shared: &'a Shared,
    pub(super) now: Timestamp,
    pub(super) locked: Locked,
    pub(super) known: Known,
    pub(super) codes: Codes,
    /// Whether anything was written; else there is nothing to commit.
    pub(super) has_written: bool,
}

impl<'a> Hand<'a> {
    pub(super) fn new(shared: &'a Shared, now: Timestamp, locked: Locked) -> Self {
        Self {
            shared,
            now,
            locked,
            known: Known::default(),
            codes: Codes::default(),
            has_written: false,
        }
    }

    /// What the table makes of `event`, with the terms of prize and endpoint where it
    /// asks for them; `before` is the row's part that never changes.
    pub(super) fn ask(&self, before: &Stored, row: &Row, event: &Event) -> StoreResult<Step> {
        let terms = if needs_terms(event) {
            self.known.terms(before)?
        } else {
            Terms::default()
        };
        let context = Context {
            now: self.now,
            schedule: &self.shared.schedule,
            terms: &terms,
        };
        Ok((self.shared.step)(row, event, context))
    }

    /// Takes over what was written.
    pub(super) fn settle(&mut self, staged: Staged) {
        self.has_written |= !staged.is_empty();
        for (award, row) in staged.into_rows(&mut self.codes) {
            if let Some(stored) = self.locked.rows.get_mut(&award) {
                stored.row = row;
            }
        }
    }
}

/// Whether the table's answer depends on the terms. The others are the hot path,
/// spared a read each.
pub(super) const fn needs_terms(event: &Event) -> bool {
    match event {
        Event::Rescue { .. } | Event::Requeue { .. } | Event::Cancel { .. } => true,
        Event::Decide { decision, .. } => needs_terms_of(decision),
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

/// The same of a decision.
pub(super) const fn needs_terms_of(decision: &Decision) -> bool {
    matches!(decision, Decision::Unknown | Decision::Hold(_))
}

/// Some members of a batch that are decided and written together.
pub(super) struct Turn<'a> {
    pub(super) hand: &'a Hand<'a>,
    pub(super) staged: Staged,
}

impl<'a> Turn<'a> {
    pub(super) fn new(hand: &'a Hand<'a>) -> Self {
        Self {
            hand,
            staged: Staged::default(),
        }
    }

    /// The row of an award, and as the members before left it.
    pub(super) fn load(&self, award: AwardId) -> StoreResult<Option<(&'a Stored, Row)>> {
        let Some(before) = self.hand.locked.get(award)? else {
            return Ok(None);
        };
        let row = self.staged.row(award).unwrap_or(&before.row);
        Ok(Some((before, row.clone())))
    }

    /// Changes the row, gives its unit back where the table says so and adds the line.
    pub(super) fn write(
        &mut self,
        before: &Stored,
        change: &Change,
        by: &'static str,
        line: Option<Line>,
    ) {
        self.staged.change(before, change, by);
        if let Some(line) = line {
            self.staged.lines.push(&change.row, line);
        }
    }

    /// Counts an attempt of a member that failed by an error of its own; `None` if the
    /// row is not one that anybody could have taken.
    pub(super) fn count_failure(
        &mut self,
        award: AwardId,
        error: &StoreError,
        by: &'static str,
    ) -> StoreResult<Option<Box<Change>>> {
        let Some((before, row)) = self.load(award)? else {
            return Ok(None);
        };
        // No source of randomness here: the award's id spreads the waits.
        let jitter = Jitter(u16::try_from(award.0.rem_euclid(1001)).unwrap_or_default());
        let event = Event::Fail {
            lease: row.lease,
            jitter,
        };
        let Step::Changed(change) = self.hand.ask(before, &row, &event)? else {
            return Ok(None);
        };
        tracing::error!(award.id = %award, %error, "an award's own row fails; it is counted as an attempt");
        let line = Line::new(What::Deliver, row.lease, "fail").with(Some(&error.to_string()));
        self.write(before, &change, by, Some(line));
        Ok(Some(change))
    }
}

/// Whether a row is at its end.
pub(super) const fn is_dead(change: &Change) -> bool {
    matches!(change.row.state, State::Dead)
}
