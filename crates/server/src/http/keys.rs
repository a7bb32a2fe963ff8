//! Keys of the API: made, listed, revoked. A key is shown once.

use super::Route;
use super::auth::{self, Access, Caller, LOCAL};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names};
use crate::api::{self, ActionBody, KeyBody, KeyDoc, KeyMadeDoc, Page};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tombola_core::ports::{ApiKey, Catalog};

pub(super) fn routes() -> Vec<Route> {
    let admin = Access::of(&[]);
    vec![
        Route::get("/v1/keys", admin, list),
        Route::post("/v1/keys", admin, create),
        Route::post("/v1/keys/{id}/revoke", admin, revoke),
    ]
}

fn document(key: ApiKey) -> KeyDoc {
    KeyDoc {
        id: key.id,
        client: key.client,
        role: key.role,
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}

async fn list(State(app): State<App>) -> Result<Json<Page<KeyDoc>>, ApiError> {
    let keys = app.store().keys().await?;
    Ok(Json(api::whole(keys.into_iter().map(document).collect())))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<(StatusCode, Json<KeyMadeDoc>), ApiError> {
    let now = app.now();
    let client = body.client.unwrap_or_else(|| body.role.name().to_owned());
    let is_name = (1..=64).contains(&client.len())
        && client
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !is_name || client == LOCAL {
        return Err(ApiError::field(
            "/client",
            "use 1 to 64 of a-z, A-Z, 0-9, ., _ and -, and not `local`",
        ));
    }
    if body.expires_at.is_some_and(|end| end <= now) {
        return Err(ApiError::field("/expires_at", "it lies in the past"));
    }
    let clear = auth::new_key();
    let key = ApiKey {
        id: 0, // the store gives it
        client,
        role: body.role,
        hash: auth::hash(&clear),
        created_at: now,
        expires_at: body.expires_at,
        revoked_at: None,
    };
    let kept = app.store().put_key(key, caller.actor(None)).await?;
    app.refresh_keys().await?;
    Ok((
        StatusCode::CREATED,
        Json(KeyMadeDoc {
            about: document(kept),
            key: clear,
        }),
    ))
}

async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<KeyDoc>, ApiError> {
    let id = input::id(&id, Code::KeyNotFound)?;
    let by = caller.actor(input::reason(body.reason)?);
    if !app.store().revoke_key(id, by, app.now()).await? {
        return Err(Code::KeyNotFound.into());
    }
    app.refresh_keys().await?;
    let keys = app.store().keys().await?;
    keys.into_iter()
        .find(|key| key.id == id)
        .map(|key| Json(document(key)))
        .ok_or_else(|| Code::KeyNotFound.into())
}
