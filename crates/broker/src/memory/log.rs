//! The log: what lies in each partition, by offset, and how many bytes it takes.
//! It only grows at the end and is only trimmed at the head.

use std::collections::VecDeque;
use std::sync::Arc;
use tombola_core::ports::Incoming;

/// What a message costs beside its bytes: the slot, two counted allocations and
/// the allocator's own share.
const OVERHEAD_BYTES: usize = 160;
/// The same for one header.
const HEADER_OVERHEAD_BYTES: usize = 80;

/// A message in the log.
#[derive(Debug)]
pub(super) struct Entry {
    key: Option<Arc<[u8]>>,
    value: Option<Arc<[u8]>>,
    headers: Vec<(String, String)>,
    bytes: usize,
}

impl Entry {
    pub(super) fn new(
        key: Option<Arc<[u8]>>,
        value: Option<Arc<[u8]>>,
        headers: Vec<(String, String)>,
    ) -> Self {
        let of_headers: usize = headers
            .iter()
            .map(|(name, text)| name.len() + text.len() + HEADER_OVERHEAD_BYTES)
            .sum();
        let of = |part: &Option<Arc<[u8]>>| part.as_ref().map_or(0, |part| part.len());
        let bytes = OVERHEAD_BYTES + of(&key) + of(&value) + of_headers;
        Self {
            key,
            value,
            headers,
            bytes,
        }
    }

    fn incoming(&self, partition: i32, offset: i64) -> Incoming {
        Incoming {
            partition,
            offset,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self.headers.clone(),
        }
    }
}

/// All partitions, and their bytes.
pub(super) struct Log {
    partitions: Vec<Partition>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct Partition {
    start: i64,
    entries: VecDeque<Entry>,
}

impl Partition {
    fn end(&self) -> i64 {
        self.start + i64::try_from(self.entries.len()).expect("a count in memory fits an i64")
    }
}

impl Log {
    pub(super) fn new(partitions: i32, bytes_max: usize) -> Self {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Self {
            partitions,
            bytes: 0,
            bytes_max,
        }
    }

    /// Bytes kept, bookkeeping included.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn at(&self, partition: i32) -> &Partition {
        &self.partitions[index(partition)]
    }

    /// The first offset still kept.
    pub(super) fn start(&self, partition: i32) -> i64 {
        self.at(partition).start
    }

    /// One past the last offset: the high watermark.
    pub(super) fn end(&self, partition: i32) -> i64 {
        self.at(partition).end()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = i32> + use<> {
        0..i32::try_from(self.partitions.len()).expect("made from an i32")
    }

    /// The offset of the new entry, or `None` when the log is full.
    pub(super) fn append(&mut self, partition: i32, entry: Entry) -> Option<i64> {
        if self.bytes + entry.bytes > self.bytes_max {
            return None;
        }
        self.bytes += entry.bytes;
        let partition = &mut self.partitions[index(partition)];
        let offset = partition.end();
        partition.entries.push_back(entry);
        Some(offset)
    }

    /// Copies up to `max` messages from `position` on; values are shared.
    pub(super) fn read(&self, partition: i32, position: i64, max: usize) -> Vec<Incoming> {
        let it = self.at(partition);
        let skipped = usize::try_from(position - it.start)
            .expect("a partition is trimmed only below what every group committed");
        let offsets = position..;
        let entries = it.entries.range(skipped.min(it.entries.len())..).take(max);
        offsets
            .zip(entries)
            .map(|(offset, entry)| entry.incoming(partition, offset))
            .collect()
    }

    /// Takes off what lies below `offset`; the caller frees it outside the lock.
    pub(super) fn trim(&mut self, partition: i32, offset: i64) -> Vec<Entry> {
        let it = &mut self.partitions[index(partition)];
        let count = usize::try_from(offset - it.start)
            .unwrap_or(0)
            .min(it.entries.len());
        let trimmed: Vec<Entry> = it.entries.drain(..count).collect();
        it.start += i64::try_from(count).expect("a count in memory fits an i64");
        // A backlog that is gone gives its room back.
        if it.entries.capacity() > 4 * (it.entries.len() + 1024) {
            it.entries.shrink_to(2 * it.entries.len());
        }
        self.bytes -= trimmed.iter().map(|entry| entry.bytes).sum::<usize>();
        trimmed
    }
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("partitions are numbered from zero")
}
