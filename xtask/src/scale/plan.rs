//! What is played: one campaign with a prize of each kind that needs nobody, two of them scarce,
//! and requests that follow from the seed.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use serde_json::{Value, json};

pub(super) const CAMPAIGN: &str = "scale";
pub(super) const ENDPOINT: &str = "coupons";
pub(super) const POINTS: i64 = 10;

/// Users who draw far more often than others, until their limit refuses them.
const EAGER: u64 = 5;
/// Of all requests, in percent, those of the eager users.
const EAGER_PERCENT: u32 = 3;
/// Of all requests, in percent, those for ten draws at once.
const TEN_PERCENT: u32 = 3;
/// Of all requests, in percent, those made once more at another process.
const TWICE_PERCENT: u32 = 4;

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) draws: u64,
    pub(super) users: u64,
    /// Draws of one user.
    pub(super) limit: u64,
    /// Of the prize `phone`: fewer than its odds would give.
    pub(super) phones: u64,
    /// Codes of the prize `voucher`: fewer, too.
    pub(super) vouchers: u64,
}

impl Sizes {
    pub(super) fn of(draws: u64) -> Self {
        let users = (draws / 20).max(20);
        Self {
            draws,
            users,
            limit: 40.max(draws / 400),
            phones: draws / 50,
            vouchers: draws / 50,
        }
    }

    /// The campaign as the API takes it.
    pub(super) fn campaign(&self) -> Value {
        json!({
            "campaign": { "slug": CAMPAIGN, "name": "Scale" },
            "limits": { "per_user_total": self.limit },
            "odds": { "on_unavailable": "fallback", "fallback": "thanks" },
            "prize": [
                { "slug": "phone", "name": "Phone", "kind": "text", "text": "a phone", "odds": "5%", "stock": self.phones },
                { "slug": "voucher", "name": "Voucher", "kind": "code", "odds": "5%", "stock": self.vouchers },
                { "slug": "coupon", "name": "Coupon", "kind": "webhook", "endpoint": ENDPOINT, "odds": "20%" },
                { "slug": "thanks", "name": "Thanks", "kind": "points", "points": POINTS, "odds": "60%" }
            ]
        })
    }

    /// The code file, one code for each voucher.
    pub(super) fn codes(&self) -> String {
        let codes = (0..self.vouchers).map(|number| format!("VOUCHER-{number:08}\n"));
        "code\n".to_owned() + &codes.collect::<String>()
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ask {
    pub(super) user: String,
    pub(super) key: String,
    pub(super) count: u64,
    pub(super) is_twice: bool,
    /// The process that is asked first.
    pub(super) door: usize,
}

/// All requests of a seed, without end: the run stops when enough draws were answered.
#[derive(Debug)]
pub(super) struct Asks {
    rng: ChaCha12Rng,
    seed: u64,
    users: u64,
    made: u64,
}

impl Asks {
    pub(super) fn new(seed: u64, users: u64) -> Self {
        Self {
            rng: ChaCha12Rng::seed_from_u64(seed),
            seed,
            users,
            made: 0,
        }
    }
}

impl Iterator for Asks {
    type Item = Ask;

    fn next(&mut self) -> Option<Ask> {
        self.made += 1;
        let mut percent = |percent| self.rng.random_range(0..100) < percent;
        let (is_eager, is_ten, is_twice) = (
            percent(EAGER_PERCENT),
            percent(TEN_PERCENT),
            percent(TWICE_PERCENT),
        );
        let users = if is_eager { EAGER } else { self.users };
        Some(Ask {
            user: format!("user-{}", self.rng.random_range(0..users)),
            key: format!("scale-{}-{}", self.seed, self.made),
            count: if is_ten { 10 } else { 1 },
            is_twice,
            door: self.rng.random_range(0..3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(seed: u64) -> Vec<Ask> {
        Asks::new(seed, 500).take(5_000).collect()
    }

    #[test]
    fn one_seed_gives_one_plan_in_which_eager_users_meet_their_limit() {
        assert_eq!(asks(7), asks(7));
        assert_ne!(asks(7), asks(8));
        let drawn: u64 = asks(7)
            .iter()
            .filter(|ask| ask.user == "user-0")
            .map(|ask| ask.count)
            .sum();
        let sizes = Sizes::of(5_000);
        assert!(drawn > 25, "{drawn}");
        assert!(sizes.users >= 20 && sizes.limit >= 40);
    }

    #[test]
    fn scarce_prizes_are_scarcer_than_their_odds() {
        let sizes = Sizes::of(10_000);
        assert!(sizes.phones < 500 && sizes.vouchers < 500);
        assert_eq!(sizes.codes().lines().count(), 201);
    }
}
