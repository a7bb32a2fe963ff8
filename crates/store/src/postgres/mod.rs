//! The store on PostgreSQL, as far as the spike of decision 0005 goes: three
//! methods of the award path, with the signatures of
//! [`AwardPath`](tombola_core::ports::AwardPath), which show that the seam fits a
//! second database. The rest comes with the issue for PostgreSQL.
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

mod claim;
mod columns;
mod decided;
mod draws;
mod error;
mod keys;
mod session;
mod sql;
mod state;
mod versions;
mod written;

pub use session::{IDLE_IN_TRANSACTION_MAX, LOCK_WAIT_MAX, STATEMENT_MAX};

use error::{failed, get, inconsistent};
use session::Session;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::{Config, NoTls};
use tombola_core::Timestamp;
use tombola_core::ids::{ID_MAX, IdBlock};
use tombola_core::ports::{Copy, CopyAnswer, DrawAnswer, DrawBatch, StoreError, StoreResult};
use tombola_core::retry::Schedule;
use versions::Versions;

const FIRST_SCHEMA: &str = include_str!("../../migrations/postgres/0001_init.sql");

/// Names the lock under which one process of many migrates ("tombola" in ASCII).
const MIGRATION_LOCK: i64 = 0x0074_6f6d_626f_6c61;

/// The store on PostgreSQL. It has one connection, so its calls queue; a pool
/// comes with the rest of it.
pub struct PostgresStore {
    config: Config,
    schedule: Schedule,
    versions: Arc<Versions>,
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
            schedule,
            versions: Arc::default(),
            session: Mutex::new(Some(session)),
        })
    }

    /// See `AwardPath::reserve_ids`. A row and not a sequence: what a sequence gave
    /// out may be given again after a crash, if nothing was committed with it.
    pub async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        let (slot, session) = self.take().await?;
        let count = i64::from(count);
        let next: StoreResult<_> = session
            .client
            .query_opt(&session.sql.reserve_ids, &[&count, &(ID_MAX + 1 - count)])
            .await
            .map_err(failed);
        let row = keep(slot, session, next)?;
        let row = row.ok_or_else(|| inconsistent("all ids below 2^53 are used up"))?;
        let end: i64 = get(&row, 0)?;
        Ok(IdBlock {
            next: end - count,
            end,
        })
    }

    /// See `AwardPath::commit_draws`.
    pub async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        let (slot, mut session) = self.take().await?;
        let desk = draws::Desk {
            versions: &self.versions,
            schedule: &self.schedule,
            batch: &batch,
        };
        let answers = desk.commit(&mut session).await;
        keep(slot, session, answers)
    }

    /// See `AwardPath::claim`.
    pub async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        let (slot, mut session) = self.take().await?;
        let claimer = claim::Claimer {
            versions: &self.versions,
            schedule: &self.schedule,
            now,
        };
        let answers = claimer.claim(&mut session, &copies).await;
        keep(slot, session, answers)
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
