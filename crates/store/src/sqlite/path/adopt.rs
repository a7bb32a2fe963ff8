//! What another system has drawn is taken in here: the order, the draw, its delivery row
//! and the counters, in one transaction, written by what writes every draw.

use super::commit::{Round, Writing};
use super::{Path, state};
use crate::sql::OrStoreError as _;
use crate::sql::Statement;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tombola_core::adoption::{Adopter, Adoption};
use tombola_core::ports::{AdoptAnswer, DrawAnswer, StoreResult};
use tombola_core::reason::KeptReason;
use tombola_core::{AwardId, Timestamp};

/// Takes in orders of one campaign; one answer for each, in order.
pub(super) fn adopt(
    path: Path<'_>,
    adoptions: &[Adoption],
    now: Timestamp,
) -> StoreResult<Vec<AdoptAnswer>> {
    let Some(first) = adoptions.first() else {
        return Ok(Vec::new());
    };
    let slug = Arc::clone(&first.campaign);
    let nothing = vec![AdoptAnswer::Refused(KeptReason::NotAdoptable); adoptions.len()];
    let Some(campaign) = state::campaign(path, &slug)? else {
        return Ok(nothing);
    };
    let Some((places, day)) = state::places(path, &campaign, now)? else {
        return Ok(nothing);
    };
    let adopter = Adopter {
        rules: &campaign.rules,
        state: campaign.state,
        lanes: &places.lanes,
        now,
        schedule: &path.shared.schedule,
    };
    let round = Round {
        path,
        campaign: &campaign,
        slug: &slug,
        now,
        has_relay: true,
    };
    let erasing = erasing(path)?;
    let mut orders = Orders::new(path)?;
    let mut writing = Writing::new(&round, &places, day)?;
    let mut answers = Vec::with_capacity(adoptions.len());
    for adoption in adoptions {
        if !orders.claim(adoption)? {
            answers.push(orders.answer(adoption));
            continue;
        }
        let drawn = if erasing.contains(&*adoption.user) {
            Err(KeptReason::UserErased)
        } else {
            adopter.adopt(adoption)
        };
        answers.push(match drawn {
            Ok(draw) => {
                let answer = writing.write(&adoption.as_request(), std::slice::from_ref(&draw))?;
                adopted(answer)
            }
            Err(reason) => orders.refuse(adoption, reason)?,
        });
    }
    if !writing.added.draws.is_empty() {
        state::add(path, campaign.id, &places, (day, now), &writing.added)?;
    }
    Ok(answers)
}

fn adopted(answer: DrawAnswer) -> AdoptAnswer {
    let handoff = match answer {
        DrawAnswer::Drawn { handoffs, .. } => handoffs.into_iter().next(),
        DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_) => None,
    };
    AdoptAnswer::Adopted(handoff.map(|it| Box::new(it.message)))
}

/// The orders of a batch: each is claimed by inserting it.
struct Orders<'a> {
    insert: Statement<'a>,
    delete: Statement<'a>,
    /// Refused in this batch: the same order again is refused as well.
    refused: HashMap<(Arc<str>, i64), KeptReason>,
}

impl<'a> Orders<'a> {
    fn new(path: Path<'a>) -> StoreResult<Self> {
        let insert = "INSERT INTO adopted (source, order_id, award_id) VALUES (?1, ?2, ?3)
             ON CONFLICT (source, order_id) DO NOTHING";
        let delete = "DELETE FROM adopted WHERE source = ?1 AND order_id = ?2";
        Ok(Self {
            insert: path.conn.prepare_cached(insert).or_store()?,
            delete: path.conn.prepare_cached(delete).or_store()?,
            refused: HashMap::new(),
        })
    }

    /// Whether it is ours to adopt.
    fn claim(&mut self, adoption: &Adoption) -> StoreResult<bool> {
        if self.refused.contains_key(&key(adoption)) {
            return Ok(false);
        }
        let award: AwardId = adoption.ticket.id.award();
        let inserted = self
            .insert
            .execute((&*adoption.source, adoption.order, award.0))
            .or_store()?;
        Ok(inserted == 1)
    }

    /// What is said of one that is not.
    fn answer(&self, adoption: &Adoption) -> AdoptAnswer {
        let refused = self.refused.get(&key(adoption));
        refused.map_or(AdoptAnswer::Known, |reason| AdoptAnswer::Refused(*reason))
    }

    /// Gives the order free: it may come again when what refused it was mended.
    fn refuse(&mut self, adoption: &Adoption, reason: KeptReason) -> StoreResult<AdoptAnswer> {
        self.delete
            .execute((&*adoption.source, adoption.order))
            .or_store()?;
        self.refused.insert(key(adoption), reason);
        Ok(AdoptAnswer::Refused(reason))
    }
}

fn key(adoption: &Adoption) -> (Arc<str>, i64) {
    (Arc::clone(&adoption.source), adoption.order)
}

/// Users that are being erased: few, if any.
fn erasing(path: Path<'_>) -> StoreResult<HashSet<String>> {
    path.conn
        .prepare_cached("SELECT user FROM erasing")
        .and_then(|mut it| it.query_map([], |row| row.get(0))?.collect())
        .or_store()
}
