//! `tombola log`: what operators did.

use super::context::Context;
use super::show;
use crate::api::LogQuery;
use clap::Args;
use std::process::ExitCode;

/// `log`
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Only since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
    /// Only by this client
    #[arg(long)]
    by: Option<String>,
    /// Only about this award
    #[arg(long)]
    award: Option<i64>,
    /// How many at most
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(args: LogArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let query = LogQuery {
        since: args.since,
        by: args.by,
        award: args.award,
        ..LogQuery::default()
    };
    let page = async |after, limit| {
        api.log(&LogQuery {
            after,
            limit: Some(limit),
            ..query.clone()
        })
        .await
    };
    show::pages(context.out, args.limit, show::LOG_HEAD, page, show::log_row).await
}
