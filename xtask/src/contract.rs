//! Requests made up from the OpenAPI document, sent to a server in the middle of its work: none is
//! answered with a fault, or with a status, a header or a body that the document does not know, and
//! none that the document forbids is taken. Afterwards the audit holds.
//!
//! The generator is Schemathesis, a package of Python: pinned by hashes in
//! `tests/contract/requirements.txt`, installed once into the build directory. A machine without
//! Python, or that cannot fetch the packages, skips it.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::codegen;
use crate::shell::{self, Watch, Workspace};

/// It takes a minute; on a machine that does other things as well, more.
const DEADLINE: Duration = Duration::from_mins(10);
/// Longest time to fetch and install the packages.
const INSTALL_DEADLINE: Duration = Duration::from_mins(5);
/// Where the Python side lies.
const FOLDER: &str = "tests/contract";
/// Chooses other requests.
const SEED_VARIABLE: &str = "TOMBOLA_CONTRACT_SEED";
/// The gate sends the same requests each time, so that a change is all that can turn it red.
const SEED: &str = "1";

/// How it ended, if it did not fail.
pub(crate) enum Ended {
    Passed(String),
    Skipped(String),
}

pub(crate) fn run(workspace: &Workspace) -> Result<Ended> {
    let watch = Watch::start();
    let folder = workspace.root().join(FOLDER);
    let python = match python(workspace, &folder)? {
        Ok(python) => python,
        Err(why) => return Ok(Ended::Skipped(why)),
    };
    let binary = codegen::binary(workspace)?;
    let scratch = workspace.scratch("contract")?;
    let seed = env::var(SEED_VARIABLE).unwrap_or_else(|_| SEED.to_owned());
    println!("contract: seed {seed}, {SEED_VARIABLE} chooses another");
    let server = Server::start(&binary, &scratch)?;
    let log = scratch.join("requests.log");
    let mut requests = Command::new(python);
    requests
        .arg(folder.join("run.py"))
        .args([&server.url, &seed])
        .arg(server.data.join("admin.key"))
        .current_dir(&scratch)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    let status = shell::run_within(&mut requests, DEADLINE)?;
    let said = fs::read_to_string(&log)?;
    if !status.is_some_and(|status| status.success()) {
        println!("{said}");
        let log = server.log.display();
        bail!("see above for seed {seed}; what the server said is in {log}");
    }
    audit(&binary, &server.data)?;
    let seconds = watch.elapsed().as_secs();
    Ok(Ended::Passed(format!("{}, {seconds} s", summary(&said))))
}

/// `5200 generated, 5200 passed`, as the generator counts them.
fn summary(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| *line != "Test cases:");
    let count = lines.nth(1).unwrap_or_default().trim();
    format!("{count}, audit ok")
}

fn audit(binary: &Path, data: &Path) -> Result<()> {
    let audit = Command::new(binary)
        .arg("--data")
        .arg(data)
        .args(["audit", "--full"])
        .output()?;
    ensure!(
        audit.status.success(),
        "afterwards the audit does not hold:\n{}",
        String::from_utf8_lossy(&audit.stdout)
    );
    Ok(())
}

/// The interpreter that has the packages, or why there is none.
fn python(workspace: &Workspace, folder: &Path) -> Result<Result<PathBuf, String>> {
    let home = workspace.target().join("contract");
    let python = home.join("bin").join("python");
    let wanted = fs::read_to_string(folder.join("requirements.txt"))?;
    let stamp = home.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(Ok(python));
    }
    if !succeeds(Command::new("python3").args(["-m", "venv", "--help"]))? {
        return Ok(Err("there is no python3 with venv here".to_owned()));
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--require-hashes"])
        .args(["--disable-pip-version-check", "--retries=1", "--timeout=20"])
        .arg("--requirement")
        .arg(folder.join("requirements.txt"));
    if !made || !succeeds(&mut install)? {
        let why = format!("the packages of {FOLDER}/requirements.txt cannot be installed here");
        return Ok(Err(why));
    }
    fs::write(stamp, wanted)?;
    Ok(Ok(python))
}

/// Whether it is there and ends well in time.
fn succeeds(command: &mut Command) -> Result<bool> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    match shell::run_within(command, INSTALL_DEADLINE) {
        Ok(status) => Ok(status.is_some_and(|status| status.success())),
        Err(error) if is_not_there(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_not_there(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::NotFound)
}

/// A server on a free port, ended when it is dropped.
struct Server {
    child: Child,
    url: String,
    data: PathBuf,
    log: PathBuf,
}

impl Server {
    fn start(binary: &Path, scratch: &Path) -> Result<Self> {
        let (data, log) = (scratch.join("data"), scratch.join("serve.log"));
        let mut child = Command::new(binary)
            .arg("--data")
            .arg(&data)
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            // Thousands of requests of a few users are no crowd here.
            .env("TOMBOLA_HTTP__RATE_PER_USER", "")
            .env("TOMBOLA_HTTP__RATE_PER_PEER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .context("starting the server")?;
        let output = child.stdout.take().context("its output is piped")?;
        let mut server = Self {
            child,
            url: String::new(),
            data,
            log,
        };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(address) = said["address"].as_str() else {
            let log = fs::read_to_string(&server.log)?;
            bail!("the server did not start:\n{log}");
        };
        server.url = format!("http://{address}");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            println!("contract: the server did not end: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_the_line_below_its_heading() {
        let said = "Seed: 1\n\nTest cases:\n  12 generated, 12 passed\n";
        assert_eq!(summary(said), "12 generated, 12 passed, audit ok");
    }

    #[test]
    fn program_that_is_not_there_is_no_error() {
        assert!(!succeeds(&mut Command::new("no/such/python3")).unwrap());
    }
}
