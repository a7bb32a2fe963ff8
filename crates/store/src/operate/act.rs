//! One action on one award.

use crate::Shared;
use crate::catalog::log;
use crate::facts::ask;
use crate::rows::{self, Line, Stored, What, Write};
use crate::seal::Place;
use crate::sql::{self, Array, Connection, params};
use crate::sql::{OrStoreError as _, inconsistent};
use tombola_core::award::{Change, Event, Refusal, Step};
use tombola_core::campaign::Kind;
use tombola_core::ports::{Acted, Action, Actor, Address, StoreResult, Written};
use tombola_core::reason::HoldReason;
use tombola_core::{AwardId, Timestamp};

/// Asks the table and writes what it says, with the action's own rows.
pub(super) fn act(
    conn: &Connection,
    shared: &Shared,
    award: AwardId,
    action: &Action,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<Acted> {
    let Some(stored) = rows::load(conn, award)? else {
        return Ok(Acted::NotFound);
    };
    if needs_physical(action) && stored.row.kind != Kind::Physical {
        return Ok(Acted::NotFound);
    }
    let Some(event) = event_of(action, &stored) else {
        return keep_address_only(conn, shared, &stored, action, by, now);
    };
    match ask(conn, shared, &stored.row, &event, now)? {
        Step::Changed(change) => {
            write(
                conn,
                &Asked {
                    shared,
                    stored: &stored,
                    change: &change,
                    action,
                    by,
                    now,
                },
            )?;
            Ok(Acted::Done(change.row))
        }
        Step::Refused(refusal) => Ok(Acted::Refused(refusal)),
        // Neither is an answer to a person; were it one, the row stands as it was.
        Step::Late | Step::Same => Ok(Acted::Done(stored.row)),
    }
}

const fn needs_physical(action: &Action) -> bool {
    match action {
        Action::Address(_) | Action::Ship { .. } => true,
        Action::Hold
        | Action::Release
        | Action::Confirm { .. }
        | Action::Cancel { .. }
        | Action::Requeue { .. } => false,
    }
}

/// The event that an action is; `None` for an address that ends no hold.
fn event_of(action: &Action, stored: &Stored) -> Option<Event> {
    Some(match action {
        Action::Hold => Event::Hold,
        Action::Release => Event::End {
            reason: match stored.row.hold_reason {
                Some(HoldReason::Scheduled) => HoldReason::Scheduled,
                _ => HoldReason::Manual,
            },
        },
        Action::Confirm { .. } => Event::Confirm,
        Action::Cancel { return_stock } => Event::Cancel {
            return_stock: *return_stock,
        },
        Action::Requeue {
            not_delivered,
            due_at,
        } => Event::Requeue {
            not_delivered: *not_delivered,
            due_at: *due_at,
        },
        Action::Address(_) if stored.row.hold_reason == Some(HoldReason::Address) => Event::End {
            reason: HoldReason::Address,
        },
        Action::Address(_) => return None,
        Action::Ship { .. } => Event::Ship,
    })
}

/// An action and what the table made of it.
struct Asked<'a> {
    shared: &'a Shared,
    stored: &'a Stored,
    change: &'a Change,
    action: &'a Action,
    by: &'a Actor,
    now: Timestamp,
}

fn write(conn: &Connection, asked: &Asked<'_>) -> StoreResult<()> {
    let (stored, action, now) = (asked.stored, asked.action, asked.now);
    let award = stored.row.award;
    match action {
        Action::Address(address) => put_address(conn, asked.shared, award, address, now)?,
        Action::Ship { carrier, tracking } => {
            put_shipment(conn, award, carrier, tracking, now).or_store()?;
        }
        Action::Cancel { .. } => void_code(conn, award, now).or_store()?,
        Action::Hold | Action::Release | Action::Confirm { .. } | Action::Requeue { .. } => {}
    }
    let line = line_of(stored, action, asked.by);
    let written = rows::apply(
        conn,
        Write {
            before: stored,
            change: asked.change,
            now,
            by: &asked.by.name,
            line: Some(line),
        },
    )?;
    if written == Written::Late {
        return Err(inconsistent(format!(
            "award {award} changed within one transaction"
        )));
    }
    log_action(conn, award, action, asked.by, now).or_store()
}

/// An address is kept in every unfinished state; it moves only a hold that waits
/// for it.
fn keep_address_only(
    conn: &Connection,
    shared: &Shared,
    stored: &Stored,
    action: &Action,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<Acted> {
    let row = &stored.row;
    let Action::Address(address) = action else {
        return Err(inconsistent("only an address is kept without an event"));
    };
    if row.state.is_final() {
        return Ok(Acted::Refused(Refusal::WrongState { state: row.state }));
    }
    put_address(conn, shared, row.award, address, now)?;
    line_of(stored, action, by).write(conn, row, now)?;
    log_action(conn, row.award, action, by, now).or_store()?;
    Ok(Acted::Done(row.clone()))
}

fn line_of<'a>(stored: &Stored, action: &'a Action, by: &'a Actor) -> Line<'a> {
    let detail = match action {
        Action::Confirm {
            receipt: Some(receipt),
        } => Some(receipt.as_str()),
        Action::Hold
        | Action::Release
        | Action::Confirm { receipt: None }
        | Action::Cancel { .. }
        | Action::Requeue { .. }
        | Action::Address(_)
        | Action::Ship { .. } => by.reason.as_deref(),
    };
    Line::new(What::Operator, stored.row.lease, name(action)).with(detail)
}

/// The word of the command line.
const fn name(action: &Action) -> &'static str {
    match action {
        Action::Hold => "hold",
        Action::Release => "release",
        Action::Confirm { .. } => "confirm",
        Action::Cancel { .. } => "cancel",
        Action::Requeue { .. } => "requeue",
        Action::Address(_) => "address",
        Action::Ship { .. } => "ship",
    }
}

fn log_action(
    conn: &Connection,
    award: AwardId,
    action: &Action,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<()> {
    log::write(
        conn,
        by,
        now,
        log::Line {
            action: &format!("award {}", name(action)),
            subject: &format!("award {award}"),
            award: Some(award),
            units: None,
        },
    )
}

fn put_address(
    conn: &Connection,
    shared: &Shared,
    award: AwardId,
    address: &Address,
    now: Timestamp,
) -> StoreResult<()> {
    // The error would quote the address.
    let json = serde_json::to_vec(address).map_err(|_| inconsistent("an address is not JSON"))?;
    let place = Place::Address { award: award.0 };
    let sealed = shared.seals.now().sealer.seal(place, &json)?;
    conn.prepare_cached(
        "INSERT INTO address (award_id, key_version, sealed, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (award_id) DO UPDATE SET key_version = excluded.key_version,
                                              sealed = excluded.sealed, at = excluded.at",
    )
    .and_then(|mut it| it.execute(params![award.0, sealed.key_version, sealed.bytes, now.0]))
    .map(drop)
    .or_store()
}

fn put_shipment(
    conn: &Connection,
    award: AwardId,
    carrier: &str,
    tracking: &str,
    now: Timestamp,
) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO shipment (award_id, carrier, tracking, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (award_id) DO UPDATE SET carrier = excluded.carrier, tracking = excluded.tracking,
                                              at = excluded.at",
    )?
    .execute(params![award.0, carrier, tracking, now.0])
    .map(drop)
}

/// The same of many awards.
pub(super) fn void_codes(conn: &Connection, awards: &[AwardId], now: Timestamp) -> sql::Result<()> {
    if !conn.is_far() {
        return awards
            .iter()
            .try_for_each(|award| void_code(conn, *award, now));
    }
    let awards: Vec<i64> = awards.iter().map(|award| award.0).collect();
    conn.prepare_cached(
        "UPDATE code SET voided_at = ?2 WHERE award_id = ANY (?1) AND voided_at IS NULL",
    )?
    .execute(params![Array(&awards), now.0])
    .map(drop)
}

/// A code once bound is never given to anybody else.
pub(super) fn void_code(conn: &Connection, award: AwardId, now: Timestamp) -> sql::Result<()> {
    conn.prepare_cached("UPDATE code SET voided_at = ?2 WHERE award_id = ?1 AND voided_at IS NULL")?
        .execute([award.0, now.0])
        .map(drop)
}
