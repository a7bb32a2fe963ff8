//! The SQLite store: one file, one writer thread, a few readers, one thread that
//! keeps the log short. Only one process has the file open for writing; the lock
//! of the data directory is its caller's matter.

pub mod backup;
mod migrate;
mod open;
mod path;
mod readers;
pub mod restore;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

pub use migrate::Schema;
pub(crate) use migrate::{migrate, migrations_missing, schema, schema_of};
pub(crate) use open::BUSY_TIMEOUT;
pub(crate) use writer::alone;

use crate::sql::Connection;
use crate::store::{Priority, Shared, StoreOptions, Waiting, answer_of};
use readers::Reads;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tombola_core::ports::StoreResult;
use writer::Lines;

/// One SQLite file and the threads that have it open.
pub(crate) struct Sqlite {
    file: PathBuf,
    shared: Arc<Shared>,
    lines: Arc<Lines>,
    reads: Arc<Reads>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Sqlite {
    /// Opens the file, makes it if it is not there, and brings it to this version's
    /// schema. Blocks for as long as that takes.
    pub(crate) fn open(path: &Path, options: StoreOptions) -> StoreResult<Self> {
        open::open(path, options, Stopwatch::new())
    }

    /// The same with another stopwatch.
    #[cfg(test)]
    pub(crate) fn open_timed(
        path: &Path,
        stopwatch: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> StoreResult<Self> {
        let stopwatch = Stopwatch(Arc::new(stopwatch));
        open::open(path, StoreOptions::default(), stopwatch)
    }

    /// What calls may know, to be moved into a job.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Puts `job` into the line before the writer. It runs in the next transaction, in a
    /// savepoint of its own, and is answered after the commit.
    pub(crate) fn push_write<T, F>(&self, priority: Priority, rows: usize, job: F) -> Waiting<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        self.lines.push(priority, rows, job)
    }

    /// Puts `job` into the line before the readers; it sees one state of the file.
    pub(crate) fn push_read<T, F>(&self, timeout: Duration, job: F) -> Waiting<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        self.reads.push(timeout, job)
    }

    /// The answer of [`push_write`](Self::push_write).
    fn write<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        answer_of(self.push_write(priority, rows, job))
    }

    /// Takes no more calls, finishes those that wait and closes the file. Blocks
    /// until that is done; dropping it does the same.
    pub(crate) fn close(&self) {
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

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.close();
    }
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
