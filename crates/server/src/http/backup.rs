//! A backup, fetched by an admin: taken into a file of the data directory beside
//! everything that goes on, and sent from there, so that a slow receiver holds back
//! nothing but disk space. One at a time.

use super::Route;
use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use crate::app::App;
use crate::directory::free_bytes;
use crate::restoring::remove_database;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio_util::sync::CancellationToken;
use tombola_core::limits::{BACKUP_CHUNKS_AHEAD_MAX, BACKUP_SPACE_LEFT, BACKUP_STALL_MAX};
use tombola_core::ports::StoreError;
use tombola_store::backup;

/// Bytes sent at a time.
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/backup", Access::of(&[]), fetch)
            .about(
                "Fetch backup",
                "The whole database as one file of SQLite, taken beside everything that goes on. \
                 One at a time.",
            )
            .answers_raw(200, "application/vnd.sqlite3")
            .errors(&[Code::BackupInProgress, Code::NoSpace, Code::SqliteOnly]),
    ]
}

async fn fetch(State(app): State<App>, caller: Caller) -> Result<Response, ApiError> {
    if app.store().is_shared() {
        return Err(Code::SqliteOnly.into());
    }
    let turn = app.backup_turn().ok_or(Code::BackupInProgress)?;
    let by = caller.actor(None);
    app.store().note_backup(by, app.now()).await?;
    let gone = CancellationToken::new();
    let _tells_when_the_caller_goes = gone.clone().drop_guard();
    let work = {
        let app = app.clone();
        move || take(&app, &gone, turn)
    };
    let taken = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(&error))??;
    let head = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, taken.bytes.to_string()),
    ];
    let (chunks, receiver) = mpsc::channel(BACKUP_CHUNKS_AHEAD_MAX);
    let tasks = app.tasks().clone();
    app.tasks()
        .spawn(async move { send(taken, chunks, tasks.stopped()).await });
    let body = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    Ok((head, Body::from_stream(body)).into_response())
}

/// A backup that is whole; its file has no name any more, and is gone when this is.
struct Taken {
    file: File,
    bytes: u64,
    _turn: OwnedMutexGuard<()>,
}

fn take(app: &App, gone: &CancellationToken, turn: OwnedMutexGuard<()>) -> Result<Taken, ApiError> {
    let (from, to) = (
        app.config().database.file().unwrap_or_default(),
        app.directory().backup(),
    );
    remove_database(&to).map_err(unavailable)?;
    if !has_space(&from, app.directory().root()).map_err(unavailable)? {
        return Err(Code::NoSpace.into());
    }
    let done = backup::take(&from, &to, app.now(), &mut |_| {
        !gone.is_cancelled() && !app.tasks().is_stopped()
    });
    // Whoever holds it open still reads it, and a death leaves nothing behind.
    let file = File::open(&to);
    remove_database(&to).map_err(unavailable)?;
    if !done? {
        return Err(Code::Stopping.into());
    }
    let file = file.map_err(unavailable)?;
    Ok(Taken {
        bytes: file.metadata().map_err(unavailable)?.len(),
        file,
        _turn: turn,
    })
}

fn has_space(database: &Path, folder: &Path) -> io::Result<bool> {
    let mut log = OsString::from(database);
    log.push("-wal");
    let log = fs::metadata(log).map_or(0, |log| log.len());
    let bytes = fs::metadata(database)?.len() + log;
    Ok(fits(free_bytes(folder)?, bytes))
}

/// A backup that filled the disk would stop the draws.
fn fits(free: u64, bytes: u64) -> bool {
    free >= bytes.saturating_add(BACKUP_SPACE_LEFT)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err asks for"
)]
fn unavailable(error: io::Error) -> ApiError {
    StoreError::Unavailable(error.to_string()).into()
}

/// Reads ahead of the receiver, and gives up on one that takes nothing. The length
/// was said before: a stream that ends early is no whole backup.
async fn send(
    taken: Taken,
    chunks: mpsc::Sender<io::Result<Bytes>>,
    stopped: impl Future<Output = ()>,
) {
    let mut file = tokio::fs::File::from_std(taken.file);
    let mut stopped = std::pin::pin!(stopped);
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let chunk = match file.read_buf(&mut chunk).await {
            Ok(0) => return,
            Ok(_) => Ok(chunk.freeze()),
            Err(error) => Err(error),
        };
        let sent = tokio::select! {
            sent = tokio::time::timeout(BACKUP_STALL_MAX, chunks.send(chunk)) => sent,
            () = &mut stopped => return,
        };
        match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return, // the receiver is gone
            Err(_) => {
                tracing::warn!("a backup was not taken off in time and is broken off");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::sync::Arc;

    /// A file that is read in ten pieces.
    fn taken() -> Taken {
        let file = tempfile::tempfile().unwrap();
        let bytes = 10 * u64::try_from(CHUNK_BYTES).unwrap();
        file.set_len(bytes).unwrap();
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        Taken {
            file,
            bytes,
            _turn: turn.try_lock_owned().unwrap(),
        }
    }

    #[test]
    fn backup_is_taken_where_its_room_is_there_to_the_byte() {
        assert!(fits(1000 + BACKUP_SPACE_LEFT, 1000));
        assert!(!fits(999 + BACKUP_SPACE_LEFT, 1000));
    }

    #[tokio::test(start_paused = true)]
    async fn receiver_that_takes_nothing_is_waited_for_as_long_as_the_bound_says() {
        let (chunks, mut receiver) = mpsc::channel(BACKUP_CHUNKS_AHEAD_MAX);
        let began = tokio::time::Instant::now();
        send(taken(), chunks, pending()).await;
        assert_eq!(began.elapsed(), BACKUP_STALL_MAX);
        let mut ahead = 0;
        while receiver.recv().await.is_some() {
            ahead += 1;
        }
        assert_eq!(ahead, BACKUP_CHUNKS_AHEAD_MAX);
    }
}
