//! What every request gets: an id, a span, its caller, a look at the table of
//! access, and an error body where there is an error. Nothing of a body, a key or
//! a code is ever logged.

use super::auth::{Access, Caller, identify};
use super::error;
use crate::app::App;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::Instrument;

const REQUEST_ID: &str = "x-request-id";

/// The outermost layer: gives the request its id and writes the body of an error.
pub(super) async fn outermost(request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).unwrap_or_else(new_id);
    let span = tracing::info_span!("request", request.id = %id, method = %request.method(), path = %request.uri().path());
    let running = AssertUnwindSafe(next.run(request)).catch_unwind();
    let response = async {
        match running.await {
            Ok(response) => response,
            Err(_) => error::ApiError::internal(&"the handler panicked").into_response(),
        }
    };
    let response = response.instrument(span).await;
    let mut response = error::write_body(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn given_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_good =
        (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then(|| text.to_owned())
}

/// Unique in this process, and random in front so that it is unique among them.
fn new_id() -> String {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| u32::from_be_bytes(crate::random::bytes()));
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    format!(
        "{:08x}-{:x}",
        *PROCESS,
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

/// A route as its guard knows it.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) app: App,
    pub(super) access: Access,
    pub(super) route: &'static str,
}

/// The layer of one route: who calls, whether that may be, and the count of it.
pub(super) async fn guard(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let known = request.extensions().get::<Caller>().cloned();
    let caller = match known {
        // The socket's, or in process; with a key or a token it speaks as its bearer.
        Some(caller) if !request.headers().contains_key(header::AUTHORIZATION) => Ok(caller),
        Some(_) | None => guard.app.identify(request.headers()),
    };
    let let_in = caller.and_then(|caller| guard.access.check(&caller).map(|()| caller));
    let response = match let_in {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    let status = response.status();
    guard.app.http_counts().count(guard.route, status);
    tracing::debug!(route = guard.route, status = status.as_u16(), "answered");
    response
}

impl App {
    fn identify(&self, headers: &HeaderMap) -> Result<Caller, error::ApiError> {
        identify(headers, self.keys(), self.claims(), self.now())
    }
}
