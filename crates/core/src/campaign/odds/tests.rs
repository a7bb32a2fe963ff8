//! The chooser counted over every roll there is. Rolls of 16 bits go through the
//! code that rolls of 64 bits go through, so what holds for all 65,536 of them
//! is no sample.

use super::*;
use crate::campaign::rules::{KindSpec, Limits, Release};
use proptest::prelude::*;

const ROLLS: u64 = 1 << 16;

/// Rules with these weights and nothing for what is left to `total`.
fn rules(weights: &[u64], total: u64, on_unavailable: OnUnavailable) -> Rules {
    let prize = |(index, weight): (usize, &u64)| Prize {
        slug: format!("p{index}"),
        name: "A prize".to_owned(),
        spec: KindSpec::Points { points: 1 },
        weight: *weight,
        stock: None,
        daily_cap: None,
        per_user_wins: None,
        release: Release::Immediate,
        return_stock: false,
        award_id: None,
        award_type: None,
    };
    Rules {
        slug: "table".to_owned(),
        name: "A table".to_owned(),
        zone: jiff::tz::TimeZone::UTC,
        starts_at: None,
        ends_at: None,
        limits: Limits::default(),
        on_unavailable,
        prizes: weights.iter().enumerate().map(prize).collect(),
        total,
    }
}

fn without(gone: &[usize]) -> Availability {
    gone.iter()
        .fold(Availability::all(), |set, index| set.without(*index))
}

/// How many of all 16-bit rolls give each prize, and nothing at the end.
fn count(rules: &Rules, availability: &Availability) -> Vec<u64> {
    let mut counts = vec![0; rules.prizes.len() + 1];
    for roll in 0..=u16::MAX {
        let chosen = choose_at(rules, availability, roll);
        counts[chosen.unwrap_or(rules.prizes.len())] += 1;
    }
    counts
}

/// Each range is within one roll of its ideal; a fallback has as many ranges as
/// prizes lead to it.
fn assert_counts_are_ideal(rules: &Rules, availability: &Availability) {
    let shares = effective_odds(rules, availability);
    let gone = (0..rules.prizes.len())
        .filter(|index| !availability.is_available(*index))
        .count();
    for (count, share) in count(rules, availability).into_iter().zip(shares) {
        let ideal = share.effective.numerator * u128::from(ROLLS);
        let off = (u128::from(count) * share.effective.denominator).abs_diff(ideal);
        let ranges = match (rules.on_unavailable, share.prize) {
            (OnUnavailable::Fallback(fallback), Some(index)) if index == fallback => gone + 1,
            (OnUnavailable::NoWin, None) => gone + 1,
            _ => 1,
        };
        let bound = ranges as u128 * share.effective.denominator;
        assert!(
            off < bound || off == 0,
            "{share:?}: {count} rolls, {off} off {bound}"
        );
    }
}

#[test]
fn ten_equal_prizes_are_equal() {
    let table = rules(&[10; 10], 100, OnUnavailable::NoWin);
    let counts = count(&table, &Availability::all());
    assert!(
        counts
            .iter()
            .take(10)
            .all(|count| [6553, 6554].contains(count)),
        "{counts:?}"
    );
    assert_eq!(counts[10], 0);
}

#[test]
fn a_total_that_divides_the_roll_space_is_counted_without_any_error() {
    let table = rules(&[1, 2, 5, 100], 256, OnUnavailable::NoWin);
    let counts = count(&table, &Availability::all());
    assert_eq!(counts, [256, 2 * 256, 5 * 256, 100 * 256, 148 * 256]);
}

/// In the chapter's round-up table the 18th and 19th of 19 equal prizes could
/// never be won.
#[test]
fn one_of_nineteen_equal_prizes_gone_leaves_each_other_one_eighteenth() {
    let table = rules(&[1; 19], 19, OnUnavailable::Spread);
    for gone in 0..19 {
        let counts = count(&table, &without(&[gone]));
        for (index, count) in counts.iter().enumerate() {
            let expected: &[u64] = if index == gone || index == 19 {
                &[0]
            } else {
                &[3640, 3641]
            };
            assert!(expected.contains(count), "{gone} gone: {counts:?}");
        }
        for share in effective_odds(&table, &without(&[gone])) {
            let is_left = share.prize.is_some_and(|index| index != gone);
            assert_eq!(
                share.effective,
                if is_left {
                    Odds::new(1, 18)
                } else {
                    Odds::new(0, 1)
                }
            );
        }
    }
}

/// The chapter's overall rate gives 16, 22, 27 and 35 % here.
#[test]
fn fifteen_twenty_twentyfive_thirtyfive_of_ninetyfive_keep_their_proportions() {
    let table = rules(&[5, 15, 20, 25, 35], 100, OnUnavailable::Spread);
    let gone = without(&[0]);
    let shown: Vec<String> = effective_odds(&table, &gone)
        .iter()
        .map(|share| share.effective.to_string())
        .collect();
    assert_eq!(
        shown,
        [
            "0%",
            "15.7894737%",
            "21.0526316%",
            "26.3157895%",
            "36.8421053%",
            "0%"
        ],
    );
    let in_10_000 = |count: &u64| (count * 10_000 + ROLLS / 2) / ROLLS;
    let counted: Vec<u64> = count(&table, &gone).iter().map(in_10_000).collect();
    assert_eq!(counted, [0, 1579, 2105, 2632, 3684, 0]);
}

#[test]
fn the_chapter_single_rate_gives_nothing_for_a_prize_that_is_gone() {
    let table = rules(&[5, 15, 20, 25, 35], 100, OnUnavailable::NoWin);
    let all = count(&table, &Availability::all());
    let gone = count(&table, &without(&[0]));
    assert_eq!(gone[1..5], all[1..5]);
    assert_eq!((gone[0], gone[5]), (0, all[0]));
}

#[test]
fn a_fallback_takes_the_share_of_what_is_gone_and_nothing_else() {
    let table = rules(&[5, 15, 20], 100, OnUnavailable::Fallback(2));
    let all = count(&table, &Availability::all());
    let gone = count(&table, &without(&[0, 1]));
    assert_eq!(gone, [0, 0, all[0] + all[1] + all[2], all[3]]);
}

#[test]
fn spread_gives_nothing_when_no_prize_is_left() {
    let table = rules(&[60, 40], 100, OnUnavailable::Spread);
    assert_eq!(count(&table, &without(&[0, 1])), [0, 0, ROLLS]);
    let shares = effective_odds(&table, &without(&[0, 1]));
    assert_eq!(shares[2].effective, Odds::new(1, 1));
    assert_eq!(shares[2].declared, Odds::new(0, 1));
}

#[test]
fn prizes_without_weight_are_never_chosen_and_never_divide_by_zero() {
    for on_unavailable in [OnUnavailable::NoWin, OnUnavailable::Spread] {
        let table = rules(&[0, 0], 10, on_unavailable);
        assert_eq!(count(&table, &Availability::all()), [0, 0, ROLLS]);
        let table = rules(&[0, 7], 10, on_unavailable);
        assert_eq!(count(&table, &without(&[1]))[0], 0);
    }
}

/// The ends of each range of Powerball's table, at 64 bits: the first and the
/// last roll of the jackpot, and the roll after it.
#[test]
fn the_last_roll_of_a_range_is_its_own_and_the_next_is_not() {
    let total = 292_201_338;
    let table = rules(&[1, 25], total, OnUnavailable::NoWin);
    let first_of = |weight: u128| {
        let roll = (weight << 64).div_ceil(u128::from(total));
        Roll(u64::try_from(roll).unwrap())
    };
    let given = |roll| choose(&table, &Availability::all(), roll);
    assert_eq!(given(Roll(0)), Some(0));
    assert_eq!(given(Roll(first_of(1).0 - 1)), Some(0));
    assert_eq!(given(first_of(1)), Some(1));
    assert_eq!(given(Roll(first_of(26).0 - 1)), Some(1));
    assert_eq!(given(first_of(26)), None);
    assert_eq!(given(Roll(u64::MAX)), None);
}

#[test]
fn the_largest_table_stays_within_128_bits() {
    let total = WEIGHT_TOTAL_MAX - 1;
    let table = rules(&[1, total - 1], total, OnUnavailable::Spread);
    for gone in [without(&[]), without(&[0]), without(&[1])] {
        let last = usize::from(gone.is_available(1));
        assert_eq!(choose(&table, &gone, Roll(u64::MAX)), Some(last));
    }
}

#[test]
fn a_roll_keeps_its_bits_in_the_database_and_in_text() {
    for roll in [
        Roll(0),
        Roll(u64::MAX),
        Roll(1 << 63),
        Roll(0x0123_4567_89ab_cdef),
    ] {
        assert_eq!(Roll::from_bits_i64(roll.to_bits_i64()), roll);
        let json = serde_json::to_string(&roll).unwrap();
        assert_eq!(serde_json::from_str::<Roll>(&json).unwrap(), roll);
    }
    assert_eq!(Roll(0xabc).to_string(), "0000000000000abc");
    assert_eq!(Roll::parse("abc"), None);
    assert_eq!(Roll::parse("+000000000000abc"), None);
}

/// A small table, what is done about prizes that are gone, and which are.
fn tables() -> impl Strategy<Value = (Rules, Availability)> {
    let weights = prop::collection::vec(0..50_u64, 1..8);
    (
        weights,
        0..60_u64,
        0..3_u8,
        prop::collection::vec(any::<bool>(), 8),
        any::<prop::sample::Index>(),
    )
        .prop_filter("a table has a weight", |(weights, nothing, ..)| {
            weights.iter().sum::<u64>() + nothing > 0
        })
        .prop_map(|(weights, nothing, mode, gone, fallback)| {
            let fallback = fallback.index(weights.len());
            let on_unavailable = match mode {
                0 => OnUnavailable::NoWin,
                1 => OnUnavailable::Spread,
                _ => OnUnavailable::Fallback(fallback),
            };
            let total = weights.iter().sum::<u64>() + nothing;
            let gone: Vec<usize> = (0..weights.len())
                .filter(|index| gone[*index])
                .filter(|index| on_unavailable != OnUnavailable::Fallback(*index))
                .collect();
            (rules(&weights, total, on_unavailable), without(&gone))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_count_over_all_rolls_is_within_one_of_the_ideal((rules, gone) in tables()) {
        assert_counts_are_ideal(&rules, &gone);
    }

    #[test]
    fn what_is_gone_is_never_given((rules, gone) in tables(), roll: u64) {
        if let Some(index) = choose(&rules, &gone, Roll(roll)) {
            prop_assert!(gone.is_available(index));
            prop_assert!(index < rules.prizes.len());
        }
    }

    #[test]
    fn the_same_roll_gives_the_same_answer_again((rules, gone) in tables(), roll: u64) {
        let again = Availability::from_bytes(&gone.to_bytes().unwrap_or_default()).unwrap();
        let roll = Roll(roll);
        let replayed = Roll::from_bits_i64(roll.to_bits_i64());
        prop_assert_eq!(choose(&rules, &gone, roll), choose(&rules.clone(), &again, replayed));
    }

    /// Roll by roll, not only in number, while any prize is left.
    #[test]
    fn nothing_keeps_its_share_under_spread((rules, gone) in tables(), rolls: [u64; 32]) {
        let spread = Rules { on_unavailable: OnUnavailable::Spread, ..rules };
        let is_left = |(index, prize): (usize, &Prize)| gone.is_available(index) && prize.weight > 0;
        prop_assume!(spread.prizes.iter().enumerate().any(is_left));
        for roll in rolls.map(Roll) {
            let with_all = choose(&spread, &Availability::all(), roll);
            prop_assert_eq!(choose(&spread, &gone, roll).is_none(), with_all.is_none());
        }
    }

    #[test]
    fn with_every_prize_there_all_modes_give_the_same((rules, _) in tables(), roll: u64) {
        let all = Availability::all();
        let expected = choose(&rules, &all, Roll(roll));
        for on_unavailable in [OnUnavailable::NoWin, OnUnavailable::Spread] {
            let other = Rules { on_unavailable, ..rules.clone() };
            prop_assert_eq!(choose(&other, &all, Roll(roll)), expected);
        }
    }

    #[test]
    fn declared_and_effective_odds_add_up_to_the_whole((rules, gone) in tables()) {
        let shares = effective_odds(&rules, &gone);
        for odds in [|share: &Share| share.declared, |share: &Share| share.effective] {
            let sum = shares.iter().map(odds).fold(Odds::new(0, 1), add);
            prop_assert_eq!(sum, Odds::new(1, 1), "{:?}", &shares);
        }
    }
}

fn add(a: Odds, b: Odds) -> Odds {
    let numerator = a.numerator * b.denominator + b.numerator * a.denominator;
    Odds::new(numerator, a.denominator * b.denominator)
}
