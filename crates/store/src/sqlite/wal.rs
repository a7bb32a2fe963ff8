//! Keeps the write-ahead log short without making a commit wait for it: a thread
//! of its own copies the log into the file while the writer goes on.
//!
//! A log that is never idle is never begun anew by that thread alone, because the
//! writer always adds to it. So when it has grown past a bound the writer copies
//! the little that is left between two transactions; the next transaction then
//! begins the log anew, unless a reader still needs it. Reads have a time-out,
//! which bounds what a reader can hold back.

use crate::sql::OrStoreError as _;
use rusqlite::Connection;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tombola_core::ports::StoreResult;

/// Bytes by which the log grows between two checkpoints of the thread: 4 MiB. With
/// four times as many, pages written often are copied once and draws gain a tenth,
/// but the slowest hundredth of them waits twice as long for the disk.
const STEP_BYTES: u32 = 4 << 20;
/// Bytes of the log from which the writer itself helps: 64 MiB.
const WRITER_HELPS_BYTES: u32 = 64 << 20;

/// How long the log is, as the writer knows.
pub(super) struct Wal {
    pages: std::sync::Arc<AtomicU32>,
    /// Length at which the writer tries again to end the log.
    helps_at: AtomicU32,
    step: u32,
    writer_helps: u32,
}

impl Wal {
    /// Of a database with pages of so many bytes: it keeps those it was made with.
    pub(super) fn of(page_bytes: u32) -> Self {
        let writer_helps = WRITER_HELPS_BYTES / page_bytes;
        Self {
            pages: std::sync::Arc::default(),
            helps_at: AtomicU32::new(writer_helps),
            step: STEP_BYTES / page_bytes,
            writer_helps,
        }
    }

    /// Watches the commits of `conn`; what it gives is told of each step.
    pub(super) fn watch(&self, conn: &mut Connection) -> StoreResult<Receiver<()>> {
        let (tell, told): (SyncSender<()>, _) = sync_channel(1);
        let pages = std::sync::Arc::clone(&self.pages);
        let (step, mut told_at) = (self.step, 0);
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, length: i32| {
            let length = length.unsigned_abs();
            pages.store(length, Ordering::Relaxed);
            if length < told_at {
                told_at = 0; // the log was begun anew
            }
            // Full: the thread has not yet come to the last telling.
            if length - told_at >= step && tell.try_send(()).is_ok() {
                told_at = length;
            }
            Ok(())
        }))
        .or_store()?;
        Ok(told)
    }

    /// Called by the writer between two transactions.
    pub(super) fn keep_bounded(&self, conn: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.writer_helps {
            self.helps_at.store(self.writer_helps, Ordering::Relaxed);
        } else if pages >= self.helps_at.load(Ordering::Relaxed) && checkpoint(conn) {
            // Tried; where a reader holds it back, not again at each transaction.
            self.helps_at.store(pages + self.step, Ordering::Relaxed);
        }
    }
}

/// The body of the thread: one checkpoint for each telling, until the writer is gone.
pub(super) fn run(conn: &Connection, told: &Receiver<()>) {
    while told.recv().is_ok() {
        checkpoint(conn);
    }
}

/// Copies what it can without waiting for anybody; `false` if another connection
/// is at it.
fn checkpoint(conn: &Connection) -> bool {
    let is_busy = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        row.get::<_, bool>(0)
    });
    match is_busy {
        Ok(is_busy) => !is_busy,
        Err(error) => {
            // The log stays whole; the next step tries again.
            tracing::warn!(%error, "a checkpoint of the log failed");
            true
        }
    }
}
