//! What `doctor` wants to know of the server: whether it keeps what it says it has
//! committed, whether our limits are in force, and what keeps it from tidying up.

use super::error::{get, inconsistent};
use super::migrate;
use super::pool::Postgres;
use super::session::{Deadline, Opener, Param};
use crate::sqlite::Schema;
use serde::Serialize;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use tombola_core::Timestamp;
use tombola_core::limits::DOCTOR_NAMED_MAX;
use tombola_core::ports::StoreResult;

/// The civil time of this machine.
pub type Wall = fn() -> Timestamp;

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
    /// Standbys that follow it now, synchronous or not.
    pub standbys: i64,
    /// Whether it writes to the disk before it says so. Without it a crash of the machine
    /// may destroy the database.
    pub has_fsync: bool,
    /// Whether a page that was torn in a crash can be mended.
    pub has_full_page_writes: bool,
    /// Its clock, in microseconds since 1970.
    pub now: i64,
    /// How far that is ahead of this machine's clock, in microseconds.
    pub clock_ahead: i64,
    /// Connections that it takes, of all programs together.
    pub connections_max: i64,
    /// Those of them that are kept for other roles.
    pub connections_reserved: i64,
    /// Connections that this database, or our role, may have; `None` where nobody set a
    /// bound.
    pub connections_limit: Option<i64>,
    /// Those that there are.
    pub connections_used: i64,
    /// Of those, the ones to other databases.
    pub connections_elsewhere: i64,
    /// Connections that a process with our settings may have.
    pub connections_ours: i64,
    /// Settings of our session that are not what we set. A pooler that shares its own
    /// connections by transaction loses them.
    pub settings_lost: Vec<LostSetting>,
    /// Whether two of our connections had one of the server's in turn: there is a pooler
    /// that shares them by transaction.
    pub is_pooled: bool,
    /// Time-outs that the server has for us, and that we do not set ourselves.
    pub timeouts: Vec<ServerTimeout>,
    /// Version of TLS in use, to the server or to the pooler's side of it.
    pub tls_version: Option<String>,
    /// Whether every host of the url is this machine.
    pub is_near: bool,
    /// The schema that the database has.
    pub schema_present: i64,
    /// The newest schema that this program knows.
    pub schema_newest: i64,
    /// The schema that a program has to know to work on that of the database.
    pub schema_needs: i64,
    /// The transactions of this database that have been open longest. Of other roles only
    /// if ours may see them, as members of `pg_read_all_stats` do.
    pub transactions: Vec<OpenTransaction>,
    /// Who may still want to see the oldest state. What was changed since cannot be
    /// tidied away.
    pub oldest_snapshot: Option<HeldSnapshot>,
    /// Whether tables are tidied by themselves. Without it they only grow.
    pub has_autovacuum: bool,
    /// Of this month and the next, those for whose attempts no partition was made. Those
    /// after them may be made a little later.
    pub months_missing: Vec<String>,
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

/// A time-out of the server, set by its file, for the database or for our role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServerTimeout {
    /// Its name.
    pub name: String,
    /// How long, in milliseconds.
    pub ms: i64,
    /// Where it was set, as `pg_settings` says it.
    pub source: String,
}

/// A transaction that somebody has open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenTransaction {
    /// The server's process of it.
    pub pid: i64,
    /// The program, as it calls itself.
    pub application: String,
    /// The role it came as.
    pub role: String,
    /// What it does, such as `idle in transaction`.
    pub state: String,
    /// For how long, in milliseconds.
    pub open_ms: i64,
}

/// Who keeps an old state of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HeldSnapshot {
    /// `session`, `prepared` (a transaction in two steps) or `slot` (of a standby).
    pub kind: String,
    /// The session's process on the server, or the other's name.
    pub name: String,
    /// The program of a session, as it calls itself.
    pub application: String,
    /// How many transactions ago that state was.
    pub transactions: i64,
}

const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

// What a role may not see of others' sessions is null, their kind too.
const SERVER: &str = "WITH client AS (
    SELECT datname FROM pg_stat_activity
    WHERE datid IS NOT NULL AND usesysid IS NOT NULL
      AND coalesce(backend_type, 'client backend') = 'client backend')
SELECT current_setting('server_version'),
  current_setting('server_version_num')::bigint,
  pg_is_in_recovery(),
  current_setting('synchronous_commit'),
  current_setting('synchronous_standby_names'),
  current_setting('fsync')::boolean,
  current_setting('full_page_writes')::boolean,
  current_setting('max_connections')::bigint,
  current_setting('superuser_reserved_connections')::bigint
    + coalesce(current_setting('reserved_connections', true)::bigint, 0),
  (SELECT least(nullif(datconnlimit, -1), nullif(rolconnlimit, -1))::bigint
   FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = session_user),
  (SELECT count(*) FROM client),
  (SELECT count(*) FROM client WHERE datname <> current_database()),
  (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
  current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean,
  (SELECT count(*) FROM pg_stat_replication r WHERE r.state IS DISTINCT FROM 'backup'
     AND NOT EXISTS (SELECT 1 FROM pg_replication_slots s
                     WHERE s.active_pid = r.pid AND s.slot_type = 'logical'))";

const TRANSACTIONS: &str = "SELECT pid::bigint, coalesce(application_name, ''),
    coalesce(usename::text, ''), coalesce(state, ''),
    (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint
  FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND xact_start IS NOT NULL
  ORDER BY xact_start LIMIT $1";

// Sessions of other databases keep nothing of this one.
const SNAPSHOT: &str = "SELECT kind, name, application, xids::bigint FROM (
    SELECT 'session', pid::text, coalesce(application_name, ''), age(backend_xmin)
    FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
      AND coalesce(backend_type, '') <> 'autovacuum worker'
    UNION ALL SELECT 'prepared', gid, '', age(transaction) FROM pg_prepared_xacts
    WHERE database = current_database()
    UNION ALL SELECT 'slot', slot_name::text, '', greatest(age(xmin), age(catalog_xmin))
    FROM pg_replication_slots WHERE database = current_database() OR database IS NULL
  ) AS kept (kind, name, application, xids)
  WHERE xids IS NOT NULL ORDER BY xids DESC LIMIT 1";

// Those that we set ourselves are not among them; the second is there from version 17 on.
const TIMEOUTS: &str = "SELECT name, setting::bigint, source FROM pg_settings
  WHERE name IN ('idle_session_timeout', 'transaction_timeout') AND setting::bigint > 0
  ORDER BY name";

const MONTHS: &str = "SELECT to_char(month, 'YYYY-MM')
  FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)
        FROM generate_series(0, 1) AS ahead) AS months (month)
  WHERE NOT EXISTS (SELECT 1 FROM pg_class
    WHERE relname = 'attempt_' || to_char(month, 'YYYY_MM')
      AND relnamespace = to_regnamespace(current_schema()))
  ORDER BY 1";

impl ServerFacts {
    /// Whether this program may work on the schema of the database.
    pub fn schema_fits(&self) -> bool {
        let schema = Schema {
            present: self.schema_present,
            newest: self.schema_newest,
            needs: self.schema_needs,
        };
        schema.fits()
    }
}

impl Postgres {
    /// Looks at the server; `wall` is this machine's time.
    pub async fn facts(&self, wall: Wall) -> StoreResult<ServerFacts> {
        let connections = self.state().max + self.reads_state().max;
        let session = self.take().await?;
        let asked = Asked {
            client: session.client(),
            deadline: &session.deadline,
        };
        let facts = facts(&asked, self.opener(), connections, wall).await;
        session.end(facts)
    }

    /// The server's clock.
    pub async fn now(&self) -> StoreResult<Timestamp> {
        let session = self.take().await?;
        let asked = Asked {
            client: session.client(),
            deadline: &session.deadline,
        };
        let now = asked.one(CLOCK).await;
        Ok(Timestamp(session.end(now)?))
    }
}

/// A connection that is asked.
pub(super) struct Asked<'a> {
    pub(super) client: &'a Client,
    pub(super) deadline: &'a Deadline,
}

/// On a connection of that opener, of whose settings a process may have `connections`.
pub(super) async fn facts(
    asked: &Asked<'_>,
    opener: &Opener,
    connections: usize,
    wall: Wall,
) -> StoreResult<ServerFacts> {
    let settings_lost = lost(asked, &opener.settings()).await?;
    let is_pooled = is_pooled(asked, opener).await?;
    let schema = migrate::schema_of(asked.client);
    let schema = asked.deadline.within(schema).await?;
    let (now, clock_ahead) = clock(asked, wall).await?;
    let row = asked.row(SERVER, &[]).await?;
    Ok(ServerFacts {
        version: get(&row, 0)?,
        version_number: get(&row, 1)?,
        is_in_recovery: get(&row, 2)?,
        synchronous_commit: get(&row, 3)?,
        synchronous_standby_names: get(&row, 4)?,
        standbys: get(&row, 14)?,
        has_fsync: get(&row, 5)?,
        has_full_page_writes: get(&row, 6)?,
        now,
        clock_ahead,
        connections_max: get(&row, 7)?,
        connections_reserved: get(&row, 8)?,
        connections_limit: get(&row, 9)?,
        connections_used: get(&row, 10)?,
        connections_elsewhere: get(&row, 11)?,
        connections_ours: i64::try_from(connections).unwrap_or(i64::MAX),
        settings_lost,
        is_pooled,
        timeouts: timeouts(asked).await?,
        tls_version: get(&row, 12)?,
        is_near: opener.is_near(),
        schema_present: schema.present,
        schema_newest: schema.newest,
        schema_needs: schema.needs,
        transactions: transactions(asked).await?,
        oldest_snapshot: snapshot(asked).await?,
        has_autovacuum: get(&row, 13)?,
        months_missing: months(asked).await?,
    })
}

/// Whether a second connection, which is in a transaction, has the connection of the
/// server that the first one had, or has taken it away from it. What is asked has no
/// prepared statement: that may be the very thing which such a pooler loses.
pub(super) async fn is_pooled(asked: &Asked<'_>, opener: &Opener) -> StoreResult<bool> {
    let before = asked.backend().await?;
    let Ok((client, _alive)) = opener.connect().await else {
        return Ok(false); // there is no room for a second one
    };
    let other = Asked {
        client: &client,
        deadline: asked.deadline,
    };
    let begin = client.batch_execute("BEGIN");
    asked.deadline.within(begin).await?;
    // While this one is in its transaction the pooler may have none left for the first.
    let is_pooled = other.backend().await? == before || asked.backend().await? != before;
    let end = client.batch_execute("ROLLBACK");
    asked.deadline.within(end).await?;
    Ok(is_pooled)
}

/// The server's time, and how far it is ahead of ours half-way through the question.
async fn clock(asked: &Asked<'_>, wall: Wall) -> StoreResult<(i64, i64)> {
    let statement = asked.deadline.within(asked.client.prepare(CLOCK)).await?;
    let before = wall().0;
    let row = asked.client.query_one(&statement, &[]);
    let now: i64 = get(&asked.deadline.within(row).await?, 0)?;
    let half_way = before + (wall().0 - before) / 2;
    Ok((now, now - half_way))
}

async fn lost(
    asked: &Asked<'_>,
    settings: &[(&'static str, String)],
) -> StoreResult<Vec<LostSetting>> {
    let mut lost = Vec::new();
    for (name, expected) in settings {
        let sql = "SELECT setting FROM pg_settings WHERE name = $1";
        let found: String = get(&asked.row(sql, &[name]).await?, 0)?;
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

async fn transactions(asked: &Asked<'_>) -> StoreResult<Vec<OpenTransaction>> {
    let most = i64::try_from(DOCTOR_NAMED_MAX).unwrap_or(i64::MAX);
    let rows = asked.rows(TRANSACTIONS, &[&most]).await?;
    rows.iter()
        .map(|row| {
            Ok(OpenTransaction {
                pid: get(row, 0)?,
                application: get(row, 1)?,
                role: get(row, 2)?,
                state: get(row, 3)?,
                open_ms: get(row, 4)?,
            })
        })
        .collect()
}

async fn snapshot(asked: &Asked<'_>) -> StoreResult<Option<HeldSnapshot>> {
    let rows = asked.rows(SNAPSHOT, &[]).await?;
    rows.first()
        .map(|row| {
            Ok(HeldSnapshot {
                kind: get(row, 0)?,
                name: get(row, 1)?,
                application: get(row, 2)?,
                transactions: get(row, 3)?,
            })
        })
        .transpose()
}

async fn timeouts(asked: &Asked<'_>) -> StoreResult<Vec<ServerTimeout>> {
    let rows = asked.rows(TIMEOUTS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(ServerTimeout {
                name: get(row, 0)?,
                ms: get(row, 1)?,
                source: get(row, 2)?,
            })
        })
        .collect()
}

async fn months(asked: &Asked<'_>) -> StoreResult<Vec<String>> {
    let rows = asked.rows(MONTHS, &[]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

impl Asked<'_> {
    /// The server's process of this connection, as the server writes it.
    async fn backend(&self) -> StoreResult<String> {
        let asked = self.client.simple_query("SELECT pg_backend_pid()");
        let answer = self.deadline.within(asked).await?;
        let row = answer.iter().find_map(|it| {
            let SimpleQueryMessage::Row(row) = it else {
                return None;
            };
            row.get(0).map(str::to_owned)
        });
        row.ok_or_else(|| inconsistent("the server gave no row"))
    }

    async fn one<T: for<'a> FromSql<'a>>(&self, sql: &str) -> StoreResult<T> {
        get(&self.row(sql, &[]).await?, 0)
    }

    async fn row(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<Row> {
        let row = self
            .deadline
            .within(self.client.query_opt(sql, params))
            .await?;
        row.ok_or_else(|| inconsistent("the server gave no row"))
    }

    async fn rows(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<Vec<Row>> {
        self.deadline.within(self.client.query(sql, params)).await
    }
}
