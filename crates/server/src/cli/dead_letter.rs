//! `tombola dead-letter …`: listed, and put back one by one or by filter.

use super::award::Outcome;
use super::context::{Context, Usage};
use super::extent::Extent;
use super::operation::follow;
use super::show;
use crate::api::{ActionBody, BulkFilter, DeadLetterQuery, LetterReason, OutcomeWord, RequeueBody};
use crate::client::Api;
use clap::{Args, Subcommand};
use std::process::ExitCode;
use tombola_core::campaign::Kind;
use tombola_core::reason::DeadReason;

/// Awards that were given up on, and messages that changed none.
#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// Dead letters, newest first
    List(ListArgs),
    /// A kept message, whole; a dead award is shown by `award show`
    Show {
        /// `m` and its number
        id: String,
    },
    /// Put dead letters back: these, or all that match
    Requeue(RequeueArgs),
    /// Take a dead letter off the list: somebody has seen to it
    Dismiss {
        /// An award's id, or `m` and the number of a message
        id: String,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: String,
    },
}

/// Which dead letters to put back.
#[derive(Debug, Clone, Default, Args)]
struct Filter {
    /// Only of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = super::words::kind())]
    kind: Option<Kind>,
    /// Only given up on for this reason
    #[arg(long, value_parser = super::words::dead_reason())]
    reason: Option<DeadReason>,
    /// Only drawn since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.campaign.is_none()
            && self.kind.is_none()
            && self.reason.is_none()
            && self.since.is_none()
    }

    fn filter(self) -> anyhow::Result<BulkFilter> {
        let since = self.since.as_deref().map(super::words::since).transpose()?;
        Ok(BulkFilter {
            campaign: self.campaign,
            kind: self.kind,
            reason: self.reason,
            since,
            ..BulkFilter::default()
        })
    }
}

/// `dead-letter list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this campaign
    #[arg(long)]
    campaign: Option<String>,
    /// Only of this kind
    #[arg(long, value_parser = super::words::kind())]
    kind: Option<Kind>,
    /// Only given up on, or kept, for this reason
    #[arg(long, value_parser = super::words::letter_reason())]
    reason: Option<LetterReason>,
    /// Only drawn, or kept, since: RFC 3339, or a span such as 2h
    #[arg(long)]
    since: Option<String>,
    /// Only drawn, or kept, before: RFC 3339, or a span such as 2h
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// `dead-letter requeue`
#[derive(Debug, Args)]
pub struct RequeueArgs {
    /// Ids of awards; without any, all that match the filter
    ids: Vec<i64>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters, without a filter
    #[arg(long)]
    all: bool,
    /// What is known of unknown outcomes; only not-delivered lets them be repeated
    #[arg(long)]
    outcome: Option<Outcome>,
    /// Spread them over this time, such as 10m
    #[arg(long)]
    over: Option<String>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
    /// Why; goes into the operator log
    #[arg(long = "why", value_name = "REASON")]
    why: Option<String>,
}

pub(super) async fn run(
    command: DeadLetterCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    match command {
        DeadLetterCommand::List(args) => list(args, context).await,
        DeadLetterCommand::Requeue(args) => requeue(args, context).await,
        DeadLetterCommand::Show { id } => {
            let message = context.api().await?.kept_message(&id).await?;
            show::kept_message(context.out, &message)?;
            Ok(ExitCode::SUCCESS)
        }
        DeadLetterCommand::Dismiss { id, reason } => {
            let reason = Some(reason);
            let api = context.api().await?;
            let done = api.dismiss(&id, &ActionBody { reason }).await?;
            context.out.either(&done, || format!("{id}: dismissed"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(args: ListArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let (api, extent) = (context.api().await?, args.extent);
    let query = DeadLetterQuery {
        campaign: args.campaign,
        kind: args.kind,
        reason: args.reason,
        since: args.since,
        until: args.until,
        limit: extent.limit(),
        after: None,
    };
    if let Some(format) = extent.format(context.out) {
        return show::export(
            context.out,
            api.export("dead-letters", &query, format).await?,
        )
        .await;
    }
    let page = async |after, limit| {
        api.dead_letters(&DeadLetterQuery {
            after,
            limit: Some(limit),
            ..query.clone()
        })
        .await
    };
    show::pages(
        context.out,
        extent.rows(),
        show::DEAD_HEAD,
        page,
        show::dead_row,
    )
    .await
}

async fn requeue(args: RequeueArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    match (args.ids.is_empty(), args.filter.is_empty(), args.all) {
        (true, true, false) => {
            return Err(Usage("name ids, a filter such as --campaign, or --all".to_owned()).into());
        }
        (false, false, _) | (false, _, true) | (_, false, true) => {
            return Err(Usage("name ids or a filter or --all, not two of them".to_owned()).into());
        }
        (true, _, _) | (false, true, false) => {}
    }
    let api = context.api().await?;
    let filter = if args.ids.is_empty() {
        Some(args.filter.filter()?)
    } else {
        None
    };
    // A single one has to have a reason in the log; that there was none is said too.
    let none = || (!args.ids.is_empty()).then(|| "none was given".to_owned());
    let reason = args.why.or_else(none);
    let body = RequeueBody {
        ids: args.ids,
        filter,
        dry_run: args.dry_run,
        over: args.over,
        outcome: args.outcome.map(OutcomeWord::from),
        reason,
    };
    if body.filter.is_some() {
        return requeue_matching(&api, &body, context).await;
    }
    let done = api.requeue(&body).await?;
    let said = if done.dry_run {
        "would be requeued"
    } else {
        "requeued"
    };
    context.out.either(&done, || {
        format!("{} of {} dead letters {said}", done.requeued, done.matched)
    })?;
    say_doubt(done.in_doubt, context);
    Ok(ExitCode::SUCCESS)
}

async fn requeue_matching(
    api: &Api,
    body: &RequeueBody,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    if body.dry_run {
        let counted = api.count_requeue(body).await?;
        let would = counted.matched - counted.in_doubt.min(counted.matched);
        context.out.either(&counted, || {
            format!(
                "{would} of {} dead letters would be requeued",
                counted.matched
            )
        })?;
        say_doubt(counted.in_doubt, context);
        return Ok(ExitCode::SUCCESS);
    }
    let begun = api.requeue_matching(body).await?;
    let done = follow(api, begun, context.out).await?;
    context.out.either(&done, || {
        format!("{} of {} dead letters requeued", done.done, done.matched)
    })?;
    say_doubt(done.in_doubt, context);
    Ok(ExitCode::SUCCESS)
}

fn say_doubt(in_doubt: u64, context: &Context) {
    if in_doubt > 0 {
        let hint = "find out at the endpoint, then say --outcome not-delivered, or `award confirm`";
        context.out.note(&format!(
            "{in_doubt} left dead: a call of theirs may have had its effect; {hint}"
        ));
    }
}
