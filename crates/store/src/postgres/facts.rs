//! What `doctor` wants to know of the server: whether it keeps what it says it has
//! committed, whether our limits are in force, and what keeps it from tidying up.

use super::error::{get, inconsistent};
use super::migrate;
use super::pool::Postgres;
use super::session::{Param, Session};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use tombola_core::Timestamp;
use tombola_core::ports::StoreResult;

/// The server and our connection to it, as they are now.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one setting of the server, and none excludes another"
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServerFacts {
    /// Its version, as it writes it.
    pub version: String,
    /// The same as a number, such as 150004.
    pub version_number: i64,
    /// Whether it is a standby, which takes no writes.
    pub is_in_recovery: bool,
    /// What a commit waits for. With `off`, what was answered may be lost in a crash.
    pub synchronous_commit: String,
    /// Which standbys a commit waits for; empty: none.
    pub synchronous_standby_names: String,
    /// Whether it writes to the disk before it says so. Without it a crash of the machine
    /// may destroy the database.
    pub has_fsync: bool,
    /// Whether a page that was torn in a crash can be mended.
    pub has_full_page_writes: bool,
    /// Its clock, in microseconds since 1970.
    pub now: i64,
    /// Connections that it takes, of all programs together.
    pub connections_max: i64,
    /// Those that there are.
    pub connections_used: i64,
    /// Settings of our session that are not what we set. A pooler that shares its own
    /// connections by transaction loses them.
    pub settings_lost: Vec<LostSetting>,
    /// Whether two transactions of one session had two connections to the server: there
    /// is a pooler that shares them. One that happens to give the same one is not seen.
    pub is_pooled: bool,
    /// Version of TLS in use, to the server or to the pooler's side of it.
    pub tls_version: Option<String>,
    /// The schema that the database has.
    pub schema_present: i64,
    /// The newest schema that this program knows.
    pub schema_newest: i64,
    /// For how long the oldest transaction of another program in this database has been
    /// open, in milliseconds. Of other roles only if ours may see them, as members of
    /// `pg_read_all_stats` do; so it is with the next one.
    pub oldest_transaction_ms: Option<i64>,
    /// How many transactions ago the oldest state is that somebody still may want to see:
    /// a transaction, one that was prepared, a slot of a standby. What was changed since
    /// cannot be tidied away.
    pub oldest_snapshot_transactions: Option<i64>,
    /// Whether tables are tidied by themselves. Without it they only grow.
    pub has_autovacuum: bool,
}

/// A setting that did not stay as we set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LostSetting {
    /// Its name.
    pub name: String,
    /// What we set; times are in milliseconds.
    pub expected: String,
    /// What it is.
    pub found: String,
}

const SERVER: &str = "SELECT current_setting('server_version'),
  current_setting('server_version_num')::bigint,
  pg_is_in_recovery(),
  current_setting('synchronous_commit'),
  current_setting('synchronous_standby_names'),
  current_setting('fsync')::boolean,
  current_setting('full_page_writes')::boolean,
  (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  current_setting('max_connections')::bigint,
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
  (SELECT (extract(epoch FROM max(clock_timestamp() - xact_start)) * 1000)::bigint
   FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
     AND backend_type = 'client backend'),
  (SELECT max(xids)::bigint FROM (
     SELECT age(backend_xmin) FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'
     UNION ALL SELECT age(transaction) FROM pg_prepared_xacts
     UNION ALL SELECT greatest(age(xmin), age(catalog_xmin)) FROM pg_replication_slots
   ) AS kept (xids)),
  current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean";

impl Postgres {
    /// Looks at the server.
    pub async fn facts(&self) -> StoreResult<ServerFacts> {
        let session = self.take().await?;
        let facts = facts(&session, &self.settings()).await;
        session.end(facts)
    }

    /// The server's clock.
    pub async fn now(&self) -> StoreResult<Timestamp> {
        let session = self.take().await?;
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
        let now = one(&session, sql).await;
        Ok(Timestamp(session.end(now)?))
    }
}

async fn facts(session: &Session, settings: &[(&'static str, String)]) -> StoreResult<ServerFacts> {
    // Each statement is a transaction of its own.
    let first: i32 = one(session, "SELECT pg_backend_pid()").await?;
    let settings_lost = lost(session, settings).await?;
    let second: i32 = one(session, "SELECT pg_backend_pid()").await?;
    let schema = session.within(migrate::schema_of(session.client())).await?;
    let row = row(session, SERVER, &[]).await?;
    Ok(ServerFacts {
        version: get(&row, 0)?,
        version_number: get(&row, 1)?,
        is_in_recovery: get(&row, 2)?,
        synchronous_commit: get(&row, 3)?,
        synchronous_standby_names: get(&row, 4)?,
        has_fsync: get(&row, 5)?,
        has_full_page_writes: get(&row, 6)?,
        now: get(&row, 7)?,
        connections_max: get(&row, 8)?,
        connections_used: get(&row, 9)?,
        settings_lost,
        is_pooled: first != second,
        tls_version: get(&row, 10)?,
        schema_present: schema.present,
        schema_newest: schema.newest,
        oldest_transaction_ms: get(&row, 11)?,
        oldest_snapshot_transactions: get(&row, 12)?,
        has_autovacuum: get(&row, 13)?,
    })
}

async fn lost(
    session: &Session,
    settings: &[(&'static str, String)],
) -> StoreResult<Vec<LostSetting>> {
    let mut lost = Vec::new();
    for (name, expected) in settings {
        let sql = "SELECT setting FROM pg_settings WHERE name = $1";
        let found: String = get(&row(session, sql, &[name]).await?, 0)?;
        if found != *expected {
            lost.push(LostSetting {
                name: (*name).to_owned(),
                expected: expected.clone(),
                found,
            });
        }
    }
    Ok(lost)
}

async fn one<T: for<'a> FromSql<'a>>(session: &Session, sql: &str) -> StoreResult<T> {
    get(&row(session, sql, &[]).await?, 0)
}

async fn row(session: &Session, sql: &str, params: &[Param<'_>]) -> StoreResult<Row> {
    let row = session
        .within(session.client.query_opt(sql, params))
        .await?;
    row.ok_or_else(|| inconsistent("the server gave no row"))
}
