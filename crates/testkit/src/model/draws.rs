//! Committing draws. A database decides a whole batch at once; the model takes
//! one request after the other, each with its key looked up first, which must
//! come to the same: that is what "in order of arrival" means.

use super::ModelStore;
use super::data::{AllowanceRow, Award, Campaign, Data, Request};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::adoption::{Adopter, Adoption};
use tombola_core::award::State;
use tombola_core::campaign::KindSpec;
use tombola_core::draw::{
    Allowance, BatchState, Decided, DrawFact, DrawRefusal, DrawRequest, NewDraw, PrizeCount,
};
use tombola_core::ports::{AdoptAnswer, DrawAnswer, DrawBatch};
use tombola_core::reason::KeptReason;

impl ModelStore {
    pub(super) fn commit(&self, batch: &DrawBatch) -> Vec<DrawAnswer> {
        let mut data = self.data();
        batch
            .requests
            .iter()
            .map(|request| self.commit_one(&mut data, batch, request))
            .collect()
    }

    fn commit_one(&self, data: &mut Data, batch: &DrawBatch, request: &DrawRequest) -> DrawAnswer {
        let key = (
            batch.campaign.clone(),
            request.client.clone(),
            request.key.clone(),
        );
        if let Some(before) = data.requests.get(&key) {
            if before.fingerprint != request.fingerprint {
                return DrawAnswer::Refused(DrawRefusal::RequestKeyReused);
            }
            let draws = before
                .draws
                .iter()
                .filter_map(|id| data.draws.get(id).cloned())
                .collect();
            return DrawAnswer::replayed(draws, &request.user);
        }
        let Some(campaign) = data.campaigns.get(&batch.campaign) else {
            return DrawAnswer::Refused(DrawRefusal::CampaignNotFound);
        };
        let before = read_state(data, campaign, &request.user, batch.now);
        let decided = (self.laws.decide)(
            before,
            std::slice::from_ref(request),
            &self.schedule,
            batch.has_relay,
        );
        match decided.answers.into_iter().next() {
            Some(Decided::Drawn(draws)) => {
                write_counters(data, &batch.campaign, &decided.after);
                let ids = draws.iter().map(|draw| draw.ticket.id).collect();
                data.requests.insert(
                    key,
                    Request {
                        fingerprint: request.fingerprint,
                        draws: ids,
                    },
                );
                write_draws(data, batch, request, &draws, &decided.after)
            }
            Some(Decided::Refused(refusal)) => DrawAnswer::Refused(refusal),
            None => DrawAnswer::Refused(DrawRefusal::CampaignNotFound),
        }
    }
}

impl ModelStore {
    /// One order of another system.
    pub(super) fn adopt_one(
        &self,
        data: &mut Data,
        adoption: &Adoption,
        now: Timestamp,
    ) -> AdoptAnswer {
        let key = (Arc::clone(&adoption.source), adoption.order);
        if data.adopted.contains_key(&key) {
            return AdoptAnswer::Known;
        }
        let Some(campaign) = data.campaigns.get(&adoption.campaign) else {
            return AdoptAnswer::Refused(KeptReason::NotAdoptable);
        };
        if data.erasing.values().any(|user| **user == *adoption.user) {
            return AdoptAnswer::Refused(KeptReason::UserErased);
        }
        let mut state = read_state(data, campaign, &adoption.user, now);
        let lanes: Vec<_> = state.prizes.iter().map(|it| Some(it.lane)).collect();
        let adopter = Adopter {
            rules: &state.rules,
            state: state.state,
            lanes: &lanes,
            now,
            schedule: &self.schedule,
        };
        let draw = match adopter.adopt(adoption) {
            Ok(draw) => draw,
            Err(reason) => return AdoptAnswer::Refused(reason),
        };
        state.draws += 1;
        for used in state.allowances.values_mut() {
            used.total += 1;
            used.today += 1;
        }
        if let Some(index) = draw.prize {
            state.prizes[index].spent += 1;
            state.prizes[index].today += 1;
        }
        write_counters(data, &adoption.campaign, &state);
        let batch = DrawBatch {
            campaign: Arc::clone(&adoption.campaign),
            requests: Vec::new(),
            now,
            has_relay: true,
        };
        let drawn = write_draws(data, &batch, &adoption.as_request(), &[draw], &state);
        data.adopted.insert(key, adoption.ticket.id.award());
        match drawn {
            DrawAnswer::Drawn { handoffs, .. } => {
                let handoff = handoffs.into_iter().next();
                AdoptAnswer::Adopted(handoff.map(|it| Box::new(it.message)))
            }
            DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_) => AdoptAnswer::Known,
        }
    }
}

/// What a batch's transaction reads and locks, for one user.
fn read_state(data: &Data, campaign: &Campaign, user: &Arc<str>, now: Timestamp) -> BatchState {
    let rules = Arc::clone(&campaign.rules(campaign.version).rules);
    let day = now.civil_day(&rules.zone).max(campaign.day);
    let prizes = rules
        .prizes
        .iter()
        .map(|prize| {
            let row = campaign.prizes.get(&prize.slug);
            PrizeCount {
                stock: row.map_or(prize.stock, |row| row.stock),
                spent: row.map_or(0, |row| row.spent),
                today: row
                    .filter(|row| row.day == day)
                    .map_or(0, |row| row.day_spent),
                lane: match &prize.spec {
                    KindSpec::Webhook { endpoint, .. } => {
                        data.lane_of(endpoint).unwrap_or_default()
                    }
                    KindSpec::Text { .. }
                    | KindSpec::Code { .. }
                    | KindSpec::Points { .. }
                    | KindSpec::Physical { .. }
                    | KindSpec::External { .. } => 0,
                },
            }
        })
        .collect();
    let used = campaign.allowances.get(user).copied().unwrap_or_default();
    let allowance = Allowance {
        total: used.total,
        today: if used.day == day { used.day_total } else { 0 },
    };
    let wins: HashMap<_, _> = rules
        .prizes
        .iter()
        .enumerate()
        .filter_map(|(index, prize)| {
            let wins = campaign.wins.get(&(Arc::clone(user), prize.slug.clone()))?;
            Some(((Arc::clone(user), index), *wins))
        })
        .collect();
    BatchState {
        rules,
        version: campaign.version,
        state: campaign.state,
        now,
        day,
        draws: campaign.draws,
        prizes,
        allowances: HashMap::from([(Arc::clone(user), allowance)]),
        wins,
        blocked: data.blocked.iter().cloned().collect::<HashSet<_>>(),
    }
}

fn write_counters(data: &mut Data, slug: &str, after: &BatchState) {
    let Some(campaign) = data.campaigns.get_mut(slug) else {
        return;
    };
    campaign.draws = after.draws;
    campaign.day = after.day;
    for (prize, count) in after.rules.prizes.iter().zip(&after.prizes) {
        if let Some(row) = campaign.prizes.get_mut(&prize.slug) {
            row.spent = count.spent;
            row.day = after.day;
            row.day_spent = count.today;
        }
    }
    for (user, used) in &after.allowances {
        let row = AllowanceRow {
            total: used.total,
            day: after.day,
            day_total: used.today,
        };
        campaign.allowances.insert(Arc::clone(user), row);
    }
    for ((user, index), wins) in &after.wins {
        let prize = after.rules.prizes[*index].slug.clone();
        campaign.wins.insert((Arc::clone(user), prize), *wins);
    }
}

fn write_draws(
    data: &mut Data,
    batch: &DrawBatch,
    request: &DrawRequest,
    draws: &[NewDraw],
    after: &BatchState,
) -> DrawAnswer {
    let (mut facts, mut handoffs) = (Vec::new(), Vec::new());
    for draw in draws {
        let prize: Option<Arc<str>> = draw
            .prize
            .map(|index| after.rules.prizes[index].slug.as_str().into());
        let fact = DrawFact {
            id: draw.ticket.id,
            campaign: Arc::clone(&batch.campaign),
            user: Arc::clone(&request.user),
            prize: prize.clone(),
            drawn_at: batch.now,
            award: draw.award.as_ref().map(|row| (row.kind, row.state)),
            claim_key_version: request.claim_key_version,
        };
        data.draws.insert(fact.id, fact.clone());
        facts.push(fact);
        if let (Some(row), Some(prize)) = (&draw.award, prize) {
            let award = Award {
                row: row.clone(),
                campaign: Arc::clone(&batch.campaign),
                version: after.version,
                prize,
                user: Arc::clone(&request.user),
                drawn_at: batch.now,
                message_id: draw.message_id(),
                delivery_key: draw.delivery_key(),
                traceparent: request.traceparent.clone(),
                is_poisoned: false,
                receipt: None,
                ended_at: None,
                log: Vec::new(),
            };
            data.awards.insert(row.award, award);
            // Nothing is published for a held award, nor where nobody publishes.
            if row.state == State::Pending && batch.has_relay {
                handoffs.extend(data.handoff(row.award, batch.now));
            }
        }
    }
    DrawAnswer::Drawn {
        draws: facts,
        handoffs,
    }
}
