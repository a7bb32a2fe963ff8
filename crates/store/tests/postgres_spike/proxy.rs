//! A proxy between a store and its database that lets one `COMMIT` through and
//! loses the answer: the commit took effect, and the caller cannot know.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

const SOCKET: &str = ".s.PGSQL.5432";

pub(crate) struct Proxy {
    directory: TempDir,
    is_armed: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens in front of the server whose socket is in `server`.
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
    pub(crate) fn start(server: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let is_armed = Arc::new(AtomicBool::new(false));
        let (server, armed) = (server.join(SOCKET), Arc::clone(&is_armed));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = UnixStream::connect(&server).await.unwrap();
                tokio::spawn(carry(near, far, Arc::clone(&armed)));
            }
        });
        Self {
            directory,
            is_armed,
        }
    }

    /// The directory of its own socket.
    pub(crate) fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// From here on the answer to the next `COMMIT` is lost.
    pub(crate) fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }
}

/// Carries bytes both ways. The client's messages are small and one write each, so
/// a `COMMIT` is never cut in two.
async fn carry(near: UnixStream, far: UnixStream, is_armed: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = near.into_split();
    let (mut from_server, mut to_server) = far.into_split();
    let (mut asked, mut said) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let is_commit = asked[..count].windows(7).any(|it| it == b"COMMIT\0");
                if to_server.write_all(&asked[..count]).await.is_err() { return }
                if is_commit && is_armed.swap(false, Ordering::SeqCst) {
                    // The server's answer is waited for and dropped with both ends.
                    drop(from_server.read(&mut said).await);
                    return;
                }
            }
            count = from_server.read(&mut said) => {
                let Ok(count @ 1..) = count else { return };
                if to_client.write_all(&said[..count]).await.is_err() { return }
            }
        }
    }
}
