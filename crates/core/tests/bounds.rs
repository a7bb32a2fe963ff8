//! Aim: the bounds that `core` keeps itself, each at its bound and one past it. What a
//! bound is comes from `limits`, so that a rule that no longer asks it is found.

use std::time::Duration;
use tombola_core::award::{Context, Event, Gate, MqState, Position, Row, Sight, State};
use tombola_core::award::{Step, Terms, step};
use tombola_core::campaign::file::from_json;
use tombola_core::campaign::{Kind, parse_toml};
use tombola_core::decision::Decision;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::message::Message;
use tombola_core::reason::{DeadReason, HoldReason, KeptReason};
use tombola_core::retry::{Jitter, Schedule};
use tombola_core::{AwardId, Timestamp, limits};

const MICRO: Duration = Duration::from_micros(1);
const NOW: Timestamp = Timestamp(1_771_000_000_000_000);

/// A campaign of one prize with those lines.
fn campaign(prize: &str) -> String {
    format!("[campaign]\nslug = \"fair\"\nname = \"Fair\"\n[[prize]]\n{prize}\n")
}

/// The same with the lines that every prize needs.
fn prize(lines: &str) -> String {
    campaign(&format!(
        "slug = \"a\"\nname = \"A\"\nodds = \"1%\"\n{lines}"
    ))
}

/// What is wrong with the file, each by its pointer.
fn problems(text: &str) -> Vec<String> {
    let found = parse_toml("fair.toml", text).err().unwrap_or_default();
    found.into_iter().map(|problem| problem.path).collect()
}

/// A file with so much of something has no problem, and one with one more has this.
fn assert_bound(max: u64, pointer: &str, file: impl Fn(u64) -> String) {
    assert_eq!(problems(&file(max)), Vec::<String>::new(), "{max}");
    assert_eq!(problems(&file(max + 1)), [pointer], "{max} and one");
}

fn text(bytes: u64) -> String {
    "x".repeat(usize::try_from(bytes).expect("what is bounded in memory fits"))
}

#[test]
fn campaign_file_of_as_many_bytes_as_its_bound_is_read() {
    let file = prize("kind = \"points\"\npoints = 1");
    assert_bound(limits::CAMPAIGN_FILE_BYTES_MAX as u64, "", |bytes| {
        let rest = usize::try_from(bytes).unwrap() - file.len();
        format!("{file}#{}", "x".repeat(rest - 1))
    });
    let json = parse_toml("fair.toml", &file).unwrap().to_json();
    let padded = |bytes: usize| json.clone() + &" ".repeat(bytes - json.len());
    assert!(from_json(&padded(limits::CAMPAIGN_FILE_BYTES_MAX)).is_ok());
    assert!(from_json(&padded(limits::CAMPAIGN_FILE_BYTES_MAX + 1)).is_err());
}

#[test]
fn problems_are_told_apart_up_to_their_bound_and_then_counted() {
    let found = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!("k{n} = 1\n")).collect();
        problems(&prize(&format!("kind = \"code\"\n{}", keys.concat()))).len()
    };
    let max = limits::CAMPAIGN_PROBLEMS_MAX;
    assert_eq!(
        [found(max), found(max + 1), found(2 * max)],
        [max, max + 1, max + 1]
    );
}

#[test]
fn slug_is_as_long_as_its_bound_and_no_longer() {
    let max = limits::SLUG_BYTES_MAX as u64;
    assert_bound(max, "/prize/0/slug", |bytes| {
        let slug = text(bytes);
        campaign(&format!(
            "slug = \"{slug}\"\nname = \"A\"\nodds = \"1%\"\nkind = \"code\""
        ))
    });
}

#[test]
fn name_of_a_prize_is_as_long_as_its_bound_and_no_longer() {
    let max = limits::AWARD_NAME_BYTES_MAX as u64;
    assert_bound(max, "/prize/0/name", |bytes| {
        let name = text(bytes);
        campaign(&format!(
            "slug = \"a\"\nname = \"{name}\"\nodds = \"1%\"\nkind = \"code\""
        ))
    });
}

#[test]
fn text_and_content_are_as_long_as_their_bound_and_no_longer() {
    let max = limits::AWARD_CONTENT_BYTES_MAX as u64;
    assert_bound(max, "/prize/0/text", |bytes| {
        prize(&format!("kind = \"text\"\ntext = \"{}\"", text(bytes)))
    });
    assert_bound(max, "/prize/0/content", |bytes| {
        let content = text(bytes);
        prize(&format!("kind = \"external\"\ncontent = \"{content}\""))
    });
}

#[test]
fn award_id_on_the_wire_is_as_long_as_its_bound_and_no_longer() {
    let max = limits::AWARD_ID_BYTES_MAX as u64;
    assert_bound(max, "/prize/0/award_id", |bytes| {
        prize(&format!("kind = \"code\"\naward_id = \"{}\"", text(bytes)))
    });
}

#[test]
fn name_of_a_code_file_is_as_long_as_its_bound_and_no_longer() {
    let max = limits::FILE_NAME_BYTES_MAX as u64;
    assert_bound(max, "/prize/0/codes", |bytes| {
        prize(&format!("kind = \"code\"\ncodes = \"{}\"", text(bytes)))
    });
}

#[test]
fn points_and_spans_go_up_to_their_bounds() {
    assert_bound(u64::from(limits::POINTS_MAX), "/prize/0/points", |points| {
        prize(&format!("kind = \"points\"\npoints = {points}"))
    });
    assert_bound(limits::SPAN_DAYS_MAX, "/prize/0/claim_within", |days| {
        prize(&format!("kind = \"physical\"\nclaim_within = \"{days}d\""))
    });
}

#[test]
fn weights_add_up_to_one_less_than_their_bound_and_counts_go_up_to_it() {
    // Two prizes, so that the bound is that of the sum.
    assert_bound(limits::WEIGHT_TOTAL_MAX - 1, "/prize/0/weight", |total| {
        campaign(&format!(
            "slug = \"a\"\nname = \"A\"\nkind = \"code\"\nweight = {}\n\
             [[prize]]\nslug = \"b\"\nname = \"B\"\nkind = \"code\"\nweight = 1",
            total - 1
        ))
    });
    assert_bound(limits::WEIGHT_TOTAL_MAX, "/prize/0/stock", |stock| {
        prize(&format!("kind = \"code\"\nstock = {stock}"))
    });
}

fn endpoint() -> EndpointSpec {
    EndpointSpec {
        name: "shop".to_owned(),
        url: "https://shop.example".to_owned(),
        secret: None,
        idempotent: true,
        conflict_means_delivered: false,
        timeout: "10s".to_owned(),
        concurrency: 1,
        rate: None,
        allow_private: false,
    }
}

/// The field of an endpoint that is not accepted.
fn refused(spec: &EndpointSpec) -> Option<&'static str> {
    let checked = spec.check(1, Vec::new(), true);
    checked.err().map(|problem| problem.field)
}

#[test]
fn endpoint_asks_for_no_more_than_its_bounds() {
    let named = |bytes: usize| EndpointSpec {
        name: "s".repeat(bytes),
        ..endpoint()
    };
    assert_eq!(refused(&named(limits::SLUG_BYTES_MAX)), None);
    assert_eq!(refused(&named(limits::SLUG_BYTES_MAX + 1)), Some("name"));
    let at_once = |concurrency| EndpointSpec {
        concurrency,
        ..endpoint()
    };
    let max = limits::ENDPOINT_CONCURRENCY_MAX;
    assert_eq!(refused(&at_once(max)), None);
    assert_eq!(refused(&at_once(max + 1)), Some("concurrency"));
    let paced = |calls: u32| EndpointSpec {
        rate: Some(format!("{calls}/s")),
        ..endpoint()
    };
    assert_eq!(refused(&paced(limits::ENDPOINT_RATE_MAX)), None);
    assert_eq!(refused(&paced(limits::ENDPOINT_RATE_MAX + 1)), Some("rate"));
}

#[test]
fn deadline_of_a_call_is_as_long_as_its_bound_and_no_longer() {
    let timed = |span: Duration| EndpointSpec {
        timeout: format!("{}ms", span.as_millis()),
        ..endpoint()
    };
    let longest = timed(limits::CALL_TIMEOUT_MAX).check(1, Vec::new(), true);
    assert_eq!(longest.unwrap().timeout, limits::CALL_TIMEOUT_MAX);
    let longer = timed(limits::CALL_TIMEOUT_MAX + Duration::from_millis(1));
    assert_eq!(refused(&longer), Some("timeout"));
}

#[test]
fn message_of_as_many_bytes_as_its_bound_is_read_and_a_larger_one_is_kept() {
    let message = Message {
        user: "u1".to_owned(),
        award: AwardId(42),
        prize: "fair/a".to_owned(),
        award_type: 1,
        name: "A".to_owned(),
        content: None,
        schema: 1,
        message_id: "42-abcdefghijkl".to_owned(),
        campaign: "fair".to_owned(),
        drawn_at: NOW,
    };
    // Spaces after a JSON value belong to it.
    let padded = |bytes: usize| {
        let mut value = message.encode();
        value.resize(bytes, b' ');
        Message::decode(Some(&value))
    };
    assert_eq!(padded(limits::MESSAGE_BYTES_MAX), Ok(message.clone()));
    assert_eq!(
        padded(limits::MESSAGE_BYTES_MAX + 1),
        Err(KeptReason::Undecodable)
    );
}

/// An award of an endpoint, in the worker's hand for the first time.
fn delivering() -> Row {
    Row {
        award: AwardId(42),
        kind: Kind::Webhook,
        lane: 1,
        state: State::Delivering,
        lease: 2,
        due_at: Some(NOW.plus(limits::LEASE_TIME)),
        attempts: 1,
        publishes: 0,
        in_doubt: false,
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        deferred_since: None,
        mq_state: MqState::Sent,
        position: None,
    }
}

fn pending(due_at: Timestamp) -> Row {
    Row {
        state: State::Pending,
        due_at: Some(due_at),
        ..delivering()
    }
}

fn step_at(row: &Row, event: &Event, now: Timestamp) -> Step {
    let at = Context {
        now,
        schedule: &Schedule::default(),
        terms: &Terms::default(),
    };
    step(row, event, at)
}

/// The row that became of it.
fn row_after(row: &Row, event: &Event, now: Timestamp) -> Row {
    match step_at(row, event, now) {
        Step::Changed(change) => change.row,
        other @ (Step::Late | Step::Same | Step::Refused(_)) => panic!("{other:?}"),
    }
}

fn decide(decision: Decision) -> Event {
    Event::Decide {
        lease: 2,
        decision,
        lane_at: NOW,
        has_hold_ended: false,
        jitter: Jitter::NONE,
    }
}

#[test]
fn claim_holds_for_the_lease_time_and_not_a_moment_less() {
    let position = Position {
        epoch: 1,
        partition: 0,
        offset: 9,
    };
    let gate = Gate::Permit;
    let claimed = row_after(&pending(NOW), &Event::Copy { position, gate }, NOW);
    let ends = NOW.plus(limits::LEASE_TIME);
    assert_eq!(
        (claimed.state, claimed.due_at),
        (State::Delivering, Some(ends))
    );
    let sight = Sight::default();
    let rescue = Event::Rescue { sight };
    assert_eq!(step_at(&claimed, &rescue, ends.minus(MICRO)), Step::Same);
    assert_ne!(step_at(&claimed, &rescue, ends), Step::Same);
}

#[test]
fn attempt_before_the_last_is_tried_again_and_the_last_one_is_a_dead_letter() {
    let retry = decide(Decision::Retry { after: None });
    let fail = Event::Fail {
        lease: 2,
        jitter: Jitter::NONE,
    };
    let of = |row: &Row| (row.state, row.dead_reason);
    let again = (State::Retryable, None);
    for (attempts, is_last) in [
        (limits::ATTEMPTS_MAX - 1, false),
        (limits::ATTEMPTS_MAX, true),
    ] {
        let called = Row {
            attempts,
            ..delivering()
        };
        let dead = (State::Dead, Some(DeadReason::Exhausted));
        let expected = if is_last { dead } else { again };
        assert_eq!(of(&row_after(&called, &retry, NOW)), expected, "{attempts}");
        // A failure of its own transaction is an attempt that nobody claimed.
        let failing = Row {
            attempts: attempts - 1,
            ..pending(NOW)
        };
        let dead = (State::Dead, Some(DeadReason::Poison));
        let expected = if is_last { dead } else { again };
        assert_eq!(of(&row_after(&failing, &fail, NOW)), expected, "{attempts}");
    }
}

#[test]
fn fault_of_an_endpoint_is_waited_out_up_to_its_bound() {
    let faulty = Row {
        deferred_since: Some(NOW),
        ..delivering()
    };
    let defer = decide(Decision::Defer);
    let over = NOW.plus(limits::DEFER_MAX);
    let waits = row_after(&faulty, &defer, over.minus(MICRO));
    assert_eq!(waits.state, State::Retryable);
    let dead = row_after(&faulty, &defer, over);
    assert_eq!(dead.dead_reason, Some(DeadReason::EndpointFault));
}

#[test]
fn row_that_only_waits_is_published_again_when_it_has_waited_for_its_bound() {
    let sight = Sight {
        is_lagging: true,
        ..Sight::default()
    };
    let rescue = Event::Rescue { sight };
    let over = NOW.plus(limits::REDELIVERY_MAX);
    assert_eq!(
        step_at(&pending(NOW), &rescue, over.minus(MICRO)),
        Step::Same
    );
    assert_eq!(row_after(&pending(NOW), &rescue, over).publishes, 1);
}

#[test]
fn hold_without_a_date_is_looked_at_again_after_its_review_each_time() {
    let held = row_after(&pending(NOW), &Event::Hold, NOW);
    let review = NOW.plus(limits::HOLD_REVIEW);
    assert_eq!(
        (held.hold_reason, held.due_at),
        (Some(HoldReason::Manual), Some(review))
    );
    let sight = Sight::default();
    let rescue = Event::Rescue { sight };
    assert_eq!(step_at(&held, &rescue, review.minus(MICRO)), Step::Same);
    let Step::Changed(told) = step_at(&held, &rescue, review) else {
        panic!("nobody is told of a hold past its date");
    };
    let next = review.plus(limits::HOLD_REVIEW);
    assert!(told.alert && told.row.due_at == Some(next), "{told:?}");
}
