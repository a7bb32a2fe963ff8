//! Aim: every file of `examples/` is valid, has the odds it says, and the demo's
//! campaign shows all it promises under any seed: what could fail by chance fails
//! with a probability below 10^-9, computed here from exact binomial tails.

#![expect(clippy::cast_precision_loss, reason = "probabilities, to a few digits")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use tombola_core::campaign::odds::{Availability, Odds, effective_odds};
use tombola_core::campaign::{CampaignFile, Kind, KindSpec, Prize, Rules, parse_toml};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::signing::SigningSecret;

const NEVER: f64 = 1e-9;

/// Draws that the demo asks for.
const ASKED: u64 = 10_000;
/// Users of the demo. A tenth of its draws is by the first five, who are eager; the
/// others are by any user alike (`demo/plan.rs` in the server).
const USERS: u64 = 500;
const EAGER: u64 = 5;
const EAGER_PART: f64 = 0.1;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("the example is there")
}

fn file(name: &str) -> CampaignFile {
    parse_toml(name, &read(name)).unwrap_or_else(|problems| {
        panic!(
            "{}",
            problems
                .iter()
                .map(|p| p.display_in(name))
                .collect::<Vec<_>>()
                .join("\n")
        )
    })
}

fn rules(name: &str) -> Rules {
    file(name).check().expect("it was valid when it was read")
}

/// Natural logarithm of P(X = k) for X ~ Bin(n, p), for k = 0, 1, 2, …
fn ln_binomial(n: u64, p: f64) -> impl Iterator<Item = f64> {
    let mut ln = n as f64 * (-p).ln_1p();
    (0..=n).map(move |k| {
        let this = ln;
        ln += ((n - k) as f64 / (k + 1) as f64).ln() + p.ln() - (-p).ln_1p();
        this
    })
}

/// P(X < k) for X ~ Bin(n, p).
fn fewer_than(k: u64, n: u64, p: f64) -> f64 {
    ln_binomial(n, p)
        .take(usize::try_from(k).expect("a small count"))
        .map(f64::exp)
        .sum()
}

fn odds_of(rules: &Rules, wanted: impl Fn(&str, Kind) -> bool) -> f64 {
    let prizes = rules
        .prizes
        .iter()
        .filter(|prize| wanted(&prize.slug, prize.kind()));
    prizes.map(|prize| prize.weight).sum::<u64>() as f64 / rules.total as f64
}

#[test]
fn binomial_tails_agree_with_sums_done_by_hand() {
    assert!((fewer_than(2, 3, 0.5) - 0.5).abs() < 1e-12);
    assert!((fewer_than(1, 10, 0.1) - 0.9_f64.powi(10)).abs() < 1e-12);
    assert!((fewer_than(11, 10, 0.3) - 1.0).abs() < 1e-12);
}

#[test]
fn every_example_is_valid_and_survives_its_export() {
    let mut count = 0;
    for entry in std::fs::read_dir(path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.contains(".toml") || name == "endpoints.toml" {
            continue;
        }
        let file = file(&name);
        assert_eq!(format!("{}.toml", file.campaign.slug), name);
        assert_eq!(parse_toml(&name, &file.to_toml()).unwrap(), file, "{name}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn the_example_endpoint_is_valid_and_is_the_one_the_campaign_names() {
    #[derive(serde::Deserialize)]
    struct Endpoints {
        endpoint: Vec<EndpointSpec>,
    }
    let endpoints: Endpoints = toml::from_str(&read("endpoints.toml")).unwrap();
    let names: Vec<&str> = endpoints
        .endpoint
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    for endpoint in &endpoints.endpoint {
        endpoint
            .check(1, vec![SigningSecret::newest("whsec_eHh4")], true)
            .unwrap();
    }
    for prize in rules("spring-festival.toml").prizes {
        if let KindSpec::Webhook { endpoint, .. } = &prize.spec {
            assert!(names.contains(&endpoint.as_str()));
        }
    }
}

#[test]
fn powerball_is_won_once_in_24_87_draws() {
    let rules = rules("powerball.toml");
    assert_eq!(rules.total, 292_201_338);
    let winning = rules.total - rules.nothing_weight();
    assert_eq!(winning, 11_750_538);
    let one_in = rules.total as f64 / winning as f64;
    assert_eq!(format!("{one_in:.2}"), "24.87");
    // C(69,5) × 26, and the matches of each class: C(5,k) × C(64,5-k) × (1 or 25).
    let choose = |n: u64, k: u64| (0..k).fold(1, |ways, i| ways * (n - i) / (i + 1));
    assert_eq!(rules.total, choose(69, 5) * 26);
    let class = |white: u64, other: u64| choose(5, white) * choose(64, 5 - white) * other;
    let classes = [
        (5, 1),
        (5, 25),
        (4, 1),
        (4, 25),
        (3, 1),
        (3, 25),
        (2, 1),
        (1, 1),
        (0, 1),
    ];
    let weights: Vec<u64> = rules.prizes.iter().map(|prize| prize.weight).collect();
    assert_eq!(weights, classes.map(|(white, other)| class(white, other)));
}

#[test]
fn the_chapter_files_differ_only_in_what_becomes_of_a_prize_that_is_gone() {
    let shown = |name: &str, gone: &Availability| -> Vec<String> {
        effective_odds(&rules(name), gone)
            .iter()
            .map(|it| it.effective.to_string())
            .collect()
    };
    let (single, overall) = ("chapter-single-rate.toml", "chapter-overall-rate.toml");
    let all = Availability::all();
    assert_eq!(
        shown(single, &all),
        ["5%", "15%", "20%", "25%", "35%", "0%"]
    );
    assert_eq!(shown(single, &all), shown(overall, &all));
    let gone = all.without(0);
    assert_eq!(
        shown(single, &gone),
        ["0%", "15%", "20%", "25%", "35%", "5%"]
    );
    assert_eq!(
        shown(overall, &gone),
        [
            "0%",
            "15.7894737%",
            "21.0526316%",
            "26.3157895%",
            "36.8421053%",
            "0%"
        ]
    );
}

#[test]
fn every_draw_of_the_game_banner_wins() {
    let rules = rules("game-banner.toml");
    let shares = effective_odds(&rules, &Availability::all());
    assert_eq!(rules.nothing_weight(), 0);
    assert_eq!(shares[0].declared, Odds::new(6, 1000));
    assert_eq!(shares[1].declared, Odds::new(51, 1000));
}

#[test]
fn the_festival_has_a_code_for_each_voucher_and_each_code_once() {
    let rules = rules("spring-festival.toml");
    for prize in &rules.prizes {
        let KindSpec::Code { codes: Some(name) } = &prize.spec else {
            continue;
        };
        let text = read(name);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("code"));
        let codes: Vec<&str> = lines.collect();
        assert!(codes.len() as u64 >= prize.stock.unwrap());
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
    }
}

#[test]
fn the_festival_has_no_dates_all_kinds_and_a_fallback_that_cannot_run_out() {
    let rules = rules("spring-festival.toml");
    assert_eq!((rules.starts_at, rules.ends_at), (None, None));
    let kinds: BTreeSet<Kind> = rules.prizes.iter().map(Prize::kind).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), Kind::ALL);
    assert!(rules.limits.per_user_total.is_none_or(|limit| limit >= 60));
    assert!(
        rules
            .limits
            .per_user_per_day
            .is_none_or(|limit| limit >= 60)
    );
}

/// The draws that the festival answers of those that the demo asks: as many as
/// `campaign_total` allows, whatever the limit per user refuses.
fn answered(rules: &Rules) -> u64 {
    rules
        .limits
        .campaign_total
        .expect("the festival has a total")
}

#[test]
fn each_limit_of_the_festival_refuses_somebody() {
    let rules = rules("spring-festival.toml");
    let limits = rules.limits;
    let per_day = limits.per_user_per_day.unwrap();
    assert_eq!(
        limits.per_user_total, None,
        "on one day nobody could meet it"
    );
    let of_anybody = (1.0 - EAGER_PART) / USERS as f64;
    let of_eager = EAGER_PART / EAGER as f64 + of_anybody;
    let others = USERS - EAGER;
    // Even if the run crosses midnight and has two days, at least one of the five
    // asks more than both allow.
    let nobody_refused = fewer_than(2 * per_day + 1, ASKED, of_eager).powi(5);
    assert!(nobody_refused < NEVER, "{nobody_refused:e}");
    // Of what the eager ask no more than 60 each is counted here, and none of the
    // others is refused: together they ask for more than the campaign gives.
    let enough = answered(&rules) + 1 - EAGER * per_day;
    let total_unreached = fewer_than(enough, ASKED, of_anybody * others as f64);
    assert!(total_unreached < NEVER, "{total_unreached:e}");
    let refused: f64 = ln_binomial(ASKED, of_anybody).skip(61).map(f64::exp).sum();
    assert!(refused * (others as f64) < NEVER, "{refused:e}");
}

#[test]
fn each_kind_is_won_at_least_20_times_in_the_festival() {
    let rules = rules("spring-festival.toml");
    for kind in Kind::ALL {
        // Of the prizes with a bound per user none is counted; a stock or a daily
        // cap of 20 or more does not keep a kind below 20.
        let is_counted = |slug: &str, of: Kind| {
            let (_, prize) = rules.prize(slug).unwrap();
            let bounds = [prize.stock, prize.daily_cap];
            let is_large = bounds.iter().flatten().all(|bound| *bound >= 20);
            of == kind && is_large && prize.per_user_wins.is_none()
        };
        let too_few = fewer_than(20, answered(&rules), odds_of(&rules, is_counted));
        assert!(too_few < NEVER, "{kind}: {too_few:e}");
    }
}

#[test]
fn exactly_two_prizes_of_the_festival_run_out() {
    let rules = rules("spring-festival.toml");
    let finite: Vec<_> = rules
        .prizes
        .iter()
        .filter(|prize| prize.stock.is_some())
        .collect();
    assert_eq!(finite.len(), 2);
    for prize in finite {
        assert!(prize.daily_cap.is_none() && prize.per_user_wins.is_none());
        let odds = odds_of(&rules, |slug, _| slug == prize.slug);
        let left = fewer_than(prize.stock.unwrap() + 1, answered(&rules), odds);
        assert!(left < NEVER, "{}: {left:e}", prize.slug);
    }
}

/// Reached means that at least one roll more falls on the prize than may be given.
#[test]
fn each_cap_of_the_festival_is_reached() {
    let rules = rules("spring-festival.toml");
    for prize in &rules.prizes {
        let odds = odds_of(&rules, |slug, _| slug == prize.slug);
        if let Some(cap) = prize.daily_cap {
            // If the run crosses midnight, one of its days has half of the draws.
            let unreached = fewer_than(cap + 1, answered(&rules) / 2, odds);
            assert!(unreached < NEVER, "{}: {unreached:e}", prize.slug);
        }
        if let Some(cap) = prize.per_user_wins {
            // No user has two of 150 rolls: the birthday problem, in which users
            // who draw unequally often only make a coincidence more likely.
            assert_eq!(cap, 1);
            let alone: f64 = (0..150)
                .map(|i| 1.0 - f64::from(i) / USERS as f64)
                .product();
            let unreached = fewer_than(150, answered(&rules), odds) + alone;
            assert!(unreached < NEVER, "{}: {unreached:e}", prize.slug);
        }
    }
}
