//! Aim: whatever is drawn, stock and awards add up, no limit is exceeded, and an
//! auditor who has the rules, what could not be given and the roll comes to the
//! same prize.

use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tombola_core::award::State;
use tombola_core::campaign::file::{CampaignSection, LimitsSection, OddsSection, PrizeSection};
use tombola_core::campaign::odds::{Availability, Roll, choose};
use tombola_core::campaign::{CampaignFile, CampaignState, Rules};
use tombola_core::draw::{
    Allowance, BatchState, Decided, DrawRequest, NewDraw, PrizeCount, Ticket, decide,
};
use tombola_core::retry::Schedule;
use tombola_core::{DrawId, Timestamp};

const NOW: Timestamp = Timestamp(1_771_000_000_000_000);

/// A batch before it is decided.
#[derive(Debug, Clone)]
struct Batch {
    state: BatchState,
    requests: Vec<DrawRequest>,
}

impl Batch {
    fn decide(&self) -> (Vec<Decided>, BatchState) {
        let decision = decide(
            self.state.clone(),
            &self.requests,
            &Schedule::default(),
            true,
        );
        (decision.answers, decision.after)
    }
}

prop_compose! {
    fn prize(index: usize)(
        weight in 1..5_i64,
        stock in prop::option::of(0..6_i64),
        daily_cap in prop::option::of(1..4_i64),
        per_user_wins in prop::option::of(1..3_i64),
        is_held in any::<bool>(),
    ) -> PrizeSection {
        PrizeSection {
            slug: format!("p{index}"),
            name: "It".to_owned(),
            kind: "text".to_owned(),
            text: Some("hello".to_owned()),
            weight: Some(weight),
            stock,
            daily_cap,
            per_user_wins,
            release: is_held.then(|| "manual".to_owned()),
            ..PrizeSection::default()
        }
    }
}

prop_compose! {
    fn rules()(
        prizes in (prize(0), prize(1), prize(2)),
        nothing in 0..4_i64,
        way in 0..3_u8,
        limits in (prop::option::of(1..9_i64), prop::option::of(1..7_i64), prop::option::of(1..20_i64)),
    ) -> Rules {
        let last = PrizeSection { stock: None, daily_cap: None, per_user_wins: None, ..prizes.2 };
        let (on_unavailable, fallback) = match way {
            0 => ("no_win", None),
            1 => ("spread", None),
            _ => ("fallback", Some("p2".to_owned())),
        };
        let file = CampaignFile {
            campaign: CampaignSection {
                slug: "fair".to_owned(),
                name: "Fair".to_owned(),
                ..CampaignSection::default()
            },
            limits: LimitsSection {
                per_user_total: limits.0,
                per_user_per_day: limits.1,
                campaign_total: limits.2,
            },
            odds: OddsSection {
                on_unavailable: Some(on_unavailable.to_owned()),
                fallback,
                nothing_weight: Some(nothing),
            },
            prize: vec![prizes.0, prizes.1, last],
        };
        file.check().unwrap_or_else(|problems| panic!("{problems:?}"))
    }
}

prop_compose! {
    fn batch()(
        rules in rules(),
        asked in prop::collection::vec((0..4_u8, prop::collection::vec(any::<u64>(), 1..4)), 0..14),
        used in prop::collection::vec((0..5_u64, 0..5_u64), 4),
        spent in prop::collection::vec((0..4_u64, 0..3_u64), 3),
        blocked in prop::option::of(0..4_u8),
    ) -> Batch {
        let user = |number: u8| -> Arc<str> { format!("u{number}").into() };
        let mut next = 0;
        let requests = asked.into_iter().map(|(number, rolls)| DrawRequest {
            client: "shop".into(),
            user: user(number),
            key: format!("key-{next:08}").into(),
            fingerprint: [0; 16],
            tickets: rolls.into_iter().map(|roll| {
                next += 1;
                Ticket { id: DrawId(next), roll: Roll(roll), message_tail: 1, delivery_tail: 2 }
            }).collect(),
            traceparent: None,
            claim_key_version: 1,
        }).collect();
        let prizes = rules.prizes.iter().zip(spent).map(|(prize, (spent, today))| {
            let spent = spent.min(prize.stock.unwrap_or(u64::MAX));
            let today = today.min(spent).min(prize.daily_cap.unwrap_or(u64::MAX));
            PrizeCount { stock: prize.stock, spent, today, lane: 0 }
        }).collect();
        let allowances: HashMap<_, _> = used.into_iter().zip(0..4).map(|((total, today), number)| {
            let total = total.min(rules.limits.per_user_total.unwrap_or(u64::MAX));
            let today = today.min(total).min(rules.limits.per_user_per_day.unwrap_or(u64::MAX));
            (user(number), Allowance { total, today })
        }).collect();
        let drawn: u64 = allowances.values().map(|it| it.total).sum();
        let draws = drawn.min(rules.limits.campaign_total.unwrap_or(u64::MAX));
        let state = BatchState {
            day: NOW.civil_day(&rules.zone),
            rules: Arc::new(rules),
            version: 1,
            state: CampaignState::Started,
            now: NOW,
            draws,
            prizes,
            allowances,
            wins: HashMap::new(),
            blocked: blocked.into_iter().map(user).collect::<HashSet<_>>(),
        };
        Batch { state, requests }
    }
}

fn draws_of(answers: &[Decided]) -> impl Iterator<Item = &NewDraw> {
    answers.iter().flat_map(|answer| match answer {
        Decided::Drawn(draws) => draws.as_slice(),
        Decided::Refused(_) => &[],
    })
}

/// Counters as they can be compared; a user without draws is one that is absent.
fn counters(state: &BatchState) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut used: Vec<_> = state
        .allowances
        .iter()
        .filter(|(_, it)| **it != Allowance::default())
        .map(|(user, it)| (user.to_string(), *it))
        .collect();
    used.sort_by(|one, other| one.0.cmp(&other.0));
    let mut wins: Vec<_> = state
        .wins
        .iter()
        .map(|((user, index), wins)| (user.to_string(), *index, *wins))
        .collect();
    wins.sort();
    (state.draws, state.prizes.clone(), used, wins)
}

proptest! {
    #[test]
    fn stock_spent_and_awards_made_add_up(batch in batch()) {
        let (answers, after) = batch.decide();
        for (index, (before, after)) in batch.state.prizes.iter().zip(&after.prizes).enumerate() {
            let won = draws_of(&answers).filter(|draw| draw.prize == Some(index)).count() as u64;
            prop_assert_eq!(after.spent, before.spent + won);
            prop_assert_eq!(after.today, before.today + won);
            prop_assert_eq!(after.stock, before.stock);
        }
        for draw in draws_of(&answers) {
            prop_assert_eq!(draw.prize.is_some(), draw.award.is_some());
            if let Some(row) = &draw.award {
                prop_assert_eq!(row.award, draw.ticket.id.award());
                prop_assert!(matches!(row.state, State::Pending | State::Held) && row.lease == 1);
            }
        }
    }

    #[test]
    fn no_stock_and_no_limit_is_exceeded(batch in batch()) {
        let (_, after) = batch.decide();
        let limits = &after.rules.limits;
        for (prize, count) in after.rules.prizes.iter().zip(&after.prizes) {
            prop_assert!(count.stock.is_none_or(|stock| count.spent <= stock));
            prop_assert!(prize.daily_cap.is_none_or(|cap| count.today <= cap));
        }
        for used in after.allowances.values() {
            prop_assert!(limits.per_user_total.is_none_or(|max| used.total <= max));
            prop_assert!(limits.per_user_per_day.is_none_or(|max| used.today <= max));
        }
        prop_assert!(limits.campaign_total.is_none_or(|max| after.draws <= max));
        for ((_, index), wins) in &after.wins {
            let max = after.rules.prizes[*index].per_user_wins;
            prop_assert!(max.is_some_and(|max| *wins <= max));
        }
    }

    #[test]
    fn a_draw_replays_from_its_roll_and_what_could_not_be_given(batch in batch()) {
        let (answers, _) = batch.decide();
        for draw in draws_of(&answers) {
            let bytes = draw.unavailable.clone().unwrap_or_default();
            let availability = Availability::from_bytes(&bytes).unwrap();
            prop_assert_eq!(choose(&batch.state.rules, &availability, draw.ticket.roll), draw.prize);
            if let Some(index) = draw.prize {
                prop_assert!(availability.is_available(index));
            }
        }
    }

    #[test]
    fn a_batch_comes_to_the_same_however_it_is_split(batch in batch(), at in 0..15_usize) {
        let at = at.min(batch.requests.len());
        let (whole, after_whole) = batch.decide();
        let (first, second) = batch.requests.split_at(at);
        let (mut parts, between) =
            Batch { requests: first.to_vec(), ..batch.clone() }.decide();
        let (rest, after) = Batch { requests: second.to_vec(), state: between }.decide();
        parts.extend(rest);
        prop_assert_eq!(parts, whole);
        prop_assert_eq!(counters(&after), counters(&after_whole));
    }

    #[test]
    fn a_refused_request_leaves_the_batch_as_if_it_had_not_come(batch in batch()) {
        let (answers, after) = batch.decide();
        let is_drawn = |answer: &Decided| matches!(answer, Decided::Drawn(_));
        let requests = batch.requests.iter().zip(&answers)
            .filter(|(_, answer)| is_drawn(answer))
            .map(|(request, _)| request.clone())
            .collect();
        let (others, after_others) = Batch { requests, ..batch.clone() }.decide();
        let drawn: Vec<_> = answers.into_iter().filter(is_drawn).collect();
        prop_assert_eq!(others, drawn);
        prop_assert_eq!(counters(&after_others), counters(&after));
    }

    #[test]
    fn a_request_draws_all_that_it_asked_for_or_nothing(batch in batch()) {
        let (answers, after) = batch.decide();
        prop_assert_eq!(answers.len(), batch.requests.len());
        for (request, answer) in batch.requests.iter().zip(&answers) {
            if let Decided::Drawn(draws) = answer {
                let tickets: Vec<_> = draws.iter().map(|draw| draw.ticket).collect();
                prop_assert_eq!(&tickets, &request.tickets);
                prop_assert!(!batch.state.blocked.contains(&request.user));
            }
        }
        let drawn = draws_of(&answers).count() as u64;
        prop_assert_eq!(after.draws, batch.state.draws + drawn);
    }

    #[test]
    fn nobody_draws_while_the_campaign_is_not_running(
        batch in batch(),
        state in prop::sample::select(CampaignState::ALL),
    ) {
        prop_assume!(state != CampaignState::Started);
        let batch = Batch { state: BatchState { state, ..batch.state.clone() }, ..batch };
        let (answers, after) = batch.decide();
        prop_assert!(answers.iter().all(|it| matches!(it, Decided::Refused(_))));
        prop_assert_eq!(counters(&after), counters(&batch.state));
    }
}
