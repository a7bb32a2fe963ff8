//! The listeners: TCP, plain or under TLS, and the Unix socket of the data directory.
//! Connections are bounded in number and in what they may make wait, and a stop lets
//! requests that are under way finish.

use super::request::Peer;
use super::seats::{OwnedSeat, Seat, Seats};
use super::stream::{Patience, Patient};
use super::tls::Tls;
use crate::config::Http;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tombola_core::limits;
use tower::ServiceExt;

/// Pause after an accept that failed, as when file handles run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Something that connections come from.
pub(crate) trait Accept: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next, and says from which address it came.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<IpAddr>)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<IpAddr>)> {
        let (stream, address) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((stream, Some(address.ip())))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<IpAddr>)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, None))
    }
}

/// How a listener treats its connections.
#[derive(Clone)]
pub(crate) struct Manners {
    connections_max: usize,
    patience: Patience,
    tls: Option<Arc<Tls>>,
}

impl Manners {
    /// As the settings say, in clear.
    pub(crate) fn of(http: &Http) -> Self {
        Self {
            connections_max: usize::try_from(http.connections_max).unwrap_or(usize::MAX),
            patience: Patience {
                head: http.head_timeout.0,
                idle: http.idle_timeout.0,
            },
            tls: None,
        }
    }

    /// The same under TLS, if there is one.
    #[must_use]
    pub(crate) fn under(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }
}

/// Serves `router` to every connection until `stop`, then waits for the requests
/// that are under way. The caller bounds that wait.
pub(crate) async fn serve(
    listener: impl Accept,
    router: Router,
    manners: Manners,
    stop: CancellationToken,
) {
    let seats = Seats::new(manners.connections_max);
    let graceful = GracefulShutdown::new();
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                if is_out_of_files(&error) {
                    seats.shed_some();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(owned) = seats.take() else {
            tracing::debug!("connection closed: all others have a request under way");
            continue;
        };
        let service = Service {
            router: router.clone(),
            peer,
            seat: Arc::clone(&owned.seat),
        };
        tasks.spawn(connection(
            stream,
            service,
            manners.clone(),
            graceful.watcher(),
            owned,
        ));
    }
    drop(listener);
    let idle_end = async {
        tokio::time::sleep(limits::STOP_IDLE_MAX).await;
        seats.shed_idle();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = graceful.shutdown() => {}
        () = idle_end => {}
    }
    tasks.close();
    tasks.wait().await;
}

fn is_out_of_files(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

/// One connection, until it ends or is closed for another.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Service,
    manners: Manners,
    watcher: Watcher,
    owned: OwnedSeat,
) {
    let (seat, patience) = (&owned.seat, manners.patience);
    let talk = async {
        let Some(tls) = &manners.tls else {
            return talk(stream, service, patience, watcher).await;
        };
        let handshake = tls.acceptor().accept(stream);
        match tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => talk(stream, service, patience, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
            Err(_) => tracing::debug!("no TLS came about in time"),
        }
    };
    tokio::select! {
        () = talk => {}
        () = seat.is_shed() => tracing::debug!("idle connection closed"),
    }
}

/// HTTP/1.1 over a stream.
async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Service,
    patience: Patience,
    watcher: Watcher,
) {
    let stream = Patient::new(stream, Arc::clone(&service.seat), patience);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(None) // the stream's: it answers, and tells waiting from idling
        .max_buf_size(limits::HEAD_BYTES_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// The router as one connection reaches it.
struct Service {
    router: Router,
    peer: Option<IpAddr>,
    seat: Arc<Seat>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (router, seat) = (self.router.clone(), Arc::clone(&self.seat));
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(Peer(peer));
        }
        Box::pin(async move {
            // Its connection is being closed, so nobody hears this.
            if !seat.begin() {
                let gone = StatusCode::SERVICE_UNAVAILABLE.into_response();
                return Ok(gone.map(|body| Answer { body, seat }));
            }
            let has_body = !hyper::body::Body::is_end_stream(request.body());
            let response = router.oneshot(request).await?;
            if has_body && response.status().as_u16() >= 400 {
                seat.leave_body();
            }
            Ok(response.map(|body| Answer { body, seat }))
        })
    }
}

/// The body of an answer; when it is dropped, nothing more of the answer will come.
struct Answer {
    body: Body,
    seat: Arc<Seat>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.answered();
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
