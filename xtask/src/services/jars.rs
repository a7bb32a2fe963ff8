//! Kafka's jars, fetched once by Maven into a folder outside the tree. Each is pinned: its version
//! and its checksum stand in `xtask/kafka`, and no other jar is ever run.

use std::env;
use std::fs;
use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::NotHere;
use crate::shell::{self, Watch};

/// A release of Kafka that can be run.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) version: &'static str,
    pins: &'static str,
    /// The property that names the logging configuration.
    pub(super) logging_property: &'static str,
    pub(super) logging: &'static str,
}

/// The first is the default.
const RELEASES: &[Release] = &[
    Release {
        version: "4.4.0",
        pins: include_str!("../../kafka/4.4.0.txt"),
        logging_property: "log4j2.configurationFile",
        logging: include_str!("../../kafka/log4j2.properties"),
    },
    Release {
        version: "3.9.2",
        pins: include_str!("../../kafka/3.9.2.txt"),
        logging_property: "log4j.configuration",
        logging: include_str!("../../kafka/log4j.properties"),
    },
];

/// One that has not got the jars by then hangs.
const DEADLINE: Duration = Duration::from_mins(10);

/// What copies jars out of Maven's own store.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

impl Release {
    /// `4.4.0`, or its beginning: `4`.
    pub(super) fn find(wanted: Option<&str>) -> Result<&'static Self> {
        let Some(wanted) = wanted else {
            return Ok(&RELEASES[0]);
        };
        let is_it = |release: &&Release| {
            release
                .version
                .strip_prefix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        RELEASES.iter().find(is_it).with_context(|| {
            let pinned: Vec<_> = RELEASES.iter().map(|release| release.version).collect();
            format!(
                "Kafka {wanted} is not pinned, {} are: pin it in xtask/kafka",
                pinned.join(" and ")
            )
        })
    }

    /// The class path, fetched where it is not there, each jar checked.
    pub(super) fn class_path(&self) -> Result<String> {
        class_path(&format!("kafka-{}", self.version), self.pins)
    }
}

/// What the other side of the topic needs beside Kafka's jars, and who compiles it.
pub(super) fn of_clients() -> Result<String> {
    let javac = Command::new("javac").arg("-version").output();
    if !javac.is_ok_and(|output| output.status.success()) {
        return Err(NotHere("javac is not installed, which compiles the clients in Java").into());
    }
    class_path("fastjson", include_str!("../../kafka/fastjson.txt"))
}

/// The pinned jars in a folder of the cache.
fn class_path(name: &str, pinned: &str) -> Result<String> {
    let pins = pins(pinned)?;
    let folder = cache()?.join(name);
    if !folder.exists() {
        fetch(name, &pins, &folder)?;
    }
    let jars = check(&pins, &folder).with_context(|| {
        format!(
            "a jar of {name} is not the pinned one: remove {} to fetch it anew",
            folder.display()
        )
    })?;
    let jars: Vec<_> = jars.iter().map(|jar| jar.to_string_lossy()).collect();
    Ok(jars.join(":"))
}

/// The folder gets its name when all in it is there and right.
fn fetch(name: &str, pins: &[Pin<'_>], folder: &Path) -> Result<()> {
    let mvn = Command::new("mvn").arg("--version").output();
    if !mvn.is_ok_and(|output| output.status.success()) {
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
    mvn.args(["--batch-mode", "--quiet", "--file"])
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
        .context("no folder for Kafka's jars: set TOMBOLA_CACHE")
}

/// A jar as it is pinned.
#[derive(Debug, PartialEq)]
struct Pin<'a> {
    sum: &'a str,
    group: &'a str,
    name: &'a str,
    version: &'a str,
}

impl Pin<'_> {
    fn file(&self) -> String {
        format!("{}-{}.jar", self.name, self.version)
    }
}

/// Lines `CHECKSUM  GROUP:NAME:VERSION`, and remarks.
fn pins(text: &str) -> Result<Vec<Pin<'_>>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| pin(line).with_context(|| format!("no pinned jar: `{line}`")))
        .collect()
}

fn pin(line: &str) -> Option<Pin<'_>> {
    let (sum, jar) = line.split_once("  ")?;
    let (group, jar) = jar.split_once(':')?;
    let (name, version) = jar.split_once(':')?;
    Some(Pin {
        sum,
        group,
        name,
        version,
    })
}

/// A Maven project that depends on exactly these, and on nothing that they ask for themselves.
fn project(pins: &[Pin<'_>]) -> String {
    use std::fmt::Write as _;
    let mut project = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
        <modelVersion>4.0.0</modelVersion><groupId>tombola</groupId><artifactId>kafka</artifactId>\
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
/// is there is not run.
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
    fn each_release_pins_its_broker_by_checksum() {
        for release in RELEASES {
            let pins = pins(release.pins).unwrap();
            let broker = pins.iter().find(|pin| pin.name == "kafka_2.13");
            assert_eq!(broker.map(|pin| pin.version), Some(release.version));
            for pin in &pins {
                let is_hex = pin.sum.bytes().all(|byte| byte.is_ascii_hexdigit());
                assert!(pin.sum.len() == 64 && is_hex, "{pin:?}");
            }
        }
    }

    #[test]
    fn release_is_found_by_the_beginning_of_its_version() {
        let version = |wanted| Release::find(wanted).map(|release| release.version);
        assert_eq!(version(None).unwrap(), RELEASES[0].version);
        assert_eq!(version(Some("3")).unwrap(), RELEASES[1].version);
        let error = version(Some("3.9.22")).unwrap_err().to_string();
        assert!(error.contains("pin it in xtask/kafka"), "{error}");
    }

    #[test]
    fn changed_jar_is_refused_and_an_unpinned_one_is_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let sum = format!("{:x}", Sha256::digest(b"broker"));
        let text = format!("# A remark.\n{sum}  org.example:broker:1.0\n");
        let pins = pins(&text).unwrap();
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
        let pins = pins("00  org.example:broker:1.0\n").unwrap();
        let project = project(&pins);
        assert!(project.contains("<artifactId>broker</artifactId><version>1.0</version>"));
        assert_eq!(project.matches("<exclusions>").count(), pins.len());
    }
}
