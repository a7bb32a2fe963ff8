//! Choosing without its limits.

use super::BrokenDraws;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::campaign::{CampaignState, Limits, OnUnavailable, Rules};
use tombola_core::draw::{BatchDecision, BatchState, Decided, DrawRequest, decide};
use tombola_core::retry::Schedule;

/// Decides by other rules than those in force; what is counted is counted.
fn by_rules(
    mut state: BatchState,
    requests: &[DrawRequest],
    schedule: &Schedule,
    has_relay: bool,
    edit: impl FnOnce(&mut Rules),
) -> BatchDecision {
    let sound = Arc::clone(&state.rules);
    let mut rules = sound.as_ref().clone();
    edit(&mut rules);
    state.rules = Arc::new(rules);
    let mut decision = decide(state, requests, schedule, has_relay);
    decision.after.rules = sound;
    decision
}

fn without_limit(edit: fn(&mut Limits)) -> impl FnOnce(&mut Rules) {
    move |rules| edit(&mut rules.limits)
}

pub(super) const ALL: BrokenDraws = &[
    (
        "stock is oversold",
        |mut state, requests, schedule, has_relay| {
            for prize in &mut state.prizes {
                prize.stock = None;
            }
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "stock is oversold by one",
        |mut state, requests, schedule, has_relay| {
            for prize in &mut state.prizes {
                prize.stock = prize.stock.map(|stock| stock + 1);
            }
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "a daily cap is overlooked",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules
                    .prizes
                    .iter_mut()
                    .for_each(|prize| prize.daily_cap = None);
            })
        },
    ),
    (
        "a daily cap never ends",
        |mut state, requests, schedule, has_relay| {
            for prize in &mut state.prizes {
                prize.today = prize.spent;
            }
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "a user wins as often as it comes",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules
                    .prizes
                    .iter_mut()
                    .for_each(|prize| prize.per_user_wins = None);
            })
        },
    ),
    (
        "wins of a user are not counted",
        |state, requests, schedule, has_relay| {
            let mut decision = decide(state, requests, schedule, has_relay);
            decision.after.wins.clear();
            decision
        },
    ),
    (
        "the limit of a user in all is overlooked",
        |state, requests, schedule, has_relay| {
            let edit = without_limit(|limits| limits.per_user_total = None);
            by_rules(state, requests, schedule, has_relay, edit)
        },
    ),
    (
        "the limit of a user per day is overlooked",
        |state, requests, schedule, has_relay| {
            let edit = without_limit(|limits| limits.per_user_per_day = None);
            by_rules(state, requests, schedule, has_relay, edit)
        },
    ),
    (
        "the day of a user never ends",
        |mut state, requests, schedule, has_relay| {
            for used in state.allowances.values_mut() {
                used.today = used.total;
            }
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "the limit of the campaign is overlooked",
        |state, requests, schedule, has_relay| {
            let edit = without_limit(|limits| limits.campaign_total = None);
            by_rules(state, requests, schedule, has_relay, edit)
        },
    ),
    (
        "a request for many takes what is left",
        |mut state, requests, schedule, has_relay| {
            let left = |state: &BatchState, request: &DrawRequest| {
                let used = state
                    .allowances
                    .get(&request.user)
                    .map_or(0, |used| used.total);
                let max = state.rules.limits.per_user_total.unwrap_or(u64::MAX);
                usize::try_from(max.saturating_sub(used)).unwrap_or(usize::MAX)
            };
            let mut answers = Vec::new();
            for request in requests {
                let count = left(&state, request).clamp(1, request.tickets.len());
                let some = DrawRequest {
                    tickets: request.tickets[..count].to_vec(),
                    ..request.clone()
                };
                let decision = decide(state, &[some], schedule, has_relay);
                answers.extend(decision.answers);
                state = decision.after;
            }
            BatchDecision {
                answers,
                after: state,
            }
        },
    ),
    (
        "users draw while a campaign is not started",
        |mut state, requests, schedule, has_relay| {
            state.state = CampaignState::Started;
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "users draw before the period",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules.starts_at = None;
            })
        },
    ),
    (
        "users draw after the period",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules.ends_at = rules.ends_at.map(|at| at.plus(Duration::from_secs(1)));
            })
        },
    ),
    (
        "a blocked user draws",
        |mut state, requests, schedule, has_relay| {
            state.blocked.clear();
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "what cannot be given gives nothing",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules.on_unavailable = OnUnavailable::NoWin;
            })
        },
    ),
    (
        "what cannot be given is always spread",
        |state, requests, schedule, has_relay| {
            by_rules(state, requests, schedule, has_relay, |rules| {
                rules.on_unavailable = OnUnavailable::Spread;
            })
        },
    ),
    (
        "nobody waits for a relay",
        |state, requests, schedule, _has_relay| decide(state, requests, schedule, false),
    ),
    (
        "everybody waits for a relay",
        |state, requests, schedule, _has_relay| decide(state, requests, schedule, true),
    ),
    (
        "a win has no award",
        |state, requests, schedule, has_relay| {
            let mut decision = decide(state, requests, schedule, has_relay);
            for answer in &mut decision.answers {
                if let Decided::Drawn(draws) = answer {
                    for draw in draws {
                        draw.award = None;
                    }
                }
            }
            decision
        },
    ),
    (
        "an outside award has no lane",
        |mut state, requests, schedule, has_relay| {
            for prize in &mut state.prizes {
                prize.lane = 0;
            }
            decide(state, requests, schedule, has_relay)
        },
    ),
    (
        "what is drawn is not counted",
        |state, requests, schedule, has_relay| {
            let before = state.clone();
            let mut decision = decide(state, requests, schedule, has_relay);
            decision.after.allowances = before.allowances;
            decision.after.draws = before.draws;
            decision
        },
    ),
    (
        "what is won is not counted",
        |state, requests, schedule, has_relay| {
            let before = state.clone();
            let mut decision = decide(state, requests, schedule, has_relay);
            decision.after.prizes = before.prizes;
            decision
        },
    ),
    (
        "a refusal uses up a draw",
        |state, requests, schedule, has_relay| {
            let mut decision = decide(state, requests, schedule, has_relay);
            decision.after.draws += 1;
            decision
        },
    ),
];
