//! `tombola points …`: the ledger of points.

use super::context::Context;
use super::show;
use crate::api::{ActionBody, PageQuery};
use clap::Subcommand;
use std::process::ExitCode;

/// Points of users.
#[derive(Debug, Subcommand)]
pub enum PointsCommand {
    /// The balance of a user and its newest entries
    Show {
        /// The user
        user: String,
        /// How many entries at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Take back what an award gave
    Reverse {
        /// The award's id
        award: i64,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: String,
    },
}

pub(super) async fn run(command: PointsCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let out = context.out;
    match command {
        PointsCommand::Show { user, limit } => {
            let page = PageQuery {
                after: None,
                limit: Some(limit),
            };
            let points = api.points(&user, &page).await?;
            show::points(out, &points)?;
        }
        PointsCommand::Reverse { award, reason } => {
            let reason = Some(reason);
            let done = api.reverse_points(award, &ActionBody { reason }).await?;
            out.either(&done, || {
                let (points, user, balance) = (done.points, &done.user, done.balance);
                format!("{points} points of {user} taken back, {balance} left")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
