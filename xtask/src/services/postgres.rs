//! A temporary PostgreSQL cluster made from the installed programs or from those of a pinned release,
//! as durable as in production: the settings that decide it keep their defaults.
//!
//! PostgreSQL refuses to run as root; then the cluster belongs to `nobody`.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::iter;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::NotHere;
use super::process::{self, KILL, Process, Signal};

mod release;

pub(crate) use release::Release;

/// The role that may do everything in the cluster, without a password.
const ROLE: &str = "tombola";

/// User and group `nobody` of Linux.
const NOBODY: u32 = 65_534;

/// Where Linux distributions put the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How a server is asked to stop: at once, and without a checkpoint where that takes too long.
const FAST: &[Signal] = &[
    ("INT", Duration::from_secs(30)),
    ("QUIT", Duration::from_secs(10)),
    KILL,
];

/// As a crash: no checkpoint, so the next start recovers from the log.
const IMMEDIATE: &[Signal] = &[("QUIT", Duration::from_secs(30)), KILL];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Clients are cut off, data is written out
    Fast,
    /// As a crash: the start recovers from the log
    Immediate,
}

/// What runs a cluster, looked for before anything is started.
#[derive(Debug)]
pub(super) enum Programs {
    /// The newest ones on this machine, in their folder.
    Installed(PathBuf),
    /// Those of a pinned release, in its jar.
    Packed(Release, PathBuf),
}

impl Programs {
    /// Of the pinned release that is asked for, else those that are installed.
    pub(super) fn find(version: Option<&str>) -> Result<Self> {
        version.map_or_else(Self::installed, |version| Self::of(Release::find(version)?))
    }

    pub(super) fn of(release: Release) -> Result<Self> {
        let jar = release
            .fetched()
            .with_context(|| format!("PostgreSQL {}", release.version()))?;
        Ok(Self::Packed(release, jar))
    }

    pub(super) fn installed() -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<_> = env::split_paths(&path).collect();
        if let Ok(versions) = fs::read_dir(VERSIONS) {
            folders.extend(versions.flatten().map(|version| version.path().join("bin")));
        }
        let newest = folders
            .into_iter()
            .filter_map(|folder| Some((version(&folder)?, folder)))
            .max_by_key(|(version, _)| *version);
        let Some((_, folder)) = newest else {
            return Err(NotHere(
                "PostgreSQL is not installed: neither the PATH nor its usual folder has `initdb` and `pg_ctl`",
            ).into());
        };
        Ok(Self::Installed(folder))
    }
}

/// Of the programs in this folder, if it has both.
fn version(folder: &Path) -> Option<(u32, u32)> {
    if !folder.join("pg_ctl").exists() {
        return None;
    }
    let output = Command::new(folder.join("initdb"))
        .arg("--version")
        .output();
    parse_version(&String::from_utf8_lossy(&output.ok()?.stdout))
}

/// Reads `initdb (PostgreSQL) 15.13 (Debian …)`; a version that is not out yet is `18beta1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text
        .split_once("(PostgreSQL) ")?
        .1
        .split_whitespace()
        .next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    let digits = major
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    Some((digits.parse().ok()?, minor.parse().unwrap_or(0)))
}

/// A cluster, running or not.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Postgres {
    programs: PathBuf,
    /// The pinned release that it is of.
    release: Option<String>,
    pub(super) directory: PathBuf,
    port: u16,
}

impl Postgres {
    pub(super) fn new(programs: &Programs, directory: PathBuf, port: u16) -> Self {
        let (programs, release) = match programs {
            Programs::Installed(folder) => (folder.clone(), None),
            Programs::Packed(release, _) => (
                unpacked(&directory).join("bin"),
                Some(release.version().to_owned()),
            ),
        };
        Self {
            programs,
            release,
            directory,
            port,
        }
    }

    /// Whether it is of this release, if one is asked for.
    pub(super) fn is(&self, version: Option<&str>) -> Result<bool> {
        let Some(version) = version else {
            return Ok(true);
        };
        let wanted = Release::find(version)?;
        Ok(self.release.as_deref() == Some(wanted.version()))
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/postgres", self.port)
    }

    /// A `PATH` on which its programs come first: tests make clusters of their own by them.
    pub(super) fn path(&self) -> Result<String> {
        let others = env::var_os("PATH").unwrap_or_default();
        let folders = iter::once(self.programs.clone()).chain(env::split_paths(&others));
        let path = env::join_paths(folders)?.into_string();
        path.ok().context("the PATH is no text")
    }

    /// Makes the cluster and starts it.
    pub(super) fn create(&self, programs: &Programs) -> Result<()> {
        self.make_folder(&self.directory)?;
        if let Programs::Packed(_, jar) = programs {
            let folder = unpacked(&self.directory);
            self.make_folder(&folder)?;
            release::unpack(jar, &mut self.as_its_user("tar".as_ref())?, &folder)?;
        }
        // What `initdb` writes need not survive a crash; what the server writes does.
        let init = "--auth=trust --encoding=UTF8 --no-locale --no-sync --username";
        self.run(self.command("initdb")?.args(init.split(' ')).arg(ROLE))?;
        let mut settings = OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))?;
        settings.write_all(self.settings().as_bytes())?;
        self.start()
    }

    /// Of whom it runs as.
    fn make_folder(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        if self.is_of_root()? {
            chown(folder, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    fn settings(&self) -> String {
        format!(
            "\n# Of the tests. What makes commits durable keeps its default.\n\
             listen_addresses = '127.0.0.1'\n\
             port = {}\n\
             unix_socket_directories = ''\n\
             max_connections = 200\n\
             shared_buffers = '256MB'\n",
            self.port
        )
    }

    /// Waits until it takes connections. `pg_ctl` gives it a session of its own.
    fn start(&self) -> Result<()> {
        let mut start = self.command("pg_ctl")?;
        start.args(["start", "--wait", "--timeout=60", "--silent", "--log"]);
        self.run(start.arg(self.directory.join("server.log")))?;
        let id = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let id = id.lines().next().and_then(|line| line.trim().parse().ok());
        let id = id.context("PostgreSQL runs and its postmaster.pid has no id")?;
        Process::of(id)?.write(&self.process_file())
    }

    pub(super) fn restart(&self, mode: Mode) -> Result<()> {
        if let Some(process) = self.process()? {
            process.stop(match mode {
                Mode::Fast => FAST,
                Mode::Immediate => IMMEDIATE,
            })?;
        }
        self.start()
    }

    pub(super) fn stop(&self) -> Result<()> {
        self.process()?
            .map_or(Ok(()), |process| process.stop(FAST))
            .context("stopping PostgreSQL")
    }

    pub(super) fn process(&self) -> Result<Option<Process>> {
        Process::read(&self.process_file())
    }

    fn process_file(&self) -> PathBuf {
        self.directory.with_extension("process")
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn is_of_root(&self) -> Result<bool> {
        // The folder around it is this program's own.
        let around = self.directory.parent().context("it is inside a folder")?;
        Ok(around.metadata()?.uid() == 0)
    }

    fn command(&self, program: &str) -> Result<Command> {
        let mut command = self.as_its_user(self.programs.join(program).as_ref())?;
        command.env("PGDATA", self.data()).env("LC_ALL", "C");
        Ok(command)
    }

    fn as_its_user(&self, program: &OsStr) -> Result<Command> {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        if self.is_of_root()? {
            command.uid(NOBODY).gid(NOBODY);
        }
        Ok(command)
    }

    /// The server inherits where output goes: a file, as a pipe would never end.
    fn run(&self, command: &mut Command) -> Result<()> {
        let log = self.directory.join("commands.log");
        let file = File::options().append(true).create(true).open(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let name = crate::shell::shown(command);
        let status = command
            .status()
            .with_context(|| format!("starting {name}"))?;
        if !status.success() {
            let server = process::log_end(&self.directory.join("server.log"));
            bail!(
                "{name} ended with {status}\n{}\n{server}",
                process::log_end(&log)
            );
        }
        Ok(())
    }
}

/// Where the programs of a pinned release are while a cluster in that directory lives.
fn unpacked(directory: &Path) -> PathBuf {
    directory.with_extension("programs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_any_form_are_read() {
        for (text, version) in [
            (
                "initdb (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n",
                (15, 13),
            ),
            ("initdb (PostgreSQL) 9.6.24\n", (9, 0)),
            ("initdb (PostgreSQL) 18beta1\n", (18, 0)),
        ] {
            assert_eq!(parse_version(text), Some(version), "{text}");
        }
        assert_eq!(parse_version("no such thing"), None);
    }

    fn cluster(programs: &Programs) -> Postgres {
        Postgres::new(programs, "/x/postgres".into(), 21_000)
    }

    #[test]
    fn release_that_is_asked_for_must_be_the_one_that_runs() {
        let installed = cluster(&Programs::Installed("/programs".into()));
        assert!(installed.is(None).unwrap());
        assert!(!installed.is(Some("14")).unwrap());
        let release = Release::find("14").unwrap();
        let pinned = cluster(&Programs::Packed(release, "/cache/14.jar".into()));
        assert!(pinned.is(None).unwrap());
        assert!(pinned.is(Some("14")).unwrap());
        assert!(!pinned.is(Some("15")).unwrap());
        assert!(pinned.is(Some("13")).is_err());
    }

    #[test]
    fn settings_that_make_commits_durable_are_not_touched() {
        let postgres = cluster(&Programs::Installed("/programs".into()));
        let settings = postgres.settings();
        for name in ["fsync", "synchronous_commit", "full_page_writes", "wal_"] {
            assert!(!settings.contains(name), "{name}");
        }
        assert!(settings.contains("port = 21000\n"));
        assert_eq!(
            postgres.url(),
            "postgres://tombola@127.0.0.1:21000/postgres"
        );
    }
}
