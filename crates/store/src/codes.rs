//! Imports of codes, in steps that each fit between two batches of draws.
//!
//! # Model
//! Rows carry their import's id. `ready` is 0 while an import runs, 1 once it is
//! finished, 2 while it is being removed; codes are given from ready imports only,
//! so an import becomes visible, and invisible, by one update of one row.
//!
//! # What each failure does
//! - A step finds a code that is in the campaign already: the step writes nothing,
//!   and the caller removes the import.
//! - The process dies, or the caller goes away without a word: the import stays at
//!   0. It is removed when the next process starts, on PostgreSQL when one starts
//!   [`GIVEN_UP_AFTER`] the import, and until then it is in nobody's
//!   way: a code that meets one of an older unfinished import takes its place, and
//!   the older one, which is no longer whole, is given up.
//! - So of two imports that run at the same time with a code in common the newer
//!   one goes on. The older one is told with its next step, and leaves nothing.

#[cfg(test)]
mod tests;

use crate::catalog::log;
use crate::read::column::{as_column, count};
use crate::seal::{CodeDigest, Place};
use crate::seals::{self, Seal};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Array, Connection, OptionalExtension, params};
use std::collections::HashSet;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::limits::{CODE_BYTES_MAX, CODES_PER_IMPORT_MAX, IMPORT_TIME_MAX, STEP_ROWS_MAX};
use tombola_core::ports::{Actor, CodesAdded, ImportBegun, ImportId, StoreError, StoreResult};

/// On PostgreSQL an import that was begun so long ago runs no more: twice the time that
/// its file may take to come, for what was read of it has yet to be written.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2 * IMPORT_TIME_MAX.as_secs());

const RUNNING: i64 = 0;
const READY: i64 = 1;
const REMOVED: i64 = 2;

/// Whether a row was never visible, or no longer is; ?2 to ?4 are the import that asks,
/// and the two states.
macro_rules! gives_way {
    () => {
        "award_id IS NULL AND voided_at IS NULL
           AND import_id IN (SELECT id FROM code_import WHERE ready = ?3 OR ready = ?4 AND id < ?2)"
    };
}

/// An import that runs, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    import: i64,
    campaign: i64,
}

/// Begins an import.
pub(super) fn begin(
    conn: &Connection,
    campaign: &str,
    prize: &str,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<ImportBegun> {
    let found: Option<(i64, i64)> = conn
        .prepare_cached(
            "SELECT c.id, p.id FROM prize p JOIN campaign c ON c.id = p.campaign_id
             WHERE c.slug = ?1 AND p.slug = ?2 AND p.kind = 'code'",
        )?
        .query_row([campaign, prize], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((campaign_id, prize_id)) = found else {
        return Ok(ImportBegun::NotFound);
    };
    let import: i64 = conn
        .prepare_cached(
            "INSERT INTO code_import (campaign_id, prize_id, created_at) VALUES (?1, ?2, ?3) RETURNING id",
        )?
        .query_row(params![campaign_id, prize_id, now.0], |row| row.get(0))?;
    let subject = format!("{campaign}/{prize}");
    log::write(
        conn,
        by,
        now,
        log::Line {
            action: "code import",
            subject: &subject,
            ..log::Line::default()
        },
    )?;
    Ok(ImportBegun::Begun(ImportId(import)))
}

/// Adds one step of codes, all or none. An error of the row: why it is not taken.
pub(super) fn add(
    conn: &Connection,
    seal: &Seal,
    import: ImportId,
    codes: &[String],
    skip_duplicates: bool,
) -> StoreResult<CodesAdded> {
    let refused = |why| Err(StoreError::Row(why));
    let Some((running, before)) = running(conn, import).or_store()? else {
        return refused(format!(
            "import {} is not running: it was finished, removed, or a newer one has a code of it",
            import.0
        ));
    };
    if codes.len() > STEP_ROWS_MAX {
        return refused(format!("a step has at most {STEP_ROWS_MAX} codes"));
    }
    if before.saturating_add(codes.len()) > CODES_PER_IMPORT_MAX {
        return refused(format!(
            "an import has at most {CODES_PER_IMPORT_MAX} codes"
        ));
    }
    if let Some(index) = codes
        .iter()
        .position(|code| code.is_empty() || code.len() > CODE_BYTES_MAX)
    {
        return refused(format!(
            "code {index} of the step has to be 1 to {CODE_BYTES_MAX} bytes"
        ));
    }
    conn.execute_batch("SAVEPOINT codes").or_store()?;
    let added = add_rows(conn, seal, running, codes)?;
    let done = match added.first_duplicate {
        Some(index) if !skip_duplicates => {
            conn.execute_batch("ROLLBACK TO codes").or_store()?;
            CodesAdded::Duplicate { index }
        }
        Some(_) | None => {
            conn.prepare_cached("UPDATE code_import SET codes = codes + ?2 WHERE id = ?1")
                .and_then(|mut it| it.execute([running.import, as_column(added.added as u64)]))
                .or_store()?;
            CodesAdded::Added {
                added: added.added,
                skipped: codes.len() - added.added,
            }
        }
    };
    conn.execute_batch("RELEASE codes").or_store()?;
    Ok(done)
}

struct Added {
    added: usize,
    /// The first member of the step that was there before.
    first_duplicate: Option<usize>,
}

/// A code on its way in.
struct New {
    digest: [u8; 16],
    /// Its place in the step.
    index: usize,
    id: i64,
    key_version: i32,
    sealed: Vec<u8>,
}

fn add_rows(conn: &Connection, seal: &Seal, to: Running, codes: &[String]) -> StoreResult<Added> {
    let members = members(conn, seal, to, codes)?;
    let may_be_plain = if seals::has_plain_digests(conn).or_store()? {
        plain_ones(conn, to, codes).or_store()?
    } else {
        HashSet::new()
    };
    let (apart, together): (Vec<&New>, Vec<&New>) = members
        .iter()
        .partition(|it| may_be_plain.contains(&it.index));
    let mut inserted = insert(conn, to, &together).or_store()?;
    let met = together.into_iter().filter(|it| !inserted.contains(&it.id));
    let met: Vec<&New> = met.collect();
    inserted.extend(insert_in_their_room(conn, to, &met).or_store()?);
    for member in apart {
        let plain = CodeDigest::PLAIN.of(&codes[member.index]);
        let is_free =
            make_room(conn, to, &plain).or_store()? || !is_there(conn, to, &plain).or_store()?;
        if is_free && insert_in_its_room(conn, to, member).or_store()? {
            inserted.insert(member.id);
        }
    }
    let duplicates = members.iter().filter(|it| !inserted.contains(&it.id));
    Ok(Added {
        added: inserted.len(),
        first_duplicate: duplicates.map(|it| it.index).min(),
    })
}

/// In the order of their digests neighbours in the unique index go one after the
/// other, so each of its pages is looked up once a step. Equal codes keep their order:
/// the later one is the duplicate.
fn members(conn: &Connection, seal: &Seal, to: Running, codes: &[String]) -> StoreResult<Vec<New>> {
    let digests = seal.digest()?;
    // Ids in the order of the file: codes are given in that order.
    let first_id: i64 = conn
        .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM code")
        .and_then(|mut it| it.query_row([], |row| row.get(0)))
        .or_store()?;
    let member = |(index, code): (usize, &String)| {
        let digest = digests.of(code);
        let place = Place::Code {
            campaign: to.campaign,
            digest: &digest,
        };
        let sealed = seal.sealer.seal(place, code.as_bytes())?;
        Ok(New {
            digest,
            index,
            id: first_id + as_column(index as u64),
            key_version: sealed.key_version,
            sealed: sealed.bytes,
        })
    };
    let members = codes.iter().enumerate().map(member);
    let mut members: Vec<New> = members.collect::<StoreResult<_>>()?;
    members.sort_unstable_by_key(|it| (it.digest, it.index));
    Ok(members)
}

/// Inserts those whose digests are not there; gives the ids of those that went in.
fn insert(conn: &Connection, to: Running, members: &[&New]) -> sql::Result<HashSet<i64>> {
    if conn.is_far() {
        return insert_far(conn, to, members);
    }
    let mut inserted = HashSet::with_capacity(members.len());
    for member in members {
        if insert_one(conn, to, member)? {
            inserted.insert(member.id);
        }
    }
    Ok(inserted)
}

fn insert_far(conn: &Connection, to: Running, members: &[&New]) -> sql::Result<HashSet<i64>> {
    let ids: Vec<i64> = members.iter().map(|it| it.id).collect();
    let digests: Vec<&[u8]> = members.iter().map(|it| it.digest.as_slice()).collect();
    let versions: Vec<i32> = members.iter().map(|it| it.key_version).collect();
    let sealed: Vec<&[u8]> = members.iter().map(|it| it.sealed.as_slice()).collect();
    conn.prepare_cached(
        "INSERT INTO code (import_id, campaign_id, id, digest, key_version, sealed)
         SELECT ?1::bigint, ?2::bigint, unnest(?3::bigint[]), unnest(?4::bytea[]),
           unnest(?5::integer[]), unnest(?6::bytea[])
         ON CONFLICT (campaign_id, digest) DO NOTHING RETURNING id",
    )?
    .query_map(
        params![
            to.import,
            to.campaign,
            Array(&ids),
            Array(&digests),
            Array(&versions),
            Array(&sealed)
        ],
        |row| row.get(0),
    )?
    .collect()
}

fn insert_one(conn: &Connection, to: Running, member: &New) -> sql::Result<bool> {
    let rows = conn
        .prepare_cached(
            "INSERT INTO code (id, import_id, campaign_id, digest, key_version, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (campaign_id, digest) DO NOTHING",
        )?
        .execute(params![
            member.id,
            to.import,
            to.campaign,
            member.digest,
            member.key_version,
            member.sealed
        ])?;
    Ok(rows == 1)
}

/// Inserts those that met others, where these give way; gives the ids of those that went
/// in. A file that is imported twice costs no trip for each of its codes.
fn insert_in_their_room(conn: &Connection, to: Running, met: &[&New]) -> sql::Result<HashSet<i64>> {
    if !conn.is_far() {
        let mut inserted = HashSet::new();
        for member in met {
            if insert_in_its_room(conn, to, member)? {
                inserted.insert(member.id);
            }
        }
        return Ok(inserted);
    }
    if met.is_empty() || !make_room_far(conn, to, met)? {
        return Ok(HashSet::new());
    }
    insert_far(conn, to, met)
}

/// Inserts one that may meet another, where that gives way.
fn insert_in_its_room(conn: &Connection, to: Running, member: &New) -> sql::Result<bool> {
    Ok(insert_one(conn, to, member)?
        || make_room(conn, to, &member.digest)? && insert_one(conn, to, member)?)
}

/// Makes the import visible; gives the number of its codes. One that is ready
/// already says the same again, since the first answer may have been lost.
pub(super) fn finish(
    conn: &Connection,
    import: ImportId,
    now: Timestamp,
) -> sql::Result<Result<u64, String>> {
    lock_prize(conn, import)?;
    let finished = conn
        .prepare_cached(
            "UPDATE code_import SET ready = ?2, ready_at = coalesce(ready_at, ?3)
             WHERE id = ?1 AND ready IN (?4, ?2) RETURNING codes",
        )?
        .query_row([import.0, READY, now.0, RUNNING], |row| count(row, 0))
        .optional()?;
    Ok(finished.map_or_else(
        || Err(format!("import {} is not running: it was finished, removed, or a newer one has a code of it", import.0)),
        Ok,
    ))
}

/// A worker that finds no code holds its award, and has the prize shared meanwhile: so
/// it either finds these codes, or its hold is there when holds are ended.
fn lock_prize(conn: &Connection, import: ImportId) -> sql::Result<()> {
    let lock = "SELECT id FROM prize WHERE id = (SELECT prize_id FROM code_import WHERE id = ?1)";
    let locking = "SELECT id FROM prize WHERE id = (SELECT prize_id FROM code_import WHERE id = ?1) FOR UPDATE";
    conn.prepare_cached(conn.either(lock, locking))?
        .query_row([import.0], |_| Ok(()))
        .optional()
        .map(drop)
}

/// Gives no more codes of a finished import; `false` if the prize has none of that
/// id. One that is being withdrawn already is withdrawn still.
pub(super) fn withdraw(
    conn: &Connection,
    (campaign, prize): &(String, String),
    import: ImportId,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<bool> {
    let found = conn
        .prepare_cached(
            "UPDATE code_import SET ready = ?4
             WHERE id = ?1 AND ready_at IS NOT NULL AND ready IN (?4, ?5) AND prize_id =
               (SELECT p.id FROM prize p JOIN campaign c ON c.id = p.campaign_id
                WHERE c.slug = ?2 AND p.slug = ?3)",
        )?
        .execute(params![import.0, campaign, prize, REMOVED, READY])?;
    if found > 0 {
        let line = log::Line {
            action: "code withdraw",
            subject: &format!("{campaign}/{prize} import {}", import.0),
            ..log::Line::default()
        };
        log::write(conn, by, now, line)?;
    }
    Ok(found > 0)
}

/// Removes one step of an import, or, with `None`, of any that is not finished: only
/// while no import runs here. `true` when nothing is left. Of an import that was ready,
/// the codes that were given stay: they are what their awards have.
pub(super) fn remove(conn: &Connection, import: Option<ImportId>) -> sql::Result<bool> {
    let Some(target) = import.map_or_else(|| next_removable(conn), |import| Ok(Some(import.0)))?
    else {
        return Ok(true);
    };
    conn.prepare_cached("UPDATE code_import SET ready = ?2 WHERE id = ?1 AND ready <> ?2")?
        .execute([target, REMOVED])?;
    // Asked again outside: on PostgreSQL a code that somebody is just giving is waited for, and
    // then only what stands outside is asked of the row as it has become.
    let removed = conn
        .prepare_cached(
            "DELETE FROM code WHERE id IN (SELECT id FROM code INDEXED BY code_free WHERE import_id = ?1
               AND award_id IS NULL AND voided_at IS NULL ORDER BY id LIMIT ?2)
             AND award_id IS NULL AND voided_at IS NULL",
        )?
        .execute([target, as_column(STEP_ROWS_MAX as u64)])?;
    conn.prepare_cached("UPDATE code_import SET codes = CASE WHEN codes > ?2 THEN codes - ?2 ELSE 0 END WHERE id = ?1")?
        .execute([target, as_column(removed as u64)])?;
    if has_free_rows(conn, target)? {
        return Ok(false);
    }
    conn.prepare_cached("DELETE FROM code_import WHERE id = ?1 AND ready_at IS NULL")?
        .execute([target])?;
    Ok(import.is_some() || next_removable(conn)?.is_none())
}

fn has_free_rows(conn: &Connection, import: i64) -> sql::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM code INDEXED BY code_free WHERE import_id = ?1 AND award_id IS NULL AND voided_at IS NULL)",
    )?
    .query_row([import], |row| row.get(0))
}

/// An import that is not finished, or that is being removed and still has something
/// to remove.
///
/// On PostgreSQL an import that this process does not know of may run in another one:
/// nobody but that process knows whether it does, so it is left alone for longer than any
/// import takes. Until then it is in nobody's way.
fn next_removable(conn: &Connection) -> sql::Result<Option<i64>> {
    let is_old = format!(
        "i.created_at < CAST(extract(epoch FROM now() - interval '{} seconds') * 1000000 AS bigint)",
        GIVEN_UP_AFTER.as_secs()
    );
    let is_given_up = conn.either("TRUE", &is_old);
    conn.prepare_cached(&format!(
        "SELECT i.id FROM code_import i
         WHERE i.ready = ?1 AND (i.ready_at IS NULL OR EXISTS (
                 SELECT 1 FROM code c INDEXED BY code_free
                 WHERE c.import_id = i.id AND c.award_id IS NULL AND c.voided_at IS NULL))
            OR i.ready = ?2 AND {is_given_up}
         LIMIT 1"
    ))?
    .query_row([REMOVED, RUNNING], |row| row.get(0))
    .optional()
}

/// The import that runs under that id, and how many codes it has.
fn running(conn: &Connection, import: ImportId) -> sql::Result<Option<(Running, usize)>> {
    conn.prepare_cached("SELECT campaign_id, codes FROM code_import WHERE id = ?1 AND ready = ?2")?
        .query_row([import.0, RUNNING], |row| {
            let codes = usize::try_from(count(row, 1)?).unwrap_or(usize::MAX);
            Ok((
                Running {
                    import: import.0,
                    campaign: row.get(0)?,
                },
                codes,
            ))
        })
        .optional()
}

/// Which of the step, by place, are in the campaign under digests that have no key.
fn plain_ones(conn: &Connection, to: Running, codes: &[String]) -> sql::Result<HashSet<usize>> {
    let digests: Vec<[u8; 16]> = codes.iter().map(|it| CodeDigest::PLAIN.of(it)).collect();
    let mut found = HashSet::new();
    if conn.is_far() {
        let all: Vec<&[u8]> = digests.iter().map(<[u8; 16]>::as_slice).collect();
        let there: HashSet<[u8; 16]> = conn
            .prepare_cached("SELECT digest FROM code WHERE campaign_id = ?1 AND digest = ANY (?2)")?
            .query_map(params![to.campaign, Array(&all)], |row| row.get(0))?
            .collect::<sql::Result<_>>()?;
        let places = digests.iter().enumerate();
        found.extend(places.filter_map(|(index, it)| there.contains(it).then_some(index)));
        return Ok(found);
    }
    for (index, digest) in digests.iter().enumerate() {
        if is_there(conn, to, digest)? {
            found.insert(index);
        }
    }
    Ok(found)
}

fn is_there(conn: &Connection, to: Running, digest: &[u8; 16]) -> sql::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM code WHERE campaign_id = ?1 AND digest = ?2)",
    )?
    .query_row(params![to.campaign, digest], |row| row.get(0))
}

/// Takes away the row of that digest if it was never visible, or no longer is: it
/// belongs to an older unfinished import, which is given up, or to one that is being
/// removed.
fn make_room(conn: &Connection, to: Running, digest: &[u8; 16]) -> sql::Result<bool> {
    let of: Option<i64> = conn
        .prepare_cached(concat!(
            "DELETE FROM code WHERE campaign_id = ?1 AND digest = ?5 AND ",
            gives_way!(),
            " RETURNING import_id"
        ))?
        .query_row(
            params![to.campaign, to.import, REMOVED, RUNNING, digest],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(import) = of {
        conn.prepare_cached("UPDATE code_import SET codes = codes - 1, ready = ?2 WHERE id = ?1")?
            .execute([import, REMOVED])?;
    }
    Ok(of.is_some())
}

/// The same for many, in two trips; whether any row gave way.
fn make_room_far(conn: &Connection, to: Running, met: &[&New]) -> sql::Result<bool> {
    let digests: Vec<&[u8]> = met.iter().map(|it| it.digest.as_slice()).collect();
    let imports: Vec<i64> = conn
        .prepare_cached(concat!(
            "DELETE FROM code WHERE campaign_id = ?1 AND digest = ANY (?5) AND ",
            gives_way!(),
            " RETURNING import_id"
        ))?
        .query_map(
            params![to.campaign, to.import, REMOVED, RUNNING, Array(&digests)],
            |row| row.get(0),
        )?
        .collect::<sql::Result<_>>()?;
    if imports.is_empty() {
        return Ok(false);
    }
    conn.prepare_cached(
        "UPDATE code_import i SET codes = i.codes - n.gone, ready = ?2
         FROM (SELECT id, count(*) AS gone FROM unnest(?1::bigint[]) AS id GROUP BY id) AS n
         WHERE i.id = n.id",
    )?
    .execute(params![Array(&imports), REMOVED])?;
    Ok(true)
}
