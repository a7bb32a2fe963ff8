//! The document of the API, and a page to browse it and to try it. All of it comes
//! from this server: the page may ask nobody else, and runs no script but its own
//! files.

use super::auth::Access;
use super::error::{ApiError, Code};
use super::input::Names;
use super::{Route, openapi};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi::text().into());

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of the page: its name, what it is, and what is in it.
type File = (&'static str, &'static str, &'static [u8]);

const FILES: [File; 4] = [
    ("page.js", SCRIPT, include_bytes!("docs/page.js")),
    ("page.css", STYLE, include_bytes!("docs/page.css")),
    (
        "swagger-ui-bundle.js",
        SCRIPT,
        include_bytes!("../../vendor/swagger-ui/swagger-ui-bundle.js"),
    ),
    (
        "swagger-ui.css",
        STYLE,
        include_bytes!("../../vendor/swagger-ui/swagger-ui.css"),
    ),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/openapi.json", Access::PUBLIC, document)
            .about("Document", "This document.")
            .answers::<Map<String, Value>>(200),
        Route::get("/docs", Access::PUBLIC, page)
            .about(
                "Browse document",
                "A page that shows this document and sends requests by it.",
            )
            .answers_raw(200, HTML),
        Route::get("/docs/{file}", Access::PUBLIC, file)
            .about("Page file", "What the page is made of.")
            .answers_raw(200, SCRIPT)
            .answers_raw(200, STYLE),
    ]
}

async fn document() -> Response {
    let media = [(header::CONTENT_TYPE, "application/json")];
    (media, DOCUMENT.clone()).into_response()
}

async fn page() -> Response {
    answer(HTML, include_str!("docs/page.html").into())
}

async fn file(Names(name): Names<String>) -> Result<Response, ApiError> {
    let (_, media, bytes) = FILES
        .iter()
        .find(|(known, _, _)| *known == name)
        .ok_or(Code::RouteNotFound)?;
    Ok(answer(media, Bytes::from_static(bytes)))
}

/// What browsers are told about every file of the page, beside what every answer says.
const STRICT: [(HeaderName, &str); 3] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    // Another version of the program has another page.
    (header::CACHE_CONTROL, "no-cache"),
];

fn answer(media: &'static str, body: Bytes) -> Response {
    let mut response = body.into_response();
    let media = [(header::CONTENT_TYPE, media)];
    for (name, value) in media.into_iter().chain(STRICT) {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
