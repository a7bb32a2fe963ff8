//! What is sealed in this file: the secrets that it knows, the key of the codes'
//! digests, and the walk that seals older rows anew.
//!
//! # Model
//! New rows are sealed under the newest version from the moment the store has it.
//! Older ones, plain ones among them, are sealed anew by a walk over all tables in a
//! fixed order, each by its integer key. How far it has come is a row written by the
//! transaction of each step, so the walk goes on after a restart where it was. A
//! newer version begins it anew.
//!
//! # Authority
//! The digest of a code must outlive every secret, or a change of the secret would
//! let a code be imported twice. So its key is random, made once, and sealed like any
//! other row. Codes of version 0 have digests without a key until the walk comes to
//! them; an import looks for both as long as there may be such codes.
//!
//! # What each failure does
//! - The process dies between two steps: rows of both versions are there, and both
//!   versions are in `secret.key`. The next process goes on.
//! - A row does not open: it is left as it is and counted. The walk goes on, and
//!   looks at it again when the next process begins.
//! - `secret.key` has another secret under a number that is known: the file is not
//!   opened, because new rows would be lost with the wrong secret.

#[cfg(test)]
mod erased;
mod tables;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unopened;

pub(crate) use tables::Table;

use crate::Store;
use crate::catalog::log;
use crate::requests::once;
use crate::seal::{CodeDigest, PLAIN, Place, SealKeys, Sealer, new_digest_key};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension as _, params};
use crate::sqlite::backup;
use crate::store::Priority;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tombola_core::Timestamp;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{Actor, Resealed, StoreError, StoreResult};

/// What seals and opens in this process now.
pub(crate) struct Seal {
    pub(crate) sealer: Sealer,
    digest: Result<CodeDigest, String>,
}

impl Seal {
    /// One without secrets, for work that neither seals nor opens.
    pub(crate) fn closed() -> Self {
        Self {
            sealer: Sealer::new(None),
            digest: Err("no secret was taken up".to_owned()),
        }
    }

    /// One that only opens what is there.
    pub(crate) fn to_open(keys: Option<&SealKeys>) -> Self {
        Self {
            sealer: Sealer::new(keys),
            ..Self::closed()
        }
    }

    /// What codes are unique by; an error where its key does not open.
    pub(crate) fn digest(&self) -> StoreResult<&CodeDigest> {
        self.digest
            .as_ref()
            .map_err(|why| StoreError::Sealed(why.clone()))
    }
}

/// The seal of the store, which a new secret replaces.
pub(crate) struct Seals {
    now: RwLock<Arc<Seal>>,
    /// Endpoints whose secrets do not open, as far as the log has told.
    told: Mutex<BTreeSet<i64>>,
}

impl Seals {
    pub(crate) fn new(seal: Seal) -> Self {
        Self {
            now: RwLock::new(Arc::new(seal)),
            told: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Arc<Seal> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, seal: Seal) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seal);
    }

    /// Endpoints are read every other second; what is wrong with one is told once.
    pub(crate) fn tell_once(&self, lane: i64, error: &StoreError) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(lane) {
            tracing::error!(%error, endpoint.lane = lane, "calls of this endpoint cannot be signed");
        }
    }
}

impl Store {
    /// The versions that sealed something in the file at `path`, which is read and
    /// not changed; none where there is no file.
    pub fn sealed_under(path: &Path) -> StoreResult<Vec<i32>> {
        if !path.try_exists().unwrap_or(false) {
            return Ok(Vec::new());
        }
        let conn = backup::open_read_only(path)?;
        Ok(backup::secret_marks(&conn)?.into_keys().collect())
    }

    /// What codes are unique by, in the order of the index that says so.
    pub fn code_digest(&self) -> StoreResult<CodeDigest> {
        self.shared().seals.now().digest().cloned()
    }

    /// From here on rows are sealed under the newest of these, which has to be in
    /// durable storage already; older rows follow by
    /// [`reseal_step`](tombola_core::ports::Catalog::reseal_step). `is_after_loss`
    /// gives up a key of the codes' digests that no version opens.
    pub async fn change_secret(
        &self,
        keys: SealKeys,
        is_after_loss: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<()> {
        let shared = self.shared();
        self.write(Priority::Other, 4, move |conn| {
            once(conn, &by, now, || {
                let seal = take_up(conn, Some(&keys), is_after_loss)?;
                let line = log::Line {
                    action: "secret rotate",
                    subject: &format!("version {}", seal.sealer.newest()),
                    ..log::Line::default()
                };
                log::write(conn, &by, now, line).or_store()?;
                // Every later job of the writer seals with it, also if this commit is lost.
                shared.seals.replace(seal);
                Ok(())
            })
        })
        .await
    }
}

/// Takes the secrets up in a transaction: notes them, opens the key of the digests or
/// makes it, and sets the walk to where it has to begin.
pub(crate) fn take_up(
    conn: &Connection,
    keys: Option<&SealKeys>,
    is_after_loss: bool,
) -> StoreResult<Seal> {
    let sealer = Sealer::new(keys);
    for (version, mark) in sealer.marks() {
        note(conn, &sealer, version, mark)?;
    }
    let digest = digest(conn, &sealer, is_after_loss)?;
    if sealer.newest() != PLAIN {
        begin_walk(conn, sealer.newest())?;
    }
    Ok(Seal { sealer, digest })
}

/// Notes a version at its first use; later it has to be the same secret.
fn note(conn: &Connection, sealer: &Sealer, version: i32, mark: [u8; 16]) -> StoreResult<()> {
    let kept: Option<[u8; 16]> = conn
        .prepare_cached("SELECT mark FROM seal_key WHERE version = ?1")
        .and_then(|mut it| it.query_row([version], |row| row.get(0)).optional())
        .or_store()?;
    match kept {
        Some(kept) if kept == mark => Ok(()),
        Some(_) => Err(StoreError::Sealed(format!(
            "version {version} of {} is not the secret of that number that rows here are sealed under: \
             put the right file back, and give a new secret a new number",
            sealer.looked_in()
        ))),
        None => conn
            .prepare_cached("INSERT INTO seal_key (version, mark) VALUES (?1, ?2)")
            .and_then(|mut it| it.execute(params![version, mark]))
            .map(drop)
            .or_store(),
    }
}

fn digest(
    conn: &Connection,
    sealer: &Sealer,
    is_after_loss: bool,
) -> StoreResult<Result<CodeDigest, String>> {
    let kept: Option<(i32, Vec<u8>)> = conn
        .prepare_cached("SELECT key_version, sealed FROM digest_key")
        .and_then(|mut it| {
            it.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .or_store()?;
    let opened = match kept {
        None if sealer.newest() == PLAIN => return Ok(Ok(CodeDigest::PLAIN)),
        None => return make_digest_key(conn, sealer).map(Ok),
        Some((version, sealed)) => sealer.open(Place::DigestKey, version, &sealed),
    };
    match opened {
        Ok(key) => {
            let key = key.as_slice().try_into();
            Ok(key
                .map(CodeDigest::keyed)
                .map_err(|_| "the key of the codes' digests is not 32 bytes".to_owned()))
        }
        Err(StoreError::Sealed(_)) if is_after_loss => make_digest_key(conn, sealer).map(Ok),
        Err(StoreError::Sealed(why)) => {
            tracing::error!(error = why, "no code can be imported");
            Ok(Err(why))
        }
        Err(error) => Err(error),
    }
}

/// Codes that are there when the first key is made have digests without one.
fn make_digest_key(conn: &Connection, sealer: &Sealer) -> StoreResult<CodeDigest> {
    let key = new_digest_key()?;
    let sealed = sealer.seal(Place::DigestKey, &key)?;
    conn.prepare_cached(
        "INSERT INTO digest_key (one, key_version, sealed, plain_until)
         VALUES (1, ?1, ?2, (SELECT coalesce(max(id), 0) FROM code))
         ON CONFLICT (one) DO UPDATE SET key_version = excluded.key_version, sealed = excluded.sealed",
    )
    .and_then(|mut it| it.execute(params![sealed.key_version, sealed.bytes]))
    .or_store()?;
    Ok(CodeDigest::keyed(&key))
}

/// Whether codes may be there whose digests have no key.
pub(super) fn has_plain_digests(conn: &Connection) -> sql::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM digest_key WHERE plain_until > 0)")?
        .query_row([], |row| row.get(0))
}

/// How far the walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) version: i32,
    /// `None`: at its end.
    pub(crate) at: Option<Table>,
    after: i64,
    pub(crate) stuck: u64,
}

impl Walk {
    const fn beginning(version: i32) -> Self {
        Self {
            version,
            at: Some(Table::FIRST),
            after: 0,
            stuck: 0,
        }
    }

    pub(crate) fn load(conn: &Connection) -> StoreResult<Option<Self>> {
        conn.prepare_cached("SELECT version, at_table, after, stuck FROM reseal")
            .and_then(|mut it| {
                it.query_row([], |row| {
                    Ok(Self {
                        version: row.get(0)?,
                        at: crate::read::column::word_or_null(row, 1, Table::parse)?,
                        after: row.get(2)?,
                        stuck: crate::read::column::count(row, 3)?,
                    })
                })
                .optional()
            })
            .or_store()
    }

    fn store(self, conn: &Connection) -> StoreResult<()> {
        conn.prepare_cached(
            "INSERT INTO reseal (one, version, at_table, after, stuck) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT (one) DO UPDATE SET version = excluded.version, at_table = excluded.at_table,
                                             after = excluded.after, stuck = excluded.stuck",
        )
        .and_then(|mut it| {
            let stuck = crate::read::column::as_column(self.stuck);
            it.execute(params![self.version, self.at.map(Table::name), self.after, stuck])
        })
        .map(drop)
        .or_store()
    }

    const fn behind(self, table: Table) -> Self {
        Self {
            at: table.next(),
            after: 0,
            ..self
        }
    }
}

/// A walk that has to begin anew: for a newer version, or for rows that did not open,
/// whose secret may be back. Where others serve too, one of them may have sealed under the older
/// version until just now, behind the walk: whoever starts begins it anew. One that does not use
/// the newest version yet leaves the walk of the others alone.
fn begin_walk(conn: &Connection, newest: i32) -> StoreResult<()> {
    let kept = Walk::load(conn)?;
    let goes_on = kept.is_some_and(|walk| {
        let may_be_behind = conn.is_far() && newest > 1;
        walk.version > newest
            || walk.version == newest && !may_be_behind && (walk.at.is_some() || walk.stuck == 0)
    });
    if goes_on {
        return Ok(());
    }
    let begin = Walk::beginning(newest);
    let is_new = kept.is_none() && is_empty(conn).or_store()?;
    let at = if is_new { None } else { begin.at };
    Walk { at, ..begin }.store(conn)
}

fn is_empty(conn: &Connection) -> sql::Result<bool> {
    conn.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM endpoint) AND NOT EXISTS (SELECT 1 FROM address)
           AND NOT EXISTS (SELECT 1 FROM code)",
        [],
        |row| row.get(0),
    )
}

/// One step of the walk.
pub(super) fn step(conn: &Connection, seal: &Seal) -> StoreResult<Resealed> {
    let done = |rows, is_done| Ok(Resealed { rows, is_done });
    let newest = seal.sealer.newest();
    if newest == PLAIN {
        return done(0, true);
    }
    let kept = Walk::load(conn)?;
    if kept.is_some_and(|walk| walk.version > newest) {
        return done(0, true);
    }
    let kept = kept.filter(|walk| walk.version == newest);
    let walk = kept.unwrap_or(Walk::beginning(newest));
    let Some(table) = walk.at else {
        return done(0, true);
    };
    let Some(seen_until) = table.until(conn, walk.after)? else {
        let walk = walk.behind(table);
        if table == Table::Code && walk.stuck == 0 {
            end_plain_digests(conn)?;
        }
        walk.store(conn)?;
        return done(0, walk.at.is_none());
    };
    let old = table.older(conn, walk.after, seen_until, newest)?;
    let is_full = old.len() == STEP_ROWS_MAX;
    let after = old
        .last()
        .filter(|_| is_full)
        .map_or(seen_until, |row| row.id);
    let count = old.len() as u64;
    let mut stuck = 0;
    for row in old {
        match table.seal_anew(conn, seal, &row) {
            Ok(()) => {}
            Err(error @ (StoreError::Sealed(_) | StoreError::Row(_))) => {
                // A lost secret has many rows; the walk tells of its first one.
                if walk.stuck + stuck == 0 {
                    let (table, row) = (table.name(), row.id);
                    tracing::error!(%error, table, row, "rows stay under their old version");
                }
                stuck += 1;
            }
            Err(error) => return Err(error),
        }
    }
    let walk = Walk {
        after,
        stuck: walk.stuck + stuck,
        ..walk
    };
    walk.store(conn)?;
    done(count - stuck, false)
}

fn end_plain_digests(conn: &Connection) -> StoreResult<()> {
    conn.execute("UPDATE digest_key SET plain_until = 0", [])
        .map(drop)
        .or_store()
}
