//! The log and its groups, under one lock: publishing, trimming, and what touches
//! both.

use super::group::Group;
use super::log::{Entry, Log};
use super::share::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;
use tombola_core::ports::{PartitionPosition, Polled, Report, TopicError};

pub(super) struct State {
    log: Log,
    groups: BTreeMap<String, Group>,
    members_ever: MemberId,
    is_closed: bool,
}

impl State {
    pub(super) fn new(partitions: i32, bytes_max: usize) -> Self {
        let log = Log::new(partitions, bytes_max);
        Self {
            log,
            groups: BTreeMap::new(),
            members_ever: 0,
            is_closed: false,
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.log.bytes()
    }

    /// One report for each message, in order. Once the topic is full the rest of
    /// the batch is not taken either, so that a small message does not overtake a
    /// large one of the same key.
    pub(super) fn append(&mut self, messages: Vec<Result<(i32, Entry), Report>>) -> Vec<Report> {
        let mut no_more = self.is_closed.then_some("the topic is closed");
        let mut touched = BTreeSet::new();
        let mut reports = Vec::with_capacity(messages.len());
        for message in messages {
            let taken = match (message, no_more) {
                (Err(report), _) => Err(report),
                (Ok(_), Some(why)) => Err(Report::NotTaken(why.to_owned())),
                (Ok((partition, entry)), None) => self
                    .log
                    .append(partition, entry)
                    .map(|offset| (partition, offset))
                    .ok_or_else(|| {
                        no_more = Some("the topic is full");
                        Report::NotTaken("the topic is full".to_owned())
                    }),
            };
            reports.push(taken.map_or_else(
                |report| report,
                |(partition, offset)| {
                    touched.insert(partition);
                    Report::Taken { partition, offset }
                },
            ));
        }
        for group in self.groups.values() {
            group.wake_readers(&touched);
        }
        reports
    }

    pub(super) fn join(&mut self, group: &str, wake: Arc<Notify>) -> Result<MemberId, TopicError> {
        if self.is_closed {
            return Err(TopicError::Closed);
        }
        self.members_ever += 1;
        let log = &self.log;
        let group = self
            .groups
            .entry(group.to_owned())
            .or_insert_with(|| Group::new(log));
        group.join(self.members_ever, wake);
        Ok(self.members_ever)
    }

    pub(super) fn remove(&mut self, group: &str, id: MemberId) {
        if let Some(group) = self.groups.get_mut(group) {
            group.remove(id);
        }
    }

    pub(super) fn expel(&mut self, group: &str) {
        if let Some(group) = self.groups.get_mut(group) {
            group.expel();
        }
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
        for group in self.groups.values() {
            group.wake_all();
        }
    }

    fn open_group(&mut self, group: &str) -> Result<&mut Group, TopicError> {
        if self.is_closed {
            return Err(TopicError::Closed);
        }
        self.groups.get_mut(group).ok_or(TopicError::LostGeneration)
    }

    pub(super) fn poll(
        &mut self,
        group: &str,
        id: MemberId,
        max: usize,
    ) -> Result<Option<Polled>, TopicError> {
        if self.is_closed {
            return Err(TopicError::Closed);
        }
        let group = self
            .groups
            .get_mut(group)
            .ok_or(TopicError::LostGeneration)?;
        Ok(group.poll(id, &self.log, max))
    }

    /// Commits, and hands out what nobody needs any more, to be freed outside the
    /// lock.
    pub(super) fn commit(
        &mut self,
        group: &str,
        id: MemberId,
        next: &[(i32, i64)],
    ) -> Result<Vec<Entry>, TopicError> {
        self.open_group(group)?.commit(id, next)?;
        let mut trimmed = Vec::new();
        for (partition, _) in next {
            let committed = self
                .groups
                .values()
                .filter_map(|group| group.committed(*partition));
            if let Some(lowest) = committed.min() {
                trimmed.extend(self.log.trim(*partition, lowest));
            }
        }
        Ok(trimmed)
    }

    pub(super) fn pause(
        &mut self,
        group: &str,
        id: MemberId,
        partitions: &[i32],
        is_paused: bool,
    ) -> Result<(), TopicError> {
        self.open_group(group)?.pause(id, partitions, is_paused)
    }

    /// A group that never was here begins at the head of the log.
    pub(super) fn positions(&self, group: &str) -> Vec<PartitionPosition> {
        match self.groups.get(group) {
            Some(group) => group.positions(&self.log).collect(),
            None => Group::new(&self.log).positions(&self.log).collect(),
        }
    }
}
