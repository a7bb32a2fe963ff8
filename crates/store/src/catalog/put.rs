//! Putting a campaign file in. An edit never touches a version: it makes a newer
//! one in draft, in place of the campaign's only one, or beside the version in
//! force, which goes on unchanged until the newer one is started.

use super::campaign::{self, CampaignRow};
use super::log;
use super::stock;
use crate::sql::{self, Connection, OptionalExtension, params};
use std::collections::HashSet;
use tombola_core::Timestamp;
use tombola_core::campaign::state::after;
use tombola_core::campaign::{CampaignFile, CampaignState, Transition};
use tombola_core::ports::{Actor, PutCampaign};

/// Puts the file in as a new version in draft, where that is allowed.
pub(super) fn put_campaign(
    conn: &Connection,
    file: &CampaignFile,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<PutCampaign> {
    let json = file.to_json();
    let found = campaign::load(conn, &file.campaign.slug)?;
    if let Some(row) = &found {
        let (version, state) = row.newest();
        // A refused file that is put in again unchanged is meant to be looked at again.
        if state != CampaignState::Refused && campaign::version_json(conn, row.id, version)? == json
        {
            return Ok(PutCampaign::Unchanged { version });
        }
        if !is_editable(row) {
            return Ok(PutCampaign::NotEditable { state });
        }
        if let Some(prize) = changed_kind(conn, row.id, file)? {
            return Ok(PutCampaign::KindChanged { prize });
        }
    }
    let is_new = found.is_none();
    let version = match found {
        None => create(conn, &file.campaign.slug, &json, now)?,
        Some(row) => edit(conn, row, &json, now)?,
    };
    put_prizes(conn, file)?;
    log::write(
        conn,
        by,
        now,
        log::Line {
            action: "campaign apply",
            subject: &file.campaign.slug,
            ..log::Line::default()
        },
    )?;
    Ok(PutCampaign::Applied { version, is_new })
}

/// Drafts and refused versions may be edited, and a newer version may stand beside
/// one in force. One that waits for a decision must be withdrawn or refused first.
fn is_editable(row: &CampaignRow) -> bool {
    match row.next {
        Some((_, state)) => after(state, Transition::Edit).is_some(),
        None => is_in_force(row.state) || after(row.state, Transition::Edit).is_some(),
    }
}

pub(super) const fn is_in_force(state: CampaignState) -> bool {
    matches!(state, CampaignState::Started | CampaignState::Paused)
}

/// The first slug of the file that stands for a prize of another kind.
fn changed_kind(
    conn: &Connection,
    campaign: i64,
    file: &CampaignFile,
) -> sql::Result<Option<String>> {
    let mut kind_of =
        conn.prepare_cached("SELECT kind FROM prize WHERE campaign_id = ?1 AND slug = ?2")?;
    for prize in &file.prize {
        let known: Option<String> = kind_of
            .query_row(params![campaign, prize.slug], |row| row.get(0))
            .optional()?;
        if known.is_some_and(|kind| kind != prize.kind) {
            return Ok(Some(prize.slug.clone()));
        }
    }
    Ok(None)
}

fn create(conn: &Connection, slug: &str, json: &str, now: Timestamp) -> sql::Result<i32> {
    let id: i64 = conn.query_row(
        "INSERT INTO campaign (slug, state, version, created_at, updated_at)
         VALUES (?1, ?2, 1, ?3, ?3) RETURNING id",
        params![slug, CampaignState::Draft.name(), now.0],
        |row| row.get(0),
    )?;
    campaign::add_version(conn, id, json, now)
}

fn edit(conn: &Connection, mut row: CampaignRow, json: &str, now: Timestamp) -> sql::Result<i32> {
    let version = campaign::add_version(conn, row.id, json, now)?;
    if is_in_force(row.state) {
        row.next = Some((version, CampaignState::Draft));
    } else {
        (row.version, row.state) = (version, CampaignState::Draft);
    }
    campaign::save(conn, &row, now)?;
    Ok(version)
}

/// Makes the rows of prizes that are new, and sets the stock of all that no user
/// can win now. A prize of the version in force keeps its live stock until the
/// newer version starts.
fn put_prizes(conn: &Connection, file: &CampaignFile) -> sql::Result<()> {
    let Some(row) = campaign::load(conn, &file.campaign.slug)? else {
        return Ok(());
    };
    let mut insert = conn.prepare_cached(
        "INSERT INTO prize (campaign_id, slug, kind, stock) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (campaign_id, slug) DO NOTHING",
    )?;
    for prize in &file.prize {
        insert.execute(params![row.id, prize.slug, prize.kind, prize.stock])?;
    }
    let in_force: HashSet<String> = if is_in_force(row.state) {
        let file = campaign::version_file(conn, row.id, row.version)?;
        file.prize.into_iter().map(|prize| prize.slug).collect()
    } else {
        HashSet::new()
    };
    let stocks = stock::of_file(conn, &row, file)?;
    stock::set(
        conn,
        stocks.iter().filter(|live| !in_force.contains(&live.slug)),
    )
}
