//! Requests that come again. Every POST may carry an `Idempotency-Key`: the store
//! keeps it with the effect, and the answer is kept before it goes out, so that a
//! repetition gets the same bytes, after a restart too. Draws keep their keys with
//! the draw, and imports of codes look at theirs themselves, since their bodies are
//! streams.

use super::auth::{Caller, Who};
use super::error::{ApiError, Code};
use super::input;
use crate::app::App;
use crate::claim::ClaimKeys;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tombola_core::limits;
use tombola_core::ports::{Catalog, KeptAnswer, KeptRequest, RequestKey};

/// Says that the answer is that of an earlier request.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a route does about `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRule {
    /// It takes none.
    None,
    /// It may have one.
    Optional,
    /// It has to have one.
    Demanded,
    /// It has to have one, which the handler looks at itself.
    OfHandler,
}

/// Rides on an answer that holds a secret and is not to be kept: the handler makes
/// the same bytes again from what the store answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotKept;

/// Bytes that are a function of the request and of the secret, so that a repetition is
/// shown the same and nothing of it is kept. One for each version of the secret, the
/// newest first; `label` keeps one use apart from another.
pub(super) fn derived(claims: &ClaimKeys, label: &str, request: &RequestKey) -> Vec<[u8; 32]> {
    let mut bytes = Vec::new();
    for part in [&request.client, &request.operation, &request.key] {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes.extend(request.fingerprint);
    claims.derive(label, &bytes)
}

/// The key of a request whose body is known by its fingerprint.
pub(super) fn request_key(
    who: &Who,
    parts: &Parts,
    key: String,
    fingerprint: [u8; 32],
) -> RequestKey {
    // An address may name a user, who may have to be forgotten.
    let address = parts.uri.path_and_query().map_or("", |it| it.as_str());
    let digest = Sha256::digest(address);
    let route = parts.extensions.get::<MatchedPath>();
    let route = route.map_or("", |it| it.as_str());
    RequestKey {
        client: who.client().to_string(),
        operation: format!(
            "{} {route} {}",
            parts.method,
            URL_SAFE_NO_PAD.encode(&digest[..9])
        ),
        key,
        fingerprint,
    }
}

/// Runs the request once: its handler, or what is kept of its first run.
pub(super) async fn once(
    app: &App,
    who: Who,
    rule: KeyRule,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let key = match rule {
        KeyRule::Optional => input::optional_request_key(request.headers())?,
        KeyRule::Demanded => Some(input::request_key(request.headers())?),
        KeyRule::None | KeyRule::OfHandler => None,
    };
    let (mut parts, body) = request.into_parts();
    let Some(key) = key else {
        parts.extensions.insert(Caller::new(who));
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let bytes = input::read_bytes(body, app).await?;
    let request = request_key(&who, &parts, key, Sha256::digest(&bytes).into());
    let kept = app.store().kept_request(&request).await?;
    if let Some(kept) = &kept
        && let Some(answer) = of_kept(kept, &request)?
    {
        return Ok(replay(answer));
    }
    parts
        .extensions
        .insert(Caller::with_request(who, request.clone()));
    let response = next.run(Request::from_parts(parts, bytes.into())).await;
    keep(app, request, response, kept.is_some()).await
}

/// The kept answer, if there is one. The same key with another body is an error.
pub(super) fn of_kept(
    kept: &KeptRequest,
    request: &RequestKey,
) -> Result<Option<KeptAnswer>, ApiError> {
    if kept.fingerprint != request.fingerprint {
        return Err(Code::RequestKeyReused.into());
    }
    match &kept.answer {
        Some(answer) if answer.is_erased() => Err(Code::UserErased.into()),
        answer => Ok(answer.clone()),
    }
}

/// Keeps a good answer before it goes out. What failed changed nothing and may be
/// tried again.
pub(super) async fn keep(
    app: &App,
    request: RequestKey,
    response: Response,
    is_repeated: bool,
) -> Result<Response, ApiError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    if response.extensions().get::<NotKept>().is_some() {
        return Ok(marked(response, is_repeated));
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, limits::KEPT_ANSWER_BYTES_MAX)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let mine = KeptAnswer {
        status: parts.status.as_u16(),
        body: body.to_vec(),
        user: user_of(&body),
    };
    let stands = app
        .store()
        .keep_answer(request, mine.clone(), app.now())
        .await?;
    if stands.is_erased() {
        return Err(Code::UserErased.into());
    }
    if stands != mine {
        return Ok(replay(stands));
    }
    Ok(marked(
        Response::from_parts(parts, body.into()),
        is_repeated,
    ))
}

/// The user that an answer speaks of.
fn user_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        user: Option<String>,
    }
    let named: Named = serde_json::from_slice(body).ok()?;
    named.user
}

fn marked(mut response: Response, is_repeated: bool) -> Response {
    if is_repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// The first answer's bytes.
pub(super) fn replay(answer: KeptAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let json = [(header::CONTENT_TYPE, "application/json")];
    marked(
        (status, json, Body::from(answer.body)).into_response(),
        true,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::opened;

    #[tokio::test]
    async fn answer_is_kept_up_to_its_bound_and_a_larger_one_is_a_fault() {
        let (_temp, app) = opened().await;
        let keep_bytes = async |bytes: usize| {
            let request = RequestKey {
                client: "shop".to_owned(),
                operation: "POST /".to_owned(),
                key: format!("key-{bytes}"),
                fingerprint: [0; 32],
            };
            let response = "x".repeat(bytes).into_response();
            keep(&app, request, response, false).await
        };
        let max = limits::KEPT_ANSWER_BYTES_MAX;
        assert!(keep_bytes(max).await.is_ok());
        let larger = keep_bytes(max + 1).await;
        assert_eq!(larger.unwrap_err().code, Code::Internal);
    }

    #[tokio::test]
    async fn answer_about_a_user_who_was_erased_meanwhile_is_given_to_nobody() {
        let (_temp, app) = opened().await;
        let request = RequestKey {
            client: "shop".to_owned(),
            operation: "POST /".to_owned(),
            key: "key-00000001".to_owned(),
            fingerprint: [0; 32],
        };
        let erased = KeptAnswer::erased();
        let kept = app.store().keep_answer(request.clone(), erased, app.now());
        kept.await.unwrap();
        let mine = r#"{"user":"u1"}"#.into_response();
        let answer = keep(&app, request, mine, false).await;
        assert_eq!(answer.unwrap_err().code, Code::UserErased);
    }
}
