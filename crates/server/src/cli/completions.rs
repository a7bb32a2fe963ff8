//! `tombola completions SHELL`: to be read by the shell, as
//! `source <(tombola completions bash)`.

use super::context::Context;
use clap::Args;
use clap_complete::Shell;
use serde_json::json;
use std::process::ExitCode;

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "tombola", &mut script);
    let script = String::from_utf8(script)?;
    let document = json!({ "shell": args.shell.to_string(), "script": script });
    context
        .out
        .either(&document, || script.trim_end().to_owned())?;
    Ok(ExitCode::SUCCESS)
}
