//! `tombola key …`: keys of the API; a key is printed once.

use super::context::{Context, Directory, Usage};
use super::show;
use crate::api::{ActionBody, KeyBody};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use tombola_core::Timestamp;
use tombola_core::endpoint::parse_span;
use tombola_core::ports::Role;
use tombola_engine::SystemClock;

/// Keys of the API.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; it is shown this once
    Create(CreateArgs),
    /// All keys
    List,
    /// Revoke a key at once
    Revoke {
        /// The key's id
        id: i64,
        /// Why; goes into the operator log
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `key create`
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it may do
    #[arg(long, value_parser = super::words::role())]
    role: Role,
    /// The program that will use it: scope of its request keys
    #[arg(long)]
    client: Option<String>,
    /// When it ends: RFC 3339, or a span such as 90d
    #[arg(long)]
    expires: Option<String>,
    /// A campaign that it may speak of, once for each; none: all
    #[arg(long = "campaign")]
    campaigns: Vec<String>,
}

pub(super) async fn run(command: KeyCommand, context: &mut Context) -> anyhow::Result<ExitCode> {
    let out = context.out;
    match command {
        KeyCommand::Create(args) => {
            let expires_at = args.expires.as_deref().map(expires_at).transpose()?;
            let api = context.api_of(Directory::MadeIfAbsent).await?;
            let body = KeyBody {
                role: args.role,
                client: args.client,
                expires_at,
                campaigns: args.campaigns,
            };
            let made = api.create_key(&body).await?;
            out.either(&made, || made.key.clone())?;
            if !out.is_json() {
                out.note(&format!(
                    "key {} of {}, role {}; it is shown this once",
                    made.about.id, made.about.client, made.about.role
                ));
            }
        }
        KeyCommand::List => {
            let api = context.api().await?;
            let keys = show::whole(async |page| api.keys(&page).await).await?;
            if out.is_json() {
                keys.iter().try_for_each(|key| out.json(key))?;
            } else {
                let rows: Vec<_> = keys.iter().map(show::key_row).collect();
                out.table(show::KEY_HEAD, &rows)?;
            }
        }
        KeyCommand::Revoke { id, reason } => {
            let key = context
                .api()
                .await?
                .revoke_key(id, &ActionBody { reason })
                .await?;
            out.either(&key, || format!("key {id} of {} is revoked", key.client))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn expires_at(text: &str) -> anyhow::Result<Timestamp> {
    let from_now = || parse_span(text).map(|span| SystemClock::wall().plus(span));
    let at = Timestamp::parse(text).or_else(from_now);
    Ok(at.ok_or_else(|| Usage("--expires: use RFC 3339, or a span such as 90d".to_owned()))?)
}
