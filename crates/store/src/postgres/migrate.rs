//! Brings a database to the schema of this version, each migration in a transaction of
//! its own. Many processes may start at once: each transaction holds one lock of the
//! whole database, and looks behind it at what is there. A database from a newer version
//! is refused and left as it is: the older code would read it wrongly.

use super::error::failed;
use super::options::PostgresOptions;
use super::partitions;
use super::session::Opener;
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
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "init",
        sql: include_str!("../../migrations/postgres/0001_init.sql"),
    },
    Migration {
        version: 2,
        name: "process",
        sql: include_str!("../../migrations/postgres/0002_process.sql"),
    },
    Migration {
        version: 3,
        name: "adopted",
        sql: include_str!("../../migrations/postgres/0003_adopted.sql"),
    },
];

const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Makes sure that the schema is the one of this program and that no transfer has yet to
/// bring rows, unless it is the transfer that asks; gives the database's own uuid.
pub(super) async fn ready(
    opener: &Opener,
    may_migrate: bool,
    is_for_transfer: bool,
) -> StoreResult<String> {
    let (mut client, _alive) = opener.connect().await?;
    let found = opener.deadline.within(schema_of(&client)).await?;
    if may_migrate && found.present < found.newest {
        apply(&mut client).await?;
    } else {
        check(found)?;
    }
    if !is_for_transfer {
        // Before anything is written: also the uuid comes with the rows.
        opener
            .deadline
            .within(transfer::on_connect(&client))
            .await??;
    }
    opener.deadline.within(origin(&client)).await
}

fn check(found: Schema) -> StoreResult<()> {
    let Schema { present, newest } = found;
    if present > newest {
        return Err(newer(present));
    }
    if present < newest {
        return Err(StoreError::Schema(format!(
            "the database has version {present}, this program needs version {newest}: run `tombola migrate up`"
        )));
    }
    Ok(())
}

fn newer(present: i64) -> StoreError {
    StoreError::Schema(format!(
        "the database has version {present}, this program knows versions up to {NEWEST}: use the newer program"
    ))
}

/// Reads the schema of a database without changing it.
pub async fn schema(options: &PostgresOptions) -> StoreResult<Schema> {
    let opener = Opener::new(options, false)?;
    let (client, _alive) = opener.connect().await?;
    opener.deadline.within(schema_of(&client)).await
}

/// The names of what [`up`] would apply, in order.
pub async fn plan(options: &PostgresOptions) -> StoreResult<Vec<String>> {
    let present = schema(options).await?.present;
    if present > NEWEST {
        return Err(newer(present));
    }
    let missing = MIGRATIONS.iter().filter(|it| it.version > present);
    Ok(missing
        .map(|it| format!("{:04}_{}", it.version, it.name))
        .collect())
}

/// Applies what is missing; gives the versions applied now.
pub async fn up(options: &PostgresOptions) -> StoreResult<Vec<i64>> {
    let (mut client, _alive) = Opener::new(options, false)?.connect().await?;
    apply(&mut client).await
}

/// The schema of an open database.
pub(super) async fn schema_of(client: &Client) -> Result<Schema, Error> {
    Ok(Schema {
        present: present(client).await?,
        newest: NEWEST,
    })
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
    let present = prepare(&tx).await?;
    if present > NEWEST {
        return Err(newer(present));
    }
    let Some(it) = MIGRATIONS.iter().find(|it| it.version > present) else {
        return Ok(None);
    };
    tx.batch_execute(it.sql).await.map_err(failed)?;
    tx.execute(
        "INSERT INTO migration (version, name) VALUES ($1, $2)",
        &[&it.version, &it.name],
    )
    .await
    .map_err(failed)?;
    if it.version == NEWEST {
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

/// Makes the table of migrations where there is none, and gives the version.
async fn prepare(tx: &Transaction<'_>) -> StoreResult<i64> {
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
               applied_at text NOT NULL
                 DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             )",
        )
        .await
        .map_err(failed)?;
    }
    present(tx).await.map_err(failed)
}

/// The version of the database, 0 if it has none.
async fn present(client: &impl GenericClient) -> Result<i64, Error> {
    if !has_migrations(client).await? {
        return Ok(0);
    }
    one(client, "SELECT coalesce(max(version), 0) FROM migration").await
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
