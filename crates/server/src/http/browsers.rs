//! What browsers are told: which pages of other origins may call the API (none unless
//! the settings name them), and that an answer is data, to be neither kept, nor
//! framed, nor taken for a page. A route that serves a page sets headers of its own.

use crate::config::Http;
use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::time::Duration;
use tower_http::cors::CorsLayer;

const REQUEST_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long a browser may remember what it was told of another origin.
const PREFLIGHT_AGE: Duration = Duration::from_hours(1);

/// What every answer says unless its route says otherwise.
const SAFE: [(HeaderName, HeaderValue); 4] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
];

/// Said under TLS: a year without a word in clear.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Puts the headers of an answer that its route did not.
pub(super) fn put_safe_headers(headers: &mut HeaderMap, http: &Http) {
    for (name, value) in SAFE {
        headers.entry(name).or_insert(value);
    }
    if http.has_tls() {
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(TLS_ONLY);
    }
}

/// The router, open to the origins of the settings. With none, no answer has a header
/// of CORS. Keys travel in a header that a page has to set itself, so no cookie is
/// ever allowed.
pub(super) fn layered(router: Router, http: &Http) -> Router {
    if http.cors_origins.is_empty() {
        return router;
    }
    let origins = http.cors_origins.iter();
    let origins: Vec<HeaderValue> = origins
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    router.layer(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PUT])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                REQUEST_KEY,
                REQUEST_ID,
            ])
            .expose_headers([REPLAYED, REQUEST_ID, header::RETRY_AFTER])
            .max_age(PREFLIGHT_AGE),
    )
}
