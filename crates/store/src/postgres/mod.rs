//! The store on PostgreSQL: many processes, one truth. [`Postgres`] is the database
//! with the connections of one process; [`PostgresStore`] has three methods of
//! [`AwardPath`](tombola_core::ports::AwardPath) so far.
//!
//! # Model
//! A call is one transaction at READ COMMITTED, on a connection of its own. What
//! must not move between being read and being written is locked by name, in the
//! order keys → allowances → campaign → prizes, rows of one table sorted by their
//! key; so transactions wait for each other, and never in a circle. A stricter
//! level would turn each of these waits into an error.
//!
//! # What each failure does
//! - The connection breaks, also between a commit and its answer: `Unavailable`,
//!   the connection is thrown away, and the caller runs the same batch again. Its
//!   request keys make it a replay of what was committed, or a first run.
//! - A caller goes away in the middle: the connection goes with it, and the server
//!   rolls back.
//! - A process stops inside a transaction and keeps its locks: the server ends its
//!   session after [`IDLE_IN_TRANSACTION_MAX`]; who waits gives up earlier, by
//!   [`LOCK_WAIT_MAX`], and runs again.
//! - The server keeps the connection and answers nothing: see [`Session::within`].

mod claim;
mod columns;
mod decided;
mod draws;
mod error;
mod facts;
mod keys;
pub mod migrate;
mod options;
mod partitions;
mod pool;
mod prepared;
mod session;
mod sql;
mod state;
mod tls;
mod versions;
mod written;

pub use facts::{LostSetting, ServerFacts};
pub use options::{
    ANSWER_MARGIN, Bounds, CONNECT_MAX, IDLE_IN_TRANSACTION_MAX, LOCK_WAIT_MAX, POOL_MAX,
    POOL_WAIT_MAX, PostgresOptions, READ_MAX, READS_MAX, STATEMENT_MAX, UrlError,
};
pub use partitions::Kept;
pub use pool::{PoolState, Postgres, Taken};
pub use session::Session;
pub use tls::TlsMode;

use error::{get, inconsistent};
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::ids::{ID_MAX, IdBlock};
use tombola_core::ports::{Copy, CopyAnswer, DrawAnswer, DrawBatch, StoreResult};
use tombola_core::retry::Schedule;
use versions::Versions;

/// The award path on PostgreSQL.
pub struct PostgresStore {
    database: Postgres,
    schedule: Schedule,
    versions: Arc<Versions>,
}

impl PostgresStore {
    /// Connects; see [`Postgres::open`].
    pub async fn open(options: &PostgresOptions, schedule: Schedule) -> StoreResult<Self> {
        Ok(Self {
            database: Postgres::open(options).await?,
            schedule,
            versions: Arc::default(),
        })
    }

    /// The connections of this store.
    pub fn database(&self) -> &Postgres {
        &self.database
    }

    /// See `AwardPath::reserve_ids`. A row and not a sequence: what a sequence gave
    /// out may be given again after a crash, if nothing was committed with it.
    pub async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        let session = self.database.take().await?;
        let count = i64::from(count);
        let params: [session::Param<'_>; 2] = [&count, &(ID_MAX + 1 - count)];
        let next = session
            .within(session.client.query_opt(&session.sql.reserve_ids, &params))
            .await;
        let row = session.end(next)?;
        let row = row.ok_or_else(|| inconsistent("all ids below 2^53 are used up"))?;
        let end: i64 = get(&row, 0)?;
        Ok(IdBlock {
            next: end - count,
            end,
        })
    }

    /// See `AwardPath::commit_draws`.
    pub async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        let mut session = self.database.take().await?;
        let desk = draws::Desk {
            versions: &self.versions,
            schedule: &self.schedule,
            batch: &batch,
        };
        let answers = desk.commit(&mut session).await;
        session.end(answers)
    }

    /// See `AwardPath::claim`.
    pub async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        let mut session = self.database.take().await?;
        let claimer = claim::Claimer {
            versions: &self.versions,
            schedule: &self.schedule,
            now,
        };
        let answers = claimer.claim(&mut session, &copies).await;
        session.end(answers)
    }
}
