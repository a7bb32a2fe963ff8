//! Records of calls, written in batches, a bounded number at a time, until their lease
//! is over; and claims given back.

use super::call::CallEnd;
use super::{Shared, Worker};
use crate::kill;
use crate::store_calls::{NoAnswer, Patience, StoreCall, halved, patiently};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tombola_core::AwardId;
use tombola_core::award::State;
use tombola_core::decision::{Decision, DecisionName};
use tombola_core::limits;
use tombola_core::ports::{Record, Recorded, StoreError, Written};
use tombola_core::reason::HoldReason;

/// A record, and the monotonic reading until which it is worth writing.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) record: Record,
    pub(super) lease_until: Duration,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Records {
    due: Vec<Due>,
    back: Vec<(AwardId, i64)>,
    writing: JoinSet<()>,
}

impl Records {
    /// Nothing waits and nothing is being written.
    pub(super) fn is_quiet(&self) -> bool {
        self.due.is_empty() && self.back.is_empty() && self.writing.is_empty()
    }

    /// Comes back when something was written; never, while nothing is.
    pub(super) async fn written(&mut self) -> Option<()> {
        self.writing.join_next().await.map(|_| ())
    }
}

impl Worker {
    /// A call ended. One whose task was lost is found by its lease.
    pub(super) fn called(&mut self, ended: Option<CallEnd>) {
        match ended {
            Some(CallEnd::Record(due)) => self.records.due.push(*due),
            Some(CallEnd::GiveBack(award, lease)) => self.records.back.push((award, lease)),
            None => {
                tracing::error!("the task of a call was lost; its lease ends and rescue decides");
            }
        }
    }

    /// Writes what waits, a bounded number of batches at a time.
    pub(super) fn write_records(&mut self) {
        let records = &mut self.records;
        while records.writing.len() < limits::RECORD_BATCHES_MAX && !records.due.is_empty() {
            let rest = records
                .due
                .split_off(records.due.len().min(limits::RECORD_BATCH_MAX));
            let some = std::mem::replace(&mut records.due, rest);
            self.shared
                .tasks
                .spawn_on(&mut records.writing, Arc::clone(&self.shared).record(some));
        }
        if records.writing.len() < limits::RECORD_BATCHES_MAX && !records.back.is_empty() {
            let back = std::mem::take(&mut records.back);
            self.shared.tasks.spawn_on(
                &mut records.writing,
                Arc::clone(&self.shared).give_back(back),
            );
        }
    }
}

impl Shared {
    async fn record(self: Arc<Self>, due: Vec<Due>) {
        let call = |part: Vec<Due>| -> StoreCall<Vec<Recorded>> {
            let shared = Arc::clone(&self);
            Box::pin(async move { shared.record_part(part).await })
        };
        let answers = halved(&due, call).await;
        kill::point("after_record");
        let mut knows_better = false;
        for (due, answer) in due.iter().zip(answers) {
            match answer {
                Ok(recorded) => {
                    knows_better |= is_enabled_again(due, &recorded);
                    self.note_recorded(due, &recorded);
                }
                Err(NoAnswer::Member(error) | NoAnswer::Store(error)) => {
                    let award = due.record.award;
                    tracing::error!(award.id = %award, error, "a call could not be recorded; its lease ends and rescue decides");
                }
            }
        }
        if knows_better && let Err(error) = self.parts.lanes.reload(&*self.parts.catalog).await {
            tracing::warn!(%error, "the endpoints could not be read");
        }
    }

    /// Tried again while the database is away, until the last lease of them is over.
    async fn record_part(self: Arc<Self>, part: Vec<Due>) -> Result<Vec<Recorded>, StoreError> {
        let lease_until = part
            .iter()
            .map(|due| due.lease_until)
            .max()
            .unwrap_or_default();
        let records: Vec<Record> = part.into_iter().map(|due| due.record).collect();
        let call = || -> StoreCall<Vec<Recorded>> {
            let (shared, records) = (Arc::clone(&self), records.clone());
            Box::pin(async move {
                shared
                    .parts
                    .path
                    .record(records, shared.parts.clock.now())
                    .await
            })
        };
        let left = lease_until.saturating_sub(self.parts.clock.monotonic());
        tokio::time::timeout(left, patiently(&self.tasks, Patience::UntilAbandoned, call))
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Unavailable(
                    "not before the lease was over".to_owned(),
                ))
            })
    }

    fn note_recorded(&self, due: &Due, recorded: &Recorded) {
        let decision = due.record.decision.name();
        let (award, row) = (due.record.award, &recorded.row);
        self.parts.meters.attempt(row.kind, decision);
        match recorded.written {
            Written::Late => {
                self.parts.meters.late_result(decision);
                tracing::warn!(award.id = %award, %decision, "the record came late: the award had moved on");
            }
            Written::Applied if row.state == State::Dead => {
                let reason = row
                    .dead_reason
                    .map_or("", tombola_core::reason::DeadReason::name);
                tracing::error!(award.id = %award, reason, "the award is a dead letter");
            }
            Written::Applied if decision != DecisionName::Delivered => {
                tracing::debug!(award.id = %award, %decision, state = %row.state, "recorded");
            }
            Written::Applied => {}
        }
    }

    async fn give_back(self: Arc<Self>, claims: Vec<(AwardId, i64)>) {
        kill::point("before_give_back");
        let call = || -> StoreCall<Vec<Written>> {
            let (shared, claims) = (Arc::clone(&self), claims.clone());
            Box::pin(async move {
                shared
                    .parts
                    .path
                    .give_back(claims, shared.parts.clock.now())
                    .await
            })
        };
        match patiently(&self.tasks, Patience::UntilAbandoned, call).await {
            Ok(written) => {
                let applied = written.iter().filter(|it| **it == Written::Applied).count();
                self.parts.meters.given_back.add(applied);
            }
            Err(error) => {
                tracing::warn!(%error, "claims could not be given back; their leases end");
            }
        }
        kill::point("after_give_back");
    }
}

/// The award was to be held because its endpoint is disabled, and the database says
/// that it no longer is: what this process knows of it is old.
fn is_enabled_again(due: &Due, recorded: &Recorded) -> bool {
    due.record.decision == Decision::Hold(HoldReason::EndpointDisabled)
        && recorded.row.state == State::Pending
}
