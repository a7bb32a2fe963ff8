//! What moves an award, on PostgreSQL: each method of
//! [`AwardPath`] is one function and one transaction
//! over a batch.
//!
//! # Model
//! A transaction runs at READ COMMITTED. It locks the rows of its batch and reads them
//! in one statement, reads the facts beside them in one more trip, asks the table for
//! each member in memory, and writes all that changed in a third trip. No member costs a
//! trip of its own.
//!
//! # The order of locks
//! Every transaction, of whatever code, takes what it locks in this order, and rows of
//! one table sorted by their key; so transactions wait for each other, and never in a
//! circle:
//!
//! 1. orders of other systems, by (source, order);
//! 2. the campaign, and behind it its request keys;
//! 3. deliveries, by award;
//! 4. what ends holds, shared: pauses `FOR KEY SHARE`, endpoints `FOR SHARE`, by lane;
//! 5. prizes, by id: `FOR KEY SHARE` first, by who asks for codes, then
//!    `FOR NO KEY UPDATE`;
//! 6. allowances and wins, by user, behind the lock of their campaign, which erasures take
//!    too. So draws lock none of them before they write; nor any prize, whose units they
//!    count in the campaign's tally;
//! 7. codes. They are taken by `SKIP LOCKED`; who waits for them has the prize, and no
//!    code yet (see `codes`).
//!
//! # What ends a hold
//! A hold is written after it was read that its reason still stands. Whoever ends the
//! reason and then looks for what was held because of it must not come between, or the
//! hold is missed and waits for its review date. So both sides take one lock:
//!
//! | reason | here | whoever ends it, before that and until its commit |
//! | --- | --- | --- |
//! | paused | the pause `FOR KEY SHARE` | deletes the pause's row |
//! | endpoint disabled | the endpoint `FOR SHARE` | updates the endpoint's row |
//! | no code | the prize `FOR KEY SHARE` | locks the prize `FOR UPDATE`, then makes the import ready |
//! | address | the delivery `FOR NO KEY UPDATE` | locks the delivery `FOR NO KEY UPDATE`, then writes the address |
//!
//! The look for holds that ended is a transaction of its own, after that commit. In the
//! same way a user's draws are erased with the deliveries locked, because credits and
//! messages copy the user's name from the draw.
//!
//! # What each failure does
//! - A member's own row fails: see `apart`.
//! - Two transactions meet (deadlock, a lock waited for in vain): nothing was done, and the
//!   batch runs again, [`RUNS_MAX`] times in all.
//! - The connection is lost: `Unavailable`, and nobody knows whether the commit took
//!   effect. The caller runs the batch again; keys and leases make that harmless.

mod added;
mod adopt;
mod ahead;
mod apart;
mod begin;
mod codes;
mod columns;
mod commit;
mod copies;
mod decided;
mod due;
mod effect;
mod facts;
mod fronts;
mod hand;
mod ids;
mod kept;
mod keys;
mod lines;
mod marks;
mod staged;
mod state;
mod tally;
mod versions;

use super::PostgresStore;
use async_trait::async_trait;
pub(crate) use columns::Rows;
use tombola_core::adoption::Adoption;
use tombola_core::award::StepFn;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    AdoptAnswer, Arrivals, AwardPath, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch, DueLanes,
    DuePage, DueQuery, KeptMessage, MarkOf, Record, Recorded, StoreResult, Written,
};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};
use versions::Versions;

/// How often a batch runs that meets other transactions. Locks are taken in one order,
/// so one more run is nearly always enough; who still meets somebody has waited for
/// seconds, and its caller decides whether to go on.
const RUNS_MAX: u32 = 3;

/// What calls on any connection may know.
pub(super) struct Shared {
    /// When awards are looked at again.
    pub(super) schedule: Schedule,
    /// The award's table.
    pub(super) step: StepFn,
    versions: Versions,
    crowd: ahead::Crowd,
    fronts: fronts::Fronts,
}

impl Shared {
    pub(super) fn new(schedule: Schedule, step: StepFn) -> Self {
        Self {
            schedule,
            step,
            versions: Versions::default(),
            crowd: ahead::Crowd::default(),
            fronts: fronts::Fronts::default(),
        }
    }
}

/// Runs a call on a connection of the store, again where it met another transaction.
macro_rules! run {
    ($store:ident, |$session:ident| $call:expr) => {{
        let mut taken = $store.database.take().await?;
        let mut runs = 1;
        let answer = loop {
            let $session = &mut *taken;
            let answer = $call.await;
            if !(taken.take_has_met() && answer.is_err() && runs < RUNS_MAX) {
                break answer;
            }
            tracing::warn!(runs, "a transaction met another one and runs again");
            runs += 1;
        };
        taken.end(answer)
    }};
}

impl PostgresStore {
    async fn commit(
        &self,
        mut batch: DrawBatch,
        arrivals: Option<&dyn Arrivals>,
    ) -> StoreResult<Vec<DrawAnswer>> {
        run!(self, |session| commit::commit_draws(
            session,
            (&self.database, &self.path),
            &mut batch,
            arrivals
        ))
    }
}

#[async_trait]
impl AwardPath for PostgresStore {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        run!(self, |session| ids::reserve_ids(session, count))
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        self.commit(batch, None).await
    }

    async fn commit_draws_with(
        &self,
        batch: DrawBatch,
        arrivals: &dyn Arrivals,
    ) -> StoreResult<Vec<DrawAnswer>> {
        self.commit(batch, Some(arrivals)).await
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        run!(self, |session| adopt::adopt(
            session, &self.path, &adoptions, now
        ))
    }

    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        run!(self, |session| marks::mark_published(
            session, &self.path, &marks, now
        ))
    }

    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        let seal = self.shared.seals.now();
        run!(self, |session| copies::deliver_local(
            session,
            &self.path,
            &seal.sealer,
            (&copies, now)
        ))
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        run!(self, |session| copies::claim(
            session, &self.path, &copies, now
        ))
    }

    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        run!(self, |session| copies::defer(
            session, &self.path, &deferrals, now
        ))
    }

    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        run!(self, |session| marks::record(
            session, &self.path, &records, now
        ))
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        run!(self, |session| due::claim_due(session, &self.path, &query))
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        run!(self, |session| marks::give_back(
            session, &self.path, &claims, now
        ))
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()> {
        run!(self, |session| kept::keep_messages(session, &messages, now))
    }

    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        run!(self, |session| due::due_lanes(
            session,
            &self.path.fronts,
            now
        ))
    }

    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        run!(self, |session| begin::begin_alone(session, now))
    }
}
