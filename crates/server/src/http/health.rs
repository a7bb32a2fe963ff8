//! Whether the process lives, whether it is ready, and what it is.

use super::Route;
use super::auth::Access;
use crate::api::{ReadyDoc, VersionDoc};
use crate::app::{App, Check};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/livez", Access::PUBLIC, async || "ok\n").about(
            "Alive",
            "Whether the process answers; it looks at nothing else.",
        ),
        Route::get("/readyz", Access::PUBLIC, ready)
            .about(
                "Ready",
                "Each dependency by name: `ok`, or what is the matter; 503 if the process is of no use \
                 so. `degraded: …` is what it goes on without: draws need no broker, so a process with \
                 the role api stays ready while the topic is away.",
            )
            .answers::<ReadyDoc>(200)
            .answers::<ReadyDoc>(503),
        Route::get("/version", Access::PUBLIC, version).about(
            "Version",
            "The program's version, and the name that its messages carry as `origin`.",
        ),
    ]
}

async fn ready(State(app): State<App>) -> Response {
    let checks = app.readiness().await;
    let is_ready = !checks.iter().any(Check::is_in_the_way);
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let checks = checks
        .into_iter()
        .map(|check| (check.name.to_owned(), check.said()))
        .collect();
    let ready = is_ready;
    (status, Json(ReadyDoc { ready, checks })).into_response()
}

async fn version(State(app): State<App>) -> Json<VersionDoc> {
    Json(VersionDoc {
        version: crate::version(),
        origin: app.store().origin().to_owned(),
    })
}
