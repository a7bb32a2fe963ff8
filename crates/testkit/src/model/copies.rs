//! What a worker's copy makes of its row: delivered here, claimed for a call,
//! set aside, held, or dropped.

use super::data::{Data, PointsEntry};
use super::{ModelStore, is_ours, line};
use tombola_core::Timestamp;
use tombola_core::award::{Event, Gate, State, Step};
use tombola_core::campaign::KindSpec;
use tombola_core::decision::Decision;
use tombola_core::ports::{Claim, Copy, CopyAnswer, Deferral};
use tombola_core::reason::HoldReason;
use tombola_core::retry::Jitter;

impl ModelStore {
    /// A local kind is claimed, given its effect and recorded at once; if that
    /// fails by an error of its row, nothing of it stays and the failure is
    /// counted. An outside kind is only named: it needs a permit first.
    pub(super) fn deliver_copy(&self, data: &mut Data, copy: &Copy, now: Timestamp) -> CopyAnswer {
        if let Some(answer) = self.drop_or_pause(data, copy, now) {
            return answer;
        }
        let it = &data.awards[&copy.award];
        let (lane, kind, lease) = (it.row.lane, it.row.kind, it.row.lease);
        if lane != 0 {
            return CopyAnswer::Outside { lane };
        }
        if it.is_poisoned {
            let event = Event::Fail {
                lease,
                jitter: Jitter::NONE,
            };
            let step = self.apply(data, copy.award, &event, now);
            let is_dead = matches!(step, Some(Step::Changed(it)) if it.row.state == State::Dead);
            return CopyAnswer::Failed { is_dead };
        }
        self.apply(data, copy.award, &copied(copy, Gate::Permit), now);
        let decision = give(data, copy);
        let event = Event::Decide {
            lease: data.awards[&copy.award].row.lease,
            decision: decision.clone(),
            lane_at: now,
            has_hold_ended: false,
            jitter: Jitter::NONE,
        };
        self.apply(data, copy.award, &event, now);
        match decision {
            Decision::Hold(reason) => CopyAnswer::Held { kind, reason },
            Decision::Delivered { .. }
            | Decision::Retry { .. }
            | Decision::Refuse
            | Decision::Unknown
            | Decision::Defer => CopyAnswer::Delivered { kind },
        }
    }

    /// The attempt is counted here, before the call: if we die between, the lease
    /// ends and rescue decides by the endpoint.
    pub(super) fn claim_copy(&self, data: &mut Data, copy: &Copy, now: Timestamp) -> CopyAnswer {
        if let Some(answer) = self.drop_or_pause(data, copy, now) {
            return answer;
        }
        self.apply(data, copy.award, &copied(copy, Gate::Permit), now);
        let it = &data.awards[&copy.award];
        CopyAnswer::Claimed(Box::new(Claim {
            award: copy.award,
            lease: it.row.lease,
            lane: it.row.lane,
            attempts: it.row.attempts,
            delivery_key: it.delivery_key.clone(),
            lease_ends: it.row.due_at.unwrap_or(now),
        }))
    }

    pub(super) fn defer_copy(&self, data: &mut Data, it: &Deferral, now: Timestamp) -> CopyAnswer {
        if let Some(answer) = self.drop_or_pause(data, &it.copy, now) {
            return answer;
        }
        let gate = Gate::NoPermit { until: it.until };
        self.apply(data, it.copy.award, &copied(&it.copy, gate), now);
        CopyAnswer::Deferred
    }

    /// What comes before any permit: a copy of somebody else's, a copy that finds
    /// its row moved on, deliveries that are paused.
    fn drop_or_pause(&self, data: &mut Data, copy: &Copy, now: Timestamp) -> Option<CopyAnswer> {
        if let Err(reason) = is_ours(data.awards.get(&copy.award), &copy.message_id) {
            return Some(CopyAnswer::NotOurs(reason));
        }
        let terms = data.terms(copy.award)?;
        let row = data.awards.get(&copy.award)?.row.clone();
        let event = copied(copy, Gate::Paused);
        let paused = self.ask(&row, &event, &terms, now);
        if !matches!(paused, Step::Changed(_)) {
            return Some(CopyAnswer::Dropped);
        }
        if !data.is_paused(copy.award) {
            return None;
        }
        data.write(copy.award, &paused, &line(&event), now);
        Some(CopyAnswer::Held {
            kind: row.kind,
            reason: HoldReason::Paused,
        })
    }
}

fn copied(copy: &Copy, gate: Gate) -> Event {
    Event::Copy {
        position: copy.position,
        gate,
    }
}

/// The effect of a local kind, or the hold that is its next step.
fn give(data: &mut Data, copy: &Copy) -> Decision {
    let delivered = Decision::Delivered { receipt: None };
    let it = &data.awards[&copy.award];
    let rules = &data.campaigns[&it.campaign].rules(it.version).rules;
    let Some((_, prize)) = rules.prize(&it.prize) else {
        return Decision::Refuse;
    };
    match &prize.spec {
        KindSpec::Text { .. } => delivered,
        KindSpec::Points { points } => {
            let entry = PointsEntry {
                user: it.user.clone(),
                points: i64::from(*points),
                is_reversed: false,
            };
            // One credit an award, whatever comes twice.
            data.points.entry(copy.award).or_insert(entry);
            delivered
        }
        KindSpec::Code { .. } => match data.free_code(copy.award) {
            Some(index) => {
                data.codes[index].award = Some(copy.award);
                delivered
            }
            None => Decision::Hold(HoldReason::NoCode),
        },
        KindSpec::Physical { .. } if data.addresses.contains_key(&copy.award) => {
            Decision::Hold(HoldReason::Shipment)
        }
        KindSpec::Physical { .. } => Decision::Hold(HoldReason::Address),
        KindSpec::External { .. } => Decision::Hold(HoldReason::External),
        // An outside kind never gets here: it has a lane.
        KindSpec::Webhook { .. } => Decision::Refuse,
    }
}
