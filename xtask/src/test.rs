//! `cargo xtask test`: every test of the project behind one command and one closing line.
//!
//! Steps: cargo's own tests, requests made up from the OpenAPI document, the release binary's demo,
//! whole and with crashes, the store on other versions of PostgreSQL, and many processes of the release
//! binary while everything fails in turn.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::services::{self, Guard, PostgresRelease, WhichArgs};
use crate::shell::{self, Workspace};
use crate::tally::Tally;
use crate::{contract, demo, scale};

/// Tests that stop the broker which the others use: they have it to themselves, after them.
const OF_BROKER_FAULTS: &str = "kafka::faults::";

#[derive(Args, Clone, Debug)]
pub(crate) struct TestArgs {
    /// Run these steps and no others
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STEP")]
    pub(crate) only: Vec<Step>,
    /// How many times the demo with crashes runs
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) crash_rounds: u32,
    #[command(flatten)]
    pub(crate) services: WhichArgs,
    /// Passed on to `cargo test`
    #[arg(last = true)]
    pub(crate) cargo_args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Step {
    /// `cargo test` for the whole workspace, doc tests included
    Cargo,
    /// Requests made up from the OpenAPI document, where Python is
    Contract,
    /// `tombola demo`, whose document must say that nothing was lost or doubled
    Demo,
    /// `tombola demo --crash`, the same under SIGKILL
    Crash,
    /// The store's tests on the oldest PostgreSQL that is promised and on the newest
    Versions,
    /// `cargo xtask scale --short`: many processes on a cluster of their own
    Scale,
}

impl TestArgs {
    fn wants(&self, step: Step) -> bool {
        self.only.is_empty() || self.only.contains(&step)
    }

    /// PostgreSQL and Kafka: they take seconds, so steps that need neither go without.
    fn wants_services(&self) -> bool {
        [Step::Cargo, Step::Demo, Step::Crash]
            .into_iter()
            .any(|step| self.wants(step))
    }

    fn rounds(&self) -> Vec<demo::Round> {
        let mut rounds = Vec::new();
        if self.wants(Step::Demo) {
            rounds.push(demo::Round::plain());
            rounds.push(demo::Round::plain().on_postgres());
        }
        if self.wants(Step::Crash) {
            rounds.extend((1..=self.crash_rounds).map(demo::Round::crash));
            rounds.push(demo::Round::crash(1).on_postgres());
        }
        rounds
    }
}

pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<Tally> {
    let mut tally = Tally::default();
    // Held to the end: dropping it stops them.
    let services = if args.wants_services() {
        Guard::start(workspace, &args.services, &mut tally)
    } else {
        Guard::default()
    };
    if args.wants(Step::Cargo) {
        let all = ["test", "--workspace", "--all-features", "--no-fail-fast"];
        let mut all = workspace.cargo(all);
        services.name_to(&mut all);
        // Whoever names tests gets those: the others say themselves why they are skipped.
        let nodes = if args.cargo_args.is_empty() {
            services.kafka_nodes()?
        } else {
            None
        };
        if nodes.is_some() {
            all.args(["--", "--skip", OF_BROKER_FAULTS]);
        }
        cargo_tests(all.args(&args.cargo_args), &mut tally)?;
        surface_on_postgres(workspace, &services, &mut tally)?;
        if let Some(nodes) = nodes {
            broker_faults(workspace, &services, &nodes, &mut tally)?;
        }
    }
    if args.wants(Step::Contract) {
        contract(workspace, &mut tally);
    }
    let rounds = args.rounds();
    let wants_binary = !rounds.is_empty() || args.wants(Step::Scale);
    let has_binary = wants_binary && release_binary(workspace, &mut tally);
    demo_rounds(workspace, &rounds, &services, has_binary, &mut tally)?;
    // The servers to come need the room.
    drop(services);
    if args.wants(Step::Versions) {
        store_on_versions(workspace, &mut tally)?;
    }
    if args.wants(Step::Scale) {
        scale_short(workspace, has_binary, &mut tally);
    }
    Ok(tally)
}

/// The tests of the API once more, each on a database of PostgreSQL instead of a file.
fn surface_on_postgres(workspace: &Workspace, services: &Guard, tally: &mut Tally) -> Result<()> {
    let Some(url) = services.postgres_url() else {
        tally.skip("surface on PostgreSQL: there is no PostgreSQL");
        return Ok(());
    };
    println!("the tests of the API, on PostgreSQL:");
    let surface = ["test", "--workspace", "--all-features", "--test", "surface"];
    let mut surface = workspace.cargo(surface);
    services.name_to(&mut surface);
    surface.env("TOMBOLA_SURFACE_POSTGRES", url);
    cargo_tests(&mut surface, tally)
}

/// The store's tests of PostgreSQL once more at both ends of what is promised: in between they run
/// on what this machine has.
fn store_on_versions(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    for release in PostgresRelease::ends()? {
        let version = release.version();
        let Some(server) = Guard::release(workspace, release, tally) else {
            continue;
        };
        println!("the store's tests, on PostgreSQL {version}:");
        let store = [
            "test",
            "--workspace",
            "--all-features",
            "--test",
            "postgres",
        ];
        let mut store = workspace.cargo(store);
        server.name_to(&mut store);
        cargo_tests(&mut store, tally)?;
    }
    Ok(())
}

/// `nodes` is the command that kills and starts nodes of the Kafka that the tests use.
fn broker_faults(
    workspace: &Workspace,
    services: &Guard,
    nodes: &str,
    tally: &mut Tally,
) -> Result<()> {
    println!("the tests that stop a broker:");
    let faults = ["test", "--workspace", "--all-features", "--lib"];
    let mut faults = workspace.cargo(faults);
    services.name_to(&mut faults);
    faults.env("TOMBOLA_TEST_KAFKA_FAULTS", nodes);
    cargo_tests(faults.arg(OF_BROKER_FAULTS), tally)
}

/// Prints the output as it comes and counts it. All features, as clippy has them: each crate is
/// then built once for both.
fn cargo_tests(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let output = child
        .stdout
        .take()
        .context("cargo test has its output piped")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read_line(&line);
    }
    let status = child.wait()?;
    tally.end_of_cargo(&status.to_string(), status.success());
    Ok(())
}

fn contract(workspace: &Workspace, tally: &mut Tally) {
    match contract::run(workspace) {
        Ok(contract::Ended::Passed(summary)) => {
            println!("contract ... ok: {summary}");
            tally.pass();
        }
        Ok(contract::Ended::Skipped(why)) => tally.skip(format!("contract: {why}")),
        Err(error) => tally.fail(format!("contract: {error:#}")),
    }
}

/// Builds it; false where that fails.
fn release_binary(workspace: &Workspace, tally: &mut Tally) -> bool {
    let build = ["build", "--release", "-p", "tombola-server", "--bin"];
    let built = shell::run(workspace.cargo(build).arg("tombola"));
    if let Err(error) = &built {
        tally.fail(format!("the release binary: {error:#}"));
    }
    built.is_ok()
}

fn demo_rounds(
    workspace: &Workspace,
    rounds: &[demo::Round],
    services: &Guard,
    has_binary: bool,
    tally: &mut Tally,
) -> Result<()> {
    if rounds.is_empty() {
        return Ok(());
    }
    let logs = workspace.scratch("demo")?;
    let binary = workspace.target().join("release").join("tombola");
    for round in rounds {
        if !has_binary {
            tally.skip(format!("{}: no release binary", round.name));
            continue;
        }
        if let Some(why) = round.lacks(services)? {
            tally.skip(format!("{}: {why}", round.name));
            continue;
        }
        match round.run(&binary, &logs, services) {
            Ok(summary) => {
                println!("{} ... ok: {summary}", round.name);
                tally.pass();
            }
            Err(error) => tally.fail(format!("{}: {error:#}", round.name)),
        }
    }
    Ok(())
}

fn scale_short(workspace: &Workspace, has_binary: bool, tally: &mut Tally) {
    if !has_binary {
        tally.skip("scale --short: no release binary");
        return;
    }
    match scale::play(workspace, &scale::ScaleArgs::short()) {
        Ok(summary) => {
            println!("scale --short ... ok: {summary}");
            tally.pass();
        }
        // What it needs is not here; where it has to be, the services' own line has failed.
        Err(error) if services::is_missing(&error) => {
            tally.skip(format!("scale --short: {error:#}"));
        }
        Err(error) => tally.fail(format!("scale --short: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(only: &[Step], crash_rounds: u32) -> TestArgs {
        TestArgs {
            only: only.to_vec(),
            crash_rounds,
            services: WhichArgs::default(),
            cargo_args: Vec::new(),
        }
    }

    fn rounds_of(only: &[Step], crash_rounds: u32) -> Vec<String> {
        let rounds = args(only, crash_rounds).rounds().into_iter();
        rounds.map(|round| round.name).collect()
    }

    #[test]
    fn services_are_started_for_the_steps_that_use_them() {
        assert!(args(&[], 1).wants_services());
        assert!(args(&[Step::Demo, Step::Cargo], 1).wants_services());
        assert!(args(&[Step::Crash], 1).wants_services());
        assert!(!args(&[Step::Contract], 1).wants_services());
        // It kills servers, and starts its own.
        assert!(!args(&[Step::Scale], 1).wants_services());
    }

    #[test]
    fn every_crash_round_counts_for_itself() {
        assert_eq!(
            rounds_of(&[], 2),
            [
                "demo",
                "demo on PostgreSQL",
                "demo --crash, round 1",
                "demo --crash, round 2",
                "demo --crash, round 1 on PostgreSQL"
            ]
        );
    }

    #[test]
    fn only_the_named_steps_run() {
        assert!(rounds_of(&[Step::Cargo], 3).is_empty());
        assert_eq!(
            rounds_of(&[Step::Crash], 1),
            [
                "demo --crash, round 1",
                "demo --crash, round 1 on PostgreSQL"
            ]
        );
    }
}
