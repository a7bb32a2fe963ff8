//! The transfer: a database on SQLite that nobody serves becomes one on PostgreSQL, with
//! everything that is in it, unfinished awards too.
//!
//! # Model
//! Every row of every table (`tables`) goes over in the order of its primary key, in
//! chunks. A chunk and the mark of how far it is are one transaction on PostgreSQL, so
//! after a kill at any point another run goes on behind the last chunk: no row is lost
//! or doubled. Then the rows of both sides are summed (`row`) and audited, and only if
//! nothing differs is the new database released. What each mark allows whom is said in
//! `mark`.
//!
//! # Authority
//! Whoever calls holds the lock of the data directory: nobody serves the old database,
//! so no holder of a lease lives and no row changes. A file that was opened to be served
//! after a transfer began has lost its mark; then the rows that went over are not its
//! rows any more, and the next run begins anew.
//!
//! # Why no award is delivered twice
//! Every award keeps its row: its state, its lease, its attempts, its message id and its
//! delivery key. Nothing is decided here; `pending` and `delivering` rows are only due at
//! once, by the rule of every start alone: their date changes and their lease does not.
//! So rescue on PostgreSQL decides each of them by its kind, exactly as the next start on
//! SQLite would have done after a lost worker: what may be repeated is repeated under the
//! same delivery key, what may not is a dead letter with an unknown outcome. `retryable`
//! and `held` rows keep their dates, which are promises. The position of an unfinished
//! award lay on a topic that ended with its process, so it is left out; that is what
//! every way into `pending` does.
//!
//! Two databases with the same awards exist from the first chunk on. At most one of them
//! may ever be served: the new one refuses until it is released, and before it is
//! released the old one refuses.
//!
//! # What each failure does
//! - The process dies: the old database may be served again, or the same command goes on.
//!   Between the last mark of the old one and the release of the new one neither may be
//!   served; the same command finishes it.
//! - The server's disk is full, the connection breaks: the chunk is rolled back, and the
//!   same command goes on.
//! - A row that PostgreSQL does not take: it is named, and nothing is released.
//! - Something differs at the end: nothing is released, and the old database may be
//!   served.

mod mark;
mod report;
mod row;
mod source;
mod tables;
mod target;

pub(crate) use mark::{on_connect, on_open};
pub use report::{
    Doing, OnStep, Progress, TableReport, TransferError, TransferOptions, TransferReport,
    Transferred,
};
#[cfg(feature = "conformance")]
pub use tables::listed;

use crate::Shared;
use crate::lapse::Restored;
use crate::postgres::PostgresOptions;
use crate::read::AuditReport;
use crate::rules::RulesCache;
use crate::seal::SealKeys;
use crate::seals::{Seal, Seals};
use mark::{FromMark, ToMark};
use row::Sum;
use serde_json::Value;
use source::Source;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tables::TABLES;
use target::{Begun, Target};
use tokio::sync::mpsc;
use tombola_core::Timestamp;
use tombola_core::award::step;
use tombola_core::ports::{Actor, StoreError};
use tombola_core::retry::Schedule;

/// Rows of one chunk. Beside its commit a transaction costs little: more rows in it are
/// hardly faster, and take more memory.
pub const CHUNK_ROWS_MAX: usize = 5000;
/// Chunks that were read and not written yet.
const CHUNKS_WAITING_MAX: usize = 2;

/// Rows of one table, as they go over.
struct Chunk {
    /// The table's place in the list.
    table: usize,
    rows: usize,
    bytes: Vec<u8>,
    /// Key of the last row.
    last: Vec<Value>,
    /// Whether the table is whole with it.
    is_last: bool,
    /// Texts that lost a U+0000.
    cut: u64,
}

impl Chunk {
    fn of(table: usize) -> Self {
        Self {
            table,
            rows: 0,
            bytes: Vec::new(),
            last: Vec::new(),
            is_last: false,
            cut: 0,
        }
    }
}

/// Transfers the file at `from`, whose lock the caller holds, or goes on with it.
pub async fn run(
    from: &Path,
    to: &PostgresOptions,
    options: TransferOptions,
    on_step: OnStep<'_>,
) -> Result<Transferred, TransferError> {
    let from = from.to_owned();
    let path = from.clone();
    let look = move || source::has_our_schema(&path).and_then(|()| source::look(&path));
    let source = blocking(look).await?;
    let mut target = Target::connect(to).await?;
    let (mark, is_resumed) = match target.begin(&source, options.now).await? {
        Begun::Done => return Ok(Transferred::Before),
        Begun::Unfinished { mark, is_resumed } => (mark, is_resumed),
    };
    let work = Work {
        last_mark: FromMark {
            token: mark.token.clone(),
            to: target::place_of(to),
            at: options.now,
            is_done: true,
        },
        from,
        target,
        mark,
        options,
    };
    work.leave_first_mark(&source).await?;
    work.run(source, is_resumed, on_step).await
}

/// A transfer at work.
struct Work {
    from: PathBuf,
    target: Target,
    mark: ToMark,
    last_mark: FromMark,
    options: TransferOptions,
}

impl Work {
    /// One of the same transfer stays, above all one that is done: nobody may serve the file.
    async fn leave_first_mark(&self, source: &Source) -> Result<(), TransferError> {
        if source.has_token(&self.mark.token) {
            return Ok(());
        }
        self.put_mark(self.first_mark()).await
    }

    fn first_mark(&self) -> FromMark {
        FromMark {
            is_done: false,
            ..self.last_mark.clone()
        }
    }

    async fn put_mark(&self, mark: FromMark) -> Result<(), TransferError> {
        let path = self.from.clone();
        blocking(move || source::put_mark(&path, &mark)).await
    }

    async fn run(
        mut self,
        source: Source,
        is_resumed: bool,
        on_step: OnStep<'_>,
    ) -> Result<Transferred, TransferError> {
        let Some((moved, cut)) = self.copy(on_step).await? else {
            return Ok(Transferred::Stopped);
        };
        self.target.settle().await?;
        let Some(tables) = self.compare(on_step).await? else {
            return Ok(Transferred::Stopped);
        };
        if !on_step(Progress::of(Doing::Auditing)) {
            return Ok(Transferred::Stopped);
        }
        let (audit_from, audit_to) = self.audit(&source.origin).await?;
        let is_same = tables.iter().all(|table| table.is_equal) && agree(&audit_from, &audit_to);
        if is_same {
            self.put_mark(self.last_mark.clone()).await?;
            if !on_step(Progress::of(Doing::Releasing)) {
                return Ok(Transferred::Stopped);
            }
            self.target.release(&self.mark).await?;
        } else {
            // Also where an earlier run had left the last one: nothing was released.
            self.put_mark(self.first_mark()).await?;
        }
        Ok(Transferred::Ended(Box::new(TransferReport {
            origin: source.origin,
            to: self.last_mark.to,
            is_resumed,
            moved,
            cut,
            tables,
            audit_from,
            audit_to,
            is_released: is_same,
        })))
    }

    /// Reads on a thread of its own while the server writes. `None`: it was stopped.
    async fn copy(&mut self, on_step: OnStep<'_>) -> Result<Option<(u64, u64)>, TransferError> {
        let path = self.from.clone();
        let counts = blocking(move || source::counts(&path)).await?;
        let (path, place) = (self.from.clone(), self.mark.place());
        let progress = Progress {
            done: counts.iter().take(place.table).sum(),
            of: counts.iter().sum(),
            ..Progress::of(Doing::Copying)
        };
        let (giver, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
        let (now, rows_max) = (self.mark.started_at, self.options.chunk_rows_max);
        let reading = blocking(move || {
            let mut give = |chunk| giver.blocking_send(chunk).is_ok();
            source::chunks(&path, &place, now, rows_max, &mut give)
        });
        let writing = Box::pin(self.write(chunks, progress, on_step));
        let (read, written) = futures_util::future::join(reading, writing).await;
        // Where the writing ended early the reading did as well, and has nothing to say.
        let written = written?;
        read.map(|()| written)
    }

    /// Writes what comes; the reading ends with it.
    async fn write(
        &mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        mut progress: Progress,
        on_step: OnStep<'_>,
    ) -> Result<Option<(u64, u64)>, TransferError> {
        let (mut moved, mut cut) = (0, 0);
        while let Some(chunk) = chunks.recv().await {
            let rows = u64::try_from(chunk.rows).unwrap_or(u64::MAX);
            (moved, cut) = (moved + rows, cut + chunk.cut);
            self.target.put(&mut self.mark, chunk).await?;
            progress.done = (progress.done + rows).min(progress.of);
            if !on_step(progress) {
                return Ok(None);
            }
        }
        Ok(Some((moved, cut)))
    }

    /// `None`: it was stopped.
    async fn compare(
        &self,
        on_step: OnStep<'_>,
    ) -> Result<Option<Vec<TableReport>>, TransferError> {
        let mut reports = Vec::new();
        let mut progress = Progress::of(Doing::Comparing);
        progress.of = u64::try_from(TABLES.len()).unwrap_or_default();
        let now = self.mark.started_at;
        for table in TABLES {
            let path = self.from.clone();
            let here = blocking(move || source::sum(&path, table, now));
            let (here, there) = futures_util::future::join(here, self.target.sum(table)).await;
            let (here, there): (Sum, Sum) = (here?, there?);
            reports.push(TableReport {
                table: table.name,
                rows: here.rows,
                rows_there: there.rows,
                is_equal: here == there,
            });
            progress.done += 1;
            if !on_step(progress) {
                return Ok(None);
            }
        }
        Ok(Some(reports))
    }

    async fn audit(&self, origin: &str) -> Result<(AuditReport, AuditReport), TransferError> {
        let (schedule, seal_keys) = (&self.options.schedule, &self.options.seal_keys);
        let shared = Arc::new(shared(
            schedule.clone(),
            origin.to_owned(),
            seal_keys.as_ref(),
        ));
        let (path, of_file) = (self.from.clone(), Arc::clone(&shared));
        let here = blocking(move || source::audit_all(&path, &of_file));
        let (here, there) = futures_util::future::join(here, self.target.audit(shared)).await;
        Ok((here?, there?))
    }
}

/// Takes the last mark of the old database away again, under its lock: it may be served,
/// as one that lacks the time since (see [`lapse`](crate::lapse)). Where the new one is named
/// it is shut before; what happened in it stays there.
pub async fn undo(
    from: &Path,
    to: Option<&PostgresOptions>,
    schedule: Schedule,
    by: Actor,
    now: Timestamp,
) -> Result<Restored, TransferError> {
    let path = from.to_owned();
    let source = blocking(move || source::look(&path)).await?;
    let Some(mark) = source.mark.filter(|mark| mark.is_done) else {
        return Err(TransferError::Refused(format!(
            "{} was not transferred: serve it",
            from.display()
        )));
    };
    if let Some(to) = to {
        let mut target = Target::connect_as_it_is(to).await?;
        target.give_up(&mark).await?;
    }
    let path = from.to_owned();
    let shared = shared(schedule, source.origin, None);
    blocking(move || source::undo(&path, &shared, &by, now)).await
}

fn shared(schedule: Schedule, origin: String, seal_keys: Option<&SealKeys>) -> Shared {
    Shared {
        schedule,
        step,
        origin,
        rules: RulesCache::default(),
        seals: Seals::new(Seal::to_open(seal_keys)),
    }
}

/// Whether both audits found the same. What was amiss before is not the transfer's.
fn agree(one: &AuditReport, other: &AuditReport) -> bool {
    let found = |report: &AuditReport| -> Vec<(String, u64)> {
        let checks = report.checks.iter();
        checks
            .map(|check| (check.name.clone(), check.violations))
            .collect()
    };
    found(one) == found(other) && one.campaigns == other.campaigns
}

/// Runs what blocks on a thread for waiting.
async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|_| {
        Err(TransferError::From(StoreError::Inconsistent(
            "a read of the transfer panicked".to_owned(),
        )))
    })
}
