//! `tombola user …`: users over all campaigns.

use super::context::Context;
use super::operation::follow;
use super::show;
use crate::api::ActionBody;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Users over all campaigns.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// What a user has drawn and won, and whether it may draw
    Show {
        /// The user
        user: String,
    },
    /// Keep a user from drawing
    Block(WhyArgs),
    /// Let a user draw again
    Unblock {
        /// The user
        user: String,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: Option<String>,
    },
    /// Replace a user by another name, and remove addresses and contents
    Erase(WhyArgs),
}

/// Who, and why.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The user
    user: String,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(command: UserCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let out = context.out;
    match command {
        UserCommand::Show { user } => {
            let user = api.user_detail(&user).await?;
            show::user(out, &user)?;
        }
        UserCommand::Block(args) => {
            let reason = Some(args.reason);
            let done = api
                .block_user(&args.user, true, &ActionBody { reason })
                .await?;
            out.either(&done, || format!("{}: blocked", args.user))?;
        }
        UserCommand::Unblock { user, reason } => {
            let done = api.block_user(&user, false, &ActionBody { reason }).await?;
            out.either(&done, || format!("{user}: may draw again"))?;
        }
        UserCommand::Erase(args) => {
            let reason = Some(args.reason);
            let begun = api.erase_user(&args.user, &ActionBody { reason }).await?;
            let done = follow(&api, begun, out).await?;
            out.either(&done, || format!("erased, {} draws renamed", done.done))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
