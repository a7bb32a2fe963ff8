//! A topic whose broker says what a test wants, and whose one member sees what a test
//! gives it.

use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};
use tombola_core::ports::{
    GroupPosition, Incoming, Member, Outgoing, Polled, Report, Topic, TopicDescription, TopicError,
    TopicSpec,
};

/// What the broker says of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Taken,
    NotTaken,
    /// Nothing at all.
    Nothing,
}

/// What the member was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Committed(Vec<(i32, i64)>),
    Paused(Vec<i32>),
    Resumed(Vec<i32>),
    Left,
}

pub(crate) struct FakeTopic {
    pub(crate) says: Mutex<Says>,
    pub(crate) epoch: AtomicI64,
    pub(crate) published: Mutex<Vec<Outgoing>>,
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Each of the next batches waits for one of these to end.
    held: Mutex<VecDeque<oneshot::Receiver<()>>>,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    /// What the next commits answer; without a word they go well.
    pub(crate) commit_errors: Arc<Mutex<Vec<TopicError>>>,
    pub(crate) poll_errors: Arc<Mutex<Vec<TopicError>>>,
    /// Commits, and who leaves, never come back.
    pub(crate) hangs: Arc<AtomicBool>,
    /// How many messages the member was asked for at most.
    pub(crate) asked_for: Arc<AtomicUsize>,
    sees: Mutex<Option<mpsc::Receiver<Polled>>>,
    shows: mpsc::Sender<Polled>,
}

impl FakeTopic {
    pub(crate) fn new() -> Arc<Self> {
        let (shows, sees) = mpsc::channel(1024);
        Arc::new(Self {
            says: Mutex::new(Says::Taken),
            epoch: AtomicI64::new(9),
            published: Mutex::default(),
            batches: Mutex::default(),
            held: Mutex::default(),
            asked: Arc::default(),
            commit_errors: Arc::default(),
            poll_errors: Arc::default(),
            hangs: Arc::default(),
            asked_for: Arc::default(),
            sees: Mutex::new(Some(sees)),
            shows,
        })
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// A batch to come, those after the ones held before, is not reported on until
    /// what this gives is dropped.
    pub(crate) fn hold_batch(&self) -> oneshot::Sender<()> {
        let (until, held) = oneshot::channel();
        self.held.lock().unwrap().push_back(held);
        until
    }

    /// The member sees this at its next poll.
    pub(crate) fn show(&self, polled: Polled) {
        self.shows.try_send(polled).unwrap();
    }

    /// Messages of these awards, one after the other from `offset`.
    pub(crate) fn show_awards(
        &self,
        partition: i32,
        offset: i64,
        awards: impl IntoIterator<Item = i64>,
    ) {
        let incoming = awards
            .into_iter()
            .zip(offset..)
            .map(|(award, offset)| incoming(partition, offset, award));
        self.show(Polled::Messages(incoming.collect()));
    }

    /// The last offset committed of each partition.
    pub(crate) fn committed(&self, partition: i32) -> Option<i64> {
        let asked = self.asked.lock().unwrap();
        asked.iter().rev().find_map(|asked| match asked {
            Asked::Committed(next) => next
                .iter()
                .find(|(one, _)| *one == partition)
                .map(|(_, next)| *next),
            Asked::Paused(_) | Asked::Resumed(_) | Asked::Left => None,
        })
    }
}

pub(crate) fn incoming(partition: i32, offset: i64, award: i64) -> Incoming {
    Incoming {
        partition,
        offset,
        key: Some(Arc::from(&b"u1"[..])),
        value: Some(Arc::from(super::message(award).encode())),
        headers: vec![("origin".to_owned(), super::ORIGIN.to_owned())],
    }
}

#[async_trait]
impl Topic for FakeTopic {
    fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Relaxed)
    }

    async fn publish_batch(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        self.batches.lock().unwrap().push(messages.len());
        // As if the topic were made anew at this very moment.
        self.epoch.fetch_add(1, Ordering::Relaxed);
        let held = self.held.lock().unwrap().pop_front();
        if let Some(held) = held {
            drop(held.await);
        }
        let says = *self.says.lock().unwrap();
        if says == Says::Nothing {
            std::future::pending::<()>().await;
        }
        let mut published = self.published.lock().unwrap();
        let report = |message| {
            published.push(message);
            match says {
                Says::Taken => Report::Taken {
                    partition: 3,
                    offset: i64::try_from(published.len()).unwrap() - 1,
                },
                Says::NotTaken => Report::NotTaken("full".to_owned()),
                Says::Nothing => Report::Unknown("timed out".to_owned()),
            }
        };
        messages.into_iter().map(report).collect()
    }

    async fn subscribe(&self, _: &str) -> Result<Box<dyn Member>, TopicError> {
        let sees = self.sees.lock().unwrap().take().ok_or(TopicError::Closed)?;
        let (asked, commit_errors) = (Arc::clone(&self.asked), Arc::clone(&self.commit_errors));
        Ok(Box::new(FakeMember {
            sees,
            left: vec![],
            asked,
            commit_errors,
            poll_errors: Arc::clone(&self.poll_errors),
            hangs: Arc::clone(&self.hangs),
            asked_for: Arc::clone(&self.asked_for),
        }))
    }

    async fn group_position(&self, _: &str) -> Result<GroupPosition, TopicError> {
        let says = *self.says.lock().unwrap();
        if says == Says::Nothing {
            std::future::pending::<()>().await;
        }
        if says == Says::NotTaken {
            return Err(TopicError::Unavailable("away".to_owned()));
        }
        Ok(GroupPosition {
            epoch: self.epoch(),
            partitions: vec![],
        })
    }

    async fn create(&self, _: &TopicSpec) -> Result<(), TopicError> {
        Ok(())
    }

    async fn describe(&self) -> Result<Option<TopicDescription>, TopicError> {
        Ok(None)
    }
}

struct FakeMember {
    sees: mpsc::Receiver<Polled>,
    left: Vec<Incoming>,
    asked: Arc<Mutex<Vec<Asked>>>,
    commit_errors: Arc<Mutex<Vec<TopicError>>>,
    poll_errors: Arc<Mutex<Vec<TopicError>>>,
    hangs: Arc<AtomicBool>,
    asked_for: Arc<AtomicUsize>,
}

impl FakeMember {
    async fn hang_if_asked(&self) {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn note(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
    }
}

#[async_trait]
impl Member for FakeMember {
    async fn poll(&mut self, max: usize) -> Result<Polled, TopicError> {
        self.asked_for.fetch_max(max, Ordering::Relaxed);
        if self.left.is_empty() {
            if let Some(error) = self.poll_errors.lock().unwrap().pop() {
                return Err(error);
            }
            match self.sees.recv().await.ok_or(TopicError::Closed)? {
                Polled::Messages(messages) => self.left = messages,
                other @ (Polled::Assigned(_) | Polled::Revoked(_)) => return Ok(other),
            }
        }
        let rest = self.left.split_off(self.left.len().min(max));
        Ok(Polled::Messages(std::mem::replace(&mut self.left, rest)))
    }

    async fn commit(&mut self, next: &[(i32, i64)]) -> Result<(), TopicError> {
        self.hang_if_asked().await;
        if let Some(error) = self.commit_errors.lock().unwrap().pop() {
            return Err(error);
        }
        self.note(Asked::Committed(next.to_vec()));
        Ok(())
    }

    async fn pause(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.note(Asked::Paused(partitions.to_vec()));
        Ok(())
    }

    async fn resume(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.note(Asked::Resumed(partitions.to_vec()));
        Ok(())
    }

    async fn leave(self: Box<Self>) -> Result<(), TopicError> {
        self.hang_if_asked().await;
        self.note(Asked::Left);
        Ok(())
    }
}
