//! A new secret of an endpoint. It is a function of the request where that has a key,
//! so that a repetition shows the same one and nothing of it is kept in clear.

use crate::api::{EndpointRotateBody, EndpointRotatedDoc};
use crate::app::App;
use crate::http::auth::{self, Caller};
use crate::http::error::{ApiError, Code};
use crate::http::input::{self, JsonBody, Names};
use crate::http::replay::{NotKept, derived};
use crate::random;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use tombola_core::endpoint::parse_span;
use tombola_core::ports::{Catalog, NewSecret, SecretRotated};
use tombola_core::{Timestamp, limits};

/// What a secret of Standard Webhooks begins with.
pub(super) const SECRET_PREFIX: &str = "whsec_";

/// A secret that nobody can guess.
pub(super) fn new_secret() -> String {
    secret_of(&random::bytes::<32>())
}

fn secret_of(bytes: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes))
}

pub(super) async fn rotate(
    State(app): State<App>,
    caller: Caller,
    Names(name): Names<String>,
    JsonBody(body): JsonBody<EndpointRotateBody>,
) -> Result<Response, ApiError> {
    let overlap = overlap(body.overlap.as_deref())?;
    let by = caller.actor(input::reason(body.reason)?);
    let candidates: Vec<String> = match caller.request() {
        Some(request) => derived(&app.claims(), "tombola endpoint secret", request)
            .iter()
            .map(secret_of)
            .collect(),
        None => vec![new_secret()],
    };
    let newest = candidates.first().ok_or(Code::Internal)?;
    let secret = NewSecret {
        text: newest.clone(),
        hash: auth::hash(newest),
        overlap,
    };
    let done = app.store().rotate_secret(&name, secret, by, app.now());
    let (hash, older_secrets_end_at) = match done.await? {
        SecretRotated::Rotated { hash, older_end_at } => (hash, older_end_at),
        SecretRotated::SecretsFull { ends_at } => return Err(secrets_full(ends_at)),
        SecretRotated::NotFound => return Err(Code::EndpointNotFound.into()),
    };
    app.endpoints_changed().await;
    let clear = candidates.into_iter().find(|it| auth::hash(it) == hash);
    let rotated = EndpointRotatedDoc {
        endpoint: name,
        new_secret: clear
            .ok_or_else(|| ApiError::internal(&"the secret of a kept rotation is gone"))?,
        older_secrets_end_at,
    };
    Ok((Extension(NotKept), Json(rotated)).into_response())
}

fn overlap(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(limits::SECRET_OVERLAP);
    };
    parse_span(text)
        .filter(|span| *span <= limits::SECRET_OVERLAP_MAX)
        .ok_or_else(|| ApiError::field("/overlap", "use a span of at most 7d, such as 24h or 0s"))
}

/// No secret is dropped that a receiver may still need.
pub(super) fn secrets_full(ends_at: Timestamp) -> ApiError {
    let most = limits::ENDPOINT_SECRETS_MAX;
    let mend = format!(
        "{most} secrets sign already: the first of them ends at {ends_at}; wait for it, or rotate \
         with an overlap of 0s, which ends all older ones now"
    );
    ApiError::new(Code::EndpointSecretsFull, mend).with("ends_at", ends_at.to_string())
}
