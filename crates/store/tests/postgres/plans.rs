//! Aim: a batch of draws reads its own rows, and not those that lie beside them: by plans
//! from a time when the tables were empty, by plans of tables that nobody has analyzed, and
//! by plans that know how large they are.

use crate::draws::{LIMITED, is_drawn};
use crate::world::{World, batch};
use std::collections::BTreeMap;
use tombola_core::ports::{AwardPath as _, DrawAnswer};
use tombola_store::conformance::counted::{Counted, Read, until_alone};
use tombola_store::postgres::PostgresStore;

/// Rows that lie beside those of a batch, in each table that it looks into.
const BESIDE: i64 = 20_000;

/// A connection plans a statement anew for its first five batches, and then for any.
const BATCHES: i64 = 8;

/// Of each sort of request in a batch.
const OF_EACH: i64 = 5;

/// The tables that a batch looks into, which stay as unknown to the planner as they are
/// made.
const TABLES: [&str; 5] = ["allowance", "blocked_user", "draw", "request", "user_win"];

async fn unknown_to_the_planner(world: &World) {
    for table in TABLES {
        let set = format!("ALTER TABLE {table} SET (autovacuum_enabled = false)");
        world.change(&set, &[]).await;
    }
}

/// Rows alone: a table made meanwhile, a temporary one too, would have every plan made anew.
async fn fill(world: &World) {
    let beside = format!("generate_series(1, {BESIDE}) AS n");
    let fill = format!(
        "INSERT INTO blocked_user SELECT 'blocked-' || n, 'cheat', 0 FROM {beside};
         INSERT INTO allowance SELECT 1, 'user-' || n, 1, 1, 0, 1 FROM {beside} ON CONFLICT DO NOTHING;
         INSERT INTO user_win SELECT id, 'user-' || n, 1 FROM prize, {beside} ON CONFLICT DO NOTHING;
         INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw)
           SELECT 1, 'shop', 'beside-' || n, '', 1 FROM {beside};
         INSERT INTO draw (id, campaign_id, version, user_id, client, roll, drawn_at, day, claim_key)
           SELECT 1000000 + n, 1, 1, 'user-' || n, 'shop', 0, 0, 0, 1 FROM {beside}"
    );
    world.shell().await.batch_execute(&fill).await.unwrap();
}

/// Users of whom nothing is known, others who have drawn and won, others who are blocked
/// once the tables are filled, and a request that was answered before. Gives the number of
/// requests.
async fn draw(world: &World, store: &PostgresStore, name: &str) -> i64 {
    let again = world.request("again", &format!("{name}-again"), 1);
    let answers = store.commit_draws(batch(vec![again.clone()])).await;
    assert!(is_drawn(&answers.unwrap()[0]));
    for of_batch in 0..BATCHES {
        let mut requests = vec![again.clone()];
        for n in of_batch * OF_EACH..(1 + of_batch) * OF_EACH {
            let beside = 100 * n + 1;
            for (sort, user) in [
                ("new", format!("{name}-{n}")),
                ("known", format!("user-{beside}")),
                ("blocked", format!("blocked-{beside}")),
            ] {
                requests.push(world.request(&user, &format!("{name}-{sort}-{n}"), 1));
            }
        }
        let answers = store.commit_draws(batch(requests)).await.unwrap();
        assert!(matches!(answers[0], DrawAnswer::Replayed { .. }));
    }
    1 + BATCHES * (1 + 3 * OF_EACH)
}

fn most(read: Option<&Read>) -> i64 {
    read.map_or(0, |read| read.entries.max(read.rows))
}

/// What the stores have read since then, now that they are gone: of every table something.
async fn read_since(world: &World, before: &mut Counted) -> BTreeMap<String, Read> {
    until_alone(&world.admin).await.unwrap();
    let is_all = |read: &BTreeMap<String, Read>| {
        let mut tables = TABLES.iter();
        tables.all(|it| most(read.get(*it)) >= BATCHES)
    };
    before.until(&world.admin, is_all).await.unwrap()
}

/// A batch looks each of its requests up once, and again where it writes.
fn assert_its_own(plans: &str, requests: i64, read: &BTreeMap<String, Read>) {
    for (table, read) in read {
        assert!(
            most(Some(read)) <= 2 * requests,
            "by plans of {plans}, {requests} requests read {read:?} of {table}"
        );
    }
}

#[tokio::test]
async fn a_batch_reads_its_own_rows_and_none_that_lie_beside_them() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    unknown_to_the_planner(&world).await;
    let mut counted = Counted::default();
    let store = world.store().await;
    let mut requests = draw(&world, &store, "empty").await;
    fill(&world).await;
    requests += draw(&world, &store, "filled").await;
    drop(store);
    let read = read_since(&world, &mut counted).await;
    assert_its_own("empty tables", requests, &read);
    for plans in ["unknown tables", "known tables"] {
        let store = world.store().await;
        let requests = draw(&world, &store, plans).await;
        drop(store);
        let read = read_since(&world, &mut counted).await;
        assert_its_own(plans, requests, &read);
        world.admin.batch_execute("ANALYZE").await.unwrap();
    }
}
