//! Filters of bulk actions on the command line, and how one is asked for.

use super::context::{Context, Usage};
use super::operation::{follow, line};
use crate::api::{BulkCancelBody, BulkFilter};
use clap::Args;
use std::process::ExitCode;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::reason::DeadReason;

/// Which awards.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// Only of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only of this prize
    #[arg(long, requires = "campaign")]
    prize: Option<String>,
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = super::words::kind())]
    kind: Option<Kind>,
    /// Only in this state
    #[arg(long, value_parser = super::words::state())]
    state: Option<State>,
    /// Only given up on for this reason
    #[arg(long, value_parser = super::words::dead_reason())]
    dead_reason: Option<DeadReason>,
    /// Only drawn since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
    /// All awards, without a filter
    #[arg(long)]
    all: bool,
}

impl FilterArgs {
    fn filter(self) -> anyhow::Result<BulkFilter> {
        let all = self.all;
        let filter = BulkFilter {
            campaign: self.campaign,
            prize: self.prize,
            user: self.user,
            kind: self.kind,
            state: self.state,
            hold_reason: None,
            reason: self.dead_reason,
            since: self.since.as_deref().map(super::words::since).transpose()?,
        };
        match (filter == BulkFilter::default(), all) {
            (true, false) => {
                Err(Usage("name a filter such as --campaign, or --all".to_owned()).into())
            }
            (false, true) => Err(Usage("name a filter or --all, not both".to_owned()).into()),
            (true, true) | (false, false) => Ok(filter),
        }
    }
}

/// `award cancel-all`, `award release-all`
#[derive(Debug, Args)]
pub struct BulkArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Why; goes into the operator log
    #[arg(long, required_unless_present = "dry_run")]
    reason: Option<String>,
}

/// Counts, or asks for it and follows it to its end.
pub(super) async fn run(
    args: BulkArgs,
    return_stock: Option<bool>,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let body = BulkCancelBody {
        filter: args.filter.filter()?,
        dry_run: args.dry_run,
        return_stock: return_stock.unwrap_or_default(),
        reason: args.reason,
    };
    let api = context.api().await?;
    let is_cancel = return_stock.is_some();
    if body.dry_run {
        let counted = api.count_bulk(is_cancel, body).await?;
        context
            .out
            .either(&counted, || format!("{} awards match", counted.matched))?;
        return Ok(ExitCode::SUCCESS);
    }
    let begun = api.bulk(is_cancel, body).await?;
    let done = follow(&api, begun, context.out).await?;
    context.out.either(&done, || line(&done))?;
    Ok(ExitCode::SUCCESS)
}
