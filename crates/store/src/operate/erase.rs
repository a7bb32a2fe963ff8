//! Erasing a user: another name takes its place in all that is counted, and what
//! was given or written about it goes. Draws, awards and sums stay, so the audit
//! holds; who it was is nowhere in the database.
//!
//! A user may have more draws than one step takes. Until the last of them is done
//! the counters stand under the old name, and [`begin`] leaves a row that tells the
//! audit which two names are one.

use crate::Shared;
use crate::read::column::as_column;
use crate::seal::{Place, Sealed};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Array, Connection, OptionalExtension, Param, params, params_from_iter};
use crate::{requests, rows};
use tombola_core::AwardId;
use tombola_core::limits::{STEP_ROWS_MAX, STEP_ROWS_SEEN_MAX};
use tombola_core::ports::StoreResult;

/// Notes that two names are one for a while.
pub(super) fn begin(conn: &Connection, user: &str, pseudonym: &str) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO erasing (user, pseudonym) VALUES (?1, ?2) ON CONFLICT (user) DO NOTHING",
    )?
    .execute([user, pseudonym])
    .map(drop)
}

/// What one step did.
pub(super) struct Stepped {
    /// Draws that were changed.
    pub(super) draws: u64,
    /// The last draw that was looked at.
    pub(super) after: i64,
    pub(super) is_over: bool,
}

/// One step: looks at the draws behind `after`, whoever's they are. There is no index
/// of all draws by user, which each draw would pay for. `renamed` draws were changed before.
pub(super) fn step(
    conn: &Connection,
    shared: &Shared,
    pseudonym: &str,
    (after, renamed): (i64, u64),
) -> StoreResult<Stepped> {
    let user: Option<String> = conn
        .prepare_cached("SELECT user FROM erasing WHERE pseudonym = ?1")
        .and_then(|mut it| it.query_row([pseudonym], |row| row.get(0)).optional())
        .or_store()?;
    // Another operation was asked to erase the same user before.
    let Some(user) = user else {
        return Ok(Stepped {
            draws: 0,
            after,
            is_over: true,
        });
    };
    let (until, is_last) = ahead(conn, after).or_store()?;
    let draws = draws_of(conn, &user, after, until).or_store()?;
    // What is written of them at the same time copies the user's name from the draw.
    let awards: Vec<AwardId> = draws.iter().map(|draw| AwardId(*draw)).collect();
    rows::load_all(conn, &awards)?;
    erase_draws(conn, &draws, pseudonym).or_store()?;
    erase_codes(conn, shared, &draws)?;
    let is_full = draws.len() == STEP_ROWS_MAX;
    // Campaigns come before awards in the order of locks, so a step that has some takes no campaign.
    let is_free = draws.is_empty() || !conn.is_far() && !is_full;
    let is_over = is_last && is_free && requests::erase(conn, &user).or_store()? < STEP_ROWS_MAX;
    let renamed = renamed + draws.len() as u64;
    if is_over && !finish(conn, &user, pseudonym, renamed).or_store()? {
        return Ok(Stepped {
            draws: draws.len() as u64,
            after: 0,
            is_over: false,
        });
    }
    Ok(Stepped {
        draws: draws.len() as u64,
        after: draws.last().filter(|_| is_full).map_or(until, |last| *last),
        is_over,
    })
}

/// The last draw that the step looks at, and whether there is none behind it.
fn ahead(conn: &Connection, after: i64) -> sql::Result<(i64, bool)> {
    conn.prepare_cached(
        "SELECT coalesce(max(id), ?1), count(*) < ?2
         FROM (SELECT id FROM draw WHERE id > ?1 ORDER BY id LIMIT ?2) AS ahead",
    )?
    .query_row([after, as_column(STEP_ROWS_SEEN_MAX as u64)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
}

fn draws_of(conn: &Connection, user: &str, after: i64, until: i64) -> sql::Result<Vec<i64>> {
    conn.prepare_cached(
        "SELECT id FROM draw WHERE id > ?1 AND id <= ?2 AND user = ?3 ORDER BY id LIMIT ?4",
    )?
    .query_map(
        params![after, until, user, as_column(STEP_ROWS_MAX as u64)],
        |row| row.get(0),
    )?
    .collect()
}

/// A code keeps its row and its digest, so that it is given to nobody else; an empty
/// text takes its place, which is sealed like any other.
fn erase_codes(conn: &Connection, shared: &Shared, draws: &[i64]) -> StoreResult<()> {
    let codes = codes_of(conn, draws).or_store()?;
    let seal = shared.seals.now();
    for (code, campaign, digest) in codes {
        let place = Place::Code {
            campaign,
            digest: &digest,
        };
        let Sealed { key_version, bytes } = seal.sealer.seal(place, b"")?;
        conn.prepare_cached("UPDATE code SET sealed = ?2, key_version = ?3 WHERE id = ?1")
            .and_then(|mut it| it.execute(params![code, bytes, key_version]))
            .or_store()?;
    }
    Ok(())
}

/// A code's id, its campaign and its digest.
type Code = (i64, i64, [u8; 16]);

fn codes_of(conn: &Connection, draws: &[i64]) -> sql::Result<Vec<Code>> {
    let code = |row: &sql::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let sql = "SELECT id, campaign_id, digest FROM code WHERE award_id = ?1";
    if conn.is_far() {
        return conn
            .prepare_cached(&of_all(sql))?
            .query_map([Array(&draws)], code)?
            .collect();
    }
    let mut of_one = conn.prepare_cached(sql)?;
    let mut codes = Vec::new();
    for draw in draws {
        codes.extend(of_one.query_row([draw], code).optional()?);
    }
    Ok(codes)
}

/// Draws and what came of them, but for their codes.
fn erase_draws(conn: &Connection, draws: &[i64], pseudonym: &str) -> sql::Result<()> {
    for sql in [
        "UPDATE draw SET user = ?2, traceparent = NULL WHERE id = ?1",
        "UPDATE points_entry SET user = ?2 WHERE award_id = ?1",
        "UPDATE points_reversal SET user = ?2 WHERE award_id = ?1",
    ] {
        for_each(conn, sql, draws, &[&pseudonym])?;
    }
    for sql in [
        "DELETE FROM address WHERE award_id = ?1",
        "DELETE FROM shipment WHERE award_id = ?1",
        "UPDATE attempt SET detail = NULL WHERE award_id = ?1",
        "UPDATE operator_log SET reason = NULL WHERE award_id = ?1",
    ] {
        for_each(conn, sql, draws, &[])?;
    }
    Ok(())
}

/// Runs a statement for each of these ids, which is its first value.
fn for_each(conn: &Connection, sql: &str, ids: &[i64], others: &[&dyn Param]) -> sql::Result<()> {
    let run = |statement: &mut sql::Statement<'_>, id: &dyn Param| {
        let values = std::iter::once(id).chain(others.iter().copied());
        statement.execute(params_from_iter(values)).map(drop)
    };
    if conn.is_far() {
        return run(&mut conn.prepare_cached(&of_all(sql))?, &Array(&ids));
    }
    let mut statement = conn.prepare_cached(sql)?;
    ids.iter().try_for_each(|id| run(&mut statement, id))
}

/// The same statement for many draws at once.
fn of_all(sql: &str) -> String {
    sql.replace("= ?1", "= ANY (?1)")
}

/// What is kept once a campaign, a prize or a user; `false`, and nothing is changed, if draws were
/// missed: each process gives out ids of a block of its own, so the user may have drawn behind the
/// walk.
///
/// The counters come last: from their lock on nobody draws in their campaigns.
fn finish(conn: &Connection, user: &str, pseudonym: &str, renamed: u64) -> sql::Result<bool> {
    conn.execute_batch("SAVEPOINT walked")?;
    rename_rest(conn, user, pseudonym)?;
    let campaigns = lock_campaigns(conn, user)?;
    let counted = drawn(conn, &campaigns, user)?;
    if counted > as_column(renamed) && !was_all_walked(conn, pseudonym, renamed)? {
        conn.execute_batch("ROLLBACK TO SAVEPOINT walked; RELEASE SAVEPOINT walked")?;
        note_walk(conn, pseudonym, renamed)?;
        return Ok(false);
    }
    conn.execute_batch("RELEASE SAVEPOINT walked")?;
    rename_counters(conn, &campaigns, user, pseudonym)?;
    conn.prepare_cached("DELETE FROM erasing WHERE user = ?1")?
        .execute([user])?;
    conn.prepare_cached("DELETE FROM meta WHERE name = ?1")?
        .execute([walked(pseudonym)])?;
    Ok(true)
}

/// The campaigns in which the user has drawn. Nobody draws there until this transaction ends.
fn lock_campaigns(conn: &Connection, user: &str) -> sql::Result<Vec<i64>> {
    let locking = conn.locking();
    conn.prepare_cached(&format!(
        "SELECT id FROM campaign
         WHERE EXISTS (SELECT 1 FROM allowance WHERE campaign_id = campaign.id AND user = ?1)
         ORDER BY id{locking}"
    ))?
    .query_map([user], |row| row.get(0))?
    .collect()
}

/// What the user has drawn, by its counters in these campaigns.
fn drawn(conn: &Connection, campaigns: &[i64], user: &str) -> sql::Result<i64> {
    let sql = "SELECT total FROM allowance WHERE campaign_id = ?1 AND user = ?2";
    let sum = |statement: &mut sql::Statement<'_>, campaign: &dyn Param| {
        let values: [&dyn Param; 2] = [campaign, &user];
        let totals = statement.query_map(params_from_iter(values), |row| row.get::<_, i64>(0))?;
        totals.sum::<sql::Result<i64>>()
    };
    if conn.is_far() {
        return sum(&mut conn.prepare_cached(&of_all(sql))?, &Array(&campaigns));
    }
    let mut statement = conn.prepare_cached(sql)?;
    campaigns.iter().map(|it| sum(&mut statement, it)).sum()
}

/// In these campaigns, whose locks it has. Who draws for the user after that, or draws elsewhere for
/// the first time meanwhile, is another one.
fn rename_counters(
    conn: &Connection,
    campaigns: &[i64],
    user: &str,
    pseudonym: &str,
) -> sql::Result<()> {
    for sql in [
        "UPDATE allowance SET user = ?2 WHERE campaign_id = ?1 AND user = ?3",
        "UPDATE user_win SET user = ?2 WHERE user = ?3
         AND prize_id IN (SELECT id FROM prize WHERE campaign_id = ?1)",
    ] {
        for_each(conn, sql, campaigns, &[&pseudonym, &user])?;
    }
    Ok(())
}

/// Of the draws that were renamed, how many a walk from the first draw to the last left, in `meta`.
fn walked(pseudonym: &str) -> String {
    format!("erase_walked:{pseudonym}")
}

/// Whether the walk that ends here has found nothing more: then the counters were wrong before.
fn was_all_walked(conn: &Connection, pseudonym: &str, renamed: u64) -> sql::Result<bool> {
    let before: Option<String> = conn
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([walked(pseudonym)], |row| row.get(0))
        .optional()?;
    Ok(before.is_some_and(|before| before == renamed.to_string()))
}

fn note_walk(conn: &Connection, pseudonym: &str, renamed: u64) -> sql::Result<()> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![walked(pseudonym), renamed.to_string()])
    .map(drop)
}

/// Without a counter of draws, so that nobody waits for it.
fn rename_rest(conn: &Connection, user: &str, pseudonym: &str) -> sql::Result<()> {
    let renamed = [
        "UPDATE blocked_user SET user = ?2, reason = '' WHERE user = ?1",
        conn.either(
            "UPDATE operation SET spec = json_set(spec, '$.filter.user', ?2) WHERE spec ->> '$.filter.user' = ?1",
            "UPDATE operation SET spec = jsonb_set(spec::jsonb, '{filter,user}', to_jsonb(?2::text))::text
             WHERE spec::jsonb #>> '{filter,user}' = ?1",
        ),
        "UPDATE operator_log SET subject = 'user ' || ?2, reason = NULL WHERE subject = 'user ' || ?1",
    ];
    for sql in renamed {
        conn.prepare_cached(sql)?.execute([user, pseudonym])?;
    }
    conn.prepare_cached("DELETE FROM kept_message WHERE message_key = ?1")?
        .execute([user])
        .map(drop)
}
