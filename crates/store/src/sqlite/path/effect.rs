//! The effects that we keep ourselves: a code, a credit, the next step of a prize
//! that waits. Each is written by the transaction that records the delivery, so it
//! happens once.

use super::super::error::{OrStoreError as _, inconsistent};
use super::super::facts::{facts, has_address};
use super::super::rows::Stored;
use super::Path;
use rusqlite::params;
use tombola_core::Timestamp;
use tombola_core::campaign::{Kind, KindSpec};
use tombola_core::decision::Decision;
use tombola_core::ports::StoreResult;
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

/// Binds the first free code of the prize's ready imports, the oldest import
/// first; `false` if there is none.
fn take_code(path: Path<'_>, stored: &Stored) -> StoreResult<bool> {
    let taken = path
        .conn
        .prepare_cached(
            "UPDATE code SET award_id = ?1 WHERE id = (
               SELECT c.id FROM code_import AS i INDEXED BY code_import_prize
               CROSS JOIN code AS c INDEXED BY code_free ON c.import_id = i.id
               WHERE i.prize_id = ?2 AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL
               ORDER BY i.id, c.id LIMIT 1)",
        )
        .and_then(|mut it| it.execute([stored.row.award.0, stored.prize_id]))
        .or_store()?;
    Ok(taken == 1)
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
