//! The odds of every outcome as exact fractions: what the public odds page shows.

use super::{Availability, text};
use crate::campaign::rules::{OnUnavailable, Rules};
use std::fmt;

/// A probability as a fraction in lowest terms. Displayed in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Odds {
    /// At most the denominator.
    pub numerator: u128,
    /// At least 1, below 2^80.
    pub denominator: u128,
}

impl Odds {
    /// `numerator` of `denominator`, which is at least 1.
    pub fn new(numerator: u128, denominator: u128) -> Self {
        debug_assert!(denominator > 0 && numerator <= denominator);
        let divisor = greatest_common_divisor(numerator, denominator).max(1);
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        }
    }
}

impl fmt::Display for Odds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::percent(self.numerator, self.denominator))
    }
}

/// What one outcome's odds are by the file, and what they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The prize's index, or `None` for nothing.
    pub prize: Option<usize>,
    /// What the file says.
    pub declared: Odds,
    /// What a draw gets while exactly these prizes can be given.
    pub effective: Odds,
}

/// The odds of each prize in file order, then of nothing. The effective ones
/// add up to the whole, as the declared ones do.
pub fn effective_odds(rules: &Rules, availability: &Availability) -> Vec<Share> {
    let total = u128::from(rules.total);
    let nothing = u128::from(rules.nothing_weight());
    let all = total - nothing;
    let is_given = |index: usize| availability.is_available(index);
    let given: u128 = weights(rules)
        .filter(|(index, _)| is_given(*index))
        .map(|(_, w)| w)
        .sum();
    let effective = |index: usize, weight: u128| match rules.on_unavailable {
        OnUnavailable::Fallback(fallback) if fallback == index => {
            // Its own share, whether or not it counts as given, and those of the others that are not.
            let own = if is_given(index) { weight } else { 0 };
            Odds::new(own + (all - given), total)
        }
        OnUnavailable::Spread if is_given(index) && given > 0 => {
            Odds::new(weight * all, given * total)
        }
        OnUnavailable::NoWin | OnUnavailable::Fallback(_) if is_given(index) => {
            Odds::new(weight, total)
        }
        OnUnavailable::NoWin | OnUnavailable::Spread | OnUnavailable::Fallback(_) => {
            Odds::new(0, total)
        }
    };
    let nothing_now = match rules.on_unavailable {
        OnUnavailable::NoWin => nothing + (all - given),
        OnUnavailable::Spread if given == 0 => total,
        OnUnavailable::Spread | OnUnavailable::Fallback(_) => nothing,
    };
    let mut shares: Vec<Share> = weights(rules)
        .map(|(index, weight)| Share {
            prize: Some(index),
            declared: Odds::new(weight, total),
            effective: effective(index, weight),
        })
        .collect();
    shares.push(Share {
        prize: None,
        declared: Odds::new(nothing, total),
        effective: Odds::new(nothing_now, total),
    });
    shares
}

fn weights(rules: &Rules) -> impl Iterator<Item = (usize, u128)> {
    rules
        .prizes
        .iter()
        .map(|prize| u128::from(prize.weight))
        .enumerate()
}

fn greatest_common_divisor(a: u128, b: u128) -> u128 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}
