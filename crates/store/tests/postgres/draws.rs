//! Ids and draws, one call after the other.

use crate::proxy::Proxy;
use crate::server::options;
use crate::world::{NOON, World, batch};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::draw::{DrawFact, DrawLimit, DrawRefusal};
use tombola_core::ports::{AwardPath as _, DrawAnswer, DrawBatch, StoreError};
use tombola_core::retry::Schedule;
use tombola_store::StoreOptions;
use tombola_store::conformance::counted::{Counted, Read, until_alone};
use tombola_store::postgres::PostgresStore;

pub(crate) const ALWAYS: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
time_zone = "Asia/Shanghai"
[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "well done"
odds = "50%"
"#;

pub(crate) const ONE_UNIT: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "phone"
name = "A phone"
kind = "text"
text = "a phone"
odds = "100%"
stock = 1
"#;

pub(crate) const LIMITED: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
time_zone = "UTC"
[limits]
per_user_total = 30
per_user_per_day = 20
[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "well done"
odds = "50%"
per_user_wins = 3
"#;

pub(crate) fn facts(answer: &DrawAnswer) -> &[DrawFact] {
    match answer {
        DrawAnswer::Drawn { draws, .. } | DrawAnswer::Replayed { draws } => draws,
        DrawAnswer::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

pub(crate) fn is_drawn(answer: &DrawAnswer) -> bool {
    matches!(answer, DrawAnswer::Drawn { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_end_below_two_to_the_53rd() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    world
        .change("UPDATE id_block SET next = 9007199254740990", &[])
        .await;
    assert_eq!(store.reserve_ids(2).await.unwrap().end, 1 << 53);
    assert!(matches!(
        store.reserve_ids(1).await,
        Err(StoreError::Inconsistent(_))
    ));
}

/// All that is needed after an unknown commit: the same batch, by its keys.
#[tokio::test]
async fn a_batch_that_runs_twice_is_replayed_and_changes_nothing() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = world.store().await;
    let request = |n: u8| world.request(&format!("u{}", n % 7), &format!("key-{n:05}"), 1 + n % 3);
    let batch = batch((0..40).map(request).collect());
    let sums = "SELECT sum(total) * 1000 + (SELECT draws * 1000000 + spent FROM campaign_count, prize_count)
                FROM allowance";
    let first = store.commit_draws(batch.clone()).await.unwrap();
    let before = world.number(sums).await;
    let again = world.store().await.commit_draws(batch).await.unwrap();
    for (first, again) in first.iter().zip(&again) {
        assert!(
            is_drawn(first) && matches!(again, DrawAnswer::Replayed { .. }),
            "{again:?}"
        );
        assert_eq!(facts(first), facts(again));
    }
    assert_eq!(world.number(sums).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_was_lost_is_run_again_by_its_keys() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let proxy = Proxy::start(&world.config);
    let options = options(&proxy.config(&world.config));
    let store = PostgresStore::open(&options, StoreOptions::default())
        .await
        .unwrap();
    let batch = batch(
        (0..5)
            .map(|n| world.request("u", &format!("key-{n:05}"), 1))
            .collect(),
    );
    proxy.arm();
    let lost = store.commit_draws(batch.clone()).await;
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    let again = store.commit_draws(batch).await.unwrap();
    assert!(
        again
            .iter()
            .all(|it| matches!(it, DrawAnswer::Replayed { .. })),
        "{again:?}"
    );
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 5);
    assert_eq!(world.number("SELECT total FROM allowance").await, 5);
}

#[tokio::test]
async fn tallies_that_newer_ones_stand_for_do_not_pile_up() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    for n in 0..100 {
        let request = world.request(&format!("u{n}"), &format!("key-{n:05}"), 1);
        let answers = store.commit_draws(batch(vec![request])).await.unwrap();
        assert!(is_drawn(&answers[0]));
    }
    assert_eq!(world.number("SELECT max(n) FROM tally").await, 100);
    // Those from the last multiple of 32 on.
    assert_eq!(world.number("SELECT count(*) FROM tally").await, 5);
    let draws = "SELECT draws FROM campaign_count";
    assert_eq!(world.number(draws).await, 100);
}

/// Their versions all stay while somebody holds a snapshot from before; a page holds some hundred.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_earlier_counters_cost_a_draw_nothing_under_an_old_snapshot() {
    const DRAWS: i64 = 300;
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    let holding = world.snapshot().await;
    for n in 0..DRAWS {
        let one = batch(vec![world.request("u1", &format!("key-{n}"), 1)]);
        store.commit_draws(one).await.unwrap();
    }
    drop((store, holding));
    until_alone(&world.admin).await.unwrap();
    let entries = |read: &BTreeMap<String, Read>| read.get("allowance").map_or(0, |it| it.entries);
    let is_all = |read: &BTreeMap<String, Read>| entries(read) >= DRAWS;
    let mut counted = Counted::default();
    let read = counted.until(&world.admin, is_all).await.unwrap();
    assert!(entries(&read) < 4 * DRAWS, "{}", entries(&read));
    let rows = "SELECT count(*) * 1000000 + sum(total) FROM allowance";
    assert_eq!(world.number(rows).await, 1_000_000 + DRAWS);
}

#[tokio::test]
async fn a_session_that_the_server_ended_is_replaced() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    store.reserve_ids(1).await.unwrap();
    let others = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'tombola'";
    assert!(world.number(others).await > 0);
    let batch = batch(vec![world.request("u", "key-00001", 1)]);
    let answer = match store.commit_draws(batch.clone()).await {
        // Whether the end was heard before or after the call began.
        Err(StoreError::Unavailable(_)) => store.commit_draws(batch).await,
        answer => answer,
    };
    assert!(is_drawn(&answer.unwrap()[0]));
}

#[tokio::test]
async fn a_refusal_leaves_nothing_and_its_key_may_be_tried_again() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = world.store().await;
    let few = world.request("few", "key-00001", 1);
    let many = world.request("many", "key-00002", 21);
    let answers = store
        .commit_draws(batch(vec![many.clone(), few]))
        .await
        .unwrap();
    let left = |answer: &DrawAnswer| match answer {
        DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { limit, left, .. }) => (*limit, *left),
        DrawAnswer::Refused(_) | DrawAnswer::Drawn { .. } | DrawAnswer::Replayed { .. } => {
            panic!("{answer:?}")
        }
    };
    assert_eq!(left(&answers[0]), (DrawLimit::UserPerDay, 20));
    assert!(is_drawn(&answers[1]));
    for table in ["request", "allowance", "draw"] {
        assert_eq!(
            world.number(&format!("SELECT count(*) FROM {table}")).await,
            1,
            "{table}"
        );
    }
    let alone = store.commit_draws(batch(vec![many.clone()])).await.unwrap();
    assert_eq!(left(&alone[0]), (DrawLimit::UserPerDay, 20));
    assert_eq!(world.number("SELECT count(*) FROM request").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM allowance").await, 1);
    let smaller = world.request("many", "key-00002", 20);
    assert!(is_drawn(
        &store.commit_draws(batch(vec![smaller])).await.unwrap()[0]
    ));
    let reused = store.commit_draws(batch(vec![many])).await.unwrap();
    assert_eq!(reused, [DrawAnswer::Refused(DrawRefusal::RequestKeyReused)]);
}

#[tokio::test]
async fn a_key_repeated_within_a_batch_repeats_the_draw_and_never_the_refusal() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = world.store().await;
    let requests = vec![
        world.request("a", "key-00001", 2),
        world.request("b", "key-00002", 21),
        world.request("a", "key-00001", 2),
        world.request("a", "key-00001", 3),
        world.request("b", "key-00002", 4),
    ];
    let ids: Vec<_> = requests.iter().map(|it| it.tickets[0].id).collect();
    let answers = store.commit_draws(batch(requests)).await.unwrap();
    assert_eq!(facts(&answers[0])[0].id, ids[0]);
    assert!(matches!(
        answers[1],
        DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { .. })
    ));
    assert_eq!(
        answers[2],
        DrawAnswer::Replayed {
            draws: facts(&answers[0]).to_vec()
        }
    );
    assert_eq!(
        answers[3],
        DrawAnswer::Refused(DrawRefusal::RequestKeyReused)
    );
    assert_eq!(facts(&answers[4])[0].id, ids[4]);
    let again = store
        .commit_draws(batch(vec![world.request("b", "key-00002", 4)]))
        .await
        .unwrap();
    assert_eq!(
        again,
        [DrawAnswer::Replayed {
            draws: facts(&answers[4]).to_vec()
        }]
    );
}

/// Two instances stamp their batches before they queue for the campaign's row.
#[tokio::test]
async fn a_batch_of_the_old_day_that_comes_late_counts_for_the_new_day() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = world.store().await;
    let midnight = Timestamp(NOON.0 - NOON.0 % 86_400_000_000);
    let (before, after) = (
        midnight.minus(Duration::from_secs(1)),
        midnight.plus(Duration::from_secs(1)),
    );
    let draw = async |key: &str, count, now| {
        let requests = vec![world.request("u", key, count)];
        store
            .commit_draws(DrawBatch {
                now,
                ..batch(requests)
            })
            .await
            .unwrap()
    };
    assert!(is_drawn(&draw("key-00001", 19, before).await[0]));
    assert!(is_drawn(&draw("key-00002", 1, after).await[0]));
    assert!(is_drawn(&draw("key-00003", 9, before).await[0]));
    assert!(!is_drawn(&draw("key-00004", 2, before).await[0]));
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM draw GROUP BY user_id, day) AS d";
    assert_eq!(world.number(most).await, 19);
    assert_eq!(world.number("SELECT day_total FROM allowance").await, 10);
}

#[tokio::test]
async fn text_that_the_database_cannot_hold_is_an_error_of_its_row() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    let odd = batch(vec![world.request("a\0b", "key-00001", 1)]);
    assert!(matches!(
        store.commit_draws(odd).await,
        Err(StoreError::Row(_))
    ));
    let plain = batch(vec![world.request("ab", "key-00001", 1)]);
    assert!(is_drawn(&store.commit_draws(plain).await.unwrap()[0]));
}

#[tokio::test]
async fn a_win_is_stored_with_its_keys_and_handed_over_only_where_there_is_a_relay() {
    let Some(world) = World::open(ONE_UNIT).await else {
        return;
    };
    let store = world.store().await;
    let answers = store
        .commit_draws(batch(vec![world.request("u", "key-00001", 2)]))
        .await
        .unwrap();
    let DrawAnswer::Drawn { draws, handoffs } = &answers[0] else {
        panic!("{answers:?}")
    };
    let won: HashSet<_> = draws.iter().map(|draw| draw.award.is_some()).collect();
    assert_eq!((won.len(), handoffs.len()), (2, 1));
    let row = "SELECT message_id, lease, state, due_at FROM delivery";
    let row = world.admin.query_one(row, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), handoffs[0].message.message_id);
    assert_eq!(
        (row.get::<_, i64>(1), row.get::<_, &str>(2)),
        (1, "pending")
    );
    assert_eq!(
        row.get::<_, i64>(3),
        NOON.plus(Schedule::default().grace(0)).0
    );
    let alone = DrawBatch {
        has_relay: false,
        ..batch(vec![world.request("u", "key-00002", 1)])
    };
    world.change("UPDATE prize SET stock = 2", &[]).await;
    let answers = store.commit_draws(alone).await.unwrap();
    assert!(matches!(&answers[0], DrawAnswer::Drawn { handoffs, .. } if handoffs.is_empty()));
    assert_eq!(
        world.number("SELECT min(due_at) FROM delivery").await,
        NOON.0
    );
}
