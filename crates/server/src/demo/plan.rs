//! Who draws in the demo, in which order: decided by the seed alone, so that one
//! seed gives the same requests. The rolls are of the server itself and differ.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// Users who draw far more often than others, so that limits refuse somebody.
const EAGER_USERS: u32 = 5;
/// Of all draws, in percent, those of the eager users together.
const EAGER_PERCENT: u32 = 10;
/// Of all requests, in percent, those that are made twice at once under one key.
const TWICE_PERCENT: u32 = 2;

/// One request of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Who draws.
    pub(crate) user: String,
    /// The request key.
    pub(crate) key: String,
    /// Made twice at the same moment, as an impatient client does.
    pub(crate) is_twice: bool,
}

/// The requests of a run.
pub(crate) fn asks(draws: u32, users: u32, seed: u64) -> Vec<Ask> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let users = users.max(1);
    let eager = EAGER_USERS.min(users);
    (0..draws)
        .map(|number| {
            let is_eager = rng.random_range(0..100) < EAGER_PERCENT;
            let user = rng.random_range(0..if is_eager { eager } else { users });
            Ask {
                user: format!("user-{user:04}"),
                key: format!("demo-{seed:016x}-{number:08}"),
                is_twice: rng.random_range(0..100) < TWICE_PERCENT,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_plan_and_eager_users_draw_far_more_than_others() {
        let plan = asks(10_000, 500, 7);
        assert_eq!(plan, asks(10_000, 500, 7));
        assert_ne!(plan, asks(10_000, 500, 8));
        let of = |user: &str| plan.iter().filter(|ask| ask.user == user).count();
        assert!(
            of("user-0000") > 120,
            "the limit of 60 a day refuses an eager user"
        );
        assert!(of("user-0400") < 60);
    }
}
