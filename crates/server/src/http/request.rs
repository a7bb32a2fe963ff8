//! What every request gets: an id, a span, its caller, a look at the table of
//! access, and an error body where there is an error. Nothing of a body, a key or
//! a code is ever logged.

use super::auth::{Access, Caller, Who, identify};
use super::error::{self, ApiError};
use super::replay::{self, KeyRule};
use super::{Scope, error::Code};
use crate::app::App;
use axum::RequestExt as _;
use axum::extract::{Query, RawPathParams, Request, State};
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
            Err(_) => ApiError::internal(&"the handler panicked").into_response(),
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
    pub(super) scope: Scope,
    pub(super) keys: KeyRule,
    pub(super) route: &'static str,
}

/// The layer of one route: who calls, whether that may be, and the count of it.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let response = guard
        .answer(request, next)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    let status = response.status();
    guard.app.http_counts().count(guard.route, status);
    tracing::debug!(route = guard.route, status = status.as_u16(), "answered");
    response
}

impl Guard {
    async fn answer(&self, mut request: Request, next: Next) -> Result<Response, ApiError> {
        let who = self.identify(&request)?;
        self.access.check(&who)?;
        let caller = Caller::new(who.clone());
        self.check_scope(&caller, &mut request).await?;
        replay::once(&self.app, who, self.keys, request, next).await
    }

    fn identify(&self, request: &Request) -> Result<Who, ApiError> {
        match request.extensions().get::<Who>() {
            // The socket's, or in process; with a key or a token it speaks as its bearer.
            Some(who) if !request.headers().contains_key(header::AUTHORIZATION) => Ok(who.clone()),
            Some(_) | None => self.app.identify(request.headers()),
        }
    }

    /// Whether a key for some campaigns may ask here: the one place that says so,
    /// but for single awards and draws, of which the handler knows whose they are.
    async fn check_scope(&self, caller: &Caller, request: &mut Request) -> Result<(), ApiError> {
        match self.scope {
            Scope::Public | Scope::OfHandler => Ok(()),
            Scope::Path => {
                let names: RawPathParams = request
                    .extract_parts()
                    .await
                    .map_err(|_| ApiError::from(Code::RouteNotFound))?;
                let mut names = names.iter();
                let campaign = names.find(|(name, _)| *name == "campaign");
                caller.check_campaign(campaign.map(|(_, slug)| slug))
            }
            Scope::Query => {
                let Query(named) = Query::<Named>::try_from_uri(request.uri()).unwrap_or_default();
                caller.check_campaign(named.campaign.as_deref())
            }
            Scope::All => caller.check_campaign(None),
        }
    }
}

/// The campaign that a list is asked for.
#[derive(Debug, Default, serde::Deserialize)]
struct Named {
    campaign: Option<String>,
}

impl App {
    fn identify(&self, headers: &HeaderMap) -> Result<Who, ApiError> {
        identify(headers, self.keys(), self.claims(), self.now())
    }
}
