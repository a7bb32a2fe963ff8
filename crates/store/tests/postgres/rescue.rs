//! Rescue by several instances at once.

use crate::deliver::POINTS;
use crate::world::{NOON, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::{Mark, Position, State};
use tombola_core::ports::{AwardPath as _, DrawBatch, DueCursor, DuePage, DueQuery, MarkOf};
use tombola_core::retry::Schedule;
use tombola_store::conformance::counted::{Counted, Read, until_alone};
use tombola_store::postgres::PostgresStore;

const MUGS: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "blue"
name = "A blue mug"
kind = "physical"
odds = "50%"
stock = 1000
return_stock = true
claim_within = "1d"
ship_within = "30d"
[[prize]]
slug = "red"
name = "A red mug"
kind = "physical"
odds = "50%"
return_stock = true
claim_within = "1d"
ship_within = "30d"
"#;

fn due() -> Timestamp {
    NOON.plus(Schedule::default().grace(0))
}

fn query(after: Option<DueCursor>, limit: usize) -> DueQuery {
    DueQuery {
        lane: 0,
        after,
        limit,
        now: due(),
        group: None,
        is_breaker_open: false,
    }
}

fn handed(page: &DuePage) -> Vec<i64> {
    page.handoffs.iter().map(|it| it.award.0).collect()
}

/// The lane from its beginning, three rows a page: how many rows each has seen, and the
/// awards that it handed on.
async fn pages_of_three(store: &PostgresStore) -> Vec<(usize, Vec<i64>)> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.claim_due(query(after, 3)).await.unwrap();
        pages.push((page.seen, handed(&page)));
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rescuers_on_one_lane_take_each_row_once_and_leave_none() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let (one, two) = (world.store().await, world.store().await);
    world.win(&one, 600).await;
    let walk = async |store: &PostgresStore| {
        let (mut taken, mut after) = (Vec::new(), None);
        loop {
            let page = store.claim_due(query(after, 50)).await.unwrap();
            taken.extend(handed(&page));
            after = page.next;
            if after.is_none() {
                return taken;
            }
        }
    };
    let (left, right) = tokio::join!(walk(&one), walk(&two));
    let all: BTreeSet<i64> = left.iter().chain(&right).copied().collect();
    assert_eq!((left.len() + right.len(), all.len()), (600, 600));
    assert_eq!(
        world.number("SELECT sum(publishes) FROM delivery").await,
        600
    );
}

#[tokio::test]
async fn a_page_passes_by_what_somebody_has_in_hand_and_goes_on_behind_it() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    world.win(&store, 9).await;
    let shell = world.shell().await;
    let lock = "BEGIN; SELECT 1 FROM delivery WHERE award_id IN (2, 3, 6) FOR UPDATE";
    shell.batch_execute(lock).await.unwrap();
    let pages = pages_of_three(&store).await;
    let expected = [
        (3, vec![1]),
        (3, vec![4, 5]),
        (3, vec![7, 8, 9]),
        (0, vec![]),
    ];
    assert_eq!(pages, expected);
    shell.batch_execute("ROLLBACK").await.unwrap();
    let rest = store.claim_due(query(None, 3)).await.unwrap();
    assert_eq!(handed(&rest), [2, 3, 6]);
}

/// A lock is a write of its row, and whoever delivers the award waits for it.
#[tokio::test]
async fn rows_that_only_wait_are_not_locked_and_those_behind_them_are_found() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    world.win(&store, 9).await;
    let sent =
        "UPDATE delivery SET mq_state = 1, topic_epoch = 1, partition = 0, \"offset\" = award_id
                WHERE award_id <= 7";
    world.change(sent, &[]).await;
    // Nobody can say how far the group has come: every copy may still be on its way.
    let pages = pages_of_three(&store).await;
    let expected = [(3, vec![]), (3, vec![]), (3, vec![8, 9]), (0, vec![])];
    assert_eq!(pages, expected);
    let locked = "SELECT count(*) FROM delivery WHERE award_id <= 7 AND xmax <> 0";
    assert_eq!(world.number(locked).await, 0);
}

/// Units go back while draws take others: the prizes are locked in one order.
#[tokio::test(flavor = "multi_thread")]
async fn awards_that_nobody_claimed_give_their_units_back_beside_draws() {
    let Some(world) = World::open(MUGS).await else {
        return;
    };
    let (one, two) = (world.store().await, world.store().await);
    let copies = world.win(&one, 200).await;
    one.deliver_local(copies, NOON).await.unwrap();
    let late = DueQuery {
        now: NOON.plus(std::time::Duration::from_hours(48)),
        ..query(None, 20)
    };
    let rescue = async {
        let mut ended = 0;
        for _ in 0..10 {
            let page = one.claim_due(late.clone()).await.unwrap();
            let is_over = |(_, state): &(_, State)| *state == State::Cancelled;
            ended += page.ended.iter().filter(|it| is_over(it)).count();
        }
        ended
    };
    let draw = async {
        for n in 0..10 {
            let request = |i| world.request(&format!("v{i}"), &format!("draw-{n}-{i}"), 1);
            let batch = DrawBatch {
                now: NOON.plus(std::time::Duration::from_hours(72)),
                ..crate::world::batch((0..20).map(request).collect())
            };
            two.commit_draws(batch).await.unwrap();
        }
    };
    let (ended, ()) = tokio::join!(rescue, draw);
    assert_eq!(ended, 200);
    for (what, expected) in [
        ("SELECT sum(spent) FROM prize_count", 200),
        ("SELECT count(*) FROM delivery WHERE state = 'pending'", 200),
        (
            "SELECT sum(units) FROM operator_log WHERE action = 'stock_back'
             AND actor = 'rescue' AND reason = 'cancelled' AND subject IN ('fair/red', 'fair/blue')",
            200,
        ),
        (
            "SELECT count(*) FROM prize_count p WHERE spent <> (SELECT count(*) FROM delivery d
             WHERE d.prize_id = p.prize_id AND d.state = 'pending')",
            0,
        ),
    ] {
        assert_eq!(world.number(what).await, expected, "{what}");
    }
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test]
async fn lanes_are_named_when_they_have_overdue_rows_and_the_next_date_is_told() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    assert_eq!(store.due_lanes(NOON).await.unwrap().next, None);
    world.win(&store, 4).await;
    for (award, lane, due_at) in [(1, 0, 5), (2, 0, 40), (3, 7, 30), (4, 9, 20)] {
        let set = "UPDATE delivery SET lane = $2, due_at = $3 WHERE award_id = $1";
        let (award, lane, due_at) = (i64::from(award), i64::from(lane), i64::from(due_at));
        world.change(set, &[&award, &lane, &due_at]).await;
    }
    for (now, due, next) in [
        (4, vec![], Some(5)),
        (5, vec![0], Some(20)),
        (20, vec![0, 9], Some(30)),
        (35, vec![0, 7, 9], Some(40)),
        (40, vec![0, 7, 9], None),
    ] {
        let lanes = store.due_lanes(Timestamp(now)).await.unwrap();
        assert_eq!((lanes.due, lanes.next), (due, next.map(Timestamp)), "{now}");
    }
}

/// Nothing that died since somebody's snapshot is removed, and a lane begins with all of it.
#[tokio::test]
async fn what_died_under_an_old_snapshot_is_passed_by_once_and_not_by_every_look() {
    const DEAD: i64 = 3000;
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let holding = world.snapshot().await;
    world.win(&store, 3000).await;
    let delivered = "UPDATE delivery SET state = 'delivered', due_at = NULL WHERE award_id > 3";
    world.change(delivered, &[]).await;
    let later = NOON.plus(Duration::from_mins(30));
    let due = "UPDATE delivery SET due_at = $1 WHERE due_at IS NOT NULL";
    world.change(due, &[&later.0]).await;

    let looks_at = later.plus(Duration::from_hours(1));
    for _ in 0..20 {
        assert_eq!(store.due_lanes(looks_at).await.unwrap().due, [0]);
    }
    let mut first = query(None, 10);
    first.now = looks_at;
    assert_eq!(store.claim_due(first).await.unwrap().seen, 3);
    drop(holding);
    drop(store);
    until_alone(&world.admin).await.unwrap();
    let entries = |read: &BTreeMap<String, Read>| read.get("delivery").map_or(0, |it| it.entries);
    let is_all = |read: &BTreeMap<String, Read>| entries(read) >= DEAD;
    let mut counted = Counted::default();
    let read = counted.until(&world.admin, is_all).await.unwrap();
    // Also what the changes above read.
    assert!(entries(&read) < 8 * DEAD, "{}", entries(&read));
}

#[tokio::test]
async fn a_start_alone_makes_due_what_is_on_its_way_and_no_promised_date() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    world.win(&store, 1200).await;
    for set in [
        "UPDATE delivery SET state = 'delivering' WHERE award_id % 2 = 0",
        "UPDATE delivery SET state = 'retryable' WHERE award_id = 7",
        "UPDATE delivery SET state = 'held', hold_reason = 'manual' WHERE award_id = 8",
        "UPDATE delivery SET state = 'delivered', due_at = NULL WHERE award_id = 9",
        "UPDATE delivery SET due_at = 1 WHERE award_id = 10",
    ] {
        world.change(set, &[]).await;
    }
    assert_eq!(store.begin_alone(NOON).await.unwrap(), 1196);
    let now = format!("SELECT count(*) FROM delivery WHERE due_at = {}", NOON.0);
    assert_eq!(world.number(&now).await, 1196);
    assert_eq!(store.begin_alone(NOON).await.unwrap(), 0);
}

#[tokio::test]
async fn lines_go_on_from_the_highest_number_in_whatever_month_that_line_lies() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    world.win(&store, 3).await;
    world
        .change(
            "CREATE TABLE attempt_2001_09 PARTITION OF attempt FOR VALUES FROM (1000) TO (2000)",
            &[],
        )
        .await;
    let line = "INSERT INTO attempt (award_id, n, at, what, lease, decision, state)
                VALUES (1, 4, 1500, 'operator', 1, 'hold', 'held'), (1, 3, 9, 'operator', 1, 'hold', 'held'),
                  (2, 7, 9, 'operator', 1, 'hold', 'held')";
    world.change(line, &[]).await;
    let page = store.claim_due(query(None, 10)).await.unwrap();
    assert_eq!(handed(&page), [1, 2, 3]);
    for (award, n) in [(1, 5), (2, 8), (3, 1)] {
        let newest =
            format!("SELECT n::bigint FROM attempt WHERE award_id = {award} AND what = 'rescue'");
        assert_eq!(world.number(&newest).await, n, "award {award}");
    }
}

/// So an award that was rescued from an outage has one line of it, not two.
#[tokio::test(flavor = "multi_thread")]
async fn publish_that_went_well_is_told_by_the_row_and_one_after_it_by_a_line() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    world.win(&store, 1).await;
    let page = store.claim_due(query(None, 10)).await.unwrap();
    let mark = |offset| MarkOf {
        award: page.handoffs[0].award,
        lease: page.handoffs[0].lease,
        mark: Mark::Taken(Position {
            epoch: 1,
            partition: 0,
            offset,
        }),
        error: None,
    };
    let lines = "SELECT count(*) FROM attempt WHERE what = 'rescue'";
    let marks = "SELECT count(*) FROM attempt WHERE what = 'publish'";
    for (offset, told) in [(7, 0), (8, 1)] {
        store
            .mark_published(vec![mark(offset)], due())
            .await
            .unwrap();
        assert_eq!(
            (world.number(lines).await, world.number(marks).await),
            (1, told)
        );
    }
}
