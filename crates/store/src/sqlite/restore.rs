//! Restores: a backup becomes a database again, one that knows that it lacks the
//! time since it was taken ([`lapse`](crate::lapse)).

use super::{backup, migrate, open};
use crate::Shared;
use crate::lapse::{Lapse, Restored};
use crate::rules::RulesCache;
use crate::seals::{Seal, Seals};
use crate::sql::{Connection, OrStoreError as _};
use backup::Progress;
use rusqlite::OpenFlags;
use std::path::Path;
use tombola_core::Timestamp;
use tombola_core::award::step;
use tombola_core::ports::{Actor, StoreResult};
use tombola_core::retry::Schedule;

/// Copies the backup `from` into the new file `to`. `on_step` is told after each
/// step. A `to` that did not become whole is its caller's to remove.
pub fn bring(from: &Path, to: &Path, on_step: &mut dyn FnMut(Progress)) -> StoreResult<()> {
    let file = backup::create_private(to)?;
    backup::transfer(from, to, &file, &mut |progress| {
        on_step(progress);
        true
    })
    .map(drop)
}

/// Makes the file at `path`, which nobody else has open, a database that may be
/// served; durable when this returns, and in one transaction beside the schema.
pub fn ready(path: &Path, schedule: Schedule, by: &Actor, now: Timestamp) -> StoreResult<Restored> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = rusqlite::Connection::open_with_flags(path, flags).or_store()?;
    conn.pragma_update(None, "synchronous", "FULL").or_store()?;
    migrate::migrate(&mut conn)?;
    let shared = Shared {
        schedule,
        step,
        origin: open::origin(&conn)?,
        rules: RulesCache::default(),
        seals: Seals::new(Seal::closed()),
    };
    let tx = Connection::from(conn);
    tx.execute_batch("BEGIN IMMEDIATE").or_store()?;
    let taken_at = backup::taken_at(tx.sqlite())?;
    let lapse = Lapse {
        action: "restore",
        subject: taken_at.map_or_else(
            || "database".to_owned(),
            |at| format!("database, backup of {at}"),
        ),
        doubt: "it may have been delivered after the backup was taken",
    };
    let restored = lapse.bridge(&tx, &shared, by, now)?;
    tx.execute("DELETE FROM meta WHERE name = ?1", [backup::TAKEN_AT])
        .or_store()?;
    tx.execute_batch("COMMIT").or_store()?;
    tx.into_sqlite()
        .close()
        .map_err(|(_, error)| error)
        .or_store()?;
    Ok(restored)
}
