//! What another system has drawn is taken in here: the order, the draw, its delivery row
//! and the counters, in one transaction, written by what writes every draw. An order is
//! claimed by inserting it: of two transactions that claim the same one, the second waits
//! for the first to end.

use super::super::error::get;
use super::super::session::{Params, Session, Work};
use super::Shared;
use super::added::Added;
use super::state::{self, Locked};
use std::collections::{HashMap, HashSet};
use tombola_core::adoption::{Adopter, Adoption};
use tombola_core::award::State;
use tombola_core::draw::{DrawRequest, NewDraw};
use tombola_core::message::Message;
use tombola_core::ports::{AdoptAnswer, StoreResult};
use tombola_core::reason::KeptReason;
use tombola_core::{AwardId, Timestamp};

/// Takes in orders of one campaign; one answer for each, in order.
pub(in crate::postgres) async fn adopt(
    session: &mut Session,
    shared: &Shared,
    adoptions: &[Adoption],
    now: Timestamp,
) -> StoreResult<Vec<AdoptAnswer>> {
    let Some(first) = adoptions.first() else {
        return Ok(Vec::new());
    };
    let work = session.begin();
    let campaign = shared.versions.campaign(&work, &first.campaign).await?;
    let Some(campaign) = campaign else {
        work.roll_back().await?;
        let refused = AdoptAnswer::Refused(KeptReason::NotAdoptable);
        return Ok(vec![refused; adoptions.len()]);
    };
    let asked: Vec<DrawRequest> = adoptions.iter().map(Adoption::as_request).collect();
    let (ours, turn, read) = tokio::try_join!(
        biased;
        claim(&work, adoptions),
        state::turn(&work, campaign),
        state::of_requests(&work, campaign, &asked),
    )?;
    let is_ours = |it: &&Adoption| ours.contains(&it.ticket.id.award());
    let claimed: Vec<&Adoption> = adoptions.iter().filter(is_ours).collect();
    if claimed.is_empty() {
        work.roll_back().await?;
        return Ok(vec![AdoptAnswer::Known; adoptions.len()]);
    }
    let requests: Vec<DrawRequest> = claimed.iter().map(|it| it.as_request()).collect();
    let of = (campaign, now);
    let locked = state::of(&work, &shared.versions, of, &turn, &read).await?;
    let erasing = erasing(&work, &claimed).await?;
    let drawn = decide(shared, &locked, &claimed, &erasing, now);
    let at = (campaign, now, locked.state.day);
    let has_drawn = write(&work, &locked, &requests, &drawn, at).await?;
    if has_drawn {
        let refused = claimed.iter().zip(&drawn).filter(|(_, it)| it.is_err());
        free(&work, refused.map(|(it, _)| it.ticket.id.0).collect()).await?;
        work.commit().await?;
    } else {
        work.roll_back().await?;
    }
    Ok(answers(&locked, adoptions, &claimed, &drawn, now))
}

/// Claims the orders in their order, as every transaction does; the awards of those that
/// are ours. Of one that is twice in the batch the first is.
async fn claim(work: &Work<'_>, adoptions: &[Adoption]) -> StoreResult<HashSet<AwardId>> {
    let mut sorted: Vec<&Adoption> = adoptions.iter().collect();
    sorted.sort_by_key(|it| (&it.source, it.order));
    let sources: Vec<&str> = sorted.iter().map(|it| &*it.source).collect();
    let orders: Vec<i64> = sorted.iter().map(|it| it.order).collect();
    let awards: Vec<i64> = sorted.iter().map(|it| it.ticket.id.0).collect();
    let params: Params<'_> = &[&sources, &orders, &awards];
    let rows = work.query(&work.sql.claim_orders, params).await?;
    rows.iter().map(|row| Ok(AwardId(get(row, 0)?))).collect()
}

/// Gives orders free: they may come again when what refused them was mended.
async fn free(work: &Work<'_>, awards: Vec<i64>) -> StoreResult<()> {
    if awards.is_empty() {
        return Ok(());
    }
    work.execute(&work.sql.free_orders, &[&awards]).await
}

async fn erasing(work: &Work<'_>, claimed: &[&Adoption]) -> StoreResult<HashSet<String>> {
    let users: Vec<&str> = claimed.iter().map(|it| &*it.user).collect();
    let rows = work.query(&work.sql.read_erasing, &[&users]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// What becomes of each order, or why it is kept.
type Drawn = Vec<Result<NewDraw, KeptReason>>;

fn decide(
    shared: &Shared,
    locked: &Locked,
    claimed: &[&Adoption],
    erasing: &HashSet<String>,
    now: Timestamp,
) -> Drawn {
    let adopter = Adopter {
        rules: &locked.version.rules,
        state: locked.state.state,
        lanes: &locked.version.lanes,
        now,
        schedule: &shared.schedule,
    };
    let one = |adoption: &&Adoption| {
        if erasing.contains(&*adoption.user) {
            Err(KeptReason::UserErased)
        } else {
            adopter.adopt(adoption)
        }
    };
    claimed.iter().map(one).collect()
}

/// Writes what was adopted; `false` if nothing was.
async fn write(
    work: &Work<'_>,
    locked: &Locked,
    requests: &[DrawRequest],
    drawn: &Drawn,
    at: super::added::At,
) -> StoreResult<bool> {
    let mut added = Added::new(&locked.version, None);
    let mut has_drawn = false;
    for (request, drawn) in requests.iter().zip(drawn) {
        if let Ok(draw) = drawn {
            added.add(request, std::slice::from_ref(draw))?;
            has_drawn = true;
        }
    }
    if has_drawn {
        added.write(work, at, &locked.tally).await?;
    }
    Ok(has_drawn)
}

fn answers(
    locked: &Locked,
    adoptions: &[Adoption],
    claimed: &[&Adoption],
    drawn: &Drawn,
    now: Timestamp,
) -> Vec<AdoptAnswer> {
    let mut by_award = HashMap::with_capacity(claimed.len());
    // What refused an order refuses it again in the same batch.
    let mut refused = HashMap::new();
    for (adoption, drawn) in claimed.iter().zip(drawn) {
        by_award.insert(adoption.ticket.id, drawn);
        if let Err(reason) = drawn {
            refused.insert((&adoption.source, adoption.order), *reason);
        }
    }
    let one = |adoption: &Adoption| match by_award.get(&adoption.ticket.id) {
        Some(Ok(draw)) => AdoptAnswer::Adopted(message(locked, adoption, draw, now)),
        Some(Err(reason)) => AdoptAnswer::Refused(*reason),
        None => {
            let reason = refused.get(&(&adoption.source, adoption.order));
            reason.map_or(AdoptAnswer::Known, |reason| AdoptAnswer::Refused(*reason))
        }
    };
    adoptions.iter().map(one).collect()
}

/// The message of an award that is not held.
fn message(
    locked: &Locked,
    adoption: &Adoption,
    draw: &NewDraw,
    now: Timestamp,
) -> Option<Box<Message>> {
    let row = draw
        .award
        .as_ref()
        .filter(|it| it.state == State::Pending)?;
    let rules = &locked.version.rules;
    let prize = rules.prizes.get(draw.prize?)?;
    let (user, id) = (&adoption.user, draw.message_id());
    Some(Box::new(Message::new(
        rules, prize, row.award, user, &id, now,
    )))
}
