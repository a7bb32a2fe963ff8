//! Draws are committed here, those of other systems in `adopt` by the same writer, and
//! nowhere else: keys, counters, draws and the delivery rows of what was won, in one
//! transaction.

use super::super::error::inconsistent;
use super::super::pool::Postgres;
use super::super::session::{Session, Work};
use super::Shared;
use super::added::Added;
use super::ahead;
use super::decided::{Fate, decide_each};
use super::keys::{self, Kept, Key, key_of};
use super::state::{self, Locked, Turn};
use super::versions::Versions;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Row;
use tombola_core::award::State;
use tombola_core::campaign::Rules;
use tombola_core::draw::{DrawFact, DrawRefusal, DrawRequest, NewDraw};
use tombola_core::message::Message;
use tombola_core::ports::{Arrivals, DrawAnswer, DrawBatch, Handoff, StoreResult};
use tombola_core::retry::Schedule;

/// One answer for each request of the batch, in order.
///
/// Batches of a campaign take turns at its lock. A batch that has to wait for its own takes
/// in who arrives meanwhile, so that the turns of many processes are as few as those of one.
pub(super) async fn commit_draws(
    session: &mut Session,
    (database, shared): (&Postgres, &Shared),
    batch: &mut DrawBatch,
    arrivals: Option<&dyn Arrivals>,
) -> StoreResult<Vec<DrawAnswer>> {
    let work = session.begin_turn();
    let Some(campaign) = shared.versions.campaign(&work, &batch.campaign).await? else {
        work.roll_back().await?;
        let refused = DrawAnswer::Refused(DrawRefusal::CampaignNotFound);
        return Ok(vec![refused; batch.requests.len()]);
    };
    let of = (&shared.crowd, database);
    let in_turn = ahead::in_turn(&work, campaign, of, batch, arrivals).await?;
    let desk = Desk {
        versions: &shared.versions,
        schedule: &shared.schedule,
        campaign,
        batch,
        is_ahead: in_turn.is_ahead,
    };
    let answers = desk
        .commit(&work, &in_turn.turn, &in_turn.of_requests)
        .await;
    if answers.is_err() && in_turn.is_ahead {
        shared.crowd.was_in_vain();
    }
    answers
}

/// One batch on its way into the database, in its turn.
struct Desk<'a> {
    versions: &'a Versions,
    schedule: &'a Schedule,
    campaign: i64,
    batch: &'a DrawBatch,
    /// Whether what is known of requests was read before the turn came.
    is_ahead: bool,
}

/// Answers by place in the batch.
type Answers = Vec<Option<DrawAnswer>>;

/// A request and its place in the batch.
type Open<'a> = (usize, &'a DrawRequest);

impl<'a> Desk<'a> {
    /// A batch that draws nothing is rolled back: a refusal changes nothing, and neither does
    /// a replay.
    async fn commit(
        &self,
        work: &Work<'_>,
        turn: &Turn,
        of_requests: &[Row],
    ) -> StoreResult<Vec<DrawAnswer>> {
        let requests = &self.batch.requests;
        let mut answers: Answers = vec![None; requests.len()];
        let kept = keys::kept(of_requests)?;
        self.replay(work, &kept, &mut answers).await?;
        let all = requests.iter().enumerate();
        let open: Vec<Open<'_>> = all.filter(|(place, _)| answers[*place].is_none()).collect();
        let has_drawn = if open.is_empty() {
            false
        } else {
            let of = (self.campaign, self.batch.now);
            let locked = state::of(work, self.versions, of, turn, of_requests).await?;
            self.draw(work, locked, &open, &mut answers).await?
        };
        if !has_drawn && kept.is_empty() {
            work.roll_back().await?;
        } else if !has_drawn {
            // What is answered again may be of a turn whose draws the disk does not have yet.
            tokio::try_join!(biased; work.roll_back(), work.flush())?;
        }
        let answers: Option<Vec<DrawAnswer>> = answers.into_iter().collect();
        answers.ok_or_else(|| inconsistent("a request without an answer"))
    }

    /// Answers the requests whose keys were there before.
    async fn replay(
        &self,
        work: &Work<'_>,
        kept: &HashMap<Key<'_>, Kept>,
        answers: &mut Answers,
    ) -> StoreResult<()> {
        let ids = kept.values().flat_map(|kept| kept.draws.iter().copied());
        let (versions, schedule) = (self.versions, self.schedule);
        let facts = keys::facts(work, versions, schedule, self.campaign, ids.collect()).await?;
        for (request, answer) in self.batch.requests.iter().zip(answers) {
            let Some(kept) = kept.get(&key_of(request)) else {
                continue;
            };
            *answer = Some(if kept.fingerprint == request.fingerprint {
                let draws: Option<_> = kept.draws.iter().map(|id| facts.get(id).cloned()).collect();
                let draws = draws.ok_or_else(|| inconsistent("a request key without its draws"))?;
                DrawAnswer::replayed(draws, &request.user)
            } else {
                DrawAnswer::Refused(DrawRefusal::RequestKeyReused)
            });
        }
        Ok(())
    }

    /// Decides the open requests and commits what was drawn; `false` if nothing was.
    async fn draw(
        &self,
        work: &Work<'_>,
        locked: Locked,
        open: &[Open<'a>],
        answers: &mut Answers,
    ) -> StoreResult<bool> {
        let requests: Vec<&'a DrawRequest> = open.iter().map(|(_, request)| *request).collect();
        let (campaign, batch) = (self.campaign, self.batch);
        let day = locked.state.day;
        let fates = decide_each(&requests, locked.state, self.schedule, batch.has_relay);
        let has_drawn = fates.iter().any(|fate| matches!(fate, Fate::Drawn(_)));
        let refused = if self.is_ahead {
            let fates = requests.iter().zip(&fates);
            let refused = fates.filter(|(_, fate)| matches!(fate, Fate::Refused(_)));
            refused.map(|(request, _)| *request).collect()
        } else {
            Vec::new()
        };
        if has_drawn {
            let mut added = Added::new(&locked.version, Some(&locked.version.rules.limits));
            let mut drawn = Vec::with_capacity(requests.len());
            for (request, fate) in requests.iter().zip(&fates) {
                if let Fate::Drawn(draws) = fate {
                    added.add(request, draws)?;
                    drawn.push(*request);
                }
            }
            let at = (campaign, batch.now, day);
            tokio::try_join!(
                biased;
                keys::refuse_known(work, campaign, &refused),
                keys::insert(work, campaign, &drawn),
                added.write(work, at, &locked.tally),
                work.commit(),
            )?;
            added.committed(work, at);
        } else {
            keys::refuse_known(work, campaign, &refused).await?;
        }
        self.answer(&locked.version.rules, open, &fates, answers);
        Ok(has_drawn)
    }

    fn answer(&self, rules: &Rules, open: &[Open<'_>], fates: &[Fate], answers: &mut Answers) {
        let slugs: Vec<Arc<str>> = rules
            .prizes
            .iter()
            .map(|it| it.slug.as_str().into())
            .collect();
        for ((place, request), fate) in open.iter().zip(fates) {
            let draws = match fate {
                Fate::Drawn(draws) => draws,
                Fate::Repeats(earlier) => {
                    let (earlier, _) = open[*earlier];
                    answers[*place] = match &answers[earlier] {
                        Some(DrawAnswer::Drawn { draws, .. }) => Some(DrawAnswer::Replayed {
                            draws: draws.clone(),
                        }),
                        Some(DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_)) | None => None,
                    };
                    continue;
                }
                Fate::Refused(refusal) => {
                    answers[*place] = Some(DrawAnswer::Refused(refusal.clone()));
                    continue;
                }
            };
            answers[*place] = Some(DrawAnswer::Drawn {
                draws: draws
                    .iter()
                    .map(|it| self.fact(&slugs, request, it))
                    .collect(),
                handoffs: draws
                    .iter()
                    .filter_map(|it| self.handoff(rules, request, it))
                    .collect(),
            });
        }
    }

    fn fact(&self, slugs: &[Arc<str>], request: &DrawRequest, draw: &NewDraw) -> DrawFact {
        DrawFact {
            id: draw.ticket.id,
            campaign: Arc::clone(&self.batch.campaign),
            user: Arc::clone(&request.user),
            prize: draw.prize.map(|index| Arc::clone(&slugs[index])),
            drawn_at: self.batch.now,
            award: draw.award.as_ref().map(|row| (row.kind, row.state)),
            claim_key_version: request.claim_key_version,
        }
    }

    /// Nothing is published for a held award, nor where nobody publishes.
    fn handoff(&self, rules: &Rules, request: &DrawRequest, draw: &NewDraw) -> Option<Handoff> {
        let row = draw
            .award
            .as_ref()
            .filter(|row| row.state == State::Pending && self.batch.has_relay)?;
        let prize = rules.prizes.get(draw.prize?)?;
        let (user, id, now) = (&request.user, draw.message_id(), self.batch.now);
        Some(Handoff {
            award: row.award,
            lease: row.lease,
            message: Message::new(rules, prize, row.award, user, &id, now),
            traceparent: request.traceparent.clone(),
            at: now,
        })
    }
}
