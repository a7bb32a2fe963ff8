//! What the ledger promises while assignments come and go.

use super::*;
use std::sync::Arc;

/// A ledger whose partitions 0 and 1 were assigned, and the worker told so.
fn ledger(told_wait: Duration) -> Arc<Ledger> {
    let ledger = Ledger::new(told_wait, Pulse::new("g"));
    ledger.assigned(&[0, 1]);
    assert_eq!(ledger.take(1), Some(Ok(Polled::Assigned(vec![0, 1]))));
    Arc::new(ledger)
}

fn message(partition: i32, offset: i64) -> Incoming {
    let value = Some(Arc::from([b'x'; 100]));
    Incoming {
        partition,
        offset,
        key: None,
        value,
        headers: Vec::new(),
    }
}

fn read(ledger: &Ledger, partition: i32, offset: i64) {
    ledger.arrived(message(partition, offset));
    assert!(matches!(ledger.take(1), Some(Ok(Polled::Messages(_)))));
}

const LONG: Duration = Duration::from_mins(1);

#[test]
fn revocation_waits_until_the_worker_was_told() {
    let ledger = ledger(LONG);
    read(&ledger, 0, 0);
    let there = Arc::clone(&ledger);
    let thread = std::thread::spawn(move || there.revoked(&[0], false));
    let told = loop {
        if let Some(told) = ledger.take(1) {
            break told;
        }
        assert!(!thread.is_finished(), "it did not wait");
        std::thread::yield_now();
    };
    assert_eq!(told, Ok(Polled::Revoked(vec![0])));
    thread.join().unwrap();
    assert_eq!(
        ledger.begin_commit(&[(0, 1)]),
        Err(TopicError::LostGeneration)
    );
}

#[test]
fn revocation_waits_for_a_commit_on_its_way() {
    let ledger = ledger(LONG);
    read(&ledger, 0, 0);
    let commit = ledger.begin_commit(&[(0, 1)]).unwrap();
    let there = Arc::clone(&ledger);
    let thread = std::thread::spawn(move || there.revoked(&[0], false));
    while ledger.take(1).is_none() {
        std::thread::yield_now();
    }
    assert!(
        !thread.is_finished(),
        "the commit could still move another owner's offset"
    );
    ledger.end_commit(&commit, true);
    thread.join().unwrap();
}

#[test]
fn worker_that_does_not_poll_holds_the_group_up_for_a_while_only() {
    let ledger = ledger(Duration::from_millis(10));
    read(&ledger, 0, 0);
    ledger.revoked(&[0], false);
    assert_eq!(
        ledger.begin_commit(&[(0, 1)]),
        Err(TopicError::LostGeneration)
    );
    assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0]))));
}

#[test]
fn worker_that_is_gone_is_not_waited_for() {
    let ledger = ledger(LONG);
    ledger.go();
    ledger.revoked(&[0, 1], false);
}

#[test]
fn lost_partition_is_gone_before_the_worker_is_told() {
    let ledger = ledger(LONG);
    read(&ledger, 0, 0);
    ledger.arrived(message(0, 1));
    ledger.revoked(&[0, 1], true);
    assert_eq!(
        ledger.begin_commit(&[(0, 1)]),
        Err(TopicError::LostGeneration)
    );
    assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0, 1]))));
    assert_eq!(ledger.take(1), None, "its messages went with it");
}

#[test]
fn commit_of_an_earlier_life_is_not_good_in_a_later_one() {
    let ledger = ledger(LONG);
    read(&ledger, 0, 0);
    let queued = ledger.begin_commit(&[(0, 1)]).unwrap();
    assert!(ledger.is_still_owned(&queued));
    ledger.revoked(&[0], true);
    ledger.assigned(&[0]);
    assert!(
        !ledger.is_still_owned(&queued),
        "it would move the new life's offset"
    );
    ledger.end_commit(&queued, true);
    assert_eq!(
        ledger.begin_commit(&[(0, 1)]),
        Err(TopicError::LostGeneration)
    );
}

#[test]
fn late_revocation_does_not_take_the_next_life_away() {
    let ledger = ledger(Duration::from_millis(10));
    ledger.revoked(&[0], false);
    ledger.assigned(&[0]);
    ledger.arrived(message(0, 5));
    assert_eq!(ledger.take(1), Some(Ok(Polled::Revoked(vec![0]))));
    assert_eq!(ledger.take(1), Some(Ok(Polled::Assigned(vec![0]))));
    assert_eq!(
        ledger.take(1),
        Some(Ok(Polled::Messages(vec![message(0, 5)])))
    );
}

#[test]
fn only_what_is_ahead_of_the_last_commit_goes_to_the_broker() {
    let ledger = ledger(LONG);
    for offset in 0..3 {
        read(&ledger, 0, offset);
    }
    let commit = ledger.begin_commit(&[(0, 2)]).unwrap();
    ledger.end_commit(&commit, true);
    assert_eq!(ledger.begin_commit(&[(0, 1)]), Ok(Vec::new()));
    assert_eq!(ledger.begin_commit(&[(0, 2)]), Ok(Vec::new()));
    assert_eq!(ledger.begin_commit(&[(0, 3)]).unwrap().len(), 1);
}

#[test]
fn commit_that_failed_may_be_tried_again() {
    let ledger = ledger(LONG);
    read(&ledger, 0, 0);
    let commit = ledger.begin_commit(&[(0, 1)]).unwrap();
    ledger.end_commit(&commit, false);
    assert_eq!(ledger.begin_commit(&[(0, 1)]), Ok(commit));
}

#[test]
fn fetching_stops_for_a_full_partition_alone_and_goes_on_at_half() {
    let ledger = ledger(LONG);
    for offset in 0..WAITING_MAX {
        ledger.arrived(message(0, i64::try_from(offset).unwrap()));
    }
    assert_eq!(ledger.flow(), (vec![0], vec![]));
    assert_eq!(ledger.flow(), (vec![], vec![]), "it is told once");
    assert!(ledger.take(WAITING_MAX / 2 - 1).is_some());
    assert_eq!(ledger.flow(), (vec![], vec![]));
    assert!(ledger.take(2).is_some());
    assert_eq!(ledger.flow(), (vec![], vec![0]));
}

#[test]
fn worker_that_pauses_stops_fetching_only_once_the_partition_is_full() {
    let ledger = ledger(LONG);
    ledger.pause(&[0], true).unwrap();
    assert_eq!(ledger.flow(), (vec![], vec![]));
    for offset in 0..WAITING_MAX {
        ledger.arrived(message(0, i64::try_from(offset).unwrap()));
    }
    assert_eq!(ledger.take(1), None, "nothing is handed out meanwhile");
    assert_eq!(ledger.flow(), (vec![0], vec![]));
    ledger.pause(&[0], false).unwrap();
    assert_eq!(ledger.flow(), (vec![], vec![]), "there is no room yet");
}

#[test]
fn paused_partition_keeps_what_waits() {
    let ledger = ledger(LONG);
    ledger.arrived(message(0, 0));
    ledger.pause(&[0], true).unwrap();
    assert_eq!(ledger.take(1), None);
    ledger.pause(&[0], false).unwrap();
    assert_eq!(
        ledger.take(1),
        Some(Ok(Polled::Messages(vec![message(0, 0)])))
    );
}

#[test]
fn failure_is_said_once_and_the_end_for_ever() {
    let ledger = ledger(LONG);
    let away = TopicError::Unavailable("away".to_owned());
    ledger.fail(away.clone());
    assert_eq!(ledger.take(1), Some(Err(away)));
    assert_eq!(ledger.take(1), None);
    ledger.end();
    for _ in 0..2 {
        assert_eq!(ledger.take(1), Some(Err(TopicError::Closed)));
    }
}
