//! Whose turn it is: partitions take turns at being read first, so that a deep one
//! starves nobody.

use std::collections::BTreeMap;

/// The partitions of `reading`, beginning after the one that was read last.
pub(crate) fn turns<T>(reading: &BTreeMap<i32, T>, last: i32) -> Vec<i32> {
    let after = reading
        .range(last.saturating_add(1)..)
        .map(|(partition, _)| *partition);
    let before = reading
        .keys()
        .copied()
        .take_while(|partition| *partition <= last);
    after.chain(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_turn_and_the_last_one_comes_last() {
        let reading = BTreeMap::from([(0, "a"), (2, "b"), (5, "c")]);
        for (last, expected) in [
            (-1, [0, 2, 5]),
            (0, [2, 5, 0]),
            (2, [5, 0, 2]),
            (3, [5, 0, 2]),
            (5, [0, 2, 5]),
        ] {
            assert_eq!(turns(&reading, last), expected, "after {last}");
        }
    }
}
