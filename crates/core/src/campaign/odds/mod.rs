//! From a roll to an outcome, exactly. Prizes take the ranges of the whole in
//! the order of the file, nothing takes what is left. One roll gives one answer:
//! a prize that cannot be given never leads to a second roll, which would change
//! the odds of the others (`OnUnavailable` says what it leads to instead).
//!
//! Everything is integer arithmetic on 128 bits and generic over the width of a
//! roll: rolls are 64 bits wide, and the tests count the same function over all
//! 65,536 rolls of 16 bits.

mod availability;
mod shares;
#[cfg(test)]
mod tests;
mod text;

pub use availability::Availability;
pub use shares::{Odds, Share, effective_odds};
pub use text::{OddsError, PARTS_PER_BILLION, parse_odds, show_odds};

use super::rules::{OnUnavailable, Prize, Rules};
use crate::limits::WEIGHT_TOTAL_MAX;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// The 64 random bits one draw consumed, stored with it. As text it is 16
/// hexadecimal digits, since not every JSON reader keeps 64 bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Roll(pub u64);

impl Roll {
    /// The same bits as the databases keep them.
    pub const fn to_bits_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The roll of a stored draw.
    pub const fn from_bits_i64(bits: i64) -> Self {
        Self(bits.cast_unsigned())
    }

    /// Reads the 16 hexadecimal digits that `Display` writes, `None` if they are not.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Roll {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Roll {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected 16 hexadecimal digits"))
    }
}

/// An unsigned integer that can be a roll: uniform over `0 .. 2^BITS`, at most
/// 64 bits wide.
pub trait Width: Copy + Into<u64> {
    /// How many random bits it has.
    const BITS: u32;
}

impl Width for u16 {
    const BITS: u32 = Self::BITS;
}

impl Width for u64 {
    const BITS: u32 = Self::BITS;
}

/// `floor(roll × total / 2^BITS)`: uniform over `0 .. total`, with the chance of
/// any range of results off by less than 2^-BITS of the whole (Lemire, "Fast
/// Random Integer Generation in an Interval", 2019, without the rejection step:
/// at 64 bits the bias is far below what any number of draws could show, and a
/// stored roll must give one answer).
///
/// `total` is below [`WEIGHT_TOTAL_MAX`].
pub fn pick<W: Width>(roll: W, total: u64) -> u64 {
    debug_assert!(total < WEIGHT_TOTAL_MAX);
    narrow((u128::from(roll.into()) * u128::from(total)) >> W::BITS)
}

/// The prize that `roll` gives, by its index, or `None` for nothing.
///
/// * `NoWin`: a prize that cannot be given gives nothing.
/// * `Fallback(i)`: a prize that cannot be given gives prize `i`.
/// * `Spread`: the winning part of the whole keeps its size and is divided among
///   the prizes that can be given in proportion to their weights; nothing keeps
///   its declared share, unless no prize can be given at all.
///
/// Under each of them the chance of each range is off by less than 2^-64 of the
/// whole: under `Spread` too, since the roll is rescaled without a rounding step.
pub fn choose(rules: &Rules, availability: &Availability, roll: Roll) -> Option<usize> {
    choose_at(rules, availability, roll.0)
}

/// [`choose`] for rolls of any width; the chance of each range is off by less
/// than 2^-BITS of the whole.
pub fn choose_at<W: Width>(rules: &Rules, availability: &Availability, roll: W) -> Option<usize> {
    if rules.on_unavailable == OnUnavailable::Spread {
        return choose_spread(rules, availability, roll);
    }
    let index = at_position(rules.prizes.iter().enumerate(), pick(roll, rules.total))?;
    if availability.is_available(index) {
        return Some(index);
    }
    match rules.on_unavailable {
        OnUnavailable::Fallback(fallback) => Some(fallback),
        OnUnavailable::NoWin | OnUnavailable::Spread => None,
    }
}

/// With S the weights of all prizes and A those that can be given, a roll wins
/// if `v = roll × total` lies below `S × 2^BITS`, exactly as in the plain pick,
/// and its position among A is `floor(v × A / (S × 2^BITS))`. That product may
/// need 144 bits, so `v` is divided by S first and the remainder carried:
/// `v = q × S + r` gives `v × A / S = q × A + r × A / S`, below 2^105. With
/// A = S this is the plain pick.
fn choose_spread<W: Width>(rules: &Rules, availability: &Availability, roll: W) -> Option<usize> {
    let can_be_given = || {
        rules
            .prizes
            .iter()
            .enumerate()
            .filter(|(index, _)| availability.is_available(*index))
    };
    let all = u128::from(weight_of(rules.prizes.iter()));
    let available = u128::from(weight_of(can_be_given().map(|(_, prize)| prize)));
    let v = u128::from(roll.into()) * u128::from(rules.total);
    if v >> W::BITS >= all {
        return None;
    }
    let (q, r) = (v / all, v % all);
    let position = (q * available + r * available / all) >> W::BITS;
    at_position(can_be_given(), narrow(position))
}

/// The prize in whose range `position` lies, where each takes its weight in turn.
fn at_position<'a>(
    prizes: impl Iterator<Item = (usize, &'a Prize)>,
    position: u64,
) -> Option<usize> {
    let mut left = position;
    for (index, prize) in prizes {
        if left < prize.weight {
            return Some(index);
        }
        left -= prize.weight;
    }
    None
}

fn weight_of<'a>(prizes: impl Iterator<Item = &'a Prize>) -> u64 {
    prizes.map(|prize| prize.weight).sum()
}

/// A position is below a total, which is below 2^40: it always fits.
fn narrow(position: u128) -> u64 {
    debug_assert!(position < u128::from(WEIGHT_TOTAL_MAX));
    u64::try_from(position).unwrap_or(u64::MAX)
}
