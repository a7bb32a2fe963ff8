//! What of the path only this store can show: rows that fail alone, lines of the
//! award's log, messages that are kept.

use crate::read::fixture::{COINS, Fixture, HELLO, HOOK, NOW};
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position};
use tombola_core::decision::Decision;
use tombola_core::ports::{
    AwardPath as _, Copy, CopyAnswer, KeptMessage, MarkOf, Record, StoreError, Written,
};
use tombola_core::reason::KeptReason;
use tombola_core::retry::Jitter;

fn copy(fixture: &Fixture, award: AwardId) -> Copy {
    let message_id = fixture.text(&format!(
        "SELECT message_id FROM delivery WHERE award_id = {award}"
    ));
    Copy {
        award,
        message_id,
        position: Position {
            epoch: 1,
            partition: 0,
            offset: award.0,
        },
    }
}

fn state(fixture: &Fixture, award: AwardId) -> String {
    fixture.text(&format!(
        "SELECT state FROM delivery WHERE award_id = {award}"
    ))
}

#[tokio::test]
async fn a_member_whose_row_fails_is_counted_alone_and_the_others_are_delivered() {
    let fixture = Fixture::fair().await;
    let (first, poison, last) = (
        fixture.win("ann", HELLO).await,
        fixture.win("bob", COINS).await,
        fixture.win("cho", COINS).await,
    );
    fixture
        .shell()
        .execute_batch(&format!(
            "CREATE TRIGGER bad BEFORE INSERT ON points_entry WHEN NEW.award_id = {poison}
             BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
        ))
        .unwrap();
    let copies = [first, poison, last]
        .map(|award| copy(&fixture, award))
        .to_vec();
    let answers = fixture.store.deliver_local(copies, NOW).await.unwrap();
    assert!(
        matches!(answers[0], CopyAnswer::Delivered { .. }),
        "{answers:?}"
    );
    assert_eq!(answers[1], CopyAnswer::Failed { is_dead: false });
    assert!(
        matches!(answers[2], CopyAnswer::Delivered { .. }),
        "{answers:?}"
    );
    assert_eq!(state(&fixture, poison), "retryable");
    assert_eq!(
        fixture.number(&format!(
            "SELECT attempts FROM delivery WHERE award_id = {poison}"
        )),
        1
    );
    assert_eq!(fixture.number("SELECT sum(points) FROM points_entry"), 10);
    let detail = fixture.text(&format!(
        "SELECT detail FROM attempt WHERE award_id = {poison}"
    ));
    assert!(detail.contains("on purpose"), "{detail}");
}

#[tokio::test]
async fn a_row_that_cannot_even_be_counted_stops_nobody() {
    let fixture = Fixture::fair().await;
    let (poison, good) = (
        fixture.win("ann", HELLO).await,
        fixture.win("bob", HELLO).await,
    );
    fixture
        .shell()
        .execute_batch(&format!(
            "CREATE TRIGGER bad BEFORE UPDATE ON delivery WHEN NEW.award_id = {poison}
             BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
        ))
        .unwrap();
    let copies = [poison, good].map(|award| copy(&fixture, award)).to_vec();
    let answers = fixture.store.deliver_local(copies, NOW).await.unwrap();
    assert_eq!(answers[0], CopyAnswer::Failed { is_dead: false });
    assert!(
        matches!(answers[1], CopyAnswer::Delivered { .. }),
        "{answers:?}"
    );
    let marks = [poison, good]
        .map(|award| MarkOf {
            award,
            lease: 1,
            mark: Mark::Failed,
            error: None,
        })
        .to_vec();
    let written = fixture.store.mark_published(marks, NOW).await.unwrap();
    assert_eq!(written, [Written::Late, Written::Late]);
    assert_eq!(state(&fixture, poison), "pending");
}

#[tokio::test]
async fn a_message_is_kept_once_however_often_it_is_read() {
    let fixture = Fixture::new();
    let message = |offset| KeptMessage {
        position: Position {
            epoch: 1,
            partition: 0,
            offset,
        },
        key: Some("ann".to_owned()),
        value: Some(b"rubbish".to_vec()),
        headers: vec![("origin".to_owned(), "elsewhere".to_owned())],
        reason: KeptReason::Undecodable,
    };
    for _ in 0..2 {
        fixture
            .store
            .keep_messages(vec![message(1), message(2)], NOW)
            .await
            .unwrap();
    }
    assert_eq!(fixture.number("SELECT count(*) FROM kept_message"), 2);
    assert_eq!(
        fixture.text("SELECT headers FROM kept_message LIMIT 1"),
        r#"[["origin","elsewhere"]]"#
    );
}

#[tokio::test]
async fn marks_and_records_that_come_late_leave_a_line_and_no_change() {
    let fixture = Fixture::fair().await;
    let award = fixture.win("ann", HOOK).await;
    let lease = fixture.claim(award).await;
    let failed = MarkOf {
        award,
        lease: 1,
        mark: Mark::Failed,
        error: Some("no leader".to_owned()),
    };
    assert_eq!(
        fixture
            .store
            .mark_published(vec![failed], NOW)
            .await
            .unwrap(),
        [Written::Late]
    );
    let record = |lease| Record {
        award,
        lease,
        decision: Decision::Delivered {
            receipt: Some("r-1".to_owned()),
        },
        error: None,
        lane_at: NOW,
        jitter: Jitter::NONE,
    };
    let answers = fixture
        .store
        .record(vec![record(lease), record(lease)], NOW)
        .await
        .unwrap();
    assert_eq!(
        (answers[0].written, answers[1].written),
        (Written::Applied, Written::Late)
    );
    assert_eq!(answers[1].row, answers[0].row);
    let lines = fixture.text(&format!(
        "SELECT group_concat(what || ' ' || decision || ' ' || detail, '; ' ORDER BY n) FROM attempt WHERE award_id = {award}"
    ));
    assert_eq!(
        lines,
        "publish failed late: no leader; deliver delivered r-1; deliver delivered late: r-1"
    );
}

#[tokio::test]
async fn a_first_publish_that_went_well_needs_no_line_whenever_its_mark_comes() {
    let fixture = Fixture::fair().await;
    let (before, after) = (
        fixture.win("ann", HELLO).await,
        fixture.win("bob", HELLO).await,
    );
    let mark = async |award, offset| {
        let mark = MarkOf {
            award,
            lease: 1,
            mark: Mark::Taken(Position {
                epoch: 1,
                partition: 3,
                offset,
            }),
            error: None,
        };
        let marked = fixture.store.mark_published(vec![mark], NOW);
        marked.await.unwrap();
    };
    mark(before, 1_000_000).await;
    fixture.deliver(before).await;
    fixture.deliver(after).await;
    // The worker's copy is the message that the mark is of.
    let place = format!("SELECT \"offset\" FROM delivery WHERE award_id = {after}");
    mark(after, fixture.number(&place)).await;
    assert_eq!(
        fixture.number("SELECT count(*) FROM attempt WHERE what = 'publish'"),
        0
    );
    assert_eq!(
        fixture.number("SELECT count(*) FROM delivery WHERE mq_state = 1 AND topic_epoch = 1"),
        2
    );
}

#[tokio::test]
async fn a_record_of_an_award_that_is_not_there_is_an_error_and_loses_no_other() {
    let fixture = Fixture::fair().await;
    let record = Record {
        award: AwardId(4242),
        lease: 1,
        decision: Decision::Refuse,
        error: None,
        lane_at: NOW,
        jitter: Jitter::NONE,
    };
    let answer = fixture.store.record(vec![record], NOW).await;
    assert!(
        matches!(answer, Err(StoreError::Inconsistent(_))),
        "{answer:?}"
    );
}
