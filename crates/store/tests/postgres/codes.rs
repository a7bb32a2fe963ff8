//! Codes, given by several workers at once.

use crate::server::options;
use crate::world::{NOON, World};
use std::sync::Arc;
use tokio::task::JoinSet;
use tombola_core::campaign::Kind;
use tombola_core::ports::{Actor, AwardPath as _, Catalog as _, Copy, CopyAnswer, ImportId};
use tombola_core::reason::HoldReason;
use tombola_store::postgres::PostgresStore;
use tombola_store::{Store, StoreOptions};

pub(crate) const CODES: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "code"
name = "A code"
kind = "code"
odds = "100%"
"#;

const DELIVERED: CopyAnswer = CopyAnswer::Delivered { kind: Kind::Code };
const NO_CODE: CopyAnswer = CopyAnswer::Held {
    kind: Kind::Code,
    reason: HoldReason::NoCode,
};

/// Delivers all of them in batches, from two stores that take turns.
async fn deliver_from_two(world: &World, copies: &[Copy], size: usize) -> Vec<CopyAnswer> {
    let mut tasks = JoinSet::new();
    for (n, store) in world.stores(2).await.into_iter().enumerate() {
        let mine = copies.chunks(size).skip(n).step_by(2);
        let mine: Vec<Vec<Copy>> = mine.map(<[Copy]>::to_vec).collect();
        tasks.spawn(deliver_all(store, mine));
    }
    tasks.join_all().await.concat()
}

async fn deliver_all(store: Arc<PostgresStore>, batches: Vec<Vec<Copy>>) -> Vec<CopyAnswer> {
    let mut answers = Vec::new();
    for batch in batches {
        answers.extend(store.deliver_local(batch, NOON).await.unwrap());
    }
    answers
}

fn count(answers: &[CopyAnswer], answer: &CopyAnswer) -> usize {
    answers.iter().filter(|it| *it == answer).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_awards_delivered_from_two_connections_have_a_code_each() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    for codes in [1, 399, 600] {
        world.codes(1, codes, true, 0).await;
    }
    let copies = world.win(&world.store().await, 1000).await;
    let answers = deliver_from_two(&world, &copies, 50).await;
    assert_eq!(count(&answers, &DELIVERED), 1000);
    for (what, expected) in [
        ("SELECT count(DISTINCT award_id) FROM code", 1000),
        (
            "SELECT count(*) FROM delivery JOIN code USING (award_id) WHERE state = 'delivered'",
            1000,
        ),
        (
            "SELECT count(*) FROM attempt WHERE n = 1 AND decision = 'delivered' AND detail IS NULL",
            1000,
        ),
    ] {
        assert_eq!(world.number(what).await, expected, "{what}");
    }
    assert_eq!(world.deadlocks().await, 0);
}

/// Each batch asks for ten; near the end both find too few, and each has some that the
/// other looks for.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_run_out_of_codes_give_the_last_one_and_meet_no_deadlock() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 100, true, 0).await;
    world.codes(1, 105, true, 0).await;
    world.codes(1, 50, false, 0).await;
    let copies = world.win(&world.store().await, 400).await;
    let answers = deliver_from_two(&world, &copies, 10).await;
    assert_eq!(
        (count(&answers, &DELIVERED), count(&answers, &NO_CODE)),
        (205, 195)
    );
    let free = "SELECT count(*) FROM code WHERE award_id IS NULL";
    assert_eq!(world.number(free).await, 50);
    assert_eq!(world.deadlocks().await, 0);
}

#[tokio::test]
async fn codes_are_given_in_the_order_of_their_imports_and_files() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 3, true, 0).await;
    world.codes(1, 4, true, 0).await;
    let store = world.store().await;
    let copies = world.win(&store, 5).await;
    for batch in copies.chunks(2) {
        store.deliver_local(batch.to_vec(), NOON).await.unwrap();
    }
    let out_of_order =
        "SELECT count(*) FROM (SELECT id, row_number() OVER (ORDER BY award_id) AS nth
                        FROM code WHERE award_id IS NOT NULL) AS given WHERE id <> nth";
    assert_eq!(world.number(out_of_order).await, 0);
}

/// SKIP LOCKED alone would hold it as if there were no code.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_code_in_another_hand_is_waited_for() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 1, true, 0).await;
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let shell = world.shell().await;
    for (end, copy, expected) in [
        ("ROLLBACK", &copies[0], DELIVERED),
        ("COMMIT", &copies[1], NO_CODE),
    ] {
        if end == "COMMIT" {
            world.codes(1, 1, true, 0).await;
        }
        let take = "BEGIN; UPDATE code SET award_id = 77 WHERE award_id IS NULL";
        shell.batch_execute(take).await.unwrap();
        let batch = vec![copy.clone()];
        let (answers, ()) = tokio::join!(store.deliver_local(batch, NOON), async {
            world.until_waiting(1).await;
            shell.batch_execute(end).await.unwrap();
        });
        assert_eq!(answers.unwrap(), [expected], "{end}");
    }
}

/// Whoever makes an import ready locks its prize; then either the hold is not written,
/// or it is there to be found.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_meets_the_end_of_an_import_waits_for_it_and_is_not_held() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 3, false, 0).await;
    let store = world.store().await;
    let copies = world.win(&store, 3).await;
    let shell = world.shell().await;
    let finish = "BEGIN; SELECT id FROM prize WHERE id = 1 FOR UPDATE;
                  UPDATE code_import SET ready = 1";
    shell.batch_execute(finish).await.unwrap();
    let (answers, ()) = tokio::join!(store.deliver_local(copies, NOON), async {
        world.until_waiting(1).await;
        shell.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(answers.unwrap(), [DELIVERED; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn draws_go_on_while_an_award_finds_no_code() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 1).await;
    let shell = world.shell().await;
    let share = "BEGIN; SELECT id FROM prize WHERE id = 1 FOR NO KEY UPDATE";
    shell.batch_execute(share).await.unwrap();
    assert_eq!(store.deliver_local(copies, NOON).await.unwrap(), [NO_CODE]);
    shell.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn codes_that_do_not_open_are_passed_by_and_stay_free() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 50, true, 9).await;
    world.codes(1, 6, true, 0).await;
    let store = world.store().await;
    let copies = world.win(&store, 8).await;
    let answers = store.deliver_local(copies.clone(), NOON).await.unwrap();
    let failed = CopyAnswer::Failed { is_dead: false };
    assert_eq!(answers[..6], [DELIVERED; 6]);
    assert_eq!(answers[6..], [failed.clone(), failed]);
    let sealed = "SELECT count(*) FROM code WHERE key_version = 9 AND award_id IS NULL";
    assert_eq!(world.number(sealed).await, 50);
    let told = "SELECT count(*) FROM attempt WHERE decision = 'fail' AND state = 'retryable'
                AND detail LIKE 'cannot be opened%'";
    assert_eq!(world.number(told).await, 2);
}

/// Those that are in hand already do not hide the one that is still looked for.
#[tokio::test]
async fn one_code_that_does_not_open_costs_no_award_its_code() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 1, true, 9).await;
    world.codes(1, 30, true, 0).await;
    let store = world.store().await;
    let copies = world.win(&store, 30).await;
    let answers = store.deliver_local(copies, NOON).await.unwrap();
    assert_eq!(count(&answers, &DELIVERED), 30);
}

/// An import that is withdrawn while one of its codes is being given.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_given_while_its_import_is_withdrawn_stays_with_its_award() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    world.codes(1, 2, true, 0).await;
    world
        .change("UPDATE code_import SET ready_at = 0", &[])
        .await;
    let giving = world.shell().await;
    let given = "BEGIN; UPDATE code SET award_id = 77 WHERE id = (SELECT min(id) FROM code)";
    giving.batch_execute(given).await.unwrap();
    let options = options(&world.config);
    let store = Store::connect(&options, StoreOptions::default()).await;
    let store = store.unwrap();
    let by = Actor {
        reason: Some("because".to_owned()),
        ..Actor::named("ada")
    };
    let withdrawn = store.withdraw_import("fair", "code", ImportId(1), by, NOON);
    assert!(withdrawn.await.unwrap());
    let mut removing = JoinSet::new();
    removing.spawn(async move { store.remove_import(Some(ImportId(1))).await });
    world.until_waiting(1).await;
    giving.batch_execute("COMMIT").await.unwrap();
    removing.join_next().await.unwrap().unwrap().unwrap();
    let given = "SELECT count(*) FROM code WHERE award_id = 77";
    assert_eq!(world.number(given).await, 1);
    assert_eq!(world.number("SELECT count(*) FROM code").await, 1);
}
