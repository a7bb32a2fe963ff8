//! The client of `/v1`, behind every command. Three ways lead to the same router:
//! in process, over the socket of a running server, and over TCP with a key; which
//! one it is, no command can see.

mod calls;
mod error;
mod wire;

pub use error::ClientError;

use crate::http::auth::Who;
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower::ServiceExt;
use wire::Pool;

/// A way to the API.
#[derive(Debug, Clone)]
pub enum Api {
    /// The router itself, as admin `local`: this process has the directory open.
    InProcess(Router),
    /// The socket of the server that has the directory open, as admin `local`.
    Socket(Arc<Pool>),
    /// A server afar, with a key.
    Http(Arc<Pool>),
}

/// One request.
#[derive(Debug)]
pub struct Call {
    method: Method,
    path: String,
    body: Body,
    content_type: Option<&'static str>,
    request_key: Option<String>,
    claim_token: Option<String>,
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Whether a replay: the first answer's bytes.
    pub is_replayed: bool,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Call {
    /// A `GET`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `POST` without a body yet.
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A `PUT` without a body yet.
    pub fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A `DELETE`.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: Body::empty(),
            content_type: None,
            request_key: None,
            claim_token: None,
        }
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).expect("request types of the API are JSON");
        Self {
            body: Body::from(text),
            content_type: Some("application/json"),
            ..self
        }
    }

    /// With a body that is JSON already.
    #[must_use]
    pub fn json_text(self, text: String) -> Self {
        Self {
            body: Body::from(text),
            content_type: Some("application/json"),
            ..self
        }
    }

    /// With a streamed body of that type.
    #[must_use]
    pub fn stream(self, content_type: &'static str, body: Body) -> Self {
        Self {
            body,
            content_type: Some(content_type),
            ..self
        }
    }

    /// With a request key.
    #[must_use]
    pub fn request_key(self, key: impl Into<String>) -> Self {
        Self {
            request_key: Some(key.into()),
            ..self
        }
    }

    /// As the winner who has this claim token, whatever the way makes of its caller.
    #[must_use]
    pub fn claim_token(self, token: impl Into<String>) -> Self {
        Self {
            claim_token: Some(token.into()),
            ..self
        }
    }

    /// With these parameters behind the question mark; absent fields are left out.
    #[must_use]
    pub fn query(mut self, query: &impl Serialize) -> Self {
        let serde_json::Value::Object(fields) =
            serde_json::to_value(query).expect("query types of the API are JSON")
        else {
            return self;
        };
        let mut separator = if self.path.contains('?') { '&' } else { '?' };
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            self.path.push(separator);
            self.path.push_str(name);
            self.path.push('=');
            self.path.push_str(&escape(&text));
            separator = '&';
        }
        self
    }
}

/// A name as one part of a path, or as a parameter's value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a text cannot fail");
        }
    }
    escaped
}

impl Api {
    /// Over the socket at `path`.
    pub fn socket(path: impl Into<PathBuf>) -> Self {
        Self::Socket(Arc::new(Pool::socket(path.into())))
    }

    /// At `http://HOST[:PORT]` or `https://…`, with a key.
    pub fn http(url: &str, key: Option<String>) -> Result<Self, ClientError> {
        Pool::http(url, key, None).map(|pool| Self::Http(Arc::new(pool)))
    }

    /// The same, trusting only the certificates of that PEM file.
    pub fn http_trusting(
        url: &str,
        key: Option<String>,
        authorities: &Path,
    ) -> Result<Self, ClientError> {
        Pool::http(url, key, Some(authorities)).map(|pool| Self::Http(Arc::new(pool)))
    }

    /// Sends a call and reads its whole answer, whatever its status.
    pub async fn answer(&self, call: Call) -> Result<Answer, ClientError> {
        let response = self.send(call).await?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| ClientError::unknown(&error))?
            .to_bytes();
        let is_replayed = parts.headers.contains_key("idempotent-replayed");
        Ok(Answer {
            is_replayed,
            status: parts.status.as_u16(),
            body,
        })
    }

    /// Sends a call and reads a good answer as a `T`.
    pub async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let answer = self.answer(call).await?;
        if !(200..300).contains(&answer.status) {
            return Err(ClientError::of_answer(answer.status, &answer.body));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            ClientError::NotUnderstood(format!(
                "the answer is not what this version knows: {error}"
            ))
        })
    }

    /// Sends a call and gives the body of a good answer as it comes, with the length
    /// that the server says it has.
    pub async fn download(&self, call: Call) -> Result<(Body, Option<u64>), ClientError> {
        let request = request_of(call)?;
        let response = match self {
            Self::InProcess(router) => in_process(router, request).await,
            Self::Socket(pool) | Self::Http(pool) => pool.open(request).await?,
        };
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            let body = body
                .collect()
                .await
                .map_err(|error| ClientError::unknown(&error))?;
            let status = parts.status.as_u16();
            return Err(ClientError::of_answer(status, &body.to_bytes()));
        }
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((body, length))
    }

    async fn send(&self, call: Call) -> Result<Response<Body>, ClientError> {
        let request = request_of(call)?;
        match self {
            Self::InProcess(router) => Ok(in_process(router, request).await),
            Self::Socket(pool) | Self::Http(pool) => pool.send(request).await,
        }
    }
}

async fn in_process(router: &Router, mut request: Request<Body>) -> Response<Body> {
    request.extensions_mut().insert(Who::Local);
    let Ok(response) = router.clone().oneshot(request).await;
    response
}

fn request_of(call: Call) -> Result<Request<Body>, ClientError> {
    let mut request = Request::builder().method(call.method).uri(&call.path);
    if let Some(content_type) = call.content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    if let Some(key) = &call.request_key {
        request = request.header("idempotency-key", key);
    }
    if let Some(token) = &call.claim_token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request
        .body(call.body)
        .map_err(|error| ClientError::NotUnderstood(format!("the request cannot be sent: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_absent_parameters_left_out() {
        let query = crate::api::AwardQuery {
            user: Some("u&1=ä".into()),
            limit: Some(3),
            ..crate::api::AwardQuery::default()
        };
        let call = Call::get("/v1/awards").query(&query);
        assert_eq!(call.path, "/v1/awards?limit=3&user=u%261%3D%C3%A4");
    }
}
