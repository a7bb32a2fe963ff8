//! What is done to users, to points, and to dead letters that were seen to.

use crate::catalog::log;
use crate::read::points::balance;
use crate::sql::{self, Connection, OptionalExtension, params};
use tombola_core::ports::{Actor, DeadLetter, PointsReversed};
use tombola_core::{AwardId, Timestamp};

/// Blocks; the newest reason stands.
pub(super) fn block(conn: &Connection, user: &str, by: &Actor, now: Timestamp) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO blocked_user (user, reason, at) VALUES (?1, ?2, ?3)
         ON CONFLICT (user) DO UPDATE SET reason = excluded.reason",
    )?
    .execute(params![
        user,
        by.reason.as_deref().unwrap_or_default(),
        now.0
    ])?;
    log_of_user(conn, "user block", user, by, now)
}

/// Unblocks; `false` if nobody of that name was blocked.
pub(super) fn unblock(
    conn: &Connection,
    user: &str,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<bool> {
    let removed = conn
        .prepare_cached("DELETE FROM blocked_user WHERE user = ?1")?
        .execute([user])?;
    if removed > 0 {
        log_of_user(conn, "user unblock", user, by, now)?;
    }
    Ok(removed > 0)
}

fn log_of_user(
    conn: &Connection,
    action: &str,
    user: &str,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<()> {
    let line = log::Line {
        action,
        subject: &format!("user {user}"),
        ..log::Line::default()
    };
    log::write(conn, by, now, line)
}

/// Takes points back, once.
pub(super) fn reverse_points(
    conn: &Connection,
    award: AwardId,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<PointsReversed> {
    let given: Option<(String, i64)> = conn
        .prepare_cached("SELECT user, points FROM points_entry WHERE award_id = ?1")?
        .query_row([award.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user, points)) = given else {
        return Ok(PointsReversed::NotFound);
    };
    let added = conn
        .prepare_cached(
            "INSERT INTO points_reversal (award_id, user, points, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (award_id) DO NOTHING",
        )?
        .execute(params![award.0, user, points, now.0])?;
    if added == 0 {
        return Ok(PointsReversed::Before);
    }
    let line = log::Line {
        action: "points reverse",
        subject: &format!("award {award}"),
        award: Some(award),
        units: None,
    };
    log::write(conn, by, now, line)?;
    Ok(PointsReversed::Reversed {
        balance: balance(conn, &user)?,
        user,
        points,
    })
}

/// Takes a dead letter off the list; `false` if there is none.
pub(super) fn dismiss(
    conn: &Connection,
    letter: DeadLetter,
    by: &Actor,
    now: Timestamp,
) -> sql::Result<bool> {
    let (changed, subject, award) = match letter {
        DeadLetter::Award(award) => (
            dismiss_award(conn, award, now)?,
            format!("award {award}"),
            Some(award),
        ),
        DeadLetter::Message(number) => (
            dismiss_message(conn, number, now)?,
            format!("message m{number}"),
            None,
        ),
    };
    if changed {
        let line = log::Line {
            action: "dead-letter dismiss",
            subject: &subject,
            award,
            units: None,
        };
        log::write(conn, by, now, line)?;
    }
    Ok(changed)
}

fn dismiss_award(conn: &Connection, award: AwardId, now: Timestamp) -> sql::Result<bool> {
    let changed = conn
        .prepare_cached(
            "INSERT INTO dismissed_award (award_id, lease, at)
             SELECT award_id, lease, ?2 FROM delivery WHERE award_id = ?1 AND state = 'dead'
             ON CONFLICT (award_id) DO UPDATE SET lease = excluded.lease, at = excluded.at",
        )?
        .execute(params![award.0, now.0])?;
    Ok(changed > 0)
}

fn dismiss_message(conn: &Connection, number: i64, now: Timestamp) -> sql::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE kept_message SET dismissed_at = coalesce(dismissed_at, ?2) WHERE id = ?1",
        )?
        .execute(params![number, now.0])?;
    Ok(changed > 0)
}
