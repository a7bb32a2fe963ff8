//! The partitions that are ours. Each time one is assigned it begins a new term; a
//! result that carries an older term belongs to a generation that was lost, and is
//! dropped: another member reads those copies again.

use super::watermark::Watermark;
use std::collections::HashMap;

/// Where a copy was read: its offset may move when what it asked of is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
    term: u64,
}

#[derive(Debug, Default)]
struct Ours {
    term: u64,
    watermark: Watermark,
}

/// All partitions that are ours.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    ours: HashMap<i32, Ours>,
    term: u64,
    in_hand: usize,
}

impl Partitions {
    pub(super) fn assign(&mut self, partitions: &[i32]) {
        self.revoke(partitions);
        self.term += 1;
        for partition in partitions {
            self.ours.insert(
                *partition,
                Ours {
                    term: self.term,
                    watermark: Watermark::default(),
                },
            );
        }
    }

    /// Forgets what is known of them.
    pub(super) fn revoke(&mut self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(gone) = self.ours.remove(partition) {
                self.in_hand -= gone.watermark.in_hand();
            }
        }
    }

    /// A copy was read; `None` if its partition is not ours or it is in hand already.
    pub(super) fn begin(&mut self, partition: i32, offset: i64) -> Option<Place> {
        let ours = self.ours.get_mut(&partition)?;
        let is_new = ours.watermark.begin(offset);
        self.in_hand += usize::from(is_new);
        is_new.then_some(Place {
            partition,
            offset,
            term: ours.term,
        })
    }

    /// What the copy asked of is durable.
    pub(super) fn end(&mut self, place: Place) {
        if let Some(ours) = self
            .ours
            .get_mut(&place.partition)
            .filter(|ours| ours.term == place.term)
        {
            let before = ours.watermark.in_hand();
            ours.watermark.end(place.offset);
            self.in_hand -= before - ours.watermark.in_hand();
        }
    }

    /// Whether the copy still counts.
    pub(super) fn is_current(&self, place: Place) -> bool {
        self.ours
            .get(&place.partition)
            .is_some_and(|ours| ours.term == place.term)
    }

    /// Copies read and not ended.
    pub(super) const fn in_hand(&self) -> usize {
        self.in_hand
    }

    pub(super) fn numbers(&self) -> Vec<i32> {
        self.ours.keys().copied().collect()
    }

    /// Next offsets that have moved since the last commit, by partition.
    pub(super) fn to_commit(&self) -> Vec<(i32, i64)> {
        let moved = self.ours.iter().filter_map(|(partition, ours)| {
            ours.watermark.to_commit().map(|next| (*partition, next))
        });
        let mut moved: Vec<_> = moved.collect();
        moved.sort_unstable();
        moved
    }

    /// These were committed.
    pub(super) fn committed(&mut self, next: &[(i32, i64)]) {
        for (partition, next) in next {
            if let Some(ours) = self.ours.get_mut(partition) {
                ours.watermark.committed(*next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_lost_generation_are_dropped_even_after_the_same_partition_came_back() {
        let mut partitions = Partitions::default();
        partitions.assign(&[0, 1]);
        let old = partitions.begin(0, 10).unwrap();
        partitions.revoke(&[0]);
        assert!(!partitions.is_current(old));
        partitions.assign(&[0]);
        let new = partitions.begin(0, 10).unwrap();
        partitions.end(old);
        assert_eq!((partitions.to_commit(), partitions.in_hand()), (vec![], 1));
        partitions.end(new);
        assert_eq!(partitions.to_commit(), [(0, 11)]);
        partitions.committed(&[(0, 11)]);
        assert_eq!(partitions.to_commit(), []);
    }

    #[test]
    fn copies_of_revoked_partitions_are_no_longer_in_hand() {
        let mut partitions = Partitions::default();
        partitions.assign(&[0, 1]);
        for partition in [0, 1] {
            for offset in 0..5 {
                partitions.begin(partition, offset).unwrap();
            }
        }
        assert_eq!(partitions.begin(7, 0), None);
        partitions.revoke(&[1]);
        assert_eq!(partitions.in_hand(), 5);
        assert_eq!(partitions.numbers(), [0]);
    }
}
