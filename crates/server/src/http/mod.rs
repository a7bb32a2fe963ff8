//! The API: one table of routes with what each asks of its caller, one handler
//! for each operation. Commands go through the same router.

mod audit;
pub mod auth;
mod awards;
mod browsers;
mod campaigns;
mod codes;
mod cursor;
mod dead_letters;
mod deliveries;
mod draws;
mod endpoints;
pub mod error;
mod export;
mod health;
mod input;
mod keys;
pub(crate) mod listen;
mod log;
mod metrics;
mod operations;
mod player_tokens;
mod rates;
mod replay;
mod request;
mod room;
mod seats;
mod stock;
mod stream;
mod tls;
mod users;

pub use error::page as errors_page;
pub(crate) use metrics::{HttpCounts, render as render_metrics};
pub(crate) use rates::Rates;
pub(crate) use room::Room;
pub(crate) use tls::Tls;

use crate::app::App;
use auth::Access;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use error::{ApiError, Code};
use replay::KeyRule;

/// One route: its address, what it asks of its caller, and its handler.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    scope: Scope,
    keys: KeyRule,
    handler: MethodRouter<App>,
}

/// How a route tells which campaign it speaks of: a key may be for some only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// It tells everybody the same.
    Public,
    /// By the slug in its address.
    Path,
    /// By `?campaign=`.
    Query,
    /// The handler knows.
    OfHandler,
    /// It speaks of all campaigns.
    All,
}

impl Route {
    fn new(method: Method, path: &'static str, access: Access, handler: MethodRouter<App>) -> Self {
        let is_act = method == Method::POST;
        let scope = match () {
            () if access.is_public => Scope::Public,
            () if path.contains("{campaign}") => Scope::Path,
            () => Scope::All,
        };
        Self {
            method,
            path,
            access,
            scope,
            keys: if is_act {
                KeyRule::Optional
            } else {
                KeyRule::None
            },
            handler,
        }
    }

    fn get<H: Handler<T, App>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::GET, path, access, axum::routing::get(handler))
    }

    fn post<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        Self::new(Method::POST, path, access, axum::routing::post(handler))
    }

    fn put<H: Handler<T, App>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self::new(Method::PUT, path, access, axum::routing::put(handler))
    }

    /// How it tells which campaign it speaks of.
    fn scoped(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// What it does about `Idempotency-Key`; a POST may have one unless said here.
    fn keys(self, keys: KeyRule) -> Self {
        Self { keys, ..self }
    }
}

/// Every route.
fn table() -> Vec<Route> {
    [
        health::routes(),
        draws::routes(),
        awards::routes(),
        campaigns::routes(),
        codes::routes(),
        stock::routes(),
        endpoints::routes(),
        dead_letters::routes(),
        deliveries::routes(),
        operations::routes(),
        users::routes(),
        keys::routes(),
        player_tokens::routes(),
        log::routes(),
        audit::routes(),
        metrics::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every route with what it asks of its caller: method, path, access. The tests of
/// access go by it.
pub fn access_table() -> Vec<(Method, &'static str, Access)> {
    table()
        .into_iter()
        .map(|route| (route.method, route.path, route.access))
        .collect()
}

/// The router of `app`.
pub(crate) fn router(app: &App) -> Router {
    let mut router = Router::new();
    for route in table() {
        let guard = request::Guard {
            app: app.clone(),
            access: route.access,
            scope: route.scope,
            keys: route.keys,
            route: route.path,
        };
        let handler = route
            .handler
            .route_layer(from_fn_with_state(guard, request::guard));
        router = router.route(route.path, handler);
    }
    let router = router
        .fallback(async || ApiError::from(Code::RouteNotFound))
        .method_not_allowed_fallback(async || ApiError::from(Code::MethodNotAllowed))
        .with_state(app.clone());
    with_head(router, app)
}

/// What every answer has, of the API and of the listener for metrics.
pub(crate) fn with_head(router: Router, app: &App) -> Router {
    browsers::layered(router, &app.config().http)
        .layer(from_fn_with_state(app.clone(), request::outermost))
}
