//! `tombola config …`: what the settings are, and whether they can be used.

use super::context::Context;
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
            let sections = Table::try_from(&loaded.config)?;
            for (section, fields) in &sections {
                out.line(&format!("[{section}]"))?;
                for (field, value) in fields.as_table().into_iter().flatten() {
                    let from = loaded
                        .origins
                        .get(&format!("{section}.{field}"))
                        .filter(|_| origin);
                    let from = from.map_or_else(String::new, |from| format!("  # {from}"));
                    out.line(&format!("{field} = {value}{from}"))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
