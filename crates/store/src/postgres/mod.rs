//! The store on PostgreSQL: many processes, one truth. [`Postgres`] is the database
//! with the connections of one process, `path` is what moves awards, `jobs` runs what
//! is written once for both databases.
//!
//! # Model
//! A call is one transaction at READ COMMITTED, on a connection of its own. What
//! must not move between being read and being written is locked by name, in one order
//! that `path` names; so transactions wait for each other, and never in a circle. A
//! stricter level would turn each of these waits into an error.
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

mod alone;
mod error;
mod facts;
pub mod fresh;
mod jobs;
mod look;
pub mod migrate;
#[cfg(feature = "next-version")]
mod next;
mod options;
mod partitions;
mod path;
mod pool;
mod prepared;
mod restore;
mod session;
mod sql;
mod tls;
mod version;

pub use facts::{HeldSnapshot, LostSetting, OpenTransaction, ServerFacts, ServerTimeout, Wall};
pub(crate) use look::{OTHER_SCHEMA, rows};
pub use look::{Obstacle, ObstacleAt, ServerFact, ServerRows, look, obstacle};
pub use options::{
    ANSWER_MARGIN, Bounds, CONNECT_MAX, IDLE_IN_TRANSACTION_MAX, LOCK_WAIT_MAX, PostgresOptions,
    READ_MAX, STATEMENT_MAX, UrlError,
};
pub use partitions::Kept;
pub(crate) use path::Rows;
pub use pool::{PoolState, Postgres, Taken};
pub use restore::restore;
pub use session::Session;
/// The statement that finds a page of rescue, for what measures it.
#[cfg(any(test, feature = "conformance"))]
pub const READ_PAGE: &str = sql::READ_PAGE;
pub use tls::TlsMode;
pub use version::VERSION_MIN;

use crate::Shared;
use crate::rules::RulesCache;
use crate::seals::{Seals, take_up};
use crate::store::{StoreOptions, answer_of};
pub(crate) use alone::Alone;
pub(crate) use error::failed;
pub(crate) use sql::Statements;
use std::sync::Arc;
use tombola_core::Timestamp;
use tombola_core::ports::{StoreError, StoreResult};

/// The store's database, and what its calls may know.
pub struct PostgresStore {
    database: Postgres,
    path: path::Shared,
    shared: Arc<Shared>,
}

impl PostgresStore {
    /// Connects; see [`Postgres::open`].
    pub async fn open(options: &PostgresOptions, store: StoreOptions) -> StoreResult<Self> {
        let database = Postgres::open(options).await?;
        let keys = store.seal_keys;
        let seal = database.push_write(move |conn| take_up(conn, keys.as_ref(), false));
        let shared = Shared {
            schedule: store.schedule,
            step: store.step,
            origin: database.origin().to_owned(),
            rules: RulesCache::default(),
            seals: Seals::new(answer_of(seal).await?),
        };
        Ok(Self {
            path: path::Shared::new(shared.schedule.clone(), shared.step),
            shared: Arc::new(shared),
            database,
        })
    }

    /// The connections of this store.
    pub fn database(&self) -> &Postgres {
        &self.database
    }

    /// The server's time.
    pub(crate) async fn time(&self) -> StoreResult<Timestamp> {
        let session = self.database.take().await?;
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let row = session.within(session.client().query_one(sql, &[])).await;
        let row = session.end(row)?;
        error::get(&row, 0).map(Timestamp)
    }

    /// Whether the server takes writes: after a fail-over the old one may be a standby.
    pub(crate) async fn takes_writes(&self) -> StoreResult<()> {
        let session = self.database.take().await?;
        let sql = "SELECT pg_is_in_recovery()";
        let row = session.within(session.client().query_one(sql, &[])).await;
        if error::get(&session.end(row)?, 0)? {
            return Err(StoreError::Unavailable(error::PROMOTE.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

/// The versions of the secrets that sealed something in a database, which is not
/// changed; none where it has no tables yet.
pub async fn sealed_under(options: &PostgresOptions) -> StoreResult<Vec<i32>> {
    let (client, _alive) = session::Opener::new(options, true)?.connect().await?;
    let has_table = "SELECT to_regclass('seal_key') IS NOT NULL";
    let row = client.query_one(has_table, &[]).await.map_err(failed)?;
    if !error::get(&row, 0)? {
        return Ok(Vec::new());
    }
    let versions = "SELECT version FROM seal_key ORDER BY version";
    let rows = client.query(versions, &[]).await.map_err(failed)?;
    rows.iter().map(|row| error::get(row, 0)).collect()
}
