//! A store in memory: the reference of what a store does.
//!
//! # Model
//! Everything is in ordered maps under one mutex; a port call holds the mutex from
//! its first line to its last, so it *is* a transaction, and calls are serial.
//! Nothing is indexed and nothing is clever: where a store on a database must be
//! quick, it can be read here what it must come to.
//!
//! # Authority
//! The model has no rule of its own. [`Laws`] are the three pure functions of
//! `core` that a store asks: the award's table, the choosing, and whether a copy
//! still lies ahead of the group. Tests hand in broken ones (see
//! [`crate::broken`]) and expect the conformance suite to fail.
//!
//! # What is not modelled
//! A lost connection, an unknown commit, sealed codes and addresses, time-outs.

mod bench;
mod bulk;
mod campaigns;
mod catalog;
mod copies;
mod data;
mod draws;
mod import;
mod operate;
mod path;
mod requests;
mod rescue;

use data::{Award, Data};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tombola_core::award::{Context, Event, Row, Step, StepFn, Terms, step};
use tombola_core::draw::{BatchDecision, BatchState, DrawRequest, decide};
use tombola_core::ports::{GroupPosition, KeptMessage};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp, award::Position};

/// The signature of [`decide`].
pub type DecideFn = fn(BatchState, &[DrawRequest], &Schedule, bool) -> BatchDecision;
/// The signature of [`GroupPosition::is_ahead`].
pub type IsAheadFn = fn(&GroupPosition, Position) -> bool;

/// What a store asks instead of having rules of its own.
#[derive(Debug, Clone, Copy)]
pub struct Laws {
    /// The award's table.
    pub step: StepFn,
    /// The choosing.
    pub decide: DecideFn,
    /// Whether a copy still lies ahead of the group: lag is not loss.
    pub is_ahead: IsAheadFn,
}

impl Default for Laws {
    fn default() -> Self {
        Self {
            step,
            decide,
            is_ahead: GroupPosition::is_ahead,
        }
    }
}

/// A store in memory. See the module.
#[derive(Debug, Default)]
pub struct ModelStore {
    laws: Laws,
    schedule: Schedule,
    data: Mutex<Data>,
}

impl ModelStore {
    /// An empty store with the rules of `core` and the default schedule.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store with these rules.
    pub fn with(laws: Laws, schedule: Schedule) -> Self {
        Self {
            laws,
            schedule,
            data: Mutex::default(),
        }
    }

    /// The delivery row of `award`, as a person with a shell would read it.
    pub fn row(&self, award: AwardId) -> Option<Row> {
        self.data().awards.get(&award).map(|it| it.row.clone())
    }

    /// All delivery rows, by award.
    pub fn rows(&self) -> Vec<Row> {
        self.data()
            .awards
            .values()
            .map(|it| it.row.clone())
            .collect()
    }

    /// The delivery key of `award`.
    pub fn delivery_key(&self, award: AwardId) -> Option<String> {
        self.data()
            .awards
            .get(&award)
            .map(|it| it.delivery_key.clone())
    }

    /// The message id of `award`.
    pub fn message_id(&self, award: AwardId) -> Option<String> {
        self.data()
            .awards
            .get(&award)
            .map(|it| it.message_id.clone())
    }

    /// The code that was given to `award`, with whether it was voided.
    pub fn code_of(&self, award: AwardId) -> Option<(String, bool)> {
        let data = self.data();
        let code = data.codes.iter().find(|code| code.award == Some(award))?;
        let text = if code.is_erased { "" } else { &code.text };
        Some((text.to_owned(), code.is_voided))
    }

    /// The sum of what `user` was credited and kept.
    pub fn points_of(&self, user: &str) -> i64 {
        self.data().balance(user)
    }

    /// The log of `award`: one line for each publish, attempt and act.
    pub fn log_of(&self, award: AwardId) -> Vec<String> {
        self.data()
            .awards
            .get(&award)
            .map(|it| it.log.clone())
            .unwrap_or_default()
    }

    /// The operator log, one line for each act.
    pub fn operator_log(&self) -> Vec<String> {
        let line = |it: &data::LogLine| format!("{} {}: {}", it.at, it.actor.name, it.what);
        self.data().operator_log.iter().map(line).collect()
    }

    /// The messages that changed no award.
    pub fn kept(&self) -> Vec<KeptMessage> {
        self.data().kept.values().cloned().collect()
    }

    /// From here on the effect of `award` fails in its own transaction, and of it
    /// alone: what a constraint does in a database.
    pub fn poison(&self, award: AwardId) {
        if let Some(it) = self.data().awards.get_mut(&award) {
            it.is_poisoned = true;
        }
    }

    /// A test that failed half-way has still left whole data: every change is made
    /// by plain assignments.
    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the table makes of `event`.
    fn ask(&self, row: &Row, event: &Event, terms: &Terms, now: Timestamp) -> Step {
        (self.laws.step)(
            row,
            event,
            Context {
                now,
                schedule: &self.schedule,
                terms,
            },
        )
    }

    /// Asks the table and writes what it says: the one way in which the model
    /// changes a row. A late event leaves its line in the log and nothing else.
    fn apply(
        &self,
        data: &mut Data,
        award: AwardId,
        event: &Event,
        now: Timestamp,
    ) -> Option<Step> {
        let terms = data.terms(award)?;
        let it = data.awards.get(&award)?;
        let step = self.ask(&it.row, event, &terms, now);
        data.write(award, &step, &line(event), now);
        Some(step)
    }
}

/// The award of `copy`, or why its message is kept instead.
fn is_ours(
    found: Option<&Award>,
    message_id: &str,
) -> Result<(), tombola_core::reason::KeptReason> {
    use tombola_core::reason::KeptReason;
    match found {
        None => Err(KeptReason::NoAward),
        Some(it) if it.message_id != message_id => Err(KeptReason::OtherMessageId),
        Some(_) => Ok(()),
    }
}

fn line(event: &Event) -> String {
    format!("{event:?}")
}
