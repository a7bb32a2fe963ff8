//! `tombola campaign …`: campaigns as files, and their states.

use super::context::{Context, Directory, Failed};
use super::diff::differences;
use super::files;
use super::show;
use crate::api::{PageQuery, TransitionBody};
use crate::client::Api;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use tombola_core::campaign::{CampaignFile, CampaignState, Transition};
use tombola_core::limits;

/// Campaigns as files, and their states.
#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Put campaign files in, each as a new version in draft
    Apply(ApplyArgs),
    /// Check a campaign file: place, what is wrong, the mend
    Validate {
        /// The campaign file
        file: PathBuf,
    },
    /// All campaigns
    List,
    /// One campaign with its prizes
    Show {
        /// Its slug
        campaign: String,
    },
    /// The campaign's newest file, as TOML
    Export {
        /// Its slug
        campaign: String,
    },
    /// What a file would change; ends with 1 if it differs
    Diff {
        /// The campaign's slug
        campaign: String,
        /// The campaign file
        file: PathBuf,
    },
    /// Ask for approval
    Submit(MoveArgs),
    /// Allow to start
    Approve(MoveArgs),
    /// Turn down, with a reason
    Refuse(MoveArgs),
    /// Take the question for approval back
    Withdraw(MoveArgs),
    /// Let users draw: checks codes, endpoints and stock
    Start(MoveArgs),
    /// Stop for a while
    Pause(MoveArgs),
    /// Go on after a pause
    Resume(MoveArgs),
    /// End for good; awards on the path are still delivered
    Close(MoveArgs),
    /// Begin again as a new version in draft
    Reopen(MoveArgs),
}

/// `campaign apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The campaign files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Submit, approve and start as well, codes imported before
    #[arg(long)]
    start: bool,
}

/// A move to another state.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The campaign's slug
    campaign: String,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(
    command: CampaignCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    match command {
        CampaignCommand::Apply(args) => apply(&args, context).await,
        CampaignCommand::Validate { file } => validate(&file, context),
        CampaignCommand::List => list(context).await,
        CampaignCommand::Show { campaign } => {
            let campaign = context.api().await?.campaign(&campaign).await?;
            show::campaign(context.out, &campaign)
        }
        CampaignCommand::Export { campaign } => {
            let file = newest_file(&campaign, context).await?;
            let text = toml::to_string_pretty(&file).context("writing TOML")?;
            context.out.either(&file, || text.trim_end().to_owned())?;
            Ok(ExitCode::SUCCESS)
        }
        CampaignCommand::Diff { campaign, file } => diff(&campaign, &file, context).await,
        CampaignCommand::Submit(args) => go(args, Transition::Submit, context).await,
        CampaignCommand::Approve(args) => go(args, Transition::Approve, context).await,
        CampaignCommand::Refuse(args) => go(args, Transition::Refuse, context).await,
        CampaignCommand::Withdraw(args) => go(args, Transition::Withdraw, context).await,
        CampaignCommand::Start(args) => go(args, Transition::Start, context).await,
        CampaignCommand::Pause(args) => go(args, Transition::Pause, context).await,
        CampaignCommand::Resume(args) => go(args, Transition::Resume, context).await,
        CampaignCommand::Close(args) => go(args, Transition::Close, context).await,
        CampaignCommand::Reopen(args) => go(args, Transition::Reopen, context).await,
    }
}

fn validate(path: &std::path::Path, context: &Context) -> anyhow::Result<ExitCode> {
    let checked = files::read_campaign(path)?;
    let name = path.display().to_string();
    let problems = checked.as_ref().err().cloned().unwrap_or_default();
    if context.out.is_json() {
        let problems: Vec<_> = problems.iter().map(files::problem_document).collect();
        context
            .out
            .json(&json!({ "file": name, "ok": problems.is_empty(), "problems": problems }))?;
    } else {
        for problem in &problems {
            context.out.note(&problem.display_in(&name));
        }
        if let Ok(file) = &checked {
            context.out.line(&format!(
                "{name}: campaign {} with {} prizes is valid",
                file.campaign.slug,
                file.prize.len()
            ))?;
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn newest_file(campaign: &str, context: &mut Context) -> anyhow::Result<CampaignFile> {
    let shown = context.api().await?.campaign(campaign).await?;
    Ok(shown.next_file.unwrap_or(shown.file))
}

async fn diff(
    campaign: &str,
    path: &std::path::Path,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let name = path.display().to_string();
    let file = files::read_campaign(path)?.map_err(|problems| {
        for problem in &problems {
            context.out.note(&problem.display_in(&name));
        }
        Failed
    })?;
    let newest = newest_file(campaign, context).await?;
    let found = differences(&newest, &file);
    if context.out.is_json() {
        context
            .out
            .json(&json!({ "campaign": campaign, "differences": found }))?;
    } else {
        for difference in &found {
            context.out.line(&difference.lines())?;
        }
    }
    Ok(if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn list(context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = api
            .campaigns(&PageQuery {
                after,
                limit: Some(limits::PAGE_MAX),
            })
            .await?;
        if context.out.is_json() {
            page.items
                .iter()
                .try_for_each(|campaign| context.out.json(campaign))?;
        } else {
            rows.extend(page.items.iter().map(show::campaign_row));
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !context.out.is_json() {
        context.out.table(show::CAMPAIGN_HEAD, &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn go(
    args: MoveArgs,
    command: Transition,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let body = TransitionBody {
        to: command.name().to_owned(),
        reason: args.reason,
    };
    let moved = api.transition(&args.campaign, &body).await?;
    context.out.either(&moved, || {
        format!(
            "{}: version {} is {}",
            moved.campaign, moved.version, moved.state
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Files are all checked before the first is put in.
async fn apply(args: &ApplyArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let mut checked = Vec::new();
    let mut is_sound = true;
    for path in &args.files {
        match files::read_campaign(path)? {
            Ok(file) => checked.push((path, file)),
            Err(problems) => {
                is_sound = false;
                let name = path.display().to_string();
                for problem in &problems {
                    context.out.note(&problem.display_in(&name));
                }
            }
        }
    }
    if !is_sound {
        return Err(Failed.into());
    }
    let api = context.api_of(Directory::MadeIfAbsent).await?;
    let mut documents = Vec::new();
    for (path, file) in checked {
        let applied = api
            .apply(&file)
            .await
            .with_context(|| path.display().to_string())?;
        // What a start is refused for it says itself, after the codes are in.
        for warning in applied.warnings.iter().filter(|_| !args.start) {
            context
                .out
                .note(&format!("{}: warning: {warning}", path.display()));
        }
        let said = if applied.changed {
            "put in"
        } else {
            "unchanged"
        };
        context.out.note(&format!(
            "{}: version {} {said}",
            applied.campaign, applied.version
        ));
        let imports = if args.start {
            files::import_missing_codes(&api, path, &file, context.out).await?
        } else {
            Vec::new()
        };
        let state = if args.start {
            Some(start(&api, &applied.campaign, context).await?)
        } else {
            None
        };
        documents.push(json!({
            "campaign": applied.campaign, "version": applied.version, "changed": applied.changed,
            "warnings": applied.warnings, "imports": imports, "state": state,
        }));
    }
    if context.out.is_json() {
        context.out.json(&json!({ "campaigns": documents }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Submit, approve, start, from wherever the newest version stands.
async fn start(api: &Api, campaign: &str, context: &Context) -> anyhow::Result<CampaignState> {
    let now = api.campaign(campaign).await?.detail.fact;
    let mut state = now.next_state.unwrap_or(now.state);
    let steps = [
        (CampaignState::Draft, Transition::Submit),
        (CampaignState::Submitted, Transition::Approve),
        (CampaignState::Approved, Transition::Start),
    ];
    for (from, command) in steps {
        if state == from {
            let body = TransitionBody {
                to: command.name().to_owned(),
                reason: Some("apply --start".to_owned()),
            };
            let moved = api.transition(campaign, &body).await?;
            context.out.note(&format!(
                "{campaign}: version {} is {}",
                moved.version, moved.state
            ));
            state = moved.state;
        }
    }
    if state != CampaignState::Started {
        context
            .out
            .note(&format!("{campaign}: not started, it is {state}"));
        return Err(Failed.into());
    }
    Ok(state)
}
