//! The months of the attempts: each is a partition of its own, made ahead and dropped
//! whole once it is older than the retention.
//!
//! # Model
//! Lines are only ever written with the instant of their call, so a month that is over
//! gets no more of them. What must outlive its month (the lines of dead letters and of
//! awards that are not finished, for a person still has to read them) is moved to the
//! partition that takes the rest, `attempt_rest`; from there the cleanup of single rows
//! takes it when its time has come.
//!
//! # What each failure does
//! - Nobody makes months for a while: lines go to the rest, and nothing fails. The month
//!   that is made late takes its lines out of the rest.
//! - Somebody holds the lock that a change of the partitions needs: the change is given
//!   up within [`LOCK_MAX`], because whoever comes after it waits as well, and is tried
//!   at the next step.
//! - Two processes do it at once: the second leaves it to the first.
//! - The process dies: all of a step is one transaction.

use super::pool::Postgres;
use super::session::Session;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Transaction};
use tombola_core::Timestamp;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::StoreResult;

/// Names the lock under which one process of many keeps the partitions ("months" in ASCII).
const KEEP_LOCK: i64 = 0x6d6f_6e74_6873;
/// How long a change of the partitions waits for its lock; draws may be waiting behind it.
const LOCK_MAX: Duration = Duration::from_secs(1);
/// How long looking for the lines that must be kept may take; nobody waits for it.
const LOOK_MAX: Duration = Duration::from_mins(1);
/// After that long a step that has not ended is given up: nothing answers any more.
const STEP_MAX: Duration = Duration::from_mins(5);
/// Months made ahead, this one not counted.
const AHEAD: i32 = 2;
/// Lines moved out of a month at most, ten steps of the cleanup. A month with more of
/// them stays whole until the cleanup of single rows has left fewer.
const MOVED_MAX: usize = 10 * STEP_ROWS_MAX;

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Partitions made.
    pub made: Vec<String>,
    /// Partitions dropped: one in a step, the oldest first.
    pub dropped: Vec<String>,
    /// Lines moved to the rest because they are still needed.
    pub moved: u64,
    /// Whether something was left for the next step because its lock was not free.
    pub is_waiting: bool,
}

impl Postgres {
    /// One step of the chore: makes the months around `now` that are missing, and drops
    /// the oldest of those that ended before `before`. To be called again while it
    /// dropped something.
    pub async fn keep_partitions(&self, now: Timestamp, before: Timestamp) -> StoreResult<Kept> {
        let mut session = self.take().await?;
        let kept = keep(&mut session, now, before).await;
        session.end(kept)
    }
}

async fn keep(session: &mut Session, now: Timestamp, before: Timestamp) -> StoreResult<Kept> {
    let deadline = session.deadline.of_max(STEP_MAX);
    let client = &mut session.client;
    let made = deadline.within(make_step(client, now)).await?;
    let dropped = deadline.within(drop_step(client, before)).await?;
    Ok(Kept {
        is_waiting: made.is_none() || dropped.is_none(),
        made: made.unwrap_or_default(),
        ..dropped.unwrap_or_default()
    })
}

/// `None` if a lock was not free.
async fn make_step(client: &mut Client, now: Timestamp) -> Result<Option<Vec<String>>, Error> {
    let Some(tx) = begin(client).await? else {
        return Ok(None);
    };
    match make(&tx, now).await {
        Ok(made) => {
            tx.commit().await?;
            Ok(Some(made))
        }
        Err(error) if is_taken(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same.
async fn drop_step(client: &mut Client, before: Timestamp) -> Result<Option<Kept>, Error> {
    let Some(tx) = begin(client).await? else {
        return Ok(None);
    };
    match drop_oldest(&tx, before).await {
        Ok(None) => Ok(Some(Kept::default())),
        Ok(Some((name, moved))) => {
            tx.commit().await?;
            Ok(Some(Kept {
                dropped: vec![name],
                moved,
                ..Kept::default()
            }))
        }
        Err(error) if is_taken(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As many lines as are looked at to know whether there are too many.
fn more_than_moved() -> i64 {
    i64::try_from(MOVED_MAX + 1).unwrap_or(i64::MAX)
}

/// `None` if another process is at it.
async fn begin(client: &mut Client) -> Result<Option<Transaction<'_>>, Error> {
    let tx = client.transaction().await?;
    let bounds = format!(
        "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
        LOCK_MAX.as_millis(),
        LOOK_MAX.as_millis()
    );
    tx.batch_execute(&bounds).await?;
    let lock = "SELECT pg_try_advisory_xact_lock($1)";
    let is_ours = tx.query_one(lock, &[&KEEP_LOCK]).await?.try_get(0)?;
    if is_ours { Ok(Some(tx)) } else { Ok(None) }
}

/// Whether somebody else had what was needed, or needed what we had.
fn is_taken(error: &Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
        || error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED)
}

/// Makes the first months of a new database, by the server's clock.
pub(super) async fn make_ahead(tx: &Transaction<'_>) -> Result<(), Error> {
    let now = "SELECT (extract(epoch FROM now()) * 1000000)::bigint";
    let now = tx.query_one(now, &[]).await?.get(0);
    make(tx, Timestamp(now)).await.map(drop)
}

/// Makes this month and those ahead, if they are missing.
async fn make(tx: &Transaction<'_>, now: Timestamp) -> Result<Vec<String>, Error> {
    let months = "SELECT 'attempt_' || to_char(month, 'YYYY_MM'),
               (extract(epoch FROM month) * 1000000)::bigint,
               (extract(epoch FROM month + interval '1 month') * 1000000)::bigint
             FROM (SELECT date_trunc('month', to_timestamp($1::bigint / 1000000) AT TIME ZONE 'UTC')
                     + make_interval(months => ahead) AS month
                   FROM generate_series(0, $2) AS ahead) AS months
             WHERE NOT EXISTS (SELECT 1 FROM pg_class
               WHERE relname = 'attempt_' || to_char(month, 'YYYY_MM')
                 AND relnamespace = to_regnamespace(current_schema()))
             ORDER BY 1";
    let mut made = Vec::new();
    for row in tx.query(months, &[&now.0, &AHEAD]).await? {
        let month: (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if make_month(tx, &month.0, month.1, month.2).await? {
            made.push(month.0);
        }
    }
    Ok(made)
}

/// Makes a month, with the lines of it that lie in the rest; not if those are too many.
/// It is made apart and then attached, which keeps nobody from writing.
async fn make_month(tx: &Transaction<'_>, name: &str, from: i64, to: i64) -> Result<bool, Error> {
    // Else a line could come into the rest between the moving and the attaching.
    tx.batch_execute("LOCK TABLE attempt_rest IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    let count = "SELECT count(*) FROM (
        SELECT FROM attempt_rest WHERE at >= $1 AND at < $2 LIMIT $3) AS found";
    let count = tx
        .query_one(count, &[&from, &to, &more_than_moved()])
        .await?;
    if count.get::<_, i64>(0) >= more_than_moved() {
        return Ok(false);
    }
    let sql = format!(
        "CREATE TABLE {name} (LIKE attempt INCLUDING ALL);
         WITH moved AS (DELETE FROM attempt_rest WHERE at >= {from} AND at < {to} RETURNING *)
           INSERT INTO {name} SELECT * FROM moved;
         ALTER TABLE attempt ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
    );
    tx.batch_execute(&sql).await?;
    Ok(true)
}

/// Drops the oldest month that ended before and can be dropped; gives its name and how
/// many lines it left behind.
async fn drop_oldest(
    tx: &Transaction<'_>,
    before: Timestamp,
) -> Result<Option<(String, u64)>, Error> {
    let ended = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'attempt'::regclass
               AND to_date(substring(c.relname FROM '^attempt_(\\d{4}_\\d{2})$'), 'YYYY_MM')
                 + interval '1 month' <= to_timestamp($1::bigint / 1000000) AT TIME ZONE 'UTC'
             ORDER BY 1";
    for row in tx.query(ended, &[&before.0]).await? {
        let name: String = row.get(0);
        if let Some(moved) = drop_month(tx, &name, before).await? {
            return Ok(Some((name, moved)));
        }
        tracing::info!(
            name,
            "a month of attempts is kept: too many of its lines are still needed"
        );
    }
    Ok(None)
}

/// Which lines must stay is found before anybody is locked out.
async fn drop_month(
    tx: &Transaction<'_>,
    name: &str,
    before: Timestamp,
) -> Result<Option<u64>, Error> {
    tx.batch_execute(&format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"))
        .await?;
    let needed = format!(
        "SELECT a.award_id, a.n FROM {name} a LEFT JOIN delivery d ON d.award_id = a.award_id
         WHERE (d.state IN ('delivered', 'cancelled') AND d.ended_at < $1) IS NOT TRUE LIMIT $2"
    );
    let rows = tx.query(&needed, &[&before.0, &more_than_moved()]).await?;
    if rows.len() > MOVED_MAX {
        return Ok(None);
    }
    let awards: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let numbers: Vec<i32> = rows.iter().map(|row| row.get(1)).collect();
    tx.batch_execute(&format!("ALTER TABLE attempt DETACH PARTITION {name}"))
        .await?;
    let keep = format!(
        "INSERT INTO attempt SELECT a.* FROM {name} a
         JOIN (SELECT unnest($1::bigint[]) AS award_id, unnest($2::integer[]) AS n) AS k
           USING (award_id, n)"
    );
    let moved = tx.execute(&keep, &[&awards, &numbers]).await?;
    tx.batch_execute(&format!("DROP TABLE {name}")).await?;
    Ok(Some(moved))
}
