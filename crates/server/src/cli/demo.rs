//! `tombola demo`: asks for the run, shows its progress and its report.

use super::context::{Context, Failed, Usage};
use crate::demo::{self, Options, Progress};
use crate::print::{Out, begin_logging};
use clap::Args;
use indicatif::ProgressBar;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Draws in all
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    draws: u32,
    /// Users who draw
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    users: u32,
    /// Decides who draws in which order; a new one each time unless said
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Kill the server with SIGKILL in mid-run, several times
    #[arg(long)]
    crash: bool,
    /// Serve the played campaign afterwards, until a signal
    #[arg(long)]
    serve: bool,
}

pub(super) async fn run(args: DemoArgs, context: &mut Context) -> anyhow::Result<ExitCode> {
    let data = context.data_directory();
    if args.serve && data.is_none() {
        return Err(Usage("--serve: name a directory to keep with --data DIR".to_owned()).into());
    }
    begin_logging("error", false);
    let database = context.load_config(Vec::new())?.config.database;
    let options = Options {
        draws: args.draws,
        users: args.users,
        seed: args
            .seed
            .unwrap_or_else(|| u64::from_be_bytes(crate::random::bytes())),
        data,
        postgres: database.is_postgres().then_some(database.url),
        crash: args.crash,
    };
    let out = context.out;
    let bars = Bars {
        out,
        bar: Mutex::default(),
    };
    let report = Box::pin(demo::run(&options, &bars)).await?;
    bars.end();
    out.either(&report, || report.text())?;
    if !report.is_clean() {
        return Err(Failed.into());
    }
    if args.serve {
        return super::serve::run(super::serve::ServeArgs::default(), context).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Progress as bars on a terminal; sentences go to stderr.
struct Bars {
    out: Out,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl Bars {
    fn end(&self) {
        if let Some((_, bar)) = self
            .bar
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bars {
    fn say(&self, sentence: &str) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        match &*bar {
            Some((_, bar)) => bar.suspend(|| self.out.note(sentence)),
            None => self.out.note(sentence),
        }
    }

    fn at(&self, step: &str, done: u64, all: u64) {
        let mut slot = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = slot.as_ref().is_some_and(|(name, _)| name == step);
        if !is_same {
            if let Some((_, bar)) = slot.take() {
                bar.finish_and_clear();
            }
            *slot = Some((step.to_owned(), self.out.progress(step, Some(all))));
        }
        if let Some((_, bar)) = &*slot {
            bar.set_length(all);
            bar.set_position(done);
        }
    }
}
