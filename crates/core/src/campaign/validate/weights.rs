//! The weights of all prizes and of nothing: from odds in percent, exactly, or
//! as written.

use super::Findings;
use super::values::quoted;
use crate::campaign::file::{CampaignFile, PrizeSection};
use crate::campaign::odds::{OddsError, PARTS_PER_BILLION, parse_odds, show_odds};
use crate::limits::WEIGHT_TOTAL_MAX;

/// What the file's odds come to.
pub(super) struct Weights {
    /// In file order, 0 where a prize's odds are wrong.
    pub(super) of_prizes: Vec<u64>,
    /// With nothing, at least 1 and below 2^40 where no problem was found.
    pub(super) total: u64,
}

/// How a prize says its share.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Style {
    Odds,
    Weight,
}

impl Style {
    fn of(prize: &PrizeSection) -> Option<Self> {
        match (&prize.odds, prize.weight) {
            (Some(_), None) => Some(Self::Odds),
            (None, Some(_)) => Some(Self::Weight),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Odds => "odds",
            Self::Weight => "weight",
        }
    }
}

/// The style of the first prize that has one goes for all.
pub(super) fn weigh(file: &CampaignFile, found: &mut Findings) -> Weights {
    let style = file.prize.iter().find_map(Style::of);
    for (index, prize) in file.prize.iter().enumerate() {
        one_style(prize, index, style, found);
    }
    if style == Some(Style::Weight) {
        return by_weight(file, found);
    }
    if file.odds.nothing_weight.is_some() {
        let what = "`nothing_weight` belongs to prizes with `weight`";
        found.report(
            "/odds/nothing_weight",
            what,
            "remove it: what is left to 100% is nothing",
        );
    }
    by_odds(file, found)
}

fn one_style(prize: &PrizeSection, index: usize, style: Option<Style>, found: &mut Findings) {
    match (Style::of(prize), style) {
        (None, _) if prize.odds.is_some() => found.report(
            format!("/prize/{index}/weight"),
            "a prize has `odds` or `weight`, not both",
            "remove one of them",
        ),
        (None, _) => found.report(
            format!("/prize/{index}/odds"),
            "the prize has no odds",
            "add `odds = \"1%\"`, or `weight` on every prize",
        ),
        (Some(own), Some(common)) if own != common => found.report(
            format!("/prize/{index}/{}", own.key()),
            format!(
                "this prize has `{}`, those before it have `{}`",
                own.key(),
                common.key()
            ),
            format!("write `{}` on every prize", common.key()),
        ),
        (Some(_), _) => {}
    }
}

fn by_odds(file: &CampaignFile, found: &mut Findings) -> Weights {
    let mut of_prizes = Vec::with_capacity(file.prize.len());
    for (index, prize) in file.prize.iter().enumerate() {
        let weight = match prize.odds.as_deref().map(|text| (text, parse_odds(text))) {
            Some((_, Ok(weight))) => weight,
            Some((text, Err(error))) => {
                let what = format!("`odds` is {}: {error}", quoted(text));
                found.report(format!("/prize/{index}/odds"), what, mend_odds(text, error));
                0
            }
            None => 0,
        };
        of_prizes.push(weight);
    }
    report_too_much(&of_prizes, found);
    Weights {
        of_prizes,
        total: PARTS_PER_BILLION,
    }
}

fn mend_odds(text: &str, error: OddsError) -> String {
    match error {
        OddsError::NoPercentSign if parse_odds(&format!("{text}%")).is_ok() => {
            format!("write \"{text}%\"")
        }
        OddsError::NotDecimal if parse_odds(&tidied(text)).is_ok() => {
            format!("write \"{}\"", tidied(text))
        }
        OddsError::NoPercentSign | OddsError::NotDecimal => "for example \"0.01%\"".to_owned(),
        OddsError::TooManyDecimals => {
            "round it, or use `weight` on every prize for finer odds".to_owned()
        }
        OddsError::Above100 => "100% is every draw".to_owned(),
    }
}

/// `0,5 %` as we write it.
fn tidied(text: &str) -> String {
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let dense = dense.replace(',', ".");
    if dense.starts_with('.') {
        format!("0{dense}")
    } else {
        dense
    }
}

/// Odds above 100 % in sum are reported once, where the sum passes it.
fn report_too_much(weights: &[u64], found: &mut Findings) {
    let sum: u64 = weights.iter().sum();
    let mut running = 0;
    let passes = weights.iter().position(|weight| {
        running += weight;
        running > PARTS_PER_BILLION
    });
    if let Some(index) = passes {
        let show = |parts| show_odds(parts, PARTS_PER_BILLION);
        found.report(
            format!("/prize/{index}/odds"),
            format!("the odds of all prizes add up to {}", show(sum)),
            format!("lower them by {} in all", show(sum - PARTS_PER_BILLION)),
        );
    }
}

fn by_weight(file: &CampaignFile, found: &mut Findings) -> Weights {
    let mut weight = |path: String, key: &str, value: Option<i64>| {
        let value = value.unwrap_or(0);
        u64::try_from(value)
            .ok()
            .filter(|weight| *weight < WEIGHT_TOTAL_MAX)
            .unwrap_or_else(|| {
                let what = format!(
                    "`{key}` is {value}, and has to be 0 to {}",
                    WEIGHT_TOTAL_MAX - 1
                );
                found.report(path, what, "write a whole number in that range");
                0
            })
    };
    let of_prizes: Vec<u64> = file
        .prize
        .iter()
        .enumerate()
        .map(|(index, prize)| weight(format!("/prize/{index}/weight"), "weight", prize.weight))
        .collect();
    let nothing = weight(
        "/odds/nothing_weight".to_owned(),
        "nothing_weight",
        file.odds.nothing_weight,
    );
    let total = of_prizes
        .iter()
        .fold(nothing, |sum, weight| sum.saturating_add(*weight));
    if total == 0 {
        let what = "all weights are 0";
        found.report(
            "/prize/0/weight",
            what,
            "give at least one prize a weight above 0",
        );
    }
    if total >= WEIGHT_TOTAL_MAX {
        let what =
            format!("the weights add up to {total}, and have to stay below {WEIGHT_TOTAL_MAX}");
        found.report(
            "/prize/0/weight",
            what,
            "divide all of them by a common number",
        );
    }
    Weights { of_prizes, total }
}
