//! Erasing a user: another name takes its place in all that is counted, and what
//! was given or written about it goes. Draws, awards and sums stay, so the audit
//! holds; who it was is nowhere in the database.
//!
//! A user may have more draws than one step takes. Until the last of them is done
//! the counters stand under the old name, and [`begin`] leaves a row that tells the
//! audit which two names are one.

use crate::read::column::as_column;
use rusqlite::{Connection, OptionalExtension, params};
use tombola_core::limits::STEP_ROWS_MAX;

/// Notes that two names are one for a while.
pub(super) fn begin(conn: &Connection, user: &str, pseudonym: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO erasing (user, pseudonym) VALUES (?1, ?2) ON CONFLICT (user) DO NOTHING",
    )?
    .execute([user, pseudonym])
    .map(drop)
}

/// One step; gives the number of draws that were changed, and whether it is over.
pub(super) fn step(conn: &Connection, pseudonym: &str) -> rusqlite::Result<(u64, bool)> {
    let user: Option<String> = conn
        .prepare_cached("SELECT user FROM erasing WHERE pseudonym = ?1")?
        .query_row([pseudonym], |row| row.get(0))
        .optional()?;
    // Another operation was asked to erase the same user before.
    let Some(user) = user else {
        return Ok((0, true));
    };
    let draws: Vec<i64> = conn
        .prepare_cached("SELECT id FROM draw WHERE user = ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![user, as_column(STEP_ROWS_MAX as u64)], |row| {
            row.get(0)
        })?
        .collect::<rusqlite::Result<_>>()?;
    for draw in &draws {
        erase_draw(conn, *draw, pseudonym)?;
    }
    let is_over = draws.len() < STEP_ROWS_MAX;
    if is_over {
        finish(conn, &user, pseudonym)?;
    }
    Ok((draws.len() as u64, is_over))
}

/// One draw and what came of it. A code keeps its row and its digest: it is given
/// to nobody else.
fn erase_draw(conn: &Connection, draw: i64, pseudonym: &str) -> rusqlite::Result<()> {
    let of_draw = [
        "UPDATE draw SET user = ?2, traceparent = NULL WHERE id = ?1",
        "UPDATE points_entry SET user = ?2 WHERE award_id = ?1",
        "UPDATE points_reversal SET user = ?2 WHERE award_id = ?1",
    ];
    for sql in of_draw {
        conn.prepare_cached(sql)?
            .execute(params![draw, pseudonym])?;
    }
    let of_content = [
        "DELETE FROM address WHERE award_id = ?1",
        "DELETE FROM shipment WHERE award_id = ?1",
        "UPDATE code SET sealed = x'', key_version = 0 WHERE award_id = ?1",
        "UPDATE attempt SET detail = NULL WHERE award_id = ?1",
        "UPDATE operator_log SET reason = NULL WHERE award_id = ?1",
    ];
    for sql in of_content {
        conn.prepare_cached(sql)?.execute([draw])?;
    }
    Ok(())
}

/// What is kept once a campaign, a prize or a user.
fn finish(conn: &Connection, user: &str, pseudonym: &str) -> rusqlite::Result<()> {
    let renamed = [
        "UPDATE allowance SET user = ?2 WHERE user = ?1 AND campaign_id IN (SELECT id FROM campaign)",
        "UPDATE user_win SET user = ?2 WHERE user = ?1 AND prize_id IN (SELECT id FROM prize)",
        "UPDATE blocked_user SET user = ?2, reason = '' WHERE user = ?1",
        "UPDATE operation SET spec = json_set(spec, '$.filter.user', ?2) WHERE spec ->> '$.filter.user' = ?1",
        "UPDATE operator_log SET subject = 'user ' || ?2, reason = NULL WHERE subject = 'user ' || ?1",
    ];
    for sql in renamed {
        conn.prepare_cached(sql)?.execute([user, pseudonym])?;
    }
    let removed = [
        "DELETE FROM kept_message WHERE message_key = ?1",
        "DELETE FROM erasing WHERE user = ?1",
    ];
    for sql in removed {
        conn.prepare_cached(sql)?.execute([user])?;
    }
    Ok(())
}
