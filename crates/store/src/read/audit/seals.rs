//! Codes that open: a code that nobody can read is worth nothing to its winner, and
//! the sooner its secret is missed the likelier somebody still has it.

use super::{AuditDepth, Check};
use crate::seal::{CodeDigest, PLAIN, Place};
use crate::seals::Seal;
use crate::sql::{self, Connection, Row};
use tombola_core::ports::StoreResult;

/// Codes of a sample, about.
const SAMPLE: i64 = 10_000;

pub(super) fn check(conn: &Connection, seal: &Seal, depth: AuditDepth) -> sql::Result<Check> {
    let mut check = Check::new("I4_code_opens");
    let every = match depth {
        AuditDepth::Full => 1,
        AuditDepth::Sampled => {
            let last: Option<i64> =
                conn.query_row("SELECT max(id) FROM code", [], |row| row.get(0))?;
            (last.unwrap_or(0) / SAMPLE).max(1)
        }
    };
    let mut codes = conn.prepare_large(&format!(
        "SELECT id, campaign_id, digest, key_version, sealed FROM code WHERE id % {every} = 0"
    ))?;
    let mut rows = codes.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        match opens(&row, seal)? {
            Ok(true) => {}
            Ok(false) => check.found(|| format!("code {id} has the digest of another text")),
            Err(error) => check.found(|| format!("code {id}: {error}")),
        }
    }
    Ok(check)
}

/// A sealed code is bound to its digest; a plain one is compared with it, unless its
/// text was erased.
fn opens(row: &Row<'_>, seal: &Seal) -> sql::Result<StoreResult<bool>> {
    let digest: [u8; 16] = row.get(2)?;
    let version: i32 = row.get(3)?;
    let place = Place::Code {
        campaign: row.get(1)?,
        digest: &digest,
    };
    let sealed: Vec<u8> = row.get(4)?;
    let opened = seal.sealer.open(place, version, &sealed);
    Ok(opened.map(|plain| {
        let text = std::str::from_utf8(&plain);
        let is_it = |text| CodeDigest::PLAIN.of(text) == digest;
        version != PLAIN || plain.is_empty() || text.is_ok_and(is_it)
    }))
}
