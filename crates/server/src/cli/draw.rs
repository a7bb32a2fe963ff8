//! `tombola draw C --user U`, and `tombola draw list C`.

use super::context::{Context, Usage};
use super::files::new_request_key;
use super::show;
use crate::api::{DrawBody, DrawQuery};
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// `draw`
#[derive(Debug, Args)]
pub struct DrawArgs {
    #[command(subcommand)]
    list: Option<DrawCommand>,
    /// The campaign's slug
    #[arg(required = true)]
    campaign: Option<String>,
    /// Who draws
    #[arg(long, required = true)]
    user: Option<String>,
    /// How many draws: one transaction, all or none
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// The request key: the same key hears the same answer
    #[arg(long)]
    key: Option<String>,
}

/// `draw list`
#[derive(Debug, Subcommand)]
enum DrawCommand {
    /// Draws of a campaign, newest first
    List {
        /// The campaign's slug
        campaign: String,
        /// Only of this user
        #[arg(long)]
        user: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}

pub(super) async fn run(args: DrawArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    if let Some(DrawCommand::List {
        campaign,
        user,
        limit,
    }) = args.list
    {
        let query = DrawQuery {
            campaign: Some(campaign),
            user,
            ..DrawQuery::default()
        };
        return list(query, limit, context).await;
    }
    let (Some(campaign), Some(user)) = (args.campaign, args.user) else {
        return Err(Usage("name a campaign and --user".to_owned()).into());
    };
    let key = args.key.clone().unwrap_or_else(new_request_key);
    let api = context.api().await?;
    let body = DrawBody {
        user,
        count: args.count,
    };
    match api.draw(&campaign, &body, &key).await {
        Ok(drawn) => {
            context.out.either(&drawn, || {
                drawn
                    .draws
                    .iter()
                    .map(show::draw_line)
                    .collect::<Vec<_>>()
                    .join("\n")
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

async fn list(query: DrawQuery, limit: usize, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    show::pages(
        context.out,
        limit,
        show::DRAW_HEAD,
        async |after, limit| {
            api.draws(&DrawQuery {
                after,
                limit: Some(limit),
                ..query.clone()
            })
            .await
        },
        show::draw_row,
    )
    .await
}
