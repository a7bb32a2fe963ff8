//! Lag is not loss: a copy that the group has not come to yet is left alone, and
//! every row behind those that only wait is still found.

use super::rescue::is_published_again;
use super::world::{EPOCH, KEEN, TEXT, Won, World, secs};
use std::time::Duration;
use tombola_core::award::{Mark, MqState, Position};
use tombola_core::decision::Decision;
use tombola_core::ports::{DueQuery, GroupPosition, PartitionPosition};

/// The group is at 10 of 0 to 20 in partition 0 of epoch 1.
fn group() -> GroupPosition {
    let it = PartitionPosition {
        partition: 0,
        committed: 10,
        log_start: 5,
        high_watermark: 20,
    };
    GroupPosition {
        epoch: EPOCH,
        partitions: vec![it],
    }
}

fn query(w: &World) -> DueQuery {
    DueQuery {
        group: Some(group()),
        ..w.due(0)
    }
}

/// An award whose copy lies there, and whose grace is over.
async fn at(w: &World, position: Position) -> Won {
    let won = w.win(TEXT).await;
    w.mark(won.award, 1, Mark::Taken(position)).await;
    w.move_to_due(&won).await;
    won
}

const fn offset(offset: i64) -> Position {
    Position {
        epoch: EPOCH,
        partition: 0,
        offset,
    }
}

async fn waits(w: &World, won: &Won, query: DueQuery) {
    let before = w.row(won).await;
    let page = w.rescue_with(query).await;
    assert_eq!(
        w.row(won).await,
        before,
        "a row that only waits is not rewritten"
    );
    assert!(page.handoffs.is_empty(), "{page:?}");
    assert_eq!(page.seen, 1);
}

pub(super) async fn a_copy_that_lies_ahead_of_the_group_is_waited_for(w: &World) {
    for ahead in [10, 15, 19] {
        let won = at(w, offset(ahead)).await;
        waits(w, &won, query(w)).await;
        w.deliver(&won).await;
    }
}

pub(super) async fn a_copy_that_the_group_has_passed_is_published_again(w: &World) {
    let won = at(w, offset(9)).await;
    is_published_again(w, &won, query(w)).await;
}

pub(super) async fn a_copy_that_is_no_longer_kept_is_published_again(w: &World) {
    let won = at(w, offset(4)).await;
    let mut query = query(w);
    if let Some(group) = &mut query.group {
        group.partitions[0].committed = 0;
    }
    is_published_again(w, &won, query).await;
}

pub(super) async fn a_copy_beyond_the_end_of_the_log_is_published_again(w: &World) {
    let won = at(w, offset(20)).await;
    is_published_again(w, &won, query(w)).await;
}

pub(super) async fn a_copy_in_a_partition_that_is_gone_is_published_again(w: &World) {
    let won = at(
        w,
        Position {
            partition: 1,
            ..offset(15)
        },
    )
    .await;
    is_published_again(w, &won, query(w)).await;
}

pub(super) async fn a_copy_of_another_life_of_the_topic_is_published_again(w: &World) {
    let won = at(
        w,
        Position {
            epoch: EPOCH + 1,
            ..offset(15)
        },
    )
    .await;
    is_published_again(w, &won, query(w)).await;
}

pub(super) async fn a_copy_of_another_life_still_waits_for_its_date(w: &World) {
    let won = w.win(TEXT).await;
    let elsewhere = Position {
        epoch: EPOCH + 1,
        ..offset(15)
    };
    w.mark(won.award, 1, Mark::Taken(elsewhere)).await;
    let before = w.row(&won).await;
    assert_eq!(w.rescue_with(query(w)).await.seen, 0);
    assert_eq!(w.row(&won).await, before);
}

pub(super) async fn a_copy_is_waited_for_no_longer_than_redelivery_max(w: &World) {
    let won = at(w, offset(15)).await;
    let ends = w.after(w.schedule().redelivery_max);
    w.move_to(ends.minus(secs(1)));
    waits(w, &won, query(w)).await;
    w.move_to(ends.plus(secs(1)));
    is_published_again(w, &won, query(w)).await;
}

pub(super) async fn where_nobody_can_say_how_far_the_group_is_copies_are_waited_for(w: &World) {
    let won = at(w, offset(0)).await;
    let unsure = |w: &World| DueQuery {
        group: None,
        ..query(w)
    };
    waits(w, &won, unsure(w)).await;
    w.advance(w.schedule().redelivery_max + secs(1));
    is_published_again(w, &won, unsure(w)).await;
}

pub(super) async fn what_has_no_copy_has_no_excuse(w: &World) {
    let won = w.win(TEXT).await;
    w.move_to_due(&won).await;
    is_published_again(
        w,
        &won,
        DueQuery {
            group: None,
            ..query(w)
        },
    )
    .await;
}

pub(super) async fn a_retry_that_is_due_has_no_excuse(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Retry { after: None }).await;
    let ahead = row.position.map_or(0, |position| position.offset);
    let mut group = group();
    group.partitions[0] = PartitionPosition {
        partition: 0,
        committed: 0,
        log_start: 0,
        high_watermark: ahead + 1,
    };
    w.move_to_due(&won).await;
    let query = DueQuery {
        group: Some(group),
        ..w.due(claim.lane)
    };
    is_published_again(w, &won, query).await;
}

pub(super) async fn every_way_back_into_pending_forgets_the_position(w: &World) {
    let won = at(w, offset(9)).await;
    is_published_again(w, &won, query(w)).await;
    let row = w.row(&won).await;
    assert_eq!((row.position, row.mq_state), (None, MqState::Sent));
    w.move_to_due(&won).await;
    is_published_again(
        w,
        &won,
        DueQuery {
            group: None,
            ..w.due(0)
        },
    )
    .await;
}

pub(super) async fn rows_that_only_wait_never_hide_a_later_one(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let waiting = w.win_from(&campaign, 7).await;
    for won in &waiting {
        w.mark(won.award, 1, Mark::Taken(offset(15))).await;
    }
    w.advance(Duration::from_millis(1));
    let lost = w.win_from(&campaign, 1).await.remove(0);
    w.move_to_due(&lost).await;
    let leases_before: Vec<_> = rows(w, &waiting).await;
    let mut query = DueQuery {
        limit: 3,
        ..query(w)
    };
    let (mut published, mut steps) = (Vec::new(), 0);
    loop {
        let page = w.rescue_with(query.clone()).await;
        published.extend(page.handoffs.iter().map(|it| it.award));
        steps += 1;
        assert!(page.seen <= 3 && steps < 10, "{page:?}");
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(published, [lost.award]);
    assert_eq!(rows(w, &waiting).await, leases_before);
}

async fn rows(w: &World, all: &[Won]) -> Vec<tombola_core::award::Row> {
    let mut rows = Vec::new();
    for won in all {
        rows.push(w.row(won).await);
    }
    rows
}
