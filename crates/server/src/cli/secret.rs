//! `tombola secret …`: the secrets that sign claim tokens and seal codes, addresses
//! and the secrets of endpoints. They are never printed.

use super::context::Context;
use super::show;
use crate::api::SecretRotateBody;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// The secrets of the data directory.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Make a new version in secret.key; older rows are sealed anew in the background
    Rotate(RotateArgs),
    /// Rows by version, and which versions are still needed
    Status,
}

/// `secret rotate`
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
    /// Versions that sealed rows are gone for good: let codes be imported again,
    /// without noticing those that were imported before
    #[arg(long)]
    after_loss: bool,
}

pub(super) async fn run(command: SecretCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let out = context.out;
    match command {
        SecretCommand::Rotate(args) => {
            let body = SecretRotateBody {
                after_loss: args.after_loss,
                reason: args.reason,
            };
            let made = context.api().await?.rotate_secret(&body).await?;
            let version = made.version;
            out.either(&made, || {
                format!("version {version} signs and seals from now on")
            })?;
            out.note(
                "older rows are sealed anew while a server runs; `tombola secret status` shows how far it is\n\
                 keep the older versions in secret.key: claim tokens of draws made before and request keys\n\
                 of players depend on them\n\
                 put the new secret.key where you keep its copy, apart from the backups of the database",
            );
        }
        SecretCommand::Status => {
            let secrets = context.api().await?.secrets().await?;
            if out.is_json() {
                out.json(&secrets)?;
            } else {
                let rows: Vec<_> = secrets
                    .versions
                    .iter()
                    .map(|it| show::secret_row(it, secrets.newest))
                    .collect();
                out.table(show::SECRET_HEAD, &rows)?;
                for note in show::secret_notes(&secrets) {
                    out.note(&note);
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
