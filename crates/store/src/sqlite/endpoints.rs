//! Endpoints: the outside services. A lane is given once and never again; the
//! spec is kept without its secret, the secrets beside it, the newest first. A
//! rotation keeps the secret before the newest, so that both sign, until the next
//! rotation takes its place.

use super::catalog::log;
use crate::read::column::odd;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tombola_core::Timestamp;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::ENDPOINT_SECRETS_MAX;
use tombola_core::ports::Actor;

/// Makes or replaces an endpoint. `Err` of the inner result: why it is not accepted.
pub(super) fn put(
    conn: &Connection,
    mut spec: EndpointSpec,
    new_secret: String,
    by: &Actor,
    now: Timestamp,
) -> rusqlite::Result<Result<Endpoint, String>> {
    let kept: Option<(i64, String, bool)> = conn
        .prepare_cached("SELECT lane, secrets, enabled FROM endpoint WHERE name = ?1")?
        .query_row([&spec.name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let (lane, secrets, is_enabled) = match kept {
        Some((lane, secrets, is_enabled)) => (lane, read_secrets(&secrets)?, is_enabled),
        None => (next_lane(conn)?, Vec::new(), true),
    };
    let secrets = with_newest(secrets, spec.secret.take(), new_secret);
    let endpoint = match spec.check(lane, secrets, is_enabled) {
        Ok(endpoint) => endpoint,
        Err(problem) => return Ok(Err(problem.to_string())),
    };
    conn.prepare_cached(
        "INSERT INTO endpoint (lane, name, spec, secrets, enabled, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (lane) DO UPDATE SET spec = excluded.spec, secrets = excluded.secrets,
                                          updated_at = excluded.updated_at",
    )?
    .execute(params![
        lane,
        spec.name,
        as_json(&spec)?,
        as_json(&endpoint.secrets)?,
        is_enabled,
        now.0
    ])?;
    log::write(
        conn,
        by,
        now,
        log::Line {
            action: "endpoint put",
            subject: &spec.name,
            ..log::Line::default()
        },
    )?;
    Ok(Ok(endpoint))
}

/// All endpoints, by lane.
pub(super) fn all(conn: &Connection) -> rusqlite::Result<Vec<Endpoint>> {
    conn.prepare_cached("SELECT lane, spec, secrets, enabled FROM endpoint ORDER BY lane")?
        .query_map([], endpoint)?
        .collect()
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

fn endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    let lane = row.get(0)?;
    let spec: EndpointSpec = serde_json::from_str(row.get_ref(1)?.as_str()?)
        .map_err(|error| odd(1, format!("endpoint {lane}: {error}")))?;
    let secrets = read_secrets(row.get_ref(2)?.as_str()?)?;
    spec.check(lane, secrets, row.get(3)?)
        .map_err(|problem| odd(1, format!("endpoint {lane}: {problem}")))
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

fn read_secrets(json: &str) -> rusqlite::Result<Vec<String>> {
    // The error of serde_json would quote what it read.
    serde_json::from_str(json).map_err(|_| odd(2, "the secrets of an endpoint are not a list"))
}

fn as_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| odd(0, error.to_string()))
}
