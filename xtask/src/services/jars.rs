//! Jars of the services, fetched once by Maven into a folder outside the tree. Each is pinned: its
//! version and its checksum stand in `xtask/kafka` and `xtask/postgres`, and no other is ever used.

use std::env;
use std::fs;
use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{NotHere, answers};
use crate::shell::{self, Watch};

/// One that has not got the jars by then hangs.
const DEADLINE: Duration = Duration::from_mins(10);

/// What copies jars out of Maven's own store.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// The release that is meant: its whole version, or a beginning of it. `place` is where it would be
/// pinned.
pub(super) fn release<'a, R>(
    (program, place): (&str, &str),
    releases: &'a [R],
    version: fn(&R) -> &'static str,
    wanted: &str,
) -> Result<&'a R> {
    let is_it = |release: &&R| {
        version(release)
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    releases.iter().find(is_it).with_context(|| {
        let pinned: Vec<_> = releases.iter().map(version).collect();
        format!(
            "{program} {wanted} is not pinned, {} are: pin it in {place}",
            pinned.join(", ")
        )
    })
}

/// The pinned jars in a folder of the cache, fetched where they are not there, each checked.
pub(super) fn fetched(name: &str, pins: &[Pin<'_>]) -> Result<Vec<PathBuf>> {
    let folder = cache()?.join(name);
    if !folder.exists() {
        fetch(name, pins, &folder)?;
    }
    check(pins, &folder).with_context(|| {
        format!(
            "a jar of {name} is not the pinned one: remove {} to fetch it anew",
            folder.display()
        )
    })
}

/// The folder gets its name when all in it is there and right.
fn fetch(name: &str, pins: &[Pin<'_>], folder: &Path) -> Result<()> {
    if !answers("mvn", "--version") {
        return Err(NotHere("Maven is not installed, and the jars are not in the cache").into());
    }
    let cache = folder.parent().context("the folder is in the cache")?;
    fs::create_dir_all(cache).with_context(|| format!("creating {}", cache.display()))?;
    let scratch = tempfile::tempdir_in(cache)?;
    let (pom, jars) = (scratch.path().join("pom.xml"), scratch.path().join("jars"));
    fs::write(&pom, project(pins))?;
    eprintln!("fetching the jars of {name}");
    let watch = Watch::start();
    let mut mvn = Command::new("mvn");
    mvn.args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--file"])
        .arg(&pom)
        .arg(COPY)
        .arg(format!("-DoutputDirectory={}", jars.display()))
        .stdin(Stdio::null())
        .stdout(stderr());
    let status = shell::run_within(&mut mvn, DEADLINE)?;
    if !status.is_some_and(|status| status.success()) {
        return Err(NotHere("Maven cannot fetch the jars from here").into());
    }
    check(pins, &jars).context("Maven fetched another jar than the pinned one")?;
    eprintln!("fetched in {:.1} s", watch.elapsed().as_secs_f64());
    // Somebody else may have been faster; what is there is checked in any case.
    if fs::rename(&jars, folder).is_err() && !folder.exists() {
        bail!("{} cannot be written", folder.display());
    }
    Ok(())
}

/// Where fetched things are kept for all checkouts.
fn cache() -> Result<PathBuf> {
    let folder = |name| env::var_os(name).filter(|path| !path.is_empty());
    let user = || {
        let cache = folder("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(folder("HOME")?).join(".cache")))?;
        Some(cache.join("tombola"))
    };
    folder("TOMBOLA_CACHE")
        .map(PathBuf::from)
        .or_else(user)
        .context("no folder for the jars: set TOMBOLA_CACHE")
}

/// A jar as it is pinned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pin<'a> {
    sum: &'a str,
    group: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
}

impl<'a> Pin<'a> {
    /// Lines `CHECKSUM  GROUP:NAME:VERSION`, and remarks.
    pub(super) fn read(text: &'a str) -> Result<Vec<Self>> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| Self::of(line).with_context(|| format!("no pinned jar: `{line}`")))
            .collect()
    }

    fn of(line: &'a str) -> Option<Self> {
        let (sum, jar) = line.split_once("  ")?;
        let is_sum = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (group, jar) = jar.split_once(':').filter(|_| is_sum)?;
        let (name, version) = jar.split_once(':')?;
        Some(Self {
            sum,
            group,
            name,
            version,
        })
    }

    fn file(&self) -> String {
        format!("{}-{}.jar", self.name, self.version)
    }
}

/// A Maven project that depends on exactly these, and on nothing that they ask for themselves.
fn project(pins: &[Pin<'_>]) -> String {
    use std::fmt::Write as _;
    let mut project = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
        <modelVersion>4.0.0</modelVersion><groupId>tombola</groupId><artifactId>jars</artifactId>\
        <version>1</version><packaging>pom</packaging><dependencies>\n"
        .to_owned();
    for pin in pins {
        let Pin {
            group,
            name,
            version,
            ..
        } = pin;
        writeln!(
            project,
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version><exclusions><exclusion><groupId>*</groupId>\
             <artifactId>*</artifactId></exclusion></exclusions></dependency>"
        )
        .expect("a string takes what is written");
    }
    project + "</dependencies></project>\n"
}

/// The pinned jars in this folder; one that is missing or not as pinned is an error. What else
/// is there is not used.
fn check(pins: &[Pin<'_>], folder: &Path) -> Result<Vec<PathBuf>> {
    let one = |pin: &Pin<'_>| {
        let path = folder.join(pin.file());
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let sum = format!("{:x}", Sha256::digest(bytes));
        if sum != pin.sum {
            bail!("{} has the checksum {sum}, not {}", pin.file(), pin.sum);
        }
        Ok(path)
    };
    pins.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_without_a_whole_checksum_is_none() {
        let sum = "a".repeat(64);
        let pin = |sum: &str| Pin::read(&format!("{sum}  org.example:broker:1.0\n")).map(|_| ());
        assert!(pin(&sum).is_ok());
        assert!(pin(&sum[1..]).is_err());
        assert!(pin(&sum.replace('a', "x")).is_err());
    }

    #[test]
    fn changed_jar_is_refused_and_an_unpinned_one_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let sum = format!("{:x}", Sha256::digest(b"broker"));
        let text = format!("# A remark.\n{sum}  org.example:broker:1.0\n");
        let pins = Pin::read(&text).unwrap();
        let jar = dir.path().join("broker-1.0.jar");
        assert!(check(&pins, dir.path()).is_err(), "it is missing");
        fs::write(&jar, "broker").unwrap();
        fs::write(dir.path().join("more.jar"), "more").unwrap();
        assert_eq!(
            check(&pins, dir.path()).unwrap(),
            std::slice::from_ref(&jar)
        );
        fs::write(&jar, "br0ker").unwrap();
        let error = check(&pins, dir.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("broker-1.0.jar has the checksum"),
            "{error}"
        );
    }

    #[test]
    fn project_names_each_jar_and_asks_for_none_beside_them() {
        let text = format!("{}  org.example:broker:1.0\n", "0".repeat(64));
        let pins = Pin::read(&text).unwrap();
        let project = project(&pins);
        assert!(project.contains("<artifactId>broker</artifactId><version>1.0</version>"));
        assert_eq!(project.matches("<exclusions>").count(), pins.len());
    }
}
