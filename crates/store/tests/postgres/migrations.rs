//! The schema: how it comes about, what is refused, and that it is SQLite's.

use crate::server::Database;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tombola_core::ports::StoreError;
use tombola_store::postgres::{Postgres, migrate};
use tombola_store::{Store, StoreOptions};

#[tokio::test(flavor = "multi_thread")]
async fn eight_opens_at_once_migrate_once() {
    let Some(database) = Database::new().await else {
        return;
    };
    let options = database.options();
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let options = options.clone();
        opening.spawn(async move { Postgres::open(&options).await.unwrap() });
    }
    let opened = opening.join_all().await;
    let origins: BTreeSet<_> = opened.iter().map(|it| it.origin().to_owned()).collect();
    assert_eq!(origins.len(), 1, "{origins:?}");
    let admin = database.connect().await;
    let rows = admin
        .query("SELECT version, name FROM migration", &[])
        .await;
    let rows: Vec<String> = rows
        .unwrap()
        .iter()
        .map(|it| format!("{:04}_{}", it.get::<_, i64>(0), it.get::<_, &str>(1)))
        .collect();
    assert_eq!(rows, ALL);
    assert_eq!(uuid_version(opened[0].origin()), Some('4'));
}

const ALL: [&str; 3] = ["0001_init", "0002_process", "0003_adopted"];

fn uuid_version(uuid: &str) -> Option<char> {
    uuid.split('-').nth(2)?.chars().next()
}

#[tokio::test]
async fn a_database_that_is_behind_is_refused_with_the_command_that_helps_and_left_alone() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    options.migrate = false;
    let refused = Postgres::open(&options).await.err().unwrap();
    let expected = "the schema does not fit: the database has version 0, this program needs version 3: run `tombola migrate up`";
    assert_eq!(refused.to_string(), expected);
    assert_eq!(tables(&database).await, BTreeSet::new());
    assert_eq!(migrate::plan(&options).await.unwrap(), ALL);
    let before = migrate::schema(&options).await.unwrap();
    assert_eq!((before.present, before.newest), (0, 3));
    assert_eq!(tables(&database).await, BTreeSet::new());
    assert_eq!(migrate::up(&options).await.unwrap(), [1, 2, 3]);
    assert!(migrate::up(&options).await.unwrap().is_empty());
    assert!(migrate::plan(&options).await.unwrap().is_empty());
    assert!(Postgres::open(&options).await.is_ok());
}

#[tokio::test]
async fn a_database_that_only_a_newer_program_knows_is_refused_and_left_as_it_is() {
    let Some(database) = Database::new().await else {
        return;
    };
    let options = database.options();
    migrate::up(&options).await.unwrap();
    let admin = database.connect().await;
    let newer =
        "INSERT INTO migration (version, name, needs) VALUES (98, 'later', 98), (99, 'last', 98)";
    admin.batch_execute(newer).await.unwrap();
    let expected = "the schema does not fit: the database has version 99, this program knows versions up to 3, and 98 is needed there: use the newer program";
    for refused in [
        Postgres::open(&options).await.err(),
        migrate::up(&options).await.err(),
        migrate::plan(&options).await.err(),
    ] {
        assert_eq!(refused.unwrap().to_string(), expected);
    }
    let origin = "SELECT count(*) FROM meta";
    assert_eq!(
        admin.query_one(origin, &[]).await.unwrap().get::<_, i64>(0),
        0
    );
}

/// Aim: while an upgrade goes on, and after the way back, the older program starts too.
#[tokio::test]
async fn a_database_to_which_a_newer_program_only_added_is_opened_and_not_changed() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options();
    migrate::up(&options).await.unwrap();
    let newest = migrate::schema(&options).await.unwrap().newest;
    let admin = database.connect().await;
    let newer = format!(
        "ALTER TABLE delivery ADD COLUMN later text;
         INSERT INTO migration (version, name, needs) VALUES (99, 'later', {newest})"
    );
    admin.batch_execute(&newer).await.unwrap();
    for may_migrate in [false, true] {
        options.migrate = may_migrate;
        assert!(Postgres::open(&options).await.is_ok());
    }
    assert!(migrate::up(&options).await.unwrap().is_empty());
    assert!(migrate::plan(&options).await.unwrap().is_empty());
    let found = migrate::schema(&options).await.unwrap();
    assert_eq!((found.present, found.needs), (99, newest));
    assert!(found.fits());
}

#[tokio::test]
async fn a_database_with_tables_of_another_program_is_refused() {
    let Some(database) = Database::new().await else {
        return;
    };
    let admin = database.connect().await;
    admin
        .batch_execute("CREATE TABLE shop (id int)")
        .await
        .unwrap();
    let refused = Postgres::open(&database.options()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused:?}");
    assert_eq!(tables(&database).await, BTreeSet::from(["shop".to_owned()]));
}

/// Who serves a file is its one process, which holds its lock; and its rows count in place.
const ONLY_HERE: [&str; 2] = ["process", "tally"];
/// The same holds of its schema: no older program works on it beside a newer one.
const COLUMNS_ONLY_HERE: [(&str, &str); 2] = [("migration", "needs"), ("allowance", "n")];

/// Nine types there, nine here: `user` is `user_id`, each INTEGER is one of four, and what
/// is counted in place there is counted besides the tally here.
#[tokio::test]
async fn every_table_column_and_index_is_that_of_sqlite() {
    let Some(database) = Database::new().await else {
        return;
    };
    migrate::up(&database.options()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tombola.db");
    drop(Store::open(&path, StoreOptions::default()).unwrap());
    let sqlite = rusqlite::Connection::open(&path).unwrap();

    let there: BTreeSet<_> = sqlite_columns(&sqlite).into_iter().collect();
    let here = postgres_columns(&database).await.into_iter();
    let here: BTreeSet<_> = here
        .filter(|it| !ONLY_HERE.contains(&it.0.as_str()))
        .filter(|it| !COLUMNS_ONLY_HERE.contains(&(it.0.as_str(), it.1.as_str())))
        .collect();
    let odd: Vec<_> = there.symmetric_difference(&here).collect();
    assert!(odd.is_empty(), "not on both: {odd:?}");

    let indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    let mut indexes = sqlite.prepare(indexes).unwrap();
    let there = indexes.query_map([], |row| row.get(0)).unwrap();
    let there: BTreeSet<String> = there.map(Result::unwrap).collect();
    let indexes = "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                   WHERE c.relnamespace = 'public'::regnamespace
                     AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = c.oid)";
    assert_eq!(names(&database, indexes).await, there);
}

/// Table, column, whether it may be null, and what kind of value it holds.
type Column = (String, String, bool, &'static str);

fn sqlite_columns(sqlite: &rusqlite::Connection) -> Vec<Column> {
    let sql = "SELECT t.name, c.name, c.\"notnull\" OR c.pk > 0, c.type
               FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    let mut statement = sqlite.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let name: String = row.get(1)?;
        let kind = match row.get::<_, String>(3)?.as_str() {
            "INTEGER" => "number",
            "TEXT" => "text",
            _ => "bytes",
        };
        let name = if name == "user" {
            "user_id".to_owned()
        } else {
            name
        };
        Ok((row.get(0)?, name, row.get(2)?, kind))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

async fn postgres_columns(database: &Database) -> Vec<Column> {
    let sql = "SELECT c.relname::text, a.attname::text, a.attnotnull, a.atttypid::regtype::text
               FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                 AND NOT c.relispartition AND a.attnum > 0";
    let rows = database.connect().await.query(sql, &[]).await.unwrap();
    let column = |row: &tokio_postgres::Row| {
        let kind = match row.get::<_, &str>(3) {
            "bigint" | "integer" | "smallint" | "boolean" => "number",
            "text" => "text",
            "bytea" => "bytes",
            "bigint[]" => "numbers",
            other => panic!("{other}"),
        };
        let name: String = row.get(1);
        let name = name.trim_end_matches("_besides").to_owned();
        (row.get(0), name, row.get(2), kind)
    };
    rows.iter().map(column).collect()
}

async fn tables(database: &Database) -> BTreeSet<String> {
    let sql = "SELECT relname::text FROM pg_class
               WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')";
    names(database, sql).await
}

async fn names(database: &Database, sql: &str) -> BTreeSet<String> {
    let rows = database.connect().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
