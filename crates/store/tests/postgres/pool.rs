//! Sessions: who gets one, what becomes of those that went wrong, and how long a call
//! may wait.

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::server::{Database, options, skip};
use crate::world::NOON;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tombola_core::ports::{Actor, AwardPath as _, StoreError, StoreResult};
use tombola_store::postgres::{Postgres, PostgresOptions, Taken};
use tombola_store::{Store, StoreOptions};

const SHORT: Duration = Duration::from_millis(300);
/// "tombolaw" in ASCII, as a number that PostgreSQL 14 reads.
const WRITE_LOCK: &str = "8390044900358119799";

/// Bounds so short that a test can wait for them; opened before, so that whoever opens the
/// database within them writes nothing.
async fn short(database: &Database, mut options: PostgresOptions) -> PostgresOptions {
    drop(Postgres::open(&database.options()).await.unwrap());
    options.bounds.statement_max = SHORT;
    options.bounds.answer_margin = SHORT;
    options.wait_max = SHORT;
    options.pool_max = 2;
    options
}

async fn run(session: Taken, sql: &str) -> StoreResult<()> {
    let done = session.within(session.client().batch_execute(sql)).await;
    session.end(done)
}

async fn number(session: Taken, sql: &str) -> StoreResult<i64> {
    let row = session.within(session.client().query_one(sql, &[])).await;
    Ok(session.end(row)?.get(0))
}

#[tokio::test]
async fn a_session_that_is_given_back_is_the_next_ones() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let pid = "SELECT pg_backend_pid()::bigint";
    let first = number(postgres.take().await.unwrap(), pid).await.unwrap();
    let second = number(postgres.take().await.unwrap(), pid).await.unwrap();
    assert_eq!(first, second);
    drop(postgres.take().await.unwrap());
    let third = number(postgres.take().await.unwrap(), pid).await.unwrap();
    assert_ne!(second, third);
    assert_eq!(postgres.state().open, 1);
}

/// Else the next call would go on in a transaction of somebody else.
#[tokio::test]
async fn a_session_dropped_in_a_transaction_is_rolled_back_and_never_given_out_again() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    options.pool_max = 1;
    let postgres = Postgres::open(&options).await.unwrap();
    let begin = "BEGIN; INSERT INTO meta VALUES ('x', 'y'); SELECT pg_sleep(30)";
    let call = run(postgres.take().await.unwrap(), begin);
    assert!(tokio::time::timeout(SHORT, call).await.is_err());
    let insert = "INSERT INTO meta VALUES ('x', 'z')";
    // It waits for the row of the first until the server has rolled it back.
    let admin = database.connect().await;
    let ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE query LIKE 'BEGIN; INSERT%'";
    admin.batch_execute(ended).await.unwrap();
    run(postgres.take().await.unwrap(), insert).await.unwrap();
    let count = "SELECT count(*) FROM meta WHERE value = 'z'";
    let count = number(postgres.take().await.unwrap(), count).await;
    assert_eq!(count.unwrap(), 1);
}

#[tokio::test]
async fn a_call_for_which_no_session_is_free_is_told_so_and_reads_have_their_own() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&short(&database, database.options()).await)
        .await
        .unwrap();
    let held = [
        postgres.take().await.unwrap(),
        postgres.take().await.unwrap(),
    ];
    assert!(matches!(postgres.take().await, Err(StoreError::Overloaded)));
    let read = postgres.take_read().await.unwrap();
    assert_eq!(number(read, "SELECT 1::bigint").await.unwrap(), 1);
    held.into_iter().for_each(Taken::give_back);
    postgres.take().await.unwrap().give_back();
}

/// Those that are written once for both databases go one after the other in the whole database.
#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_for_another_process_leave_sessions_to_draws() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    (options.pool_max, options.wait_max) = (2, SHORT);
    let store = Store::connect(&options, StoreOptions::default()).await;
    let store = store.unwrap();
    let other = database.connect().await;
    let lock = "SELECT pg_advisory_lock(LOCK)".replace("LOCK", WRITE_LOCK);
    other.batch_execute(&lock).await.unwrap();
    let mut writing = JoinSet::new();
    for _ in 0..4 {
        let store = Arc::clone(&store);
        writing.spawn(async move { store.note_backup(Actor::named("ada"), NOON).await });
    }
    for _ in 0..2 {
        let told = writing.join_next().await.unwrap().unwrap();
        assert!(matches!(told, Err(StoreError::Overloaded)), "{told:?}");
    }
    store.reserve_ids(1).await.expect("a session is free");
    other
        .batch_execute(&lock.replace("lock", "unlock"))
        .await
        .unwrap();
    while let Some(written) = writing.join_next().await {
        let written = written.unwrap();
        let is_told = matches!(written, Err(StoreError::Overloaded));
        assert!(written.is_ok() || is_told, "{written:?}");
    }
    store.close();
}

#[tokio::test]
async fn a_session_for_people_cannot_write() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let insert = "INSERT INTO meta VALUES ('x', 'y')";
    let refused = run(postgres.take_read().await.unwrap(), insert).await;
    let expected =
        "the database is not available: cannot execute INSERT in a read-only transaction (25006)";
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with(expected), "{refused}");
}

#[tokio::test]
async fn a_closed_database_says_so_to_who_waits_and_to_who_comes_later() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    options.pool_max = 1;
    let postgres = Postgres::open(&options).await.unwrap();
    let held = postgres.take().await.unwrap();
    let (waits, ()) = tokio::join!(postgres.take(), async { postgres.close() });
    assert!(matches!(waits, Err(StoreError::Closed)));
    run(held, "SELECT 1").await.unwrap();
    assert!(matches!(
        postgres.take_read().await,
        Err(StoreError::Closed)
    ));
}

/// The peer keeps the connection and answers nothing: neither its time-outs nor the
/// kernel's end the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_falls_silent_is_given_up_in_time_and_the_next_call_works() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::start(&database.config);
    let options = short(&database, options(&proxy.config(&database.config))).await;
    let postgres = Postgres::open(&options).await.unwrap();
    let session = postgres.take().await.unwrap();
    proxy.stall();
    let silent = run(session, "SELECT 1").await;
    let expected = "the database is not available: the server did not answer within 600 ms";
    assert_eq!(silent.unwrap_err().to_string(), expected);
    assert_eq!(postgres.state().open, 0);
    run(postgres.take().await.unwrap(), "SELECT 1")
        .await
        .unwrap();
}

/// Else each of them would be waited for in turn.
#[tokio::test(flavor = "multi_thread")]
async fn when_one_connection_fell_silent_the_idle_ones_of_before_are_not_tried() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::start(&database.config);
    let mut options = short(&database, options(&proxy.config(&database.config))).await;
    options.pool_max = 4;
    let postgres = Postgres::open(&options).await.unwrap();
    all_places_are_free(&postgres, 4).await;
    proxy.stall();
    let silent = run(postgres.take().await.unwrap(), "SELECT 1").await;
    assert!(silent.is_err());
    assert_eq!(postgres.state().idle, 3);
    run(postgres.take().await.unwrap(), "SELECT 1")
        .await
        .unwrap();
    assert_eq!(postgres.state().open, 1);
    all_places_are_free(&postgres, 4).await;
}

/// The same in the middle of a statement which the server goes on with.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_answer_never_comes_is_given_up_in_time() {
    let Some(database) = Database::new().await else {
        return;
    };
    let proxy = Proxy::start(&database.config);
    let options = short(&database, options(&proxy.config(&database.config))).await;
    let postgres = Postgres::open(&options).await.unwrap();
    let admin = database.connect().await;
    let session = postgres.take().await.unwrap();
    let without_end = "SET statement_timeout = 0";
    let set = session.client().batch_execute(without_end);
    session.within(set).await.unwrap();
    let is_running = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'";
    let (silent, ()) = tokio::join!(run(session, "SELECT pg_sleep(60)"), async {
        while admin.query(is_running, &[]).await.unwrap().is_empty() {}
        proxy.stall();
    });
    let silent = silent.unwrap_err();
    assert!(silent.to_string().contains("did not answer"), "{silent}");
    run(postgres.take().await.unwrap(), "SELECT 1")
        .await
        .unwrap();
}

/// Each way in which a call ends without giving its session back, many times over.
#[tokio::test(flavor = "multi_thread")]
async fn no_place_is_lost_by_calls_that_are_dropped_fail_or_lose_their_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&short(&database, database.options()).await)
        .await
        .unwrap();
    for round in 0..60 {
        let call = async {
            match round % 3 {
                0 => run(postgres.take().await?, "SELECT pg_sleep(30)").await,
                1 => run(postgres.take().await?, "SELECT 1 / 0").await,
                _ => {
                    let end = "SELECT pg_terminate_backend(pg_backend_pid())";
                    run(postgres.take().await?, end).await
                }
            }
        };
        // Dropped at another moment in each round: before, while and after connecting.
        let until = Duration::from_millis(round % 20);
        drop(tokio::time::timeout(until, call).await);
    }
    all_places_are_free(&postgres, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test awaits each task")]
async fn fifty_calls_over_a_restart_of_the_server_leave_every_place_free() {
    let Some(cluster) = Cluster::alone() else {
        skip();
        return;
    };
    cluster.start("");
    let mut options = options(&cluster.config());
    options.pool_max = 8;
    options.wait_max = Duration::from_mins(1);
    let postgres = Postgres::open(&options).await.unwrap();
    let begun = Arc::new(Barrier::new(8 + 1));
    let call = |n: usize, postgres: Postgres, begun: Arc<Barrier>| async move {
        let session = postgres.take().await?;
        if n < 8 {
            begun.wait().await;
            return run(session, "SELECT pg_sleep(8)").await;
        }
        run(session, "SELECT 1").await
    };
    let mut calls = Vec::new();
    for n in 0..8 {
        calls.push(tokio::spawn(call(n, postgres.clone(), Arc::clone(&begun))));
    }
    begun.wait().await;
    for n in 8..50 {
        calls.push(tokio::spawn(call(n, postgres.clone(), Arc::clone(&begun))));
    }
    tokio::task::block_in_place(|| cluster.restart());
    for (n, call) in calls.into_iter().enumerate() {
        let answer = call.await.unwrap();
        // Those that had a session lost it; the others may have come too early.
        assert!(
            n >= 8 || matches!(answer, Err(StoreError::Unavailable(_))),
            "{n} {answer:?}"
        );
    }
    all_places_are_free(&postgres, 8).await;
}

/// Takes every place at once, works on each, and gives them back.
async fn all_places_are_free(postgres: &Postgres, places: usize) {
    assert_eq!(postgres.state().max, places);
    let mut held = Vec::new();
    for _ in 0..places {
        held.push(postgres.take().await.unwrap());
    }
    for session in held {
        run(session, "SELECT 1").await.unwrap();
    }
    let state = postgres.state();
    assert_eq!((state.open, state.idle, state.waiting), (places, places, 0));
}

#[tokio::test]
async fn statements_kept_ready_are_bounded_and_used_again() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    options.pool_max = 1;
    let postgres = Postgres::open(&options).await.unwrap();
    let count =
        "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT %::bigint'";
    let session = postgres.take().await.unwrap();
    for n in 0..300 {
        let sql = format!("SELECT {n}::bigint");
        for _ in 0..2 {
            let statement = session.prepared(&sql).await.unwrap();
            let row = session.within(session.client().query_one(&statement, &[]));
            assert_eq!(row.await.unwrap().get::<_, i64>(0), n);
        }
        // Used each time, so never the oldest.
        session.prepared("SELECT 0::bigint").await.unwrap();
    }
    session.give_back();
    let kept = number(postgres.take().await.unwrap(), count).await.unwrap();
    assert_eq!(kept, 256);
    let first = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT 0::bigint'";
    let first = number(postgres.take().await.unwrap(), first).await;
    assert_eq!(first.unwrap(), 1);
}

/// Run again it would fail again, for ever.
#[tokio::test]
async fn a_value_that_does_not_fit_its_place_is_no_fault_of_the_connection() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let session = postgres.take().await.unwrap();
    let asked = session.client().query_one("SELECT $1::bigint", &[&"one"]);
    let odd = session.within(asked).await.unwrap_err();
    let expected = "the database is inconsistent: error serializing parameter 0: cannot convert between the Rust type `&str` and the Postgres type `int8`";
    assert_eq!(odd.to_string(), expected);
    session.give_back();
    assert_eq!(postgres.state().idle, 1);
}
