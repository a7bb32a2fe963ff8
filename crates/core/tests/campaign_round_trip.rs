//! Aim: a campaign survives every way it is written (file, API, storage, export)
//! and stands for the same rules afterwards.

use proptest::prelude::*;
use proptest::sample::select;
use tombola_core::campaign::file::{
    CampaignSection, LimitsSection, OddsSection, PrizeSection, from_json,
};
use tombola_core::campaign::{CampaignFile, Kind, Rules, parse_toml};

/// `Rules` hold a time zone, so they are compared by what they show.
fn rules_of(file: &CampaignFile) -> String {
    let rules: Result<Rules, _> = file.check();
    format!("{:#?}", rules.expect("the strategy makes valid files only"))
}

fn slug() -> impl Strategy<Value = String> {
    "[a-z0-9-]{1,40}"
}

/// One line of anything a person may type.
fn line() -> impl Strategy<Value = String> {
    "[^\\p{C}\\p{Z}][^\\p{C}]{0,40}"
}

/// Several lines, with quotes, tabs and control characters, but without NUL.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[^\\x00]{1,60}", "[\"'\\\\\r\n\t#= ]{1,12}"]
}

fn count() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(1..=1_i64 << 40)
}

fn duration() -> impl Strategy<Value = Option<String>> {
    prop::option::of(
        (1..=400_u32, select(vec!["d", "h", "m", "s"])).prop_map(|(n, u)| format!("{n}{u}")),
    )
}

fn local_time() -> impl Strategy<Value = String> {
    (2000..2100_u32, 1..=12_u32, 1..=28_u32, 0..24_u32, 0..60_u32).prop_map(
        |(year, month, day, hour, minute)| {
            format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:00")
        },
    )
}

fn release() -> impl Strategy<Value = Option<String>> {
    let instant = local_time().prop_map(|local| format!("{local}+08:00"));
    let words = select(vec!["immediate".to_owned(), "manual".to_owned()]);
    prop::option::of(prop_oneof![words, instant, local_time()])
}

fn of_kind(kind: Kind) -> BoxedStrategy<PrizeSection> {
    let base = PrizeSection {
        kind: kind.name().to_owned(),
        ..PrizeSection::default()
    };
    match kind {
        Kind::Text => text()
            .prop_map(move |text| PrizeSection {
                text: Some(text),
                ..base.clone()
            })
            .boxed(),
        Kind::Code => prop::option::of("[a-z]{1,20}\\.csv")
            .prop_map(move |codes| PrizeSection {
                codes,
                ..base.clone()
            })
            .boxed(),
        Kind::Points => (1..=1_000_000_000_i64)
            .prop_map(move |points| PrizeSection {
                points: Some(points),
                ..base.clone()
            })
            .boxed(),
        Kind::Webhook => (slug(), prop::option::of(text()))
            .prop_map(move |(endpoint, content)| PrizeSection {
                endpoint: Some(endpoint),
                content,
                ..base.clone()
            })
            .boxed(),
        Kind::Physical => (duration(), duration())
            .prop_map(move |(claim_within, ship_within)| PrizeSection {
                claim_within,
                ship_within,
                ..base.clone()
            })
            .boxed(),
        Kind::External => (duration(), prop::option::of(text()))
            .prop_map(move |(confirm_within, content)| PrizeSection {
                confirm_within,
                content,
                ..base.clone()
            })
            .boxed(),
    }
}

fn prize() -> impl Strategy<Value = PrizeSection> {
    let bounds = (prop::option::of(0..=1_i64 << 40), count(), count());
    let wire = (
        prop::option::of("[!-~]{1,64}"),
        prop::option::of(1..=i64::from(i32::MAX)),
    );
    let kind = select(Kind::ALL.to_vec()).prop_flat_map(of_kind);
    (
        line(),
        kind,
        bounds,
        release(),
        prop::option::of(any::<bool>()),
        wire,
    )
        .prop_map(
            |(name, of_kind, (stock, daily_cap, per_user_wins), release, return_stock, wire)| {
                let (award_id, award_type) = wire;
                PrizeSection {
                    name,
                    stock,
                    daily_cap,
                    per_user_wins,
                    release,
                    return_stock,
                    award_id,
                    award_type,
                    ..of_kind
                }
            },
        )
}

/// Gives each prize its slug and its share: in percent, or as a weight.
fn with_shares(
    mut prizes: Vec<PrizeSection>,
    shares: &[u64],
    by_weight: bool,
) -> Vec<PrizeSection> {
    for (index, (prize, share)) in prizes.iter_mut().zip(shares).enumerate() {
        prize.slug = format!("prize-{index}");
        if by_weight {
            prize.weight = Some(i64::try_from(*share).expect("a small share"));
        } else {
            prize.odds = Some(tombola_core::campaign::odds::show_odds(
                *share,
                1_000_000_000,
            ));
        }
    }
    prizes
}

fn campaign() -> impl Strategy<Value = CampaignSection> {
    let zone = prop::option::of(select(vec!["UTC".to_owned(), "Asia/Shanghai".to_owned()]));
    let period = (
        prop::option::of(local_time()),
        prop::option::of(local_time()),
    );
    (slug(), line(), zone, period).prop_map(|(slug, name, time_zone, (starts_at, ends_at))| {
        // Local times of one form sort as text.
        let ends_at = ends_at.filter(|end| starts_at.as_ref().is_none_or(|start| start < end));
        CampaignSection {
            slug,
            name,
            time_zone,
            starts_at,
            ends_at,
        }
    })
}

fn limits() -> impl Strategy<Value = LimitsSection> {
    (count(), count(), count()).prop_map(|(per_user_total, per_user_per_day, campaign_total)| {
        LimitsSection {
            per_user_total,
            per_user_per_day,
            campaign_total,
        }
    })
}

fn files() -> impl Strategy<Value = CampaignFile> {
    let prizes = prop::collection::vec(prize(), 1..6);
    let shares = prop::collection::vec(1..=150_000_000_u64, 6);
    let mode = select(vec![None, Some("no_win"), Some("spread"), Some("fallback")]);
    (
        campaign(),
        limits(),
        prizes,
        shares,
        mode,
        any::<bool>(),
        prop::option::of(0..1000_i64),
    )
        .prop_map(
            |(campaign, limits, prizes, shares, mode, by_weight, nothing)| {
                let mut prize = with_shares(prizes, &shares, by_weight);
                let mut odds = OddsSection {
                    on_unavailable: mode.map(str::to_owned),
                    fallback: None,
                    nothing_weight: nothing.filter(|_| by_weight),
                };
                if mode == Some("fallback") {
                    odds.fallback = Some(prize[0].slug.clone());
                    (prize[0].stock, prize[0].daily_cap, prize[0].per_user_wins) =
                        (None, None, None);
                }
                CampaignFile {
                    campaign,
                    limits,
                    odds,
                    prize,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_valid_file_survives_toml_json_toml_and_means_the_same(file in files()) {
        let toml = file.to_toml();
        let from_toml = parse_toml("campaign.toml", &toml).expect("an export is valid");
        prop_assert_eq!(&from_toml, &file);
        let from_json = from_json(&from_toml.to_json()).expect("canonical JSON is valid");
        prop_assert_eq!(&from_json, &file);
        prop_assert_eq!(from_json.to_toml(), toml);
        prop_assert_eq!(rules_of(&from_json), rules_of(&file));
    }

    /// What the shape says is checked is what serde reads, so storage may use either.
    #[test]
    fn serde_reads_what_was_written(file in files()) {
        prop_assert_eq!(&serde_json::from_str::<CampaignFile>(&file.to_json()).unwrap(), &file);
        prop_assert_eq!(&toml::from_str::<CampaignFile>(&file.to_toml()).unwrap(), &file);
    }

    #[test]
    fn no_text_makes_reading_panic(text in "(\\PC|[\\[\\]={}\".\n]|prize|odds|campaign){0,60}") {
        let _problems = parse_toml("any", &text).err();
        let _problems = from_json(&text).err();
    }
}

#[test]
fn a_time_that_toml_knows_by_itself_is_the_same_as_its_text() {
    let read = |time: &str| {
        let text = format!(
            "[campaign]\nslug = \"a\"\nname = \"A\"\nstarts_at = {time}\n\n\
             [[prize]]\nslug = \"p\"\nname = \"P\"\nkind = \"points\"\npoints = 1_000\nodds = \"1%\"\n"
        );
        rules_of(&parse_toml("a.toml", &text).unwrap())
    };
    assert_eq!(read("2026-02-10T08:00:00"), read("\"2026-02-10T08:00:00\""));
    assert_eq!(read("2026-02-10 08:00:00"), read("\"2026-02-10T08:00\""));
}

#[test]
fn what_is_absent_takes_the_default_of_the_contract() {
    let text = "[campaign]\nslug = \"a\"\nname = \"A\"\n\n\
        [[prize]]\nslug = \"p\"\nname = \"P\"\nkind = \"physical\"\nodds = \"1%\"\n\n\
        [[prize]]\nslug = \"e\"\nname = \"E\"\nkind = \"external\"\nodds = \"1%\"\n";
    let shown = rules_of(&parse_toml("a.toml", text).unwrap());
    for default in [
        "on_unavailable: NoWin",
        "claim_within: 1209600s",
        "ship_within: 2592000s",
        "confirm_within: 604800s",
        "release: Immediate",
        "return_stock: false",
        "total: 1000000000",
        "stock: None",
        "per_user_total: None",
        "starts_at: None",
    ] {
        assert!(shown.contains(default), "{default} is not in {shown}");
    }
}

#[test]
fn sections_that_say_nothing_are_not_written() {
    let file = CampaignFile {
        campaign: CampaignSection {
            slug: "a".into(),
            name: "A".into(),
            ..Default::default()
        },
        prize: vec![PrizeSection {
            slug: "p".into(),
            name: "P".into(),
            kind: "code".into(),
            odds: Some("1%".into()),
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(
        file.to_json(),
        r#"{"campaign":{"slug":"a","name":"A"},"prize":[{"slug":"p","name":"P","kind":"code","odds":"1%"}]}"#
    );
    assert_eq!(
        file.to_toml(),
        "[campaign]\nslug = \"a\"\nname = \"A\"\n\n[[prize]]\nslug = \"p\"\nname = \"P\"\nkind = \"code\"\nodds = \"1%\"\n"
    );
}
