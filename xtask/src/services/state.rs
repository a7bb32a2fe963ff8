//! What one instance of the services consists of, kept in a file so that later commands find it.
//!
//! The file is written before the first server starts, so that `down` also cleans up after an `up`
//! that was broken off. Which processes run stands beside each server's directory.

use std::env;
use std::fs::{self, File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::kafka::Kafka;
use super::postgres::Postgres;

/// Ports below those that Linux hands out by itself: nobody takes one while its server is away.
const PORTS: Range<u16> = 20_000..30_000;

/// The beginning of the name of every directory that `remove` may remove.
const PREFIX: &str = "tombola-services-";

/// Where the file of an instance stands.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Held by `up` and `down`, so that two of them do not mix.
    pub(super) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.0).with_context(|| format!("creating {}", self.0.display()))?;
        let lock = File::create(self.0.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    pub(super) fn load(&self) -> Result<Option<State>> {
        let path = self.file();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)?;
        let state = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} cannot be read: end the servers by hand, then remove that file",
                path.display()
            )
        })?;
        Ok(Some(state))
    }

    pub(super) fn save(&self, state: &State) -> Result<()> {
        fs::write(self.file(), serde_json::to_string_pretty(state)?)?;
        Ok(())
    }

    /// Removes what the servers wrote, then the file that tells of them.
    pub(super) fn remove(&self, state: &State) -> Result<()> {
        let directory = &state.directory;
        let is_ours = directory
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        ensure!(
            is_ours,
            "{} is no directory of services: it stays",
            directory.display()
        );
        if directory.exists() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("removing {}", directory.display()))?;
        }
        fs::remove_file(self.file())?;
        Ok(())
    }

    /// A new directory for the servers: here, unless they could not reach it. PostgreSQL does not
    /// run as root, and whom it runs as then may not enter every folder.
    pub(super) fn new_directory(&self) -> Result<PathBuf> {
        let is_root = self.0.metadata()?.uid() == 0;
        let around = if is_root && !is_open_to_all(&self.0) {
            env::temp_dir()
        } else {
            self.0.clone()
        };
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&around)
            .with_context(|| format!("making a directory in {}", around.display()))?
            .keep();
        fs::set_permissions(&directory, Permissions::from_mode(0o755))?;
        Ok(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.json")
    }
}

/// Whether every user may pass through all folders of the path.
fn is_open_to_all(path: &Path) -> bool {
    let is_open = |folder: &Path| {
        folder
            .metadata()
            .is_ok_and(|metadata| metadata.mode() & 0o001 != 0)
    };
    path.ancestors().all(is_open)
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) directory: PathBuf,
    pub(super) postgres: Option<Postgres>,
    pub(super) kafka: Option<Kafka>,
}

/// Ports of the loopback that nobody listens on, all different.
pub(super) fn free_ports(count: usize) -> Result<Vec<u16>> {
    free_ports_in(PORTS, count)
}

fn free_ports_in(range: Range<u16>, count: usize) -> Result<Vec<u16>> {
    // From a place of its own, so that two instances that start at once do not try the same ones.
    let place = RandomState::new().build_hasher().finish() % range.len() as u64;
    let (before, after): (Vec<u16>, Vec<u16>) = range
        .clone()
        .partition(|port| u64::from(port - range.start) < place);
    let mut held = Vec::new();
    for port in after.into_iter().chain(before) {
        if held.len() == count {
            break;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        bail!("no {count} free ports in {range:?} of 127.0.0.1: end what listens there");
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("services"));
        drop(home.lock().unwrap());
        (dir, home)
    }

    fn state(directory: PathBuf) -> State {
        State {
            kafka: Some(Kafka::example(&directory)),
            postgres: None,
            directory,
        }
    }

    #[test]
    fn free_ports_differ_and_a_taken_one_is_not_among_them() {
        let mut ports = free_ports(8).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = free_ports_in(port..port + 1, 1).unwrap_err().to_string();
        assert!(error.starts_with("no 1 free ports"), "{error}");
    }

    #[test]
    fn state_is_loaded_as_it_was_saved_and_gone_once_removed() {
        let (_dir, home) = home();
        assert_eq!(home.load().unwrap(), None);
        let state = state(home.new_directory().unwrap());
        home.save(&state).unwrap();
        assert_eq!(home.load().unwrap().as_ref(), Some(&state));
        home.remove(&state).unwrap();
        assert!(!state.directory.exists());
        assert_eq!(home.load().unwrap(), None);
    }

    #[test]
    fn state_that_cannot_be_read_says_what_to_do() {
        let (_dir, home) = home();
        fs::write(home.file(), "{").unwrap();
        let error = home.load().unwrap_err().to_string();
        assert!(error.contains("end the servers by hand"), "{error}");
    }

    #[test]
    fn directory_of_others_is_not_removed() {
        let (dir, home) = home();
        let state = state(dir.path().to_path_buf());
        home.save(&state).unwrap();
        assert!(home.remove(&state).is_err());
        assert!(dir.path().exists());
    }

    #[test]
    fn folder_that_one_user_may_enter_is_not_open_to_all() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        fs::create_dir(&inside).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open_to_all(&inside));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(is_open_to_all(&inside));
    }
}
