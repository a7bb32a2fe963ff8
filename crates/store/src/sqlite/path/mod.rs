//! What moves an award: [`AwardPath`], each method one job of the writer. A job
//! reads the row, asks the table and writes what it says.
//!
//! A member whose own row fails never stops the others: a batch runs without
//! savepoints of its own; only where one of its members fails does it run again,
//! each member in a savepoint, and the one that fails is answered alone.

mod adopt;
mod begin;
mod commit;
mod copies;
mod due;
mod effect;
mod kept;
mod keys;
mod state;
mod users;
mod written;

use super::{Priority, Shared, Sqlite, alone};
use crate::sql::Connection;
use crate::sql::{OrStoreError as _, inconsistent};
use async_trait::async_trait;
use tombola_core::adoption::Adoption;
use tombola_core::ids::{ID_MAX, IdBlock};
use tombola_core::ports::{
    AdoptAnswer, AwardPath, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch, DueLanes, DuePage,
    DueQuery, KeptMessage, MarkOf, Record, Recorded, StoreError, StoreResult, Written,
};
use tombola_core::{AwardId, Timestamp};

#[async_trait]
impl AwardPath for Sqlite {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        self.write(Priority::Draw, 1, move |conn| reserve_ids(conn, count))
            .await
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        let rows = batch
            .requests
            .iter()
            .map(|request| 2 + request.tickets.len())
            .sum();
        self.on_path(Priority::Draw, rows, move |path| {
            commit::commit_draws(path, batch)
        })
        .await
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        self.on_path(Priority::Other, 3 * adoptions.len(), move |path| {
            adopt::adopt(path, &adoptions, now)
        })
        .await
    }

    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.on_path(Priority::Other, marks.len(), move |path| {
            written::mark(path, &marks, now)
        })
        .await
    }

    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.on_path(Priority::Other, 2 * copies.len(), move |path| {
            copies::deliver(path, &copies, now)
        })
        .await
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.on_path(Priority::Other, copies.len(), move |path| {
            copies::claim(path, &copies, now)
        })
        .await
    }

    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.on_path(Priority::Other, deferrals.len(), move |path| {
            copies::defer(path, &deferrals, now)
        })
        .await
    }

    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        self.on_path(Priority::Other, 2 * records.len(), move |path| {
            written::record(path, &records, now)
        })
        .await
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        let rows = 2 * query.limit;
        self.on_path(Priority::Other, rows, move |path| {
            due::claim_due(path, &query)
        })
        .await
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.on_path(Priority::Other, claims.len(), move |path| {
            written::give_back(path, &claims, now)
        })
        .await
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()> {
        let rows = messages.len();
        self.write(Priority::Other, rows, move |conn| {
            kept::keep(conn, &messages, now)
        })
        .await
    }

    // On the writer although it only reads: rescue never waits behind the reads of
    // people, and what it sees is the last commit.
    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        self.write(Priority::Other, 1, move |conn| due::due_lanes(conn, now))
            .await
    }

    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        begin::begin_alone(self, now).await
    }
}

/// What a job on the path works with.
#[derive(Clone, std::marker::Copy)]
struct Path<'a> {
    conn: &'a Connection,
    shared: &'a Shared,
}

impl Sqlite {
    fn on_path<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(Path<'_>) -> StoreResult<T> + Send + 'static,
    {
        let shared = self.shared();
        self.write(priority, rows, move |conn| {
            job(Path {
                conn,
                shared: &shared,
            })
        })
    }
}

/// Whether an error is of the member that was being written, so that the others
/// may go on without it.
const fn is_own(error: &StoreError) -> bool {
    match error {
        StoreError::Row(_) | StoreError::Inconsistent(_) | StoreError::Sealed(_) => true,
        StoreError::Unavailable(_)
        | StoreError::Overloaded
        | StoreError::Schema(_)
        | StoreError::Moved(_)
        | StoreError::KeyReused
        | StoreError::Closed => false,
    }
}

/// Does `one` for each member. If a member fails by an error of its own, all is
/// undone and done again with a savepoint for each, and `failed` answers for those
/// that fail. What goes well pays for one savepoint in all.
fn each<M, A>(
    path: Path<'_>,
    members: &[M],
    one: impl Fn(&M) -> StoreResult<A>,
    failed: impl Fn(&M, &StoreError) -> StoreResult<A>,
) -> StoreResult<Vec<A>> {
    let together = alone(path.conn, |_| members.iter().map(&one).collect());
    if !together.as_ref().is_err_and(is_own) {
        return together;
    }
    let apart = |member| match alone(path.conn, |_| one(member)) {
        Err(error) if is_own(&error) => failed(member, &error),
        done => done,
    };
    members.iter().map(apart).collect()
}

fn reserve_ids(conn: &Connection, count: u32) -> StoreResult<IdBlock> {
    let end: i64 = conn
        .prepare_cached("UPDATE id_block SET next = next + ?1 WHERE one = 1 RETURNING next")
        .and_then(|mut it| it.query_row([count], |row| row.get(0)))
        .or_store()?;
    if end > ID_MAX + 1 {
        return Err(inconsistent("all ids below 2^53 are used up"));
    }
    Ok(IdBlock {
        next: end - i64::from(count),
        end,
    })
}
