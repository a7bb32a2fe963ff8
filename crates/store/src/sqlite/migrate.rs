//! Brings a file to the schema of this version, each migration in a transaction
//! of its own. A file from a newer version is refused and left as it is: the
//! older code would read it wrongly.

use crate::sql::OrStoreError as _;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
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
        version: 4,
        name: "seal",
        sql: include_str!("../../migrations/sqlite/0004_seal.sql"),
    },
    Migration {
        version: 5,
        name: "operate",
        sql: include_str!("../../migrations/sqlite/0005_operate.sql"),
    },
    Migration {
        version: 6,
        name: "lists",
        sql: include_str!("../../migrations/sqlite/0006_lists.sql"),
    },
    Migration {
        version: 7,
        name: "secret_ends",
        sql: include_str!("../../migrations/sqlite/0007_secret_ends.sql"),
    },
    Migration {
        version: 8,
        name: "kept_users",
        sql: include_str!("../../migrations/sqlite/0008_kept_users.sql"),
    },
    Migration {
        version: 9,
        name: "adopted",
        sql: include_str!("../../migrations/sqlite/0009_adopted.sql"),
    },
    Migration {
        version: 10,
        name: "counts",
        sql: include_str!("../../migrations/sqlite/0010_counts.sql"),
    },
];

/// The schema of a file beside the one that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The version that the file has; 0 if it has none.
    pub present: i64,
    /// The newest version that this program knows.
    pub newest: i64,
    /// The version that a program has to know to work on it. A file is one process's:
    /// the version that it has.
    pub needs: i64,
}

impl Schema {
    /// Whether this program may work on it as it is.
    pub fn fits(&self) -> bool {
        self.present >= self.newest && self.newest >= self.needs
    }
}

/// Reads the schema of the file at `path` without changing it.
pub(crate) fn schema(path: &Path) -> StoreResult<Schema> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).or_store()?;
    schema_of(&conn)
}

/// The names of what the file at `path` has not got, in order.
pub(crate) fn migrations_missing(path: &Path) -> StoreResult<Vec<String>> {
    let present = schema(path)?.present;
    let missing = MIGRATIONS.iter().filter(|it| it.version > present);
    Ok(missing
        .map(|it| format!("{:04}_{}", it.version, it.name))
        .collect())
}

/// The same of an open database.
pub(crate) fn schema_of(conn: &Connection) -> StoreResult<Schema> {
    let has_table: bool = conn
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration')", [], |row| {
            row.get(0)
        })
        .or_store()?;
    let newest = MIGRATIONS.last().map_or(0, |it| it.version);
    if !has_table {
        return Ok(Schema {
            present: 0,
            newest,
            needs: 0,
        });
    }
    let present = conn
        .query_row(
            "SELECT COALESCE(MAX(version), 0) FROM migration",
            [],
            |row| row.get(0),
        )
        .or_store()?;
    Ok(Schema {
        present,
        newest,
        needs: present,
    })
}

/// Applies what is missing; gives the versions applied now.
pub(crate) fn migrate(conn: &mut Connection) -> StoreResult<Vec<i64>> {
    apply(conn, MIGRATIONS)
}

fn apply(conn: &mut Connection, migrations: &[Migration]) -> StoreResult<Vec<i64>> {
    let mut applied = Vec::new();
    // Immediate: two processes that open the same new file go one after the other.
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .or_store()?;
    let present = present_version(&tx)?;
    let newest = migrations.last().map_or(0, |it| it.version);
    if present > newest {
        return Err(StoreError::Schema(format!(
            "the file has version {present}, this program knows versions up to {newest}: use the newer program"
        )));
    }
    for it in migrations.iter().filter(|it| it.version > present) {
        tx.execute_batch(it.sql).or_store()?;
        tx.execute(
            "INSERT INTO migration (version, name) VALUES (?1, ?2)",
            (it.version, it.name),
        )
        .or_store()?;
        applied.push(it.version);
    }
    tx.commit().or_store()?;
    Ok(applied)
}

/// The version of the file, 0 if it is new.
fn present_version(conn: &Connection) -> StoreResult<i64> {
    let has_table = |name: &str| {
        conn.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND (?1 = '' OR name = ?1))",
            [name],
            |row| row.get::<_, bool>(0),
        )
        .or_store()
    };
    if !has_table("migration")? {
        if has_table("")? {
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
        .or_store()?;
    }
    conn.query_row(
        "SELECT COALESCE(MAX(version), 0) FROM migration",
        [],
        |row| row.get(0),
    )
    .or_store()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::params;

    /// Aim: whoever rotated a secret before older ones had ends keeps both, for a day.
    #[test]
    fn secret_that_signed_before_it_could_end_signs_for_a_day_more() {
        let mut conn = Connection::open_in_memory().unwrap();
        let ends = MIGRATIONS.iter().position(|it| it.name == "secret_ends");
        apply(&mut conn, &MIGRATIONS[..ends.unwrap()]).unwrap();
        let secrets = br#"["whsec_two","whsec_one"]"#;
        conn.execute(
            "INSERT INTO endpoint (lane, name, spec, key_version, sealed, updated_at)
             VALUES (1, 'shop', '{}', 0, ?1, 0)",
            params![secrets],
        )
        .unwrap();
        assert!(migrate(&mut conn).unwrap().contains(&7));
        let left: i64 = conn
            .query_row(
                "SELECT json_extract(secret_ends, '$[0]') / 1000000 - CAST(strftime('%s', 'now') AS INTEGER)
                 FROM endpoint WHERE json_array_length(secret_ends) = 1",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert!((86_300..=86_400).contains(&left), "{left} s");
    }
}
