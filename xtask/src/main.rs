//! Chores of the project, called as `cargo xtask <chore>`.
//!
//! It lists none of the workspace's crates, so it builds in seconds and still runs when they do
//! not compile. What it needs of them it gets by running cargo and the `tombola` binary.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to the person or the CI log that called it"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod codegen;
mod contract;
mod demo;
mod scale;
mod services;
mod shell;
mod tally;
mod test;
mod tidy;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check what compilers do not: crate directions, module docs, named paths, tests' habits
    Tidy,
    /// Run every test and end with the line `N passed, N failed, N skipped`
    Test(test::TestArgs),
    /// Run the whole gate: format, lints, docs, tidy, generated files, dependencies, tests
    Ci,
    /// Write the files that are generated from the code
    Codegen {
        /// Change nothing; fail where a file is not what the code generates
        #[arg(long)]
        check: bool,
    },
    /// Run a PostgreSQL and a Kafka for tests and for trying things out
    #[command(subcommand)]
    Services(services::Services),
    /// Draw on PostgreSQL and three nodes of Kafka with many processes while all of them fail in turn
    Scale(scale::ScaleArgs),
    /// Run a benchmark of the testkit in release mode
    #[command(after_help = bench::HELP)]
    Bench {
        /// Which one
        name: String,
        /// Passed on to it
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    run(Cli::parse().chore).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(chore: Chore) -> Result<ExitCode> {
    let workspace = shell::Workspace::load()?;
    match chore {
        Chore::Tidy => tidy::run(&workspace)?,
        Chore::Test(args) => return Ok(test::run(&workspace, &args)?.close()),
        Chore::Ci => return ci::run(&workspace),
        Chore::Codegen { check } => codegen::run(&workspace, check)?,
        Chore::Services(chore) => services::run(&workspace, &chore)?,
        Chore::Scale(args) => scale::run(&workspace, &args)?,
        Chore::Bench { name, args } => bench::run(&workspace, &name, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}
