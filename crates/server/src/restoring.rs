//! How a restored database takes its place, in one decision: once it is whole and
//! durable under the name `….restoring`, the restore is done, and whoever opens the
//! directory next finishes it. What was there before is moved aside, file by file,
//! and never removed.

use crate::directory::{remove_if_there, sync_directory};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tombola_core::Timestamp;

/// What SQLite keeps beside a database, the database itself first.
const PARTS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// One database file and the names around it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    database: PathBuf,
}

impl Place {
    /// Of the database at this path.
    pub(crate) fn new(database: impl Into<PathBuf>) -> Self {
        Self {
            database: database.into(),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.database, suffix)
    }

    /// Where a restore is at work; nothing is decided yet.
    pub(crate) fn draft(&self) -> PathBuf {
        self.beside(".restoring.part")
    }

    /// Where a database waits that takes the place.
    pub(crate) fn decided(&self) -> PathBuf {
        self.beside(".restoring")
    }

    /// Whether a database is here, or what an earlier one left, or one that is
    /// about to come.
    pub(crate) fn is_taken(&self) -> io::Result<bool> {
        Ok(!self.present()?.is_empty() || self.decided().try_exists()?)
    }

    fn present(&self) -> io::Result<Vec<&'static str>> {
        let mut present = Vec::new();
        for part in PARTS {
            if self.beside(part).try_exists()? {
                present.push(part);
            }
        }
        Ok(present)
    }

    /// Removes what a restore left that did not come to its decision.
    pub(crate) fn clear_draft(&self) -> io::Result<()> {
        remove_database(&self.draft())
    }

    /// Decides: from here on the database of the draft is the one of this place.
    pub(crate) fn decide(&self) -> io::Result<()> {
        fs::rename(self.draft(), self.decided())?;
        sync_directory(self.folder())
    }

    /// Finishes what was decided, if anything was: moves what is here aside and the
    /// new database to its place. Gives where the old one is, if there was one. May
    /// be broken off at any point and run again.
    pub(crate) fn finish(&self) -> io::Result<Option<PathBuf>> {
        if !self.decided().try_exists()? {
            return Ok(None);
        }
        let mut kept = None;
        for (from, to) in self.moves()? {
            if to.try_exists()? {
                let what = format!("{} is in the way", to.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            fs::rename(from, &to)?;
            kept.get_or_insert(to);
        }
        if kept.is_some() {
            // No old log may ever stand beside the new database.
            sync_directory(self.folder())?;
        }
        fs::rename(self.decided(), &self.database)?;
        sync_directory(self.folder())?;
        Ok(kept)
    }

    /// What moves aside, in order. The new name comes from the decision, so that a
    /// second run goes on where the first was broken off.
    fn moves(&self) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let at = fs::metadata(self.decided())?.modified()?;
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(i64::try_from(since.as_micros()).unwrap_or_default());
        let at = at.to_jiff().strftime("%Y%m%dT%H%M%S.%3fZ");
        let pair = |part: &str| {
            let aside = format!(".replaced-{at}{part}");
            (self.beside(part), self.beside(&aside))
        };
        Ok(self.present()?.into_iter().map(pair).collect())
    }

    fn folder(&self) -> &Path {
        let folder = self.database.parent().unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        }
    }
}

/// Removes a database that nobody needs, if it is there. Its journal as well: SQLite
/// would roll that one back into the next database of the name.
pub(crate) fn remove_database(path: &Path) -> io::Result<()> {
    PARTS
        .iter()
        .try_for_each(|part| remove_if_there(&with_suffix(path, part)))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place with an old database, its log, and a new one that was decided on.
    fn decided() -> (tempfile::TempDir, Place) {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(temp.path().join("t.db"));
        fs::write(temp.path().join("t.db"), "old").unwrap();
        fs::write(temp.path().join("t.db-wal"), "old log").unwrap();
        fs::write(place.draft(), "new").unwrap();
        place.decide().unwrap();
        (temp, place)
    }

    fn read(place: &Place, suffix: &str) -> Option<String> {
        fs::read_to_string(place.beside(suffix)).ok()
    }

    #[test]
    fn new_database_takes_the_place_and_the_old_one_stands_beside_it_with_its_log() {
        let (_temp, place) = decided();
        let kept = Place::new(place.finish().unwrap().unwrap());
        assert_eq!(read(&place, "").as_deref(), Some("new"));
        assert_eq!(read(&place, "-wal"), None);
        assert_eq!(read(&kept, "").as_deref(), Some("old"));
        assert_eq!(read(&kept, "-wal").as_deref(), Some("old log"));
        assert_eq!(place.finish().unwrap(), None, "there is nothing more to do");
    }

    /// Aim: a death between any two renames leaves what the next run needs.
    #[test]
    fn finish_that_was_broken_off_after_any_move_is_gone_on_with() {
        for done in 0..=2 {
            let (_temp, place) = decided();
            let moves = place.moves().unwrap();
            assert_eq!(moves.len(), 2);
            for (from, to) in moves.iter().take(done) {
                fs::rename(from, to).unwrap();
            }
            place.finish().unwrap();
            assert_eq!(read(&place, "").as_deref(), Some("new"), "{done}");
            assert_eq!(read(&place, "-wal"), None, "{done}");
            let kept = |pair: &(PathBuf, PathBuf)| fs::read_to_string(&pair.1).unwrap();
            assert_eq!(
                moves.iter().map(kept).collect::<Vec<_>>(),
                ["old", "old log"]
            );
        }
    }

    #[test]
    fn draft_decides_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(temp.path().join("t.db"));
        fs::write(place.draft(), "half").unwrap();
        fs::write(place.beside(".restoring.part-journal"), "half").unwrap();
        assert!(!place.is_taken().unwrap());
        assert_eq!(place.finish().unwrap(), None);
        assert!(!temp.path().join("t.db").exists());
        place.clear_draft().unwrap();
        let left = fs::read_dir(temp.path()).unwrap().count();
        assert_eq!(
            left, 0,
            "a journal of it would be rolled back into the next"
        );
    }

    #[test]
    fn log_that_was_left_alone_is_a_database_that_is_here() {
        let temp = tempfile::tempdir().unwrap();
        let place = Place::new(temp.path().join("t.db"));
        fs::write(temp.path().join("t.db-wal"), "log").unwrap();
        assert!(place.is_taken().unwrap());
    }
}
