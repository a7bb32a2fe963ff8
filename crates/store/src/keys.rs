//! Keys of the API, kept as hashes only.

use crate::catalog::log;
use crate::read::column::{instant, instant_or_null, odd, word};
use crate::sql::{self, Connection, OptionalExtension, params};
use tombola_core::Timestamp;
use tombola_core::ports::{Actor, ApiKey, Role};

/// Keeps a new key; its id is given here.
pub(super) fn put(conn: &Connection, key: ApiKey, by: &Actor) -> sql::Result<ApiKey> {
    let campaigns =
        serde_json::to_string(&key.campaigns).map_err(|error| odd(6, error.to_string()))?;
    let id: i64 = conn.query_row(
        "INSERT INTO api_key (client, role, hash, created_at, expires_at, revoked_at, campaigns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
        params![
            key.client,
            key.role.name(),
            key.hash,
            key.created_at.0,
            key.expires_at.map(|at| at.0),
            key.revoked_at.map(|at| at.0),
            campaigns,
        ],
        |row| row.get(0),
    )?;
    log::write(
        conn,
        by,
        key.created_at,
        log::Line {
            action: "key create",
            subject: &name(id, &key.client),
            ..log::Line::default()
        },
    )?;
    Ok(ApiKey { id, ..key })
}

/// All keys, revoked and expired ones too.
pub(super) fn all(conn: &Connection) -> sql::Result<Vec<ApiKey>> {
    conn.prepare_cached(
        "SELECT id, client, role, hash, created_at, expires_at, revoked_at, campaigns FROM api_key
         ORDER BY id",
    )?
    .query_map([], |row| {
        let hash: Vec<u8> = row.get(3)?;
        Ok(ApiKey {
            id: row.get(0)?,
            client: row.get(1)?,
            role: word(row, 2, Role::parse)?,
            hash: hash
                .try_into()
                .map_err(|_| odd(3, "the hash of a key is not 32 bytes"))?,
            created_at: instant(row, 4)?,
            expires_at: instant_or_null(row, 5)?,
            revoked_at: instant_or_null(row, 6)?,
            campaigns: serde_json::from_str(row.text(7)?)
                .map_err(|_| odd(7, "the campaigns of a key are not a list"))?,
        })
    })?
    .collect()
}

/// Revokes a key at once; `false` if there is none of that id. The first
/// revocation stands.
pub(super) fn revoke(conn: &Connection, id: i64, by: &Actor, now: Timestamp) -> sql::Result<bool> {
    let found: Option<(String, bool)> = conn
        .query_row(
            "SELECT client, revoked_at IS NOT NULL FROM api_key WHERE id = ?1",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((client, is_revoked)) = found else {
        return Ok(false);
    };
    if !is_revoked {
        conn.execute(
            "UPDATE api_key SET revoked_at = ?2 WHERE id = ?1",
            params![id, now.0],
        )?;
        let subject = name(id, &client);
        log::write(
            conn,
            by,
            now,
            log::Line {
                action: "key revoke",
                subject: &subject,
                ..log::Line::default()
            },
        )?;
    }
    Ok(true)
}

fn name(id: i64, client: &str) -> String {
    format!("{client} (key {id})")
}
