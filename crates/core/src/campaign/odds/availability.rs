//! Which prizes could not be given at one draw: what a draw stores beside its
//! roll, so that (rules version, availability, roll) replays to its outcome.

use crate::limits::PRIZES_MAX;

const BYTES: usize = PRIZES_MAX.div_ceil(8);

/// The set of prizes that cannot be given: out of stock, over the daily cap or
/// over the user's `per_user_wins`. Indices are those of `Rules::prizes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Availability {
    gone: [u8; BYTES],
}

impl Default for Availability {
    fn default() -> Self {
        Self::all()
    }
}

impl Availability {
    /// Every prize can be given.
    pub const fn all() -> Self {
        Self { gone: [0; BYTES] }
    }

    /// This, and the prize of `index` cannot be given. An index that no campaign
    /// can have changes nothing.
    #[must_use]
    pub fn without(mut self, index: usize) -> Self {
        debug_assert!(
            index < PRIZES_MAX,
            "a campaign has at most {PRIZES_MAX} prizes"
        );
        if let Some(byte) = self.gone.get_mut(index / 8) {
            *byte |= 1 << (index % 8);
        }
        self
    }

    /// Whether the prize of `index` can be given.
    pub fn is_available(&self, index: usize) -> bool {
        self.gone
            .get(index / 8)
            .is_none_or(|byte| byte & (1 << (index % 8)) == 0)
    }

    /// Whether every prize can be given.
    pub fn is_all(&self) -> bool {
        self.gone == [0; BYTES]
    }

    /// The set as stored with a draw: bit `i % 8` of byte `i / 8` is set if prize
    /// `i` could not be given, zero bytes at the end left out, and `None` when
    /// all could be. Equal sets have equal bytes.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let used = self.gone.iter().rposition(|byte| *byte != 0)? + 1;
        Some(self.gone.iter().copied().take(used).collect())
    }

    /// The set that [`Self::to_bytes`] wrote; `None` if the bytes name a prize
    /// that no campaign can have.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut gone = [0; BYTES];
        gone.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { gone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_available_needs_no_bytes() {
        assert_eq!(Availability::all().to_bytes(), None);
        assert_eq!(Availability::from_bytes(&[]), Some(Availability::all()));
    }

    #[test]
    fn bytes_of_a_foreign_length_are_refused() {
        assert_eq!(Availability::from_bytes(&[1; BYTES + 1]), None);
    }

    proptest! {
        #[test]
        fn a_set_survives_its_bytes(gone in prop::collection::btree_set(0..PRIZES_MAX, 0..20)) {
            let set = gone.iter().fold(Availability::all(), |set, index| set.without(*index));
            for index in 0..PRIZES_MAX {
                prop_assert_eq!(set.is_available(index), !gone.contains(&index));
            }
            let bytes = set.to_bytes().unwrap_or_default();
            prop_assert_eq!(Availability::from_bytes(&bytes), Some(set));
            prop_assert_eq!(set.is_all(), gone.is_empty());
        }
    }
}
