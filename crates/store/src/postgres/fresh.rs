//! Databases of their own on a server: for the demo, which never plays in a database
//! that somebody uses.

use super::error::{failed, get, inconsistent};
use super::options::PostgresOptions;
use super::session::Opener;
use tombola_core::ports::StoreResult;

/// Makes the empty database `name` on the server of `options`; gives how to reach it.
/// Needs a role that may create databases.
pub async fn create(options: &PostgresOptions, name: &str) -> StoreResult<PostgresOptions> {
    run(options, &format!("CREATE DATABASE \"{name}\"")).await?;
    let mut fresh = options.clone();
    fresh.config.dbname(name);
    Ok(fresh)
}

/// Drops it, whoever is connected to it.
pub async fn remove(options: &PostgresOptions, name: &str) -> StoreResult<()> {
    let drop = format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)");
    run(options, &drop).await
}

/// Awards that are neither finished nor held at this moment.
pub async fn on_their_way(options: &PostgresOptions) -> StoreResult<u64> {
    let (client, _alive) = Opener::new(options, true)?.connect().await?;
    let sql = "SELECT count(*) FROM delivery WHERE due_at IS NOT NULL AND state <> 'held'";
    let row = client.query_one(sql, &[]).await.map_err(failed)?;
    let count: i64 = get(&row, 0)?;
    u64::try_from(count).map_err(|_| inconsistent("a count below zero"))
}

async fn run(options: &PostgresOptions, sql: &str) -> StoreResult<()> {
    let (client, _alive) = Opener::new(options, false)?.connect().await?;
    client.batch_execute(sql).await.map_err(failed)
}
