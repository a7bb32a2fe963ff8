//! The rivals of the desk on SQLite, with no engine: the same rows in the same
//! schema, written by a loop that a good engineer would write in an afternoon.
//! One commits each draw by itself, the other commits what waits together.

use anyhow::Result;
use rusqlite::{Connection, params};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// The schema of the store, as far as it concerns draws.
const SCHEMA: [&str; 2] = [
    include_str!("../../../../store/migrations/sqlite/0001_init.sql"),
    include_str!("../../../../store/migrations/sqlite/0006_lists.sql"),
];
const WIN_PERCENT: u64 = 30;

/// Opens a fresh database with the settings that a durable draw needs.
pub(crate) fn open(dir: &Path) -> Result<Connection> {
    let db = Connection::open(dir.join("raw.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    SCHEMA.iter().try_for_each(|sql| db.execute_batch(sql))?;
    db.execute_batch(
        "INSERT INTO campaign (id, slug, state, version, created_at, updated_at)
           VALUES (1, 'bench', 'started', 1, 0, 0);
         INSERT INTO prize (id, campaign_id, slug, kind, stock)
           VALUES (1, 1, 'a', 'text', 1000000000), (2, 1, 'b', 'text', 1000000000),
                  (3, 1, 'c', 'text', NULL), (4, 1, 'd', 'text', NULL), (5, 1, 'e', 'text', NULL);",
    )?;
    Ok(db)
}

/// One draw as the loop gets it.
pub(crate) struct Ask {
    pub(crate) id: i64,
    pub(crate) roll: u64,
    pub(crate) user: String,
    pub(crate) key: String,
    pub(crate) answer: oneshot::Sender<i64>,
}

/// Writes the rows of one draw; gives the prize it won, if any.
pub(crate) fn write(
    db: &Connection,
    id: i64,
    roll: u64,
    user: &str,
    key: &str,
) -> Result<Option<i64>> {
    let prize = prize_of(roll);
    let bits = i64::from_ne_bytes(roll.to_ne_bytes());
    db.prepare_cached(
        "INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw)
         VALUES (1, 'bench', ?1, x'00112233445566778899aabbccddeeff', ?2)",
    )?
    .execute(params![key, id])?;
    db.prepare_cached(
        "INSERT INTO allowance (campaign_id, user, total, day, day_total) VALUES (1, ?1, 1, 20000, 1)
         ON CONFLICT DO UPDATE SET total = total + 1, day_total = day_total + 1",
    )?
    .execute([user])?;
    db.prepare_cached(
        "INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll, drawn_at, day, claim_key)
         VALUES (?1, 1, 1, ?2, 'bench', ?3, ?4, 1770000000000000, 20000, 1)",
    )?
    .execute(params![id, user, prize, bits])?;
    if let Some(prize) = prize {
        db.prepare_cached(
            "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, message_id, delivery_key)
             VALUES (?1, ?2, 'text', 0, 'pending', 1, 1770000005000000, ?3, ?4)",
        )?
        .execute(params![id, prize, format!("{id}-abcdefghijkl"), format!("{id}-mnopqrstuvwx")])?;
    }
    Ok(prize)
}

/// Counts what a batch won and drew.
pub(crate) fn count(db: &Connection, wins: &[u64; 6], draws: i64) -> Result<()> {
    for (prize, won) in wins.iter().enumerate().filter(|(_, won)| **won > 0) {
        db.prepare_cached(
            "UPDATE prize SET spent = spent + ?2, day_spent = day_spent + ?2 WHERE id = ?1",
        )?
        .execute(params![i64::try_from(prize)?, i64::try_from(*won)?])?;
    }
    db.prepare_cached("UPDATE campaign SET draws = draws + ?1 WHERE id = 1")?
        .execute([draws])?;
    Ok(())
}

fn prize_of(roll: u64) -> Option<i64> {
    let percent = (u128::from(roll) * 100) >> 64;
    let percent = u64::try_from(percent).ok()?;
    (percent < WIN_PERCENT).then(|| i64::try_from(percent % 5).map_or(1, |index| index + 1))
}

/// The group commit: takes what waits, writes it in one transaction, answers.
pub(crate) fn group_commit(mut db: Connection, mut asks: mpsc::Receiver<Ask>) -> Result<()> {
    let mut batch = Vec::new();
    while let Some(first) = asks.blocking_recv() {
        batch.push(first);
        while batch.len() < 1000 {
            let Ok(ask) = asks.try_recv() else { break };
            batch.push(ask);
        }
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut wins = [0; 6];
        for ask in &batch {
            if let Some(prize) = write(&tx, ask.id, ask.roll, &ask.user, &ask.key)? {
                wins[usize::try_from(prize)?] += 1;
            }
        }
        count(&tx, &wins, i64::try_from(batch.len())?)?;
        tx.commit()?;
        for ask in batch.drain(..) {
            // A caller that went away has nothing to be told.
            ask.answer.send(ask.id).ok();
        }
    }
    Ok(())
}

/// One transaction a draw.
pub(crate) fn one_by_one(mut db: Connection, mut asks: mpsc::Receiver<Ask>) -> Result<()> {
    while let Some(ask) = asks.blocking_recv() {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut wins = [0; 6];
        if let Some(prize) = write(&tx, ask.id, ask.roll, &ask.user, &ask.key)? {
            wins[usize::try_from(prize)?] += 1;
        }
        count(&tx, &wins, 1)?;
        tx.commit()?;
        ask.answer.send(ask.id).ok();
    }
    Ok(())
}
