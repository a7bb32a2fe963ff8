//! The one thread that writes.
//!
//! # Model
//! Calls wait in two bounded lines, draws before others. The thread takes what
//! waits, runs each call in a savepoint of its own, commits all of them at once
//! and only then answers. While one transaction commits, the next gathers: there
//! is no timer and no added wait, and one fsync is shared by draws, marks and
//! deliveries.
//!
//! # What each failure does
//! - A call fails or panics: its savepoint is rolled back, it alone is told.
//! - The commit fails: nothing of the group is there; every call is told
//!   `Unavailable` and may run again.
//! - The process dies: what was answered is in the log, what was not may be;
//!   callers find out by their keys.
//! - A caller goes away: its call runs all the same.

use super::Stopwatch;
use super::wal::Wal;
use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use crate::store::{Priority, Shared};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tombola_core::limits::{WRITER_GATHER_MAX, WRITER_ROWS_MAX, WRITER_WAITING_MAX};
use tombola_core::ports::{StoreError, StoreResult};

/// The lines before the writer.
#[derive(Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    has_work: Condvar,
}

#[derive(Default)]
struct Waiting {
    draws: VecDeque<Entry>,
    others: VecDeque<Entry>,
    is_closed: bool,
}

struct Entry {
    rows: usize,
    call: Box<dyn Call>,
}

impl Lines {
    /// Puts a call in its line; it runs even if the answer is no longer awaited.
    pub(super) fn push<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> StoreResult<oneshot::Receiver<StoreResult<T>>>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(StoreError::Closed);
        }
        let line = match priority {
            Priority::Draw => &mut waiting.draws,
            Priority::Other => &mut waiting.others,
        };
        if line.len() >= WRITER_WAITING_MAX {
            return Err(StoreError::Overloaded);
        }
        line.push_back(Entry {
            rows,
            call: Box::new(CallOf {
                job: Some(job),
                done: None,
                answer,
            }),
        });
        drop(waiting);
        self.has_work.notify_one();
        Ok(receiver)
    }

    /// Takes no more calls; those that wait are still run.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.has_work.notify_all();
    }

    /// Waits for the first call of a group; `None` once closed and empty.
    fn first(&self) -> Option<Entry> {
        let mut waiting = self.lock();
        loop {
            if let Some(entry) = waiting
                .draws
                .pop_front()
                .or_else(|| waiting.others.pop_front())
            {
                return Some(entry);
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

    fn next_draw(&self) -> Option<Entry> {
        self.lock().draws.pop_front()
    }

    fn next_other(&self) -> Option<Entry> {
        self.lock().others.pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic halfway through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call whose types are known only to its caller.
trait Call: Send {
    /// Runs it; whether what it wrote may stay.
    fn run(&mut self, conn: &Connection) -> bool;
    /// Answers: what it gave, or why the group was lost.
    fn answer(self: Box<Self>, lost: Option<&str>);
}

struct CallOf<T, F> {
    job: Option<F>,
    done: Option<StoreResult<T>>,
    answer: oneshot::Sender<StoreResult<T>>,
}

impl<T, F> Call for CallOf<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> StoreResult<T> + Send,
{
    fn run(&mut self, conn: &Connection) -> bool {
        let Some(job) = self.job.take() else {
            return false;
        };
        // What a panic leaves half done in the database is rolled back by the
        // savepoint; the job's own values are gone with it.
        let done = catch_unwind(AssertUnwindSafe(|| job(conn))).unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            tracing::error!(
                panic = text,
                "a write of the store panicked; it alone is rolled back"
            );
            Err(StoreError::Row(format!("the write panicked: {text}")))
        });
        let may_stay = done.is_ok();
        self.done = Some(done);
        may_stay
    }

    fn answer(self: Box<Self>, lost: Option<&str>) {
        let answer = match (lost, self.done) {
            (None, Some(done)) => done,
            (lost, _) => Err(StoreError::Unavailable(
                lost.unwrap_or("the call did not run").to_owned(),
            )),
        };
        // A caller that hung up needs no answer: the write stands.
        drop(self.answer.send(answer));
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// The body of the thread: groups until the lines are closed and empty.
pub(super) fn run(
    conn: &Connection,
    lines: &Arc<Lines>,
    shared: &Shared,
    wal: &Wal,
    stopwatch: &Stopwatch,
) {
    while let Some(first) = lines.first() {
        let mut group = Group {
            conn,
            shared,
            stopwatch,
            calls: Vec::new(),
            rows: 0,
        };
        let lost = group
            .write(first, lines)
            .err()
            .map(|error| error.to_string());
        if let Some(why) = &lost {
            tracing::error!(
                error = why,
                calls = group.calls.len(),
                "a transaction of the store was lost"
            );
            group.undo();
        }
        for call in group.calls {
            call.answer(lost.as_deref());
        }
        wal.keep_bounded(conn.sqlite());
    }
}

/// The calls of one transaction.
struct Group<'a> {
    conn: &'a Connection,
    shared: &'a Shared,
    stopwatch: &'a Stopwatch,
    calls: Vec<Box<dyn Call>>,
    rows: usize,
}

impl Group<'_> {
    /// Begins, runs what waits, commits. An error means that nothing is there.
    fn write(&mut self, first: Entry, lines: &Lines) -> StoreResult<()> {
        let began = self.stopwatch.read();
        self.run_first(first)?;
        let mut has_other = false;
        while self.rows < WRITER_ROWS_MAX && self.gathered_for(began) < WRITER_GATHER_MAX {
            let entry = match lines.next_draw() {
                Some(draw) => draw,
                None => match lines.next_other() {
                    Some(other) => {
                        has_other = true;
                        other
                    }
                    None => break,
                },
            };
            self.run(entry)?;
        }
        // Draws go first, but not for ever: marks and deliveries move with each group.
        if !has_other && let Some(other) = lines.next_other() {
            self.run(other)?;
        }
        self.execute("COMMIT")
    }

    fn gathered_for(&self, began: Duration) -> Duration {
        self.stopwatch.read().saturating_sub(began)
    }

    /// Runs the first call without a savepoint, for which SQLite would copy every
    /// page that the call changes: with nothing before it, the whole transaction
    /// can be begun anew if it fails. It is a batch of draws wherever one waits.
    fn run_first(&mut self, mut entry: Entry) -> StoreResult<()> {
        self.rows += entry.rows.max(1);
        let done = self
            .execute("BEGIN IMMEDIATE")
            .map(|()| entry.call.run(self.conn));
        self.calls.push(entry.call);
        let may_stay = done?;
        self.still_open()?;
        if may_stay {
            return Ok(());
        }
        self.execute("ROLLBACK")?;
        self.shared.rules.forget();
        self.execute("BEGIN IMMEDIATE")
    }

    /// Runs one call in its savepoint.
    fn run(&mut self, mut entry: Entry) -> StoreResult<()> {
        self.rows += entry.rows.max(1);
        let done = self
            .execute("SAVEPOINT call")
            .map(|()| entry.call.run(self.conn));
        self.calls.push(entry.call);
        let may_stay = done?;
        self.still_open()?;
        if !may_stay {
            self.execute("ROLLBACK TO call")?;
            // What was read of rows that are gone again must not be remembered.
            self.shared.rules.forget();
        }
        self.execute("RELEASE call")
    }

    /// Some errors (disk full, input/output) make SQLite roll the whole transaction
    /// back by itself; going on would commit each later call alone.
    fn still_open(&self) -> StoreResult<()> {
        if self.conn.sqlite().is_autocommit() {
            return Err(StoreError::Unavailable(
                "SQLite rolled the transaction back".to_owned(),
            ));
        }
        Ok(())
    }

    fn undo(&self) {
        self.shared.rules.forget();
        if !self.conn.sqlite().is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "a lost transaction could not be rolled back");
        }
    }

    fn execute(&self, sql: &str) -> StoreResult<()> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .or_store()
    }
}

/// Opens a savepoint inside a call for something that may fail alone: an error of
/// `body` undoes what `body` wrote and nothing else.
pub(crate) fn alone<T>(
    conn: &Connection,
    body: impl FnOnce(&Connection) -> StoreResult<T>,
) -> StoreResult<T> {
    let execute = |sql: &str| {
        conn.prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .or_store()
    };
    execute("SAVEPOINT alone")?;
    let done = body(conn);
    if done.is_err() {
        execute("ROLLBACK TO alone")?;
    }
    execute("RELEASE alone")?;
    done
}
