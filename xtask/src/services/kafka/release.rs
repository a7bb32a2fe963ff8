//! The releases of Kafka that can be run, each by pinned jars.

use std::path::PathBuf;

use anyhow::Result;

use crate::services::jars::{self, Pin};
use crate::services::{NotHere, answers};

/// What it is called, and where its releases are pinned.
const NAME: (&str, &str) = ("Kafka", "xtask/kafka");

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
        pins: include_str!("../../../kafka/4.4.0.txt"),
        logging_property: "log4j2.configurationFile",
        logging: include_str!("../../../kafka/log4j2.properties"),
    },
    Release {
        version: "3.9.2",
        pins: include_str!("../../../kafka/3.9.2.txt"),
        logging_property: "log4j.configuration",
        logging: include_str!("../../../kafka/log4j.properties"),
    },
];

impl Release {
    /// `4.4.0`, or its beginning: `4`.
    pub(super) fn find(wanted: Option<&str>) -> Result<&'static Self> {
        wanted.map_or(Ok(&RELEASES[0]), |wanted| {
            jars::release(NAME, RELEASES, |release| release.version, wanted)
        })
    }

    /// The class path, fetched where it is not there, each jar checked.
    pub(super) fn class_path(&self) -> Result<String> {
        let pins = Pin::read(self.pins)?;
        let jars = jars::fetched(&format!("kafka-{}", self.version), &pins)?;
        Ok(class_path(&jars))
    }
}

/// What the other side of the topic needs beside Kafka's jars, and who compiles it.
pub(super) fn of_clients() -> Result<String> {
    if !answers("javac", "-version") {
        return Err(NotHere("javac is not installed, which compiles the clients in Java").into());
    }
    let pins = Pin::read(include_str!("../../../kafka/fastjson.txt"))?;
    Ok(class_path(&jars::fetched("fastjson", &pins)?))
}

fn class_path(jars: &[PathBuf]) -> String {
    let jars: Vec<_> = jars.iter().map(|jar| jar.to_string_lossy()).collect();
    jars.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_pins_its_broker() {
        for release in RELEASES {
            let pins = Pin::read(release.pins).unwrap();
            let broker = pins.iter().find(|pin| pin.name == "kafka_2.13");
            assert_eq!(broker.map(|pin| pin.version), Some(release.version));
        }
    }

    #[test]
    fn release_is_found_by_the_beginning_of_its_version() {
        let version = |wanted| Release::find(wanted).map(|release| release.version);
        assert_eq!(version(None).unwrap(), RELEASES[0].version);
        assert_eq!(version(Some("3")).unwrap(), RELEASES[1].version);
        let error = version(Some("3.9.22")).unwrap_err().to_string();
        assert_eq!(
            error,
            "Kafka 3.9.22 is not pinned, 4.4.0, 3.9.2 are: pin it in xtask/kafka"
        );
    }
}
