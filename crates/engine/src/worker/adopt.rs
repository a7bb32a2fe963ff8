//! Messages of another draw system, where the config says that they are adopted: each
//! becomes an award of ours, once for each order of its source, and goes on like any copy.
//! The message in hand stands for the award's own, so none is published.
//!
//! # What each failure does
//! - The process dies before the commit: the offset stays, the message is read again.
//! - It dies between the commit and the delivery: the award is pending, and rescue
//!   publishes its message; the other system's, read again, is a known order.
//! - It dies after the delivery: the order is known, and dropped.

use super::Shared;
use super::copies::Settled;
use super::intake::{Bad, Ordered, Taken};
use crate::kill;
use crate::store_calls::{NoAnswer, Patience, StoreCall, patiently};
use std::collections::HashMap;
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::adoption::Adoption;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{AdoptAnswer, AwardPath};
use tombola_core::reason::KeptReason;

/// Whose messages are adopted, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// Names the system: scope of its orders.
    pub source: Arc<str>,
    /// What its `awardId` stands for.
    pub prizes: HashMap<String, PrizeOf>,
    /// Version of the key that signs the claim tokens of what is adopted.
    pub claim_key_version: i32,
}

/// A prize by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrizeOf {
    /// The campaign's slug.
    pub campaign: Arc<str>,
    /// The prize's slug.
    pub prize: Arc<str>,
}

impl Shared {
    /// Adopts; what may be delivered at once is given back as copies in hand.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        orders: Vec<Ordered>,
        settled: &mut Settled,
    ) -> Vec<Taken> {
        let mut taken = Vec::new();
        let (Some(adopt), false) = (&self.parts.adopt, orders.is_empty()) else {
            return taken;
        };
        // Their offsets stay: others read them again.
        let Some(mut ids) = self.ids(orders.len()).await else {
            return taken;
        };
        let mut by_campaign: HashMap<Arc<str>, Vec<(Ordered, Adoption)>> = HashMap::new();
        for order in orders {
            let Some(id) = ids.take() else { continue };
            let adoption = order.adoption(adopt, id);
            let campaign = Arc::clone(&adoption.campaign);
            by_campaign
                .entry(campaign)
                .or_default()
                .push((order, adoption));
        }
        let mut bad = Vec::new();
        for (_, batch) in by_campaign {
            let (orders, adoptions): (Vec<Ordered>, Vec<Adoption>) = batch.into_iter().unzip();
            kill::point("before_adopt");
            let answers = self.ask(&adoptions, adopt_all).await;
            kill::point("after_adopt");
            for ((order, adoption), answer) in orders.into_iter().zip(adoptions).zip(answers) {
                self.sort_order((order, &adoption), answer, settled, (&mut taken, &mut bad));
            }
        }
        self.keep(bad, settled).await;
        taken
    }

    fn sort_order(
        &self,
        (order, adoption): (Ordered, &Adoption),
        answer: Result<AdoptAnswer, NoAnswer>,
        settled: &mut Settled,
        (taken, bad): (&mut Vec<Taken>, &mut Vec<Bad>),
    ) {
        let meters = &self.parts.meters;
        match answer {
            Ok(AdoptAnswer::Adopted(message)) => {
                meters.adopted.one();
                tracing::debug!(award.id = %adoption.ticket.id, source = &*adoption.source,
                    order = adoption.order, "an award of another system is adopted");
                match message {
                    Some(message) => taken.push(order.taken(*message)),
                    None => settled.done.push(order.place), // it is held
                }
            }
            Ok(AdoptAnswer::Known) => {
                meters.duplicates_dropped.one();
                settled.done.push(order.place);
            }
            Ok(AdoptAnswer::Refused(reason)) => bad.push(order.bad(reason)),
            Err(NoAnswer::Member(error)) => {
                meters.row_failures.one();
                tracing::error!(
                    source = &*adoption.source,
                    order = adoption.order,
                    error,
                    "an order cannot be adopted; its message is kept"
                );
                bad.push(order.bad(KeptReason::NotAdoptable));
            }
            // The store stays away and a stop has come: others read it again.
            Err(NoAnswer::Store(_)) => {}
        }
    }

    async fn ids(&self, count: usize) -> Option<IdBlock> {
        let count = u32::try_from(count).ok()?;
        let call = || -> StoreCall<IdBlock> {
            let path = Arc::clone(&self.parts.path);
            Box::pin(async move { path.reserve_ids(count).await })
        };
        patiently(&self.tasks, Patience::UntilStop, call).await.ok()
    }
}

fn adopt_all(
    path: Arc<dyn AwardPath>,
    adoptions: Vec<Adoption>,
    now: Timestamp,
) -> StoreCall<Vec<AdoptAnswer>> {
    Box::pin(async move { path.adopt(adoptions, now).await })
}
