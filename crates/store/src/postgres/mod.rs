//! The store on PostgreSQL: the award path, see [`path`]. The rest comes with the
//! issue for PostgreSQL.
//!
//! # Model
//! A call is one transaction at READ COMMITTED, on a connection of its own. What
//! must not move between being read and being written is locked by name, in one order
//! that [`path`] names; so transactions wait for each other, and never in a circle. A
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

mod error;
mod path;
mod session;
mod sql;

pub use session::{IDLE_IN_TRANSACTION_MAX, LOCK_WAIT_MAX, STATEMENT_MAX};

use crate::seal::Sealer;
use error::{failed, get};
use path::Shared;
use session::Session;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::{Config, NoTls};
use tombola_core::award::step;
use tombola_core::ports::{StoreError, StoreResult};
use tombola_core::retry::Schedule;

const FIRST_SCHEMA: &str = include_str!("../../migrations/postgres/0001_init.sql");

/// Names the lock under which one process of many migrates ("tombola" in ASCII).
const MIGRATION_LOCK: i64 = 0x0074_6f6d_626f_6c61;

/// The store on PostgreSQL. It has one connection, so its calls queue; a pool
/// comes with the rest of it.
pub struct PostgresStore {
    config: Config,
    shared: Shared,
    sealer: Sealer,
    session: Mutex<Option<Session>>,
}

type Slot<'a> = MutexGuard<'a, Option<Session>>;

impl PostgresStore {
    /// Connects, and makes the tables where there are none.
    pub async fn open(config: Config, schedule: Schedule) -> StoreResult<Self> {
        migrate(&config).await?;
        let session = Session::open(&config).await?;
        Ok(Self {
            config,
            shared: Shared::new(schedule, step),
            sealer: Sealer::new(None),
            session: Mutex::new(Some(session)),
        })
    }

    /// The connection, taken out of its slot: a call that is dropped half-way drops
    /// the connection too, and nobody gets it with a transaction still open.
    async fn take(&self) -> StoreResult<(Slot<'_>, Session)> {
        let mut slot = self.session.lock().await;
        let session = match slot.take() {
            Some(session) if !session.client.is_closed() => session,
            Some(_) | None => Session::open(&self.config).await?,
        };
        Ok((slot, session))
    }
}

/// Puts the connection back, unless the answer says that something is wrong with
/// it or with the server behind it.
fn keep<T>(mut slot: Slot<'_>, session: Session, answer: StoreResult<T>) -> StoreResult<T> {
    if !matches!(answer, Err(StoreError::Unavailable(_))) {
        *slot = Some(session);
    }
    answer
}

/// Makes the tables where there are none. Several processes may start at once, so
/// they queue for a lock; what they find after it is true.
async fn migrate(config: &Config) -> StoreResult<()> {
    let mut client = session::connect(config, NoTls).await?;
    let tx = client.transaction().await.map_err(failed)?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK])
        .await
        .map_err(failed)?;
    let row = tx
        .query_one("SELECT to_regclass('id_block') IS NULL", &[])
        .await
        .map_err(failed)?;
    if get(&row, 0)? {
        tx.batch_execute(FIRST_SCHEMA).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)
}
