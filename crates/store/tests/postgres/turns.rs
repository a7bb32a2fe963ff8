//! A batch that waits for its campaign's turn, and who joins it.

use crate::cluster::Cluster;
use crate::draws::{ALWAYS, LIMITED, facts, is_drawn};
use crate::processes::process;
use crate::server::{Database, options, skip};
use crate::world::{NOON, World, batch};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tombola_core::Timestamp;
use tombola_core::draw::{DrawLimit, DrawRefusal, DrawRequest};
use tombola_core::ports::{Arrivals, AwardPath as _, DrawAnswer, StoreResult};
use tombola_store::postgres::PostgresStore;
use tombola_store::{Store, StoreOptions};

/// When its turn comes.
const TURN: Timestamp = Timestamp(NOON.0 + 250_000);

/// Who arrives while a batch waits.
#[derive(Default)]
struct Meanwhile {
    /// One after the other, for each time that the batch looks.
    early: Mutex<VecDeque<Vec<DrawRequest>>>,
    /// Once its turn has begun.
    late: Mutex<Vec<DrawRequest>>,
}

impl Meanwhile {
    fn new<const N: usize>(early: [Vec<DrawRequest>; N], late: Vec<DrawRequest>) -> Arc<Self> {
        Arc::new(Self {
            early: Mutex::new(early.into()),
            late: Mutex::new(late),
        })
    }

    fn is_over(&self) -> bool {
        self.early.lock().unwrap().is_empty()
    }
}

impl Arrivals for Meanwhile {
    fn now(&self) -> Timestamp {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        self.early.lock().unwrap().push_front(late);
        TURN
    }

    fn standing(&self) -> usize {
        self.early.lock().unwrap().front().map_or(0, Vec::len)
    }

    fn join(&self) -> Vec<DrawRequest> {
        self.early.lock().unwrap().pop_front().unwrap_or_default()
    }
}

/// Has the campaign's turn until it commits.
async fn in_turn(world: &World) -> Client {
    let shell = world.shell().await;
    let lock = "BEGIN; SELECT 1 FROM campaign WHERE id = 1 FOR NO KEY UPDATE";
    shell.batch_execute(lock).await.unwrap();
    shell
}

/// A batch on its way.
type Committing = JoinSet<StoreResult<Vec<DrawAnswer>>>;

fn commit(store: &Arc<PostgresStore>, one: DrawRequest, arrivals: &Arc<Meanwhile>) -> Committing {
    let mut committing = JoinSet::new();
    let (store, arrivals) = (Arc::clone(store), Arc::clone(arrivals));
    committing.spawn(async move {
        let batch = batch(vec![one]);
        store.commit_draws_with(batch, &*arrivals).await
    });
    committing
}

async fn answers(mut committing: Committing) -> Vec<DrawAnswer> {
    committing.join_next().await.unwrap().unwrap().unwrap()
}

/// The answers of a batch that waits for its turn, which comes once somebody has had it.
async fn commit_behind(
    (world, store): (&World, &Arc<PostgresStore>),
    one: DrawRequest,
    meanwhile: Vec<DrawRequest>,
) -> Vec<DrawAnswer> {
    let turn = in_turn(world).await;
    let committing = commit(store, one, &Meanwhile::new([], meanwhile));
    world.until_waiting(1).await;
    turn.batch_execute("COMMIT").await.unwrap();
    answers(committing).await
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
        let answers = commit_behind((&world, &store), one, arrive).await;
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
    let answers = commit_behind((&world, &store), one, arrive).await;
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

/// A store that expects others to join, and two draws of `u1`: what is known is read ahead.
async fn crowded(world: &World) -> Arc<PostgresStore> {
    let store = Arc::new(world.store().await);
    crowd(world, &store).await;
    store
}

async fn crowd(world: &World, store: &Arc<PostgresStore>) {
    let [one, two] = ["before", "with it"].map(|key| world.request("u1", key, 1));
    let answers = commit_behind((world, store), one, vec![two]).await;
    assert!(answers.iter().all(is_drawn));
}

/// Returns as soon as somebody has read what is known of requests, and waits for more.
async fn until_read_ahead(world: &World) {
    let has_read = "state = 'idle' AND query LIKE 'SELECT q.client,%'";
    world.until(1, has_read).await;
}

/// Of a batch of one store, read ahead, while another does this and has the turn.
async fn outrun(world: &World, store: &Arc<PostgresStore>, key: &str, by: &str) -> DrawAnswer {
    let turn = in_turn(world).await;
    let one = world.request("u1", key, 1);
    let committing = commit(store, one, &Arc::default());
    until_read_ahead(world).await;
    turn.batch_execute(by).await.unwrap();
    turn.batch_execute("COMMIT").await.unwrap();
    answers(committing).await.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_key_that_another_process_had_first_is_answered_by_what_it_drew() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = crowded(&world).await;
    let first = "INSERT INTO request SELECT campaign_id, client, 'raced', fingerprint, first_draw
                 FROM request WHERE request_key = 'before'";
    let answer = outrun(&world, &store, "raced", first).await;
    assert!(matches!(answer, DrawAnswer::Replayed { .. }), "{answer:?}");
    let before = "SELECT first_draw FROM request WHERE request_key = 'before'";
    assert_eq!(facts(&answer)[0].id.0, world.number(before).await);
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 2);
    assert_eq!(world.number("SELECT total FROM allowance").await, 2);
}

const FEW: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[limits]
campaign_total = 1000
[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "well done"
odds = "50%"
"#;

/// Also where it would be refused now: the campaign is over by another's draws, or by a person.
#[tokio::test(flavor = "multi_thread")]
async fn request_that_has_drawn_elsewhere_meanwhile_is_not_refused() {
    for end in [
        "UPDATE campaign SET draws_besides = 1000000",
        "UPDATE campaign SET state = 'paused'",
    ] {
        for others in [0, 1] {
            let Some(world) = World::open(FEW).await else {
                return;
            };
            let store = crowded(&world).await;
            let first =
                "INSERT INTO request SELECT campaign_id, client, 'raced', fingerprint, first_draw
                         FROM request WHERE request_key = 'before'";
            let elsewhere = format!("{first}; {end}");
            let turn = in_turn(&world).await;
            let one = world.request("u1", "raced", 1);
            let with_it = (0..others).map(|n| world.request("u2", &format!("new {n}"), 1));
            let meanwhile = Meanwhile::new([with_it.collect()], vec![]);
            let committing = commit(&store, one, &meanwhile);
            until_read_ahead(&world).await;
            turn.batch_execute(&elsewhere).await.unwrap();
            turn.batch_execute("COMMIT").await.unwrap();
            let answers = answers(committing).await;
            assert!(
                matches!(answers[0], DrawAnswer::Replayed { .. }),
                "{end}: {answers:?}"
            );
            assert!(
                answers[1..]
                    .iter()
                    .all(|it| matches!(it, DrawAnswer::Refused(_)))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limit_that_other_processes_used_up_meanwhile_refuses() {
    for used in ["total = 30", "day_total = 20"] {
        let Some(world) = World::open(LIMITED).await else {
            return;
        };
        let store = crowded(&world).await;
        let elsewhere = format!("UPDATE allowance SET {used}");
        let answer = outrun(&world, &store, "raced", &elsewhere).await;
        let DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { left: 0, .. }) = answer else {
            panic!("{used}: {answer:?}");
        };
        assert_eq!(world.number("SELECT count(*) FROM draw").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_who_drew_elsewhere_meanwhile_is_counted_from_there() {
    let Some(world) = World::open(LIMITED).await else {
        return;
    };
    let store = crowded(&world).await;
    let elsewhere = "UPDATE allowance SET total = 29, day_total = 19";
    let answer = outrun(&world, &store, "raced", elsewhere).await;
    assert!(is_drawn(&answer));
    let used = "SELECT total * 100 + day_total FROM allowance";
    assert_eq!(world.number(used).await, 3020);
}

#[tokio::test(flavor = "multi_thread")]
async fn user_who_is_erased_between_reading_and_writing_begins_anew() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = crowded(&world).await;
    let erase = "UPDATE allowance SET user_id = 'erased-1' WHERE user_id = 'u1'";
    assert!(is_drawn(&outrun(&world, &store, "raced", erase).await));
    for (user, total) in [("erased-1", 2), ("u1", 1)] {
        let used = format!("SELECT total FROM allowance WHERE user_id = '{user}'");
        assert_eq!(world.number(&used).await, total, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_who_come_too_late_to_be_read_ahead_have_the_next_turn_and_many_have_this_one() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = crowded(&world).await;
    for (late, is_of_batch) in [(2, false), (3, true)] {
        let request = |n| world.request("u2", &format!("{late}-{n}"), 1);
        let turn = in_turn(&world).await;
        // Two join, then nobody for a while; the rest comes when the turn has.
        let early = [(0..2).map(request).collect(), vec![]];
        let meanwhile = Meanwhile::new(early, (10..10 + late).map(request).collect());
        let committing = commit(&store, request(9), &meanwhile);
        let is_read = async {
            while !meanwhile.is_over() {
                tokio::task::yield_now().await;
            }
        };
        let is_read = tokio::time::timeout(Duration::from_secs(20), is_read).await;
        is_read.expect("two looks at who arrives");
        turn.batch_execute("COMMIT").await.unwrap();
        let drawn = answers(committing).await.len();
        assert_eq!(drawn, if is_of_batch { 3 + late } else { 3 });
    }
}

/// A reading that hangs, as on a connection that died without a word.
#[tokio::test(flavor = "multi_thread")]
async fn reading_ahead_that_does_not_come_is_done_behind_the_lock() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let store = crowded(&world).await;
    let turn = in_turn(&world).await;
    let hang = world.shell().await;
    let lock = "BEGIN; LOCK TABLE blocked_user IN ACCESS EXCLUSIVE MODE";
    hang.batch_execute(lock).await.unwrap();
    let committing = commit(&store, world.request("u1", "one", 1), &Arc::default());
    let hangs = "wait_event_type = 'Lock' AND query LIKE 'SELECT q.client,%'";
    world.until(1, hangs).await;
    turn.batch_execute("COMMIT").await.unwrap();
    // The server has not noticed that nobody waits for the first.
    world.until(2, hangs).await;
    hang.batch_execute("COMMIT").await.unwrap();
    assert!(answers(committing).await.iter().all(is_drawn));
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_without_a_second_connection_reads_behind_the_lock() {
    let Some(world) = World::open(ALWAYS).await else {
        return;
    };
    let mut options = options(&world.config);
    options.pool_max = 1;
    let store = PostgresStore::open(&options, StoreOptions::default()).await;
    let store = Arc::new(store.unwrap());
    crowd(&world, &store).await;
    let [one, two] = ["alone", "with it again"].map(|key| world.request("u1", key, 1));
    let answers = commit_behind((&world, &store), one, vec![two]).await;
    assert!(answers.iter().all(is_drawn));
    assert_eq!(world.number("SELECT total FROM allowance").await, 4);
}

/// Nobody is there to be the standby, so no commit ends that waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn turn_ends_before_its_draws_are_on_the_standby_and_is_answered_after_also_if_asked_again() {
    let Some(cluster) = Cluster::alone() else {
        return skip();
    };
    cluster.start("");
    let world = World::on(Database::on(cluster), ALWAYS).await;
    let store = Arc::new(world.store().await);
    let nobody = Arc::default();
    let one = world.request("u1", "one", 1);
    let server = world.shell().await;
    let standby = "ALTER SYSTEM SET synchronous_standby_names = '*'";
    server.batch_execute(standby).await.unwrap();
    server
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let mut writing = JoinSet::new();
    let writer = world.shell().await;
    writing.spawn(async move {
        let write = "SELECT pg_logical_emit_message(true, '', '')";
        while writer.batch_execute(write).await.is_ok() {}
    });
    let waits = "wait_event = 'SyncRep'";
    world.until(1, waits).await;

    // A process may start meanwhile.
    let options = options(&world.config);
    let starting = Store::connect(&options, StoreOptions::default()).await;
    let starting = starting.unwrap();
    let process = process("1", "api");
    let told = starting.note_process(&process, Duration::ZERO);
    told.await.unwrap();

    let drawing = commit(&store, one.clone(), &nobody);
    world.until(2, waits).await;
    assert_eq!(world.number("SELECT count(*) FROM draw").await, 1);
    let next = world.shell().await;
    let turn = "BEGIN; SELECT 1 FROM campaign WHERE id = 1 FOR NO KEY UPDATE NOWAIT; ROLLBACK";
    next.batch_execute(turn).await.expect("the turn is over");
    let again = commit(&store, one, &nobody);
    world.until(3, waits).await;

    let none = "ALTER SYSTEM RESET synchronous_standby_names";
    server.batch_execute(none).await.unwrap();
    server
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let (drawn, again) = (answers(drawing).await, answers(again).await);
    assert!(is_drawn(&drawn[0]) && matches!(again[0], DrawAnswer::Replayed { .. }));
    assert_eq!(facts(&drawn[0]), facts(&again[0]));
    writing.shutdown().await;
}
