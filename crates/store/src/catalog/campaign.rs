//! A campaign's row: the version in force (or the newest, if none ever was) with
//! its state, and beside it a newer version that is being prepared.

use crate::read::column::{odd, word, word_or_null};
use crate::sql::{self, Connection, OptionalExtension, params};
use tombola_core::Timestamp;
use tombola_core::campaign::{CampaignFile, CampaignState};

/// The row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CampaignRow {
    pub(super) id: i64,
    pub(super) slug: String,
    pub(super) state: CampaignState,
    pub(super) version: i32,
    /// The version being prepared, and where it stands.
    pub(super) next: Option<(i32, CampaignState)>,
    /// Who submitted the newest version.
    pub(super) submitted_by: Option<String>,
}

impl CampaignRow {
    /// The newest version and where it stands.
    pub(super) fn newest(&self) -> (i32, CampaignState) {
        self.next.unwrap_or((self.version, self.state))
    }
}

/// The campaign of that slug.
pub(super) fn load(conn: &Connection, slug: &str) -> sql::Result<Option<CampaignRow>> {
    conn.prepare_cached(&format!(
        "SELECT id, slug, state, version, next_version, next_state, submitted_by FROM campaign
         WHERE slug = ?1{}",
        conn.locking()
    ))?
    .query_row([slug], |row| {
        let next_version: Option<i32> = row.get(4)?;
        Ok(CampaignRow {
            id: row.get(0)?,
            slug: row.get(1)?,
            state: word(row, 2, CampaignState::parse)?,
            version: row.get(3)?,
            next: next_version.zip(word_or_null(row, 5, CampaignState::parse)?),
            submitted_by: row.get(6)?,
        })
    })
    .optional()
}

/// Writes the row back.
pub(super) fn save(conn: &Connection, campaign: &CampaignRow, now: Timestamp) -> sql::Result<()> {
    conn.prepare_cached(
        "UPDATE campaign SET state = ?2, version = ?3, next_version = ?4, next_state = ?5, updated_at = ?6,
                             submitted_by = ?7
         WHERE id = ?1",
    )?
    .execute(params![
        campaign.id,
        campaign.state.name(),
        campaign.version,
        campaign.next.map(|(version, _)| version),
        campaign.next.map(|(_, state)| state.name()),
        now.0,
        campaign.submitted_by,
    ])?;
    Ok(())
}

/// The canonical JSON of a version.
pub(super) fn version_json(conn: &Connection, campaign: i64, version: i32) -> sql::Result<String> {
    conn.prepare_cached(
        "SELECT file FROM campaign_version WHERE campaign_id = ?1 AND version = ?2",
    )?
    .query_row([campaign, i64::from(version)], |row| row.get(0))
}

/// The file of a version.
pub(super) fn version_file(
    conn: &Connection,
    campaign: i64,
    version: i32,
) -> sql::Result<CampaignFile> {
    let json = version_json(conn, campaign, version)?;
    serde_json::from_str(&json).map_err(|error| {
        odd(
            0,
            format!("version {version} of campaign {campaign}: {error}"),
        )
    })
}

/// Adds a version above all others and gives its number.
pub(super) fn add_version(
    conn: &Connection,
    campaign: i64,
    json: &str,
    now: Timestamp,
) -> sql::Result<i32> {
    conn.prepare_cached(
        "INSERT INTO campaign_version (campaign_id, version, file, created_at)
         SELECT ?1, coalesce(max(version), 0) + 1, ?2, ?3 FROM campaign_version WHERE campaign_id = ?1
         RETURNING version",
    )?
    .query_row(params![campaign, json, now.0], |row| row.get(0))
}
