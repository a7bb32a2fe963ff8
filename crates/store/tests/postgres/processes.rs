//! The processes of one database, as each tells of itself.

use crate::server::Database;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::ports::StoreError;
use tombola_store::processes::{KEPT_MAX, Process};
use tombola_store::{Store, StoreOptions};

pub(crate) fn process(id: &str, roles: &str) -> Process {
    Process {
        id: id.to_owned(),
        roles: roles.to_owned(),
        version: "1.2.3".to_owned(),
        host: "a".to_owned(),
        pid: 7,
        started_at: Timestamp(5),
    }
}

async fn open(database: &Database) -> Arc<Store> {
    let options = database.options();
    let store = Store::connect(&options, StoreOptions::default());
    store.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_seen_until_it_goes_or_has_long_been_silent() {
    let Some(database) = Database::new().await else {
        return;
    };
    let store = open(&database).await;
    let (one, two) = (process("1", "api,worker"), process("2", "rescue"));
    let off = Duration::from_millis(3);
    store.note_process(&one, Duration::ZERO).await.unwrap();
    store.note_process(&one, off).await.unwrap();
    store.note_process(&two, off).await.unwrap();
    let seen = store.processes().await.unwrap();
    let roles: Vec<_> = seen.iter().map(|it| it.roles.as_str()).collect();
    assert_eq!(roles, ["api,worker", "rescue"]);
    assert_eq!(
        (seen[0].version.as_str(), seen[0].host.as_str(), seen[0].pid),
        ("1.2.3", "a", 7)
    );
    assert_eq!((seen[0].connections, seen[0].clock_off), (20, off));
    store.forget_process("2").await.unwrap();
    assert_eq!(store.processes().await.unwrap().len(), 1);
    let long = KEPT_MAX.as_micros();
    let admin = database.connect().await;
    let silence = format!("UPDATE process SET seen_at = seen_at - {long}");
    admin.batch_execute(&silence).await.unwrap();
    assert!(store.processes().await.unwrap()[0].silent >= KEPT_MAX);
    store.note_process(&two, off).await.unwrap();
    let seen = store.processes().await.unwrap();
    assert_eq!((seen.len(), seen[0].roles.as_str()), (1, "rescue"));
}

/// One that opened the database before a restore or a transfer began, and tells of itself after.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_has_told_of_itself_sees_that_the_database_is_not_whole() {
    let Some(database) = Database::new().await else {
        return;
    };
    let store = open(&database).await;
    store.may_be_served().await.unwrap();
    let admin = database.connect().await;
    let restoring = "INSERT INTO meta (name, value) VALUES ('restore', 'unfinished')";
    admin.batch_execute(restoring).await.unwrap();
    let refused = store.may_be_served().await.unwrap_err();
    assert!(matches!(&refused, StoreError::Moved(what) if what.contains("tombola restore")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_another_write_still_tells_that_it_is_alive() {
    let Some(database) = Database::new().await else {
        return;
    };
    let store = open(&database).await;
    let admin = database.connect().await;
    // The lock of the writes that go one after the other ("tombolaw" in ASCII).
    let taken = "BEGIN; SELECT pg_advisory_xact_lock(x'746f6d626f6c6177'::bigint)";
    admin.batch_execute(taken).await.unwrap();
    let rescuer = process("1", "rescue");
    let told = store.note_process(&rescuer, Duration::ZERO);
    told.await.unwrap();
    assert_eq!(store.processes().await.unwrap().len(), 1);
}
