//! Draws are committed here, those of other systems in `adopt` by the same writer, and
//! nowhere else: keys, counters, draws and the
//! delivery rows of what was won, in one transaction. What is drawn is decided by
//! the pure [`decide`]; this only reads what it asks for and writes what it says.

use super::state::{self, Added, Campaign};
use super::{Path, keys};
use crate::rules::Places;
use crate::sql::OrStoreError as _;
use crate::sql::{Statement, params};
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::campaign::{Phase, Prize};
use tombola_core::draw::{Decided, DrawFact, DrawRefusal, DrawRequest, NewDraw, decide};
use tombola_core::limits::SPAN_IDS;
use tombola_core::message::Message;
use tombola_core::ports::{DrawAnswer, DrawBatch, Handoff, StoreResult};
use tombola_core::time::CivilDay;

/// A request and its place in the batch.
type Asked = (usize, DrawRequest);

/// Commits a batch; one answer for each request, in order.
pub(super) fn commit_draws(path: Path<'_>, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
    let Some(mut campaign) = state::campaign(path, &batch.campaign)? else {
        let refused = DrawAnswer::Refused(DrawRefusal::CampaignNotFound);
        return Ok(vec![refused; batch.requests.len()]);
    };
    let mut answers = Answers(vec![None; batch.requests.len()]);
    let mut open: Vec<Asked> = batch.requests.into_iter().enumerate().collect();
    let slug = batch.campaign;
    loop {
        let round = Round {
            path,
            campaign: &campaign,
            slug: &slug,
            now: batch.now,
            has_relay: batch.has_relay,
        };
        open = round.run(open, &mut answers)?;
        if open.is_empty() {
            return Ok(answers.whole());
        }
        // Rare: a request whose key an earlier member of the batch had, but which
        // was refused and left the key free. The counters have moved.
        if let Some(moved) = state::campaign(path, &slug)? {
            campaign = moved;
        }
    }
}

/// Answers by place in the batch.
struct Answers(Vec<Option<DrawAnswer>>);

impl Answers {
    fn set(&mut self, place: usize, answer: DrawAnswer) {
        self.0[place] = Some(answer);
    }

    fn whole(self) -> Vec<DrawAnswer> {
        self.0
            .into_iter()
            .map(|it| it.expect("a round ends only when every request is answered"))
            .collect()
    }
}

/// A request that has the key of an earlier one of the same batch.
struct Follower {
    place: usize,
    request: DrawRequest,
    /// Place of the one that it follows.
    leader: usize,
    is_same: bool,
}

/// What the draws of a batch share.
pub(super) struct Round<'a> {
    pub(super) path: Path<'a>,
    pub(super) campaign: &'a Campaign,
    pub(super) slug: &'a Arc<str>,
    pub(super) now: Timestamp,
    pub(super) has_relay: bool,
}

impl Round<'_> {
    /// Answers all it can; gives the requests that must be asked once more.
    fn run(&self, open: Vec<Asked>, answers: &mut Answers) -> StoreResult<Vec<Asked>> {
        let mut places = Vec::with_capacity(open.len());
        let mut fresh: Vec<DrawRequest> = Vec::with_capacity(open.len());
        let mut followers = Vec::new();
        let mut claims = keys::Claims::new(self.path, self.campaign.id)?;
        for (place, request) in open {
            let Some(kept) = claims.claim(&request)? else {
                places.push(place);
                fresh.push(request);
                continue;
            };
            let is_same = kept.is_of(&request);
            let leader = fresh
                .iter()
                .position(|it| it.tickets[0].id == kept.first_draw());
            if let Some(leader) = leader {
                followers.push(Follower {
                    place,
                    request,
                    leader: places[leader],
                    is_same,
                });
            } else if is_same {
                let draws = keys::replay(self.path, &kept)?;
                answers.set(place, DrawAnswer::replayed(draws, &request.user));
            } else {
                answers.set(place, DrawAnswer::Refused(DrawRefusal::RequestKeyReused));
            }
        }
        if !fresh.is_empty() {
            self.draw(&places, &fresh, answers)?;
        }
        Ok(followers
            .into_iter()
            .filter_map(|it| it.follow(answers))
            .collect())
    }

    fn draw(
        &self,
        places: &[usize],
        fresh: &[DrawRequest],
        answers: &mut Answers,
    ) -> StoreResult<()> {
        let before = state::read(self.path, self.campaign, fresh, self.now)?;
        let day = before.state.day;
        if !before.has_endpoints {
            return self.refuse_all(places, fresh, answers);
        }
        let decided = decide(
            before.state,
            fresh,
            &self.path.shared.schedule,
            self.has_relay,
        );
        let mut writing = Writing::new(self, &before.places, day)?;
        let mut has_drawn = false;
        for ((place, request), decided) in places.iter().zip(fresh).zip(decided.answers) {
            match decided {
                Decided::Drawn(draws) => {
                    has_drawn = true;
                    answers.set(*place, writing.write(request, &draws)?);
                }
                Decided::Refused(refusal) => {
                    keys::free(self.path, self.campaign.id, request)?;
                    answers.set(*place, DrawAnswer::Refused(refusal));
                }
            }
        }
        if has_drawn {
            state::add(
                self.path,
                self.campaign.id,
                &before.places,
                (day, self.now),
                &writing.added,
            )?;
        }
        Ok(())
    }

    /// Start checks that endpoints are there and nothing removes them. If one is
    /// gone all the same, a win could not be written; the campaign then draws
    /// nothing, as if a person had paused it, until the endpoint is put back.
    fn refuse_all(
        &self,
        places: &[usize],
        fresh: &[DrawRequest],
        answers: &mut Answers,
    ) -> StoreResult<()> {
        tracing::error!(campaign.id = %self.slug, "an endpoint of a started campaign is missing: nothing is drawn");
        for (place, request) in places.iter().zip(fresh) {
            keys::free(self.path, self.campaign.id, request)?;
            let refusal = DrawRefusal::NotRunning {
                phase: Phase::Paused,
            };
            answers.set(*place, DrawAnswer::Refused(refusal));
        }
        Ok(())
    }
}

impl Follower {
    /// Takes the answer of the one it follows; itself again if that one left the
    /// key free and this is another request.
    fn follow(self, answers: &mut Answers) -> Option<Asked> {
        let answer = match &answers.0[self.leader] {
            Some(DrawAnswer::Drawn { draws, .. }) if self.is_same => DrawAnswer::Replayed {
                draws: draws.clone(),
            },
            Some(DrawAnswer::Refused(refusal)) if self.is_same => {
                DrawAnswer::Refused(refusal.clone())
            }
            Some(DrawAnswer::Drawn { .. }) => DrawAnswer::Refused(DrawRefusal::RequestKeyReused),
            Some(DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_)) | None => {
                return Some((self.place, self.request));
            }
        };
        answers.set(self.place, answer);
        None
    }
}

/// The statements of a batch, and what it adds to the counters.
pub(super) struct Writing<'a> {
    round: &'a Round<'a>,
    places: &'a Places,
    day: CivilDay,
    /// The prizes' slugs, shared by all answers of the batch.
    slugs: Vec<Arc<str>>,
    draws: Statement<'a>,
    deliveries: Statement<'a>,
    pub(super) added: Added,
}

impl<'a> Writing<'a> {
    pub(super) fn new(
        round: &'a Round<'a>,
        places: &'a Places,
        day: CivilDay,
    ) -> StoreResult<Self> {
        let prizes = &round.campaign.rules.prizes;
        let draws = "INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll,
               unavailable, drawn_at, day, claim_key, traceparent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let deliveries =
            "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at,
               in_doubt, hold_reason, held_at, message_id, delivery_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let conn = round.path.conn;
        Ok(Self {
            round,
            places,
            day,
            slugs: prizes
                .iter()
                .map(|prize| Arc::from(prize.slug.as_str()))
                .collect(),
            draws: conn.prepare_cached(draws).or_store()?,
            deliveries: conn.prepare_cached(deliveries).or_store()?,
            added: Added {
                wins: vec![0; prizes.len()],
                ..Added::default()
            },
        })
    }

    pub(super) fn write(
        &mut self,
        request: &DrawRequest,
        draws: &[NewDraw],
    ) -> StoreResult<DrawAnswer> {
        let mut facts = Vec::with_capacity(draws.len());
        let mut handoffs = Vec::new();
        for draw in draws {
            self.write_draw(request, draw)?;
            if let Some(index) = draw.prize {
                handoffs.extend(self.write_win(request, draw, index)?);
            }
            facts.push(self.fact(request, draw));
        }
        let count = i64::try_from(draws.len()).unwrap_or(i64::MAX);
        *self
            .added
            .draws
            .entry(Arc::clone(&request.user))
            .or_default() += count;
        Ok(DrawAnswer::Drawn {
            draws: facts,
            handoffs,
        })
    }

    fn write_draw(&mut self, request: &DrawRequest, draw: &NewDraw) -> StoreResult<()> {
        self.added.spans.insert(draw.ticket.id.0 / SPAN_IDS);
        self.draws
            .execute(params![
                draw.ticket.id.0,
                self.round.campaign.id,
                self.round.campaign.version,
                &*request.user,
                &*request.client,
                draw.prize.map(|index| self.places.ids[index]),
                draw.ticket.roll.to_bits_i64(),
                draw.unavailable,
                self.round.now.0,
                self.day.0,
                request.claim_key_version,
                request.traceparent.as_deref(),
            ])
            .map(drop)
            .or_store()
    }

    /// The delivery row of a win, and its hand-off unless it is held.
    fn write_win(
        &mut self,
        request: &DrawRequest,
        draw: &NewDraw,
        index: usize,
    ) -> StoreResult<Option<Handoff>> {
        let prize = &self.round.campaign.rules.prizes[index];
        self.added.wins[index] += 1;
        if prize.per_user_wins.is_some() {
            self.added
                .user_wins
                .push((index, Arc::clone(&request.user)));
        }
        let Some(row) = &draw.award else {
            return Ok(None);
        };
        let message_id = draw.message_id();
        self.deliveries
            .execute(params![
                row.award.0,
                self.places.ids[index],
                row.kind.name(),
                row.lane,
                row.state.name(),
                row.lease,
                row.due_at.map(|at| at.0),
                row.in_doubt,
                row.hold_reason.map(tombola_core::reason::HoldReason::name),
                row.held_at.map(|at| at.0),
                message_id,
                draw.delivery_key(),
            ])
            .or_store()?;
        let is_handed_off = self.round.has_relay && row.state == State::Pending;
        Ok(is_handed_off.then(|| self.handoff(request, draw, prize, &message_id)))
    }

    fn handoff(
        &self,
        request: &DrawRequest,
        draw: &NewDraw,
        prize: &Prize,
        message_id: &str,
    ) -> Handoff {
        let (rules, now) = (&self.round.campaign.rules, self.round.now);
        let award = draw.ticket.id.award();
        Handoff {
            award,
            lease: draw.award.as_ref().map_or(1, |row| row.lease),
            message: Message::new(rules, prize, award, &request.user, message_id, now),
            traceparent: request.traceparent.clone(),
            at: now,
        }
    }

    fn fact(&self, request: &DrawRequest, draw: &NewDraw) -> DrawFact {
        DrawFact {
            id: draw.ticket.id,
            campaign: Arc::clone(self.round.slug),
            user: Arc::clone(&request.user),
            prize: draw.prize.map(|index| Arc::clone(&self.slugs[index])),
            drawn_at: self.round.now,
            award: draw.award.as_ref().map(|row| (row.kind, row.state)),
            claim_key_version: request.claim_key_version,
        }
    }
}
