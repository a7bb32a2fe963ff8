//! `tombola audit`: exit code 1 when it finds a violation.

use super::context::Context;
use super::show;
use crate::api::AuditQuery;
use clap::Args;
use std::process::ExitCode;

/// `audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Replay every draw from its roll and its rules as well
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(args: AuditArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let bar = context.out.progress("auditing", None);
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let report = api.audit(&AuditQuery { full: args.full }).await;
    bar.finish_and_clear();
    let report = report?;
    show::audit(context.out, &report)?;
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
