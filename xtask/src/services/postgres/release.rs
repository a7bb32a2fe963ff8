//! The releases of PostgreSQL that can be run without being installed: programs in pinned jars, the
//! newest release of each version that is promised.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::services::jars::{self, Pin};
use crate::services::{NotHere, answers};
use crate::shell;

/// What it is called, and where its releases are pinned.
const NAME: (&str, &str) = ("PostgreSQL", "xtask/postgres");

const PINS: &str = include_str!("../../../postgres/releases.txt");

/// What the jar has the programs in.
const ARCHIVE: &str = "postgres-linux-x86_64.txz";

/// One of them.
#[derive(Debug)]
pub(crate) struct Release {
    pin: Pin<'static>,
}

impl Release {
    /// The oldest first.
    fn all() -> Result<Vec<Self>> {
        let pins = Pin::read(PINS)?.into_iter();
        Ok(pins.map(|pin| Self { pin }).collect())
    }

    /// `14.24`, or its beginning: `14`.
    pub(in crate::services) fn find(wanted: &str) -> Result<Self> {
        let all = Self::all()?;
        let found = jars::release(NAME, &all, Self::version, wanted)?;
        Ok(Self { pin: found.pin })
    }

    /// The oldest that is promised, and the newest that is pinned.
    pub(crate) fn ends() -> Result<[Self; 2]> {
        let mut all = Self::all()?;
        let newest = all.pop().context("a release is pinned")?;
        let oldest = all.into_iter().next().context("another one is pinned")?;
        Ok([oldest, newest])
    }

    /// As PostgreSQL writes it: 14.24.
    pub(crate) fn version(&self) -> &'static str {
        let version = self.pin.version;
        version.strip_suffix(".0").unwrap_or(version)
    }

    /// Its jar, fetched where it is not there, and checked.
    pub(super) fn fetched(&self) -> Result<PathBuf> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(NotHere("the pinned programs run on Linux on x86_64 alone").into());
        }
        for (program, why) in [
            ("jar", "jar is not installed, which comes with Java"),
            ("tar", "tar is not installed"),
            ("xz", "xz is not installed"),
        ] {
            if !answers(program, "--version") {
                return Err(NotHere(why).into());
            }
        }
        let name = format!("postgres-{}", self.version());
        let jar = jars::fetched(&name, &[self.pin])?.pop();
        jar.context("one pinned jar is one jar")
    }
}

/// Unpacks the programs that are in the jar into a folder by this `tar`, who may read neither the
/// jar nor what is around it: it runs as whom the programs are for.
pub(super) fn unpack(jar: &Path, tar: &mut Command, folder: &Path) -> Result<()> {
    let around = folder.parent().context("the folder is in another one")?;
    let archive = around.join(ARCHIVE);
    let mut extract = Command::new("jar");
    extract.arg("--extract").arg("--file").arg(jar).arg(ARCHIVE);
    shell::run(extract.current_dir(around))?;
    let opened =
        File::open(&archive).with_context(|| format!("{} has no {ARCHIVE}", jar.display()))?;
    tar.args(["--extract", "--xz", "--file=-", "--directory"]);
    shell::run(tar.arg(folder).stdin(opened))?;
    fs::remove_file(archive)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promised_version_is_pinned_and_the_oldest_comes_first() {
        let all = Release::all().unwrap();
        let majors: Vec<u32> = all
            .iter()
            .map(|release| release.version().split_once('.').unwrap().0)
            .map(|major| major.parse().unwrap())
            .collect();
        let promised: Vec<u32> = (14..14 + u32::try_from(all.len()).unwrap()).collect();
        assert_eq!(majors, promised);
        let [oldest, newest] = Release::ends().unwrap();
        assert_eq!(oldest.version(), all[0].version());
        assert_eq!(newest.version(), all[all.len() - 1].version());
    }

    #[test]
    fn release_is_found_by_the_beginning_of_its_version() {
        let [oldest, _] = Release::ends().unwrap();
        for wanted in ["14", oldest.version()] {
            assert_eq!(Release::find(wanted).unwrap().version(), oldest.version());
        }
        let error = Release::find("13").unwrap_err().to_string();
        assert!(
            error.starts_with("PostgreSQL 13 is not pinned, "),
            "{error}"
        );
        assert!(error.ends_with("pin it in xtask/postgres"), "{error}");
    }
}
