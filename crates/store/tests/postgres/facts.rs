//! What `doctor` is told of the server.

use crate::server::Database;
use tombola_store::postgres::Postgres;

#[tokio::test]
async fn the_server_tells_what_it_is_and_what_it_keeps() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    let before = postgres.now().await.unwrap();
    let facts = postgres.facts().await.unwrap();
    let admin = database.connect().await;
    let version = "SELECT current_setting('server_version')";
    let version: String = admin.query_one(version, &[]).await.unwrap().get(0);
    assert_eq!(facts.version, version);
    assert!(facts.version_number >= 130_000, "{facts:?}");
    assert!(
        (before.0..before.0 + 60_000_000).contains(&facts.now),
        "{facts:?}"
    );
    assert!(facts.connections_used >= 1 && facts.connections_max >= facts.connections_used);
    assert_eq!((facts.schema_present, facts.schema_newest), (1, 1));
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
    let lost = postgres.facts().await.unwrap().settings_lost;
    let lock = lost.iter().find(|it| it.name == "lock_timeout").unwrap();
    assert_eq!((lock.expected.as_str(), lock.found.as_str()), ("5000", "0"));
}

#[tokio::test]
async fn a_transaction_that_was_left_open_is_seen() {
    let Some(database) = Database::new().await else {
        return;
    };
    let postgres = Postgres::open(&database.options()).await.unwrap();
    assert_eq!(postgres.facts().await.unwrap().oldest_transaction_ms, None);
    let admin = database.connect().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM meta";
    admin.batch_execute(begin).await.unwrap();
    let facts = postgres.facts().await.unwrap();
    assert!(facts.oldest_transaction_ms.is_some(), "{facts:?}");
    assert!(facts.oldest_snapshot_transactions.is_some(), "{facts:?}");
}
