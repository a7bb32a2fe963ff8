//! `tombola stock …`: units added and taken away.

use super::context::Context;
use super::files::new_request_key;
use crate::api::StockBody;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// The stock of prizes, in force at once.
#[derive(Debug, Subcommand)]
pub enum StockCommand {
    /// Add units
    Add(StockArgs),
    /// Take units away that are left
    Withdraw(StockArgs),
}

/// Which stock, by how much.
#[derive(Debug, Args)]
pub struct StockArgs {
    /// The campaign's slug
    campaign: String,
    /// The prize's slug
    prize: String,
    /// Units
    #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000_000_000_000))]
    units: i64,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
    /// The request key
    #[arg(long)]
    key: Option<String>,
}

pub(super) async fn run(command: StockCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let (args, sign) = match command {
        StockCommand::Add(args) => (args, 1),
        StockCommand::Withdraw(args) => (args, -1),
    };
    let key = args.key.unwrap_or_else(new_request_key);
    let body = StockBody {
        add: sign * args.units,
        reason: args.reason,
    };
    let api = context.api().await?;
    match api
        .change_stock(&args.campaign, &args.prize, &body, &key)
        .await
    {
        Ok(changed) => {
            context.out.either(&changed, || {
                format!(
                    "{}/{}: stock {}, {} left",
                    changed.campaign, changed.prize, changed.stock, changed.left
                )
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            if error.is_to_be_sent_again() {
                context
                    .out
                    .note(&format!("no answer; send the same again with --key {key}"));
            }
            Err(error.into())
        }
    }
}
