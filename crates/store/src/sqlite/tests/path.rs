//! What of the path only this store can show: rows that fail or cannot be read,
//! start-up over many rows, plans of the statements that rescue lives by.

use super::{batch, request};
use crate::read::fixture::{COINS, Fixture, HELLO, HOOK, NOW, PHONE};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position, State};
use tombola_core::decision::Decision;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    AwardPath as _, Copy, CopyAnswer, DrawAnswer, DueCursor, DuePage, DueQuery, KeptMessage,
    MarkOf, Record, StoreError, Written,
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

async fn rescue(fixture: &Fixture, lane: i64, after: Option<DueCursor>, limit: usize) -> DuePage {
    let now = NOW.plus(Duration::from_hours(1));
    let query = DueQuery {
        lane,
        after,
        limit,
        now,
        group: None,
        is_breaker_open: false,
    };
    fixture.store.claim_due(query).await.unwrap()
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
async fn a_row_that_cannot_be_read_hides_none_behind_it_from_rescue() {
    let fixture = Fixture::fair().await;
    let (rubbish, good) = (
        fixture.win("ann", HELLO).await,
        fixture.win("bob", HELLO).await,
    );
    fixture
        .shell()
        .execute(
            "UPDATE delivery SET kind = 'rubbish' WHERE award_id = ?1",
            [rubbish.0],
        )
        .unwrap();
    let page = rescue(&fixture, 0, None, 10).await;
    assert_eq!(page.seen, 2);
    assert_eq!(page.rescued, [(good, State::Pending)]);
    assert_eq!(page.handoffs.len(), 1);
}

#[tokio::test]
async fn rescue_goes_through_a_lane_by_pages_and_publishes_the_unpublished_first() {
    let fixture = Fixture::fair().await;
    let mut awards = Vec::new();
    for number in 0..5 {
        awards.push(fixture.win(&format!("u{number}"), HELLO).await);
    }
    let outside = fixture.win("ann", HOOK).await;
    let position = Position {
        epoch: 7,
        partition: 0,
        offset: 1,
    };
    let mark = MarkOf {
        award: awards[0],
        lease: 1,
        mark: Mark::Taken(position),
        error: None,
    };
    // Its copy is of a topic that is gone: no excuse of lag.
    fixture.store.mark_published(vec![mark], NOW).await.unwrap();
    let first = rescue_other_epoch(&fixture, None, 3).await;
    assert_eq!(first.seen, 3);
    let order: Vec<AwardId> = first.handoffs.iter().map(|it| it.award).collect();
    assert_eq!(order, [awards[1], awards[2], awards[0]]);
    let second = rescue_other_epoch(&fixture, first.next, 3).await;
    assert_eq!((second.seen, second.next), (2, None));
    assert!(second.handoffs.iter().all(|it| it.lease == 2));
    assert!(second.handoffs.iter().all(|it| it.award != outside));
}

async fn rescue_other_epoch(fixture: &Fixture, after: Option<DueCursor>, limit: usize) -> DuePage {
    let group = Some(tombola_core::ports::GroupPosition {
        epoch: 8,
        partitions: Vec::new(),
    });
    let now = NOW.plus(Duration::from_hours(1));
    let query = DueQuery {
        lane: 0,
        after,
        limit,
        now,
        group,
        is_breaker_open: false,
    };
    fixture.store.claim_due(query).await.unwrap()
}

#[tokio::test]
async fn a_message_that_rescue_hands_over_is_the_one_of_the_draw() {
    let fixture = Fixture::fair().await;
    let mut ids = fixture.store.reserve_ids(1).await.unwrap();
    let mut one = request(&mut ids, "ann", "some-key-1", 0);
    one.traceparent = Some("00-abc-def-01".into());
    let DrawAnswer::Drawn { handoffs, .. } = fixture
        .store
        .commit_draws(batch(vec![one]))
        .await
        .unwrap()
        .remove(0)
    else {
        panic!("it draws");
    };
    let again = rescue(&fixture, 0, None, 10).await.handoffs.remove(0);
    assert_eq!(again.message, handoffs[0].message);
    assert_eq!(again.traceparent, handoffs[0].traceparent);
    assert_eq!((handoffs[0].lease, again.lease), (1, 2));
}

#[tokio::test]
async fn an_overdue_address_gives_its_unit_back_and_says_so_in_the_log() {
    let fixture = Fixture::fair().await;
    let award = fixture.win("ann", PHONE).await;
    fixture.deliver(award).await;
    let now = NOW.plus(Duration::from_hours(24 * 15));
    let query = DueQuery {
        lane: 0,
        after: None,
        limit: 10,
        now,
        group: None,
        is_breaker_open: false,
    };
    let page = fixture.store.claim_due(query).await.unwrap();
    assert_eq!(page.ended, [(award, State::Cancelled)]);
    assert_eq!(
        fixture.number("SELECT spent FROM prize WHERE slug = 'phone'"),
        0
    );
    assert_eq!(
        fixture.number("SELECT day_spent FROM prize WHERE slug = 'phone'"),
        1
    );
    let line = format!(
        "SELECT units FROM operator_log WHERE action = 'stock_back' AND award_id = {award}"
    );
    assert_eq!(fixture.number(&line), 1);
    assert_eq!(
        fixture.number(&format!(
            "SELECT ended_at FROM delivery WHERE award_id = {award}"
        )),
        now.0
    );
}

#[tokio::test]
async fn a_start_alone_makes_due_what_is_on_its_way_and_breaks_no_lease_and_no_promise() {
    let fixture = Fixture::fair().await;
    let count = 2 * STEP_ROWS_MAX + 5;
    let mut ids = fixture
        .store
        .reserve_ids(u32::try_from(count).unwrap())
        .await
        .unwrap();
    let requests = (0..count)
        .map(|n| request(&mut ids, &format!("u{n}"), &format!("key-{n:05}"), 0))
        .collect();
    fixture.store.commit_draws(batch(requests)).await.unwrap();
    let (claimed, waits, held) = (
        fixture.win("ann", HOOK).await,
        fixture.win("bob", HOOK).await,
        fixture.win("cho", PHONE).await,
    );
    let lease = fixture.claim(claimed).await;
    let retry = Record {
        award: waits,
        lease: fixture.claim(waits).await,
        decision: Decision::Retry { after: None },
        error: None,
        lane_at: NOW,
        jitter: Jitter::NONE,
    };
    fixture.store.record(vec![retry], NOW).await.unwrap();
    fixture.deliver(held).await;
    let moved = fixture.store.begin_alone(NOW).await.unwrap();
    assert_eq!(moved, u64::try_from(count).unwrap() + 1);
    let due = |state: &str| {
        format!(
            "SELECT count(*) FROM delivery WHERE state = '{state}' AND due_at <= {NOW}",
            NOW = NOW.0
        )
    };
    assert_eq!(
        fixture.number(&due("pending")),
        i64::try_from(count).unwrap()
    );
    assert_eq!(fixture.number(&due("delivering")), 1);
    assert_eq!(
        fixture.number(&due("retryable")) + fixture.number(&due("held")),
        0
    );
    assert_eq!(
        fixture.number(&format!(
            "SELECT lease FROM delivery WHERE award_id = {claimed}"
        )),
        lease
    );
    assert_eq!(fixture.store.begin_alone(NOW).await.unwrap(), 0);
    let lanes = fixture.store.due_lanes(NOW).await.unwrap();
    assert_eq!(lanes.due.len(), 2, "the local lane and the endpoint's");
    assert_eq!(
        lanes.next,
        Some(NOW.plus(Duration::from_secs(1))),
        "the retry is the next to come"
    );
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
    let position = Position {
        epoch: 1,
        partition: 0,
        offset: 1,
    };
    let mark = |award| {
        vec![MarkOf {
            award,
            lease: 1,
            mark: Mark::Taken(position),
            error: None,
        }]
    };
    fixture
        .store
        .mark_published(mark(before), NOW)
        .await
        .unwrap();
    fixture.deliver(before).await;
    fixture.deliver(after).await;
    fixture
        .store
        .mark_published(mark(after), NOW)
        .await
        .unwrap();
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
