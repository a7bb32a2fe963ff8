//! The processes that serve one database on PostgreSQL, as each tells of itself. A file
//! of SQLite has one process, which its lock names: nothing of this is there.
//!
//! # What each failure does
//! - A process dies: it is silent, which `doctor` says after [`SILENT_MAX`]; who tells
//!   of itself after [`KEPT_MAX`] takes its row away.
//! - A process is alive and cannot reach the database: it is as good as dead to the
//!   others, and comes back with its next word.
//! - Two take the same row away: each passes over what the other has in hand.

use crate::Store;
use crate::postgres::migrate::{Unfinished, is_whole};
use crate::read::column::{count, instant};
use crate::sql::{self, Connection, OrStoreError as _};
use crate::store::Database;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use tombola_core::Timestamp;
use tombola_core::ports::StoreResult;

/// Who was silent for longer does not count as alive.
pub const SILENT_MAX: Duration = Duration::from_secs(30);
/// Who was silent for longer is forgotten.
pub const KEPT_MAX: Duration = Duration::from_mins(1);

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Of one start; no other has it.
    pub id: String,
    /// As `serve --roles` takes them.
    pub roles: String,
    /// Of its program.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// Its id on that machine.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
}

/// What is known of a process that serves, or did a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFact {
    /// As `serve --roles` takes them.
    pub roles: String,
    /// Of its program.
    pub version: String,
    /// The machine's name.
    pub host: String,
    /// Its id on that machine.
    pub pid: u64,
    /// Connections that it may have.
    pub connections: u64,
    /// How far its clock was off the database's when it last told.
    pub clock_off: Duration,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago it last told of itself, by the server's clock.
    pub silent: Duration,
}

// It waits for no disk and no standby: a word that a crash takes back is said again.
const NOTE: &str = "WITH early AS (SELECT set_config('synchronous_commit', 'off', true))
  INSERT INTO process
    (id, roles, version, host, pid, connections, clock_off, started_at, seen_at)
  SELECT $1::text, $2::text, $3::text, $4::text, $5::bigint, $6::bigint, $7::bigint, $8::bigint,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  FROM early
  ON CONFLICT (id) DO UPDATE SET clock_off = excluded.clock_off, seen_at = excluded.seen_at";

const FORGET_SILENT: &str = "DELETE FROM process WHERE id IN (
    SELECT id FROM process
    WHERE seen_at < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $1
    FOR UPDATE SKIP LOCKED)";

impl Store {
    /// Tells that this process is alive, and takes away those that have long been silent.
    /// It waits for no other write: who is busy is alive.
    pub async fn note_process(&self, it: &Process, clock_off: Duration) -> StoreResult<()> {
        let Database::Postgres(postgres) = &self.database else {
            return Ok(());
        };
        let database = postgres.database();
        let connections = database.state().max + database.reads_state().max;
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let (pid, connections) = (i64::from(it.pid), number(connections));
        let (off, kept) = (micros(clock_off), micros(KEPT_MAX));
        let session = database.take().await?;
        let values: [&(dyn ToSql + Sync); 8] = [
            &it.id,
            &it.roles,
            &it.version,
            &it.host,
            &pid,
            &connections,
            &off,
            &it.started_at.0,
        ];
        let note = session.client().execute(NOTE, &values);
        let mut told = session.within(note).await;
        if told.is_ok() {
            let kept: [&(dyn ToSql + Sync); 1] = [&kept];
            let forget = session.client().execute(FORGET_SILENT, &kept);
            told = session.within(forget).await;
        }
        session.end(told).map(drop)
    }

    /// Whether the database may be served still, asked by a process that has told of itself: a
    /// restore or a transfer that began before that sees it or is seen here.
    ///
    /// # Errors
    /// `StoreError::Moved` where it may not.
    pub async fn may_be_served(&self) -> StoreResult<()> {
        let Database::Postgres(postgres) = &self.database else {
            return Ok(());
        };
        let session = postgres.database().take().await?;
        let found = session
            .within(is_whole(session.client(), Unfinished::Nothing))
            .await;
        session.end(found)?
    }

    /// Takes the row of a process away that stops.
    pub async fn forget_process(&self, id: &str) -> StoreResult<()> {
        let Database::Postgres(postgres) = &self.database else {
            return Ok(());
        };
        let session = postgres.database().take().await?;
        let sql = "DELETE FROM process WHERE id = $1";
        let gone = session.within(session.client().execute(sql, &[&id])).await;
        session.end(gone).map(drop)
    }

    /// The processes that told of themselves lately, the oldest first; none on SQLite.
    pub async fn processes(&self) -> StoreResult<Vec<ProcessFact>> {
        match &self.database {
            Database::Sqlite(_) => Ok(Vec::new()),
            Database::Postgres(_) => self.read(|conn| processes(conn).or_store()).await,
        }
    }
}

/// On PostgreSQL.
pub(crate) fn processes(conn: &Connection) -> sql::Result<Vec<ProcessFact>> {
    conn.prepare_cached(
        "SELECT roles, version, host, pid, connections, clock_off, started_at,
           greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint - seen_at, 0)
         FROM process ORDER BY started_at, id",
    )?
    .query_map([], |row| {
        Ok(ProcessFact {
            roles: row.get(0)?,
            version: row.get(1)?,
            host: row.get(2)?,
            pid: count(row, 3)?,
            connections: count(row, 4)?,
            clock_off: Duration::from_micros(count(row, 5)?),
            started_at: instant(row, 6)?,
            silent: Duration::from_micros(count(row, 7)?),
        })
    })?
    .collect()
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
