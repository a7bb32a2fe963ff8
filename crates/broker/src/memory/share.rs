//! Who should own what: an even share for each member, moving as few partitions as
//! that takes. Pure, so that its promises are tested over all small cases.

use std::collections::BTreeMap;

/// Names one joining of one member; never used twice.
pub(super) type MemberId = u64;

/// The owner of each partition, given who holds it now. Shares differ by one at
/// most; a partition changes hands only if its holder has more than its share or
/// is not among `members`.
pub(super) fn share(held: &[Option<MemberId>], members: &[MemberId]) -> Vec<Option<MemberId>> {
    let mut room = rooms(held, members);
    let mut shares: Vec<Option<MemberId>> = held
        .iter()
        .map(|holder| holder.filter(|holder| take_room(&mut room, *holder)))
        .collect();
    let mut free = members.iter().flat_map(|member| {
        let left = room.get(member).copied().unwrap_or(0);
        std::iter::repeat_n(*member, left)
    });
    for share in shares.iter_mut().filter(|share| share.is_none()) {
        *share = free.next();
    }
    shares
}

/// How many each may own: the remainder goes to those who hold the most, so that
/// nothing moves for it.
fn rooms(held: &[Option<MemberId>], members: &[MemberId]) -> BTreeMap<MemberId, usize> {
    let Some(even) = held.len().checked_div(members.len()) else {
        return BTreeMap::new();
    };
    let more = held.len() % members.len();
    let holds = |member: MemberId| {
        held.iter()
            .filter(|holder| **holder == Some(member))
            .count()
    };
    let mut ranked = members.to_vec();
    ranked.sort_by_key(|member| (std::cmp::Reverse(holds(*member)), *member));
    let ranked = ranked.into_iter().enumerate();
    ranked
        .map(|(rank, member)| (member, even + usize::from(rank < more)))
        .collect()
}

fn take_room(room: &mut BTreeMap<MemberId, usize>, member: MemberId) -> bool {
    room.get_mut(&member).is_some_and(|left| {
        let has_room = *left > 0;
        *left = left.saturating_sub(1);
        has_room
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every way in which up to five partitions are held by up to four members, of
    /// which every subset is still there.
    fn every_case() -> Vec<(Vec<Option<MemberId>>, Vec<MemberId>)> {
        let mut cases = Vec::new();
        for partitions in 1..=5_u32 {
            for code in 0..5_u64.pow(partitions) {
                let digits = (0..partitions).map(|digit| code / 5_u64.pow(digit) % 5);
                let held: Vec<_> = digits.map(|holder| holder.checked_sub(1)).collect();
                cases.extend((0..16_u64).map(|there| {
                    let members = (0..4).filter(|member| there >> member & 1 == 1).collect();
                    (held.clone(), members)
                }));
            }
        }
        cases
    }

    fn count(shares: &[Option<MemberId>], member: MemberId) -> usize {
        shares
            .iter()
            .filter(|share| **share == Some(member))
            .count()
    }

    #[test]
    fn every_partition_has_a_member_and_shares_differ_by_one_at_most() {
        for (held, members) in every_case() {
            let shares = share(&held, &members);
            let counts: Vec<usize> = members
                .iter()
                .map(|member| count(&shares, *member))
                .collect();
            assert_eq!(
                counts.iter().sum::<usize>(),
                if members.is_empty() { 0 } else { held.len() }
            );
            let most = counts.iter().max().unwrap_or(&0);
            let least = counts.iter().min().unwrap_or(&0);
            assert!(most - least <= 1, "{held:?} {members:?} {shares:?}");
        }
    }

    #[test]
    fn nothing_moves_that_could_have_stayed() {
        for (held, members) in every_case() {
            let shares = share(&held, &members);
            for member in &members {
                let kept = held.iter().zip(&shares);
                let kept = kept
                    .filter(|(had, has)| **had == Some(*member) && had == has)
                    .count();
                assert_eq!(kept, count(&held, *member).min(count(&shares, *member)));
            }
            let mut most: Vec<usize> = members.iter().map(|member| count(&held, *member)).collect();
            most.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
            let even = held.len().checked_div(members.len()).unwrap_or(0);
            let more = held.len().checked_rem(members.len()).unwrap_or(0);
            let rooms = (0..members.len()).map(|rank| even + usize::from(rank < more));
            let could_stay: usize = most
                .iter()
                .zip(rooms)
                .map(|(held, room)| *held.min(&room))
                .sum();
            let stayed = held
                .iter()
                .zip(&shares)
                .filter(|(had, has)| had.is_some() && had == has);
            assert_eq!(
                stayed.count(),
                could_stay,
                "{held:?} {members:?} {shares:?}"
            );
        }
    }
}
