//! `[broker.kafka]`: names that librdkafka knows and we do not. All are texts here, as
//! librdkafka takes them; what is a secret is known by its name.

use super::Broker;
use std::collections::BTreeMap;
use std::fs;
use tombola_broker::{KafkaOptions, SettingsError};
use toml::{Table, Value};

/// Behind the name of a secret: the value is the file that holds it.
const FILE: &str = "_file";
/// What stands for a secret where settings are shown.
const HIDDEN: &str = "…";

impl Broker {
    /// The brokers, if the topic is on Kafka.
    pub fn brokers(&self) -> Option<&str> {
        self.url.strip_prefix("kafka://")
    }

    /// How to reach the topic, if it is on Kafka; `epoch` is its life until the kept one
    /// is entered.
    pub fn kafka(&self, epoch: i64) -> Option<KafkaOptions> {
        let settings = self.kafka.iter();
        Some(KafkaOptions {
            brokers: self.brokers()?.to_owned(),
            topic: self.topic.clone(),
            epoch,
            settings: settings
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
    }

    /// What is wrong with `[broker.kafka]`: the setting's key, where one is to blame, and
    /// what to write. Connects to nobody.
    pub(super) fn kafka_problem(&self) -> Option<(String, String)> {
        let checked = self.kafka(1)?.check();
        let error = checked.err()?;
        let key = match &error {
            SettingsError::Refused { name, .. } => format!("broker.kafka.{name}"),
            SettingsError::Unfit(_) => "broker.kafka".to_owned(),
        };
        Some((key, error.to_string()))
    }

    /// Puts what files of secrets hold in the place of their names; gives the names
    /// without `_file`.
    pub(super) fn read_secret_files(&mut self) -> Result<Vec<String>, String> {
        let is_file = |name: &&String| file_of(name).is_some();
        let names: Vec<String> = self.kafka.keys().filter(is_file).cloned().collect();
        let mut read = Vec::new();
        for name in names {
            let (Some(of), Some(path)) = (file_of(&name), self.kafka.remove(&name)) else {
                continue;
            };
            let text = fs::read_to_string(&path)
                .map_err(|error| format!("`broker.kafka.{name}`: {path}: {error}"))?;
            let text = text.trim_end_matches(['\r', '\n']).to_owned();
            if self.kafka.insert(of.to_owned(), text).is_some() {
                return Err(format!(
                    "`broker.kafka.{name}`: `broker.kafka.{of}` is set as well; keep one of them"
                ));
            }
            read.push(of.to_owned());
        }
        Ok(read)
    }

    /// The settings without their secrets.
    pub fn kafka_shown(&self) -> BTreeMap<String, String> {
        let shown = |(name, value): (&String, &String)| {
            let value = if is_secret(name) { HIDDEN } else { value };
            (name.clone(), value.to_owned())
        };
        self.kafka.iter().map(shown).collect()
    }
}

/// Whether each is `HOST` or `HOST:PORT`.
pub(super) fn are_brokers(list: &str) -> bool {
    let is_broker = |it: &str| {
        let host = match it.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => {
                if port.parse::<u16>().is_err() {
                    return false;
                }
                host
            }
            Some(_) | None => it,
        };
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    list.split(',').all(is_broker)
}

/// Of librdkafka's names those whose values nobody may see.
fn is_secret(name: &str) -> bool {
    let words = [
        "password",
        "passphrase",
        "secret",
        "key.pem",
        "oauthbearer.config",
    ];
    words.iter().any(|word| name.contains(word))
}

/// The secret that the file of that setting holds.
fn file_of(name: &str) -> Option<&str> {
    name.strip_suffix(FILE).filter(|of| is_secret(of))
}

/// The setting's name behind `TOMBOLA_BROKER__KAFKA__`: dots are underscores there, and
/// none of librdkafka's names has one.
pub(super) fn name_of_variable(name: &str) -> String {
    let name = name.to_lowercase().replace('_', ".");
    match name.strip_suffix(".file") {
        Some(of) if is_secret(of) => format!("{of}{FILE}"),
        Some(_) | None => name,
    }
}

/// Every setting of a table by its dotted name, quoted or not: `a.b = 1` is a table in
/// TOML. An error names what is no text, number or truth.
pub(super) fn flattened(table: &Table) -> Result<Vec<(String, String)>, String> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::String(text) => flat.push((name.clone(), text.clone())),
            Value::Integer(number) => flat.push((name.clone(), number.to_string())),
            Value::Boolean(flag) => flat.push((name.clone(), flag.to_string())),
            Value::Table(below) => {
                let below = flattened(below).map_err(|wrong| format!("{name}.{wrong}"))?;
                let named = below.into_iter();
                flat.extend(named.map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            Value::Float(_) | Value::Datetime(_) | Value::Array(_) => return Err(name.clone()),
        }
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_are_hosts_with_or_without_a_port() {
        for good in [
            "h1:9092,h2:9092",
            "broker-1.example",
            "10.0.0.1:1",
            "[::1]:9092",
            "[::1]",
        ] {
            assert!(are_brokers(good), "{good}");
        }
        for bad in [
            "",
            "h1,",
            "h1:9092/",
            "u@h1",
            "h1:port",
            ":9092",
            "h1:9092, h2",
        ] {
            assert!(!are_brokers(bad), "{bad}");
        }
    }

    #[test]
    fn variable_names_a_setting_with_its_dots() {
        for (variable, name) in [
            ("SECURITY_PROTOCOL", "security.protocol"),
            ("SASL_PASSWORD", "sasl.password"),
            ("SASL_PASSWORD_FILE", "sasl.password_file"),
            ("SSL_KEY_PASSWORD_FILE", "ssl.key.password_file"),
        ] {
            assert_eq!(name_of_variable(variable), name);
        }
    }

    #[test]
    fn secrets_are_known_by_name_and_shown_to_nobody() {
        let set = |name: &str| (name.to_owned(), "value".to_owned());
        let broker = Broker {
            kafka: ["sasl.username", "sasl.password", "ssl.key.pem"]
                .map(set)
                .into(),
            ..Broker::default()
        };
        let shown = broker.kafka_shown();
        assert_eq!(shown["sasl.username"], "value");
        for secret in ["sasl.password", "ssl.key.pem"] {
            assert_eq!(shown[secret], HIDDEN, "{secret}");
        }
    }
}
