//! Databases of their own on a server: for the demo, which never plays in a database
//! that somebody uses.

use super::error::failed;
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

async fn run(options: &PostgresOptions, sql: &str) -> StoreResult<()> {
    let (client, _alive) = Opener::new(options, false)?.connect().await?;
    client.batch_execute(sql).await.map_err(failed)
}
