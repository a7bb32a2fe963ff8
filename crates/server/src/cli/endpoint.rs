//! `tombola endpoint …`: endpoints from files, tested, enabled and disabled, their
//! secrets rotated.

use super::context::{Context, Directory};
use super::{files, show};
use crate::api::{ActionBody, EndpointRotateBody};
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
    /// Make one signed test call, which delivers nothing; ends with 1 if an award would
    /// not have been delivered
    Test {
        /// Its name
        name: String,
    },
    /// Let it be called again; releases what was held for it
    Enable(ActArgs),
    /// Call it no more; its awards are held
    Disable(ActArgs),
    /// Make a new secret and show it this once; those before it sign as well for a while
    RotateSecret(RotateArgs),
}

/// `endpoint rotate-secret`
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Its name
    name: String,
    /// Why; goes into the operator log
    #[arg(long)]
    reason: Option<String>,
    /// How long the secrets before it sign as well: 24h unless said, at most 7d; 0s ends
    /// all of them now, as after a leak
    #[arg(long, value_name = "SPAN")]
    overlap: Option<String>,
    /// The request key
    #[arg(long)]
    key: Option<String>,
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
        EndpointCommand::Test { name } => return test(&name, context).await,
        EndpointCommand::RotateSecret(args) => rotate(args, context).await?,
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

async fn test(name: &str, context: &mut Context) -> anyhow::Result<ExitCode> {
    let tested = context.api().await?.test_endpoint(name).await?;
    let out = context.out;
    out.either(&tested, || show::endpoint_test(&tested))?;
    if let Some(mend) = &tested.mend {
        out.note(mend);
    }
    Ok(if tested.is_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn rotate(args: RotateArgs, context: &mut Context) -> anyhow::Result<()> {
    let key = args.key.unwrap_or_else(files::new_request_key);
    let body = EndpointRotateBody {
        reason: args.reason,
        overlap: args.overlap,
    };
    let (api, out) = (context.api().await?, context.out);
    let rotated = match api.rotate_endpoint_secret(&args.name, &body, &key).await {
        Ok(rotated) => rotated,
        Err(error) => {
            if error.is_to_be_sent_again() {
                out.note(&format!("no answer; send the same again with --key {key}"));
            }
            return Err(error.into());
        }
    };
    out.either(&rotated, || {
        let (name, secret) = (&rotated.endpoint, &rotated.new_secret);
        format!("{name}: its new secret is {secret} (shown this once)")
    })?;
    match rotated.older_secrets_end_at.first() {
        Some(end) => out.note(&format!(
            "the one before signs as well until {end}: give the receiver the new one before that"
        )),
        None => out.note("no other secret signs: give the receiver the new one now"),
    }
    Ok(())
}
