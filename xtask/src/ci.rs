//! `cargo xtask ci`: the gate, in the order in which it is cheapest to fail.
//!
//! It stops at the first step that fails. The tests come last, so a run that reaches them ends with
//! their closing line.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::services::WhichArgs;
use crate::shell::{self, Watch, Workspace};
use crate::test::{self, TestArgs};
use crate::{codegen, tidy};

/// Rounds of the demo with crashes: enough to hit different lines, few enough to wait for.
const CRASH_ROUNDS: u32 = 3;

/// Where the network hangs instead of refusing, the advisories are given up after this long.
const FETCH_DEADLINE: Duration = Duration::from_mins(1);

type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("doc", doc),
    ("tidy", tidy::run),
    ("codegen --check", |workspace| codegen::run(workspace, true)),
    ("deny", deny),
    ("advisories", advisories),
    ("unused dependencies", unused_dependencies),
];

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let whole = Watch::start();
    for (name, step) in STEPS {
        println!("==> {name}");
        let watch = Watch::start();
        step(workspace).with_context(|| format!("step `{name}` failed"))?;
        println!("<== {name}: {:.1} s", watch.elapsed().as_secs_f64());
    }
    println!("==> tests");
    let watch = Watch::start();
    let args = TestArgs {
        only: Vec::new(),
        crash_rounds: CRASH_ROUNDS,
        services: WhichArgs::default(),
        cargo_args: Vec::new(),
    };
    let tally = test::run(workspace, &args)?;
    println!("<== tests: {:.1} s", watch.elapsed().as_secs_f64());
    println!("<== all: {:.1} s", whole.elapsed().as_secs_f64());
    Ok(tally.close())
}

fn fmt(workspace: &Workspace) -> Result<()> {
    shell::run(&mut workspace.cargo(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    shell::run(&mut workspace.cargo(args))
}

/// Features as clippy has them, so that it reads the dependencies that clippy has checked: cargo adds
/// those that tests ask for only where examples (of which there may be none) are named.
fn doc(workspace: &Workspace) -> Result<()> {
    let which = [
        "doc",
        "--workspace",
        "--all-features",
        "--lib",
        "--bins",
        "--examples",
    ];
    let mut command = workspace.cargo(which);
    command.args(["--no-deps", "--document-private-items"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny(workspace: &Workspace) -> Result<()> {
    require(workspace, "deny")?;
    let args = [
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ];
    shell::run(&mut workspace.cargo(args))
}

/// The advisories need their database from the network: without it there is nothing to check
/// against, which is no fault of the tree.
fn advisories(workspace: &Workspace) -> Result<()> {
    let mut fetch = workspace.cargo(["deny", "--log-level", "off", "fetch", "db"]);
    fetch
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = shell::run_within(&mut fetch, FETCH_DEADLINE)?;
    if !status.is_some_and(|status| status.success()) {
        println!("advisories: not checked, their database cannot be reached from here");
        return Ok(());
    }
    let args = [
        "deny",
        "--log-level",
        "error",
        "check",
        "--disable-fetch",
        "advisories",
    ];
    shell::run(&mut workspace.cargo(args))
}

fn unused_dependencies(workspace: &Workspace) -> Result<()> {
    require(workspace, "machete")?;
    shell::run(&mut workspace.cargo(["machete"]))
}

/// Says how to install a cargo command that is missing.
fn require(workspace: &Workspace, command: &str) -> Result<()> {
    let mut version = workspace.cargo([command, "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    shell::run(&mut version)
        .with_context(|| format!("not installed? `cargo install --locked cargo-{command}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_steps_come_before_dear_ones() {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names[..4], ["fmt", "clippy", "doc", "tidy"]);
    }

    #[test]
    fn missing_tool_is_named_with_its_mend() {
        let workspace = Workspace::load().unwrap();
        let error = require(&workspace, "no-such-tool").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cargo install --locked cargo-no-such-tool"),
            "{error}"
        );
    }
}
