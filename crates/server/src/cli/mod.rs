//! The command line. Every command is a client of `/v1`; what only this machine
//! can know (files, config, the data directory) is done here.

mod audit;
mod award;
mod backup;
mod bulk;
mod campaign;
mod code;
mod completions;
mod config;
mod context;
mod dead_letter;
mod delivery;
mod demo;
mod diff;
mod doctor;
mod draw;
mod endpoint;
mod extent;
mod files;
mod healthcheck;
mod key;
mod log;
mod migrate;
mod operation;
mod points;
mod reference;
mod restore;
mod secret;
mod serve;
mod show;
mod stock;
mod topic;
mod transfer;
mod user;
mod words;

pub use context::{Context, Failed, Usage};

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::print::Out;

/// How long threads may take to end after the command has.
const LINGER: Duration = Duration::from_secs(1);

/// Draws prizes, and never loses one nor pays one twice.
#[derive(Debug, Parser)]
#[command(
    name = "tombola",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "For every command")]
pub struct Global {
    /// The data directory; short for `database.url = "sqlite://DIR/tombola.db"`
    #[arg(long, global = true, value_name = "DIR", env = "TOMBOLA_DATA")]
    pub data: Option<PathBuf>,
    /// The config file; tombola.toml of the working directory if it is there
    #[arg(long, global = true, value_name = "FILE", env = "TOMBOLA_CONFIG")]
    pub config: Option<PathBuf>,
    /// A server afar, as `https://HOST`, instead of a directory of this machine
    #[arg(long, global = true, value_name = "URL", env = "TOMBOLA_SERVER")]
    pub server: Option<String>,
    /// The file with the key for --server; `TOMBOLA_API_KEY` holds the key itself
    #[arg(long, global = true, value_name = "FILE", env = "TOMBOLA_API_KEY_FILE")]
    pub api_key_file: Option<PathBuf>,
    /// PEM file of the certificates by which --server is trusted, instead of those that
    /// the machine trusts (or `SSL_CERT_FILE` names)
    #[arg(long, global = true, value_name = "FILE", env = "TOMBOLA_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print JSON: one document, or one object a line for lists
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Play a whole campaign in one process, and audit it
    Demo(demo::DemoArgs),
    /// Run the server
    Serve(serve::ServeArgs),
    /// Campaigns as files, and their states
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// The codes of prizes of kind code
    #[command(subcommand)]
    Code(code::CodeCommand),
    /// Draw for a user, or list draws
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Draw(draw::DrawArgs),
    /// Awards: list, show, and act on them
    #[command(subcommand)]
    Award(award::AwardCommand),
    /// Awards that were given up on, and messages that changed none
    #[command(subcommand)]
    DeadLetter(dead_letter::DeadLetterCommand),
    /// The stock of prizes, in force at once
    #[command(subcommand)]
    Stock(stock::StockCommand),
    /// Pause and resume deliveries
    #[command(subcommand)]
    Delivery(delivery::DeliveryCommand),
    /// The outside services that deliver awards of kind webhook
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Users over all campaigns
    #[command(subcommand)]
    User(user::UserCommand),
    /// Points of users
    #[command(subcommand)]
    Points(points::PointsCommand),
    /// Bulk actions: list, follow and stop them
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    /// The operator log
    Log(log::LogArgs),
    /// Check conservation on the live database
    Audit(audit::AuditArgs),
    /// Keys of the API
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// The secrets that sign claim tokens and seal codes and addresses
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    /// The settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// The topic on Kafka: make it, and say how it stands
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// The schema of the database
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Write a backup of the database to a new file, also while the server runs
    Backup(backup::BackupArgs),
    /// Make a database of a backup; deliveries wait until you say so
    Restore(restore::RestoreArgs),
    /// Move a database from SQLite to PostgreSQL, with everything in it
    Transfer(transfer::TransferArgs),
    /// Look at everything that can be amiss, and name the mend
    Doctor,
    /// Ask whether the server is ready: exit code 0 if it is
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Write the generated reference below a directory
    #[command(hide = true)]
    Reference(reference::ReferenceArgs),
}

/// Runs the command of this process.
pub fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            Out::new(false).error(&format!("the runtime cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(std::env::args_os()));
    // A thread that still waits for a client's bytes must not hold the process up.
    runtime.shutdown_timeout(LINGER);
    code
}

/// Reads the command line and runs the command: 0 done, 1 failed or found
/// something, 2 wrong usage or config.
pub async fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
            return if error.print().is_ok() {
                code
            } else {
                ExitCode::FAILURE
            };
        }
    };
    let out = Out::new(cli.global.json);
    match dispatch(cli, out).await {
        Ok(code) => code,
        Err(error) => exit_of(&error, out),
    }
}

async fn dispatch(cli: Cli, out: Out) -> anyhow::Result<ExitCode> {
    let mut context = Context::new(cli.global, out);
    let done = match cli.command {
        Command::Demo(args) => Box::pin(demo::run(args, &mut context)).await,
        Command::Serve(args) => Box::pin(serve::run(args, &mut context)).await,
        Command::Campaign(command) => Box::pin(campaign::run(command, &mut context)).await,
        Command::Code(command) => Box::pin(code::run(command, &mut context)).await,
        Command::Draw(args) => Box::pin(draw::run(args, &mut context)).await,
        Command::Award(command) => Box::pin(award::run(command, &mut context)).await,
        Command::DeadLetter(command) => Box::pin(dead_letter::run(command, &mut context)).await,
        Command::Stock(command) => Box::pin(stock::run(command, &mut context)).await,
        Command::Delivery(command) => Box::pin(delivery::run(command, &mut context)).await,
        Command::Endpoint(command) => Box::pin(endpoint::run(command, &mut context)).await,
        Command::User(command) => Box::pin(user::run(command, &mut context)).await,
        Command::Points(command) => Box::pin(points::run(command, &mut context)).await,
        Command::Operation(command) => Box::pin(operation::run(command, &mut context)).await,
        Command::Log(args) => Box::pin(log::run(args, &mut context)).await,
        Command::Audit(args) => Box::pin(audit::run(args, &mut context)).await,
        Command::Key(command) => Box::pin(key::run(command, &mut context)).await,
        Command::Secret(command) => Box::pin(secret::run(command, &mut context)).await,
        Command::Config(command) => config::run(command, &context),
        Command::Topic(command) => Box::pin(topic::run(command, &context)).await,
        Command::Migrate(command) => Box::pin(migrate::run(command, &mut context)).await,
        Command::Backup(args) => Box::pin(backup::run(args, &context)).await,
        Command::Restore(args) => Box::pin(restore::run(args, &context)).await,
        Command::Transfer(args) => Box::pin(transfer::run(args, &context)).await,
        Command::Doctor => Box::pin(doctor::run(&context)).await,
        Command::Healthcheck(args) => Box::pin(healthcheck::run(args, &context)).await,
        Command::Completions(args) => completions::run(&args, &context),
        Command::Reference(args) => reference::run(&args, &context),
    };
    context.close().await;
    done
}

/// What an error means to whoever called us.
fn exit_of(error: &anyhow::Error, out: Out) -> ExitCode {
    let is_pipe_closed = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(is_pipe_closed)
    {
        return ExitCode::SUCCESS; // the reader has seen enough
    }
    if error.is::<Failed>() {
        return ExitCode::FAILURE; // all was said
    }
    out.error(&format!("{error:#}"));
    let is_usage = error.is::<Usage>() || error.is::<crate::config::ConfigError>();
    ExitCode::from(if is_usage { 2 } else { 1 })
}

/// The command line as clap knows it, for the reference page.
fn command() -> clap::Command {
    Cli::command()
}
