//! `secret.key` of the data directory: the secrets that claim tokens, and keys that
//! seal rows of the database, are derived from. One line a version: its number and
//! 32 bytes in base64url. The newest signs and seals; the older ones stay as long as
//! something of theirs is there. Where many processes have a copy each, the newest line
//! may end with the word `waits`: that version verifies and opens and does not sign or
//! seal yet, until every process has it.
//!
//! # What each failure does
//! The file is replaced as a whole: written beside it, made durable, moved over it,
//! and the move made durable. Only then is a new version used, so that nothing is
//! ever sealed under a secret that a crash could take away.

use crate::directory::{Directory, replace_private, sync_directory};
use crate::random;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tombola_store::SealKeys;

/// All versions of the secret.
#[derive(Clone)]
pub struct Secrets {
    path: PathBuf,
    versions: BTreeMap<i32, [u8; 32]>,
    /// The newest one, where it is not in use yet.
    waiting: Option<i32>,
}

/// The last word of the line of a version that is not in use yet.
const WAITS: &str = "waits";

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("path", &self.path)
            .field("versions", &self.versions.keys())
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the file; `None` if it is not there.
    pub fn read(directory: &Directory) -> io::Result<Option<Self>> {
        let path = directory.secret_key();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match read_lines(&text) {
            Some((versions, waiting)) => Ok(Some(Self {
                path,
                versions,
                waiting,
            })),
            None => Err(io::Error::other(format!(
                "{}: each line has to be a version from 1 on and its secret, and the newest of several may \
                 end with `{WAITS}`",
                path.display()
            ))),
        }
    }

    /// Makes the file, with a version 1. Another process may make it at the same time:
    /// then both have the file that was there first.
    pub fn create(directory: &Directory) -> io::Result<Self> {
        let path = directory.secret_key();
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{:016x}", u64::from_be_bytes(random::bytes())));
        let mut made = Self {
            path: PathBuf::from(&beside),
            versions: BTreeMap::new(),
            waiting: None,
        };
        made = made.with_new()?;
        made.path.clone_from(&path);
        let linked = fs::hard_link(&beside, &path);
        fs::remove_file(&beside)?;
        sync_directory(
            path.parent()
                .filter(|it| !it.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )?;
        match linked {
            Ok(()) => Ok(made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(directory)?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The same with one version more, which is in durable storage when this returns.
    pub fn with_new(&self) -> io::Result<Self> {
        let mut new = self.clone();
        let last = self.versions().next_back().unwrap_or(0);
        new.versions.insert(last + 1, random::bytes());
        new.waiting = None;
        let text = new
            .versions
            .iter()
            .fold(String::new(), |mut text, (version, secret)| {
                let secret = URL_SAFE_NO_PAD.encode(secret);
                writeln!(text, "{version} {secret}").expect("a String takes all that is written");
                text
            });
        replace_private(&self.path, &text)?;
        Ok(new)
    }

    /// The version that signs and seals.
    pub fn newest(&self) -> i32 {
        self.by_use().next().unwrap_or(0)
    }

    /// All versions: the one in use, the older ones, and one that is not in use yet.
    pub fn by_use(&self) -> impl Iterator<Item = i32> {
        let in_use = self.versions().rev().filter(|it| Some(*it) != self.waiting);
        in_use.chain(self.waiting)
    }

    /// All versions, the oldest first.
    pub fn versions(&self) -> impl DoubleEndedIterator<Item = i32> {
        self.versions.keys().copied()
    }

    /// The secret of a version.
    pub fn of(&self, version: i32) -> Option<&[u8; 32]> {
        self.versions.get(&version)
    }

    /// For the store.
    pub fn seal_keys(&self) -> SealKeys {
        SealKeys::new(self.path.display().to_string(), self.versions.clone())
            .with_waiting(self.waiting)
    }
}

/// The versions, and the one that waits: the newest, and not the only one.
type Lines = (BTreeMap<i32, [u8; 32]>, Option<i32>);

fn read_lines(text: &str) -> Option<Lines> {
    let (mut versions, mut waiting) = (BTreeMap::new(), None);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, waits) = match line.strip_suffix(WAITS) {
            Some(line) => (line, true),
            None => (line, false),
        };
        let (version, secret) = read_line(line)?;
        versions.insert(version, secret);
        if waits && waiting.replace(version).is_some() {
            return None;
        }
    }
    let newest = versions.keys().next_back().copied()?;
    let is_good = waiting.is_none_or(|it| it == newest && versions.len() > 1);
    is_good.then_some((versions, waiting))
}

fn read_line(line: &str) -> Option<(i32, [u8; 32])> {
    let (version, secret) = line.trim().split_once(' ')?;
    let version = version.parse().ok().filter(|version| *version > 0)?;
    let secret = URL_SAFE_NO_PAD.decode(secret.trim()).ok()?;
    Some((version, secret.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn new_version_stands_behind_the_older_ones_for_the_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        assert!(Secrets::read(&directory).unwrap().is_none());
        let first = Secrets::create(&directory).unwrap();
        let second = first.with_new().unwrap();
        assert_eq!((first.newest(), second.newest()), (1, 2));
        let read = Secrets::read(&directory).unwrap().unwrap();
        assert_eq!(read.versions, second.versions);
        assert_eq!(read.of(1), first.of(1));
        assert_ne!(read.of(1), read.of(2));
        let mode = fs::metadata(directory.secret_key()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(temp.path()).unwrap().count(),
            1,
            "nothing is left"
        );
    }

    #[test]
    fn file_that_a_crash_left_half_written_is_in_nobodys_way() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        let first = Secrets::create(&directory).unwrap();
        fs::write(temp.path().join("secret.key.new"), "2 half").unwrap();
        let read = Secrets::read(&directory).unwrap().unwrap();
        assert_eq!(read.versions, first.versions);
        assert_eq!(read.with_new().unwrap().newest(), 2);
    }

    #[test]
    fn version_that_waits_is_known_and_not_in_use_until_the_word_is_gone() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        let [one, two] = [[1_u8; 32], [2_u8; 32]].map(|it| URL_SAFE_NO_PAD.encode(it));
        let with = |text: String| {
            fs::write(directory.secret_key(), text).unwrap();
            Secrets::read(&directory)
        };
        let waits = with(format!("1 {one}\n2 {two} waits\n")).unwrap().unwrap();
        assert_eq!(waits.newest(), 1);
        assert_eq!(waits.of(2), Some(&[2; 32]));
        assert_eq!(waits.by_use().collect::<Vec<_>>(), [1, 2]);
        let used = with(format!("1 {one}\n2 {two}\n")).unwrap().unwrap();
        assert_eq!(used.by_use().collect::<Vec<_>>(), [2, 1]);
        let third = waits.with_new().unwrap();
        assert_eq!(third.by_use().collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!(third.of(2), waits.of(2));
        for text in [
            format!("1 {one} waits\n"),
            format!("1 {one} waits\n2 {two}\n"),
            format!("1 {one}\n2 {two} waits\n3 {two} waits\n"),
        ] {
            assert!(with(text).is_err());
        }
    }

    #[test]
    fn file_that_cannot_be_read_is_an_error_and_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let directory = Directory::new(temp.path());
        let secret = URL_SAFE_NO_PAD.encode([7_u8; 32]);
        for text in ["", "nonsense\n", "1 short\n", &format!("0 {secret}\n")] {
            fs::write(directory.secret_key(), text).unwrap();
            let error = Secrets::read(&directory).unwrap_err().to_string();
            assert!(error.contains("secret.key: each line"), "{error}");
            assert_eq!(fs::read_to_string(directory.secret_key()).unwrap(), text);
        }
    }
}
