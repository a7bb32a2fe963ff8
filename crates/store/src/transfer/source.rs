//! The side of SQLite: rows are read in one state of the file, by a connection that
//! cannot write; the mark is all that is ever written.

use super::mark::{self, FromMark};
use super::row::{Sum, encode, key_of};
use super::tables::{TABLES, Table};
use super::{Chunk, TransferError};
use crate::Shared;
use crate::lapse::{Lapse, Restored};
use crate::read::audit::{AuditDepth, AuditReport, audit};
use crate::sql::{self, OrStoreError as _};
use crate::sqlite::backup::open_read_only;
use crate::sqlite::{migrate, schema_of};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;
use tombola_core::Timestamp;
use tombola_core::ports::{Actor, StoreError, StoreResult};

/// Bytes of one chunk, about: rows are cut by their number, and by this where they are
/// large.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What the file says of itself.
pub(super) struct Source {
    pub(super) origin: String,
    pub(super) mark: Option<FromMark>,
    /// A token that no other transfer has.
    pub(super) fresh_token: String,
}

/// Looks at the file, which is not changed.
pub(super) fn look(path: &Path) -> Result<Source, TransferError> {
    let conn = open_to_mark(path)?;
    let text = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, String>(0))
            .or_store()
    };
    Ok(Source {
        origin: text("SELECT value FROM meta WHERE name = 'origin'")?,
        mark: mark::read(&conn)?,
        fresh_token: text("SELECT lower(hex(randomblob(16)))")?,
    })
}

/// Refuses rows of another schema than this program's.
pub(super) fn has_our_schema(path: &Path) -> Result<(), TransferError> {
    let schema = schema_of(&open_to_mark(path)?)?;
    if schema.present == schema.newest {
        return Ok(());
    }
    let mend = if schema.present < schema.newest {
        "run `tombola migrate up` on it first"
    } else {
        "use the newer program"
    };
    Err(TransferError::Refused(format!(
        "{} has schema {}, and this program moves schema {}: {mend}",
        path.display(),
        schema.present,
        schema.newest
    )))
}

/// Leaves the mark, durable when this returns.
pub(super) fn put_mark(path: &Path, mark: &FromMark) -> Result<(), TransferError> {
    let conn = open_to_mark(path)?;
    mark::write(&conn, mark)?;
    Ok(conn.close().map_err(|(_, error)| error).or_store()?)
}

/// Takes the last mark away. The other database may have given out ids and delivered awards
/// since, of which this one knows nothing.
pub(super) fn undo(
    path: &Path,
    shared: &Shared,
    by: &Actor,
    now: Timestamp,
) -> Result<Restored, TransferError> {
    let lapse = Lapse {
        action: "transfer undo",
        subject: "database".to_owned(),
        doubt: "it may have been delivered by the database that it was transferred to",
    };
    let mut conn = open_to_mark(path)?;
    // Nobody else may: a file with this mark is opened by no program.
    migrate(&mut conn)?;
    let conn = sql::Connection::from(conn);
    conn.execute_batch("BEGIN IMMEDIATE").or_store()?;
    let restored = lapse.bridge(&conn, shared, by, now)?;
    mark::remove(conn.sqlite())?;
    conn.execute_batch("COMMIT").or_store()?;
    Ok(restored)
}

fn open_to_mark(path: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).or_store()?;
    conn.busy_timeout(crate::sqlite::BUSY_TIMEOUT).or_store()?;
    conn.pragma_update(None, "synchronous", "FULL").or_store()?;
    Ok(conn)
}

/// How many rows each table has, in the order of the list.
pub(super) fn counts(path: &Path) -> Result<Vec<u64>, TransferError> {
    let conn = open_read_only(path)?;
    let count = |table: &'static Table| {
        let sql = table.sqlite_count(false);
        let count = conn
            .query_row(&sql, [], |row| row.get::<_, i64>(0))
            .or_store()?;
        Ok(u64::try_from(count).unwrap_or_default())
    };
    Ok(TABLES.iter().map(count).collect::<StoreResult<_>>()?)
}

/// Gives every row that is not there yet, in chunks of at most `rows_max`, until `give`
/// says that nobody takes them any more.
pub(super) fn chunks(
    path: &Path,
    from: &Place,
    now: Timestamp,
    rows_max: usize,
    give: &mut dyn FnMut(Chunk) -> bool,
) -> Result<(), TransferError> {
    let conn = open_read_only(path)?;
    conn.execute_batch("BEGIN").or_store()?;
    for (number, table) in TABLES.iter().enumerate().skip(from.table) {
        let after: &[Value] = if number == from.table {
            &from.after
        } else {
            &[]
        };
        if !chunks_of(&conn, (number, table), after, now, rows_max, give)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The table and the key behind which rows are missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Place {
    pub(super) table: usize,
    pub(super) after: Vec<Value>,
}

fn chunks_of(
    conn: &Connection,
    (number, table): (usize, &'static Table),
    after: &[Value],
    now: Timestamp,
    rows_max: usize,
    give: &mut dyn FnMut(Chunk) -> bool,
) -> Result<bool, TransferError> {
    let mut chunk = Chunk::of(number);
    let is_wanted = each_row(conn, table, after, now, &mut |row| {
        chunk.cut += encode(table, row, &mut chunk.bytes)?;
        chunk.rows += 1;
        if chunk.rows < rows_max && chunk.bytes.len() < CHUNK_BYTES_MAX {
            return Ok(true);
        }
        chunk.last = key_of(table, row);
        Ok(give(std::mem::replace(&mut chunk, Chunk::of(number))))
    })?;
    // The last one says that the table is whole.
    chunk.is_last = true;
    Ok(is_wanted && give(chunk))
}

fn each_row(
    conn: &Connection,
    table: &'static Table,
    after: &[Value],
    now: Timestamp,
    see: &mut dyn FnMut(&rusqlite::Row<'_>) -> Result<bool, TransferError>,
) -> Result<bool, TransferError> {
    let mut select = conn
        .prepare(&table.sqlite_rows(!after.is_empty(), now))
        .or_store()?;
    let key = after.iter().map(|value| match value.as_i64() {
        Some(number) => rusqlite::types::Value::from(number),
        None => rusqlite::types::Value::from(value.as_str().unwrap_or_default().to_owned()),
    });
    let mut rows = select.query(rusqlite::params_from_iter(key)).or_store()?;
    while let Some(row) = rows.next().or_store()? {
        if !see(row)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The sum of a table's rows as they are to be on PostgreSQL.
pub(super) fn sum(
    path: &Path,
    table: &'static Table,
    now: Timestamp,
) -> Result<Sum, TransferError> {
    let conn = open_read_only(path)?;
    let (mut sum, mut bytes) = (Sum::default(), Vec::new());
    each_row(&conn, table, &[], now, &mut |row| {
        bytes.clear();
        encode(table, row, &mut bytes)?;
        sum.add(&bytes);
        Ok(true)
    })?;
    Ok(sum)
}

/// Audits the file, which is not changed.
pub(super) fn audit_all(path: &Path, shared: &Shared) -> Result<AuditReport, TransferError> {
    let conn = sql::Connection::from(open_read_only(path)?);
    conn.execute_batch("BEGIN").or_store()?;
    Ok(audit(&conn, shared, AuditDepth::Full)?)
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::From(error)
    }
}
