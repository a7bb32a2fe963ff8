//! `AwardPath` on the model: each method is one hold of the mutex.

use super::ModelStore;
use std::collections::BTreeMap;
use tombola_core::adoption::Adoption;
use tombola_core::award::{Event, State, Step};
use tombola_core::decision::Decision;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    AdoptAnswer, AwardPath, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch, DueLanes, DuePage,
    DueQuery, KeptMessage, MarkOf, Record, Recorded, StoreError, StoreResult, Written,
};
use tombola_core::{AwardId, Timestamp};

#[async_trait::async_trait]
impl AwardPath for ModelStore {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        let mut data = self.data();
        let next = data.next_id;
        data.next_id += i64::from(count);
        Ok(IdBlock {
            next,
            end: data.next_id,
        })
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        Ok(self.commit(&batch))
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        let mut data = self.data();
        let mut refused = BTreeMap::new();
        let adopt = |it: &Adoption| {
            let key = (it.source.clone(), it.order);
            // What refused an order refuses it again in the same batch.
            if let Some(reason) = refused.get(&key) {
                return AdoptAnswer::Refused(*reason);
            }
            let answer = self.adopt_one(&mut data, it, now);
            if let AdoptAnswer::Refused(reason) = &answer {
                refused.insert(key, *reason);
            }
            answer
        };
        Ok(adoptions.iter().map(adopt).collect())
    }

    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        let mut data = self.data();
        Ok(marks
            .into_iter()
            .map(|it| {
                let event = Event::Mark {
                    lease: it.lease,
                    mark: it.mark,
                };
                written(self.apply(&mut data, it.award, &event, now).as_ref())
            })
            .collect())
    }

    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        let mut data = self.data();
        Ok(copies
            .iter()
            .map(|copy| self.deliver_copy(&mut data, copy, now))
            .collect())
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        let mut data = self.data();
        Ok(copies
            .iter()
            .map(|copy| self.claim_copy(&mut data, copy, now))
            .collect())
    }

    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        let mut data = self.data();
        Ok(deferrals
            .iter()
            .map(|it| self.defer_copy(&mut data, it, now))
            .collect())
    }

    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        let mut data = self.data();
        let mut answers = Vec::with_capacity(records.len());
        for it in records {
            let has_hold_ended = match &it.decision {
                // Read in this transaction: a hold whose reason ended between the
                // answer and its record would wait for nobody.
                Decision::Hold(reason) => data.has_ended(it.award, *reason),
                Decision::Delivered { .. }
                | Decision::Retry { .. }
                | Decision::Refuse
                | Decision::Unknown
                | Decision::Defer => false,
            };
            let event = Event::Decide {
                lease: it.lease,
                decision: it.decision.clone(),
                lane_at: it.lane_at,
                has_hold_ended,
                jitter: it.jitter,
            };
            let written = written(self.apply(&mut data, it.award, &event, now).as_ref());
            let Some(award) = data.awards.get_mut(&it.award) else {
                return Err(StoreError::Inconsistent(format!("no award {}", it.award)));
            };
            if let (Written::Applied, Decision::Delivered { receipt }) = (written, it.decision) {
                award.receipt = receipt;
            }
            answers.push(Recorded {
                written,
                row: award.row.clone(),
            });
        }
        Ok(answers)
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        Ok(self.rescue(&query))
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        let mut data = self.data();
        Ok(claims
            .into_iter()
            .map(|(award, lease)| {
                written(
                    self.apply(&mut data, award, &Event::GiveBack { lease }, now)
                        .as_ref(),
                )
            })
            .collect())
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, _now: Timestamp) -> StoreResult<()> {
        let mut data = self.data();
        for message in messages {
            let at = message.position;
            data.kept
                .entry((at.epoch, at.partition, at.offset))
                .or_insert(message);
        }
        Ok(())
    }

    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        let data = self.data();
        let dates = || {
            data.awards
                .values()
                .filter_map(|it| Some((it.row.lane, it.row.due_at?)))
        };
        let mut due: Vec<i64> = dates()
            .filter(|(_, at)| *at <= now)
            .map(|(lane, _)| lane)
            .collect();
        due.sort_unstable();
        due.dedup();
        let next = dates().map(|(_, at)| at).filter(|at| *at > now).min();
        Ok(DueLanes { due, next })
    }

    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        let mut data = self.data();
        let mut changed = 0;
        for it in data.awards.values_mut() {
            let is_in_hand = matches!(it.row.state, State::Pending | State::Delivering);
            if is_in_hand && it.row.due_at.is_some_and(|due| due > now) {
                it.row.due_at = Some(now);
                changed += 1;
            }
        }
        Ok(changed)
    }
}

fn written(step: Option<&Step>) -> Written {
    match step {
        Some(Step::Changed(_)) => Written::Applied,
        Some(Step::Late | Step::Same | Step::Refused(_)) | None => Written::Late,
    }
}
