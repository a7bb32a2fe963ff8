//! How the demo's people and programs reach the server: calls of the `/v1` API,
//! in process in the plain run, over the network in the run with kills.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

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

    /// The `code` of a problem, or the status where there is none.
    pub(crate) fn code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|body| Some(body.get("code")?.as_str()?.to_owned()))
            .unwrap_or_else(|| self.status.to_string())
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

/// A way to the server.
#[async_trait]
pub(crate) trait Wire: Send + Sync {
    /// One call; an error means that no answer came.
    async fn call(
        &self,
        method: &str,
        path: &str,
        request_key: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Answer>;
}

/// Calls until the server is there again: for the people of the demo, who are as
/// patient as its callers.
pub(crate) async fn patient(
    wire: &Arc<dyn Wire>,
    method: &str,
    path: &str,
    request_key: Option<&str>,
    body: &Value,
) -> Result<Value> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    for _ in 0..200 {
        match wire.call(method, path, request_key, body.clone()).await {
            Ok(answer) if answer.status < 500 => return answer.json(),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    anyhow::bail!("the server did not answer {method} {path} within ten seconds")
}
