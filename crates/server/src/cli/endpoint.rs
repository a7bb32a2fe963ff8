//! `tombola endpoint …`: endpoints from files, enabled and disabled.

use super::context::{Context, Directory};
use super::{files, show};
use crate::api::ActionBody;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The outside services that deliver awards of kind webhook.
#[derive(Debug, Subcommand)]
pub enum EndpointCommand {
    /// Make or replace the endpoints of a file
    Put {
        /// The file
        file: PathBuf,
    },
    /// All endpoints
    List,
    /// One endpoint
    Show {
        /// Its name
        name: String,
    },
    /// Let it be called again; releases what was held for it
    Enable(ActArgs),
    /// Call it no more; its awards are held
    Disable(ActArgs),
}

/// Which, and why.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// Its name
    name: String,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
}

pub(super) async fn run(
    command: EndpointCommand,
    context: &mut Context,
) -> anyhow::Result<ExitCode> {
    let out = context.out;
    match command {
        EndpointCommand::Put { file } => put(&file, context).await?,
        EndpointCommand::List => {
            let api = context.api().await?;
            let endpoints = show::whole(async |page| api.endpoints(&page).await).await?;
            if out.is_json() {
                endpoints
                    .iter()
                    .try_for_each(|endpoint| out.json(endpoint))?;
            } else {
                let rows: Vec<_> = endpoints.iter().map(show::endpoint_row).collect();
                out.table(show::ENDPOINT_HEAD, &rows)?;
            }
        }
        EndpointCommand::Show { name } => {
            let endpoint = context.api().await?.endpoint(&name).await?;
            out.either(&endpoint, || show::endpoint(&endpoint))?;
        }
        EndpointCommand::Enable(args) => enable(args, true, context).await?,
        EndpointCommand::Disable(args) => enable(args, false, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn put(file: &std::path::Path, context: &mut Context) -> anyhow::Result<()> {
    let specs = files::read_endpoints(file)?;
    let api = context.api_of(Directory::MadeIfAbsent).await?;
    for spec in specs {
        let put = api.put_endpoint(&spec).await?;
        context.out.either(&put, || match &put.new_secret {
            Some(secret) => format!(
                "{}: put in, its secret is {secret} (shown this once)",
                spec.name
            ),
            None => format!("{}: put in", spec.name),
        })?;
    }
    Ok(())
}

async fn enable(args: ActArgs, is_enabled: bool, context: &mut Context) -> anyhow::Result<()> {
    let body = ActionBody {
        reason: args.reason,
    };
    let endpoint = context
        .api()
        .await?
        .enable_endpoint(&args.name, is_enabled, &body)
        .await?;
    let said = if is_enabled { "enabled" } else { "disabled" };
    context
        .out
        .either(&endpoint, || format!("{}: {said}", args.name))?;
    Ok(())
}
