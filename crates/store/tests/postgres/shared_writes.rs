//! What is written once for both databases, while others draw and move awards: they do not take
//! its lock.

use crate::codes::CODES;
use crate::server::options;
use crate::world::{NOON, World, batch};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tombola_core::award::State;
use tombola_core::limits::STEP_ROWS_SEEN_MAX;
use tombola_core::ports::{
    Action, Actor, AwardPath as _, BulkAction, BulkFilter, BulkSpec, Catalog as _, ImportBegun,
    Operate as _, OperationState,
};
use tombola_store::{SealKeys, Store, StoreOptions};

const WON: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "well done"
odds = "100%"
"#;

fn by() -> Actor {
    Actor {
        reason: Some("because".to_owned()),
        ..Actor::named("ada")
    }
}

async fn open(world: &World) -> Arc<Store> {
    open_with(world, None).await
}

async fn open_with(world: &World, seal_keys: Option<SealKeys>) -> Arc<Store> {
    let (options, store) = (options(&world.config), StoreOptions::default());
    let store = StoreOptions { seal_keys, ..store };
    Store::connect(&options, store).await.unwrap()
}

async fn begun(store: &Store, action: BulkAction, filter: BulkFilter) -> i64 {
    let spec = BulkSpec {
        action,
        filter,
        matched: 1,
    };
    let begun = store.begin_operation(spec, by(), NOON).await;
    begun.unwrap().id
}

async fn erasure_of_u1(store: &Store) -> i64 {
    let filter = BulkFilter {
        user: Some("u1".to_owned()),
        ..BulkFilter::default()
    };
    let pseudonym = "erased-1".to_owned();
    begun(store, BulkAction::Erase { pseudonym }, filter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_cancel_passes_by_an_award_that_has_moved_on_when_it_has_it() {
    let Some(world) = World::open(WON).await else {
        return;
    };
    let won = world.win(&world.store().await, 1).await;
    let store = open(&world).await;
    let held = store.act(won[0].award, Action::Hold, by(), NOON).await;
    held.unwrap();
    let filter = BulkFilter {
        state: Some(State::Held),
        ..BulkFilter::default()
    };
    let cancel = BulkAction::Cancel {
        return_stock: false,
    };
    let id = begun(&store, cancel, filter).await;
    let moving = world.shell().await;
    let release =
        "BEGIN; UPDATE delivery SET state = 'pending', hold_reason = NULL, held_at = NULL,
                   due_at = 1, lease = lease + 1";
    moving.batch_execute(release).await.unwrap();
    let mut stepping = JoinSet::new();
    stepping.spawn(async move { store.step_operation(id, NOON).await });
    world.until_waiting(1).await;
    moving.batch_execute("COMMIT").await.unwrap();
    let stepped = stepping.join_next().await.unwrap().unwrap().unwrap();
    let stepped = stepped.unwrap();
    assert_eq!((stepped.done, stepped.refused), (0, 1));
    let pending = "SELECT count(*) FROM delivery WHERE state = 'pending'";
    assert_eq!(world.number(pending).await, 1);
}

/// Each process draws from a block of ids of its own, so ids do not follow the time. The second
/// time the user's counters were wrong before, which is no reason to walk for ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_finds_what_the_user_drew_behind_it() {
    for wrong in [0, 5] {
        let Some(world) = World::open(WON).await else {
            return;
        };
        let draws = world.store().await;
        let draw = async |key: &str| {
            let one = batch(vec![world.request("u1", key, 1)]);
            draws.commit_draws(one).await.unwrap();
        };
        draw("early").await;
        let others = format!(
            "INSERT INTO draw (id, campaign_id, version, user_id, client, roll, drawn_at, day, claim_key)
             SELECT n, 1, 1, 'other', 'shop', 0, 0, 0, 1 FROM generate_series(10, {}) AS n",
            10 + STEP_ROWS_SEEN_MAX
        );
        world.change(&others, &[]).await;
        let store = open(&world).await;
        let id = erasure_of_u1(&store).await;
        let step = async || store.step_operation(id, NOON).await.unwrap().unwrap().state;
        assert_eq!(step().await, OperationState::Running);
        draw("behind it").await;
        let miscount = format!("UPDATE allowance SET total = total + {wrong}");
        world.change(&miscount, &[]).await;
        let blocked = "INSERT INTO blocked_user (user_id, reason, at) VALUES ('u1', 'cheat', 0)";
        world.change(blocked, &[]).await;
        let still_blocked = "SELECT count(*) FROM blocked_user WHERE user_id = 'u1'";
        let mut steps = 0;
        while step().await == OperationState::Running {
            steps += 1;
            assert!(steps < 10, "it ends");
            assert_eq!(world.number(still_blocked).await, 1);
        }
        for (what, expected) in [
            (still_blocked, 0),
            ("SELECT count(*) FROM draw WHERE user_id = 'u1'", 0),
            ("SELECT count(*) FROM draw WHERE user_id = 'erased-1'", 2),
            (
                "SELECT total FROM allowance WHERE user_id = 'erased-1'",
                2 + wrong,
            ),
            ("SELECT count(*) FROM meta WHERE name LIKE 'erase%'", 0),
        ] {
            assert_eq!(world.number(what).await, expected, "{what}");
        }
    }
}

/// A batch in its turn counts from a row that an erasure must not take away meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn erasure_waits_for_the_turn_in_which_its_user_draws() {
    let Some(world) = World::open(WON).await else {
        return;
    };
    let draws = world.store().await;
    let one = batch(vec![world.request("u1", "early", 1)]);
    draws.commit_draws(one).await.unwrap();
    let store = open(&world).await;
    let id = erasure_of_u1(&store).await;
    let state = store.step_operation(id, NOON).await.unwrap().unwrap().state;
    assert_eq!(state, OperationState::Running);

    let turn = world.shell().await;
    turn.batch_execute("BEGIN; SELECT 1 FROM campaign FOR NO KEY UPDATE")
        .await
        .unwrap();
    let mut stepping = JoinSet::new();
    stepping.spawn(async move {
        let running = OperationState::Running;
        while store.step_operation(id, NOON).await.unwrap().unwrap().state == running {}
    });
    world.until_waiting(1).await;
    turn.batch_execute(
        "INSERT INTO draw (id, campaign_id, version, user_id, client, roll, drawn_at, day, claim_key)
           SELECT 1000000, campaign_id, 1, 'u1', 'shop', 0, 0, 0, 1 FROM allowance;
         INSERT INTO allowance SELECT campaign_id, user_id, n + 1, total + 1, day, day_total + 1
           FROM allowance;
         DELETE FROM allowance WHERE n = 1;
         COMMIT",
    )
    .await
    .unwrap();
    stepping.join_next().await.unwrap().unwrap();
    let erased = "SELECT total FROM allowance WHERE user_id = 'erased-1'";
    assert_eq!(world.number(erased).await, 2);
    for table in ["allowance", "draw"] {
        let left = format!("SELECT count(*) FROM {table} WHERE user_id = 'u1'");
        assert_eq!(world.number(&left).await, 0, "{table}");
    }
}

fn keys(versions: &[i32]) -> SealKeys {
    let secret = |version: &i32| (*version, [u8::try_from(*version).unwrap(); 32]);
    let secrets: BTreeMap<i32, [u8; 32]> = versions.iter().map(secret).collect();
    SealKeys::new("secret.key", secrets)
}

async fn import(store: &Store, codes: std::ops::Range<u32>) {
    let begun = store.begin_import("fair", "code", by(), NOON).await;
    let ImportBegun::Begun(import) = begun.unwrap() else {
        panic!("no import");
    };
    let codes = codes.map(|n| format!("CODE-{n:04}")).collect();
    store.add_codes(import, codes, false).await.unwrap();
    store.finish_import(import, 0, by(), NOON).await.unwrap();
}

async fn seal_anew(store: &Store) {
    while !store.reseal_step().await.unwrap().is_done {}
}

/// By the rounds of the guide: first all have the new version and none uses it, then one after the
/// other does.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_sealed_under_the_old_version_is_sealed_anew_when_the_last_one_has_the_new() {
    let Some(world) = World::open(CODES).await else {
        return;
    };
    let waiting = || keys(&[1, 2]).with_waiting(Some(2));
    let other = open_with(&world, Some(waiting())).await;
    import(&other, 0..5).await;
    let first = open_with(&world, Some(keys(&[1, 2]))).await;
    seal_anew(&first).await;
    let old = "SELECT count(*) FROM code WHERE key_version <> 2";
    assert_eq!(world.number(old).await, 0);
    // One that does not use it yet, started anew, changes nothing back.
    let restarted = open_with(&world, Some(waiting())).await;
    seal_anew(&restarted).await;
    assert_eq!(world.number(old).await, 0);
    import(&restarted, 5..9).await;
    assert_eq!(world.number(old).await, 4);
    let last = open_with(&world, Some(keys(&[1, 2]))).await;
    seal_anew(&last).await;
    assert_eq!(world.number(old).await, 0);
}
