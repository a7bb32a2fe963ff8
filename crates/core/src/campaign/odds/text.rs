//! Odds as people write and read them: decimal percentages, without a float.

use thiserror::Error;

/// A whole, in the units of odds written in percent: 100 % is 10^9 parts, so 7
/// decimals of a percent are exact.
pub const PARTS_PER_BILLION: u64 = 1_000_000_000;

const DECIMALS: usize = 7;

/// Why a text is not odds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OddsError {
    /// `5` instead of `5%`.
    #[error("odds end in a percent sign")]
    NoPercentSign,
    /// Something else than digits with at most one point among them.
    #[error("odds are digits, at most one decimal point and a percent sign")]
    NotDecimal,
    /// Finer than a part in a billion.
    #[error("odds have at most 7 decimals of a percent")]
    TooManyDecimals,
    /// More than the whole.
    #[error("odds are at most 100%")]
    Above100,
}

/// Reads `0.01%` as 100,000 parts of [`PARTS_PER_BILLION`]. From `0%` to `100%`,
/// with at most 7 decimals.
pub fn parse_odds(text: &str) -> Result<u64, OddsError> {
    let number = text.strip_suffix('%').ok_or(OddsError::NoPercentSign)?;
    let (whole, decimals) = match number.split_once('.') {
        Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals),
        Some(_) => return Err(OddsError::NotDecimal),
        None => (number, ""),
    };
    let is_decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_decimal(whole) || !is_decimal(decimals) {
        return Err(OddsError::NotDecimal);
    }
    if decimals.len() > DECIMALS {
        return Err(OddsError::TooManyDecimals);
    }
    // Only digits are left, so the sole failure is a number far above 100.
    let parts: u64 = format!("{whole}{decimals:0<DECIMALS$}")
        .parse()
        .map_err(|_| OddsError::Above100)?;
    if parts > PARTS_PER_BILLION {
        Err(OddsError::Above100)
    } else {
        Ok(parts)
    }
}

/// `weight` of `total` in percent: all decimals where they end, else rounded
/// (half up) to 7 decimals, or to 3 significant digits where those are finer, so
/// that a jackpot is never shown as impossible. `total` is at least 1.
pub fn show_odds(weight: u64, total: u64) -> String {
    percent(weight.into(), total.into())
}

/// The most decimals that end: 2^39 divides 100 × 10^37, and no total below 2^40
/// needs more.
const DECIMALS_FINITE: usize = 38;

/// The same for any fraction with a denominator below 2^120.
pub(super) fn percent(numerator: u128, denominator: u128) -> String {
    debug_assert!(denominator > 0);
    let hundredfold = numerator * 100;
    let whole = hundredfold / denominator;
    let (mut digits, mut rest) = (Vec::new(), hundredfold % denominator);
    while rest > 0 && digits.len() < DECIMALS_FINITE {
        rest *= 10;
        digits.push(rest / denominator);
        rest %= denominator;
    }
    if rest > 0 {
        return rounded(whole, &digits);
    }
    show(whole, &digits)
}

/// `whole` and its first decimals, rounded half up by the decimal that follows.
fn rounded(whole: u128, digits: &[u128]) -> String {
    let zeros = if whole > 0 {
        0
    } else {
        digits.iter().take_while(|digit| **digit == 0).count()
    };
    let keep = if zeros + 3 > DECIMALS {
        zeros + 3
    } else {
        DECIMALS
    };
    let (mut whole, mut kept) = (whole, digits.iter().copied().take(keep).collect::<Vec<_>>());
    let mut carry = digits.get(keep).is_some_and(|digit| *digit >= 5);
    for digit in kept.iter_mut().rev() {
        if carry {
            *digit = (*digit + 1) % 10;
            carry = *digit == 0;
        }
    }
    whole += u128::from(carry);
    while kept.last() == Some(&0) {
        kept.pop();
    }
    show(whole, &kept)
}

fn show(whole: u128, digits: &[u128]) -> String {
    let point = if digits.is_empty() { "" } else { "." };
    let decimals: String = digits.iter().map(ToString::to_string).collect();
    format!("{whole}{point}{decimals}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odds_are_read_exactly() {
        let cases = [
            ("0.01%", 100_000),
            ("5%", 50_000_000),
            ("100%", PARTS_PER_BILLION),
            ("100.0000000%", PARTS_PER_BILLION),
            ("0%", 0),
            ("0.0000001%", 1),
            ("33.3333333%", 333_333_333),
            ("007%", 70_000_000),
        ];
        for (text, parts) in cases {
            assert_eq!(parse_odds(text), Ok(parts), "{text}");
        }
    }

    #[test]
    fn what_is_not_odds_is_refused_with_its_reason() {
        let cases = [
            ("5", OddsError::NoPercentSign),
            ("", OddsError::NoPercentSign),
            ("%", OddsError::NotDecimal),
            (".5%", OddsError::NotDecimal),
            ("5.%", OddsError::NotDecimal),
            ("5 %", OddsError::NotDecimal),
            ("-5%", OddsError::NotDecimal),
            ("+5%", OddsError::NotDecimal),
            ("0,5%", OddsError::NotDecimal),
            ("1.2.3%", OddsError::NotDecimal),
            ("1e1%", OddsError::NotDecimal),
            ("٥%", OddsError::NotDecimal),
            ("0.00000001%", OddsError::TooManyDecimals),
            ("100.0000001%", OddsError::Above100),
            ("99999999999999999999999999%", OddsError::Above100),
        ];
        for (text, error) in cases {
            assert_eq!(parse_odds(text), Err(error), "{text}");
        }
    }

    #[test]
    fn odds_are_shown_exactly_where_they_end_and_rounded_where_they_do_not() {
        let cases = [
            ((1, 1024), "0.09765625%"),
            ((1, 3), "33.3333333%"),
            ((2, 3), "66.6666667%"),
            ((1, 19), "5.2631579%"),
            ((0, 7), "0%"),
            ((7, 7), "100%"),
            ((1, 292_201_338), "0.000000342%"),
            ((999_999_999_998, 999_999_999_999), "100%"),
        ];
        for ((weight, total), text) in cases {
            assert_eq!(show_odds(weight, total), text);
        }
    }

    proptest! {
        #[test]
        fn odds_in_percent_survive_reading_and_writing(parts in 0..=PARTS_PER_BILLION) {
            prop_assert_eq!(parse_odds(&show_odds(parts, PARTS_PER_BILLION)), Ok(parts));
        }

        #[test]
        #[expect(clippy::cast_precision_loss, reason = "the comparison allows for it")]
        fn shown_odds_are_within_half_a_last_digit(
            (total, weight) in (1..(1_u64 << 40)).prop_flat_map(|total| (Just(total), 0..=total))
        ) {
            let shown: f64 = show_odds(weight, total).trim_end_matches('%').parse().unwrap();
            let exact = weight as f64 * 100.0 / total as f64;
            prop_assert!((shown - exact).abs() <= 5.1e-8, "{shown} {exact}");
        }
    }
}
