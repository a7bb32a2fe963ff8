//! A proxy between a store and its database that can let one `COMMIT` through and lose
//! the answer (the commit took effect, and the caller cannot know), or stop carrying
//! anything while it keeps the connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub(crate) struct Proxy {
    directory: TempDir,
    is_armed: Arc<AtomicBool>,
    /// Connections with a smaller number carry nothing any more.
    stalled: watch::Sender<u64>,
}

pub(crate) enum Far {
    Socket(PathBuf),
    Tcp(String, u16),
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Far {
    pub(crate) fn of(config: &Config) -> Self {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match &config.get_hosts()[0] {
            Host::Unix(directory) => Self::Socket(directory.join(format!(".s.PGSQL.{port}"))),
            Host::Tcp(name) => Self::Tcp(name.clone(), port),
        }
    }

    pub(crate) async fn connect(&self) -> Box<dyn Stream> {
        match self {
            Self::Socket(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            Self::Tcp(name, port) => {
                Box::new(TcpStream::connect((name.as_str(), *port)).await.unwrap())
            }
        }
    }
}

impl Proxy {
    /// Listens in front of the server of that configuration.
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
    pub(crate) fn start(server: &Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let is_armed = Arc::new(AtomicBool::new(false));
        let (stalled, until) = watch::channel(0);
        let (far, armed) = (Far::of(server), Arc::clone(&is_armed));
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((near, _)) = listener.accept().await {
                number = number.max(*until.borrow()) + 1;
                let carry = carry(near, far.connect().await, Arc::clone(&armed));
                let mut until = until.clone();
                tokio::spawn(async move {
                    tokio::pin!(carry);
                    tokio::select! {
                        _ = until.wait_for(|it| number <= *it) => {}
                        () = &mut carry => return,
                    }
                    // Both ends stay open, and nothing goes through.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self {
            directory,
            is_armed,
            stalled,
        }
    }

    /// The same database, by way of the proxy.
    pub(crate) fn config(&self, server: &Config) -> Config {
        let mut config = Config::new();
        config
            .host_path(self.directory.path())
            .user(server.get_user().unwrap_or_default())
            .dbname(server.get_dbname().unwrap_or_default());
        if let Some(password) = server.get_password() {
            config.password(password);
        }
        config
    }

    /// From here on the answer to the next `COMMIT` is lost.
    pub(crate) fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }

    /// From here on the connections that there are carry nothing; new ones do.
    pub(crate) fn stall(&self) {
        self.stalled.send_modify(|number| *number += 1_000_000);
    }
}

/// Carries bytes both ways. The client's messages are small and one write each, so
/// a `COMMIT` is never cut in two.
async fn carry(near: UnixStream, far: Box<dyn Stream>, is_armed: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = near.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(far);
    let (mut asked, mut said) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            count = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = count else { return };
                let is_commit = is_commit_in(&asked[..count]);
                if to_server.write_all(&asked[..count]).await.is_err() { return }
                if is_commit && is_armed.swap(false, Ordering::SeqCst) {
                    // The server's answer is waited for, behind those to the writes that
                    // went with it, and dropped with both ends.
                    let mut heard = Vec::new();
                    while !is_commit_in(&heard) {
                        let Ok(count @ 1..) = from_server.read(&mut said).await else { return };
                        heard.extend_from_slice(&said[..count]);
                    }
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

/// The statement, and what the server says of it.
fn is_commit_in(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|it| it == b"COMMIT\0")
}
