//! Opening: the schema, what was committed, what is refused.

use super::insert;
use crate::read::fixture::{Fixture, HELLO, HOOK, NOTHING, NOW};
use crate::read::{AuditDepth, AwardFilter, PageQuery};
use crate::sql::Connection;
use crate::sqlite::Priority::Other;
use crate::{Store, StoreOptions};
use std::time::Duration;
use tombola_core::ports::StoreError;

fn open(path: &std::path::Path) -> Result<(), StoreError> {
    Store::open(path, StoreOptions::default()).map(drop)
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_killed() {
    let fixture = Fixture::new();
    fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "a"))
        .await
        .unwrap();
    // The file and its log as a killed process leaves them: nothing was closed.
    let dir = tempfile::tempdir().unwrap();
    for name in ["tombola.db", "tombola.db-wal"] {
        std::fs::copy(fixture.path().with_file_name(name), dir.path().join(name)).unwrap();
    }
    let after = Store::open(&dir.path().join("tombola.db"), StoreOptions::default()).unwrap();
    let count = |conn: &Connection| {
        Ok(conn
            .query_row("SELECT count(*) FROM meta WHERE name = 'a'", [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap())
    };
    assert_eq!(after.read(count).await.unwrap(), 1);
}

#[tokio::test]
async fn opening_again_changes_nothing_and_keeps_the_origin() {
    let mut fixture = Fixture::new();
    let origin = fixture.store.origin().to_owned();
    let schema =
        |fixture: &Fixture| fixture.text("SELECT group_concat(sql, ';') FROM sqlite_schema");
    let before = schema(&fixture);
    let applied = fixture.number("SELECT count(*) FROM migration");
    fixture.reopen();
    assert_eq!(fixture.store.origin(), origin);
    assert_eq!(schema(&fixture), before);
    assert_eq!(fixture.number("SELECT count(*) FROM migration"), applied);
    let parts: Vec<usize> = origin.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{origin} is a uuid");
    assert_ne!(Fixture::new().store.origin(), origin);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_as_it_is() {
    let fixture = Fixture::new();
    fixture.store.close();
    fixture
        .shell()
        .execute(
            "INSERT INTO migration (version, name) VALUES (9999, 'later')",
            [],
        )
        .unwrap();
    let error = open(&fixture.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Schema(why) if why.contains("9999")),
        "{error}"
    );
    assert_eq!(fixture.number("SELECT max(version) FROM migration"), 9999);
}

#[tokio::test]
async fn lists_of_a_file_from_before_them_find_every_draw() {
    let mut fixture = Fixture::fair().await;
    fixture.draw("ann", &[HELLO, NOTHING, HOOK]).await;
    let later = NOW.plus(Duration::from_hours(30));
    fixture.draw_at("bob", &[HELLO], later).await;
    // As version 5 left it.
    fixture
        .shell()
        .execute_batch(
            "DELETE FROM migration WHERE version >= 6;
             DROP VIEW campaign_count; DROP VIEW prize_count; DROP TABLE adopted;
             DROP INDEX draw_user; DROP TABLE draw_span; ALTER TABLE campaign DROP COLUMN wins;
             DROP INDEX delivery_dead_reason; DROP INDEX delivery_cancelled;
             ALTER TABLE endpoint DROP COLUMN secret_ends;
             DROP INDEX kept_request_user; ALTER TABLE kept_request DROP COLUMN user;",
        )
        .unwrap();
    let schema = Store::schema(&fixture.path()).unwrap();
    assert_eq!(schema.present, 5);
    fixture.reopen();
    let schema = Store::schema(&fixture.path()).unwrap();
    assert_eq!(schema.present, schema.newest);
    let report = fixture.store.audit(AuditDepth::Full).await.unwrap();
    assert!(report.ok, "{:#?}", report.checks);
    let since = Some(later);
    let filter = AwardFilter {
        since,
        ..AwardFilter::default()
    };
    let page = fixture
        .store
        .award_list(filter, PageQuery::default())
        .await
        .unwrap();
    assert_eq!((page.items.len(), page.next), (1, None));
}

#[test]
fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(open(&path), Err(StoreError::Schema(_))));
    let tables: i64 = other
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("letter.txt");
    let letter = "Dear reader, this is a letter and no database. ".repeat(100);
    std::fs::write(&path, &letter).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Inconsistent(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_file_and_its_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "a"))
        .await
        .unwrap();
    for name in ["tombola.db", "tombola.db-wal"] {
        let mode = fixture
            .path()
            .with_file_name(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_write_holds_across_a_loss_of_power() {
    let fixture = Fixture::new();
    let settings = |conn: &Connection| {
        let text = |name: &str| {
            conn.sqlite()
                .pragma_query_value(None, name, |row| row.get::<_, String>(0))
                .unwrap()
        };
        let number = |name: &str| {
            conn.sqlite()
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .unwrap()
        };
        Ok((
            text("journal_mode"),
            number("synchronous"),
            number("foreign_keys"),
            number("wal_autocheckpoint"),
        ))
    };
    let found = fixture.store.write_once(Other, 1, settings).await.unwrap();
    assert_eq!(found, ("wal".to_owned(), 2, 1, 0));
}

#[tokio::test]
async fn no_log_is_left_beside_a_file_that_was_closed() {
    let mut fixture = Fixture::new();
    for name in 0..20 {
        let name = format!("name-{name}");
        let write = fixture
            .store
            .write_once(Other, 1, move |conn| insert(conn, &name));
        write.await.unwrap();
        fixture.store.close();
        let log = fixture.path().with_file_name("tombola.db-wal");
        assert!(!log.exists(), "what it held is in the file");
        fixture.reopen();
    }
}
