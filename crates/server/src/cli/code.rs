//! `tombola code …`: codes imported and counted, never shown.

use super::context::Context;
use super::files::{Import, import_codes};
use crate::api::ActionBody;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// The codes of prizes of kind code.
#[derive(Debug, Subcommand)]
pub enum CodeCommand {
    /// Import a file of codes, one a line: all or nothing
    Import {
        /// The campaign's slug
        campaign: String,
        /// The prize's slug
        prize: String,
        /// The file
        file: PathBuf,
        /// Pass by codes that the campaign has already
        #[arg(long)]
        skip_duplicates: bool,
        /// The request key
        #[arg(long)]
        key: Option<String>,
    },
    /// Give no more codes of an import; those that were given stay
    Withdraw {
        /// The campaign's slug
        campaign: String,
        /// The prize's slug
        prize: String,
        /// The import's number, as `code stats --json` shows it
        import: i64,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: String,
    },
    /// How many codes the prizes of a campaign have
    Stats {
        /// The campaign's slug
        campaign: String,
    },
}

pub(super) async fn run(command: CodeCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    match command {
        CodeCommand::Import {
            campaign,
            prize,
            file,
            skip_duplicates,
            key,
        } => {
            let how = Import {
                skip_duplicates,
                key,
            };
            let done = import_codes(&api, &campaign, &prize, &file, &how, context.out).await?;
            context.out.either(&done, || {
                format!(
                    "{campaign}/{prize}: {} codes imported, {} skipped",
                    done.imported, done.skipped
                )
            })?;
        }
        CodeCommand::Withdraw {
            campaign,
            prize,
            import,
            reason,
        } => {
            let reason = Some(reason);
            let done = api
                .withdraw_codes(&campaign, &prize, import, &ActionBody { reason })
                .await?;
            context.out.either(&done, || {
                format!("{campaign}/{prize}: import {import} withdrawn")
            })?;
        }
        CodeCommand::Stats { campaign } => {
            let stats =
                super::show::whole(async |page| api.code_stats(&campaign, &page).await).await?;
            if context.out.is_json() {
                stats.iter().try_for_each(|prize| context.out.json(prize))?;
            } else {
                let rows: Vec<_> = stats.iter().map(super::show::code_row).collect();
                context.out.table(super::show::CODE_HEAD, &rows)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
