//! `tombola operation …`: bulk actions followed and stopped.

use super::context::Context;
use super::show;
use crate::api::{ActionBody, OperationDoc, PageQuery};
use crate::client::{Api, ClientError};
use crate::print::Out;
use clap::Subcommand;
use std::process::ExitCode;
use std::time::Duration;
use tombola_core::ports::OperationState;

/// Time between two looks at a bulk action.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Bulk actions: list, follow and stop them.
#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// Bulk actions, newest first
    List {
        /// How many at most
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One bulk action
    Show {
        /// Its id
        id: i64,
    },
    /// Follow a bulk action to its end
    Follow {
        /// Its id
        id: i64,
    },
    /// Stop a bulk action; what was done stays done
    Cancel {
        /// Its id
        id: i64,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(super) async fn run(
    command: OperationCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let api = context.api().await?;
    let out = context.out;
    let operation = match command {
        OperationCommand::List { limit } => {
            let page = async |after, limit| {
                let limit = Some(limit);
                api.operations(&PageQuery { after, limit }).await
            };
            return show::pages(out, limit, show::OPERATION_HEAD, page, show::operation_row).await;
        }
        OperationCommand::Show { id } => api.operation(id).await?,
        OperationCommand::Follow { id } => {
            let begun = api.operation(id).await?;
            follow(&api, begun, out).await?
        }
        OperationCommand::Cancel { id, reason } => {
            api.cancel_operation(id, &ActionBody { reason }).await?
        }
    };
    out.either(&operation, || line(&operation))?;
    Ok(ExitCode::SUCCESS)
}

/// A bulk action in one line.
pub(super) fn line(it: &OperationDoc) -> String {
    let text = format!(
        "operation {}: {} {}, {} of {} done",
        it.id, it.action, it.state, it.done, it.matched
    );
    let left = [(it.in_doubt, "in doubt"), (it.refused, "refused")];
    let left = left.iter().filter(|(count, _)| *count > 0);
    let left = left.map(|(count, what)| format!("{count} {what}"));
    std::iter::once(text)
        .chain(left)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Follows a bulk action to its end, with a bar on a terminal. It goes on by itself
/// when nobody follows it.
pub(super) async fn follow(
    api: &Api,
    begun: OperationDoc,
    out: Out,
) -> Result<OperationDoc, ClientError> {
    let total = (begun.matched > 0).then_some(begun.matched);
    let bar = out.progress(&begun.action, total);
    let mut now = begun;
    while now.state == OperationState::Running {
        tokio::time::sleep(LOOK_AGAIN).await;
        now = api.operation(now.id).await?;
        bar.set_position(now.done + now.in_doubt + now.refused);
    }
    bar.finish_and_clear();
    Ok(now)
}
