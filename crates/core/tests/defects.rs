//! Aim: defects that the systems before us had and that no other test here would
//! show. `docs/defects.md` lists all of them, each with its test.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::award::{Context, Event, Row, Sight, State, Step, Terms, first_row, step};
use tombola_core::campaign::odds::{Availability, Roll, choose};
use tombola_core::campaign::{CampaignState, Rules, parse_toml};
use tombola_core::draw::{BatchState, Decided, DrawRequest, NewDraw, PrizeCount, Ticket, decide};
use tombola_core::message::Message;
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, DrawId, Timestamp, ids, limits};

const MICRO: Duration = Duration::from_micros(1);

/// A campaign of text prizes with these odds or weights, as a file would say it.
fn campaign(chances: &[&str]) -> Rules {
    let prize = |(index, chance): (usize, &&str)| {
        format!(
            "[[prize]]\nslug = \"p{index}\"\nname = \"It\"\nkind = \"text\"\ntext = \"hello\"\n{chance}\n"
        )
    };
    let prizes: Vec<String> = chances.iter().enumerate().map(prize).collect();
    let heading = "[campaign]\nslug = \"fair\"\nname = \"Fair\"\n";
    rules(&(heading.to_owned() + &prizes.concat()))
}

fn rules(text: &str) -> Rules {
    let file = parse_toml("fair.toml", text).unwrap_or_else(|problems| panic!("{problems:?}"));
    file.check()
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn rescue(row: &Row, now: Timestamp) -> Step {
    let at = Context {
        now,
        schedule: &Schedule::default(),
        terms: &Terms::default(),
    };
    let sight = Sight::default();
    step(row, &Event::Rescue { sight }, at)
}

/// Datetimes subtracted as numbers made "30 minutes" 36 hours at noon, and one
/// minute at the end of a month.
#[test]
fn grace_is_as_long_at_the_end_of_a_month_as_at_any_other_time() {
    let rules = campaign(&["odds = \"100%\""]);
    let schedule = Schedule::default();
    for drawn_at in [
        "2026-03-10T12:00:00Z",
        "2026-03-10T00:00:00Z",
        "2026-03-10T12:34:59.999999Z",
        "2026-03-10T23:50:00Z",
        "2026-01-31T23:59:59Z",
        "2026-02-28T23:59:58Z",
        "2028-02-29T23:59:58Z",
        "2026-03-29T00:59:59Z", // summer time begins in Europe
        "2026-12-31T23:59:59Z",
    ] {
        let now = Timestamp::parse(drawn_at).unwrap();
        let mut row = first_row(AwardId(1), &rules.prizes[0], 0, now, &schedule, true);
        let mut from = now;
        for publishes in 0..8 {
            let due = from.plus(schedule.grace(publishes));
            assert_eq!(row.due_at, Some(due), "{drawn_at}");
            assert_eq!(rescue(&row, due.minus(MICRO)), Step::Same, "{drawn_at}");
            let Step::Changed(change) = rescue(&row, due) else {
                panic!("{drawn_at}: nothing is published when the grace ends");
            };
            assert!(change.publish && change.row.state == State::Pending);
            (row, from) = (change.row, due);
        }
    }
}

/// Asserts that the prizes' ranges of rolls lie end to end, each exactly as long
/// as its weight of `total` says, to the roll.
fn assert_ranges(rules: &Rules, weights: &[u64], total: u64) {
    let first_of = |before: u64| (u128::from(before) << 64).div_ceil(u128::from(total));
    let given = |roll: u128| {
        let roll = Roll(u64::try_from(roll).expect("a range ends within 64 bits"));
        choose(rules, &Availability::all(), roll)
    };
    let mut before = 0;
    for (index, weight) in weights.iter().enumerate() {
        assert_eq!(given(first_of(before)), Some(index), "first of {index}");
        before += weight;
        assert_eq!(given(first_of(before) - 1), Some(index), "last of {index}");
    }
    let after = (before < total).then(|| given(first_of(before)));
    assert_eq!(after.flatten(), None, "what is left is nothing");
}

/// Rounded up to slots of a percent, the 18th and 19th of them could not be won.
#[test]
fn each_of_nineteen_equal_prizes_has_one_nineteenth_of_all_rolls() {
    assert_ranges(&campaign(&["weight = 1"; 19]), &[1; 19], 19);
}

#[test]
fn six_prizes_of_15_percent_leave_the_seventh_its_10() {
    let mut odds = ["odds = \"15%\""; 7];
    odds[6] = "odds = \"10%\"";
    assert_ranges(&campaign(&odds), &[15, 15, 15, 15, 15, 15, 10], 100);
}

/// Odds kept as a float's text made 0.0001 one in ten: "1.0E-4" has one decimal.
#[test]
fn odds_below_a_thousandth_are_exact() {
    let rare = campaign(&[
        "odds = \"0.01%\"",
        "odds = \"0.0000001%\"",
        "odds = \"50%\"",
    ]);
    assert_ranges(&rare, &[100_000, 1, 500_000_000], 1_000_000_000);
}

/// The longest user, name, content and slugs that a file and a request may bring,
/// in letters that JSON writes longest.
#[test]
fn longest_message_is_within_the_wire_and_comes_back_whole() {
    let long = |letter: &str, bytes: usize| letter.repeat(bytes / letter.len());
    let slug = long("p", 40);
    let mut rules = campaign(&["odds = \"100%\""]);
    rules.slug = slug.clone();
    rules.prizes[0].slug = slug;
    for letter in ["\"", "\u{1}", "抽", "🎁"] {
        rules.prizes[0].name = long(letter, limits::AWARD_NAME_BYTES_MAX);
        let user = long(letter, limits::USER_BYTES_MAX);
        let award = AwardId(ids::ID_MAX);
        let mut message = Message::new(&rules, &rules.prizes[0], award, &user, "m", Timestamp(0));
        message.content = Some(long(letter, limits::AWARD_CONTENT_BYTES_MAX));
        let value = message.encode();
        assert!(value.len() <= limits::MESSAGE_BYTES_MAX, "{}", value.len());
        assert_eq!(Message::decode(Some(&value)), Ok(message), "{letter:?}");
    }
}

/// Two draws at one instant, of one user, with equal random tails.
fn twins() -> Vec<NewDraw> {
    let rules = campaign(&["odds = \"100%\""]);
    let ticket = |id| Ticket {
        id: DrawId(id),
        roll: Roll(0),
        message_tail: 7,
        delivery_tail: 7,
    };
    let request = DrawRequest {
        client: "shop".into(),
        user: "u1".into(),
        key: "key-00000001".into(),
        fingerprint: [0; 16],
        tickets: vec![ticket(1), ticket(2)],
        traceparent: None,
        claim_key_version: 1,
    };
    let now = Timestamp(1_771_000_000_000_000);
    let state = BatchState {
        day: now.civil_day(&rules.zone),
        prizes: vec![PrizeCount::default()],
        rules: Arc::new(rules),
        version: 1,
        state: CampaignState::Started,
        now,
        draws: 0,
        allowances: HashMap::new(),
        wins: HashMap::new(),
        blocked: HashSet::new(),
    };
    let decision = decide(state, &[request], &Schedule::default(), true);
    let drawn = decision.answers.into_iter().next();
    match drawn.expect("each request has its answer") {
        Decided::Drawn(draws) => draws,
        Decided::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Ids of 11 and 12 random digits met after some ten thousand draws, and the draw
/// that met another's failed.
#[test]
fn message_ids_and_delivery_keys_differ_even_where_their_random_tails_meet() {
    let draws = twins();
    assert_ne!(draws[0].message_id(), draws[1].message_id());
    assert_ne!(draws[0].delivery_key(), draws[1].delivery_key());
}
