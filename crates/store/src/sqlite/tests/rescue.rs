//! Rescue on this store: pages, rows that cannot be read, the message again, units
//! that come back, and a start alone over many rows.

use super::{batch, request};
use crate::read::fixture::{Fixture, HELLO, HOOK, NOW, PHONE};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position, State};
use tombola_core::decision::Decision;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    AwardPath as _, DrawAnswer, DueCursor, DuePage, DueQuery, MarkOf, Record,
};
use tombola_core::retry::Jitter;

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

/// So an award that was rescued from an outage has one line of it, not two.
#[tokio::test]
async fn a_publish_that_went_well_is_told_by_the_row_and_one_after_it_by_a_line() {
    let fixture = Fixture::fair().await;
    let award = fixture.win("ann", HELLO).await;
    let again = rescue(&fixture, 0, None, 10).await.handoffs.remove(0);
    let mark = |offset| MarkOf {
        award,
        lease: again.lease,
        mark: Mark::Taken(Position {
            epoch: 1,
            partition: 0,
            offset,
        }),
        error: None,
    };
    for (offset, told) in [(7, 0), (8, 1)] {
        let marked = fixture.store.mark_published(vec![mark(offset)], NOW);
        marked.await.unwrap();
        let lines = |what| {
            fixture.number(&format!(
                "SELECT count(*) FROM attempt WHERE what = '{what}'"
            ))
        };
        assert_eq!((lines("rescue"), lines("publish")), (1, told));
    }
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
