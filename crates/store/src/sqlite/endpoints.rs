//! Endpoints: the outside services. A lane is given once and never again; the
//! spec is kept without its secret, the secrets sealed beside it, the newest first. A
//! rotation keeps the secret before the newest, so that both sign, until the next
//! rotation takes its place.

use super::Shared;
use super::catalog::log;
use super::error::{OrStoreError as _, inconsistent};
use super::seal::Seal;
use crate::read::column::odd;
use crate::seal::{Place, Sealed};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tombola_core::Timestamp;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::ENDPOINT_SECRETS_MAX;
use tombola_core::ports::{Actor, StoreError, StoreResult};

/// Makes or replaces an endpoint.
pub(super) fn put(
    conn: &Connection,
    seal: &Seal,
    mut spec: EndpointSpec,
    new_secret: String,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<Endpoint> {
    let brought = spec.secret.take();
    let kept: Option<(i64, i32, Vec<u8>, bool)> = conn
        .prepare_cached("SELECT lane, key_version, sealed, enabled FROM endpoint WHERE name = ?1")
        .and_then(|mut it| {
            it.query_row([&spec.name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
        })
        .or_store()?;
    let (lane, secrets, is_enabled) = match kept {
        None => (next_lane(conn).or_store()?, Vec::new(), true),
        Some((lane, version, sealed, is_enabled)) => {
            match secrets(seal, lane, version, &sealed) {
                // A new secret is the way out of one that is lost.
                Err(StoreError::Sealed(_)) if brought.is_some() => (lane, Vec::new(), is_enabled),
                secrets => (lane, secrets?, is_enabled),
            }
        }
    };
    let secrets = with_newest(secrets, brought, new_secret);
    let endpoint = spec
        .check(lane, secrets, is_enabled)
        .map_err(|problem| StoreError::Row(problem.to_string()))?;
    let json = as_json(&endpoint.secrets).or_store()?;
    let place = Place::EndpointSecrets { lane };
    let sealed = seal.sealer.seal(place, json.as_bytes())?;
    let spec_json = as_json(&spec).or_store()?;
    conn.prepare_cached(
        "INSERT INTO endpoint (lane, name, spec, key_version, sealed, enabled, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (lane) DO UPDATE SET spec = excluded.spec, key_version = excluded.key_version,
                                          sealed = excluded.sealed, updated_at = excluded.updated_at",
    )
    .and_then(|mut it| {
        let Sealed { key_version, bytes } = &sealed;
        it.execute(params![lane, spec.name, spec_json, key_version, bytes, is_enabled, now.0])
    })
    .or_store()?;
    let line = log::Line {
        action: "endpoint put",
        subject: &spec.name,
        ..log::Line::default()
    };
    log::write(conn, by, now, line).or_store()?;
    Ok(endpoint)
}

/// All endpoints, by lane. One whose secrets do not open has none: its calls are not
/// made, and the others go on.
pub(super) fn all(conn: &Connection, shared: &Shared) -> StoreResult<Vec<Endpoint>> {
    let seal = shared.seals.now();
    let mut statement = conn
        .prepare_cached(
            "SELECT lane, spec, key_version, sealed, enabled FROM endpoint ORDER BY lane",
        )
        .or_store()?;
    let mut rows = statement.query([]).or_store()?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().or_store()? {
        all.push(endpoint(row, shared, &seal)?);
    }
    Ok(all)
}

/// Enables or disables; `false` if there is none of that lane. What is so already
/// is not logged again: a worker says it with each 410.
pub(super) fn enable(
    conn: &Connection,
    lane: i64,
    is_enabled: bool,
    by: &Actor,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let found: Option<(String, bool)> = conn
        .prepare_cached("SELECT name, enabled FROM endpoint WHERE lane = ?1")?
        .query_row([lane], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((name, was_enabled)) = found else {
        return Ok(false);
    };
    if was_enabled != is_enabled {
        conn.prepare_cached("UPDATE endpoint SET enabled = ?2, updated_at = ?3 WHERE lane = ?1")?
            .execute(params![lane, is_enabled, now.0])?;
        let action = if is_enabled {
            "endpoint enable"
        } else {
            "endpoint disable"
        };
        log::write(
            conn,
            by,
            now,
            log::Line {
                action,
                subject: &name,
                ..log::Line::default()
            },
        )?;
    }
    Ok(true)
}

fn endpoint(row: &Row<'_>, shared: &Shared, seal: &Seal) -> StoreResult<Endpoint> {
    let lane = row.get(0).or_store()?;
    let (version, sealed): (i32, Vec<u8>) = (row.get(2).or_store()?, row.get(3).or_store()?);
    let secrets = match secrets(seal, lane, version, &sealed) {
        Err(error @ StoreError::Sealed(_)) => {
            shared.seals.tell_once(lane, &error);
            Vec::new()
        }
        secrets => secrets?,
    };
    let read = || {
        let spec: EndpointSpec = serde_json::from_str(row.get_ref(1)?.as_str()?)
            .map_err(|error| odd(1, format!("endpoint {lane}: {error}")))?;
        spec.check(lane, secrets, row.get(4)?)
            .map_err(|problem| odd(1, format!("endpoint {lane}: {problem}")))
    };
    read().or_store()
}

/// The secrets as they were put, the newest first.
pub(crate) fn secrets(
    seal: &Seal,
    lane: i64,
    version: i32,
    sealed: &[u8],
) -> StoreResult<Vec<String>> {
    let place = Place::EndpointSecrets { lane };
    let json = seal.sealer.open(place, version, sealed)?;
    // The error of serde_json would quote what it read.
    serde_json::from_slice(&json).map_err(|_| inconsistent(format!("{place} are not a list")))
}

fn next_lane(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row(
        "SELECT coalesce(max(lane), 0) + 1 FROM endpoint",
        [],
        |row| row.get(0),
    )
}

/// The secret that the spec brings goes first; one is made where none is kept.
fn with_newest(kept: Vec<String>, brought: Option<String>, new: String) -> Vec<String> {
    let newest = match brought {
        Some(brought) => brought,
        None if kept.is_empty() => new,
        None => return kept,
    };
    let mut secrets: Vec<String> = kept
        .into_iter()
        .filter(|secret| *secret != newest)
        .collect();
    secrets.insert(0, newest);
    secrets.truncate(ENDPOINT_SECRETS_MAX);
    secrets
}

fn as_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| odd(0, error.to_string()))
}
