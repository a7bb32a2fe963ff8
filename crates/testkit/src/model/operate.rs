//! `Operate` on the model: what people do, each act with its log line.

use super::ModelStore;
use super::data::Data;
use std::time::Duration;
use tombola_core::award::{Event, Refusal, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Acted, Action, Actor, DeadFilter, Operate, PauseScope, RequeueStep, Requeued, StoreResult,
};
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, Timestamp};

#[async_trait::async_trait]
impl Operate for ModelStore {
    async fn act(
        &self,
        award: AwardId,
        action: Action,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Acted> {
        self.data().once(&by, now, |data| {
            Ok(self.acted(data, award, action, &by, now))
        })
    }

    async fn requeue(&self, step: RequeueStep, by: Actor, now: Timestamp) -> StoreResult<Requeued> {
        let mut data = self.data();
        let page: Vec<AwardId> = data
            .awards
            .iter()
            .filter(|(award, _)| step.after.is_none_or(|after| **award > after))
            .filter(|(award, _)| is_meant(&data, **award, &step.filter))
            .map(|(award, _)| *award)
            .take(STEP_ROWS_MAX)
            .collect();
        let next = page.last().filter(|_| page.len() == STEP_ROWS_MAX).copied();
        let mut done = Requeued {
            next,
            ..Requeued::default()
        };
        let count = u32::try_from(page.len()).unwrap_or(u32::MAX).max(1);
        let apart: Duration = step.until.since(now) / count;
        for (place, award) in (0_u32..).zip(&page) {
            let due_at = now.plus(apart * place);
            let event = Event::Requeue {
                not_delivered: step.not_delivered,
                due_at,
            };
            match self.apply(&mut data, *award, &event, now) {
                Some(Step::Changed(_)) => done.requeued += 1,
                Some(Step::Refused(Refusal::OutcomeUnknown)) => done.in_doubt += 1,
                Some(Step::Refused(_) | Step::Late | Step::Same) | None => {}
            }
        }
        data.log(&by, format!("requeue of {}", done.requeued), now);
        Ok(done)
    }

    async fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<()> {
        self.data().once(&by, now, |data| {
            data.log(&by, format!("pause {scope:?}"), now);
            if !data.pauses.contains(&scope) {
                data.pauses.push(scope);
            }
            Ok(())
        })
    }

    async fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let before = data.pauses.len();
            data.pauses.retain(|it| *it != scope);
            let is_resumed = data.pauses.len() < before;
            if is_resumed {
                data.log(&by, format!("resume {scope:?}"), now);
            }
            Ok(is_resumed)
        })
    }

    async fn end_holds(&self, reason: HoldReason, now: Timestamp) -> StoreResult<u64> {
        let mut data = self.data();
        let page: Vec<AwardId> = data
            .awards
            .iter()
            .filter(|(_, it)| it.row.hold_reason == Some(reason))
            .filter(|(award, _)| data.has_ended(**award, reason))
            .map(|(award, _)| *award)
            .take(STEP_ROWS_MAX)
            .collect();
        let mut ended = 0;
        for award in page {
            let step = self.apply(&mut data, award, &Event::End { reason }, now);
            ended += u64::from(matches!(step, Some(Step::Changed(_))));
        }
        Ok(ended)
    }
}

impl ModelStore {
    fn acted(
        &self,
        data: &mut Data,
        award: AwardId,
        action: Action,
        by: &Actor,
        now: Timestamp,
    ) -> Acted {
        let Some(it) = data.awards.get(&award) else {
            return Acted::NotFound;
        };
        let hold = it.row.hold_reason;
        let needs_physical = matches!(action, Action::Address(_) | Action::Ship { .. });
        if needs_physical && it.row.kind != Kind::Physical {
            return Acted::NotFound;
        }
        let event = match &action {
            Action::Hold => Event::Hold,
            Action::Release => Event::End {
                reason: hold
                    .filter(|reason| *reason == HoldReason::Scheduled)
                    .unwrap_or(HoldReason::Manual),
            },
            Action::Confirm { .. } => Event::Confirm,
            Action::Cancel { return_stock } => Event::Cancel {
                return_stock: *return_stock,
            },
            Action::Requeue {
                not_delivered,
                due_at,
            } => Event::Requeue {
                not_delivered: *not_delivered,
                due_at: *due_at,
            },
            Action::Address(_) => Event::End {
                reason: HoldReason::Address,
            },
            Action::Ship { .. } => Event::Ship,
        };
        let step = self.apply(data, award, &event, now);
        let Some(it) = data.awards.get_mut(&award) else {
            return Acted::NotFound;
        };
        let (row, is_final) = (it.row.clone(), it.row.state.is_final());
        match (step, &action) {
            (Some(Step::Changed(_)), Action::Confirm { receipt }) => it.receipt.clone_from(receipt),
            (Some(Step::Changed(_)), _) => {}
            // An address is stored in any unfinished state and moves nothing.
            (Some(_), Action::Address(_)) if !is_final => {}
            (Some(Step::Refused(refusal)), _) => return Acted::Refused(refusal),
            (Some(Step::Late | Step::Same) | None, _) => {
                return Acted::Refused(Refusal::WrongState { state: row.state });
            }
        }
        match action {
            Action::Address(address) => {
                data.addresses.insert(award, address);
            }
            Action::Ship {
                ref carrier,
                ref tracking,
            } => {
                data.shipments
                    .insert(award, (carrier.clone(), tracking.clone()));
            }
            Action::Hold
            | Action::Release
            | Action::Confirm { .. }
            | Action::Cancel { .. }
            | Action::Requeue { .. } => {}
        }
        data.log(by, format!("award {award}: {}", word(&event)), now);
        Acted::Done(row)
    }
}

fn is_meant(data: &Data, award: AwardId, filter: &DeadFilter) -> bool {
    data.awards.get(&award).is_some_and(|it| {
        it.row.state == State::Dead
            && filter
                .campaign
                .as_deref()
                .is_none_or(|campaign| campaign == &*it.campaign)
            && filter.kind.is_none_or(|kind| kind == it.row.kind)
            && filter
                .reason
                .is_none_or(|reason| Some(reason) == it.row.dead_reason)
            && filter.since.is_none_or(|since| it.drawn_at >= since)
    })
}

/// The word of an act in the operator log; an address is personal and stays out.
const fn word(event: &Event) -> &'static str {
    match event {
        Event::Hold => "hold",
        Event::End {
            reason: HoldReason::Address,
        } => "address",
        Event::End { .. } => "release",
        Event::Confirm => "confirm",
        Event::Cancel { .. } => "cancel",
        Event::Requeue { .. } => "requeue",
        Event::Ship => "ship",
        Event::Mark { .. }
        | Event::Copy { .. }
        | Event::Fail { .. }
        | Event::Decide { .. }
        | Event::GiveBack { .. }
        | Event::Rescue { .. } => "",
    }
}
