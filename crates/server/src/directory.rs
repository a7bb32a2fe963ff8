//! The data directory: `tombola.db, admin.key, secret.key, lock, tombola.sock`.
//! Whoever holds the lock is the only process that has the database open for
//! writing; it is given back by the system when the process ends, however it ends.

use crate::config::Database;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Paths of one data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    root: PathBuf,
    /// Where the secrets are, if not here.
    secret_key: Option<PathBuf>,
}

/// The lock of a data directory, held until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Directory {
    /// The directory at `root`; nothing is made yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            secret_key: None,
        }
    }

    /// The data directory of that config.
    pub fn of(database: &Database) -> Self {
        let elsewhere = database.is_postgres() && !database.secret_key_file.is_empty();
        Self {
            secret_key: elsewhere.then(|| PathBuf::from(&database.secret_key_file)),
            ..Self::new(database.directory().unwrap_or_default())
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The key of the first start.
    pub fn admin_key(&self) -> PathBuf {
        self.root.join("admin.key")
    }

    /// The secrets that sign claim tokens and seal rows.
    pub fn secret_key(&self) -> PathBuf {
        self.secret_key
            .clone()
            .unwrap_or_else(|| self.root.join("secret.key"))
    }

    /// Where a running server takes a backup that is fetched over the API; it has no
    /// name any more once it is whole.
    pub fn backup(&self) -> PathBuf {
        self.root.join("backup.tmp")
    }

    /// Where a running server listens for commands of this machine.
    pub fn socket(&self) -> PathBuf {
        self.root.join("tombola.sock")
    }

    /// Makes it, for its owner only, if it is not there.
    pub fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Whether a process has the lock at this moment; makes nothing.
    pub fn is_locked(&self) -> io::Result<bool> {
        let file = match File::open(self.lock()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the lock; `None` while another process has it.
    pub fn try_lock(&self) -> io::Result<Option<DirectoryLock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.lock())?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirectoryLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Bytes that whoever runs this may still write on the file system of `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file, if it is there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file that only its owner may read; an error if it is there.
pub(crate) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Replaces a file that only its owner may read, or makes it: after a crash it is
/// the old one or the new one, whole. When this returns it is the new one.
pub(crate) fn replace_private(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    write_private(Path::new(&beside), text)?;
    fs::rename(&beside, path)?;
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn lock_is_held_by_one_at_a_time_and_freed_when_dropped() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path().join("data"));
        directory.create().unwrap();
        assert!(!directory.is_locked().unwrap());
        assert!(
            !directory.root().join("lock").exists(),
            "a look makes nothing"
        );
        let first = directory.try_lock().unwrap();
        assert!(first.is_some());
        assert!(directory.is_locked().unwrap());
        assert!(directory.try_lock().unwrap().is_none());
        drop(first);
        assert!(directory.try_lock().unwrap().is_some());
    }

    #[test]
    fn private_files_are_for_their_owner_and_never_overwritten() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("admin.key");
        write_private(&path, "one").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(write_private(&path, "two").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
