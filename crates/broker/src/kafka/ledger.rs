//! What a member's thread has seen and the worker has not been handed yet; who
//! owns what, how far it was read, and which commit is good.
//!
//! The thread writes what librdkafka tells it; `take` hands it to the worker,
//! assignments and revocations before messages. Each assignment of a partition is a
//! life of its own: a position, a pause or a commit of an earlier life never counts
//! in a later one.

#[cfg(test)]
mod tests;

use super::config::{WAITING_BYTES_MAX, WAITING_MAX};
use super::health::Pulse;
use crate::turns::turns;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tombola_core::ports::{Incoming, Polled, TopicError};

pub(super) struct Ledger {
    /// How long a revocation waits for the worker.
    told_wait: Duration,
    pulse: Arc<Pulse>,
    books: Mutex<Books>,
    /// The worker was told, or a commit ended.
    progress: Condvar,
    wake: Notify,
}

#[derive(Default)]
struct Books {
    owned: BTreeMap<i32, Life>,
    /// `Assigned` and `Revoked` that the worker has not seen.
    untold: VecDeque<Polled>,
    failure: Option<TopicError>,
    /// The worker will not poll any more.
    is_gone: bool,
    /// The thread will not report any more.
    is_over: bool,
    commits_running: usize,
    /// The partition that the last take ended with.
    last: i32,
    lives_ever: u64,
}

/// One assignment of one partition.
#[derive(Default)]
struct Life {
    number: u64,
    /// Taken away, as soon as the worker has been told.
    is_leaving: bool,
    /// The next offset to hand out, once something was handed out.
    position: Option<i64>,
    committed: Option<i64>,
    is_paused: bool,
    /// Whether librdkafka was told to stop fetching.
    is_fetch_stopped: bool,
    waiting: VecDeque<Incoming>,
    waiting_bytes: usize,
}

impl Life {
    /// Room is made by halves, so that fetching does not stop and go by messages. A pause of
    /// the worker alone is no reason: each stop throws away what librdkafka has fetched.
    fn should_stop(&self) -> bool {
        let part = if self.is_fetch_stopped { 2 } else { 1 };
        self.waiting.len() >= WAITING_MAX / part || self.waiting_bytes >= WAITING_BYTES_MAX / part
    }
}

/// An offset to commit, with the life that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitOf {
    pub(super) partition: i32,
    pub(super) offset: i64,
    life: u64,
}

impl Ledger {
    pub(super) fn new(told_wait: Duration, pulse: Arc<Pulse>) -> Self {
        let (books, progress, wake) = (Mutex::default(), Condvar::new(), Notify::new());
        Self {
            told_wait,
            pulse,
            books,
            progress,
            wake,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker has left or was dropped; the thread ends, and waits for nobody.
    pub(super) fn go(&self) {
        self.pulse.go();
        self.lock().is_gone = true;
        self.progress.notify_all();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// The thread has ended, for whatever reason: nobody may wait for it.
    pub(super) fn end(&self) {
        self.pulse.end();
        self.lock().is_over = true;
        self.wake.notify_one();
    }

    /// The thread polls the broker.
    pub(super) fn poll(&self) {
        self.pulse.poll();
    }

    /// The group went on without us: we did not poll in time. librdkafka joins again
    /// by itself, and the next assignment says so.
    pub(super) fn out(&self) {
        self.pulse.out();
    }

    pub(super) fn fail(&self, failure: TopicError) {
        self.lock().failure = Some(failure);
        self.wake.notify_one();
    }

    pub(super) fn assigned(&self, partitions: &[i32]) {
        self.pulse.back();
        if partitions.is_empty() {
            return;
        }
        let mut books = self.lock();
        for partition in partitions {
            books.lives_ever += 1;
            let life = Life {
                number: books.lives_ever,
                ..Life::default()
            };
            books.owned.insert(*partition, life);
        }
        books
            .untold
            .push_back(Polled::Assigned(partitions.to_vec()));
        self.wake.notify_one();
    }

    /// Returns when the worker has been told and no commit is on its way, or when
    /// it took too long. If the group already gave the partitions away (`is_lost`),
    /// nothing is waited for, and nothing of them can be committed from here on.
    pub(super) fn revoked(&self, partitions: &[i32], is_lost: bool) {
        if partitions.is_empty() {
            return;
        }
        let mut books = self.lock();
        for partition in partitions {
            if is_lost {
                books.owned.remove(partition);
            } else if let Some(life) = books.owned.get_mut(partition) {
                life.is_leaving = true;
                life.waiting.clear();
            }
        }
        books.untold.push_back(Polled::Revoked(partitions.to_vec()));
        self.wake.notify_one();
        if is_lost {
            return;
        }
        let waits = |books: &mut Books| {
            let is_told = !books.owned.values().any(|life| life.is_leaving);
            !(books.is_gone || is_told && books.commits_running == 0)
        };
        let (mut books, waited) = self
            .progress
            .wait_timeout_while(books, self.told_wait, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            tracing::error!(
                ?partitions,
                "the worker did not poll: its partitions go without it"
            );
        }
        books.owned.retain(|_, life| !life.is_leaving);
    }

    /// A message of a partition that is not owned is of an old assignment.
    pub(super) fn arrived(&self, message: Incoming) {
        let mut books = self.lock();
        if let Some(life) = books.owned.get_mut(&message.partition) {
            life.waiting_bytes += bytes(&message);
            life.waiting.push_back(message);
            self.wake.notify_one();
        }
    }

    /// Where fetching is to stop and where it is to go on, each told once.
    pub(super) fn flow(&self) -> (Vec<i32>, Vec<i32>) {
        let (mut stop, mut go_on) = (Vec::new(), Vec::new());
        for (partition, life) in &mut self.lock().owned {
            let should_stop = life.should_stop();
            if should_stop != life.is_fetch_stopped {
                life.is_fetch_stopped = should_stop;
                if should_stop { &mut stop } else { &mut go_on }.push(*partition);
            }
        }
        (stop, go_on)
    }

    /// Waits for the next thing to see. Cancel-safe: it is taken and returned
    /// without a wait between.
    pub(super) async fn next(&self, max: usize) -> Result<Polled, TopicError> {
        let _asking = self.pulse.ask();
        loop {
            if let Some(next) = self.take(max) {
                return next;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self, max: usize) -> Option<Result<Polled, TopicError>> {
        let mut books = self.lock();
        if let Some(told) = books.untold.pop_front() {
            if let Polled::Revoked(partitions) = &told {
                books
                    .owned
                    .retain(|it, life| !(life.is_leaving && partitions.contains(it)));
                self.progress.notify_all();
            }
            return Some(Ok(told));
        }
        if let Some(failure) = books.failure.take() {
            return Some(Err(failure));
        }
        if books.is_over {
            return Some(Err(TopicError::Closed));
        }
        let messages = books.read(max.max(1));
        (!messages.is_empty()).then_some(Ok(Polled::Messages(messages)))
    }

    /// Says which of `next` has to go to the broker, if all of it is good: owned,
    /// and read in this life. What is not ahead of an earlier commit is left out.
    /// Whoever gets an answer that is not empty calls `end_commit` once.
    pub(super) fn begin_commit(&self, next: &[(i32, i64)]) -> Result<Vec<CommitOf>, TopicError> {
        let mut books = self.lock();
        let mut good = Vec::with_capacity(next.len());
        for (partition, offset) in next {
            let life = books
                .owned
                .get(partition)
                .ok_or(TopicError::LostGeneration)?;
            if life.position.is_none_or(|position| *offset > position) {
                return Err(TopicError::LostGeneration);
            }
            if life.committed.is_none_or(|committed| *offset > committed) {
                let (partition, offset) = (*partition, *offset);
                good.push(CommitOf {
                    partition,
                    offset,
                    life: life.number,
                });
            }
        }
        books.commits_running += usize::from(!good.is_empty());
        Ok(good)
    }

    /// Asked again when the commit's turn has come.
    pub(super) fn is_still_owned(&self, commit: &[CommitOf]) -> bool {
        let books = self.lock();
        commit.iter().all(|it| {
            books
                .owned
                .get(&it.partition)
                .is_some_and(|life| life.number == it.life)
        })
    }

    pub(super) fn end_commit(&self, commit: &[CommitOf], is_committed: bool) {
        let mut books = self.lock();
        books.commits_running -= 1;
        for it in commit.iter().filter(|_| is_committed) {
            let life = books
                .owned
                .get_mut(&it.partition)
                .filter(|life| life.number == it.life);
            if let Some(life) = life {
                life.committed = life.committed.max(Some(it.offset));
            }
        }
        self.progress.notify_all();
    }

    pub(super) fn pause(&self, partitions: &[i32], is_paused: bool) -> Result<(), TopicError> {
        let mut books = self.lock();
        if !partitions
            .iter()
            .all(|partition| books.owned.contains_key(partition))
        {
            return Err(TopicError::LostGeneration);
        }
        for (partition, life) in &mut books.owned {
            if partitions.contains(partition) {
                life.is_paused = is_paused;
            }
        }
        Ok(())
    }
}

impl Books {
    fn read(&mut self, max: usize) -> Vec<Incoming> {
        let mut messages = Vec::new();
        for partition in turns(&self.owned, self.last) {
            let life = self
                .owned
                .get_mut(&partition)
                .expect("its turn among those owned");
            if life.is_paused || messages.len() == max {
                continue;
            }
            let count = life.waiting.len().min(max - messages.len());
            let read: Vec<Incoming> = life.waiting.drain(..count).collect();
            life.waiting_bytes -= read.iter().map(bytes).sum::<usize>();
            if let Some(last) = read.last() {
                life.position = Some(last.offset + 1);
                self.last = partition;
            }
            messages.extend(read);
        }
        messages
    }
}

fn bytes(message: &Incoming) -> usize {
    let of = |part: &Option<Arc<[u8]>>| part.as_ref().map_or(0, |part| part.len());
    of(&message.key) + of(&message.value)
}
