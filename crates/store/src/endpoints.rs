//! Endpoints: the outside services. A lane is given once and never again; the
//! spec is kept without its secret, the secrets sealed beside it, the newest first,
//! and in clear until when those behind it sign. What of them is over signs nothing
//! from that instant, and its bytes go with the next change or with `end_secrets`.

use crate::Shared;
use crate::catalog::log;
use crate::read::column::{as_column, odd};
use crate::seal::{Place, Sealed};
use crate::seals::Seal;
use crate::sql::{self, Connection, OptionalExtension, Row, params};
use crate::sql::{OrStoreError as _, inconsistent};
use tombola_core::Timestamp;
use tombola_core::endpoint::{Endpoint, EndpointSpec};
use tombola_core::limits::{SECRET_OVERLAP, STEP_ROWS_MAX};
use tombola_core::ports::{Actor, NewSecret, PutEndpoint, SecretRotated, StoreError, StoreResult};
use tombola_core::signing::{SecretsFull, SigningSecret, with_newest};

/// The secrets of an endpoint as its row keeps them.
pub(crate) struct KeptSecrets {
    lane: i64,
    sealed: Sealed,
    /// JSON list of the instants, without the newest's.
    ends: String,
}

impl KeptSecrets {
    /// From the columns `lane, key_version, sealed, secret_ends`, which begin at
    /// `first`.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> sql::Result<Self> {
        Ok(Self {
            lane: row.get(first)?,
            sealed: Sealed {
                key_version: row.get(first + 1)?,
                bytes: row.get(first + 2)?,
            },
            ends: row.get(first + 3)?,
        })
    }

    /// Opens them, the newest first.
    pub(crate) fn open(&self, seal: &Seal) -> StoreResult<Vec<SigningSecret>> {
        let place = Place::EndpointSecrets { lane: self.lane };
        let Sealed { key_version, bytes } = &self.sealed;
        let json = seal.sealer.open(place, *key_version, bytes)?;
        // The error of serde_json would quote what it read.
        let texts: Vec<String> = serde_json::from_slice(&json)
            .map_err(|_| inconsistent(format!("{place} are not a list")))?;
        let ends: Vec<i64> = serde_json::from_str(&self.ends)
            .map_err(|error| inconsistent(format!("the ends of {place}: {error}")))?;
        if texts.len() > ends.len() + 1 {
            return Err(inconsistent(format!("{place} have too few ends")));
        }
        let ends = ends.into_iter().map(|end| Some(Timestamp(end)));
        let ends = std::iter::once(None).chain(ends);
        let secrets = texts.into_iter().zip(ends);
        Ok(secrets
            .map(|(text, ends_at)| SigningSecret { text, ends_at })
            .collect())
    }

    fn seal(seal: &Seal, lane: i64, secrets: &[SigningSecret]) -> StoreResult<Self> {
        let texts: Vec<&str> = secrets.iter().map(|it| it.text.as_str()).collect();
        let ends: Vec<i64> = secrets
            .iter()
            .filter_map(|it| it.ends_at.map(|end| end.0))
            .collect();
        let json = as_json(&texts).or_store()?;
        let place = Place::EndpointSecrets { lane };
        Ok(Self {
            lane,
            sealed: seal.sealer.seal(place, json.as_bytes())?,
            ends: as_json(&ends).or_store()?,
        })
    }

    fn write(&self, conn: &Connection) -> StoreResult<()> {
        let Sealed { key_version, bytes } = &self.sealed;
        conn.prepare_cached(
            "UPDATE endpoint SET key_version = ?2, sealed = ?3, secret_ends = ?4 WHERE lane = ?1",
        )
        .and_then(|mut it| it.execute(params![self.lane, key_version, bytes, self.ends]))
        .map(drop)
        .or_store()
    }
}

/// Makes or replaces an endpoint.
pub(super) fn put(
    conn: &Connection,
    seal: &Seal,
    mut spec: EndpointSpec,
    new_secret: &str,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<PutEndpoint> {
    let brought = spec.secret.take();
    let (lane, kept, is_enabled) = match find(conn, &spec.name).or_store()? {
        None => (next_lane(conn).or_store()?, Vec::new(), true),
        Some((kept, is_enabled)) => {
            let lane = kept.lane;
            match kept.open(seal) {
                // A new secret is the way out of one that is lost.
                Err(StoreError::Sealed(_)) if brought.is_some() => (lane, Vec::new(), is_enabled),
                secrets => (lane, secrets?, is_enabled),
            }
        }
    };
    let newest = match (brought, kept.first()) {
        (Some(brought), _) => brought,
        (None, Some(newest)) => newest.text.clone(),
        (None, None) => new_secret.to_owned(),
    };
    let secrets = match with_newest(kept, newest, SECRET_OVERLAP, now) {
        Ok(secrets) => secrets,
        Err(SecretsFull { ends_at }) => return Ok(PutEndpoint::SecretsFull { ends_at }),
    };
    let endpoint = spec
        .check(lane, secrets, is_enabled)
        .map_err(|problem| StoreError::Row(problem.to_string()))?;
    let spec_json = as_json(&spec).or_store()?;
    conn.prepare_cached(
        "INSERT INTO endpoint (lane, name, spec, key_version, sealed, enabled, updated_at)
         VALUES (?1, ?2, ?3, 0, x'', ?4, ?5)
         ON CONFLICT (lane) DO UPDATE SET spec = excluded.spec, updated_at = excluded.updated_at",
    )
    .and_then(|mut it| it.execute(params![lane, spec.name, spec_json, is_enabled, now.0]))
    .or_store()?;
    KeptSecrets::seal(seal, lane, &endpoint.secrets)?.write(conn)?;
    log_line(conn, "endpoint put", &spec.name, by, now).or_store()?;
    Ok(PutEndpoint::Put(endpoint))
}

/// Puts a new secret in front. Where those before do not open, they sign nothing and
/// it is the only one.
pub(super) fn rotate_secret(
    conn: &Connection,
    seal: &Seal,
    name: &str,
    new: &NewSecret,
    by: &Actor,
    now: Timestamp,
) -> StoreResult<SecretRotated> {
    let Some((kept, _)) = find(conn, name).or_store()? else {
        return Ok(SecretRotated::NotFound);
    };
    let before = match kept.open(seal) {
        Err(StoreError::Sealed(_)) => Vec::new(),
        secrets => secrets?,
    };
    let secrets = match with_newest(before, new.text.clone(), new.overlap, now) {
        Ok(secrets) => secrets,
        Err(SecretsFull { ends_at }) => return Ok(SecretRotated::SecretsFull { ends_at }),
    };
    KeptSecrets::seal(seal, kept.lane, &secrets)?.write(conn)?;
    conn.prepare_cached("UPDATE endpoint SET updated_at = ?2 WHERE lane = ?1")
        .and_then(|mut it| it.execute([kept.lane, now.0]))
        .or_store()?;
    log_line(conn, "endpoint rotate-secret", name, by, now).or_store()?;
    Ok(SecretRotated::Rotated {
        hash: new.hash,
        older_end_at: secrets.iter().filter_map(|it| it.ends_at).collect(),
    })
}

/// Deletes what is kept of secrets that sign no more. What does not open is left.
pub(super) fn end_secrets(conn: &Connection, shared: &Shared, now: Timestamp) -> StoreResult<u64> {
    let seal = shared.seals.now();
    let over: Vec<KeptSecrets> = conn
        .prepare_cached(conn.either(
            "SELECT lane, key_version, sealed, secret_ends FROM endpoint
             WHERE EXISTS (SELECT 1 FROM json_each(secret_ends) WHERE value <= ?1)
             ORDER BY lane LIMIT ?2",
            "SELECT lane, key_version, sealed, secret_ends FROM endpoint
             WHERE EXISTS (SELECT 1 FROM json_array_elements_text(secret_ends::json) AS e (value)
                           WHERE e.value::bigint <= ?1)
             ORDER BY lane LIMIT ?2",
        ))
        .and_then(|mut it| {
            let most = as_column(STEP_ROWS_MAX as u64);
            it.query_map([now.0, most], |row| KeptSecrets::read(row, 0))?
                .collect()
        })
        .or_store()?;
    let mut ended = 0;
    for kept in over {
        match kept.open(&seal) {
            Ok(mut secrets) => {
                secrets.retain(|it| it.signs_at(now));
                KeptSecrets::seal(&seal, kept.lane, &secrets)?.write(conn)?;
                ended += 1;
            }
            Err(error @ StoreError::Sealed(_)) => shared.seals.tell_once(kept.lane, &error),
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// All endpoints, by lane. One whose secrets do not open has none: its calls are not
/// made, and the others go on.
pub(super) fn all(conn: &Connection, shared: &Shared) -> StoreResult<Vec<Endpoint>> {
    let seal = shared.seals.now();
    let mut statement = conn
        .prepare_cached(
            "SELECT lane, key_version, sealed, secret_ends, spec, enabled FROM endpoint ORDER BY lane",
        )
        .or_store()?;
    let mut rows = statement.query([]).or_store()?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().or_store()? {
        all.push(endpoint(&row, shared, &seal)?);
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
) -> sql::Result<bool> {
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
        log_line(conn, action, &name, by, now)?;
    }
    Ok(true)
}

fn endpoint(row: &Row<'_>, shared: &Shared, seal: &Seal) -> StoreResult<Endpoint> {
    let kept = KeptSecrets::read(row, 0).or_store()?;
    let lane = kept.lane;
    let secrets = match kept.open(seal) {
        Err(error @ StoreError::Sealed(_)) => {
            shared.seals.tell_once(lane, &error);
            Vec::new()
        }
        secrets => secrets?,
    };
    let read = || {
        let spec: EndpointSpec = serde_json::from_str(row.text(4)?)
            .map_err(|error| odd(4, format!("endpoint {lane}: {error}")))?;
        spec.check(lane, secrets, row.get(5)?)
            .map_err(|problem| odd(4, format!("endpoint {lane}: {problem}")))
    };
    read().or_store()
}

fn find(conn: &Connection, name: &str) -> sql::Result<Option<(KeptSecrets, bool)>> {
    conn.prepare_cached(
        "SELECT lane, key_version, sealed, secret_ends, enabled FROM endpoint WHERE name = ?1",
    )?
    .query_row([name], |row| Ok((KeptSecrets::read(row, 0)?, row.get(4)?)))
    .optional()
}

fn next_lane(conn: &Connection) -> sql::Result<i64> {
    conn.query_row(
        "SELECT coalesce(max(lane), 0) + 1 FROM endpoint",
        [],
        |row| row.get(0),
    )
}

fn log_line(
    conn: &Connection,
    action: &str,
    name: &str,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<()> {
    let line = log::Line {
        action,
        subject: name,
        ..log::Line::default()
    };
    log::write(conn, by, now, line)
}

fn as_json<T: serde::Serialize>(value: &T) -> sql::Result<String> {
    serde_json::to_string(value).map_err(|error| odd(0, error.to_string()))
}
