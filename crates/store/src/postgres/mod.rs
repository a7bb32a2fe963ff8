//! The store on PostgreSQL: many processes, one truth. [`Postgres`] is the database
//! with the connections of one process; [`PostgresStore`] is the
//! [`AwardPath`](tombola_core::ports::AwardPath) on it, see `path`.
//!
//! # Model
//! A call is one transaction at READ COMMITTED, on a connection of its own. What
//! must not move between being read and being written is locked by name, in the one
//! order that `path` names; so transactions wait for each other, and never in a circle.
//! A stricter level would turn each of these waits into an error.
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

mod error;
mod facts;
pub mod migrate;
mod options;
mod partitions;
mod path;
mod pool;
mod prepared;
mod session;
mod sql;
mod tls;

pub use facts::{LostSetting, ServerFacts};
pub use options::{
    ANSWER_MARGIN, Bounds, CONNECT_MAX, IDLE_IN_TRANSACTION_MAX, LOCK_WAIT_MAX, POOL_MAX,
    POOL_WAIT_MAX, PostgresOptions, READ_MAX, READS_MAX, STATEMENT_MAX, UrlError,
};
pub use partitions::Kept;
pub use pool::{PoolState, Postgres, Taken};
pub use session::Session;
pub use tls::TlsMode;

use crate::seal::Sealer;
use path::Shared;
use tombola_core::award::step;
use tombola_core::ports::StoreResult;
use tombola_core::retry::Schedule;

/// The award path on PostgreSQL.
pub struct PostgresStore {
    database: Postgres,
    shared: Shared,
    sealer: Sealer,
}

impl PostgresStore {
    /// Connects; see [`Postgres::open`].
    pub async fn open(options: &PostgresOptions, schedule: Schedule) -> StoreResult<Self> {
        Ok(Self {
            database: Postgres::open(options).await?,
            shared: Shared::new(schedule, step),
            sealer: Sealer::new(None),
        })
    }

    /// The connections of this store.
    pub fn database(&self) -> &Postgres {
        &self.database
    }
}
