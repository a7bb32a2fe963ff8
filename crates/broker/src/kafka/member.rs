//! A member of a group on Kafka: one thread that polls, one that commits.

use super::config::{
    self, COMMIT_TIMEOUT, COMMITS_WAITING_MAX, LEAVE_TIMEOUT, POLL_WAIT, Patience,
};
use super::health::Pulse;
use super::ledger::CommitOf;
use super::{KafkaOptions, Ledger};
use async_trait::async_trait;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tombola_core::ports::{Incoming, Member, Polled, TopicError};

pub(super) struct KafkaMember {
    ledger: Arc<Ledger>,
    commits: SyncSender<Commit>,
    /// Ends when the consumer is closed and gone.
    closed: oneshot::Receiver<()>,
}

/// A commit on its way to the thread.
struct Commit {
    next: Vec<CommitOf>,
    answer: oneshot::Sender<Result<(), TopicError>>,
}

/// The consumer that both threads share. Whichever is last closes it: closing waits
/// for the broker, which no task may do.
struct Held {
    consumer: BaseConsumer<GroupContext>,
    topic: String,
    /// Dropped after the consumer, by the order of the fields: the leaving member
    /// hears of it.
    _closing: oneshot::Sender<()>,
}

impl KafkaMember {
    pub(super) fn join(
        options: &KafkaOptions,
        group: &str,
        patience: Patience,
        pulse: Arc<Pulse>,
    ) -> Result<Self, TopicError> {
        let ledger = Arc::new(Ledger::new(patience.told, pulse));
        let context = GroupContext {
            ledger: Arc::clone(&ledger),
        };
        let consumer: BaseConsumer<GroupContext> = config::consumer(options, group)
            .set(
                "max.poll.interval.ms",
                patience.polled.as_millis().to_string(),
            )
            .create_with_context(context)
            .and_then(|consumer: BaseConsumer<GroupContext>| {
                consumer.subscribe(&[&options.topic])?;
                Ok(consumer)
            })
            .map_err(|error| config::unavailable(&error))?;
        let (closing, closed) = oneshot::channel();
        let held = Arc::new(Held {
            consumer,
            topic: options.topic.clone(),
            _closing: closing,
        });
        let (commits, turn) = sync_channel(COMMITS_WAITING_MAX);
        let (polling, committing) = (Arc::clone(&held), held);
        let (seen, checked) = (Over(Arc::clone(&ledger)), Arc::clone(&ledger));
        // In this order: the first ends by itself if the second cannot begin.
        spawn("kafka-commit", move || {
            commit_in_turn(&committing, &checked, &turn);
        })?;
        spawn("kafka-poll", move || poll_until_gone(&polling, &seen.0))?;
        Ok(Self {
            ledger,
            commits,
            closed,
        })
    }
}

/// However the thread that polls ends, the worker hears of it.
struct Over(Arc<Ledger>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), TopicError> {
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    spawned
        .map(drop)
        .map_err(|error| TopicError::Unavailable(error.to_string()))
}

#[async_trait]
impl Member for KafkaMember {
    async fn poll(&mut self, max: usize) -> Result<Polled, TopicError> {
        self.ledger.next(max).await
    }

    async fn commit(&mut self, next: &[(i32, i64)]) -> Result<(), TopicError> {
        let next = self.ledger.begin_commit(next)?;
        if next.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        if let Err(error) = self.commits.try_send(Commit {
            next: next.clone(),
            answer,
        }) {
            self.ledger.end_commit(&next, false);
            return Err(TopicError::Unavailable(format!("commits pile up: {error}")));
        }
        match timeout(COMMIT_TIMEOUT, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TopicError::Closed),
            Err(_) => Err(TopicError::Unavailable(
                "the commit was not answered in time".to_owned(),
            )),
        }
    }

    async fn pause(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.ledger.pause(partitions, true)
    }

    async fn resume(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.ledger.pause(partitions, false)
    }

    async fn leave(mut self: Box<Self>) -> Result<(), TopicError> {
        self.ledger.go();
        let (nobody, _) = sync_channel(0);
        self.commits = nobody; // ends the thread that commits
        // The sender is never used, only dropped: hearing so is the answer.
        match timeout(LEAVE_TIMEOUT, &mut self.closed).await {
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => Err(TopicError::Unavailable(
                "the group was not left in time".to_owned(),
            )),
        }
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.ledger.go();
    }
}

fn poll_until_gone(held: &Arc<Held>, ledger: &Ledger) {
    while !ledger.is_gone() {
        ledger.poll();
        let (stop, go_on) = ledger.flow();
        if let Err(error) = held.steer(&stop, &go_on) {
            tracing::warn!(%error, "fetching cannot be steered");
        }
        match held.consumer.poll(POLL_WAIT) {
            Some(Ok(message)) => ledger.arrived(incoming(&message)),
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                tracing::error!(%error, "the consumer failed for good");
                return;
            }
            Some(Err(error)) => note_failure(ledger, &error),
            None => {}
        }
    }
}

/// Most errors pass by themselves: librdkafka goes on trying, and whoever polls
/// hears of it once.
fn note_failure(ledger: &Ledger, error: &KafkaError) {
    if matches!(error, KafkaError::PartitionEOF(_)) {
        return;
    }
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PollExceeded) {
        // Otherwise a line of librdkafka's log, and a worker that looks well.
        tracing::error!("this member did not poll in time: the group goes on without it");
        ledger.out();
    } else {
        tracing::warn!(%error, "reading from the topic failed");
    }
    let missing = [
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::UnknownTopic,
    ];
    let is_missing = error
        .rdkafka_error_code()
        .is_some_and(|code| missing.contains(&code));
    ledger.fail(if is_missing {
        TopicError::Mismatch(error.to_string())
    } else {
        config::unavailable(error)
    });
}

fn commit_in_turn(held: &Arc<Held>, ledger: &Ledger, turn: &Receiver<Commit>) {
    for Commit { next, answer } in turn {
        let committed = held.commit(ledger, &next);
        ledger.end_commit(&next, committed.is_ok());
        if answer.send(committed).is_err() {
            tracing::debug!("nobody waits for this commit any more");
        }
    }
}

impl Held {
    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn steer(&self, stop: &[i32], go_on: &[i32]) -> KafkaResult<()> {
        if !stop.is_empty() {
            self.consumer.pause(&self.list(stop))?;
        }
        if !go_on.is_empty() {
            self.consumer.resume(&self.list(go_on))?;
        }
        Ok(())
    }

    fn commit(&self, ledger: &Ledger, next: &[CommitOf]) -> Result<(), TopicError> {
        if !ledger.is_still_owned(next) {
            return Err(TopicError::LostGeneration);
        }
        let mut list = TopicPartitionList::with_capacity(next.len());
        for it in next {
            list.add_partition_offset(&self.topic, it.partition, Offset::Offset(it.offset))
                .map_err(|error| config::unavailable(&error))?;
        }
        self.consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|error| judge_commit(&error))
    }
}

/// Only the broker's own word that we are no longer who we were ends a generation;
/// after everything else the same commit may be tried again.
fn judge_commit(error: &KafkaError) -> TopicError {
    const LOST: &[RDKafkaErrorCode] = &[
        RDKafkaErrorCode::IllegalGeneration,
        RDKafkaErrorCode::UnknownMemberId,
        RDKafkaErrorCode::FencedInstanceId,
        RDKafkaErrorCode::AssignmentLost,
    ];
    if error
        .rdkafka_error_code()
        .is_some_and(|code| LOST.contains(&code))
    {
        TopicError::LostGeneration
    } else {
        config::unavailable(error)
    }
}

fn incoming(message: &BorrowedMessage<'_>) -> Incoming {
    let texts = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    let texts = texts.filter_map(|header| {
        let text = std::str::from_utf8(header.value?).ok()?;
        Some((header.key.to_owned(), text.to_owned()))
    });
    Incoming {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(Arc::from),
        value: message.payload().map(Arc::from),
        headers: texts.collect(),
    }
}

/// Hears what the group decides, on the thread that polls.
struct GroupContext {
    ledger: Arc<Ledger>,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        config::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        config::log_error(&error, reason);
    }
}

impl ConsumerContext for GroupContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.ledger.assigned(&partitions(list)),
            Rebalance::Revoke(list) => {
                self.ledger
                    .revoked(&partitions(list), consumer.assignment_lost());
            }
            Rebalance::Error(error) => note_failure(&self.ledger, error),
        }
    }

    /// A pause of an earlier life ends with it.
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance
            && let Err(error) = consumer.resume(list)
        {
            tracing::warn!(%error, "fetching cannot be steered");
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<i32> {
    let mut partitions: Vec<i32> = list
        .elements()
        .iter()
        .map(TopicPartitionListElem::partition)
        .collect();
    partitions.sort_unstable();
    partitions
}
