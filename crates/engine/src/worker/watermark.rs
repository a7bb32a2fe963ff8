//! The watermark of one partition: how far its offset may move. Invariant: what is
//! committed is never above the lowest offset whose delivery row is not durable.
//!
//! Copies end in any order; the offset moves over the unbroken run of those that have
//! ended. Offsets may have gaps (compaction, transactions): only what was seen
//! counts.

use std::collections::VecDeque;

/// Offsets in hand of one partition.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Seen and not yet passed, in order, with whether they have ended.
    seen: VecDeque<(i64, bool)>,
    ended: usize,
    /// The next offset to read, once something has ended.
    next: Option<i64>,
    committed: Option<i64>,
}

impl Watermark {
    /// A copy was read; `false` if one at or above its offset was before, so that it
    /// is in hand already.
    pub(super) fn begin(&mut self, offset: i64) -> bool {
        let is_new = self
            .seen
            .back()
            .map_or(self.next.is_none_or(|next| offset >= next), |(last, _)| {
                offset > *last
            });
        if is_new {
            self.seen.push_back((offset, false));
        }
        is_new
    }

    /// What the copy asked of is durable.
    pub(super) fn end(&mut self, offset: i64) {
        if let Ok(index) = self.seen.binary_search_by_key(&offset, |(seen, _)| *seen)
            && let Some((_, has_ended)) = self.seen.get_mut(index)
            && !*has_ended
        {
            *has_ended = true;
            self.ended += 1;
        }
        while let Some((offset, _)) = self.seen.pop_front_if(|(_, has_ended)| *has_ended) {
            self.ended -= 1;
            self.next = Some(offset + 1);
        }
    }

    /// Copies that have not ended.
    pub(super) fn in_hand(&self) -> usize {
        self.seen.len() - self.ended
    }

    /// The next offset to commit, if it has moved since the last commit.
    pub(super) fn to_commit(&self) -> Option<i64> {
        self.next.filter(|next| self.committed != Some(*next))
    }

    /// This was committed.
    pub(super) fn committed(&mut self, next: i64) {
        self.committed = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offset_moves_over_the_unbroken_run_only() {
        let mut watermark = Watermark::default();
        for offset in [3, 4, 7, 8] {
            assert!(watermark.begin(offset));
        }
        watermark.end(7);
        watermark.end(4);
        assert_eq!((watermark.to_commit(), watermark.in_hand()), (None, 2));
        watermark.end(3);
        assert_eq!(watermark.to_commit(), Some(8));
        watermark.committed(8);
        assert_eq!(watermark.to_commit(), None);
        watermark.end(8);
        assert_eq!((watermark.to_commit(), watermark.in_hand()), (Some(9), 0));
    }

    #[test]
    fn copy_that_is_in_hand_already_is_not_begun_again() {
        let mut watermark = Watermark::default();
        assert!(watermark.begin(5));
        assert!(!watermark.begin(5) && !watermark.begin(4));
        watermark.end(5);
        assert!(!watermark.begin(5));
        assert!(watermark.begin(6));
    }

    /// Each offset with whether it has ended; the run is counted from the start.
    fn naive(ended: &[(i64, bool)]) -> Option<i64> {
        ended
            .iter()
            .take_while(|(_, has_ended)| *has_ended)
            .last()
            .map(|(offset, _)| offset + 1)
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_model_at_every_step(
            gaps in prop::collection::vec(1_i64..4, 1..40),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..120),
        ) {
            let mut offset = 0;
            let mut waiting: VecDeque<i64> = gaps.iter().map(|gap| { offset += gap; offset }).collect();
            let (mut model, mut watermark) = (Vec::new(), Watermark::default());
            for (index, begins) in order {
                if begins && let Some(offset) = waiting.pop_front() {
                    prop_assert!(watermark.begin(offset));
                    model.push((offset, false));
                } else if !model.is_empty() {
                    let one = index.index(model.len());
                    model[one].1 = true;
                    watermark.end(model[one].0);
                }
                prop_assert_eq!(watermark.to_commit(), naive(&model));
                prop_assert_eq!(watermark.in_hand(), model.iter().filter(|(_, has_ended)| !has_ended).count());
            }
        }
    }
}
