//! Keys of the API: made, listed, revoked. A key is shown once.

use super::Route;
use super::auth::{self, Access, Caller, LOCAL};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names, Params};
use super::replay::NotKept;
use crate::api::{ActionBody, KeyBody, KeyDoc, KeyMadeDoc, Page, PageQuery};
use crate::app::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use tombola_core::limits;
use tombola_core::ports::{ApiKey, Catalog};

pub(super) fn routes() -> Vec<Route> {
    let admin = Access::of(&[]);
    vec![
        Route::get("/v1/keys", admin, list).about(
            "List keys",
            "Keys, newest first, those that are revoked too; never the keys themselves.",
        ),
        Route::post("/v1/keys", admin, create)
            .about(
                "Create key",
                "Makes a key and shows it this once. Several keys may have one client name: a \
                 rotation then keeps the scope of request keys.",
            )
            .answers::<KeyMadeDoc>(201)
            .example(json!({ "role": "client", "client": "app" })),
        Route::post("/v1/keys/{id}/revoke", admin, revoke)
            .about("Revoke key", "Ends a key at once.")
            .errors(&[Code::KeyNotFound])
            .example(json!({ "reason": "it was in a log" })),
    ]
}

fn document(key: ApiKey) -> KeyDoc {
    KeyDoc {
        id: key.id,
        client: key.client,
        role: key.role,
        campaigns: key.campaigns,
        created_at: key.created_at,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}

async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<KeyDoc>>, ApiError> {
    let turn = Turn::open("keys", &query, app.now())?;
    let page = turn.page().cut(app.store().keys().await?, |key| key.id);
    Ok(Json(turn.answer(page.map(document))))
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<KeyBody>,
) -> Result<Response, ApiError> {
    let now = app.now();
    let client = body.client.unwrap_or_else(|| body.role.name().to_owned());
    let is_name = (1..=limits::CLIENT_BYTES_MAX).contains(&client.len())
        && client
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !is_name || client == LOCAL {
        return Err(ApiError::field(
            "/client",
            "use 1 to 64 of a-z, A-Z, 0-9, ., _ and -, and not `local`",
        ));
    }
    // A request that comes again made its key before, whatever the time is now.
    let is_past = body.expires_at.is_some_and(|end| end <= now);
    if is_past && !is_kept(&app, &caller).await? {
        return Err(ApiError::field("/expires_at", "it lies in the past"));
    }
    let campaigns = of_campaigns(body.campaigns)?;
    let candidates = match caller.request() {
        Some(request) => auth::keys_for(&app.claims(), request),
        None => vec![auth::new_key()],
    };
    let newest = candidates.first().ok_or(Code::Internal)?;
    let key = ApiKey {
        id: 0, // the store gives it
        client,
        role: body.role,
        campaigns,
        hash: auth::hash(newest),
        created_at: now,
        expires_at: body.expires_at,
        revoked_at: None,
    };
    let kept = app.store().put_key(key, caller.actor(None)).await?;
    app.refresh_keys().await?;
    let clear = candidates
        .into_iter()
        .find(|it| auth::hash(it) == kept.hash);
    let made = KeyMadeDoc {
        key: clear.ok_or_else(|| ApiError::internal(&"the secret of a kept key is gone"))?,
        about: document(kept),
    };
    Ok((StatusCode::CREATED, Extension(NotKept), Json(made)).into_response())
}

async fn is_kept(app: &App, caller: &Caller) -> Result<bool, ApiError> {
    match caller.request() {
        Some(request) => Ok(app.store().kept_request(request).await?.is_some()),
        None => Ok(false),
    }
}

fn of_campaigns(campaigns: Vec<String>) -> Result<Vec<String>, ApiError> {
    let is_slug = |slug: &String| {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=limits::SLUG_BYTES_MAX).contains(&slug.len()) && slug.bytes().all(is_letter)
    };
    if campaigns.len() > limits::KEY_CAMPAIGNS_MAX || !campaigns.iter().all(is_slug) {
        let most = limits::KEY_CAMPAIGNS_MAX;
        return Err(ApiError::field(
            "/campaigns",
            format!("use the slugs of at most {most} campaigns"),
        ));
    }
    Ok(campaigns)
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
