//! Reads beside the writer: a few threads, each with a connection that cannot
//! write. Each read sees one state of the database, and ends at its time-out.

use super::Stopwatch;
use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tombola_core::limits::READS_WAITING_MAX;
use tombola_core::ports::{StoreError, StoreResult};

/// Steps of SQLite's machine between two looks at the time-out.
const STEPS_BETWEEN_LOOKS: i32 = 4000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The line before the readers.
pub(super) struct Reads {
    waiting: Mutex<Waiting>,
    has_work: Condvar,
    stopwatch: Stopwatch,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<(Duration, Job)>,
    is_closed: bool,
}

impl Reads {
    pub(super) fn new(stopwatch: Stopwatch) -> Self {
        Self {
            waiting: Mutex::default(),
            has_work: Condvar::new(),
            stopwatch,
        }
    }

    /// Puts a read in the line; the time-out begins now.
    pub(super) fn push<T, F>(
        &self,
        timeout: Duration,
        job: F,
    ) -> StoreResult<oneshot::Receiver<StoreResult<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let ends = self.stopwatch.read().saturating_add(timeout);
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        if waiting.jobs.len() >= READS_WAITING_MAX {
            return Err(StoreError::Overloaded);
        }
        let job: Job = Box::new(move |conn| {
            // Nobody waits for the answer any more: spare the work.
            if !answer.is_closed() {
                drop(answer.send(in_snapshot(conn, job)));
            }
        });
        waiting.jobs.push_back((ends, job));
        drop(waiting);
        self.has_work.notify_one();
        Ok(receiver)
    }

    /// Takes no more reads; those that wait are still run.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.has_work.notify_all();
    }

    fn next(&self) -> Option<(Duration, Job)> {
        let mut waiting = self.lock();
        loop {
            if let Some(next) = waiting.jobs.pop_front() {
                return Some(next);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self
                .has_work
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a reader's thread.
pub(super) fn run(mut conn: Connection, reads: &Reads) {
    let ends_micros = Arc::new(AtomicU64::new(u64::MAX));
    let (seen, stopwatch) = (Arc::clone(&ends_micros), reads.stopwatch.clone());
    let is_over = move || micros(stopwatch.read()) >= seen.load(Ordering::Relaxed);
    if let Err(error) = conn
        .sqlite_mut()
        .progress_handler(STEPS_BETWEEN_LOOKS, Some(is_over))
    {
        tracing::error!(%error, "reads have no time-out");
    }
    while let Some((ends, job)) = reads.next() {
        ends_micros.store(micros(ends), Ordering::Relaxed);
        job(&conn);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// One state of the database for all statements of a read.
fn in_snapshot<T>(
    conn: &Connection,
    job: impl FnOnce(&Connection) -> StoreResult<T>,
) -> StoreResult<T> {
    conn.execute_batch("BEGIN DEFERRED").or_store()?;
    let done = catch_unwind(AssertUnwindSafe(|| job(conn)))
        .unwrap_or_else(|_| Err(StoreError::Inconsistent("a read panicked".to_owned())));
    // An interrupted statement may have ended the transaction by itself.
    if !conn.sqlite().is_autocommit() {
        conn.execute_batch("ROLLBACK").or_store()?;
    }
    done
}
