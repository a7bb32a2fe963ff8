//! `tombola transfer`: a database on SQLite that nobody serves moves to PostgreSQL, with
//! everything in it. Exit code 1 where anything differs at the end; then the old one is
//! still the one to be served.

use super::context::{Context, Usage};
use super::restore::{RestoredDoc, tell_what_is_unknown};
use crate::config::{Config, Database};
use crate::directory::{Directory, DirectoryLock};
use crate::doctor::{Difference, difference};
use crate::http::auth::LOCAL;
use crate::print::Out;
use crate::restoring::Place;
use crate::secret::Secrets;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tombola_core::ports::{Actor, StoreError};
use tombola_engine::SystemClock;
use tombola_store::backup;
use tombola_store::postgres::PostgresOptions;
use tombola_store::transfer::{
    self, CHUNK_ROWS_MAX, Doing, Progress, TransferError, TransferOptions, TransferReport,
    Transferred,
};

/// `transfer`
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// The old database, `sqlite://PATH`; that of the settings unless said
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The new one, `postgres://USER:PASSWORD@HOST/DATABASE`, which is empty; that of the
    /// settings unless said
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Serve the old database again, without what happened in the new one since; shuts the
    /// new one, which --to or the settings name
    #[arg(long)]
    undo: bool,
}

/// What the other directory has for `secret.key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SecretKeyDoc {
    /// The file that the new database needs.
    file: PathBuf,
    /// Where a process of these settings looks for it.
    needed_at: PathBuf,
    /// Whether the right one is there.
    is_there: bool,
}

/// The document of `transfer --json`.
#[derive(Debug, Serialize)]
struct TransferDoc {
    from: PathBuf,
    rows: u64,
    seconds: f64,
    secret_key: SecretKeyDoc,
    #[serde(flatten)]
    report: TransferReport,
}

/// The document of `transfer --undo --json`.
#[derive(Debug, Serialize)]
struct UndoDoc {
    database: PathBuf,
    #[serde(flatten)]
    restored: RestoredDoc,
}

/// Both sides.
struct Sides {
    config: Config,
    file: PathBuf,
    from: Directory,
    to: Option<Database>,
}

pub(super) async fn run(args: TransferArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if context.is_afar() {
        let what = "transfer works on a directory of this machine, not on a server";
        return Err(Usage(what.to_owned()).into());
    }
    let config = context.load_local()?.config;
    let sides = sides(&args, config)?;
    let file = &sides.file;
    ensure!(
        file.try_exists()? || Place::new(file).decided().try_exists()?,
        "there is no database at {}",
        file.display()
    );
    let _lock = lock(&sides.from)?;
    if args.undo {
        return undo(&sides, context.out).await;
    }
    Place::new(file).finish()?;
    let Some(to) = &sides.to else {
        return Err(Usage(
            "name the new database: --to postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
        )
        .into());
    };
    let (secrets, secret_key) = secret_key(&sides.from, file, &Directory::of(to))?;
    transfer(&sides, &postgres(to)?, secrets, secret_key, context.out).await
}

fn sides(args: &TransferArgs, config: Config) -> anyhow::Result<Sides> {
    let database = |url: &Option<String>| Database {
        url: url.clone().unwrap_or_else(|| config.database.url.clone()),
        ..config.database.clone()
    };
    let (from, to) = (database(&args.from), database(&args.to));
    let Some(file) = from.file() else {
        return Err(Usage("name the old database: --from sqlite://PATH".to_owned()).into());
    };
    if args.to.is_some() && !to.is_postgres() {
        return Err(Usage("--to: use postgres://USER:PASSWORD@HOST/DATABASE".to_owned()).into());
    }
    Ok(Sides {
        from: Directory::of(&from),
        file,
        to: to.is_postgres().then_some(to),
        config,
    })
}

fn postgres(database: &Database) -> anyhow::Result<PostgresOptions> {
    let options = database
        .postgres()
        .map_err(|error| Usage(format!("--to: {error}")))?;
    options
        .ok_or_else(|| Usage("--to: use postgres://USER:PASSWORD@HOST/DATABASE".to_owned()).into())
}

/// No row may change meanwhile, and no holder of an award may live.
fn lock(directory: &Directory) -> anyhow::Result<DirectoryLock> {
    let root = directory.root().display();
    let lock = directory.try_lock().with_context(|| root.to_string())?;
    lock.with_context(|| {
        format!("another process has {root} open: stop the server (SIGTERM), and run this again once it ended")
    })
}

/// The secrets of the old database, which are needed with the new one as well. They are
/// not copied: whoever has the new database's backups should not find them beside it.
fn secret_key(
    from: &Directory,
    file: &Path,
    to: &Directory,
) -> anyhow::Result<(Option<Secrets>, SecretKeyDoc)> {
    let used = backup::fact(file)?.secrets;
    let secrets = Secrets::read(from)?;
    let there = secrets
        .as_ref()
        .map(|it| it.seal_keys().marks())
        .unwrap_or_default();
    if let Some(amiss) = difference(&there, &used) {
        bail!(
            "{amiss}: put the right secret.key into {} first, or nobody could read what is sealed",
            from.root().display()
        );
    }
    let doc = |is_there| SecretKeyDoc {
        file: from.secret_key(),
        needed_at: to.secret_key(),
        is_there,
    };
    let Some(other) = Secrets::read(to)? else {
        return Ok((secrets, doc(used.is_empty())));
    };
    match difference(&other.seal_keys().marks(), &used) {
        None => Ok((secrets, doc(true))),
        Some(Difference::Missing(_)) => Ok((secrets, doc(false))),
        Some(Difference::Another(_)) => bail!(
            "{} is another secret: move it away, or name another directory with database.directory",
            to.secret_key().display()
        ),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the command for a person; no instant of it is kept"
)]
async fn transfer(
    sides: &Sides,
    to: &PostgresOptions,
    secrets: Option<Secrets>,
    secret_key: SecretKeyDoc,
    out: Out,
) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let options = TransferOptions {
        seal_keys: secrets.map(|secrets| secrets.seal_keys()),
        schedule: sides.config.delivery.schedule(),
        now: SystemClock::wall(),
        chunk_rows_max: CHUNK_ROWS_MAX,
    };
    let mut bars = Bars { out, shown: None };
    let mut on_step = |progress| bars.show(progress);
    let done = transfer::run(&sides.file, to, options, &mut on_step).await;
    bars.end();
    let report = match done.map_err(explain)? {
        Transferred::Ended(report) => *report,
        Transferred::Before | Transferred::Stopped => {
            if out.is_json() {
                out.json(&json!({ "is_released": true, "moved": 0 }))?;
            }
            out.note("an earlier run has moved everything; nothing was left to do");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let is_released = report.is_released;
    let doc = TransferDoc {
        from: sides.file.clone(),
        rows: report.tables.iter().map(|it| it.rows).sum(),
        seconds: began.elapsed().as_secs_f64(),
        secret_key,
        report,
    };
    say(&doc, out)?;
    Ok(if is_released {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What to do about it, behind what it is.
fn explain(error: TransferError) -> anyhow::Error {
    let mend = match &error {
        TransferError::To(StoreError::Unavailable(what)) if what.contains("(53100)") => {
            "make room on the disk of the server, and run the same command again: it goes on where it was"
        }
        TransferError::To(StoreError::Schema(what)) if what.contains("(42501)") => {
            "give the role of --to a database that it owns: CREATE DATABASE … OWNER …"
        }
        TransferError::To(StoreError::Unavailable(_)) => {
            "once the server can be reached with this url, run the same command again: it goes on where it was"
        }
        TransferError::Row { .. } => {
            "mend that row in the old database, and run the same command again; until then the old database may be served"
        }
        TransferError::Refused(_) | TransferError::From(_) | TransferError::To(_) => "",
    };
    match mend {
        "" => error.into(),
        mend => anyhow::anyhow!("{error}\n{mend}"),
    }
}

/// One bar for each thing that is done.
struct Bars {
    out: Out,
    shown: Option<(Doing, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, progress: Progress) -> bool {
        if self
            .shown
            .as_ref()
            .is_none_or(|(doing, _)| *doing != progress.doing)
        {
            self.end();
            let what = match progress.doing {
                Doing::Copying => "moving rows",
                Doing::Comparing => "comparing tables",
                Doing::Auditing => "auditing both",
                Doing::Releasing => "releasing",
            };
            let bar = self
                .out
                .progress(what, (progress.of > 0).then_some(progress.of));
            bar.enable_steady_tick(Duration::from_millis(100));
            self.shown = Some((progress.doing, bar));
        }
        if let Some((_, bar)) = &self.shown {
            bar.set_position(progress.done);
        }
        true
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

fn say(it: &TransferDoc, out: Out) -> anyhow::Result<()> {
    let report = &it.report;
    if out.is_json() {
        return Ok(out.json(it)?);
    }
    let row = |table: &transfer::TableReport| {
        let same = if table.is_equal { "same" } else { "DIFFERENT" };
        vec![
            table.table.to_owned(),
            table.rows.to_string(),
            table.rows_there.to_string(),
            same.to_owned(),
        ]
    };
    let rows: Vec<_> = report.tables.iter().map(row).collect();
    out.table(&["TABLE", "ROWS", "ROWS THERE", "BYTES"], &rows)?;
    if !report.is_released {
        out.note(&format!(
            "\n{} and {} differ, so the new database was not released and the old one is the one to be served. \
             Drop the new one, and transfer again",
            it.from.display(),
            report.to
        ));
        audits(report, out);
        return Ok(());
    }
    out.note(&format!(
        "\n{} rows are in {} after {:.0} s; every byte was compared, and both sides were audited",
        it.rows, report.to, it.seconds
    ));
    audits(report, out);
    if report.cut > 0 {
        out.note(&format!(
            "{} texts for people (errors, details) lost a U+0000, which PostgreSQL does not take",
            report.cut
        ));
    }
    let (file, needed_at) = (
        it.secret_key.file.display(),
        it.secret_key.needed_at.display(),
    );
    if it.secret_key.is_there {
        out.note(&format!(
            "secret.key at {needed_at} is the right one; every other machine needs the same"
        ));
    } else {
        out.note(&format!(
            "bring {file} to {needed_at}, and to the directory of every other process: the new database cannot be \
             read without it"
        ));
    }
    out.note(
        "Then set database.url (or database.url_file) to the new database and start as many processes as you like. \
         The old database is kept as it is, and is not served any more",
    );
    Ok(())
}

/// What was amiss on both sides before stays amiss, and is no reason to stay.
fn audits(report: &TransferReport, out: Out) {
    for (side, audit) in [("old", &report.audit_from), ("new", &report.audit_to)] {
        for check in audit.checks.iter().filter(|check| check.violations > 0) {
            out.note(&format!(
                "the audit of the {side} database found {} of {}: {}",
                check.violations,
                check.name,
                check.examples.first().map_or("", String::as_str)
            ));
        }
    }
}

async fn undo(sides: &Sides, out: Out) -> anyhow::Result<ExitCode> {
    let to = sides.to.as_ref().map(postgres).transpose()?;
    let by = Actor {
        reason: Some("the transfer was undone".to_owned()),
        ..Actor::named(LOCAL)
    };
    let schedule = sides.config.delivery.schedule();
    let undone = transfer::undo(&sides.file, to.as_ref(), schedule, by, SystemClock::wall()).await;
    let doc = UndoDoc {
        database: sides.file.clone(),
        restored: RestoredDoc::of(undone.map_err(explain)?),
    };
    out.either(&doc, || {
        format!(
            "{} may be served again, as it was when it was transferred; {}",
            doc.database.display(),
            doc.restored.said()
        )
    })?;
    if !out.is_json() {
        tell_what_is_unknown("it was transferred", out);
    }
    if to.is_none() {
        out.note("the new database was not named with --to and may still be served: drop it, or both pay");
    }
    Ok(ExitCode::SUCCESS)
}
