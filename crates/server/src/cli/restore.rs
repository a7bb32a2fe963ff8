//! `tombola restore FILE`: a backup becomes the database of a directory that nobody
//! serves. Nothing is delivered until a person says so, and nothing that was there
//! before is removed. `tombola restore`, without a file, does the same for what the tools of
//! PostgreSQL restored: there it is all that is left to do.

use super::context::{Context, Usage, data_directory};
use crate::config::Config;
use crate::directory::Directory;
use crate::doctor::{Difference, difference};
use crate::http::auth::LOCAL;
use crate::print::Out;
use crate::restoring::Place;
use crate::secret::Secrets;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::Kind;
use tombola_core::ports::{Actor, StoreError};
use tombola_engine::SystemClock;
use tombola_store::backup::{self, BackupFact};
use tombola_store::lapse::Restored;
use tombola_store::{postgres, restore};

/// `restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup, of a database on SQLite. On PostgreSQL there is none: its own tools bring the
    /// database back, and then this command makes it fit to be served
    file: Option<PathBuf>,
    /// Also where a database is: it is kept beside the restored one, under a dated name
    #[arg(long)]
    replace: bool,
}

/// What became of `secret.key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum SecretKey {
    /// It is the one that the database was used with.
    Matches,
    /// It lacks a version that the database was used with.
    Lacks,
    /// The backup does not say which one it was used with.
    Unknown,
    /// It is not there.
    Missing,
}

/// The document of `restore --json`.
#[derive(Debug, Serialize)]
struct RestoreDoc {
    database: String,
    /// When the backup was taken: what came after is not in it.
    taken_at: Option<Timestamp>,
    #[serde(flatten)]
    restored: RestoredDoc,
    secret_key: SecretKey,
    /// Where the database that was here before is.
    kept: Option<PathBuf>,
}

/// What a database is like that lacks some time, also after `transfer --undo`.
#[derive(Debug, Serialize)]
pub(super) struct RestoredDoc {
    /// The first id that will be given out.
    ids_from: i64,
    /// `paused`: nothing is delivered until somebody resumes.
    deliveries: &'static str,
    /// Awards that wait, by kind.
    unfinished: BTreeMap<Kind, u64>,
    /// Dead letters, because they may have been delivered since.
    in_doubt: u64,
    /// Bulk actions that were under way.
    operations_cancelled: u64,
}

impl RestoredDoc {
    pub(super) fn of(restored: Restored) -> Self {
        Self {
            ids_from: restored.ids_from,
            deliveries: "paused",
            unfinished: restored.unfinished,
            in_doubt: restored.in_doubt,
            operations_cancelled: restored.operations_cancelled,
        }
    }

    /// Behind what became of which database.
    pub(super) fn said(&self) -> String {
        format!(
            "ids go on from {}\n\
             deliveries are paused; awards that wait: {}; dead letters in doubt: {}; bulk actions cancelled: {}",
            self.ids_from,
            super::words::counts(&self.unfinished),
            self.in_doubt,
            self.operations_cancelled
        )
    }
}

pub(super) async fn run(args: RestoreArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if context.is_afar() {
        let what = "restore works on a directory of this machine, not on a server";
        return Err(Usage(what.to_owned()).into());
    }
    let config = context.load_local()?.config;
    let out = context.out;
    let done = if config.database.is_postgres() {
        on_postgres(&args, &config).await
    } else {
        tokio::task::spawn_blocking(move || restore(&args, &config, out)).await?
    };
    say(&done?, out)?;
    Ok(ExitCode::SUCCESS)
}

/// PostgreSQL has tools of its own for backups; what they bring back knows nothing of the time
/// since.
async fn on_postgres(args: &RestoreArgs, config: &Config) -> anyhow::Result<RestoreDoc> {
    if args.file.is_some() || args.replace {
        let what = "backups of PostgreSQL are restored by its own tools (pg_restore); then run \
                    `tombola restore` without a file: docs/guides/many-processes.md";
        return Err(Usage(what.to_owned()).into());
    }
    let options = config.database.postgres()?;
    let options = options.context("database.url names no PostgreSQL")?;
    let by = actor("restored by the tools of PostgreSQL");
    let (schedule, now) = (config.delivery.schedule(), SystemClock::wall());
    let restored = postgres::restore(&options, schedule, by, now).await?;
    let directory = data_directory(config);
    let secret_key = match Secrets::read(&directory)? {
        Some(_) => SecretKey::Unknown,
        None => SecretKey::Missing,
    };
    Ok(doc(restored, config.database.url_shown(), secret_key))
}

fn doc(restored: Restored, database: String, secret_key: SecretKey) -> RestoreDoc {
    RestoreDoc {
        database,
        taken_at: None,
        restored: RestoredDoc::of(restored),
        secret_key,
        kept: None,
    }
}

fn actor(reason: &str) -> Actor {
    Actor {
        reason: Some(reason.to_owned()),
        ..Actor::named(LOCAL)
    }
}

fn restore(args: &RestoreArgs, config: &Config, out: Out) -> anyhow::Result<RestoreDoc> {
    let Some(file) = &args.file else {
        return Err(Usage("name the backup: tombola restore FILE".to_owned()).into());
    };
    let name = file.display().to_string();
    let fact = look(file).with_context(|| name.clone())?;
    let directory = data_directory(config);
    directory.create()?;
    let Some(_lock) = directory.try_lock()? else {
        bail!(
            "another process has {} open: stop the server first",
            directory.root().display()
        );
    };
    let database = config.database.file().unwrap_or_default();
    let place = Place::new(&database);
    let is_self = file.canonicalize().ok() == database.canonicalize().ok() && database.exists();
    ensure!(
        !is_self,
        "{name} is the database of {}",
        directory.root().display()
    );
    if place.is_taken()? && !args.replace {
        bail!(
            "there is a database in {}; --replace keeps it there under a dated name",
            directory.root().display()
        );
    }
    let secret_key = secret_key(&directory, &fact)?;
    place.clear_draft()?;
    let ready = draft(file, config, &place, out).inspect_err(|_| drop(place.clear_draft()));
    let restored = ready.with_context(|| name.clone())?;
    place.decide()?;
    let kept = place.finish()?;
    Ok(RestoreDoc {
        taken_at: fact.taken_at,
        kept,
        ..doc(restored, database.display().to_string(), secret_key)
    })
}

/// Whether the file may become a database of this program at all.
fn look(file: &Path) -> anyhow::Result<BackupFact> {
    ensure!(file.try_exists()?, "there is no such file");
    let fact = match backup::fact(file) {
        Err(StoreError::Inconsistent(what)) => bail!("this is no backup of tombola: {what}"),
        fact => fact?,
    };
    let (present, newest) = (fact.schema.present, fact.schema.newest);
    ensure!(
        present <= newest,
        "it has schema {present}, and this program knows schemas up to {newest}: use the newer program"
    );
    Ok(fact)
}

/// Another secret under the same version would make every token and every sealed
/// text unreadable, and say nothing.
fn secret_key(directory: &Directory, fact: &BackupFact) -> anyhow::Result<SecretKey> {
    let Some(secrets) = Secrets::read(directory)? else {
        return Ok(SecretKey::Missing);
    };
    let there = secrets.seal_keys().marks();
    match difference(&there, &fact.secrets) {
        None if fact.secrets.is_empty() => Ok(SecretKey::Unknown),
        None => Ok(SecretKey::Matches),
        Some(Difference::Missing(_)) => Ok(SecretKey::Lacks),
        Some(another @ Difference::Another(_)) => bail!(
            "{another}: put the secret.key that was kept for the backup into {}, or move the one that is \
             there away",
            directory.root().display()
        ),
    }
}

/// The whole new database, beside its place.
fn draft(file: &Path, config: &Config, place: &Place, out: Out) -> anyhow::Result<Restored> {
    let bar = out.progress("copying", Some(0));
    restore::bring(file, &place.draft(), &mut |progress| {
        bar.set_length(progress.pages);
        bar.set_position(progress.done);
    })?;
    bar.finish_and_clear();
    let bar = out.progress("checking", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    if let Some(fault) = backup::faults(&place.draft())?.first() {
        bail!("the backup is damaged: {fault}");
    }
    let by = actor("restored from a backup");
    let schedule = config.delivery.schedule();
    let restored = restore::ready(&place.draft(), schedule, &by, SystemClock::wall())?;
    bar.finish_and_clear();
    Ok(restored)
}

fn say(it: &RestoreDoc, out: Out) -> anyhow::Result<()> {
    let since = it
        .taken_at
        .map_or_else(|| "the backup was taken".to_owned(), |at| at.to_string());
    out.either(it, || {
        format!("{} is restored; {}", it.database, it.restored.said())
    })?;
    if out.is_json() {
        return Ok(());
    }
    if let Some(kept) = &it.kept {
        out.note(&format!("the database that was here is {}", kept.display()));
    }
    match it.secret_key {
        SecretKey::Matches => {}
        SecretKey::Lacks => out.note(
            "secret.key lacks a version that the database was used with: claim tokens given under it, and \
             what is sealed under it, cannot be read until its line is added",
        ),
        SecretKey::Unknown => {
            out.note("the backup does not say which secret.key it was used with: see to it that it is this one");
        }
        SecretKey::Missing => out.note(
            "secret.key is not there: put the one that was kept for the backup beside the database before the \
             first start; claim tokens, and what is sealed, cannot be read without it",
        ),
    }
    tell_what_is_unknown(&since, out);
    Ok(())
}

/// What nobody but the person who brought the database back can know, and what to do before
/// anything is delivered.
pub(super) fn tell_what_is_unknown(since: &str, out: Out) {
    out.note(&format!(
        "\nThis database knows nothing of what happened since {since}:\n\
         - draws since then are not in it, and a client that sends one again draws anew\n\
         - codes given since then are free again, and the next winners would get them\n\
         - stock, allowances and keys are as they were: keys revoked since are good again\n\
         - users erased or blocked since are there again, and may draw\n\
         - parcels sent since are to be sent again\n\
         Before anything is delivered:\n\
         \x20 tombola doctor                          what waits, and what is amiss\n\
         \x20 tombola campaign pause CAMPAIGN         if users must not draw yet\n\
         \x20 tombola award list --state pending      what will be delivered\n\
         \x20 tombola code stats CAMPAIGN             codes that were given since: withdraw their import\n\
         \x20 tombola dead-letter list                what may have been delivered: confirm or requeue each\n\
         Then: tombola serve, and tombola delivery resume --reason \"…\""
    ));
}
