//! Bulk actions on the model: step by step, in the order of the awards' ids; and
//! what they do to users and points.

use super::ModelStore;
use super::data::{Award, Data};
use std::time::Duration;
use tombola_core::award::{Event, Refusal, Step};
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Actor, BulkAction, BulkFilter, BulkSpec, Operation, OperationState, PointsReversed,
};
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, DrawId, Timestamp};

impl Data {
    pub(super) fn begun(&mut self, mut spec: BulkSpec, by: &Actor, now: Timestamp) -> Operation {
        if let BulkAction::Erase { pseudonym } = &spec.action {
            let user = spec.filter.user.take().unwrap_or_default();
            self.erasing.insert(pseudonym.clone(), user);
        }
        let operation = Operation {
            id: i64::try_from(self.operations.len()).unwrap_or(i64::MAX - 1) + 1,
            spec,
            by: by.name.clone(),
            reason: by.reason.clone(),
            state: OperationState::Running,
            done: 0,
            in_doubt: 0,
            refused: 0,
            created_at: now,
            updated_at: now,
            after: None,
        };
        self.operations.push(operation.clone());
        self.log(by, format!("bulk {}", operation.spec.action.name()), now);
        operation
    }

    fn operation(&mut self, id: i64) -> Option<&mut Operation> {
        self.operations.iter_mut().find(|it| it.id == id)
    }

    pub(super) fn operation_cancelled(
        &mut self,
        id: i64,
        by: &Actor,
        now: Timestamp,
    ) -> Option<Operation> {
        let it = self.operation(id)?;
        let is_erasure = matches!(it.spec.action, BulkAction::Erase { .. });
        if it.state == OperationState::Running && !is_erasure {
            (it.state, it.updated_at) = (OperationState::Cancelled, now);
            self.log(by, format!("operation cancel {id}"), now);
        }
        self.operation(id).cloned()
    }

    pub(super) fn points_reversed(
        &mut self,
        award: AwardId,
        by: &Actor,
        now: Timestamp,
    ) -> PointsReversed {
        let Some(entry) = self.points.get_mut(&award) else {
            return PointsReversed::NotFound;
        };
        if std::mem::replace(&mut entry.is_reversed, true) {
            return PointsReversed::Before;
        }
        let (user, points) = (entry.user.to_string(), entry.points);
        let balance = self.balance(&user);
        self.log(by, format!("points reverse {award}"), now);
        PointsReversed::Reversed {
            user,
            points,
            balance,
        }
    }

    /// What was given to a user and not taken back.
    pub(super) fn balance(&self, user: &str) -> i64 {
        let entries = self.points.values();
        entries
            .filter(|entry| *entry.user == *user && !entry.is_reversed)
            .map(|entry| entry.points)
            .sum()
    }

    /// One step of an erasure; gives the draws changed, and whether it is over.
    fn erased(&mut self, pseudonym: &str) -> (u64, bool) {
        let Some(user) = self.erasing.get(pseudonym).cloned() else {
            return (0, true);
        };
        let user = user.as_str();
        let of_user = self.draws.values().filter(|draw| *draw.user == *user);
        let draws: Vec<DrawId> = of_user.map(|draw| draw.id).take(STEP_ROWS_MAX).collect();
        for id in &draws {
            self.erase_draw(*id, pseudonym);
        }
        let is_over = draws.len() < STEP_ROWS_MAX;
        if is_over {
            for campaign in self.campaigns.values_mut() {
                if let Some(row) = campaign.allowances.remove(user) {
                    campaign.allowances.insert(pseudonym.into(), row);
                }
                let wins = std::mem::take(&mut campaign.wins);
                campaign.wins = wins
                    .into_iter()
                    .map(|((who, prize), count)| {
                        let is_user = *who == *user;
                        let who = if is_user { pseudonym.into() } else { who };
                        ((who, prize), count)
                    })
                    .collect();
            }
            if self.blocked.remove(user) {
                self.blocked.insert(pseudonym.into());
            }
            self.erase_answers(user);
            self.kept.retain(|_, it| it.key.as_deref() != Some(user));
            for it in &mut self.operations {
                let of = &mut it.spec.filter.user;
                if of.as_deref() == Some(user) {
                    *of = Some(pseudonym.to_owned());
                }
            }
            self.erasing.remove(pseudonym);
        }
        (u64::try_from(draws.len()).unwrap_or(u64::MAX), is_over)
    }

    fn erase_draw(&mut self, id: DrawId, pseudonym: &str) {
        if let Some(draw) = self.draws.get_mut(&id) {
            draw.user = pseudonym.into();
        }
        let award = id.award();
        if let Some(it) = self.awards.get_mut(&award) {
            it.user = pseudonym.into();
            it.receipt = None;
        }
        if let Some(entry) = self.points.get_mut(&award) {
            entry.user = pseudonym.into();
        }
        self.addresses.remove(&award);
        self.shipments.remove(&award);
        for code in self.codes.iter_mut().filter(|it| it.award == Some(award)) {
            code.is_erased = true;
        }
    }
}

impl ModelStore {
    pub(super) fn stepped(&self, data: &mut Data, id: i64, now: Timestamp) -> Option<Operation> {
        let mut it = data.operation(id)?.clone();
        if it.state != OperationState::Running {
            return Some(it);
        }
        let is_over = if let BulkAction::Erase { pseudonym } = &it.spec.action {
            let (erased, is_over) = data.erased(pseudonym);
            it.done += erased;
            is_over
        } else {
            self.step_awards(data, &mut it, now)
        };
        if is_over {
            it.state = OperationState::Done;
        }
        it.updated_at = now;
        data.operation(id)?.clone_from(&it);
        Some(it)
    }

    /// Whether it has gone through all that fit.
    fn step_awards(&self, data: &mut Data, it: &mut Operation, now: Timestamp) -> bool {
        let behind = |award: &AwardId| it.after.is_none_or(|after| *award > after);
        let page: Vec<AwardId> = data
            .awards
            .iter()
            .filter(|(award, award_of)| behind(award) && is_meant(award_of, &it.spec))
            .map(|(award, _)| *award)
            .take(STEP_ROWS_MAX)
            .collect();
        for award in &page {
            let hold = data.awards.get(award).and_then(|it| it.row.hold_reason);
            let Some(event) = event_of(it, hold, now) else {
                it.refused += 1;
                continue;
            };
            match self.apply(data, *award, &event, now) {
                Some(Step::Changed(_)) => it.done += 1,
                Some(Step::Refused(Refusal::OutcomeUnknown)) => it.in_doubt += 1,
                Some(Step::Refused(_) | Step::Late | Step::Same) | None => it.refused += 1,
            }
            it.after = Some(*award);
        }
        page.len() < STEP_ROWS_MAX
    }
}

fn event_of(it: &Operation, held: Option<HoldReason>, now: Timestamp) -> Option<Event> {
    Some(match &it.spec.action {
        BulkAction::Requeue {
            not_delivered,
            over_secs,
        } => {
            let matched = u32::try_from(it.spec.matched.max(it.done + 1)).unwrap_or(u32::MAX);
            let done = u32::try_from(it.done).unwrap_or(u32::MAX);
            let share = Duration::from_secs(*over_secs) * done / matched;
            Event::Requeue {
                not_delivered: *not_delivered,
                due_at: it.created_at.plus(share).max(now),
            }
        }
        BulkAction::Cancel { return_stock } => Event::Cancel {
            return_stock: *return_stock,
        },
        BulkAction::Release => Event::End { reason: held? },
        BulkAction::Erase { .. } => return None,
    })
}

fn is_meant(it: &Award, spec: &BulkSpec) -> bool {
    let BulkFilter {
        campaign,
        prize,
        user,
        kind,
        state,
        hold_reason,
        reason,
        since,
    } = &spec.filter;
    let is = |wanted: &Option<String>, had: &str| wanted.as_deref().is_none_or(|it| it == had);
    let is_possible = match spec.action {
        BulkAction::Release => matches!(
            it.row.hold_reason,
            Some(HoldReason::Manual | HoldReason::Scheduled)
        ),
        BulkAction::Requeue { .. } | BulkAction::Cancel { .. } | BulkAction::Erase { .. } => {
            spec.action.states().contains(&it.row.state)
        }
    };
    is_possible
        && is(campaign, &it.campaign)
        && is(prize, &it.prize)
        && is(user, &it.user)
        && kind.is_none_or(|kind| kind == it.row.kind)
        && state.is_none_or(|state| state == it.row.state)
        && (hold_reason.is_none() || *hold_reason == it.row.hold_reason)
        && (reason.is_none() || *reason == it.row.dead_reason)
        && since.is_none_or(|since| it.drawn_at >= since)
}
