//! Calls of the code that is written once for both databases: each is one transaction
//! on a session of the pool, on a thread for waiting.
//!
//! A write takes [`WRITE_LOCK`] first, so these writes go one after the other in the
//! whole database, as on SQLite. Draws and deliveries do not take it, and of each process one
//! session at most waits for it: the others wait before they have one.
//!
//! # What each failure does
//! - Others were at the same rows and the server gave up this one: it begins anew, at
//!   most [`RUNS_MAX`] times.
//! - The connection is lost: `Unavailable`. At the commit nobody knows whether it took
//!   effect; the key of the request tells its repetition.
//! - The caller goes away: the job runs all the same.

use super::{Postgres, Taken};
use crate::sql::{Connection, OrStoreError as _, Session};
use crate::store::Waiting;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::sync::oneshot;
use tombola_core::ports::{StoreError, StoreResult};

/// Names the lock of these writes ("tombolaw" in ASCII).
const WRITE_LOCK: i64 = 0x746f_6d62_6f6c_6177;
/// How often a job begins at most.
const RUNS_MAX: u32 = 5;
/// How long a write may take in all. Longer than what it waits for locks.
const WRITE_MAX: Duration = Duration::from_mins(1);

impl Postgres {
    /// Runs `job` in a transaction that may write.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "as on SQLite, whose line may be closed"
    )]
    pub(crate) fn push_write<T, F>(&self, job: F) -> Waiting<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> StoreResult<T> + Send + Sync + 'static,
    {
        let postgres = self.clone();
        Ok(begun(async move {
            let _turn = postgres.write_turn().await?;
            let taken = postgres.take().await?;
            let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({WRITE_LOCK})");
            run(taken, WRITE_MAX, begin, job).await
        }))
    }

    /// Runs `job` on one state of the database.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "as on SQLite, whose line may be closed"
    )]
    pub(crate) fn push_read<T, F>(&self, timeout: Duration, job: F) -> Waiting<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let postgres = self.clone();
        Ok(begun(async move {
            let taken = postgres.take_read().await?;
            let begin = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}",
                timeout.as_millis()
            );
            // A read meets no lock of rows, so it runs once.
            let job = std::sync::Mutex::new(Some(job));
            run(taken, timeout, begin, move |conn| {
                let job = job.lock().ok().and_then(|mut job| job.take());
                job.ok_or(StoreError::Closed)?(conn)
            })
            .await
        }))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the task is the call itself: it ends with its job, whose time is bounded"
)]
fn begun<T: Send + 'static>(
    call: impl Future<Output = StoreResult<T>> + Send + 'static,
) -> oneshot::Receiver<StoreResult<T>> {
    let (answer, receiver) = oneshot::channel();
    tokio::spawn(async move {
        // A caller that hung up needs no answer: what was written stands.
        drop(answer.send(call.await));
    });
    receiver
}

async fn run<T, F>(taken: Taken, timeout: Duration, begin: String, job: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: Fn(&Connection) -> StoreResult<T> + Send + Sync + 'static,
{
    let session = Session::new(taken, timeout);
    let running = tokio::task::spawn_blocking(move || {
        let conn = Connection::from(session);
        let done = until_alone(&conn, &begin, job);
        if let (Some(session), false) = (
            conn.into_postgres(),
            matches!(done, Err(StoreError::Unavailable(_))),
        ) {
            session.into_taken().give_back();
        }
        done
    });
    running.await.unwrap_or_else(|_| {
        Err(StoreError::Inconsistent(
            "a call of the store panicked".to_owned(),
        ))
    })
}

/// Runs the job until nobody was in its way.
fn until_alone<T>(
    conn: &Connection,
    begin: &str,
    job: impl Fn(&Connection) -> StoreResult<T>,
) -> StoreResult<T> {
    let mut runs = 1;
    loop {
        let done = in_transaction(conn, begin, &job);
        let is_again = done.is_err() && runs < RUNS_MAX && conn.was_in_the_way();
        if !is_again {
            return done;
        }
        runs += 1;
    }
}

fn in_transaction<T>(
    conn: &Connection,
    begin: &str,
    job: impl Fn(&Connection) -> StoreResult<T>,
) -> StoreResult<T> {
    let done = conn.execute_batch(begin).or_store().and_then(|()| {
        catch_unwind(AssertUnwindSafe(|| job(conn)))
            .unwrap_or_else(|_| Err(StoreError::Row("the call panicked".to_owned())))
    });
    match done {
        Ok(done) => conn.execute_batch("COMMIT").or_store().map(|()| done),
        Err(error) => match conn.execute_batch("ROLLBACK") {
            Ok(()) => Err(error),
            // The connection is of no use to anybody.
            Err(_) => Err(StoreError::Unavailable(error.to_string())),
        },
    }
}
