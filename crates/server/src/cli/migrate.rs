//! `tombola migrate …`: which schema the database has, and the newest one. With
//! PostgreSQL `serve` refuses a database that is behind, so that a new version on one
//! machine does not change it under the old version on the others.

use super::context::{Context, Usage};
use crate::app::{App, OpenError};
use crate::config::Config;
use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use std::cmp::Ordering;
use std::process::ExitCode;
use tombola_core::ports::StoreError;
use tombola_store::postgres::{PostgresOptions, migrate};
use tombola_store::{Schema, Store};

/// The schema of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum MigrateCommand {
    /// Say which schema the database has: exit code 1 if this program cannot work on it
    Status,
    /// Name what `up` would apply, in order
    Plan,
    /// Bring the database to the schema of this version
    Up,
}

pub(super) async fn run(
    command: MigrateCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    if context.is_afar() {
        return Err(Usage(
            "migrate works on a database of this machine, not on a server".to_owned(),
        )
        .into());
    }
    let config = context.load_config(Vec::new())?.config;
    let postgres = config.database.postgres()?;
    if command == MigrateCommand::Plan {
        let plan = match &postgres {
            Some(options) => migrate::plan(options).await?,
            None => Store::migrations_missing(&config.database.file().unwrap_or_default())?,
        };
        context
            .out
            .either(&json!({ "plan": plan }), || match plan.as_slice() {
                [] => "nothing to apply".to_owned(),
                plan => plan.join("\n"),
            })?;
        return Ok(ExitCode::SUCCESS);
    }
    if command == MigrateCommand::Up {
        up(&config, postgres.as_ref()).await?;
    }
    let schema = match &postgres {
        Some(options) => migrate::schema(options).await?,
        None => schema(&config)?,
    };
    let fits = schema.fits();
    let document = json!({
        "present": schema.present, "newest": schema.newest, "needs": schema.needs,
        "is_newest": schema.present == schema.newest, "fits": fits,
    });
    context.out.either(&document, || {
        let said = match schema.present.cmp(&schema.newest) {
            Ordering::Less => "`tombola migrate up` brings it up to date",
            Ordering::Equal => "up to date",
            Ordering::Greater if fits => "a newer program migrated it, and this one may work on it",
            Ordering::Greater => "a newer program migrated it: use the newer program",
        };
        format!("schema {} of {}: {said}", schema.present, schema.newest)
    })?;
    Ok(if fits {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn up(config: &Config, postgres: Option<&PostgresOptions>) -> anyhow::Result<()> {
    if let Some(options) = postgres {
        return migrate::up(options).await.map(drop).map_err(rights);
    }
    match App::open(config.clone()).await {
        Ok(app) => app.stop().await,
        // Whoever has it open has brought it up to date before.
        Err(OpenError::Locked(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What to do where the role may not.
fn rights(error: StoreError) -> anyhow::Error {
    if matches!(&error, StoreError::Schema(what) if what.contains("(42501)")) {
        return anyhow::anyhow!(
            "{error}\ngive the role of database.url a database that it owns (ALTER DATABASE … OWNER TO …); it owns \
             its tables also while it serves: months of the history are made and dropped"
        );
    }
    error.into()
}

fn schema(config: &Config) -> anyhow::Result<Schema> {
    let file = config.database.file().unwrap_or_default();
    Store::schema(&file).with_context(|| file.display().to_string())
}
