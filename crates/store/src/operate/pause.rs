//! Pausing deliveries: a row per scope. Workers read them in the transaction that
//! takes a copy, so a pause holds from the next transaction on.

use crate::catalog::log;
use crate::sql::{self, Connection, params};
use tombola_core::Timestamp;
use tombola_core::ports::{Actor, PauseScope};

/// Pauses a scope; what is paused already is paused still.
pub(crate) fn pause(
    conn: &Connection,
    scope: &PauseScope,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<()> {
    let (campaign, prize, endpoint) = columns(scope);
    conn.prepare_cached(
        "INSERT INTO pause (campaign, prize, endpoint, at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?
    .execute(params![campaign, prize, endpoint, now.0])?;
    log::write(
        conn,
        by,
        now,
        log::Line {
            action: "delivery pause",
            subject: &name(scope),
            ..log::Line::default()
        },
    )
}

/// Resumes exactly that scope; `false` if it was not paused.
pub(super) fn resume(
    conn: &Connection,
    scope: &PauseScope,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<bool> {
    let (campaign, prize, endpoint) = columns(scope);
    let removed = conn
        .prepare_cached("DELETE FROM pause WHERE campaign = ?1 AND prize = ?2 AND endpoint = ?3")?
        .execute([campaign, prize, endpoint])?;
    if removed > 0 {
        log::write(
            conn,
            by,
            now,
            log::Line {
                action: "delivery resume",
                subject: &name(scope),
                ..log::Line::default()
            },
        )?;
    }
    Ok(removed > 0)
}

fn columns(scope: &PauseScope) -> (&str, &str, &str) {
    (
        scope.campaign.as_deref().unwrap_or_default(),
        scope.prize.as_deref().unwrap_or_default(),
        scope.endpoint.as_deref().unwrap_or_default(),
    )
}

/// As the operator log calls it.
fn name(scope: &PauseScope) -> String {
    let mut parts = Vec::new();
    match (&scope.campaign, &scope.prize) {
        (Some(campaign), Some(prize)) => parts.push(format!("{campaign}/{prize}")),
        (Some(campaign), None) => parts.push(campaign.clone()),
        (None, _) => {}
    }
    parts.extend(
        scope
            .endpoint
            .as_ref()
            .map(|endpoint| format!("endpoint {endpoint}")),
    );
    if parts.is_empty() {
        "all".to_owned()
    } else {
        parts.join(", ")
    }
}
