//! The connections of one process: a pool for all that writes, and a small one for
//! reads for people, which cannot write and before which no draw ever waits.
//!
//! # Shape
//! A [`Postgres`] is opened once and cloned freely. A call takes a [`Session`] for one
//! transaction, and says how that went:
//!
//! ```text
//! let mut session = postgres.take().await?;      // or take_read
//! let answer = work_on(&mut session).await;      // Deref and DerefMut to Session
//! session.end(answer)                            // gives it back, if it is still good
//! ```
//!
//! For work on a blocking thread, take the session before the job and move it in; calls
//! on its client go through [`Session::within`], statements come from
//! [`Session::prepared`], and [`Taken::give_back`] comes after success.
//!
//! # What each failure does
//! - The call fails as `Unavailable`, its future is dropped half-way, its thread
//!   panics: the session is not given back and its connection closes, upon which the
//!   server rolls back. Nobody gets a session with a transaction still open. Its place
//!   in the pool is free at once.
//! - All sessions are taken: the call waits, within a bound, and is then told
//!   `Overloaded`; nothing was done.
//! - A connection ends while nobody has it: it is passed over. One that was idle for
//!   long is asked first whether it is there.

use super::error::inconsistent;
use super::migrate::{self, Unfinished};
use super::options::PostgresOptions;
use super::session::{Opener, Session};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolConfig, PoolError, RecycleError, RecycleResult,
    TimeoutType, Timeouts,
};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tombola_core::ports::{StoreError, StoreResult};

/// After that long without use a session is asked whether it is still there.
const TRUSTED_IDLE_MAX: Duration = Duration::from_secs(30);

/// A database on PostgreSQL, with the connections of this process to it.
#[derive(Clone)]
pub struct Postgres {
    pool: Pool<Opener>,
    reads: Pool<Opener>,
    /// Of this process, whose turn it is to write what is written once for both databases.
    write_turn: Arc<Semaphore>,
    wait_max: Duration,
    origin: Arc<str>,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that it may have.
    pub max: usize,
    /// Connections that it has.
    pub open: usize,
    /// Of those, the ones that nobody uses now.
    pub idle: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

impl Postgres {
    /// Connects, and looks at the schema: a database that is behind is migrated if the
    /// options say so and else refused, one that is ahead is always refused.
    pub async fn open(options: &PostgresOptions) -> StoreResult<Self> {
        Self::open_for(options, Unfinished::Nothing).await
    }

    /// The same where rows are still to come: for the transfer that brings them.
    pub(crate) async fn open_unfinished(options: &PostgresOptions) -> StoreResult<Self> {
        Self::open_for(options, Unfinished::Transfer).await
    }

    /// The same where a restore is not finished.
    pub(super) async fn open_to_restore(options: &PostgresOptions) -> StoreResult<Self> {
        Self::open_for(options, Unfinished::Restore).await
    }

    async fn open_for(options: &PostgresOptions, may_be: Unfinished) -> StoreResult<Self> {
        let writer = Opener::new(options, false)?;
        let origin = migrate::ready(&writer, options.migrate, may_be).await?;
        Self::with(options, writer, origin.into())
    }

    /// Without a look at the schema, for who has looked at it: nothing is changed.
    pub(super) fn unchecked(options: &PostgresOptions) -> StoreResult<Self> {
        Self::with(options, Opener::new(options, false)?, Arc::from(""))
    }

    fn with(options: &PostgresOptions, writer: Opener, origin: Arc<str>) -> StoreResult<Self> {
        let reader = Opener::new(options, true)?;
        Ok(Self {
            pool: pool(writer, options.pool_max, options.wait_max)?,
            reads: pool(reader, options.reads_max, options.wait_max)?,
            write_turn: Arc::new(Semaphore::new(1)),
            wait_max: options.wait_max,
            origin,
        })
    }

    /// The database's own uuid, made when it was first opened.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// A session that may write.
    pub async fn take(&self) -> StoreResult<Taken> {
        take(&self.pool).await
    }

    /// A session that may write, if one is free or may be opened: without waiting for others.
    pub(super) async fn take_free(&self) -> StoreResult<Taken> {
        let timeouts = Timeouts {
            wait: Some(Duration::ZERO),
            ..self.pool.timeouts()
        };
        taken(&self.pool, self.pool.timeout_get(&timeouts).await)
    }

    /// Waits for the writes of this process that were asked for before, without a session.
    pub(super) async fn write_turn(&self) -> StoreResult<SemaphorePermit<'_>> {
        match timeout(self.wait_max, self.write_turn.acquire()).await {
            Ok(turn) => turn.map_err(|_| StoreError::Closed),
            Err(_) => Err(StoreError::Overloaded),
        }
    }

    /// A session that cannot write, for reads for people.
    pub async fn take_read(&self) -> StoreResult<Taken> {
        take(&self.reads).await
    }

    /// How full the pool is that writes.
    pub fn state(&self) -> PoolState {
        state(&self.pool)
    }

    /// How full the pool is that only reads.
    pub fn reads_state(&self) -> PoolState {
        state(&self.reads)
    }

    /// Closes idle connections, the others as they are given back; who waits and who
    /// comes later is told `Closed`.
    pub fn close(&self) {
        self.write_turn.close();
        self.pool.close();
        self.reads.close();
    }

    /// What opens sessions that write.
    pub(super) fn opener(&self) -> &Opener {
        self.pool.manager()
    }
}

/// A session out of the pool. Dropped, it is thrown away with its connection.
#[must_use = "what is not given back is thrown away"]
pub struct Taken(Option<Object<Opener>>);

impl Taken {
    /// Puts the session back for the next call.
    pub fn give_back(mut self) {
        drop(self.0.take());
    }

    /// Puts the session back, unless the answer says that something is wrong with it or
    /// with the server behind it.
    pub fn end<T>(self, answer: StoreResult<T>) -> StoreResult<T> {
        if !matches!(answer, Err(StoreError::Unavailable(_))) {
            self.give_back();
        }
        answer
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl Deref for Taken {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0.as_ref().expect("a session until it is given back")
    }
}

impl DerefMut for Taken {
    fn deref_mut(&mut self) -> &mut Session {
        self.0.as_mut().expect("a session until it is given back")
    }
}

impl Manager for Opener {
    type Type = Session;
    type Error = StoreError;

    async fn create(&self) -> StoreResult<Session> {
        // Large, and seldom needed: apart from the future of who takes a session.
        Box::pin(self.open()).await
    }

    /// Gives up a session whose connection has ended.
    async fn recycle(&self, session: &mut Session, seen: &Metrics) -> RecycleResult<StoreError> {
        if !session.is_good() {
            return Err(RecycleError::message("the connection ended"));
        }
        if seen.last_used() > TRUSTED_IDLE_MAX {
            session.ask(self.connect_max()).await?;
        }
        Ok(())
    }
}

fn pool(opener: Opener, max: usize, wait_max: Duration) -> StoreResult<Pool<Opener>> {
    let connect_max = opener.connect_max();
    let config = PoolConfig {
        timeouts: Timeouts {
            wait: Some(wait_max),
            create: Some(connect_max),
            // It has a bound of its own.
            recycle: None,
        },
        ..PoolConfig::new(max.max(1))
    };
    Pool::builder(opener)
        .config(config)
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| inconsistent(error.to_string()))
}

async fn take(pool: &Pool<Opener>) -> StoreResult<Taken> {
    taken(pool, pool.get().await)
}

fn taken(
    pool: &Pool<Opener>,
    got: Result<Object<Opener>, PoolError<StoreError>>,
) -> StoreResult<Taken> {
    match got {
        Ok(object) => Ok(Taken(Some(object))),
        Err(PoolError::Timeout(TimeoutType::Wait)) => Err(StoreError::Overloaded),
        Err(PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)) => {
            Err(StoreError::Unavailable(format!(
                "no connection within {} ms",
                pool.manager().connect_max().as_millis()
            )))
        }
        Err(PoolError::Backend(error)) => Err(error),
        Err(PoolError::Closed) => Err(StoreError::Closed),
        Err(error @ (PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_))) => {
            Err(inconsistent(error.to_string()))
        }
    }
}

fn state(pool: &Pool<Opener>) -> PoolState {
    let status = pool.status();
    PoolState {
        max: status.max_size,
        open: status.size,
        idle: status.available,
        waiting: status.waiting,
    }
}
