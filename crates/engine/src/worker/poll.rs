//! The member of the group: joining, taking in what a poll gives, pausing, committing
//! and leaving.

use super::intake::{Read, Reader};
use super::{Worker, WorkerStep};
use crate::kill;
use std::time::Duration;
use tombola_core::ports::{Incoming, Member, Polled, TopicError};
use tombola_core::{DrawId, limits};

/// The next thing that the member sees; nothing, before it has joined.
pub(super) async fn poll(
    member: &mut Option<Box<dyn Member>>,
    max: usize,
) -> Result<Polled, TopicError> {
    match member {
        Some(member) => member.poll(max).await,
        None => std::future::pending().await,
    }
}

impl Worker {
    /// Joins the group, if it is no member yet.
    pub(super) async fn join(&mut self) -> Result<(), TopicError> {
        if self.member.is_none() {
            let parts = &self.shared.parts;
            self.member = Some(parts.topic.subscribe(&parts.group).await?);
        }
        Ok(())
    }

    /// How many messages the next poll may give.
    pub(super) fn room(&self) -> usize {
        let options = &self.shared.parts.options;
        options
            .in_hand_max
            .saturating_sub(self.partitions.in_hand())
            .clamp(1, options.poll_max)
    }

    pub(super) fn take_in(&mut self, polled: Polled) {
        match polled {
            Polled::Messages(messages) => {
                kill::point("after_consume");
                let epoch = self.shared.parts.topic.epoch();
                self.step = WorkerStep {
                    read: self.step.read + messages.len(),
                    ..self.step
                };
                for incoming in messages {
                    self.take_message(incoming, epoch);
                }
            }
            Polled::Assigned(partitions) => {
                tracing::info!(?partitions, "partitions assigned");
                self.partitions.assign(&partitions);
                self.came_unpaused = self.is_paused;
            }
            Polled::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions revoked");
                self.partitions.revoke(&partitions);
            }
        }
    }

    fn take_message(&mut self, incoming: Incoming, epoch: i64) {
        let Some(place) = self.partitions.begin(incoming.partition, incoming.offset) else {
            return;
        };
        let reader = Reader {
            epoch,
            origin: &self.shared.parts.origin,
            adopt: self.shared.parts.adopt.as_deref(),
        };
        let rolls = &mut self.rolls;
        match reader.read(incoming, place, || rolls.ticket(DrawId(0))) {
            Read::Ours(taken) => self.queue.push_back(taken),
            Read::Order(order) => self.orders.push(*order),
            Read::Bad(bad) => self.bad.push(*bad),
        }
    }

    /// Pauses the partitions when too much is in hand, resumes them at half of it.
    pub(super) async fn keep_flow(&mut self) -> Result<(), TopicError> {
        let (in_hand, max) = (
            self.partitions.in_hand(),
            self.shared.parts.options.in_hand_max,
        );
        let Some(member) = self.member.as_mut() else {
            return Ok(());
        };
        if (!self.is_paused && in_hand >= max) || self.came_unpaused {
            tracing::debug!(in_hand, "too much in hand: the partitions pause");
            member.pause(&self.partitions.numbers()).await?;
            self.is_paused = true;
            self.came_unpaused = false;
        } else if self.is_paused && in_hand <= max / 2 {
            member.resume(&self.partitions.numbers()).await?;
            self.is_paused = false;
        }
        Ok(())
    }

    /// Commits the offsets that have moved.
    pub(super) async fn commit(&mut self) -> Result<(), TopicError> {
        let next = self.partitions.to_commit();
        let Some(member) = self.member.as_mut() else {
            return Ok(());
        };
        if next.is_empty() {
            return Ok(());
        }
        kill::point("before_offset_commit");
        match tokio::time::timeout(limits::OFFSET_COMMIT_TIMEOUT, member.commit(&next)).await {
            Ok(Ok(())) => {
                kill::point("after_offset_commit");
                self.partitions.committed(&next);
                Ok(())
            }
            // The revocation is on its way; whoever owns them now reads them again.
            Ok(Err(TopicError::LostGeneration)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TopicError::Unavailable(
                "the offsets were not committed in time".to_owned(),
            )),
        }
    }

    /// Commits, and again after its interval; after a failure not so soon, for what is
    /// in hand goes on meanwhile.
    pub(super) async fn commit_in_time(&mut self, now: Duration) -> Result<(), TopicError> {
        self.commit_at = now + self.shared.parts.options.commit_interval;
        match self.commit().await {
            Ok(()) => Ok(()),
            Err(TopicError::Closed) => Err(TopicError::Closed),
            Err(error) => {
                tracing::warn!(%error, "offsets were not committed; they are again");
                self.commit_at = now + limits::OFFSET_COMMIT_AGAIN;
                Ok(())
            }
        }
    }

    /// After an error of the topic: `false` when it is closed for good. Otherwise it is
    /// left alone for a while; what is in hand goes on.
    pub(super) fn after(&mut self, error: &TopicError) -> bool {
        match error {
            TopicError::Closed => {
                tracing::error!("the topic is closed; the worker ends");
                return false;
            }
            TopicError::LostGeneration => {}
            TopicError::Unavailable(_) | TopicError::Mismatch(_) => {
                tracing::warn!(%error, "the topic is away; the worker goes on trying");
                self.poll_at = self.shared.parts.clock.monotonic() + *limits::STORE_BACKOFF.end();
            }
        }
        true
    }

    /// Finishes what is under way, begins nothing, commits, leaves the group.
    pub(super) async fn drain(mut self) {
        self.queue.clear();
        self.bad.clear();
        self.orders.clear();
        self.waiting.clear();
        loop {
            self.write_records();
            if self.settling.is_empty() && self.calls.is_empty() && self.records.is_quiet() {
                break;
            }
            self.finish_one().await;
            self.waiting.clear();
        }
        if let Err(error) = self.commit().await {
            tracing::warn!(%error, "the last offsets were not committed; their copies are read again");
        }
        if let Some(member) = self.member.take() {
            let left = tokio::time::timeout(limits::GROUP_LEAVE_TIMEOUT, member.leave()).await;
            if !matches!(left, Ok(Ok(()))) {
                tracing::warn!("the worker could not leave its group; the broker will notice");
            }
        }
    }
}
