//! Whether the process lives, whether it is ready, and what it is.

use super::Route;
use super::auth::Access;
use crate::api::VersionDoc;
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/livez", Access::PUBLIC, async || "ok\n"),
        Route::get("/readyz", Access::PUBLIC, ready),
        Route::get("/version", Access::PUBLIC, version),
    ]
}

/// Each dependency by name: `ok`, or what is the matter. 503 if any is not ok.
async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let checks = app.readiness().await;
    let is_ready = checks.iter().all(|(_, state)| state == "ok");
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let checks: serde_json::Map<String, Value> = checks
        .into_iter()
        .map(|(name, state)| (name.to_owned(), state.into()))
        .collect();
    (status, Json(json!({ "ready": is_ready, "checks": checks })))
}

async fn version(State(app): State<App>) -> Json<VersionDoc> {
    Json(VersionDoc {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        origin: app.store().origin().to_owned(),
    })
}
