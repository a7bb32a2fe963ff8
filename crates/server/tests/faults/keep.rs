//! Death while a message is kept that is no award's. Nobody else can put one on the
//! topic in memory, so the rows of new awards are changed from outside: their first
//! copies then carry another message id than their rows. That topic dies with its
//! process, so no copy is read twice here; the stores' suite keeps one twice.

use crate::REQUESTS;
use crate::house::{House, good};
use crate::lives::{Book, check, die_at};
use crate::rows::Kept;
use tombola_server::client::Call;

/// Aim: a message that was not kept yet takes no award along.
#[tokio::test]
async fn award_is_delivered_once_when_its_message_was_not_kept_before_the_death() {
    let at_death = outlives("before_keep:1").await;
    assert_eq!(at_death, []);
}

/// Aim: what was kept stays, once, and its award is delivered all the same.
#[tokio::test]
async fn message_stays_kept_once_when_the_process_died_after_keeping_it() {
    let at_death = outlives("after_keep:1").await;
    assert!(!at_death.is_empty());
}

/// Dies at `point`, and gives what was kept by then. The next life keeps what comes to
/// it: the first copy of each award that was drawn in it.
async fn outlives(point: &str) -> Vec<Kept> {
    let (mut house, mut book) = (House::new().await, Book::new());
    die_at(&mut house, &mut book, point, REQUESTS).await;
    let at_death = house.rows().kept();
    let before = house.rows().awards();

    house.rows().make_first_copies_foreign();
    house.start(None).await;
    book.ask(&mut house, REQUESTS).await;
    check(&mut house, &mut book).await;

    let later = house.rows().awards().split_off(before.len());
    assert!(!later.is_empty());
    let later = later.into_iter().map(|award| Kept {
        award,
        reason: "other_message_id".to_owned(),
        is_of_row: true,
    });
    let expected: Vec<Kept> = at_death.iter().cloned().chain(later).collect();
    assert_eq!(house.rows().kept(), expected);
    let letters = good(&house.api(), Call::get("/v1/dead-letters?limit=500")).await;
    let listed: Vec<&str> = letters["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|letter| letter["id"].as_str())
        .collect();
    let numbers = (1..=expected.len()).rev();
    assert_eq!(
        listed,
        numbers
            .map(|number| format!("m{number}"))
            .collect::<Vec<_>>()
    );
    at_death
}
