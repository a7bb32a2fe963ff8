//! The API: one table of routes with what each asks of its caller, one handler
//! for each operation. Commands go through the same router.

mod audit;
pub mod auth;
mod awards;
mod backup;
mod browsers;
mod campaigns;
mod codes;
mod cursor;
mod dead_letters;
mod deliveries;
mod docs;
mod doctor;
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
mod objects;
mod openapi;
mod operations;
mod player_tokens;
mod rates;
mod replay;
mod request;
mod room;
mod route;
mod seats;
mod secrets;
mod signature;
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
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use error::{ApiError, Code};
pub(crate) use route::{Route, Scope};

/// Routes that belong together, as the document shows them.
struct Group {
    name: &'static str,
    about: &'static str,
    routes: fn() -> Vec<Route>,
}

const fn group(name: &'static str, about: &'static str, routes: fn() -> Vec<Route>) -> Group {
    Group {
        name,
        about,
        routes,
    }
}

/// Every route there is.
const GROUPS: &[Group] = &[
    group(
        "Draws",
        "One try of one user, and what came of it.",
        draws::routes,
    ),
    group(
        "Awards",
        "What winners are owed, and what people do about it.",
        awards::routes,
    ),
    group(
        "Campaigns",
        "Rules, odds and periods, as versions.",
        campaigns::routes,
    ),
    group("Codes", "The pool of prizes of kind `code`.", codes::routes),
    group("Stock", "Units of a prize.", stock::routes),
    group(
        "Endpoints",
        "Outside services that deliver prizes of kind `webhook`.",
        endpoints::routes,
    ),
    group(
        "Dead letters",
        "What was given up on, and its way back.",
        dead_letters::routes,
    ),
    group("Deliveries", "Stopped for a while.", deliveries::routes),
    group(
        "Operations",
        "Bulk actions, which go on behind their answer.",
        operations::routes,
    ),
    group("Users", "One user over all campaigns.", users::routes),
    group("Keys", "Who may call.", keys::routes),
    group(
        "Player tokens",
        "Who may draw for one user.",
        player_tokens::routes,
    ),
    group(
        "Secrets",
        "What signs tokens and seals codes and addresses.",
        secrets::routes,
    ),
    group("Log", "What operators did.", log::routes),
    group("Audit", "Proof that every number is right.", audit::routes),
    group("Backup", "The database as one file.", backup::routes),
    group("Doctor", "What is amiss, and its mend.", doctor::routes),
    group("Metrics", "For Prometheus.", metrics::routes),
    group(
        "Server",
        "Whether it lives, and what it is.",
        health::routes,
    ),
    group("Documents", "What this API is, by itself.", docs::routes),
];

fn table() -> Vec<Route> {
    GROUPS.iter().flat_map(|group| (group.routes)()).collect()
}

/// The OpenAPI document, as it is committed.
pub fn openapi() -> String {
    openapi::text()
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
    router_of(table(), app)
}

/// The router of a process without the role api: health and metrics.
pub(crate) fn health_router(app: &App) -> Router {
    let mut routes = health::routes();
    routes.extend(metrics::routes());
    router_of(routes, app)
}

fn router_of(routes: Vec<Route>, app: &App) -> Router {
    let mut router = Router::new();
    for route in routes {
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
