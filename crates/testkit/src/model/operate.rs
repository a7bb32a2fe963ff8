//! `Operate` on the model: what people do, each act with its log line.

use super::ModelStore;
use super::data::Data;
use tombola_core::award::{Event, Refusal, State, Step};
use tombola_core::campaign::Kind;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Acted, Action, Actor, BulkSpec, DeadLetter, Operate, Operation, OperationState, PauseScope,
    PointsReversed, StoreResult,
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

    async fn begin_operation(
        &self,
        spec: BulkSpec,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Operation> {
        self.data()
            .once(&by, now, |data| Ok(data.begun(spec, &by, now)))
    }

    async fn step_operation(&self, id: i64, now: Timestamp) -> StoreResult<Option<Operation>> {
        Ok(self.stepped(&mut self.data(), id, now))
    }

    async fn cancel_operation(
        &self,
        id: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Option<Operation>> {
        self.data()
            .once(&by, now, |data| Ok(data.operation_cancelled(id, &by, now)))
    }

    async fn running_operations(&self) -> StoreResult<Vec<i64>> {
        let data = self.data();
        let running = |it: &&Operation| it.state == OperationState::Running;
        Ok(data
            .operations
            .iter()
            .filter(running)
            .map(|it| it.id)
            .collect())
    }

    async fn block_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<()> {
        self.data().once(&by, now, |data| {
            data.blocked.insert(user.into());
            data.log(&by, format!("user block {user}"), now);
            Ok(())
        })
    }

    async fn unblock_user(&self, user: &str, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let was_blocked = data.blocked.remove(user);
            if was_blocked {
                data.log(&by, format!("user unblock {user}"), now);
            }
            Ok(was_blocked)
        })
    }

    async fn reverse_points(
        &self,
        award: AwardId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PointsReversed> {
        self.data()
            .once(&by, now, |data| Ok(data.points_reversed(award, &by, now)))
    }

    async fn dismiss(&self, letter: DeadLetter, by: Actor, now: Timestamp) -> StoreResult<bool> {
        self.data().once(&by, now, |data| {
            let is_there = match letter {
                DeadLetter::Award(award) => {
                    let it = data.awards.get(&award);
                    it.is_some_and(|it| it.row.state == State::Dead)
                }
                DeadLetter::Message(number) => {
                    usize::try_from(number).is_ok_and(|n| (1..=data.kept.len()).contains(&n))
                }
            };
            if is_there {
                data.log(&by, format!("dismiss {letter:?}"), now);
            }
            Ok(is_there)
        })
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
