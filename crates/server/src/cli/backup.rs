//! `tombola backup FILE`: the file appears under its name only when it is whole,
//! checked and durable. While a server has the directory it takes the backup and
//! this command fetches it, so that one process alone has the database open; where
//! nobody serves, the file is read as it is: a backup before an upgrade must not be
//! of the upgraded database.

use super::context::{Context, Holder, Usage, data_directory, exists, holder, on_sqlite};
use crate::client::Api;
use crate::config::Config;
use crate::directory::sync_directory;
use crate::print::Out;
use crate::random;
use anyhow::{Context as _, bail, ensure};
use clap::Args;
use futures_util::StreamExt;
use indicatif::HumanBytes;
use serde::Serialize;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;
use tombola_core::Timestamp;
use tombola_engine::SystemClock;
use tombola_store::backup;

/// Bytes received between two syncs: a disk that also keeps the database is never
/// given more at once.
const SYNC_BYTES: u64 = 4 << 20;

/// `backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not be there
    file: PathBuf,
}

/// The document of `backup --json`.
#[derive(Debug, Serialize)]
struct BackupDoc {
    file: PathBuf,
    bytes: u64,
    taken_at: Option<Timestamp>,
    schema: i64,
    /// The database's own uuid.
    origin: String,
    /// Files without which a restored database lacks something.
    keep_too: Vec<PathBuf>,
}

pub(super) async fn run(args: BackupArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let file = std::path::absolute(&args.file)?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Usage(format!("{} names no file", file.display())).into());
    };
    ensure!(!file.try_exists()?, "{} is there already", file.display());
    // Removed when it is dropped, whatever happens.
    let part = folder.join(format!(
        ".{}.{:08x}.part",
        name.to_string_lossy(),
        u32::from_be_bytes(random::bytes())
    ));
    let part = TempPath::try_from_path(part)?;
    let keep_too = write(&part, context).await?;
    let document = check(&file, part.to_path_buf(), keep_too, context.out).await?;
    part.persist_noclobber(&file)
        .with_context(|| file.display().to_string())?;
    sync_directory(folder)?;
    say(&document, context.out)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the backup; gives what has to be kept beside it.
async fn write(part: &Path, context: &Context) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(api) = context.afar()? {
        fetch(&api, part, context.out).await?;
        return Ok(vec![PathBuf::from("secret.key")]);
    }
    let config = context.load_local()?.config;
    on_sqlite(&config, "backup")?;
    exists(&config)?;
    match holder(&config).await? {
        Holder::Server(api) => fetch(&api, part, context.out).await?,
        Holder::Us(lock) => {
            take(&config, part, context.out).await?;
            drop(lock);
        }
    }
    let secret_key = std::path::absolute(data_directory(&config).secret_key())?;
    Ok(vec![secret_key])
}

/// From the server, which takes it first and sends it then.
async fn fetch(api: &Api, part: &Path, out: Out) -> anyhow::Result<()> {
    let bar = out.progress("the server takes the backup", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    let answer = api.backup().await;
    bar.finish_and_clear();
    let (body, length) = answer?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options
        .open(part)
        .with_context(|| part.display().to_string())?;
    let mut file = tokio::fs::File::from_std(file);
    let bar = out.progress_bytes("receiving", length.unwrap_or_default());
    let (mut received, mut unsynced) = (0, 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.context("the backup broke off")?;
        file.write_all(&chunk).await?;
        let bytes = u64::try_from(chunk.len()).unwrap_or_default();
        (received, unsynced) = (received + bytes, unsynced + bytes);
        if unsynced >= SYNC_BYTES {
            file.sync_data().await?;
            unsynced = 0;
        }
        bar.set_position(received);
    }
    bar.finish_and_clear();
    ensure!(
        length == Some(received),
        "the backup broke off after {received} bytes"
    );
    file.sync_all().await?;
    Ok(())
}

/// From a file that nobody else has open.
async fn take(config: &Config, part: &Path, out: Out) -> anyhow::Result<()> {
    let (from, to) = (
        config.database.file().unwrap_or_default(),
        part.to_path_buf(),
    );
    let bar = out.progress("copying", Some(0));
    let shown = bar.clone();
    let done = tokio::task::spawn_blocking(move || {
        backup::take(&from, &to, SystemClock::wall(), &mut |progress| {
            shown.set_length(progress.pages);
            shown.set_position(progress.done);
            true
        })
    })
    .await?;
    bar.finish_and_clear();
    done?;
    Ok(())
}

/// A backup that cannot be read is worth nothing: it is read now, not some day.
async fn check(
    file: &Path,
    part: PathBuf,
    keep_too: Vec<PathBuf>,
    out: Out,
) -> anyhow::Result<BackupDoc> {
    let bar = out.progress("checking", None);
    bar.enable_steady_tick(Duration::from_millis(100));
    let path = part.clone();
    let read = tokio::task::spawn_blocking(move || {
        Ok::<_, anyhow::Error>((backup::fact(&path)?, backup::faults(&path)?))
    })
    .await?;
    bar.finish_and_clear();
    let (fact, faults) = read.context("the database that was copied cannot be read")?;
    if let Some(fault) = faults.first() {
        bail!(
            "the database is damaged, and so would be its backup: {fault}; keep the last good one"
        );
    }
    Ok(BackupDoc {
        file: file.to_path_buf(),
        bytes: fs::metadata(&part)?.len(),
        taken_at: fact.taken_at,
        schema: fact.schema.present,
        origin: fact.origin,
        keep_too,
    })
}

fn say(it: &BackupDoc, out: Out) -> anyhow::Result<()> {
    out.either(it, || {
        format!(
            "{}: {}, taken at {}, checked",
            it.file.display(),
            HumanBytes(it.bytes),
            it.taken_at
                .map_or_else(|| "-".to_owned(), |at| at.to_string())
        )
    })?;
    if !out.is_json() {
        let keep: Vec<_> = it
            .keep_too
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        out.note(&format!(
            "keep {} as well, in another place: what is sealed in the backup cannot be read without it, \
             and it is not in the backup",
            keep.join(", ")
        ));
    }
    Ok(())
}
