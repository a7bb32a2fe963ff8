//! Brings a database to the schema of this version, each migration in a transaction of
//! its own. Many processes may start at once: each transaction holds one lock of the
//! whole database, and looks behind it at what is there.
//!
//! A database that a newer version has migrated says, with each migration, which schema a
//! program has to know to work on it. A migration that only adds what older programs need
//! not know leaves that as it was, so they go on, also when they start anew: that is an
//! upgrade without a pause, and the way back (`docs/decisions/0019-upgrades.md`). Any other
//! is refused by the older program and left as it is: it would read it wrongly.

use super::error::failed;
use super::options::PostgresOptions;
use super::session::Opener;
use super::version;
use super::{partitions, restore};
use crate::sqlite::Schema;
use crate::transfer;
use std::time::Duration;
use tokio_postgres::types::FromSql;
use tokio_postgres::{Client, Error, GenericClient, Transaction};
use tombola_core::ports::{StoreError, StoreResult};

/// Names the lock under which one process of many migrates ("tombola" in ASCII).
const MIGRATION_LOCK: i64 = 0x0074_6f6d_626f_6c61;
/// How long one process waits for another that migrates.
const MIGRATION_WAIT_MAX: Duration = Duration::from_mins(10);

/// One step of the schema. Released ones are never edited.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    /// The schema that a program has to know to work on a database with this one: its own
    /// version, or an older one where all that it does is to add a table, an index, or a
    /// column that may be null or has a default.
    pub(super) needs: i64,
    pub(super) sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "init",
        needs: 1,
        sql: include_str!("../../migrations/postgres/0001_init.sql"),
    },
    Migration {
        version: 2,
        name: "process",
        needs: 2,
        sql: include_str!("../../migrations/postgres/0002_process.sql"),
    },
    Migration {
        version: 3,
        name: "adopted",
        // It adds a table only; but draws without a request are new to what audits them.
        needs: 3,
        sql: include_str!("../../migrations/postgres/0003_adopted.sql"),
    },
];

/// The newest schema of this version, which the next one follows.
#[cfg(feature = "next-version")]
pub(super) const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// What this program knows, in order.
fn known() -> impl Iterator<Item = &'static Migration> {
    #[cfg(feature = "next-version")]
    return MIGRATIONS.iter().chain(super::next::migration());
    #[cfg(not(feature = "next-version"))]
    MIGRATIONS.iter()
}

fn newest() -> i64 {
    known().last().map_or(0, |it| it.version)
}

/// What of a database may be unfinished for whoever opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    Nothing,
    Transfer,
    Restore,
}

/// Makes sure that the schema is the one of this program and that no transfer has yet to
/// bring rows, unless it is the transfer that asks; gives the database's own uuid.
pub(super) async fn ready(
    opener: &Opener,
    may_migrate: bool,
    may_be: Unfinished,
) -> StoreResult<String> {
    let (mut client, _alive) = version::connect(opener).await?;
    let found = opener.deadline.within(schema_of(&client)).await?;
    if may_migrate && found.present < found.newest {
        apply(&mut client).await?;
    } else {
        check(found)?;
    }
    // Before anything is written: also the uuid comes with the rows.
    let whole = is_whole(&client, may_be);
    opener.deadline.within(whole).await??;
    opener.deadline.within(origin(&client)).await
}

/// Refuses a database of which something is unfinished that may not be.
pub(crate) async fn is_whole(
    client: &Client,
    may_be: Unfinished,
) -> Result<StoreResult<()>, Error> {
    let may_lack_rows = may_be == Unfinished::Transfer;
    if !may_lack_rows && let Err(unfinished) = transfer::on_connect(client).await? {
        return Ok(Err(unfinished));
    }
    if may_be == Unfinished::Nothing {
        return restore::on_connect(client).await;
    }
    Ok(Ok(()))
}

fn check(found: Schema) -> StoreResult<()> {
    let Schema {
        present, newest, ..
    } = found;
    if present < newest {
        return Err(StoreError::Schema(format!(
            "the database has version {present}, this program needs version {newest}: run `tombola migrate up`"
        )));
    }
    check_newer(found)
}

/// Whether a database that may be newer may be used.
fn check_newer(found: Schema) -> StoreResult<()> {
    let Schema {
        present,
        newest,
        needs,
    } = found;
    if needs <= newest {
        return Ok(());
    }
    Err(StoreError::Schema(format!(
        "the database has version {present}, this program knows versions up to {newest}, and {needs} is \
         needed there: use the newer program"
    )))
}

/// Reads the schema of a database without changing it.
pub async fn schema(options: &PostgresOptions) -> StoreResult<Schema> {
    let opener = Opener::new(options, false)?;
    let (client, _alive) = version::connect(&opener).await?;
    opener.deadline.within(schema_of(&client)).await
}

/// The names of what [`up`] would apply, in order.
pub async fn plan(options: &PostgresOptions) -> StoreResult<Vec<String>> {
    let found = schema(options).await?;
    check_newer(found)?;
    let missing = known().filter(|it| it.version > found.present);
    Ok(missing
        .map(|it| format!("{:04}_{}", it.version, it.name))
        .collect())
}

/// Applies what is missing; gives the versions applied now.
pub async fn up(options: &PostgresOptions) -> StoreResult<Vec<i64>> {
    let (mut client, _alive) = version::connect(&Opener::new(options, false)?).await?;
    apply(&mut client).await
}

/// The schema of an open database.
pub(super) async fn schema_of(client: &impl GenericClient) -> Result<Schema, Error> {
    let mut schema = Schema {
        present: 0,
        newest: newest(),
        needs: 0,
    };
    if has_migrations(client).await? {
        let sql = "SELECT coalesce(max(version), 0), coalesce(max(needs), 0) FROM migration";
        let row = client.query_one(sql, &[]).await?;
        (schema.present, schema.needs) = (row.try_get(0)?, row.try_get(1)?);
    }
    Ok(schema)
}

async fn apply(client: &mut Client) -> StoreResult<Vec<i64>> {
    let mut applied = Vec::new();
    while let Some(version) = next(client).await? {
        applied.push(version);
    }
    Ok(applied)
}

/// Applies the first migration that is missing.
async fn next(client: &mut Client) -> StoreResult<Option<i64>> {
    let tx = client.transaction().await.map_err(failed)?;
    lock(&tx).await?;
    let found = prepare(&tx).await?;
    check_newer(found)?;
    let Some(it) = known().find(|it| it.version > found.present) else {
        return Ok(None);
    };
    tx.batch_execute(it.sql).await.map_err(failed)?;
    tx.execute(
        "INSERT INTO migration (version, name, needs) VALUES ($1, $2, $3)",
        &[&it.version, &it.name, &it.needs],
    )
    .await
    .map_err(failed)?;
    if it.version == newest() {
        // So that the lines of the first months are in them and not in the rest.
        partitions::make_ahead(&tx).await.map_err(failed)?;
    }
    tx.commit().await.map_err(failed)?;
    tracing::info!(
        version = it.version,
        name = it.name,
        "migrated the database"
    );
    Ok(Some(it.version))
}

/// Waits for other processes that migrate. A migration itself may take long, but must
/// not wait long for a lock: whoever comes after it for the same table waits as well.
async fn lock(tx: &Transaction<'_>) -> StoreResult<()> {
    let wait = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {}; \
         SELECT pg_advisory_xact_lock({MIGRATION_LOCK}); SET LOCAL lock_timeout = {}",
        MIGRATION_WAIT_MAX.as_millis(),
        super::options::LOCK_WAIT_MAX.as_millis(),
    );
    tx.batch_execute(&wait).await.map_err(failed)
}

/// Makes the table of migrations where there is none, and gives the schema.
async fn prepare(tx: &Transaction<'_>) -> StoreResult<Schema> {
    if !has_migrations(tx).await.map_err(failed)? {
        if has_tables(tx).await.map_err(failed)? {
            return Err(StoreError::Schema(
                "the database has tables of another program: give tombola a database of its own"
                    .to_owned(),
            ));
        }
        tx.batch_execute(
            "CREATE TABLE migration (
               version    bigint PRIMARY KEY,
               name       text NOT NULL,
               needs      bigint NOT NULL,
               applied_at text NOT NULL
                 DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             )",
        )
        .await
        .map_err(failed)?;
    }
    schema_of(tx).await.map_err(failed)
}

/// By a look into the catalog and not by `to_regclass`: that may answer from what the
/// session remembers of before it waited for the lock.
async fn has_migrations(client: &impl GenericClient) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_class
               WHERE relname = 'migration' AND relnamespace = to_regnamespace(current_schema()))";
    one(client, sql).await
}

/// Whether there are tables that no extension made.
async fn has_tables(client: &impl GenericClient) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (
        SELECT 1 FROM pg_class c
        WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'))";
    one(client, sql).await
}

/// The database's own uuid, made when it was first opened.
async fn origin(client: &Client) -> Result<String, Error> {
    let read = "SELECT value FROM meta WHERE name = 'origin'";
    if let Some(row) = client.query_opt(read, &[]).await? {
        return row.try_get(0);
    }
    let make = "INSERT INTO meta (name, value) VALUES ('origin', gen_random_uuid()::text)
                ON CONFLICT DO NOTHING";
    client.execute(make, &[]).await?;
    one(client, read).await
}

async fn one<T>(client: &impl GenericClient, sql: &str) -> Result<T, Error>
where
    T: for<'a> FromSql<'a>,
{
    client.query_one(sql, &[]).await?.try_get(0)
}
