//! Brings a file to the schema of this version, each migration in a transaction
//! of its own. A file from a newer version is refused and left as it is: the
//! older code would read it wrongly.

use super::error::OrStoreError as _;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::collections::BTreeSet;
use std::path::Path;
use tombola_core::ports::{StoreError, StoreResult};

/// One step of the schema. Released ones are never edited.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "init",
        sql: include_str!("../../migrations/sqlite/0001_init.sql"),
    },
    Migration {
        version: 2,
        name: "requests",
        sql: include_str!("../../migrations/sqlite/0002_requests.sql"),
    },
    Migration {
        version: 3,
        name: "lists",
        sql: include_str!("../../migrations/sqlite/0003_lists.sql"),
    },
    Migration {
        version: 5,
        name: "operate",
        sql: include_str!("../../migrations/sqlite/0005_operate.sql"),
    },
];

/// The schema of a file beside the one that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The version that the file has whole; 0 if it has none.
    pub present: i64,
    /// The newest version that this program knows.
    pub newest: i64,
}

/// Reads the schema of the file at `path` without changing it.
pub(super) fn schema(path: &Path) -> StoreResult<Schema> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).or_store()?;
    let applied = if has_table(&conn, "migration")? {
        applied(&conn)?
    } else {
        BTreeSet::new()
    };
    let whole = MIGRATIONS
        .iter()
        .take_while(|it| applied.contains(&it.version))
        .last();
    Ok(Schema {
        present: whole.map_or(0, |it| it.version),
        newest: newest(),
    })
}

fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |it| it.version)
}

/// Applies what is missing, also below what is there: numbers are given out before
/// their migrations are written. Gives the versions applied now.
pub(crate) fn migrate(conn: &mut Connection) -> StoreResult<Vec<i64>> {
    // Immediate: two processes that open the same new file go one after the other.
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .or_store()?;
    make_table(&tx)?;
    let present = applied(&tx)?;
    if let Some(later) = present.last().filter(|version| **version > newest()) {
        return Err(StoreError::Schema(format!(
            "the file has version {later}, this program knows versions up to {}: use the newer program",
            newest()
        )));
    }
    let mut done = Vec::new();
    for it in MIGRATIONS
        .iter()
        .filter(|it| !present.contains(&it.version))
    {
        tx.execute_batch(it.sql).or_store()?;
        tx.execute(
            "INSERT INTO migration (version, name) VALUES (?1, ?2)",
            (it.version, it.name),
        )
        .or_store()?;
        done.push(it.version);
    }
    tx.commit().or_store()?;
    Ok(done)
}

fn has_table(conn: &Connection, name: &str) -> StoreResult<bool> {
    conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND (?1 = '' OR name = ?1))",
        [name],
        |row| row.get(0),
    )
    .or_store()
}

/// Makes the table of versions in a new file.
fn make_table(conn: &Connection) -> StoreResult<()> {
    if has_table(conn, "migration")? {
        return Ok(());
    }
    if has_table(conn, "")? {
        return Err(StoreError::Schema(
            "the file belongs to another program".to_owned(),
        ));
    }
    conn.execute_batch(
        "CREATE TABLE migration (
           version    INTEGER PRIMARY KEY,
           name       TEXT NOT NULL,
           applied_at TEXT NOT NULL DEFAULT (strftime('%FT%TZ', 'now'))
         ) STRICT",
    )
    .or_store()
}

/// The versions that the file has.
fn applied(conn: &Connection) -> StoreResult<BTreeSet<i64>> {
    conn.prepare("SELECT version FROM migration")
        .and_then(|mut it| it.query_map([], |row| row.get(0))?.collect())
        .or_store()
}
