//! Backups: one state of a database in one file, taken while others write.
//!
//! A read transaction holds the state still for all steps, so that no write makes
//! the work begin anew; the log cannot begin anew meanwhile and grows by what is
//! written. Each step is made durable before the next: left to the system, the
//! pages of many steps would be written at once, and every commit would wait.
//!
//! The file is plain: no log beside it, so that it may be moved and read anywhere.
//! It says itself when it was taken.

use super::migrate::{self, Schema};
use crate::sql::{OrStoreError as _, inconsistent};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;
use tombola_core::Timestamp;
use tombola_core::limits::{BACKUP_STEP_PAGES, DOCTOR_NAMED_MAX};
use tombola_core::ports::{StoreError, StoreResult};

/// In `meta`: when the backup was taken, in microseconds.
pub(super) const TAKEN_AT: &str = "backup_taken_at";
/// Memory for pages on the way, in KiB; beyond it they go to the file.
const CACHE_KIB: i64 = 4096;

/// How far a backup or a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pages that are in the new file.
    pub done: u64,
    /// Pages in all.
    pub pages: u64,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFact {
    /// Its schema, beside the newest that this program knows.
    pub schema: Schema,
    /// The uuid of the database that it was taken of.
    pub origin: String,
    /// When it was taken; `None` of a file that `backup` did not write.
    pub taken_at: Option<Timestamp>,
    /// Marks of the secrets that the database was used with, by version.
    pub secrets: BTreeMap<i32, [u8; 16]>,
}

/// Takes a backup of the database at `from` into the new file `to`, as it is at one
/// instant. `on_step` is told after each step; where it says `false` the work ends,
/// and so does this with `false`. A `to` that did not become whole is its caller's
/// to remove.
pub fn take(
    from: &Path,
    to: &Path,
    at: Timestamp,
    on_step: &mut dyn FnMut(Progress) -> bool,
) -> StoreResult<bool> {
    let file = create_private(to)?;
    let is_whole = transfer(from, to, &file, on_step)?;
    if is_whole {
        let target = open_plain(to)?;
        put_meta(&target, TAKEN_AT, &at.0.to_string())?;
        target.close().map_err(|(_, error)| error).or_store()?;
        file.sync_all().map_err(|error| unavailable(&error))?;
    }
    Ok(is_whole)
}

/// The same without a word on when it was taken: for a restore, which brings a
/// backup into a data directory.
pub(super) fn transfer(
    from: &Path,
    to: &Path,
    file: &File,
    on_step: &mut dyn FnMut(Progress) -> bool,
) -> StoreResult<bool> {
    let source = open_read_only(from)?;
    source.execute_batch("BEGIN").or_store()?;
    // The first read begins the state that all steps see.
    let _: i64 = source
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .or_store()?;
    let mut target = open_target(to)?;
    let backup = Backup::new(&source, &mut target).or_store()?;
    loop {
        let done = backup.step(BACKUP_STEP_PAGES).or_store()?;
        file.sync_data().map_err(|error| unavailable(&error))?;
        let (left, pages) = (backup.progress().remaining, backup.progress().pagecount);
        let progress = Progress {
            done: u64::try_from(pages - left).unwrap_or(0),
            pages: u64::try_from(pages).unwrap_or(0),
        };
        if !on_step(progress) {
            return Ok(false);
        }
        if done == StepResult::Done {
            break;
        }
        if done != StepResult::More {
            return Err(StoreError::Unavailable(format!(
                "another process keeps the file to itself ({done:?})"
            )));
        }
    }
    drop(backup);
    // The pages say "with a log beside me", as those of the source do.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .or_store()?;
    target.close().map_err(|(_, error)| error).or_store()?;
    file.sync_all().map_err(|error| unavailable(&error))?;
    Ok(true)
}

/// What the file at `path` says of itself; `Inconsistent` if it is no database of
/// this program. The file is not changed.
pub fn fact(path: &Path) -> StoreResult<BackupFact> {
    let conn = open_read_only(path)?;
    let schema = migrate::schema_of(&conn)?;
    if schema.present == 0 {
        return Err(inconsistent("it is no database of this program"));
    }
    let origin = meta(&conn, "origin")?
        .ok_or_else(|| inconsistent("it is no database of this program: it has no origin"))?;
    Ok(BackupFact {
        schema,
        origin,
        taken_at: taken_at(&conn)?,
        secrets: secret_marks(&conn)?,
    })
}

/// What is broken in the file at `path`, as much as is worth naming: damaged pages, indexes that do not match
/// their tables, rows whose owner is gone. Reads all of it.
pub fn faults(path: &Path) -> StoreResult<Vec<String>> {
    faults_of(&open_read_only(path)?)
}

/// The same of an open database.
pub(crate) fn faults_of(conn: &Connection) -> StoreResult<Vec<String>> {
    let mut faults: Vec<String> = conn
        .prepare(&format!("PRAGMA quick_check({DOCTOR_NAMED_MAX})"))
        .and_then(|mut it| it.query_map([], |row| row.get(0))?.collect())
        .or_store()?;
    faults.retain(|line| line != "ok");
    let orphans: Vec<String> = conn
        .prepare("PRAGMA foreign_key_check")
        .and_then(|mut it| {
            it.query_map([], |row| {
                let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
                Ok(format!("a row of {table} has no {parent}"))
            })?
            .take(DOCTOR_NAMED_MAX)
            .collect()
        })
        .or_store()?;
    faults.extend(orphans);
    Ok(faults)
}

/// Marks of the secrets that a database was used with; none where its schema is
/// older than they are.
pub(crate) fn secret_marks(conn: &Connection) -> StoreResult<BTreeMap<i32, [u8; 16]>> {
    let has_table: bool = conn
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'seal_key')",
            [],
            |row| row.get(0),
        )
        .or_store()?;
    if !has_table {
        return Ok(BTreeMap::new());
    }
    conn.prepare_cached("SELECT version, mark FROM seal_key")
        .and_then(|mut it| {
            it.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .or_store()
}

/// When the backup was taken, if it is one.
pub(super) fn taken_at(conn: &Connection) -> StoreResult<Option<Timestamp>> {
    let text = meta(conn, TAKEN_AT)?;
    Ok(text.and_then(|text| text.parse().ok()).map(Timestamp))
}

fn meta(conn: &Connection, name: &str) -> StoreResult<Option<String>> {
    conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")
        .and_then(|mut it| it.query_row([name], |row| row.get(0)).optional())
        .or_store()
}

fn put_meta(conn: &Connection, name: &str, value: &str) -> StoreResult<()> {
    conn.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
    .map(drop)
    .or_store()
}

/// Made here, so that nobody but its owner can read it at any time.
pub(super) fn create_private(path: &Path) -> StoreResult<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| unavailable(&error))
}

pub(crate) fn open_read_only(path: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).or_store()?;
    conn.busy_timeout(super::open::BUSY_TIMEOUT).or_store()?;
    Ok(conn)
}

fn open_plain(path: &Path) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).or_store()
}

/// A file that is thrown away if anything fails needs no journal, and is made
/// durable by its maker.
fn open_target(path: &Path) -> StoreResult<Connection> {
    let target = open_plain(path)?;
    target
        .pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))
        .or_store()?;
    target
        .pragma_update(None, "synchronous", "OFF")
        .or_store()?;
    target
        .pragma_update(None, "cache_size", -CACHE_KIB)
        .or_store()?;
    Ok(target)
}

fn unavailable(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
