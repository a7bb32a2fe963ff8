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
//!   0. It is removed when the next process starts, and until then it is in nobody's
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
use crate::sql::{self, Connection, OptionalExtension, params};
use tombola_core::Timestamp;
use tombola_core::limits::{CODE_BYTES_MAX, CODES_PER_IMPORT_MAX, STEP_ROWS_MAX};
use tombola_core::ports::{Actor, CodesAdded, ImportBegun, ImportId, StoreError, StoreResult};

const RUNNING: i64 = 0;
const READY: i64 = 1;
const REMOVED: i64 = 2;

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

fn add_rows(conn: &Connection, seal: &Seal, to: Running, codes: &[String]) -> StoreResult<Added> {
    let digests = seal.digest()?;
    let has_plain = seals::has_plain_digests(conn).or_store()?;
    // In the order of their digests neighbours in the unique index go one after the
    // other, so each of its pages is looked up once a step. Equal codes keep their
    // order: the later one is the duplicate.
    let mut members: Vec<([u8; 16], usize)> = codes
        .iter()
        .enumerate()
        .map(|(index, code)| (digests.of(code), index))
        .collect();
    members.sort_unstable();
    // Ids in the order of the file: codes are given in that order.
    let first_id: i64 = conn
        .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM code")
        .and_then(|mut it| it.query_row([], |row| row.get(0)))
        .or_store()?;
    let mut insert = conn
        .prepare_cached(
            "INSERT INTO code (id, import_id, campaign_id, digest, key_version, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (campaign_id, digest) DO NOTHING",
        )
        .or_store()?;
    let mut done = Added {
        added: 0,
        first_duplicate: None,
    };
    for (digest, index) in members {
        let id = first_id + as_column(index as u64);
        let place = Place::Code {
            campaign: to.campaign,
            digest: &digest,
        };
        let sealed = seal.sealer.seal(place, codes[index].as_bytes())?;
        let row = params![
            id,
            to.import,
            to.campaign,
            digest,
            sealed.key_version,
            sealed.bytes
        ];
        let mut put = || -> sql::Result<bool> {
            let is_free = !has_plain || is_free_of_plain(conn, to, &codes[index])?;
            Ok(is_free
                && (insert.execute(row)? == 1
                    || make_room(conn, to, &digest)? && insert.execute(row)? == 1))
        };
        if put().or_store()? {
            done.added += 1;
        } else {
            done.first_duplicate =
                Some(done.first_duplicate.map_or(index, |first| first.min(index)));
        }
    }
    Ok(done)
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
/// while no import runs. `true` when nothing is left. Of an import that was ready, the codes that were given stay: they are
/// what their awards have.
pub(super) fn remove(conn: &Connection, import: Option<ImportId>) -> sql::Result<bool> {
    let Some(target) = import.map_or_else(|| next_removable(conn), |import| Ok(Some(import.0)))?
    else {
        return Ok(true);
    };
    conn.prepare_cached("UPDATE code_import SET ready = ?2 WHERE id = ?1 AND ready <> ?2")?
        .execute([target, REMOVED])?;
    let removed = conn
        .prepare_cached(
            "DELETE FROM code WHERE id IN (SELECT id FROM code INDEXED BY code_free WHERE import_id = ?1
               AND award_id IS NULL AND voided_at IS NULL ORDER BY id LIMIT ?2)",
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
fn next_removable(conn: &Connection) -> sql::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT i.id FROM code_import i
         WHERE i.ready = ?1 AND (i.ready_at IS NULL OR EXISTS (
                 SELECT 1 FROM code c INDEXED BY code_free
                 WHERE c.import_id = i.id AND c.award_id IS NULL AND c.voided_at IS NULL))
            OR i.ready = ?2
         LIMIT 1",
    )?
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

/// Whether no code of that text is there whose digest has no key.
fn is_free_of_plain(conn: &Connection, to: Running, code: &str) -> sql::Result<bool> {
    let digest = CodeDigest::PLAIN.of(code);
    let is_there: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM code WHERE campaign_id = ?1 AND digest = ?2)",
        )?
        .query_row(params![to.campaign, digest], |row| row.get(0))?;
    Ok(!is_there || make_room(conn, to, &digest)?)
}

/// Takes away the row of that digest if it was never visible, or no longer is: it
/// belongs to an older unfinished import, which is given up, or to one that is being
/// removed.
fn make_room(conn: &Connection, to: Running, digest: &[u8; 16]) -> sql::Result<bool> {
    let of: Option<i64> = conn
        .prepare_cached(
            "DELETE FROM code WHERE campaign_id = ?1 AND digest = ?2 AND award_id IS NULL AND voided_at IS NULL
               AND import_id IN (SELECT id FROM code_import WHERE ready = ?4 OR ready = ?5 AND id < ?3)
             RETURNING import_id",
        )?
        .query_row(params![to.campaign, digest, to.import, REMOVED, RUNNING], |row| row.get(0))
        .optional()?;
    if let Some(import) = of {
        conn.prepare_cached("UPDATE code_import SET codes = codes - 1, ready = ?2 WHERE id = ?1")?
            .execute([import, REMOVED])?;
    }
    Ok(of.is_some())
}
