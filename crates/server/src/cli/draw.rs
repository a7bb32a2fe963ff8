//! `tombola draw C --user U`, and `tombola draw list C`.

use super::context::{Context, Usage};
use super::extent::Extent;
use super::files::new_request_key;
use super::show;
use crate::api::{DrawBody, DrawQuery, Outcome};
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
    List(ListArgs),
}

/// `draw list`
#[derive(Debug, Args)]
struct ListArgs {
    /// The campaign's slug
    campaign: String,
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// Only with this outcome
    #[arg(long, value_parser = super::words::outcome())]
    outcome: Option<Outcome>,
    /// Only that won this prize
    #[arg(long)]
    prize: Option<String>,
    /// Only asked for by this client
    #[arg(long)]
    client: Option<String>,
    /// Only since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
    /// Only before: RFC 3339, or a span such as 2h
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

pub(super) async fn run(args: DrawArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    if let Some(DrawCommand::List(args)) = args.list {
        return list(args, context).await;
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

async fn list(args: ListArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let (api, extent) = (context.api().await?, args.extent);
    let query = DrawQuery {
        campaign: Some(args.campaign),
        user: args.user,
        outcome: args.outcome,
        prize: args.prize,
        client: args.client,
        since: args.since,
        until: args.until,
        limit: extent.limit(),
        after: None,
    };
    if let Some(format) = extent.format(context.out) {
        return show::export(context.out, api.export("draws", &query, format).await?).await;
    }
    let page = async |after, limit| {
        api.draws(&DrawQuery {
            after,
            limit: Some(limit),
            ..query.clone()
        })
        .await
    };
    show::pages(
        context.out,
        extent.rows(),
        show::DRAW_HEAD,
        page,
        show::draw_row,
    )
    .await
}
