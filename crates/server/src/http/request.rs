//! What every request gets: an id, a span, an entry in the access log, its caller,
//! a look at the table of access, its room, its deadline, and an error body where there
//! is an error. Nothing of a header, a body, an address, a key or a code is ever
//! logged; of the path only its pattern, because a path may name a user.

use super::Scope;
use super::auth::{Access, Caller, LOCAL, Who, identify};
use super::browsers::put_safe_headers;
use super::error::{self, ApiError, Code};
use super::replay::{self, KeyRule};
use super::room::Taken;
use crate::app::App;
use axum::RequestExt as _;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Query, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tombola_core::limits;
use tracing::Instrument;

const REQUEST_ID: &str = "x-request-id";
/// What the access log is told apart by.
const ACCESS_LOG: &str = "tombola::access";
/// Answered whatever else goes on: whoever asks it may end this process.
const LIVENESS: &str = "/livez";
/// Long work of operators, each step of it bounded: a deadline would cut it in two.
const WITHOUT_DEADLINE: &[&str] = &[
    "/v1/campaigns/{campaign}/prizes/{prize}/codes",
    "/v1/audit",
    "/v1/backup",
    "/v1/deliveries/resume",
    "/v1/endpoints/{name}/enable",
];

/// The address that a connection came from; a request in process has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The outermost layer: gives the request its id and its entry in the log, and writes the body of
/// an error.
pub(super) async fn outermost(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).unwrap_or_else(new_id);
    let mut entry = Entry::begin(&app, &request, &id);
    let span = tracing::info_span!("request", request.id = %id, method = %entry.method, route = entry.route());
    let response = match check_head(&request) {
        Ok(()) => next.run(request).instrument(span).await,
        Err(error) => error.into_response(),
    };
    let mut response = error::write_body(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    put_safe_headers(response.headers_mut(), &app.config().http);
    entry.answer = Some(Answer::of(&response));
    response
}

/// A request's entry in the access log, written when it is dropped: also of one whose
/// client did not wait for the answer.
struct Entry<'a> {
    app: &'a App,
    id: &'a str,
    method: Method,
    route: Option<MatchedPath>,
    began: Duration,
    answer: Option<Answer>,
}

/// What the entry says of an answer.
struct Answer {
    status: u16,
    bytes: Option<u64>,
    who: Option<Who>,
}

impl Answer {
    fn of(response: &Response) -> Self {
        Self {
            status: response.status().as_u16(),
            bytes: response.body().size_hint().exact(),
            who: response.extensions().get().cloned(),
        }
    }
}

impl<'a> Entry<'a> {
    fn begin(app: &'a App, request: &Request, id: &'a str) -> Self {
        Self {
            app,
            id,
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            began: app.monotonic(),
            answer: None,
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("-", MatchedPath::as_str)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // Where nobody listens, nothing of it is put together.
        let is_read = tracing::enabled!(target: ACCESS_LOG, tracing::Level::INFO);
        if !is_read || !self.app.config().log.access {
            return;
        }
        let took = self.app.monotonic().saturating_sub(self.began);
        let answer = self.answer.as_ref();
        let (client, key) = match answer.and_then(|answer| answer.who.as_ref()) {
            Some(Who::Key(key)) => (key.client.as_ref(), Some(key.id)),
            Some(Who::Local) => (LOCAL, None),
            Some(Who::Winner(_)) => ("winner", None),
            Some(Who::Player(..)) => ("player", None),
            Some(Who::Nobody) | None => ("-", None),
        };
        tracing::info!(
            target: ACCESS_LOG,
            parent: None,
            method = %self.method,
            route = self.route(),
            status = answer.map(|answer| answer.status),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            bytes = answer.and_then(|answer| answer.bytes),
            request.id = self.id,
            client,
            key.id = key,
            "{}",
            if answer.is_some() { "answered" } else { "the client is gone" }
        );
    }
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

fn check_head(request: &Request) -> Result<(), ApiError> {
    let uri = request
        .uri()
        .path_and_query()
        .map_or(0, |it| it.as_str().len());
    if uri > limits::URI_BYTES_MAX {
        return Err(Code::UriTooLong.into());
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers.len() > limits::HEADERS_MAX || bytes > limits::HEADERS_BYTES_MAX {
        return Err(Code::HeadersTooLarge.into());
    }
    Ok(())
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

/// The layer of one route: who calls, whether that may be now, how long it may take,
/// and the count of it.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get().copied();
    let response = match guard.identify(&request) {
        Ok(who) => {
            let answer = guard.answer(who.clone(), request, next).await;
            let mut response = answer.unwrap_or_else(|error| guard.refuse(error, peer));
            response.extensions_mut().insert(who); // for the access log
            response
        }
        Err(error) => guard.refuse(error, peer),
    };
    let status = response.status();
    guard.app.http_counts().count(guard.route, status);
    response
}

impl Guard {
    fn identify(&self, request: &Request) -> Result<Who, ApiError> {
        match request.extensions().get::<Who>() {
            // The socket's, or in process; with a key or a token it speaks as its bearer.
            Some(who) if !request.headers().contains_key(header::AUTHORIZATION) => Ok(who.clone()),
            Some(_) | None => self.app.identify(request.headers()),
        }
    }

    async fn answer(
        &self,
        who: Who,
        mut request: Request,
        next: Next,
    ) -> Result<Response, ApiError> {
        self.access.check(&who)?;
        self.check_scope(&Caller::new(who.clone()), &mut request)
            .await?;
        self.app.rates().caller(&who)?;
        let taken = self.room_for(&who)?;
        let goes_on = !request.method().is_safe() && self.keys != KeyRule::OfHandler;
        let (app, keys) = (self.app.clone(), self.keys);
        let handler = async move {
            let _taken = taken;
            replay::once(&app, who, keys, request, next).await
        };
        if goes_on {
            self.in_time(self.to_its_end(handler)).await
        } else {
            self.in_time(handler).await
        }
    }

    /// Runs the handler in a task of its own. What follows its commit, such as that this
    /// process no longer takes a revoked key, comes to pass also when the client hangs up
    /// or the deadline passes.
    async fn to_its_end(
        &self,
        handler: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let task = self.app.tasks().spawn(handler.in_current_span());
        task.await
            .unwrap_or_else(|error| Err(ApiError::internal(&error)))
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

    /// Room for one more request. An operator of this machine gets in when nobody else
    /// does.
    fn room_for(&self, who: &Who) -> Result<Option<Taken>, ApiError> {
        if self.route == LIVENESS || *who == Who::Local {
            return Ok(None);
        }
        self.app.room().request().map(Some)
    }

    /// Waits for the handler until its deadline.
    async fn in_time(
        &self,
        handler: impl Future<Output = Result<Response, ApiError>>,
    ) -> Result<Response, ApiError> {
        let handler = AssertUnwindSafe(handler).catch_unwind();
        let ended = if WITHOUT_DEADLINE.contains(&self.route) {
            Ok(handler.await)
        } else {
            tokio::time::timeout(self.app.config().http.request_timeout.0, handler).await
        };
        match ended {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ApiError::internal(&"the handler panicked")),
            Err(_) => {
                tracing::warn!("the request took too long");
                Err(ApiError::from(Code::TimedOut).after(limits::DESK_RETRY_AFTER))
            }
        }
    }

    /// Says no. Whoever asks often without a good key has to connect anew each time.
    fn refuse(&self, error: ApiError, peer: Option<Peer>) -> Response {
        let too_often = match peer {
            Some(Peer(address)) if error.code == Code::Unauthorized => {
                self.app.rates().stranger(address).err()
            }
            Some(_) | None => None,
        };
        let Some(too_often) = too_often else {
            return error.into_response();
        };
        let mut response = too_often.into_response();
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// The campaign that a list is asked for.
#[derive(Debug, Default, serde::Deserialize)]
struct Named {
    campaign: Option<String>,
}

impl App {
    fn identify(&self, headers: &HeaderMap) -> Result<Who, ApiError> {
        identify(headers, self.keys(), &self.claims(), self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::Written;
    use crate::config::Config;
    use axum::body::Body;
    use std::io;
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    async fn app(directory: &TempDir) -> App {
        let mut config = Config::default();
        config.database.url = format!("sqlite://{}/t.db", directory.path().display());
        App::open(config).await.unwrap()
    }

    #[tokio::test]
    async fn client_that_does_not_wait_for_its_answer_has_its_entry_too() {
        let directory = tempfile::tempdir().unwrap();
        let router = app(&directory).await.router();
        let written = Written::default();
        tracing::subscriber::with_default(written.subscriber(), || {
            let never = futures_util::stream::pending::<Result<bytes::Bytes, io::Error>>();
            let request = Request::post("/v1/keys/7/revoke").extension(Who::Local);
            let request = request.body(Body::from_stream(never)).unwrap();
            assert!(router.oneshot(request).now_or_never().is_none());
        });
        let log = written.text();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains("tombola::access: the client is gone method=POST"));
        assert!(lines[0].contains("route=\"/v1/keys/{id}/revoke\""));
    }

    #[tokio::test]
    async fn handler_that_does_not_answer_is_answered_for() {
        let directory = tempfile::tempdir().unwrap();
        let guard = Guard {
            app: app(&directory).await,
            access: Access::PUBLIC,
            scope: Scope::Public,
            keys: KeyRule::None,
            route: "/v1/awards",
        };
        tokio::time::pause();
        let since = tokio::time::Instant::now();
        let answer = guard.in_time(std::future::pending()).await;
        assert_eq!(answer.unwrap_err().code, Code::TimedOut);
        assert!(since.elapsed() >= limits::REQUEST_TIMEOUT);
    }

    #[test]
    fn routes_without_a_deadline_are_routes() {
        for route in WITHOUT_DEADLINE {
            let is_there = super::super::access_table()
                .iter()
                .any(|(_, path, _)| path == route);
            assert!(is_there, "{route}");
        }
    }
}
