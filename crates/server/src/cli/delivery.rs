//! `tombola delivery …`: pauses and resumes deliveries.

use super::context::Context;
use crate::api::PauseBody;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Pause and resume deliveries.
#[derive(Debug, Subcommand)]
pub enum DeliveryCommand {
    /// Hold awards of this scope instead of delivering them
    Pause(ScopeArgs),
    /// Deliver again, what was held too
    Resume(ScopeArgs),
}

/// Which deliveries.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Only of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only of this prize
    #[arg(long, requires = "campaign")]
    prize: Option<String>,
    /// Only to this endpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(
    command: DeliveryCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let (args, is_pause) = match command {
        DeliveryCommand::Pause(args) => (args, true),
        DeliveryCommand::Resume(args) => (args, false),
    };
    let body = PauseBody {
        campaign: args.campaign,
        prize: args.prize,
        endpoint: args.endpoint,
        reason: Some(args.reason),
    };
    let done = if is_pause {
        api.pause(&body).await?
    } else {
        api.resume(&body).await?
    };
    context.out.either(&done, || {
        if done.paused {
            "paused".to_owned()
        } else {
            format!("resumed, {} held awards released", done.released)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
