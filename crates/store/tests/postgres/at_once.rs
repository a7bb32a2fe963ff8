//! Several connections at once: nothing is given twice, and nobody waits in a
//! circle.

use crate::draws::{ALWAYS, LIMITED, ONE_UNIT, facts, is_drawn};
use crate::world::{World, batch};
use std::time::Duration;
use tokio::task::JoinSet;
use tombola_core::ports::{AwardPath as _, StoreError};
use tombola_store::postgres::Bounds;

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_ids_reserved_at_once_never_overlap() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let mut tasks = JoinSet::new();
    for store in world.stores(4).await {
        tasks.spawn(async move {
            let mut blocks = Vec::new();
            for count in [1, 7, 10_000, 3] {
                blocks.push(store.reserve_ids(count).await.unwrap());
            }
            blocks
        });
    }
    let mut blocks = tasks.join_all().await.concat();
    blocks.sort_unstable_by_key(|block| block.next);
    assert_eq!(blocks[0].next, 1);
    assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].next));
    assert_eq!(blocks.last().unwrap().end, 1 + 4 * 10_011);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_draws_from_two_connections_at_once_give_one_draw() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let (one, two) = (world.store().await, world.store().await);
    for round in 0..20 {
        let request = |n| world.request(&format!("u{n}"), &format!("round-{round}-key-{n}"), 2);
        let forth = batch((0..50).map(request).collect());
        let back = batch((0..50).rev().map(request).collect());
        let (forth, back) = tokio::join!(one.commit_draws(forth), two.commit_draws(back));
        let (forth, mut back) = (forth.unwrap(), back.unwrap());
        back.reverse();
        for (left, right) in forth.iter().zip(&back) {
            assert_ne!(is_drawn(left), is_drawn(right), "{left:?} {right:?}");
            assert_eq!(facts(left), facts(right));
        }
    }
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 20 * 50 * 2);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 20 * 50);
    assert_eq!(
        world.number("SELECT draws FROM campaign_count").await,
        20 * 50 * 2
    );
    assert_eq!(
        world.number("SELECT count(*) FROM delivery").await,
        world
            .number("SELECT count(*) FROM draw WHERE prize_id IS NOT NULL")
            .await
    );
}

/// The batches name their users in different orders, so that locks taken in order
/// of arrival would close a circle.
#[tokio::test(flavor = "multi_thread")]
async fn stock_of_one_is_given_once_under_64_batches_at_once_and_none_meets_a_deadlock() {
    let Some(world) = World::open(ONE_UNIT).await else {
        return;
    };
    let mut tasks = JoinSet::new();
    let stores = world.stores(4).await;
    for n in 0..64 {
        let store = stores[n % 4].clone();
        let request = |i: usize| {
            let user = (i * [1, 3, 7, 9][n % 4] + n) % 10;
            world.request(&format!("u{user}"), &format!("batch-{n}-{i}"), 1)
        };
        let batch = batch((0..10).map(request).collect());
        tasks.spawn(async move { store.commit_draws(batch).await });
    }
    let answers: Result<Vec<_>, _> = tasks.join_all().await.into_iter().collect();
    let answers = answers.unwrap().concat();
    let won = answers
        .iter()
        .flat_map(facts)
        .filter(|draw| draw.prize.is_some());
    assert_eq!((answers.len(), won.count()), (640, 1));
    assert_eq!(world.number("SELECT spent FROM prize_count").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM delivery").await, 1);
    assert_eq!(world.number("SELECT sum(total) FROM allowance").await, 640);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(world.number(deadlocks).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn allowance_is_exact_however_many_ask_at_once() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let mut tasks = JoinSet::new();
    let stores = world.stores(4).await;
    for n in 0..48 {
        let store = stores[n % 4].clone();
        let request = |user: usize| {
            let user = if n % 2 == 0 { user } else { 5 - user };
            world.request(
                &format!("u{user}"),
                &format!("batch-{n}-{user}"),
                1 + u8::from(n % 3 == 0),
            )
        };
        let batch = batch((0..6).map(request).collect());
        tasks.spawn(async move { store.commit_draws(batch).await.unwrap() });
    }
    let answers = tasks.join_all().await.concat();
    let drawn: usize = answers
        .iter()
        .filter(|it| is_drawn(it))
        .map(|it| facts(it).len())
        .sum();
    assert_eq!(drawn, 6 * 20);
    for (what, expected) in [
        (
            "SELECT min(n) FROM (SELECT count(*) n FROM draw GROUP BY user_id) AS u",
            20,
        ),
        (
            "SELECT max(n) FROM (SELECT count(*) n FROM draw GROUP BY user_id) AS u",
            20,
        ),
        ("SELECT min(total) + max(day_total) FROM allowance", 40),
        ("SELECT max(wins) FROM user_win", 3),
        (
            "SELECT sum(wins) - (SELECT spent FROM prize_count) FROM user_win",
            0,
        ),
        (
            "SELECT count(*) - (SELECT spent FROM prize_count) FROM delivery",
            0,
        ),
    ] {
        assert_eq!(world.number(what).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn campaign_total_is_exact_however_many_ask_at_once() {
    let Some(world) = World::open(&format!("{ALWAYS}\n[limits]\ncampaign_total = 100\n")).await
    else {
        return;
    };
    let mut tasks = JoinSet::new();
    let stores = world.stores(4).await;
    for n in 0..40 {
        let store = stores[n % 4].clone();
        let request = |i| world.request(&format!("u-{n}-{i}"), &format!("batch-{n}-{i}"), 1);
        let batch = batch((0..7).map(request).collect());
        tasks.spawn(async move { store.commit_draws(batch).await.unwrap() });
    }
    let answers = tasks.join_all().await.concat();
    assert_eq!(answers.iter().filter(|it| is_drawn(it)).count(), 100);
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 100);
    assert_eq!(world.number("SELECT draws FROM campaign_count").await, 100);
}

/// Fails when missing rows are inserted in order of arrival.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_bring_the_same_new_users_in_opposite_orders_meet_no_deadlock() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let (one, two) = (world.store().await, world.store().await);
    for round in 0..20 {
        let request = |way, n| {
            world.request(
                &format!("u-{round}-{n:03}"),
                &format!("{way}-{round}-{n:03}"),
                1,
            )
        };
        let forth = batch((0..200).map(|n| request("forth", n)).collect());
        let back = batch((0..200).rev().map(|n| request("back", n)).collect());
        let (forth, back) = tokio::join!(one.commit_draws(forth), two.commit_draws(back));
        assert!(forth.unwrap().iter().chain(&back.unwrap()).all(is_drawn));
    }
    assert_eq!(
        world
            .number("SELECT min(total) * 100 + max(total) FROM allowance")
            .await,
        202
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_stock_that_has_not_ended_is_waited_for() {
    let Some(mut world) = World::open(ONE_UNIT).await else {
        return;
    };
    let store = world.store().await;
    let admin = crate::server::connect(&world.config).await;
    let operator = std::mem::replace(&mut world.admin, admin);
    operator
        .batch_execute(
            "BEGIN; SELECT 1 FROM campaign FOR NO KEY UPDATE; UPDATE prize SET stock = 0",
        )
        .await
        .unwrap();
    let batch = batch(vec![world.request("u", "key-00001", 1)]);
    let (answers, ()) = tokio::join!(store.commit_draws(batch), async {
        world.until_waiting(1).await;
        operator.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(facts(&answers.unwrap()[0])[0].prize, None);
}

/// The server's own bounds: a session that waits for somebody who never comes gives up its place.
#[tokio::test]
async fn a_draw_that_waits_in_vain_for_the_campaign_fails_in_time_and_draws_nothing() {
    const SHORT: Duration = Duration::from_secs(2);
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let shell = world.shell().await;
    let (mut lock, mut statement) = (Bounds::default(), Bounds::default());
    lock.lock_wait_max = SHORT;
    statement.statement_max = SHORT;
    for (bounds, code) in [(lock, "55P03"), (statement, "57014")] {
        let store = world.store_within(bounds).await;
        let request = world.request("u", &format!("key-of-{code}"), 1);
        let hold = "BEGIN; SELECT 1 FROM campaign FOR UPDATE";
        shell.batch_execute(hold).await.unwrap();
        let error = store.commit_draws(batch(vec![request.clone()])).await;
        let error = error.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(error.to_string().contains(code), "{error}");
        let drawn = format!("SELECT count(*) FROM request WHERE request_key = 'key-of-{code}'");
        assert_eq!(world.number(&drawn).await, 0);
        shell.batch_execute("COMMIT").await.unwrap();
        let store = world.store().await;
        let answers = store.commit_draws(batch(vec![request])).await.unwrap();
        assert!(is_drawn(&answers[0]), "{answers:?}");
    }
}
