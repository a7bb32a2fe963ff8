//! `tombola config …`: what the settings are, and whether they can be used.

use super::context::Context;
use crate::print::Out;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use toml::Table;

/// The settings.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting that is in force
    Show {
        /// Say where each value came from
        #[arg(long)]
        origin: bool,
    },
    /// Check the settings: exit code 2 if they cannot be used
    Check,
}

pub(super) fn run(command: ConfigCommand, context: &Context) -> anyhow::Result<ExitCode> {
    let mut loaded = context.load_config(Vec::new())?;
    loaded.config.database.url = loaded.config.database.url_shown();
    loaded.config.broker.kafka = loaded.config.broker.kafka_shown();
    let out = context.out;
    match command {
        ConfigCommand::Check => {
            out.either(&json!({ "ok": true }), || "the config is valid".to_owned())?;
        }
        ConfigCommand::Show { origin } if out.is_json() => {
            let mut document = serde_json::to_value(&loaded.config)?;
            if origin {
                let origins: Map<String, Value> = loaded
                    .origins
                    .iter()
                    .map(|(key, from)| (key.clone(), from.to_string().into()))
                    .collect();
                document = json!({ "config": document, "origin": origins });
            }
            out.json(&document)?;
        }
        ConfigCommand::Show { origin } => {
            let from = |key: &str| {
                let from = loaded.origins.get(key).filter(|_| origin);
                from.map_or_else(String::new, |from| format!("  # {from}"))
            };
            for (section, fields) in &Table::try_from(&loaded.config)? {
                show(out, section, fields, &from)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A section as a file has it: its own lines first, then the tables in it.
fn show(
    out: Out,
    section: &str,
    fields: &toml::Value,
    from: &dyn Fn(&str) -> String,
) -> std::io::Result<()> {
    let fields = || fields.as_table().into_iter().flatten();
    out.line(&format!("[{section}]"))?;
    for (field, value) in fields().filter(|(_, value)| !value.is_table()) {
        let key = format!("{section}.{field}");
        // A name with other letters than a bare key has is quoted, as `toml` writes it.
        let is_bare = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        let name = if field.bytes().all(is_bare) {
            field.clone()
        } else {
            toml::Value::from(field.as_str()).to_string()
        };
        out.line(&format!("{name} = {value}{}", from(&key)))?;
    }
    for (field, value) in fields().filter(|(_, value)| value.is_table()) {
        show(out, &format!("{section}.{field}"), value, from)?;
    }
    Ok(())
}
