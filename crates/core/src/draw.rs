//! Choosing: [`decide`] takes what a batch's transaction read and locked, and the
//! requests in order of arrival, and says what each draws. It is pure: the same
//! rules, state and rolls give the same outcomes, which is how a draw is replayed
//! by an auditor.

use crate::award::{Row, first_row};
use crate::campaign::odds::{Availability, Roll, choose};
use crate::campaign::{CampaignState, Kind, Phase, Rules, state};
use crate::ids::DrawId;
use crate::retry::Schedule;
use crate::time::{CivilDay, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What one draw is given before its transaction: its id, its roll, and the random
/// tails of its message id and delivery key (60 bits each).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The draw's id, reserved before.
    pub id: DrawId,
    /// The random number it consumes.
    pub roll: Roll,
    /// Tail of the message id.
    pub message_tail: u64,
    /// Tail of the delivery key.
    pub delivery_tail: u64,
}

/// One request for one or many draws: all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawRequest {
    /// The program that calls us; scope of its request keys.
    pub client: Arc<str>,
    /// Who draws.
    pub user: Arc<str>,
    /// The request key; a draw without one never reaches the desk.
    pub key: Arc<str>,
    /// Of the parsed request: the same key with another one is refused.
    pub fingerprint: [u8; 16],
    /// One for each draw asked for, at least one.
    pub tickets: Vec<Ticket>,
    /// Trace context of the request, stored with the draw.
    pub traceparent: Option<Arc<str>>,
    /// Version of the key that signs the claim tokens of this answer.
    pub claim_key_version: i32,
}

/// How often a user has drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// Draws over the campaign's life.
    pub total: u64,
    /// Draws on the batch's civil day.
    pub today: u64,
}

/// What was given of a prize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PrizeCount {
    /// Units to give in all; the live figure, which `stock add` changes.
    pub stock: Option<u64>,
    /// Units given and not returned.
    pub spent: u64,
    /// Units given on the batch's civil day.
    pub today: u64,
    /// 0 for local kinds, else the id of the endpoint.
    pub lane: i64,
}

/// What a batch's transaction read and locked.
#[derive(Debug, Clone)]
pub struct BatchState {
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// Their version.
    pub version: i32,
    /// The stored state of the campaign.
    pub state: CampaignState,
    /// The one instant of the batch.
    pub now: Timestamp,
    /// Its civil day in the campaign's zone.
    pub day: CivilDay,
    /// Draws of all users so far.
    pub draws: u64,
    /// By index of the prize in the rules.
    pub prizes: Vec<PrizeCount>,
    /// By user; a missing user has drawn nothing.
    pub allowances: HashMap<Arc<str>, Allowance>,
    /// Wins by user and prize, only of prizes with `per_user_wins`.
    pub wins: HashMap<(Arc<str>, usize), u64>,
    /// Users who may not draw.
    pub blocked: HashSet<Arc<str>>,
}

/// Why a request draws nothing; a refusal changes nothing and may be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrawRefusal {
    /// No campaign has that slug.
    CampaignNotFound,
    /// It is not running.
    NotRunning { phase: Phase },
    /// A limit is reached.
    AllowanceExhausted {
        limit: DrawLimit,
        left: u64,
        resets_at: Option<Timestamp>,
    },
    /// The user is blocked.
    UserBlocked,
    /// The request key was used for another request.
    RequestKeyReused,
    /// The request was answered before, and its user was erased since.
    UserErased,
}

/// Which limit refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DrawLimit {
    /// `per_user_total`
    UserTotal,
    /// `per_user_per_day`
    UserPerDay,
    /// `campaign_total`
    CampaignTotal,
}

impl DrawLimit {
    /// Its key in the campaign file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserTotal => "per_user_total",
            Self::UserPerDay => "per_user_per_day",
            Self::CampaignTotal => "campaign_total",
        }
    }
}

/// A draw as [`decide`] made it, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDraw {
    /// Its ticket.
    pub ticket: Ticket,
    /// Which prizes could not be given at its turn, if any: with the roll and the
    /// rules' version it replays to the same outcome.
    pub unavailable: Option<Vec<u8>>,
    /// Index of the prize won.
    pub prize: Option<usize>,
    /// The delivery row of a win.
    pub award: Option<Row>,
}

impl NewDraw {
    /// `<id>-<12 base32>`: names the award's message.
    pub fn message_id(&self) -> String {
        key(self.ticket.id, self.ticket.message_tail)
    }

    /// `<id>-<12 base32>`: given to the endpoint on every attempt.
    pub fn delivery_key(&self) -> String {
        key(self.ticket.id, self.ticket.delivery_tail)
    }
}

fn key(id: DrawId, tail: u64) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = format!("{id}-");
    for place in (0..12).rev() {
        let index = usize::try_from((tail >> (place * 5)) & 31).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
    }
    text
}

/// What [`decide`] says of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// It draws these, one for each ticket.
    Drawn(Vec<NewDraw>),
    /// It draws nothing.
    Refused(DrawRefusal),
}

/// Answers of a batch, in order of the requests, and the state after it.
#[derive(Debug, Clone)]
pub struct BatchDecision {
    /// One for each request.
    pub answers: Vec<Decided>,
    /// Counters after the batch, to be written back.
    pub after: BatchState,
}

/// Decides a batch, in order of arrival against the exact state: each win lowers
/// what is there for the next. Request keys are the store's matter; every request
/// here is new.
pub fn decide(
    state: BatchState,
    requests: &[DrawRequest],
    schedule: &Schedule,
    has_relay: bool,
) -> BatchDecision {
    let mut after = state;
    let answers = requests
        .iter()
        .map(|request| match refuse(&after, request) {
            Some(refusal) => Decided::Refused(refusal),
            None => Decided::Drawn(draw(&mut after, request, schedule, has_relay)),
        })
        .collect();
    BatchDecision { answers, after }
}

fn refuse(state: &BatchState, request: &DrawRequest) -> Option<DrawRefusal> {
    let phase = state::phase(state.state, &state.rules, state.now);
    if phase != Phase::Running {
        return Some(DrawRefusal::NotRunning { phase });
    }
    if state.blocked.contains(&request.user) {
        return Some(DrawRefusal::UserBlocked);
    }
    let asked = u64::try_from(request.tickets.len()).unwrap_or(u64::MAX);
    let used = state
        .allowances
        .get(&request.user)
        .copied()
        .unwrap_or_default();
    let limits = &state.rules.limits;
    let exhausted = |limit, max: Option<u64>, used: u64, resets_at| {
        let left = max?.saturating_sub(used);
        (left < asked).then_some(DrawRefusal::AllowanceExhausted {
            limit,
            left,
            resets_at,
        })
    };
    exhausted(
        DrawLimit::CampaignTotal,
        limits.campaign_total,
        state.draws,
        None,
    )
    .or_else(|| {
        exhausted(
            DrawLimit::UserTotal,
            limits.per_user_total,
            used.total,
            None,
        )
    })
    .or_else(|| {
        let resets_at = Some(state.day.next_start(&state.rules.zone));
        exhausted(
            DrawLimit::UserPerDay,
            limits.per_user_per_day,
            used.today,
            resets_at,
        )
    })
}

fn draw(
    state: &mut BatchState,
    request: &DrawRequest,
    schedule: &Schedule,
    has_relay: bool,
) -> Vec<NewDraw> {
    let count = u64::try_from(request.tickets.len()).unwrap_or_default();
    state.draws += count;
    let used = state
        .allowances
        .entry(Arc::clone(&request.user))
        .or_default();
    used.total += count;
    used.today += count;
    request
        .tickets
        .iter()
        .map(|ticket| {
            let availability = availability(state, &request.user);
            let prize = choose(&state.rules, &availability, ticket.roll);
            if let Some(index) = prize {
                spend(state, &request.user, index);
            }
            let award = prize.map(|index| {
                let lane = state.prizes[index].lane;
                let id = ticket.id.award();
                first_row(
                    id,
                    &state.rules.prizes[index],
                    lane,
                    state.now,
                    schedule,
                    has_relay,
                )
            });
            NewDraw {
                ticket: *ticket,
                unavailable: availability.to_bytes(),
                prize,
                award,
            }
        })
        .collect()
}

/// Which prizes can be given to this user now.
pub fn availability(state: &BatchState, user: &Arc<str>) -> Availability {
    let mut availability = Availability::all();
    for (index, (prize, count)) in state.rules.prizes.iter().zip(&state.prizes).enumerate() {
        let is_out = count.stock.is_some_and(|stock| count.spent >= stock)
            || prize.daily_cap.is_some_and(|cap| count.today >= cap)
            || prize.per_user_wins.is_some_and(|max| {
                state
                    .wins
                    .get(&(Arc::clone(user), index))
                    .copied()
                    .unwrap_or_default()
                    >= max
            });
        if is_out {
            availability = availability.without(index);
        }
    }
    availability
}

fn spend(state: &mut BatchState, user: &Arc<str>, index: usize) {
    state.prizes[index].spent += 1;
    state.prizes[index].today += 1;
    if state.rules.prizes[index].per_user_wins.is_some() {
        *state.wins.entry((Arc::clone(user), index)).or_default() += 1;
    }
}

/// What people are told of a draw, from facts that never change: a replay gives
/// the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawFact {
    /// Its id.
    pub id: DrawId,
    /// The campaign's slug.
    pub campaign: Arc<str>,
    /// Who drew.
    pub user: Arc<str>,
    /// The prize's slug, if one was won.
    pub prize: Option<Arc<str>>,
    /// When.
    pub drawn_at: Timestamp,
    /// Of a win: its kind, and the state its award began in.
    pub award: Option<(Kind, crate::award::State)>,
    /// Version of the key that signs its claim token.
    pub claim_key_version: i32,
}
