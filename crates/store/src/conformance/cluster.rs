//! A PostgreSQL cluster of its own for the tests: made from the installed
//! programs in a fresh directory, reached over a Unix socket in it, durable as in
//! production (fsync is on), stopped and removed when the last test lets go of it,
//! also by a panic.
//!
//! PostgreSQL refuses to run as root; then the cluster belongs to `nobody`.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may stop where it stands, as the test itself may"
)]

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tempfile::TempDir;
use tokio_postgres::Config;

/// The role that may do everything in it, without a password.
const ROLE: &str = "tombola";

/// User and group `nobody` of Linux.
const NOBODY: u32 = 65_534;

/// As a crash: no checkpoint, so the next start recovers from the log.
const STOP: [&str; 5] = ["stop", "--wait", "--silent", "--mode", "immediate"];

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    directory: TempDir,
    is_root: bool,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Cluster {
    /// The cluster that all tests running now share, `None` where PostgreSQL is not
    /// installed.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return Some(cluster);
        }
        let cluster = Arc::new(Self::alone()?);
        cluster.start("");
        *shared = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// Its first database, as the role that may do everything, over its socket.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.directory.path())
            .user(ROLE)
            .dbname("postgres");
        config
    }

    /// Its directory, in which its programs may read.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives a file of its directory to the programs alone, as keys must be.
    pub fn give(&self, file: &Path) {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        if self.is_root {
            chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Stops the server, which ends every session, and starts it again.
    pub fn restart(&self) {
        let restart = "restart --wait --silent --mode fast --log";
        self.run(
            self.command("pg_ctl")
                .args(restart.split(' '))
                .arg(self.log()),
        );
    }

    /// Ends the server as a crash does: no word to its clients, nothing more to its standbys.
    pub fn crash(&self) {
        self.run(self.command("pg_ctl").args(STOP));
    }

    /// Makes the standby a primary.
    pub fn promote(&self) {
        let promote = ["promote", "--wait", "--silent"];
        self.run(self.command("pg_ctl").args(promote));
    }

    /// Starts the server as a standby of that one.
    pub fn follow(&self, primary: &Self) {
        let signal = self.data().join("standby.signal");
        std::fs::write(&signal, "").unwrap();
        self.give(&signal);
        let host = primary.path().display();
        self.start(&format!("-c primary_conninfo='host={host} user={ROLE}'"));
    }

    /// Whether its programs are on this machine.
    pub fn is_installed() -> bool {
        let is_there = |program| match Command::new(program).arg("--version").output() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => panic!("{program}: {error}"),
        };
        is_there("initdb") && is_there("pg_ctl")
    }

    /// A cluster that no other test uses; its server is not started yet. `None` where
    /// PostgreSQL is not installed.
    pub fn alone() -> Option<Self> {
        if !Self::is_installed() {
            return None;
        }
        let cluster = Self::empty();
        // What `initdb` writes need not survive a crash; what the server writes does.
        let init = "--auth=trust --encoding=UTF8 --no-locale --no-sync --username";
        cluster.run(cluster.command("initdb").args(init.split(' ')).arg(ROLE));
        Some(cluster)
    }

    /// The same cluster once more, before either is started: a standby to be.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::empty();
        let mut cp = copy.command("cp");
        copy.run(cp.arg("--archive").arg(self.data()).arg(copy.data()));
        copy
    }

    fn empty() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("pg")
            .tempdir()
            .expect("a directory for the cluster");
        let is_root = directory.path().metadata().unwrap().uid() == 0;
        if is_root {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self { directory, is_root }
    }

    /// Starts the server, on its socket and with these settings.
    pub fn start(&self, settings: &str) {
        let options = format!(
            "-k '{}' -c listen_addresses='' -c logging_collector=off {settings}",
            self.directory.path().display()
        );
        self.run(
            self.command("pg_ctl")
                .args(["start", "--wait", "--silent", "--log"])
                .arg(self.log())
                .args(["--options", &options]),
        );
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("PGDATA", self.data())
            .env("LC_ALL", "C")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            // The server inherits them: a pipe would never end.
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, command: &mut Command) {
        let status = command.status().unwrap();
        let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(status.success(), "{command:?}: {status}\n{}", log());
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl");
        stop.args(STOP);
        // Nothing to be done where it never came up.
        drop(stop.status());
    }
}
