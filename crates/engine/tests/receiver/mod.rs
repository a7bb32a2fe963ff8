//! A webhook receiver on this machine: it answers as the path says and writes down
//! what it saw. Beside it, receivers that break off in every way.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tombola_core::endpoint::Endpoint;
use tombola_core::message::Message;
use tombola_core::ports::Claim;
use tombola_core::signing::SigningSecret;
use tombola_core::{AwardId, Timestamp};

/// One call as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The caller's port: one for each connection.
    pub from: u16,
}

type Log = Arc<Mutex<Vec<Seen>>>;

pub(crate) struct Receiver {
    address: SocketAddr,
    log: Log,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let log = Log::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&log));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(async move {
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).await.unwrap();
        });
        Self { address, log }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn endpoint(&self, path: &str) -> Endpoint {
        endpoint(&self.url(path))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }
}

async fn answer(
    State(log): State<Log>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    log.lock().unwrap().push(Seen {
        path: path.clone(),
        headers,
        body,
        from: from.port(),
    });
    match path.as_str() {
        "/receipt" => (StatusCode::CREATED, r#"{"receipt":"r-7"}"#).into_response(),
        "/retry-after" => with_retry_after("7"),
        "/retry-at" => with_retry_after(&httpdate::fmt_http_date(in_two_minutes())),
        other if let Some(bytes) = other.strip_prefix("/bytes/") => {
            of_bytes(bytes.parse().unwrap()).into_response()
        }
        other => {
            let code = other.trim_start_matches('/').parse().unwrap();
            let location = HeaderValue::from_static("/200");
            (
                StatusCode::from_u16(code).unwrap(),
                [(header::LOCATION, location)],
            )
                .into_response()
        }
    }
}

/// A JSON answer with a receipt that has so many bytes.
fn of_bytes(bytes: usize) -> String {
    let mut answer = r#"{"receipt":"r-8"}"#.to_owned();
    answer.push_str(&" ".repeat(bytes - answer.len()));
    answer
}

fn with_retry_after(text: &str) -> Response {
    let value = HeaderValue::from_str(text).unwrap();
    (
        StatusCode::TOO_MANY_REQUESTS,
        [(header::RETRY_AFTER, value)],
    )
        .into_response()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the receiver is another machine, with a clock of its own"
)]
fn in_two_minutes() -> SystemTime {
    SystemTime::now() + Duration::from_mins(2)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the receiver ends with its test, no stop waits for it"
)]
fn serve(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// How a receiver breaks off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw {
    /// Reads the request and closes.
    HangUp,
    /// Promises more than it sends.
    HalfBody,
    /// Closes within the status line.
    HalfHead,
    /// Reads the request and says nothing.
    Silence,
    /// Sends a byte now and then, for ever.
    Drip,
}

/// A receiver that breaks off; gives its port.
pub(crate) async fn raw(how: Raw) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(break_off(stream, how));
        }
    });
    port
}

async fn break_off(mut stream: TcpStream, how: Raw) {
    let mut request = vec![0; 16 * 1024];
    drop(stream.read(&mut request).await);
    let said: &[u8] = match how {
        Raw::HangUp | Raw::Silence => b"",
        Raw::HalfBody => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"receipt\":",
        Raw::HalfHead => b"HTTP/1.1 2",
        Raw::Drip => b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",
    };
    drop(stream.write_all(said).await);
    match how {
        Raw::Silence => std::future::pending().await,
        Raw::Drip => {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while stream.write_all(b"x").await.is_ok() {
                ticks.tick().await;
            }
        }
        Raw::HangUp | Raw::HalfBody | Raw::HalfHead => {}
    }
}

/// A port at which nobody listens.
pub(crate) async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// An endpoint that may be called here.
pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        lane: 1,
        name: "coupons".to_owned(),
        url: url.to_owned(),
        secrets: vec![SigningSecret::newest(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )],
        is_idempotent: true,
        conflict_means_delivered: false,
        timeout: Duration::from_secs(10),
        concurrency: 4,
        interval: None,
        allow_private: true,
        is_enabled: true,
    }
}

pub(crate) fn claim() -> Claim {
    Claim {
        award: AwardId(42),
        lease: 3,
        lane: 1,
        attempts: 1,
        delivery_key: "42-mnopqrstuvwx".to_owned(),
        lease_ends: Timestamp(0),
    }
}

pub(crate) fn message() -> Message {
    Message {
        user: "u1".to_owned(),
        award: AwardId(42),
        prize: "fair/coupon".to_owned(),
        award_type: 3,
        name: "A coupon".to_owned(),
        content: None,
        schema: 1,
        message_id: "42-abcdefghijkl".to_owned(),
        campaign: "fair".to_owned(),
        drawn_at: Timestamp(1_771_000_000_000_000),
    }
}
