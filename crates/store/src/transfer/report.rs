//! What a transfer is told, what it tells on its way and at its end.

use crate::read::AuditReport;
use crate::seal::SealKeys;
use serde::Serialize;
use tombola_core::Timestamp;
use tombola_core::ports::StoreError;
use tombola_core::retry::Schedule;

/// Why nothing was transferred, or not all.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// It may not be; says what to do.
    #[error("{0}")]
    Refused(String),
    /// A row that PostgreSQL does not take.
    #[error("a row of the old database cannot be moved: {table} {key}: {what}")]
    Row {
        /// Its table.
        table: &'static str,
        /// Its primary key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The old database cannot be read.
    #[error("the old database: {0}")]
    From(StoreError),
    /// The new database cannot be written; another run goes on behind what is there.
    #[error("the new database: {0}")]
    To(StoreError),
}

/// How a database is transferred.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// The secrets of the old database, which the audits need.
    pub seal_keys: Option<SealKeys>,
    /// By which the audits judge attempts.
    pub schedule: Schedule,
    /// What is on its way is due then.
    pub now: Timestamp,
    /// See [`CHUNK_ROWS_MAX`](super::CHUNK_ROWS_MAX).
    pub chunk_rows_max: usize,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Rows go over; each step is a chunk that is there.
    Copying,
    /// Both sides are summed, table by table.
    Comparing,
    /// Both sides are audited.
    Auditing,
    /// The old database has its last mark, the new one is not released yet.
    Releasing,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub doing: Doing,
    /// Rows so far.
    pub done: u64,
    /// Rows in all.
    pub of: u64,
}

/// Is told after each step; where it says `false` the work ends, as if it were killed.
pub type OnStep<'a> = &'a mut (dyn FnMut(Progress) -> bool + Send);

/// One table on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: &'static str,
    /// Rows on SQLite.
    pub rows: u64,
    /// Rows on PostgreSQL.
    pub rows_there: u64,
    /// Whether every byte of every row is the same.
    pub is_equal: bool,
}

/// What was transferred, compared and audited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransferReport {
    /// The uuid of the database, which stays.
    pub origin: String,
    /// Where to, without a password.
    pub to: String,
    /// Whether an earlier run had begun it.
    pub is_resumed: bool,
    /// Rows that this run moved.
    pub moved: u64,
    /// Texts for people that lost a U+0000 in this run.
    pub cut: u64,
    /// Every table.
    pub tables: Vec<TableReport>,
    /// The audit of the old database.
    pub audit_from: AuditReport,
    /// The audit of the new one.
    pub audit_to: AuditReport,
    /// Whether nothing differs: then the new database was released.
    pub is_released: bool,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transferred {
    /// All steps were gone.
    Ended(Box<TransferReport>),
    /// Another run had done it all before.
    Before,
    /// It was stopped.
    Stopped,
}

impl Progress {
    pub(super) const fn of(doing: Doing) -> Self {
        Self {
            doing,
            done: 0,
            of: 0,
        }
    }
}
