//! A batch that waits for its campaign's turn, and who joins it.

use crate::draws::{ALWAYS, LIMITED, facts, is_drawn};
use crate::world::{NOON, World, batch};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tombola_core::Timestamp;
use tombola_core::draw::{DrawLimit, DrawRefusal, DrawRequest};
use tombola_core::ports::{Arrivals, AwardPath as _, DrawAnswer, StoreResult};

/// When its turn comes.
const TURN: Timestamp = Timestamp(NOON.0 + 250_000);

/// Requests that arrived meanwhile, and how often they were asked for.
struct Meanwhile {
    requests: Mutex<Vec<DrawRequest>>,
    asked: AtomicUsize,
}

impl Meanwhile {
    fn new(requests: Vec<DrawRequest>) -> Arc<Self> {
        Arc::new(Self {
            requests: Mutex::new(requests),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Arrivals for Meanwhile {
    fn join(&self) -> (Timestamp, Vec<DrawRequest>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        (TURN, std::mem::take(&mut *self.requests.lock().unwrap()))
    }
}

/// Has the campaign's turn until it commits.
async fn in_turn(world: &World) -> Client {
    let shell = world.shell().await;
    let lock = "BEGIN; SELECT 1 FROM campaign WHERE id = 1 FOR NO KEY UPDATE";
    shell.batch_execute(lock).await.unwrap();
    shell
}

/// A batch of this one that waits for its turn.
async fn begin(
    world: &World,
    one: DrawRequest,
    meanwhile: &Arc<Meanwhile>,
) -> JoinHandle<StoreResult<Vec<DrawAnswer>>> {
    let (store, meanwhile) = (world.store().await, Arc::clone(meanwhile));
    let committed = tokio::spawn(async move {
        let arrivals = Arc::clone(&meanwhile);
        store.commit_draws_with(batch(vec![one]), &*arrivals).await
    });
    world.until_waiting(1).await;
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn who_arrives_while_a_batch_waits_for_its_campaign_is_drawn_in_its_turn() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let before = world.request("u3", "known", 1);
    let store = world.store().await;
    let known = store.commit_draws(batch(vec![before])).await.unwrap();
    let turn = in_turn(&world).await;
    let arrive = vec![
        world.request("u2", "two", 2),
        world.request("u3", "known", 1),
    ];
    let meanwhile = Meanwhile::new(arrive);
    let committed = begin(&world, world.request("u1", "one", 1), &meanwhile).await;
    assert_eq!(meanwhile.asked(), 0, "asked before its turn");
    turn.batch_execute("COMMIT").await.unwrap();
    let answers = committed.await.unwrap().unwrap();
    assert_eq!((answers.len(), meanwhile.asked()), (3, 1));
    assert!(is_drawn(&answers[0]) && is_drawn(&answers[1]));
    assert_eq!(facts(&answers[1]).len(), 2);
    let drawn = answers[..2].iter().flat_map(facts);
    assert!(drawn.into_iter().all(|fact| fact.drawn_at == TURN));
    assert!(matches!(answers[2], DrawAnswer::Replayed { .. }));
    assert_eq!(facts(&answers[2]), facts(&known[0]));
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 4);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 3);
    assert_eq!(world.number("SELECT draws FROM campaign_count").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_of_those_who_began_a_batch_and_those_who_joined_it_together() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let turn = in_turn(&world).await;
    let meanwhile = Meanwhile::new(vec![
        world.request("u1", "two", 10),
        world.request("u1", "three", 1),
    ]);
    let committed = begin(&world, world.request("u1", "one", 10), &meanwhile).await;
    turn.batch_execute("COMMIT").await.unwrap();
    let answers = committed.await.unwrap().unwrap();
    assert!(is_drawn(&answers[0]) && is_drawn(&answers[1]));
    assert!(matches!(
        answers[2],
        DrawAnswer::Refused(DrawRefusal::AllowanceExhausted {
            limit: DrawLimit::UserPerDay,
            ..
        })
    ));
    assert_eq!(world.number("SELECT total FROM allowance").await, 20);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 2);
}

/// The erasure renames what a user has used, and does not have the campaign's turn.
#[tokio::test(flavor = "multi_thread")]
async fn user_who_is_erased_between_reading_and_writing_begins_anew() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = world.store().await;
    let first = batch(vec![world.request("u1", "one", 3)]);
    store.commit_draws(first).await.unwrap();
    let erasure = world.shell().await;
    let rename = "BEGIN; UPDATE allowance SET user_id = 'erased-1' WHERE user_id = 'u1'";
    erasure.batch_execute(rename).await.unwrap();
    let again = batch(vec![
        world.request("u1", "two", 1),
        world.request("u2", "three", 1),
    ]);
    let committed = tokio::spawn(async move { store.commit_draws(again).await });
    world.until_waiting(1).await;
    erasure.batch_execute("COMMIT").await.unwrap();
    assert!(committed.await.unwrap().unwrap().iter().all(is_drawn));
    for (user, total) in [("erased-1", 3), ("u1", 1), ("u2", 1)] {
        let used = format!("SELECT total FROM allowance WHERE user_id = '{user}'");
        assert_eq!(world.number(&used).await, total, "{user}");
    }
}
