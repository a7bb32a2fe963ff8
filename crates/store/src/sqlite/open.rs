//! Opening: the file with its settings, the schema, the threads.

use super::readers::{self, Reads};
use super::wal::{self, Wal};
use super::writer::{self, Lines};
use super::{Sqlite, Stopwatch, migrate};
use crate::rules::RulesCache;
use crate::seal::SealKeys;
use crate::seals::{self, Seal, Seals};
use crate::sql;
use crate::sql::{OrStoreError as _, store_error};
use crate::store::{Shared, StoreOptions};
use crate::transfer;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tombola_core::ports::{StoreError, StoreResult};

/// Statements kept ready by each connection.
const STATEMENTS: usize = 256;
/// Bytes of a page of a new database. Each draw writes to a page of its request key and
/// one of its user that nothing else of its transaction writes to: half as large as
/// usual, half as much goes to the log (`docs/decisions/0011-small-pages.md`).
const PAGE_BYTES: u32 = 2048;
/// How long a statement waits for another process that has the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn open(
    path: &Path,
    options: StoreOptions,
    stopwatch: Stopwatch,
) -> StoreResult<Sqlite> {
    create_file(path).map_err(|error| unavailable(&error))?;
    let mut conn = connect(path, options.cache_kib)?;
    set_up_log(&conn)?;
    // First: one that is not to be served stays as it is.
    transfer::on_open(&conn)?;
    migrate::migrate(&mut conn)?;
    let conn = sql::Connection::from(conn);
    let seal = take_up(&conn, options.seal_keys.as_ref())?;
    let shared = Arc::new(Shared {
        schedule: options.schedule,
        step: options.step,
        origin: origin(conn.sqlite())?,
        rules: RulesCache::default(),
        seals: Seals::new(seal),
    });
    let lines = Arc::new(Lines::default());
    let reads = Arc::new(Reads::new(stopwatch.clone()));
    // The store first: if a later step fails, dropping it ends the threads.
    let threads = Mutex::default();
    let store = Sqlite {
        file: path.to_owned(),
        shared,
        lines,
        reads,
        threads,
    };
    let reading = (options.readers, options.cache_kib / 4);
    start(&store, path, conn, reading, stopwatch)?;
    Ok(store)
}

fn start(
    store: &Sqlite,
    path: &Path,
    mut conn: sql::Connection,
    (readers, reader_cache_kib): (usize, u32),
    stopwatch: Stopwatch,
) -> StoreResult<()> {
    let page_bytes = conn
        .sqlite()
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .or_store()?;
    let wal = Wal::of(page_bytes);
    let told = wal.watch(conn.sqlite_mut())?;
    let checkpointer = connect(path, 64)?;
    let mut threads = Vec::new();
    for number in 0..readers.max(1) {
        let reader = connect(path, reader_cache_kib)?;
        reader.pragma_update(None, "query_only", true).or_store()?;
        let reads = Arc::clone(&store.reads);
        threads.push(thread(&format!("store-read-{number}"), move || {
            readers::run(reader.into(), &reads);
        })?);
    }
    let (lines, shared) = (Arc::clone(&store.lines), Arc::clone(&store.shared));
    threads.push(thread("store-write", move || {
        writer::run(&conn, &lines, &shared, &wal, &stopwatch);
    })?);
    // Ends when the writer's connection, and with it the hook that tells, is gone.
    threads.push(thread("store-log", move || wal::run(&checkpointer, &told))?);
    store
        .threads
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .extend(threads);
    Ok(())
}

/// Copies what is left of the log into the file and removes it: it holds pages as
/// they were before. The threads' connections close at the same time, and then none
/// of them is the last, which would do it.
pub(super) fn end_log(path: &Path) -> StoreResult<()> {
    let conn = connect(path, 64)?;
    conn.busy_timeout(Duration::ZERO).or_store()?;
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .or_store()?;
    conn.close().map_err(|(_, error)| store_error(&error))
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> StoreResult<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| unavailable(&error))
}

/// Makes the file readable to its owner only: it holds secrets. SQLite gives the
/// log the same mode.
fn create_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            file.sync_all()?;
            // The name of a new file is durable only with its directory.
            let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(path: &Path, cache_kib: u32) -> StoreResult<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).or_store()?;
    // Else a statement whose parameter is compared with a column of a partial index
    // is prepared anew for each value that is bound.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .or_store()?;
    conn.busy_timeout(BUSY_TIMEOUT).or_store()?;
    // Only a file without a page yet takes it.
    conn.pragma_update(None, "page_size", PAGE_BYTES)
        .or_store()?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update(None, "cache_size", -i64::from(cache_kib))
        .or_store()?;
    conn.pragma_update(None, "synchronous", "FULL").or_store()?;
    conn.pragma_update(None, "foreign_keys", true).or_store()?;
    conn.pragma_update(None, "temp_store", "MEMORY")
        .or_store()?;
    // What is deleted or sealed anew does not stay behind in pages of the file.
    conn.pragma_update(None, "secure_delete", true).or_store()?;
    // The log's own thread does it; see `wal`.
    conn.pragma_update(None, "wal_autocheckpoint", 0)
        .or_store()?;
    Ok(conn)
}

fn set_up_log(conn: &Connection) -> StoreResult<()> {
    let mode: String = conn
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .or_store()?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "the file system does not allow a write-ahead log (journal mode {mode}): use a local disk"
    )))
}

/// Where it fails the connection is dropped, and its transaction with it.
fn take_up(conn: &sql::Connection, keys: Option<&SealKeys>) -> StoreResult<Seal> {
    conn.execute_batch("BEGIN IMMEDIATE").or_store()?;
    let seal = seals::take_up(conn, keys, false)?;
    conn.execute_batch("COMMIT").or_store()?;
    Ok(seal)
}

/// The database's own uuid, made when the file was first opened. SQLite's own
/// generator makes it, because this crate has none.
pub(super) fn origin(conn: &Connection) -> StoreResult<String> {
    conn.execute(
        "INSERT INTO meta (name, value)
         SELECT 'origin', substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-4' || substr(h, 14, 3)
                || '-a' || substr(h, 18, 3) || '-' || substr(h, 21, 12)
         FROM (SELECT lower(hex(randomblob(16))) AS h)
         WHERE true
         ON CONFLICT DO NOTHING",
        [],
    )
    .or_store()?;
    conn.query_row("SELECT value FROM meta WHERE name = 'origin'", [], |row| {
        row.get(0)
    })
    .or_store()
}

fn unavailable(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
