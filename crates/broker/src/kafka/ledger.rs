//! What a member's thread has seen and the worker has not been handed yet; who
//! owns what, how far it was read, and which commit is good.
//!
//! The thread writes what librdkafka tells it; `take` hands it to the worker,
//! assignments and revocations before messages. Each assignment of a partition is a
//! life of its own: a position, a pause or a commit of an earlier life never counts
//! in a later one.

use super::config::{WAITING_BYTES_MAX, WAITING_MAX};
use crate::turns::turns;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tombola_core::ports::{Incoming, Polled, TopicError};

pub(super) struct Ledger {
    /// How long a revocation waits for the worker.
    told_wait: Duration,
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
    /// Room is made by halves, so that fetching does not stop and go by messages.
    fn should_stop(&self) -> bool {
        let part = if self.is_fetch_stopped { 2 } else { 1 };
        self.is_paused
            || self.waiting.len() >= WAITING_MAX / part
            || self.waiting_bytes >= WAITING_BYTES_MAX / part
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
    pub(super) fn new(told_wait: Duration) -> Self {
        let (books, progress, wake) = (Mutex::default(), Condvar::new(), Notify::new());
        Self {
            told_wait,
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
        self.lock().is_gone = true;
        self.progress.notify_all();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    /// The thread has ended, for whatever reason: nobody may wait for it.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.wake.notify_one();
    }

    pub(super) fn fail(&self, failure: TopicError) {
        self.lock().failure = Some(failure);
        self.wake.notify_one();
    }

    pub(super) fn assigned(&self, partitions: &[i32]) {
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
    let of = |part: &Option<std::sync::Arc<[u8]>>| part.as_ref().map_or(0, |part| part.len());
    of(&message.key) + of(&message.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A ledger whose partitions 0 and 1 were assigned, and the worker told so.
    fn ledger(told_wait: Duration) -> Arc<Ledger> {
        let ledger = Ledger::new(told_wait);
        ledger.assigned(&[0, 1]);
        assert_eq!(ledger.take(1), Some(Ok(Polled::Assigned(vec![0, 1]))));
        Arc::new(ledger)
    }

    fn message(partition: i32, offset: i64) -> Incoming {
        let value = Some(Arc::from([b'x'; 100]));
        Incoming {
            partition,
            offset,
            key: None,
            value,
            headers: Vec::new(),
        }
    }

    fn read(ledger: &Ledger, partition: i32, offset: i64) {
        ledger.arrived(message(partition, offset));
        assert!(matches!(ledger.take(1), Some(Ok(Polled::Messages(_)))));
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn revocation_waits_until_the_worker_was_told() {
        let ledger = ledger(LONG);
        read(&ledger, 0, 0);
        let there = Arc::clone(&ledger);
        let thread = std::thread::spawn(move || there.revoked(&[0], false));
        let told = loop {
            if let Some(told) = ledger.take(1) {
                break told;
            }
            assert!(!thread.is_finished(), "it did not wait");
            std::thread::yield_now();
        };
        assert_eq!(told, Ok(Polled::Revoked(vec![0])));
        thread.join().unwrap();
        assert_eq!(
            ledger.begin_commit(&[(0, 1)]),
            Err(TopicError::LostGeneration)
        );
    }

    #[test]
    fn revocation_waits_for_a_commit_on_its_way() {
        let ledger = ledger(LONG);
        read(&ledger, 0, 0);
        let commit = ledger.begin_commit(&[(0, 1)]).unwrap();
        let there = Arc::clone(&ledger);
        let thread = std::thread::spawn(move || there.revoked(&[0], false));
        while ledger.take(1).is_none() {
            std::thread::yield_now();
        }
        assert!(
            !thread.is_finished(),
            "the commit could still move another owner's offset"
        );
        ledger.end_commit(&commit, true);
        thread.join().unwrap();
    }

    #[test]
    fn worker_that_does_not_poll_holds_the_group_up_for_a_while_only() {
        let ledger = ledger(Duration::from_millis(10));
        read(&ledger, 0, 0);
        ledger.revoked(&[0], false);
        assert_eq!(
            ledger.begin_commit(&[(0, 1)]),
            Err(TopicError::LostGeneration)
        );
        assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0]))));
    }

    #[test]
    fn worker_that_is_gone_is_not_waited_for() {
        let ledger = ledger(LONG);
        ledger.go();
        ledger.revoked(&[0, 1], false);
    }

    #[test]
    fn lost_partition_is_gone_before_the_worker_is_told() {
        let ledger = ledger(LONG);
        read(&ledger, 0, 0);
        ledger.arrived(message(0, 1));
        ledger.revoked(&[0, 1], true);
        assert_eq!(
            ledger.begin_commit(&[(0, 1)]),
            Err(TopicError::LostGeneration)
        );
        assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0, 1]))));
        assert_eq!(ledger.take(1), None, "its messages went with it");
    }

    #[test]
    fn commit_of_an_earlier_life_is_not_good_in_a_later_one() {
        let ledger = ledger(LONG);
        read(&ledger, 0, 0);
        let queued = ledger.begin_commit(&[(0, 1)]).unwrap();
        assert!(ledger.is_still_owned(&queued));
        ledger.revoked(&[0], true);
        ledger.assigned(&[0]);
        assert!(
            !ledger.is_still_owned(&queued),
            "it would move the new life's offset"
        );
        ledger.end_commit(&queued, true);
        assert_eq!(
            ledger.begin_commit(&[(0, 1)]),
            Err(TopicError::LostGeneration)
        );
    }

    #[test]
    fn late_revocation_does_not_take_the_next_life_away() {
        let ledger = ledger(Duration::from_millis(10));
        ledger.revoked(&[0], false);
        ledger.assigned(&[0]);
        ledger.arrived(message(0, 5));
        assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0]))));
        assert_eq!(ledger.take(1), Some(Ok(Polled::Assigned(vec![0]))));
        assert_eq!(
            ledger.take(1),
            Some(Ok(Polled::Messages(vec![message(0, 5)])))
        );
    }

    #[test]
    fn only_what_is_ahead_of_the_last_commit_goes_to_the_broker() {
        let ledger = ledger(LONG);
        for offset in 0..3 {
            read(&ledger, 0, offset);
        }
        let commit = ledger.begin_commit(&[(0, 2)]).unwrap();
        ledger.end_commit(&commit, true);
        assert_eq!(ledger.begin_commit(&[(0, 1)]), Ok(Vec::new()));
        assert_eq!(ledger.begin_commit(&[(0, 2)]), Ok(Vec::new()));
        assert_eq!(ledger.begin_commit(&[(0, 3)]).unwrap().len(), 1);
    }

    #[test]
    fn commit_that_failed_may_be_tried_again() {
        let ledger = ledger(LONG);
        read(&ledger, 0, 0);
        let commit = ledger.begin_commit(&[(0, 1)]).unwrap();
        ledger.end_commit(&commit, false);
        assert_eq!(ledger.begin_commit(&[(0, 1)]), Ok(commit));
    }

    #[test]
    fn fetching_stops_for_a_full_or_paused_partition_alone_and_goes_on_at_half() {
        let ledger = ledger(LONG);
        for offset in 0..WAITING_MAX {
            ledger.arrived(message(0, i64::try_from(offset).unwrap()));
        }
        assert_eq!(ledger.flow(), (vec![0], vec![]));
        ledger.pause(&[1], true).unwrap();
        assert_eq!(ledger.flow(), (vec![1], vec![]));
        assert_eq!(ledger.flow(), (vec![], vec![]), "each is told once");
        ledger.pause(&[1], false).unwrap();
        assert!(ledger.take(WAITING_MAX / 2 - 1).is_some());
        assert_eq!(ledger.flow(), (vec![], vec![1]));
        assert!(ledger.take(2).is_some());
        assert_eq!(ledger.flow(), (vec![], vec![0]));
    }

    #[test]
    fn paused_partition_keeps_what_waits() {
        let ledger = ledger(LONG);
        ledger.arrived(message(0, 0));
        ledger.pause(&[0], true).unwrap();
        assert_eq!(ledger.take(1), None);
        ledger.pause(&[0], false).unwrap();
        assert_eq!(
            ledger.take(1),
            Some(Ok(Polled::Messages(vec![message(0, 0)])))
        );
    }

    #[test]
    fn failure_is_said_once_and_the_end_for_ever() {
        let ledger = ledger(LONG);
        let away = TopicError::Unavailable("away".to_owned());
        ledger.fail(away.clone());
        assert_eq!(ledger.take(1), Some(Err(away)));
        assert_eq!(ledger.take(1), None);
        ledger.end();
        for _ in 0..2 {
            assert_eq!(ledger.take(1), Some(Err(TopicError::Closed)));
        }
    }
}
