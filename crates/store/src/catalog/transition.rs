//! Moving a campaign by the table of `core::campaign::state`. While a newer version
//! is being prepared, submit, withdraw, refuse, approve and start speak of it;
//! pause, resume and close speak of the version in force.

use super::campaign::{self, CampaignRow};
use super::{log, ready, stock};
use crate::sql::{self, Connection};
use tombola_core::Timestamp;
use tombola_core::campaign::state::after;
use tombola_core::campaign::{Approval, CampaignState, Transition};
use tombola_core::ports::{Actor, Transitioned};

/// Moves the campaign, or its newest version where one stands beside the version
/// in force, and logs it.
pub(super) fn transition(
    conn: &Connection,
    slug: &str,
    (command, approval): (Transition, Approval),
    by: &Actor,
    now: Timestamp,
) -> sql::Result<Transitioned> {
    let Some(mut row) = campaign::load(conn, slug)? else {
        return Ok(Transitioned::NotFound);
    };
    let is_allowed = after(row.newest().1, command).is_some();
    if command == Transition::Approve
        && is_allowed
        && !approval.allows(row.submitted_by.as_deref(), &by.name)
    {
        return Ok(Transitioned::SamePerson);
    }
    if command == Transition::Submit {
        row.submitted_by = Some(by.name.clone());
    }
    let moved = match command {
        Transition::Start => start(conn, row, now)?,
        Transition::Reopen => reopen(conn, row, now)?,
        Transition::Submit
        | Transition::Withdraw
        | Transition::Refuse
        | Transition::Edit
        | Transition::Approve => prepare(conn, row, command, now)?,
        Transition::Pause | Transition::Resume | Transition::Close => run(conn, row, command, now)?,
    };
    if matches!(moved, Transitioned::Moved { .. }) {
        let action = format!("campaign {command}");
        log::write(
            conn,
            by,
            now,
            log::Line {
                action: &action,
                subject: slug,
                ..log::Line::default()
            },
        )?;
    }
    Ok(moved)
}

/// What is done to a version before it is in force.
fn prepare(
    conn: &Connection,
    mut row: CampaignRow,
    command: Transition,
    now: Timestamp,
) -> sql::Result<Transitioned> {
    let (version, from) = row.newest();
    let Some(state) = after(from, command) else {
        return Ok(Transitioned::NotAllowed { state: from });
    };
    match &mut row.next {
        Some(next) => next.1 = state,
        None => row.state = state,
    }
    campaign::save(conn, &row, now)?;
    Ok(Transitioned::Moved { state, version })
}

/// What is done to the version in force. A close also drops the version that was
/// being prepared beside it.
fn run(
    conn: &Connection,
    mut row: CampaignRow,
    command: Transition,
    now: Timestamp,
) -> sql::Result<Transitioned> {
    let Some(state) = after(row.state, command) else {
        return Ok(Transitioned::NotAllowed { state: row.state });
    };
    row.state = state;
    if state == CampaignState::Closed {
        row.next = None;
    }
    campaign::save(conn, &row, now)?;
    Ok(Transitioned::Moved {
        state,
        version: row.version,
    })
}

/// Puts the newest version in force, between two batches of draws: they read rules
/// and stock in their own transaction, so none sees half of it. A version that
/// replaces another needs the campaign paused.
fn start(conn: &Connection, mut row: CampaignRow, now: Timestamp) -> sql::Result<Transitioned> {
    let (version, from) = row.newest();
    let Some(state) = after(from, Transition::Start) else {
        return Ok(Transitioned::NotAllowed { state: from });
    };
    if row.next.is_some() && row.state != CampaignState::Paused {
        return Ok(Transitioned::NotAllowed { state: row.state });
    }
    let file = campaign::version_file(conn, row.id, version)?;
    let stocks = stock::of_file(conn, &row, &file)?;
    let problems = ready::problems(conn, &file, &stocks)?;
    if !problems.is_empty() {
        return Ok(Transitioned::NotReady { problems });
    }
    stock::set(conn, &stocks)?;
    (row.version, row.state, row.next) = (version, state, None);
    campaign::save(conn, &row, now)?;
    Ok(Transitioned::Moved { state, version })
}

/// Begins again in draft, as a new version that is a copy of the last in force.
fn reopen(conn: &Connection, mut row: CampaignRow, now: Timestamp) -> sql::Result<Transitioned> {
    let Some(state) = after(row.state, Transition::Reopen) else {
        return Ok(Transitioned::NotAllowed { state: row.state });
    };
    let json = campaign::version_json(conn, row.id, row.version)?;
    row.version = campaign::add_version(conn, row.id, &json, now)?;
    row.state = state;
    campaign::save(conn, &row, now)?;
    Ok(Transitioned::Moved {
        state,
        version: row.version,
    })
}
