//! What `doctor` is told of the server.

use crate::server::Database;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_store::postgres::{
    ObstacleAt, Postgres, PostgresOptions, ServerRows, VERSION_MIN, look, obstacle,
};
use tombola_store::read::WorkFact;

/// Of a machine whose time stands at its beginning.
const fn wall() -> Timestamp {
    Timestamp(0)
}

#[tokio::test]
async fn the_server_tells_what_it_is_and_what_it_keeps() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let before = postgres.now().await.unwrap();
    let facts = postgres.facts(wall).await.unwrap();
    let admin = database.connect().await;
    let version = "SELECT current_setting('server_version')";
    let version: String = admin.query_one(version, &[]).await.unwrap().get(0);
    assert_eq!(facts.version, version);
    assert!(facts.version_number >= VERSION_MIN, "{facts:?}");
    assert!(
        (before.0..before.0 + 60_000_000).contains(&facts.now),
        "{facts:?}"
    );
    assert!(facts.connections_used >= 1 && facts.connections_max >= facts.connections_used);
    assert!(facts.schema_fits(), "{facts:?}");
    assert_eq!(facts.clock_ahead, facts.now);
    assert_eq!(facts.months_missing, Vec::<String>::new());
    assert_eq!(facts.connections_ours, 20);
    assert!(!facts.is_in_recovery && !facts.is_pooled && facts.settings_lost.is_empty());
    assert_eq!(facts.tls_version, None);
    let json = serde_json::to_value(&facts).unwrap();
    assert_eq!(json["version"], version);
}

#[tokio::test]
async fn settings_that_did_not_stay_are_told_apart() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    options.pool_max = 1;
    let postgres = Postgres::open(&options).await.unwrap();
    let session = postgres.take().await.unwrap();
    // As a pooler does that hands the connection to somebody else in between.
    let reset = session.client().batch_execute("RESET ALL");
    session.within(reset).await.unwrap();
    session.give_back();
    let lost = postgres.facts(wall).await.unwrap().settings_lost;
    let lock = lost.iter().find(|it| it.name == "lock_timeout").unwrap();
    assert_eq!((lock.expected.as_str(), lock.found.as_str()), ("5000", "0"));
}

/// Aim: what a role, a database or the server's file set of these does not reach our
/// sessions; of what we do not set ourselves `doctor` is told.
#[tokio::test]
async fn timeouts_of_the_server_are_ours_or_are_told() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let facts = postgres.facts(wall).await.unwrap();
    assert_eq!(facts.timeouts, []);
    let admin = database.connect().await;
    let name: String = admin
        .query_one("SELECT quote_ident(current_database())", &[])
        .await
        .unwrap()
        .get(0);
    for (setting, value) in [
        ("statement_timeout", "7s"),
        ("lock_timeout", "7s"),
        ("idle_in_transaction_session_timeout", "7s"),
        ("default_transaction_isolation", "serializable"),
        ("idle_session_timeout", "90s"),
    ] {
        let set = format!("ALTER DATABASE {name} SET {setting} = '{value}'");
        admin.batch_execute(&set).await.unwrap();
    }
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let facts = postgres.facts(wall).await.unwrap();
    assert_eq!(facts.settings_lost, []);
    let found = &facts.timeouts[0];
    assert_eq!(
        (found.name.as_str(), found.ms, found.source.as_str()),
        ("idle_session_timeout", 90_000, "database")
    );
    assert_eq!(facts.timeouts.len(), 1);
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_seen() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    assert_eq!(postgres.facts(wall).await.unwrap().transactions, []);
    let admin = database.connect().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM meta";
    admin.batch_execute(begin).await.unwrap();
    let facts = postgres.facts(wall).await.unwrap();
    let pid: i32 = admin
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let open = &facts.transactions[0];
    assert_eq!(
        (open.pid, open.state.as_str()),
        (i64::from(pid), "idle in transaction")
    );
    let held = facts.oldest_snapshot.unwrap();
    assert_eq!(
        (held.kind, held.name),
        ("session".to_owned(), pid.to_string())
    );
}

#[tokio::test]
async fn what_stands_in_the_way_to_a_server_is_named() {
    let Some(database) = Database::new().await else {
        return;
    };
    let options = database.options();
    assert_eq!(obstacle(&options).await, None);
    let mut elsewhere = options.clone();
    elsewhere.config.dbname("nobody_made_it");
    let found = obstacle(&elsewhere).await.unwrap();
    assert_eq!(found.at, ObstacleAt::Database, "{found:?}");
    let mut nobody = options.clone();
    nobody.config.user("nobody_of_this_name");
    let found = obstacle(&nobody).await.unwrap();
    assert_eq!(found.at, ObstacleAt::Role, "{found:?}");
    // A port that was ours, so that nobody listens there now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgres://tombola@127.0.0.1:{port}/tombola");
    let closed = PostgresOptions::parse(&url).unwrap();
    let found = obstacle(&closed).await.unwrap();
    assert_eq!(found.at, ObstacleAt::Port, "{found:?}");
    let url = "postgres://tombola@no-such-host.invalid/tombola?sslmode=disable";
    let found = obstacle(&PostgresOptions::parse(url).unwrap())
        .await
        .unwrap();
    assert_eq!(found.at, ObstacleAt::Host, "{found:?}");
}

#[tokio::test]
async fn a_look_changes_nothing_and_reads_rows_only_under_our_schema() {
    let Some(database) = Database::new().await else {
        return;
    };
    let review = Duration::from_hours(24);
    let options = database.options();
    let (empty, work) = look(&options, wall, review).await.unwrap();
    assert_eq!(empty.server.schema_present, 0);
    assert!(empty.rows.is_err() && work.is_err());
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let admin = database.connect().await;
    let made: i64 = admin.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(made, 0);
    drop(Postgres::open(&options).await.unwrap());
    let (ours, work) = look(&options, wall, review).await.unwrap();
    assert_eq!(ours.rows, Ok(ServerRows::default()));
    assert_eq!(work, Ok(WorkFact::default()));
}
