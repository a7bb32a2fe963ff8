//! A server's process that outlives the command which started it. It is known by its id and its
//! start time: an id alone may belong to another program by the time somebody wants to stop it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::shell::{self, Watch};

/// How often something that is waited for is looked at.
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A signal by its name, and how long it may take to work before the next one is sent.
pub(super) type Signal = (&'static str, Duration);

pub(super) const KILL: Signal = ("KILL", Duration::from_secs(10));

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    id: u32,
    /// In ticks since the machine's start.
    started: u64,
}

impl Process {
    /// Starts a program in a process group of its own, so that no key pressed in this terminal
    /// reaches it. What it says goes to the end of the log.
    pub(super) fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().append(true).create(true).open(log)?;
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", shell::shown(command)))?;
        Self::of(child.id())
    }

    /// The one that has the id now.
    pub(super) fn of(id: u32) -> Result<Self> {
        let started = started(id).with_context(|| {
            format!("process {id} is not in /proc: it has ended, or this is not Linux")
        })?;
        Ok(Self { id, started })
    }

    /// What `write` has written, `None` where there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path)?;
        let process = Self::parse(&text).with_context(|| {
            format!(
                "{} is no process id with its start time: end that server by hand, then remove the file",
                path.display()
            )
        })?;
        Ok(Some(process))
    }

    pub(super) fn write(self, path: &Path) -> Result<()> {
        fs::write(path, format!("{} {}\n", self.id, self.started))
            .with_context(|| format!("writing {}", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, started) = text.trim().split_once(' ')?;
        Some(Self {
            id: id.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        started(self.id) == Some(self.started)
    }

    /// Does nothing where the process has ended, whoever has its id now.
    pub(super) fn signal(self, name: &str) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        // The shell's own `kill` is there on every machine, the program of that name is not.
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {}", self.id)]);
        let is_sent = kill.stderr(Stdio::null()).status()?.success();
        if !is_sent && self.is_alive() {
            bail!("process {} cannot be sent SIG{name}", self.id);
        }
        Ok(())
    }

    /// Sends one signal after the other until the process has ended.
    pub(super) fn stop(self, signals: &[Signal]) -> Result<()> {
        for (name, wait) in signals {
            self.signal(name)?;
            if wait_until(*wait, || !self.is_alive()) {
                return Ok(());
            }
        }
        bail!("process {} does not end: end it by hand", self.id)
    }
}

/// Whether it came true in time.
pub(super) fn wait_until(deadline: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let watch = Watch::start();
    loop {
        if is_true() {
            return true;
        }
        if watch.elapsed() > deadline {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// The end of a log, for the error that it explains.
pub(super) fn log_end(path: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// When the process of this id started, `None` where none runs.
fn started(id: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

/// Reads `id (name) state …`; the name may hold anything. A process that has ended and was not
/// waited for is still listed, and counts as ended.
fn parse_stat(stat: &str) -> Option<u64> {
    /// Counted from the state.
    const STARTED: usize = 19;
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    if matches!(fields[0], "Z" | "X") {
        return None;
    }
    fields.get(STARTED)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Child;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn endless() -> Child {
        let mut endless = Command::new("tail");
        endless.args(["-f", "/dev/null"]).spawn().unwrap()
    }

    #[test]
    fn process_is_stopped_by_the_signal_that_works() {
        let mut child = endless();
        let process = Process::of(child.id()).unwrap();
        // CONT does nothing to it.
        process
            .stop(&[("CONT", Duration::ZERO), ("TERM", WAIT)])
            .unwrap();
        assert!(!process.is_alive());
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn process_that_took_over_the_id_is_left_alone() {
        let mut child = endless();
        let now = Process::of(child.id()).unwrap();
        let before = Process {
            started: now.started - 1,
            ..now
        };
        assert!(!before.is_alive());
        before.stop(&[("KILL", WAIT)]).unwrap();
        assert!(now.is_alive());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn file_of_a_process_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert_eq!(Process::read(&path).unwrap(), None);
        let process = Process {
            id: 42,
            started: 4_711,
        };
        process.write(&path).unwrap();
        assert_eq!(Process::read(&path).unwrap(), Some(process));
        fs::write(&path, "42").unwrap();
        let error = Process::read(&path).unwrap_err().to_string();
        assert!(error.contains("end that server by hand"), "{error}");
    }

    #[test]
    fn name_of_a_process_may_hold_brackets_and_an_ended_one_is_none() {
        let rest = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 2703360";
        assert_eq!(parse_stat(&format!("7 (a) b) S {rest}")), Some(98_765));
        assert_eq!(parse_stat(&format!("7 (java) Z {rest}")), None);
    }
}
