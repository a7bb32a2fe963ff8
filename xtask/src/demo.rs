//! One run of `tombola demo --json` as a test: the process ends well in time, and its document says
//! that everything asked for was answered, nothing was lost and nothing happened twice.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::services::Guard;
use crate::shell;

/// A demo takes seconds, or as long as a lease where one has to end; one that has not ended
/// by then hangs.
const DEADLINE: Duration = Duration::from_mins(8);

/// What the demo says when it begins to draw, and when it has drawn.
const DRAWING: &str = "is running: ";
const DRAWN: &str = "all draws are answered";
/// Between two looks at what it said.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) name: String,
    crash: bool,
    /// On PostgreSQL, which is restarted in mid-run without a word.
    postgres: bool,
    seed: u64,
}

impl Round {
    pub(crate) fn plain() -> Self {
        Self {
            name: "demo".into(),
            crash: false,
            postgres: false,
            seed: fresh_seed(),
        }
    }

    pub(crate) fn crash(number: u32) -> Self {
        Self {
            name: format!("demo --crash, round {number}"),
            crash: true,
            postgres: false,
            seed: fresh_seed(),
        }
    }

    /// The same on PostgreSQL, which is restarted in mid-run.
    pub(crate) fn on_postgres(self) -> Self {
        Self {
            name: format!("{} on PostgreSQL", self.name),
            postgres: true,
            ..self
        }
    }

    /// Why it cannot run here, if it cannot.
    pub(crate) fn lacks(&self, services: &Guard) -> Result<Option<&'static str>> {
        if self.postgres && services.postgres_url().is_none() {
            return Ok(Some("there is no PostgreSQL"));
        }
        if self.postgres && !services.has_own_postgres()? {
            return Ok(Some(
                "PostgreSQL is not of `cargo xtask services`, so it is not restarted",
            ));
        }
        Ok(None)
    }

    /// Runs it and gives a summary for the log. A failing round prints all that the process wrote.
    pub(crate) fn run(&self, binary: &Path, logs: &Path, services: &Guard) -> Result<String> {
        println!("{}: seed {}", self.name, self.seed);
        let log = |ending: &str| logs.join(self.name.replace([' ', ','], "-") + ending);
        let (out, err) = (log(".out"), log(".err"));
        let verdict = self.judge(binary, &out, &err, services);
        if verdict.is_err() {
            for path in [&err, &out] {
                println!("{}", fs::read_to_string(path).unwrap_or_default());
            }
        }
        verdict
    }

    fn judge(&self, binary: &Path, out: &Path, err: &Path, services: &Guard) -> Result<String> {
        let mut command = Command::new(binary);
        command.args(["demo", "--json", "--seed", &self.seed.to_string()]);
        if self.crash {
            command.arg("--crash");
        }
        command
            .stdin(Stdio::null())
            .stdout(File::create(out)?)
            .stderr(File::create(err)?);
        let (status, restarted) =
            if let (true, Some(url)) = (self.postgres, services.postgres_url()) {
                let config = out.with_extension("toml");
                fs::write(&config, format!("[database]\nurl = \"{url}\"\n"))?;
                command.arg("--config").arg(config);
                let restart = || services.restart_postgres();
                run_with_a_restart(&mut command, err, &restart)
            } else {
                (shell::run_within(&mut command, DEADLINE), Ok(()))
            };
        let Some(status) = status? else {
            bail!("still running after {} s, killed", DEADLINE.as_secs());
        };
        ensure!(status.success(), "ended with {status}");
        restarted.context("restarting PostgreSQL in mid-run")?;
        check(&fs::read_to_string(out)?, self.crash)
    }
}

/// Restarts PostgreSQL once the demo draws; whether it was back before all was drawn, so that draws
/// were asked for while it was away.
fn run_with_a_restart(
    command: &mut Command,
    said: &Path,
    restart: &(dyn Fn() -> Result<()> + Sync),
) -> (Result<Option<ExitStatus>>, Result<()>) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let restarting = scope.spawn(|| {
            while !has_said(said, DRAWING)? {
                ensure!(!is_over.load(Ordering::Relaxed), "no draw was asked for");
                thread::sleep(LOOK);
            }
            restart()?;
            ensure!(
                !has_said(said, DRAWN)?,
                "all was drawn before PostgreSQL was back"
            );
            Ok(())
        });
        let status = shell::run_within(command, DEADLINE);
        is_over.store(true, Ordering::Relaxed);
        let restarted = restarting.join();
        let panicked = |_| bail!("the restart of PostgreSQL panicked");
        (status, restarted.unwrap_or_else(panicked))
    })
}

fn has_said(said: &Path, what: &str) -> Result<bool> {
    Ok(fs::read_to_string(said)?.contains(what))
}

/// A new seed for each round; it is printed, and `--seed` brings the round back.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000
}

/// Reads the promises off the document.
fn check(document: &str, crash: bool) -> Result<String> {
    let document: Value =
        serde_json::from_str(document).context("the output is not one JSON document")?;
    let number = |key: &str| {
        document[key]
            .as_u64()
            .with_context(|| format!("no number `{key}`"))
    };
    let (draws, answered) = (number("draws")?, number("answered")?);
    ensure!(answered > 0, "no draw was answered");
    ensure!(
        draws == answered + number("refused")?,
        "draws are neither answered nor refused"
    );
    ensure!(number("lost")? == 0, "lost {}", number("lost")?);
    ensure!(number("double")? == 0, "double {}", number("double")?);
    ensure!(
        document["audit"]["ok"] == true,
        "the audit says {}",
        document["audit"]
    );
    let kills = number("kills")?;
    ensure!(!crash || kills > 0, "no crash hit a process at work");
    Ok(format!(
        "{draws} draws, {answered} answered, {kills} kills, lost 0, double 0, audit ok"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(changes: &[(&str, Value)]) -> String {
        let mut document = json!({
            "draws": 10, "answered": 9, "refused": 1, "lost": 0, "double": 0, "kills": 3,
            "audit": {"ok": true},
        });
        for (key, value) in changes {
            document[*key] = value.clone();
        }
        document.to_string()
    }

    fn refused(changes: &[(&str, Value)]) -> String {
        check(&document(changes), true).unwrap_err().to_string()
    }

    #[test]
    fn document_that_keeps_the_promises_passes() {
        let summary = check(&document(&[]), true).unwrap();
        assert_eq!(
            summary,
            "10 draws, 9 answered, 3 kills, lost 0, double 0, audit ok"
        );
        assert!(check(&document(&[("kills", json!(0))]), false).is_ok());
    }

    #[test]
    fn each_broken_promise_fails_the_round() {
        assert_eq!(refused(&[("lost", json!(1))]), "lost 1");
        assert_eq!(refused(&[("double", json!(2))]), "double 2");
        assert_eq!(
            refused(&[("refused", json!(0))]),
            "draws are neither answered nor refused"
        );
        assert_eq!(
            refused(&[("kills", json!(0))]),
            "no crash hit a process at work"
        );
        assert!(refused(&[("audit", json!({"ok": false}))]).starts_with("the audit says"));
        assert_eq!(
            refused(&[("draws", json!(1)), ("answered", json!(0))]),
            "no draw was answered"
        );
    }

    #[test]
    fn absent_number_is_not_zero() {
        assert_eq!(refused(&[("lost", Value::Null)]), "no number `lost`");
    }

    /// What comes of a demo that is this script, in which `$1` is there once PostgreSQL was
    /// restarted.
    fn restarted(script: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (said, back) = (directory.path().join("said"), directory.path().join("back"));
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&back);
        command.stderr(File::create(&said).unwrap());
        let restart = || Ok(fs::write(&back, "")?);
        let (status, restarted) = run_with_a_restart(&mut command, &said, &restart);
        assert!(status.unwrap().unwrap().success());
        restarted.map_or_else(|error| error.to_string(), |()| "in time".to_owned())
    }

    #[test]
    fn restart_comes_while_the_demo_draws_or_fails_the_round() {
        let wait = "until [ -e \"$1\" ]; do :; done";
        let drawing = "echo 'campaign is running: 8 prizes' >&2";
        let drawn = "echo 'all draws are answered' >&2";
        let told = [
            format!("{drawing}; {wait}"),
            format!("{drawn}; {drawing}; {wait}"),
            String::from(":"),
        ];
        assert_eq!(
            told.map(|script| restarted(&script)),
            [
                "in time",
                "all was drawn before PostgreSQL was back",
                "no draw was asked for"
            ]
        );
    }

    #[test]
    fn binary_that_is_not_there_fails_the_round() {
        let nowhere = Path::new("no/such/binary");
        assert!(
            Round::plain()
                .judge(
                    nowhere,
                    Path::new("/dev/null"),
                    Path::new("/dev/null"),
                    &Guard::default()
                )
                .is_err()
        );
    }
}
