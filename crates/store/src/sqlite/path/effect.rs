//! The effects that we keep ourselves: a code, a credit, the next step of a prize
//! that waits. Each is written by the transaction that records the delivery, so it
//! happens once.

use super::Path;
use crate::facts::{facts, has_address};
use crate::rows::Stored;
use crate::seal::Place;
use crate::seals::Seal;
use crate::sql::{OrStoreError as _, inconsistent};
use crate::sql::{Param, Row, params};
use tombola_core::Timestamp;
use tombola_core::campaign::{Kind, KindSpec};
use tombola_core::decision::Decision;
use tombola_core::limits::CODES_TRIED_MAX;
use tombola_core::ports::{StoreError, StoreResult};
use tombola_core::reason::HoldReason;

/// Does what the kind asks for and says what came of it.
pub(super) fn deliver(path: Path<'_>, stored: &Stored, now: Timestamp) -> StoreResult<Decision> {
    let delivered = Decision::Delivered { receipt: None };
    Ok(match stored.row.kind {
        Kind::Text => delivered,
        Kind::Points => {
            credit(path, stored, now)?;
            delivered
        }
        Kind::Code if take_code(path, stored)? => delivered,
        Kind::Code => Decision::Hold(HoldReason::NoCode),
        Kind::Physical if has_address(path.conn, stored.row.award)? => {
            Decision::Hold(HoldReason::Shipment)
        }
        Kind::Physical => Decision::Hold(HoldReason::Address),
        Kind::External => Decision::Hold(HoldReason::External),
        Kind::Webhook => return Err(inconsistent("an award of kind webhook without a lane")),
    })
}

/// The free codes of ready imports: the oldest import first, in the order of its file.
const FREE: &str = "SELECT c.id, c.campaign_id, c.digest, c.key_version, c.sealed
  FROM code_import AS i INDEXED BY code_import_prize
  CROSS JOIN code AS c INDEXED BY code_free ON c.import_id = i.id
  WHERE i.prize_id = ?1 AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL
  ORDER BY i.id, c.id LIMIT 1";
/// The same, but the first few of each import: what a secret that is lost sealed is
/// nearly always an import as a whole.
const FREE_OF_EACH_IMPORT: &str = "SELECT c.id, c.campaign_id, c.digest, c.key_version, c.sealed
  FROM code_import AS i INDEXED BY code_import_prize
  CROSS JOIN code AS c ON c.id IN (
    SELECT f.id FROM code AS f INDEXED BY code_free
    WHERE f.import_id = i.id AND f.award_id IS NULL AND f.voided_at IS NULL ORDER BY f.id LIMIT 4)
  WHERE i.prize_id = ?1 AND i.ready = 1
  ORDER BY i.id, c.id LIMIT ?2";

/// Binds a free code that opens; `false` if there is no free code. One that nobody
/// could read is given to nobody: it stays free, and where only such codes are found
/// the award fails by an error of its own row and comes back.
fn take_code(path: Path<'_>, stored: &Stored) -> StoreResult<bool> {
    let prize = stored.prize_id;
    let code = match first_that_opens(path, FREE, &[&prize]) {
        Err(StoreError::Sealed(_)) => {
            first_that_opens(path, FREE_OF_EACH_IMPORT, &[&prize, &CODES_TRIED_MAX])
        }
        found => found,
    };
    let Some(code) = code? else {
        return Ok(false);
    };
    path.conn
        .prepare_cached("UPDATE code SET award_id = ?1 WHERE id = ?2")
        .and_then(|mut it| it.execute([stored.row.award.0, code]))
        .or_store()?;
    Ok(true)
}

/// The id of the first of these codes that opens; if none does, the first error.
fn first_that_opens(path: Path<'_>, sql: &str, values: &[&dyn Param]) -> StoreResult<Option<i64>> {
    let seal = path.shared.seals.now();
    let mut statement = path.conn.prepare_cached(sql).or_store()?;
    let mut rows = statement.query(values).or_store()?;
    let mut first_error = None;
    while let Some(row) = rows.next().or_store()? {
        match opens(&row, &seal) {
            Ok(()) => return row.get(0).map(Some).or_store(),
            Err(error @ StoreError::Sealed(_)) => {
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    first_error.map_or(Ok(None), Err)
}

fn opens(row: &Row<'_>, seal: &Seal) -> StoreResult<()> {
    let digest = row.get(2).or_store()?;
    let place = Place::Code {
        campaign: row.get(1).or_store()?,
        digest: &digest,
    };
    let (version, sealed): (i32, Vec<u8>) = (row.get(3).or_store()?, row.get(4).or_store()?);
    seal.sealer.open(place, version, &sealed).map(drop)
}

/// One credit an award: the key of the ledger is the award.
fn credit(path: Path<'_>, stored: &Stored, now: Timestamp) -> StoreResult<()> {
    let award = stored.row.award;
    let facts = facts(path.conn, path.shared, award)?;
    let KindSpec::Points { points } = facts.prize().spec else {
        return Err(inconsistent(format!(
            "the rules of award {award} give no points"
        )));
    };
    path.conn
        .prepare_cached(
            "INSERT INTO points_entry (award_id, user, points, at) VALUES (?1, ?2, ?3, ?4)",
        )
        .and_then(|mut it| it.execute(params![award.0, facts.user, points, now.0]))
        .map(drop)
        .or_store()
}
