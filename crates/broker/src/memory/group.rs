//! One group: who is in it, who owns which partition, what is committed.
//!
//! A partition has one owner. When it is to change hands, its owner stays the
//! owner until it has been handed `Revoked`; only then does the next one own it and
//! see `Assigned`. So two members never hold one partition, and a commit that was
//! begun before the revocation still counts.

use super::log::Log;
use super::share::{MemberId, share};
use crate::turns::turns;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;
use tombola_core::ports::{Incoming, PartitionPosition, Polled, TopicError};

pub(super) struct Group {
    /// Grows with each change of hands that is decided; for the log.
    generation: u64,
    members: BTreeMap<MemberId, Seat>,
    slots: BTreeMap<i32, Slot>,
}

/// One partition of the group.
#[derive(Default)]
struct Slot {
    committed: i64,
    owner: Option<MemberId>,
    /// Who owns it as soon as `owner` has let go.
    next_owner: Option<MemberId>,
}

/// One member of the group.
struct Seat {
    wake: Arc<Notify>,
    /// Thrown out, and does not know it yet: owns nothing until it polls.
    is_expelled: bool,
    /// Owned, not yet told.
    gained: BTreeSet<i32>,
    /// To be let go, not yet told.
    lost: BTreeSet<i32>,
    reading: BTreeMap<i32, Reading>,
    /// The partition that the last read ended with; the next one begins after it.
    last: i32,
}

/// How far a member has read since the partition is its own.
struct Reading {
    position: i64,
    is_paused: bool,
}

impl Group {
    /// A group that begins at the head of the log.
    pub(super) fn new(log: &Log) -> Self {
        let slot = |partition| Slot {
            committed: log.start(partition),
            ..Slot::default()
        };
        let slots = log
            .partitions()
            .map(|partition| (partition, slot(partition)))
            .collect();
        Self {
            generation: 0,
            members: BTreeMap::new(),
            slots,
        }
    }

    pub(super) fn join(&mut self, id: MemberId, wake: Arc<Notify>) {
        let seat = Seat {
            wake,
            is_expelled: false,
            gained: BTreeSet::new(),
            lost: BTreeSet::new(),
            reading: BTreeMap::new(),
            last: -1,
        };
        self.members.insert(id, seat);
        self.rebalance();
    }

    /// Left or crashed: what it owned is free at once.
    pub(super) fn remove(&mut self, id: MemberId) {
        self.members.remove(&id);
        for slot in self
            .slots
            .values_mut()
            .filter(|slot| slot.owner == Some(id))
        {
            slot.owner = None;
        }
        self.rebalance();
    }

    pub(super) fn expel(&mut self) {
        for seat in self.members.values_mut() {
            seat.is_expelled = true;
            seat.gained.clear();
            seat.lost.extend(seat.reading.keys());
            seat.reading.clear();
            seat.wake.notify_one();
        }
        self.slots.values_mut().for_each(|slot| slot.owner = None);
        self.rebalance();
    }

    /// Decides anew who should own what, and asks owners to let go.
    fn rebalance(&mut self) {
        self.generation += 1;
        let there = self.members.iter().filter(|(_, seat)| !seat.is_expelled);
        let there: Vec<MemberId> = there.map(|(id, _)| *id).collect();
        let held = self
            .slots
            .values()
            .map(|slot| slot.owner.or(slot.next_owner));
        let shares = share(&held.collect::<Vec<_>>(), &there);
        tracing::debug!(
            generation = self.generation,
            members = there.len(),
            "rebalancing"
        );
        for ((partition, slot), next_owner) in self.slots.iter_mut().zip(shares) {
            slot.next_owner = next_owner;
            let Some(owner) = slot.owner else { continue };
            let seat = self.members.get_mut(&owner).expect("an owner is a member");
            if slot.next_owner == Some(owner) {
                seat.lost.remove(partition);
            } else if seat.gained.remove(partition) {
                slot.owner = None; // it was never told
            } else {
                seat.lost.insert(*partition);
                seat.wake.notify_one();
            }
        }
        self.settle();
    }

    /// Gives free partitions to whom they were promised.
    fn settle(&mut self) {
        for (partition, slot) in self
            .slots
            .iter_mut()
            .filter(|(_, slot)| slot.owner.is_none())
        {
            let Some(next_owner) = slot.next_owner else {
                continue;
            };
            let seat = self
                .members
                .get_mut(&next_owner)
                .expect("shares are given to members");
            slot.owner = Some(next_owner);
            seat.gained.insert(*partition);
            seat.wake.notify_one();
        }
    }

    /// What the member sees next, `None` if there is nothing to see.
    pub(super) fn poll(&mut self, id: MemberId, log: &Log, max: usize) -> Option<Polled> {
        let seat = self.members.get_mut(&id)?;
        let revoked = std::mem::take(&mut seat.lost);
        if !revoked.is_empty() || seat.is_expelled {
            self.let_go(id, &revoked);
        }
        if !revoked.is_empty() {
            return Some(Polled::Revoked(revoked.into_iter().collect()));
        }
        let seat = self.members.get_mut(&id)?;
        let assigned = std::mem::take(&mut seat.gained);
        if !assigned.is_empty() {
            let begin = |partition| Reading {
                position: self.slots.get(partition).map_or(0, |slot| slot.committed),
                is_paused: false,
            };
            seat.reading.extend(
                assigned
                    .iter()
                    .map(|partition| (*partition, begin(partition))),
            );
            return Some(Polled::Assigned(assigned.into_iter().collect()));
        }
        let messages = seat.read(log, max.max(1));
        (!messages.is_empty()).then_some(Polled::Messages(messages))
    }

    /// The member has been told; an expelled one joins again.
    fn let_go(&mut self, id: MemberId, revoked: &BTreeSet<i32>) {
        let seat = self.members.get_mut(&id).expect("checked by the caller");
        seat.reading
            .retain(|partition, _| !revoked.contains(partition));
        if std::mem::take(&mut seat.is_expelled) {
            return self.rebalance();
        }
        for partition in revoked {
            let slot = self
                .slots
                .get_mut(partition)
                .expect("partitions are never removed");
            slot.owner = None;
        }
        self.settle();
    }

    /// All of it or, if any of it is not the member's to commit, nothing. A commit
    /// never moves the group back: an older one that comes late is harmless.
    pub(super) fn commit(&mut self, id: MemberId, next: &[(i32, i64)]) -> Result<(), TopicError> {
        let seat = self.members.get(&id).ok_or(TopicError::LostGeneration)?;
        let is_read = |(partition, offset): &(i32, i64)| {
            seat.reading
                .get(partition)
                .is_some_and(|reading| *offset <= reading.position)
        };
        if !next.iter().all(is_read) {
            return Err(TopicError::LostGeneration);
        }
        for (partition, offset) in next {
            let slot = self
                .slots
                .get_mut(partition)
                .expect("only what exists is read");
            slot.committed = slot.committed.max(*offset);
        }
        Ok(())
    }

    pub(super) fn pause(
        &mut self,
        id: MemberId,
        partitions: &[i32],
        is_paused: bool,
    ) -> Result<(), TopicError> {
        let seat = self
            .members
            .get_mut(&id)
            .ok_or(TopicError::LostGeneration)?;
        if !partitions
            .iter()
            .all(|partition| seat.reading.contains_key(partition))
        {
            return Err(TopicError::LostGeneration);
        }
        for (partition, reading) in &mut seat.reading {
            if partitions.contains(partition) {
                reading.is_paused = is_paused;
            }
        }
        Ok(())
    }

    pub(super) fn committed(&self, partition: i32) -> Option<i64> {
        self.slots.get(&partition).map(|slot| slot.committed)
    }

    pub(super) fn positions<'a>(
        &'a self,
        log: &'a Log,
    ) -> impl Iterator<Item = PartitionPosition> + 'a {
        self.slots
            .iter()
            .map(|(partition, slot)| PartitionPosition {
                partition: *partition,
                committed: slot.committed,
                log_start: log.start(*partition),
                high_watermark: log.end(*partition),
            })
    }

    /// Wakes those who read any of `partitions`.
    pub(super) fn wake_readers(&self, partitions: &BTreeSet<i32>) {
        for seat in self.members.values() {
            if seat
                .reading
                .keys()
                .any(|partition| partitions.contains(partition))
            {
                seat.wake.notify_one();
            }
        }
    }

    pub(super) fn wake_all(&self) {
        for seat in self.members.values() {
            seat.wake.notify_one();
        }
    }
}

impl Seat {
    fn read(&mut self, log: &Log, max: usize) -> Vec<Incoming> {
        let mut messages = Vec::new();
        for partition in turns(&self.reading, self.last) {
            let reading = self
                .reading
                .get_mut(&partition)
                .expect("its turn among those read");
            if reading.is_paused || messages.len() == max {
                continue;
            }
            let read = log.read(partition, reading.position, max - messages.len());
            if let Some(last) = read.last() {
                reading.position = last.offset + 1;
                self.last = partition;
            }
            messages.extend(read);
        }
        messages
    }
}
