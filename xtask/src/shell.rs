//! Running other programs: always from the workspace's root, always with their own words on screen.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

/// How often a program with a deadline is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What cargo knows of this workspace.
pub(crate) struct Workspace {
    pub(crate) metadata: Metadata,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("cargo metadata cannot read the workspace")?;
        Ok(Self { metadata })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.metadata.workspace_root.clone().into()
    }

    /// Where cargo builds, which `CARGO_TARGET_DIR` may have moved.
    pub(crate) fn target(&self) -> PathBuf {
        self.metadata.target_directory.clone().into()
    }

    /// A new empty directory for this chore's own files.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let dir = self.target().join("xtask").join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(dir)
    }

    /// `cargo`, as if called by hand: the variables that `cargo run` gave to this very process
    /// would make build scripts that read them run again.
    pub(crate) fn cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.root()).args(args);
        command
    }
}

/// Runs to the end; anything but success is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs until the deadline and kills then; `None` says that it had to.
pub(crate) fn run_within(command: &mut Command, deadline: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {}", shown(command)))?;
    let watch = Watch::start();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if watch.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// The command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Measures how long a step took.
#[derive(Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a chore measures itself; no award waits on it"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_command_is_named_in_the_error() {
        let error = run(Command::new("/usr/bin/env").args(["false", "--loud"])).unwrap_err();
        assert!(
            error.to_string().starts_with("env false --loud ended with"),
            "{error}"
        );
    }

    #[test]
    fn program_is_killed_at_its_deadline() {
        let mut endless = Command::new("tail");
        endless.args(["-f", "/dev/null"]);
        assert!(run_within(&mut endless, Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn program_that_ends_in_time_gives_its_status() {
        let status = run_within(&mut Command::new("false"), Duration::from_mins(1)).unwrap();
        assert!(!status.expect("`false` ends at once").success());
    }
}
