//! How the demo's people and programs reach the server: calls of the `/v1` API,
//! in process in the plain run, over the network in the run with kills.

use crate::client::{self, Api};
use anyhow::{Result, ensure};
use async_trait::async_trait;
use axum::body::Body;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const JSON: &str = "application/json";

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) const fn is_created(&self) -> bool {
        self.status == 201
    }

    /// The `code` of a problem, with the limit that it names; the status where there
    /// is none.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let word = |name: &str| body.get(name)?.as_str().map(ToOwned::to_owned);
        let code = word("code").unwrap_or_else(|| self.status.to_string());
        word("limit").map_or(code.clone(), |limit| format!("{code} {limit}"))
    }

    /// The body, if the call went well.
    pub(crate) fn json(&self) -> Result<Value> {
        ensure!(
            self.status < 400,
            "the server answered {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// One call of the API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'static str,
    pub(crate) path: &'a str,
    pub(crate) request_key: Option<&'a str>,
    pub(crate) claim_token: Option<&'a str>,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'a [u8],
}

impl<'a> Call<'a> {
    /// A read.
    pub(crate) const fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            request_key: None,
            claim_token: None,
            content_type: JSON,
            body: b"",
        }
    }

    /// A change, under a request key.
    pub(crate) const fn post(path: &'a str, request_key: &'a str, body: &'a [u8]) -> Self {
        Self {
            method: "POST",
            path,
            request_key: Some(request_key),
            claim_token: None,
            content_type: JSON,
            body,
        }
    }

    /// A change that says what shall be.
    pub(crate) const fn put(path: &'a str, body: &'a [u8]) -> Self {
        Self {
            method: "PUT",
            path,
            request_key: None,
            claim_token: None,
            content_type: JSON,
            body,
        }
    }

    /// With a body of CSV.
    pub(crate) const fn csv(self) -> Self {
        Self {
            content_type: "text/csv",
            ..self
        }
    }

    /// As the winner who has this token.
    pub(crate) const fn as_winner(self, token: &'a str) -> Self {
        Self {
            claim_token: Some(token),
            ..self
        }
    }
}

/// A way to the server.
#[async_trait]
pub(crate) trait Wire: Send + Sync {
    /// One call; an error means that no answer came. Without a claim token the
    /// caller is who the way makes it: a client or an operator.
    async fn call(&self, call: Call<'_>) -> Result<Answer>;
}

#[async_trait]
impl Wire for Api {
    async fn call(&self, call: Call<'_>) -> Result<Answer> {
        let mut request = match call.method {
            "GET" => client::Call::get(call.path),
            "PUT" => client::Call::put(call.path),
            _ => client::Call::post(call.path),
        };
        if !call.body.is_empty() {
            request = request.stream(call.content_type, Body::from(call.body.to_vec()));
        }
        if let Some(key) = call.request_key {
            request = request.request_key(key);
        }
        if let Some(token) = call.claim_token {
            request = request.claim_token(token);
        }
        let answer = self.answer(request).await?;
        Ok(Answer {
            status: answer.status,
            body: answer.body.to_vec(),
        })
    }
}

/// Calls until the server is there again: for the people of the demo, who are as
/// patient as its callers.
pub(crate) async fn patient(wire: &Arc<dyn Wire>, call: Call<'_>) -> Result<Value> {
    for _ in 0..200 {
        match wire.call(call).await {
            Ok(answer) if answer.status < 500 => return answer.json(),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    anyhow::bail!(
        "the server did not answer {} {} within ten seconds",
        call.method,
        call.path
    )
}
