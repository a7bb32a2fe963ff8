//! Death while a graceful stop gives a claim back whose call has not begun.

use crate::REQUESTS;
use crate::house::House;
use crate::lives::{Book, die_at, live_on};
use serde_json::Value;

/// Aim: nobody knows of a claim that was not given back whether its call was made; it
/// is doubted, counted, and paid once.
#[tokio::test]
async fn claim_is_doubted_and_its_ride_paid_once_when_the_stop_died_before_giving_it_back() {
    let (mut house, mut book) = (House::new().await, Book::new());
    die_at(&mut house, &mut book, "before_give_back:1", REQUESTS).await;
    let calls = house.rides.calls();
    let mut claimed = house.rows().claimed();
    claimed.retain(|award| !calls.contains_key(award));
    let [award] = claimed[..] else {
        panic!("one call at a time, so one claim before its call: {claimed:?}");
    };
    let facts = facts(&live_on(&mut house, &mut book).await, award);
    assert_eq!(
        (facts["attempts"].as_u64(), &facts["in_doubt"]),
        (Some(2), &Value::Bool(true))
    );
    assert_eq!(house.rides.calls()[&award].len(), 1);
}

/// Aim: a claim that was given back is no attempt and leaves no doubt.
#[tokio::test]
async fn claim_counts_for_nothing_when_the_stop_died_after_giving_it_back() {
    let (mut house, mut book) = (House::new().await, Book::new());
    die_at(&mut house, &mut book, "after_give_back:1", REQUESTS).await;
    let given_back = house.rows().given_back();
    let [award] = given_back[..] else {
        panic!("one call at a time, so one claim given back: {given_back:?}");
    };
    assert!(!house.rides.calls().contains_key(&award));
    assert!(house.rows().pending().contains(&award));
    let facts = facts(&live_on(&mut house, &mut book).await, award);
    assert_eq!(
        (facts["attempts"].as_u64(), &facts["in_doubt"]),
        (Some(1), &Value::Bool(false))
    );
    assert_eq!(house.rides.calls()[&award].len(), 1);
}

fn facts(awards: &[Value], id: i64) -> Value {
    let found = awards.iter().find(|award| award["id"] == id);
    found.unwrap().clone()
}
