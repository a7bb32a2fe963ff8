//! A batch that waits for its campaign's turn, and who joins it.

use crate::draws::{ALWAYS, LIMITED, facts, is_drawn};
use crate::world::{NOON, World, batch};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tombola_core::Timestamp;
use tombola_core::draw::{DrawLimit, DrawRefusal, DrawRequest};
use tombola_core::ports::{Arrivals, AwardPath as _, DrawAnswer};
use tombola_store::postgres::PostgresStore;

/// When its turn comes.
const TURN: Timestamp = Timestamp(NOON.0 + 250_000);

/// Requests that arrived meanwhile, and how often they were asked for.
struct Meanwhile {
    requests: Mutex<Vec<DrawRequest>>,
    asked: AtomicUsize,
}

impl Meanwhile {
    fn new(requests: Vec<DrawRequest>) -> Self {
        Self {
            requests: Mutex::new(requests),
            asked: AtomicUsize::new(0),
        }
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

/// A batch of this one that waits for its turn, which comes once somebody has had it.
async fn commit(
    (world, store): (&World, &Arc<PostgresStore>),
    one: DrawRequest,
    meanwhile: Vec<DrawRequest>,
) -> Vec<DrawAnswer> {
    let turn = in_turn(world).await;
    let meanwhile = Arc::new(Meanwhile::new(meanwhile));
    let mut committing = JoinSet::new();
    let (store, arrivals) = (Arc::clone(store), Arc::clone(&meanwhile));
    committing.spawn(async move {
        let batch = batch(vec![one]);
        store.commit_draws_with(batch, &*arrivals).await
    });
    world.until_waiting(1).await;
    assert_eq!(meanwhile.asked(), 0, "asked before its turn");
    turn.batch_execute("COMMIT").await.unwrap();
    let answers = committing.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(meanwhile.asked(), 1);
    answers
}

/// The second time the store expects that somebody joins.
#[tokio::test(flavor = "multi_thread")]
async fn who_arrives_while_a_batch_waits_for_its_campaign_is_drawn_in_its_turn() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = Arc::new(world.store().await);
    let before = world.request("u3", "known", 1);
    let known = store.commit_draws(batch(vec![before])).await.unwrap();
    for round in 0..2 {
        let arrive = vec![
            world.request("u2", &format!("two-{round}"), 2),
            world.request("u3", "known", 1),
        ];
        let one = world.request("u1", &format!("one-{round}"), 1);
        let answers = commit((&world, &store), one, arrive).await;
        assert_eq!(answers.len(), 3);
        assert!(is_drawn(&answers[0]) && is_drawn(&answers[1]));
        assert_eq!(facts(&answers[1]).len(), 2);
        let mut drawn = answers[..2].iter().flat_map(facts);
        assert!(drawn.all(|fact| fact.drawn_at == TURN));
        assert!(matches!(answers[2], DrawAnswer::Replayed { .. }));
        assert_eq!(facts(&answers[2]), facts(&known[0]));
    }
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 7);
    assert_eq!(world.number("SELECT count(*) FROM request").await, 5);
    assert_eq!(world.number("SELECT draws FROM campaign_count").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_of_those_who_began_a_batch_and_those_who_joined_it_together() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = Arc::new(world.store().await);
    let arrive = vec![
        world.request("u1", "two", 10),
        world.request("u1", "three", 1),
    ];
    let one = world.request("u1", "one", 10);
    let answers = commit((&world, &store), one, arrive).await;
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
    let mut committing = JoinSet::new();
    committing.spawn(async move { store.commit_draws(again).await });
    world.until_waiting(1).await;
    erasure.batch_execute("COMMIT").await.unwrap();
    let answers = committing.join_next().await.unwrap().unwrap().unwrap();
    assert!(answers.iter().all(is_drawn));
    for (user, total) in [("erased-1", 3), ("u1", 1), ("u2", 1)] {
        let used = format!("SELECT total FROM allowance WHERE user_id = '{user}'");
        assert_eq!(world.number(&used).await, total, "{user}");
    }
}
