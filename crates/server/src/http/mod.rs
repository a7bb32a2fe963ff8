//! The API: one table of routes with what each asks of its caller, one handler
//! for each operation. Commands go through the same router.

mod audit;
pub mod auth;
mod awards;
mod campaigns;
mod codes;
mod dead_letters;
mod deliveries;
mod draws;
mod endpoints;
pub mod error;
mod health;
mod input;
mod keys;
pub(crate) mod listen;
mod log;
mod metrics;
mod replay;
mod request;
mod stock;

pub use error::page as errors_page;
pub(crate) use metrics::{HttpCounts, render as render_metrics};
pub(crate) use replay::Replays;

use crate::app::App;
use auth::Access;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use error::{ApiError, Code};

/// One route: its address, what it asks of its caller, and its handler.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<App>,
}

impl Route {
    fn get<H: Handler<T, App>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self {
            method: Method::GET,
            path,
            access,
            handler: axum::routing::get(handler),
        }
    }

    fn post<H: Handler<T, App>, T: 'static>(
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self {
        Self {
            method: Method::POST,
            path,
            access,
            handler: axum::routing::post(handler),
        }
    }

    fn put<H: Handler<T, App>, T: 'static>(path: &'static str, access: Access, handler: H) -> Self {
        Self {
            method: Method::PUT,
            path,
            access,
            handler: axum::routing::put(handler),
        }
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
        keys::routes(),
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
            route: route.path,
        };
        let handler = route
            .handler
            .route_layer(from_fn_with_state(guard, request::guard));
        router = router.route(route.path, handler);
    }
    router
        .fallback(async || ApiError::from(Code::RouteNotFound))
        .method_not_allowed_fallback(async || ApiError::from(Code::MethodNotAllowed))
        .layer(from_fn(request::outermost))
        .with_state(app.clone())
}
