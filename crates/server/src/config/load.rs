//! From the sources to one config: each value remembers where it came from, and
//! every problem is reported with its place, so that a file is mended in one go.

use super::{Config, SECTIONS, kafka};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use tombola_core::campaign::file::nearest;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Environment variables of this prefix with `__` in them are settings.
const ENV_PREFIX: &str = "TOMBOLA_";
/// Those of this one are settings of librdkafka.
const KAFKA_PREFIX: &str = "TOMBOLA_BROKER__KAFKA__";
/// The table of librdkafka's settings.
const KAFKA: &str = "broker.kafka";

/// Where settings come from, the weaker first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `tombola.toml`, if there is one: its name and its text.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Flags of the command line.
    pub flags: Vec<Flag>,
}

/// A setting that a flag of the command line makes.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag, as people wrote it.
    pub flag: &'static str,
    /// `section.key`
    pub key: &'static str,
    /// Its value.
    pub value: String,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File { path: PathBuf, line: usize },
    /// A variable of the environment.
    Env(String),
    /// A flag.
    Flag(&'static str),
}

impl Origin {
    /// The later the stronger.
    const fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Env(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "{name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// A config and where each of its values came from, by `section.key`.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// By `section.key`, every key.
    pub origins: BTreeMap<String, Origin>,
}

/// Everything that is wrong with the settings, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the config cannot be used:\n{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads the sources over the defaults and checks the whole.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut reading = Reading::default();
    if let Some((path, text)) = &sources.file {
        reading.file(path, text);
    }
    for (name, value) in &sources.env {
        reading.variable(name, value);
    }
    for flag in &sources.flags {
        reading.put_text(flag.key, &flag.value, Origin::Flag(flag.flag));
    }
    reading.finish()
}

struct Reading {
    values: Table,
    origins: BTreeMap<String, Origin>,
    problems: Vec<String>,
}

impl Default for Reading {
    fn default() -> Self {
        let values =
            Table::try_from(Config::default()).expect("a struct of texts and integers is TOML");
        let origins = known_keys().map(|key| (key, Origin::Default)).collect();
        Self {
            values,
            origins,
            problems: Vec::new(),
        }
    }
}

fn known_keys() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|section| {
        section
            .fields
            .iter()
            .map(move |(field, _)| format!("{}.{field}", section.name))
    })
}

fn fields_of(section: &str) -> String {
    let fields = SECTIONS
        .iter()
        .filter(|it| it.name == section)
        .flat_map(|it| it.fields);
    fields
        .map(|(field, _)| format!("`{field}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Reading {
    fn file(&mut self, path: &std::path::Path, text: &str) {
        let line_of =
            |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let root = match DeTable::parse(text) {
            Ok(root) => root.into_inner(),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(span.start));
                return self.problems.push(format!(
                    "{}:{line}: {}",
                    path.display(),
                    error.message()
                ));
            }
        };
        let origin = |offset| Origin::File {
            path: path.to_path_buf(),
            line: line_of(offset),
        };
        let mut entries: Vec<(usize, String, Option<Value>)> = Vec::new();
        for (section, value) in root {
            let (name, offset) = (section.get_ref().to_string(), section.span().start);
            let DeValue::Table(fields) = value.into_inner() else {
                entries.push((offset, name, None));
                continue;
            };
            entries.extend(fields.into_iter().map(|(field, value)| {
                (
                    field.span().start,
                    format!("{name}.{}", field.get_ref()),
                    Some(plain(value)),
                )
            }));
        }
        entries.sort_by_key(|(offset, _, _)| *offset); // problems in the order of the file
        for (offset, key, value) in entries {
            match value {
                Some(value) => self.put(&key, value, origin(offset)),
                None => self.unknown(&key, &origin(offset)),
            }
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        if let Some(setting) = name.strip_prefix(KAFKA_PREFIX) {
            let setting = kafka::name_of_variable(setting);
            let table = Table::from_iter([(setting, Value::String(value.to_owned()))]);
            return self.put(KAFKA, Value::Table(table), Origin::Env(name.to_owned()));
        }
        let Some((section, field)) = name
            .strip_prefix(ENV_PREFIX)
            .and_then(|rest| rest.split_once("__"))
        else {
            return;
        };
        let key = format!("{}.{}", section.to_lowercase(), field.to_lowercase());
        self.put_text(&key, value, Origin::Env(name.to_owned()));
    }

    /// A value that came as text takes the type of the key's default.
    fn put_text(&mut self, key: &str, text: &str, origin: Origin) {
        let value = match self.slot(key) {
            Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
            Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
            Some(Value::Array(_)) => Some(Value::Array(list(text))),
            Some(Value::Table(_)) => pairs(text).map(Value::Table),
            _ => None,
        };
        self.put(
            key,
            value.unwrap_or_else(|| Value::String(text.to_owned())),
            origin,
        );
    }

    fn put(&mut self, key: &str, value: Value, origin: Origin) {
        if let (KAFKA, Value::Table(settings)) = (key, &value) {
            return self.put_settings(settings, &origin);
        }
        let Some(slot) = self.slot(key) else {
            return self.unknown(key, &origin);
        };
        if slot.type_str() == value.type_str() {
            *slot = value;
            self.origins.insert(key.to_owned(), origin);
        } else {
            let wanted = slot.type_str();
            self.problems.push(format!(
                "{origin}: `{key}` is of type {}, and has to be {wanted}",
                value.type_str()
            ));
        }
    }

    /// Settings of librdkafka, over those of weaker sources one by one.
    fn put_settings(&mut self, settings: &Table, origin: &Origin) {
        let settings = match kafka::flattened(settings) {
            Ok(settings) => settings,
            Err(wrong) => {
                return self.problems.push(format!(
                    "{origin}: `{KAFKA}.{wrong}` has to be a text, a number, true or false"
                ));
            }
        };
        self.origins.insert(KAFKA.to_owned(), origin.clone());
        for (name, value) in settings {
            self.origins
                .insert(format!("{KAFKA}.{name}"), origin.clone());
            if let Some(kept) = self.slot(KAFKA).and_then(Value::as_table_mut) {
                kept.insert(name, Value::String(value));
            }
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Value> {
        let (section, field) = key.split_once('.')?;
        self.values.get_mut(section)?.as_table_mut()?.get_mut(field)
    }

    fn unknown(&mut self, key: &str, origin: &Origin) {
        let keys: Vec<String> = known_keys().collect();
        let section = key.split_once('.').map_or(key, |(section, _)| section);
        let near_section = || nearest(section, SECTIONS.iter().map(|section| section.name));
        let mend = match (
            nearest(key, keys.iter().map(String::as_str)),
            near_section(),
        ) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(near)) if near == section => {
                format!("`[{section}]` knows {}", fields_of(section))
            }
            (None, Some(near)) => {
                format!("did you mean `[{near}]`, which knows {}?", fields_of(near))
            }
            (None, None) => "`tombola config show` prints every key".to_owned(),
        };
        self.problems
            .push(format!("{origin}: no key is called `{key}`; {mend}"));
    }

    fn finish(mut self) -> Result<Loaded, ConfigError> {
        self.check_fields();
        if !self.problems.is_empty() {
            return Err(ConfigError(self.problems));
        }
        let mut config: Config = std::mem::take(&mut self.values)
            .try_into()
            .map_err(|error| ConfigError(vec![error.to_string()]))?;
        let read = self.read_url_file(&mut config);
        read.map_err(|problem| ConfigError(vec![problem]))?;
        self.read_kafka_files(&mut config)?;
        let from = |key: &str| match self.origins.get(key) {
            Some(origin) if *origin != Origin::Default => format!("{origin}: "),
            _ => String::new(),
        };
        let mut problems: Vec<String> = config
            .complaints()
            .into_iter()
            .map(|it| format!("{}`{}`: {}", from(it.key), it.key, it.what))
            .collect();
        if let Some((key, what)) = config.broker.kafka_problem() {
            problems.push(format!("{}{what}", from(&key)));
        }
        if problems.is_empty() {
            Ok(Loaded {
                config,
                origins: self.origins,
            })
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Of a url and a file that holds one the stronger is meant, as of any two values.
    fn read_url_file(&self, config: &mut Config) -> Result<(), String> {
        let strength = |key: &str| self.origins.get(key).map_or(0, Origin::strength);
        let (url, file) = (strength("database.url"), strength("database.url_file"));
        if config.database.url_file.is_empty() || url < file {
            return config.database.read_url_file();
        }
        if url == file {
            return Err(
                "`database.url` and `database.url_file` are both set: leave one out".to_owned(),
            );
        }
        config.database.url_file.clear();
        Ok(())
    }

    /// A secret that came from a file has the origin of the file's name.
    fn read_kafka_files(&mut self, config: &mut Config) -> Result<(), ConfigError> {
        let read = config.broker.read_secret_files();
        for name in read.map_err(|problem| ConfigError(vec![problem]))? {
            let key = format!("{KAFKA}.{name}");
            if let Some(origin) = self.origins.remove(&format!("{key}_file")) {
                self.origins.insert(key, origin);
            }
        }
        Ok(())
    }

    /// Reads each value that somebody set alone, so that a bad one is told with
    /// its key and its origin.
    fn check_fields(&mut self) {
        for (key, origin) in &self.origins {
            let Some((section, field)) = key.split_once('.').filter(|_| *origin != Origin::Default)
            else {
                continue;
            };
            let Some(value) = self
                .values
                .get(section)
                .and_then(|section| section.get(field))
            else {
                continue;
            };
            let alone = Table::from_iter([(field.to_owned(), value.clone())]);
            let alone = Table::from_iter([(section.to_owned(), Value::Table(alone))]);
            if let Err(error) = alone.try_into::<Config>() {
                self.problems
                    .push(format!("{origin}: `{key}`: {}", error.message()));
            }
        }
    }
}

/// A list of texts, as a variable writes it: with commas between.
fn list(text: &str) -> Vec<Value> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(|item| Value::String(item.to_owned()))
        .collect()
}

/// A map of texts, as a variable writes it: `a=x,b=y`.
fn pairs(text: &str) -> Option<Table> {
    let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    items
        .map(|item| {
            let (key, value) = item.split_once('=')?;
            let value = Value::String(value.trim().to_owned());
            Some((key.trim().to_owned(), value))
        })
        .collect()
}

fn plain(value: Spanned<DeValue<'_>>) -> Value {
    match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(Value::String(number.as_str().to_owned()), Value::Float),
        DeValue::Boolean(flag) => Value::Boolean(flag),
        DeValue::Datetime(at) => Value::Datetime(at),
        DeValue::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        DeValue::Table(table) => Value::Table(
            table
                .into_iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value)))
                .collect(),
        ),
    }
}
