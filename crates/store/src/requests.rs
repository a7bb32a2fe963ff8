//! Request keys of everything but draws: each is kept by the transaction of its
//! effect, so that a repetition finds either both or neither.

use crate::read::column::{as_column, odd};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, Row, params};
use tombola_core::Timestamp;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Actor, KeptAnswer, KeptRequest, Repeatable, RequestKey, StoreError, StoreResult,
};

/// Has the effect, or answers as it did the first time. Called within the
/// transaction of the effect.
pub(super) fn once<T: Repeatable>(
    conn: &Connection,
    by: &Actor,
    now: Timestamp,
    effect: impl FnOnce() -> StoreResult<T>,
) -> StoreResult<T> {
    let Some(request) = &by.request else {
        return effect();
    };
    if let Some((kept, json)) = load(conn, request).or_store()? {
        if kept.fingerprint != request.fingerprint {
            return Err(StoreError::KeyReused);
        }
        // Kept without an effect in the store: the handler answers from what is kept.
        let json = json.ok_or(StoreError::KeyReused)?;
        return serde_json::from_str(&json)
            .map_err(|error| StoreError::Inconsistent(format!("a kept effect: {error}")));
    }
    let done = effect()?;
    if done.has_effect() {
        let json = serde_json::to_string(&done)
            .map_err(|error| StoreError::Inconsistent(error.to_string()))?;
        conn.prepare_cached(
            "INSERT INTO kept_request (client, operation, request_key, fingerprint, effect, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .or_store()?
        .execute(params![
            request.client,
            request.operation,
            request.key,
            request.fingerprint,
            json,
            now.0
        ])
        .or_store()?;
    }
    Ok(done)
}

/// What is kept of a request.
pub(super) fn kept(conn: &Connection, request: &RequestKey) -> sql::Result<Option<KeptRequest>> {
    Ok(load(conn, request)?.map(|(kept, _)| kept))
}

/// Keeps an answer, or gives the one that stands.
pub(super) fn keep_answer(
    conn: &Connection,
    request: &RequestKey,
    answer: &KeptAnswer,
    now: Timestamp,
) -> StoreResult<KeptAnswer> {
    let stands = load(conn, request).or_store()?.map(|(kept, _)| kept);
    match stands {
        Some(kept) if kept.fingerprint != request.fingerprint => Err(StoreError::KeyReused),
        Some(KeptRequest {
            answer: Some(first),
            ..
        }) => Ok(first),
        Some(KeptRequest { answer: None, .. }) | None => {
            write_answer(conn, request, answer, now).or_store()?;
            Ok(answer.clone())
        }
    }
}

fn write_answer(
    conn: &Connection,
    request: &RequestKey,
    answer: &KeptAnswer,
    now: Timestamp,
) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kept_request (client, operation, request_key, fingerprint, status, body, user, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (request_key, operation, client)
         DO UPDATE SET status = excluded.status, body = excluded.body, user = excluded.user",
    )?
    .execute(params![
        request.client,
        request.operation,
        request.key,
        request.fingerprint,
        answer.status,
        answer.body,
        answer.user,
        now.0
    ])
    .map(drop)
}

/// One step of forgetting what was answered about a user; gives the rows.
pub(super) fn erase(conn: &Connection, user: &str) -> sql::Result<usize> {
    let KeptAnswer { status, body, .. } = KeptAnswer::erased();
    conn.prepare_cached(
        "UPDATE kept_request SET effect = NULL, status = ?1, body = ?2, user = NULL
         WHERE (request_key, operation, client) IN
           (SELECT request_key, operation, client FROM kept_request WHERE user = ?3 LIMIT ?4)",
    )?
    .execute(params![status, body, user, as_column(STEP_ROWS_MAX as u64)])
}

/// Removes one step of what is older than its retention.
pub(super) fn remove_old(conn: &Connection, before: Timestamp) -> sql::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM kept_request WHERE (request_key, operation, client) IN
           (SELECT request_key, operation, client FROM kept_request WHERE at < ?1 ORDER BY at LIMIT ?2)",
    )?
    .execute([before.0, as_column(STEP_ROWS_MAX as u64)])
}

fn load(
    conn: &Connection,
    request: &RequestKey,
) -> sql::Result<Option<(KeptRequest, Option<String>)>> {
    conn.prepare_cached(
        "SELECT fingerprint, status, body, user, effect FROM kept_request
         WHERE request_key = ?1 AND operation = ?2 AND client = ?3",
    )?
    .query_row([&request.key, &request.operation, &request.client], |row| {
        Ok((read(row)?, row.get(4)?))
    })
    .optional()
}

fn read(row: &Row<'_>) -> sql::Result<KeptRequest> {
    let fingerprint: Vec<u8> = row.get(0)?;
    let answer = match row.get::<_, Option<u16>>(1)? {
        Some(status) => Some(KeptAnswer {
            status,
            body: row.get(2)?,
            user: row.get(3)?,
        }),
        None => None,
    };
    Ok(KeptRequest {
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| odd(0, "the fingerprint of a request is not 32 bytes"))?,
        answer,
    })
}
