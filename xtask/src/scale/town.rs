//! The processes of the run, each with a directory and a log of its own, all on one database and
//! one topic; and the commands of whoever operates them.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::wire::{Answer, Call, Wire};
use crate::services::Guard;
use crate::shell::{self, Watch};

/// The key of whoever draws and operates.
pub(super) const ADMIN: &str = "tmb_a_key_of_the_scale_run_0123456789ab";

/// A process starts again until it does: PostgreSQL may be away.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Longer than `http.stop_deadline`.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const AGAIN: Duration = Duration::from_millis(200);
/// Calls of the operator, who is patient.
const TRIES_MAX: u32 = 300;
/// More than workers, so that each has some.
const PARTITIONS: &str = "12";

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Api,
    Worker,
    Rescue,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Rescue => "rescue",
        }
    }
}

/// Those that run all the time.
const STANDING: [(Role, u32); 8] = [
    (Role::Api, 1),
    (Role::Api, 2),
    (Role::Api, 3),
    (Role::Worker, 1),
    (Role::Worker, 2),
    (Role::Worker, 3),
    (Role::Rescue, 1),
    (Role::Rescue, 2),
];

/// The database, the topic and the processes.
#[derive(Debug)]
pub(super) struct Town {
    binary: PathBuf,
    directory: PathBuf,
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    name: String,
    role: Role,
    /// Where it listens; of one that is away, where it listened.
    address: Mutex<String>,
    child: Mutex<Option<Child>>,
}

impl Town {
    /// Makes tables and topic; nothing runs yet.
    pub(super) fn make(binary: &Path, directory: &Path, services: &Guard) -> Result<Self> {
        let guest = (Role::Worker, 4);
        let process = |(role, number): (Role, u32)| Process {
            name: format!("{}-{number}", role.name()),
            role,
            address: Mutex::default(),
            child: Mutex::default(),
        };
        let town = Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            processes: STANDING.into_iter().chain([guest]).map(process).collect(),
        };
        fs::write(town.config(), settings(directory, services)?)?;
        town.operate(&["migrate", "up"])?;
        let made = town.operate(&[
            "topic",
            "create",
            "--partitions",
            PARTITIONS,
            "--replication",
            "3",
        ])?;
        ensure!(made["state"] == "made", "the topic was not made: {made:#}");
        Ok(town)
    }

    /// Starts those that run all the time, all at once.
    pub(super) fn begin(&self) -> Result<()> {
        thread::scope(|scope| {
            let starts: Vec<_> = (0..STANDING.len())
                .map(|number| scope.spawn(move || self.start(number)))
                .collect();
            starts
                .into_iter()
                .try_for_each(|start| joined(start.join()))
        })
    }

    pub(super) fn standing() -> std::ops::Range<usize> {
        0..STANDING.len()
    }

    /// The worker that comes and goes.
    pub(super) fn guest() -> usize {
        STANDING.len()
    }

    pub(super) fn name(&self, number: usize) -> &str {
        &self.processes[number].name
    }

    /// Where the API answers, one of three.
    pub(super) fn api(&self, which: usize) -> String {
        let mut apis = self.processes.iter().filter(|it| it.role == Role::Api);
        let api = apis.nth(which % 3).map(|it| lock(&it.address).clone());
        api.unwrap_or_default()
    }

    /// Starts it and waits until it says where it listens.
    pub(super) fn start(&self, number: usize) -> Result<()> {
        let process = &self.processes[number];
        let watch = Watch::start();
        loop {
            let mut child = self.spawn(process)?;
            let mut line = String::new();
            let out = child.stdout.take().context("its output is piped")?;
            BufReader::new(out).read_line(&mut line)?;
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = said["address"].as_str() {
                address.clone_into(&mut lock(&process.address));
                *lock(&process.child) = Some(child);
                return Ok(());
            }
            child.kill()?;
            child.wait()?;
            ensure!(
                watch.elapsed() < START_PATIENCE,
                "{} does not start: see {}",
                process.name,
                self.log(process).display()
            );
            thread::sleep(AGAIN);
        }
    }

    /// SIGKILL; false where it is only just starting.
    pub(super) fn kill(&self, number: usize) -> Result<bool> {
        let process = &self.processes[number];
        let Some(mut child) = lock(&process.child).take() else {
            return Ok(false);
        };
        let ended = child.try_wait()?;
        ensure!(
            ended.is_none(),
            "{} ended by itself with {ended:?}: see {}",
            process.name,
            self.log(process).display()
        );
        child.kill()?;
        child.wait()?;
        Ok(true)
    }

    /// SIGTERM, and waits for the end.
    pub(super) fn stop(&self, number: usize) -> Result<ExitStatus> {
        let process = &self.processes[number];
        let child = lock(&process.child).take();
        let mut child = child.with_context(|| format!("{} does not run", process.name))?;
        let mut kill = Command::new("sh");
        shell::run(kill.args(["-c", &format!("kill -TERM {}", child.id())]))?;
        let watch = Watch::start();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if watch.elapsed() > STOP_PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!(
                    "{} did not end within {} s of SIGTERM",
                    process.name,
                    STOP_PATIENCE.as_secs()
                );
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends all, one after the other.
    pub(super) fn end(&self) -> Result<()> {
        for number in Self::standing() {
            let status = self.stop(number)?;
            ensure!(
                status.success(),
                "{} ended with {status} after SIGTERM",
                self.name(number)
            );
        }
        Ok(())
    }

    /// The document of a command, which works on the database and the topic themselves.
    pub(super) fn operate(&self, args: &[&str]) -> Result<Value> {
        let out = self.said(args)?;
        serde_json::from_str(&out).with_context(|| format!("tombola {}: no JSON", args.join(" ")))
    }

    /// The objects of a list, one a line.
    pub(super) fn list(&self, args: &[&str]) -> Result<Vec<Value>> {
        let out = self.said(args)?;
        let lines = out.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<_, _>>()?)
    }

    fn said(&self, args: &[&str]) -> Result<String> {
        let mut command = self.command("operator");
        let output = command.args(args).arg("--json").output()?;
        // What is to be said of a violation stands in the document.
        ensure!(
            output.status.success() || !output.stdout.is_empty(),
            "{} ended with {}: {}",
            shell::shown(&command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// One call of an operator, at whichever process answers.
    pub(super) fn call(&self, call: Call<'_>) -> Result<Answer> {
        let mut last = None;
        for number in 0..TRIES_MAX as usize {
            let answer = Wire::connect(&self.api(number)).and_then(|mut wire| wire.call(call));
            match answer {
                Ok(answer) if answer.status < 400 => return Ok(answer),
                Ok(answer) if answer.status < 500 => bail!(
                    "{} {}: {}",
                    call.method,
                    call.path,
                    String::from_utf8_lossy(&answer.body)
                ),
                other => last = Some(other),
            }
            thread::sleep(AGAIN);
        }
        bail!("{} {} is not answered: {last:?}", call.method, call.path)
    }

    fn spawn(&self, process: &Process) -> Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log(process))?;
        let mut command = self.command(&process.name);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--json", "--roles"])
            .arg(process.role.name())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", process.name))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TOMBOLA_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .env("TOMBOLA_DATABASE__DIRECTORY", self.directory.join(name))
            .env("TOMBOLA_BOOTSTRAP_KEY", ADMIN)
            .arg("--config")
            .arg(self.config());
        command
    }

    fn config(&self) -> PathBuf {
        self.directory.join("tombola.toml")
    }

    fn log(&self, process: &Process) -> PathBuf {
        self.directory.join(format!("{}.log", process.name))
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        for process in &self.processes {
            if let Some(mut child) = lock(&process.child).take() {
                // It may have ended already.
                child.kill().ok();
                child.wait().ok();
            }
        }
    }
}

/// What all processes share. A lease as short as the longest call allows: what a killed worker had
/// in hand waits for its end.
fn settings(directory: &Path, services: &Guard) -> Result<String> {
    let postgres = services.postgres_url().context("PostgreSQL was started")?;
    let kafka = services.kafka_servers().context("Kafka was started")?;
    Ok(format!(
        "[database]\n\
         url = \"{postgres}\"\n\
         secret_key_file = \"{}\"\n\n\
         [broker]\n\
         url = \"kafka://{kafka}\"\n\
         topic = \"scale\"\n\
         group = \"scale\"\n\n\
         [broker.kafka]\n\
         session.timeout.ms = 6000\n\n\
         [http]\n\
         rate_per_user = \"\"\n\n\
         [delivery]\n\
         lease_time = \"41s\"\n\
         retry_first = \"200ms\"\n\n\
         [log]\n\
         access = false\n",
        directory.join("secret.key").display(),
    ))
}

pub(super) fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread gave; a panic is an error.
pub(super) fn joined<T>(end: thread::Result<Result<T>>) -> Result<T> {
    end.unwrap_or_else(|_| bail!("a thread panicked"))
}
