//! The secrets of the data directory: which version seals what, and a new one. No
//! secret is shown.

use super::Route;
use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody};
use crate::api::{SealFact, SecretRotateBody, SecretRotatedDoc};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use serde_json::json;
use tombola_core::ports::Role;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/secrets", Access::of(&[Role::Auditor]), show).about(
            "Show secrets",
            "Which version of the secret seals how many rows; no secret is shown.",
        ),
        Route::post("/v1/secrets/rotate", Access::of(&[]), rotate)
            .about(
                "Rotate secret",
                "Makes a new version, which signs and seals from now on; older rows are sealed anew \
                 behind the answer.",
            )
            .example(json!({ "reason": "once a year" }))
            .errors(&[Code::SqliteOnly]),
    ]
}

async fn show(State(app): State<App>) -> Result<Json<SealFact>, ApiError> {
    Ok(Json(app.store().seal_show().await?))
}

async fn rotate(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<SecretRotateBody>,
) -> Result<Json<SecretRotatedDoc>, ApiError> {
    // The other processes would not have it, and could not open what it sealed.
    if app.store().is_shared() {
        return Err(Code::SqliteOnly.into());
    }
    let by = caller.actor(input::reason(body.reason)?);
    let version = app.rotate_secret(body.after_loss, by).await?;
    Ok(Json(SecretRotatedDoc { version }))
}
