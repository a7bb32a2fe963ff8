//! The SQLite store: one file, one writer thread, a few readers, one thread that
//! keeps the log short. Only one process has the file open for writing; the lock
//! of the data directory is its caller's matter.

pub mod backup;
mod catalog;
mod codes;
pub(crate) mod endpoints;
pub(crate) mod error;
mod facts;
mod keys;
mod migrate;
mod open;
mod operate;
mod path;
mod readers;
mod requests;
pub mod restore;
mod rows;
mod rules;
pub(crate) mod seal;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

pub use migrate::Schema;
pub(crate) use migrate::schema_of;
pub(crate) use operate::bulk;
pub(crate) use rules::RulesCache;
pub(crate) use writer::{Priority, alone};

use crate::seal::SealKeys;
use error::OrStoreError as _;
use readers::Reads;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tombola_core::Timestamp;
use tombola_core::award::{StepFn, step};
use tombola_core::limits::READ_TIMEOUT;
use tombola_core::ports::{Actor, StoreError, StoreResult};
use tombola_core::retry::Schedule;
use writer::Lines;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// When awards are looked at again.
    pub schedule: Schedule,
    /// The award's table: always [`step`], but where the suite shows that it
    /// notices a table that is wrong.
    pub step: StepFn,
    /// Connections that read.
    pub readers: usize,
    /// Memory for pages of the writer, in KiB; each reader has a quarter of it.
    pub cache_kib: u32,
    /// The secrets under which codes, addresses and secrets of endpoints are sealed;
    /// without them all is plain.
    pub seal_keys: Option<SealKeys>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            step,
            readers: 3,
            cache_kib: 32 * 1024,
            seal_keys: None,
        }
    }
}

/// What calls on any thread may know.
pub(crate) struct Shared {
    /// When awards are looked at again.
    pub(crate) schedule: Schedule,
    /// The award's table.
    pub(crate) step: StepFn,
    /// The database's own uuid.
    pub(crate) origin: String,
    /// What was read of campaigns.
    pub(crate) rules: RulesCache,
    /// Bounds what the writer gathers.
    stopwatch: Stopwatch,
    /// What seals and opens.
    pub(crate) seals: seal::Seals,
}

/// The store ports on one SQLite file.
pub struct SqliteStore {
    file: PathBuf,
    shared: Arc<Shared>,
    lines: Arc<Lines>,
    reads: Arc<Reads>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there, and brings it to this version's
    /// schema. Blocks for as long as that takes.
    pub fn open(path: &Path, options: StoreOptions) -> StoreResult<Arc<Self>> {
        open::open(path, options, Stopwatch::new()).map(Arc::new)
    }

    /// The same with another stopwatch.
    #[cfg(test)]
    pub(crate) fn open_timed(
        path: &Path,
        stopwatch: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> StoreResult<Arc<Self>> {
        let stopwatch = Stopwatch(Arc::new(stopwatch));
        open::open(path, StoreOptions::default(), stopwatch).map(Arc::new)
    }

    /// The schema of the file at `path`, which is read and not changed.
    pub fn schema(path: &Path) -> StoreResult<Schema> {
        migrate::schema(path)
    }

    /// The database's own uuid: `origin` of every message.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// Puts a line into the operator log that a backup was taken, and by whom.
    pub async fn note_backup(&self, by: Actor, now: Timestamp) -> StoreResult<()> {
        self.write(Priority::Other, 1, move |conn| {
            let line = catalog::log::Line {
                action: "backup",
                subject: "database",
                ..catalog::log::Line::default()
            };
            catalog::log::write(conn, &by, now, line).or_store()
        })
        .await
    }

    /// What calls may know, to be moved into a job.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs `job` in the next transaction, in a savepoint of its own, and answers
    /// after its commit. `rows` is about how many it writes. It is in its line
    /// when this returns, and runs even if the future is dropped.
    pub(crate) fn write<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        answer_of(self.lines.push(priority, rows, job))
    }

    /// Runs `job` on one state of the database, with the time-out of reads for people.
    pub(crate) fn read<T, F>(
        &self,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        self.read_within(READ_TIMEOUT, job)
    }

    /// The same with another time-out. While it runs the log cannot begin anew.
    pub(crate) fn read_within<T, F>(
        &self,
        timeout: Duration,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        answer_of(self.reads.push(timeout, job))
    }

    /// Takes no more calls, finishes those that wait and closes the file. Blocks
    /// until that is done; dropping the store does the same.
    pub fn close(&self) {
        self.lines.close();
        self.reads.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let was_open = !threads.is_empty();
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store had panicked");
            }
        }
        if was_open && let Err(error) = open::end_log(&self.file) {
            // Nothing is lost: the next opening reads it.
            tracing::warn!(%error, "the log of the database stays beside its file");
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

async fn answer_of<T>(waiting: StoreResult<oneshot::Receiver<StoreResult<T>>>) -> StoreResult<T> {
    waiting?.await.unwrap_or(Err(StoreError::Closed))
}

/// The time since the store was opened, by which waits are bounded; no instant of it
/// is kept. Tests bring one of their own.
#[derive(Clone)]
pub(crate) struct Stopwatch(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "bounds waits; no instant of it is kept or compared with others"
    )]
    fn new() -> Self {
        let opened = Instant::now();
        Self(Arc::new(move || opened.elapsed()))
    }

    fn read(&self) -> Duration {
        (self.0)()
    }
}
