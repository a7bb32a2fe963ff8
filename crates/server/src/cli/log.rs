//! `tombola log`: what operators did.

use super::context::Context;
use super::extent::Extent;
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
    /// Only before: RFC 3339, or a span such as 2h
    #[arg(long)]
    until: Option<String>,
    /// Only by this client
    #[arg(long)]
    by: Option<String>,
    /// Only about this award
    #[arg(long)]
    award: Option<i64>,
    /// Only actions that begin like this, such as `award` or `stock add`
    #[arg(long)]
    action: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

pub(super) async fn run(args: LogArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let (api, extent) = (context.api().await?, args.extent);
    let query = LogQuery {
        since: args.since,
        until: args.until,
        by: args.by,
        award: args.award,
        action: args.action,
        limit: extent.limit(),
        after: None,
    };
    if let Some(format) = extent.format(context.out) {
        return show::export(context.out, api.export("log", &query, format).await?).await;
    }
    let page = async |after, limit| {
        api.log(&LogQuery {
            after,
            limit: Some(limit),
            ..query.clone()
        })
        .await
    };
    let rows = extent.rows();
    show::pages(context.out, rows, show::LOG_HEAD, page, show::log_row).await
}
