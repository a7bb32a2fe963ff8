//! The distributor of kind `webhook`: one signed POST, by every secret that signs at
//! that instant.
//!
//! # What each failure means
//! - Nothing was written yet (a refused or private address, no connection, no TLS, a
//!   secret that does not sign): `NotConnected`. A private address is not an answer
//!   of the endpoint, so it does not defer without end: it is an attempt, it counts
//!   for the breaker, and the operator reads why in the timeline.
//! - A whole answer came: its status decides.
//! - Anything else after the connection stood: `Broken`, the outcome is unknown.

use super::Distributor;
use super::answer::{cut, read_body, receipt, retry_after};
use super::body;
use super::client::Clients;
use super::guard::{PRIVATE, is_refused_literal};
use super::sign::sign;
use async_trait::async_trait;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response, Url};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::decision::CallAnswer;
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;
use tombola_core::message::Message;
use tombola_core::ports::{Claim, Clock};

/// Calls endpoints.
pub struct WebhookDistributor {
    clients: Clients,
    clock: Arc<dyn Clock>,
}

impl WebhookDistributor {
    /// One for the whole process: connections are kept in it.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clients: Clients::new(),
            clock,
        }
    }

    /// Everything before the first byte.
    fn prepare(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: Vec<u8>,
    ) -> Result<RequestBuilder, String> {
        let url: Url = endpoint
            .url
            .parse()
            .map_err(|_| "the endpoint's url cannot be read".to_owned())?;
        if is_refused_literal(&url, endpoint.allow_private) {
            return Err(PRIVATE.to_owned());
        }
        let now = self.clock.now();
        let timestamp = now.0.div_euclid(1_000_000);
        let signature = sign(&endpoint.secrets_at(now), id, timestamp, &body)
            .map_err(|error| error.to_string())?;
        let client: Client = self.clients.of(endpoint).map_err(|error| said(&error))?;
        Ok(client
            .post(url)
            .timeout(endpoint.timeout.min(limits::CALL_TIMEOUT_MAX))
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body))
    }

    /// Makes one test call, which delivers nothing: through the same client, guards and
    /// bounds as any other.
    pub async fn test(&self, endpoint: &Endpoint, id: &str) -> (CallAnswer, Option<String>) {
        let body = body::encode_test(&endpoint.name, self.clock.now());
        self.post(endpoint, id, body).await
    }

    async fn post(
        &self,
        endpoint: &Endpoint,
        id: &str,
        body: Vec<u8>,
    ) -> (CallAnswer, Option<String>) {
        let request = match self.prepare(endpoint, id, body) {
            Ok(request) => request,
            Err(error) => return (CallAnswer::NotConnected, Some(error)),
        };
        #[expect(clippy::disallowed_methods, reason = "this is the one guarded client")]
        let answer = request.send().await;
        match answer {
            Ok(response) => self.read(response).await,
            Err(error) if error.is_connect() || error.is_builder() => {
                (CallAnswer::NotConnected, Some(said(&error)))
            }
            Err(error) => (CallAnswer::Broken, Some(said(&error))),
        }
    }

    async fn read(&self, response: Response) -> (CallAnswer, Option<String>) {
        let status = response.status().as_u16();
        let retry_after: Option<Duration> = retry_after(response.headers(), self.clock.now());
        match read_body(response).await {
            Ok(body) => {
                let receipt = body.as_deref().and_then(receipt);
                let error = (!(200..300).contains(&status)).then(|| format!("HTTP {status}"));
                (
                    CallAnswer::Status {
                        status,
                        retry_after,
                        receipt,
                    },
                    error,
                )
            }
            Err(error) => (
                CallAnswer::Broken,
                Some(format!("HTTP {status}, then {}", said(&error))),
            ),
        }
    }
}

#[async_trait]
impl Distributor for WebhookDistributor {
    async fn deliver(
        &self,
        endpoint: &Endpoint,
        claim: &Claim,
        message: &Message,
    ) -> (CallAnswer, Option<String>) {
        let body = body::encode(message, &claim.delivery_key);
        self.post(endpoint, &claim.delivery_key, body).await
    }
}

/// What an error says, without the URL, which may hold a secret.
fn said(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() { "timed out" } else { "" };
    with_causes(what, error.source())
}

fn with_causes(what: &str, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut text = what.to_owned();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() {
        text.push_str("the call failed");
    }
    cut(text, limits::CALL_ERROR_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{TokioClock, endpoint, message};
    use std::fmt;

    /// The deadline of the request that goes to an endpoint with that one.
    fn deadline_of(timeout: Duration) -> Option<Duration> {
        let endpoint = Endpoint {
            timeout,
            ..endpoint(1)
        };
        let webhook = WebhookDistributor::new(TokioClock::new());
        let body = body::encode(&message(42), "42-mnopqrstuvwx");
        let request = webhook.prepare(&endpoint, "42-mnopqrstuvwx", body);
        let request = request.unwrap();
        request.build().unwrap().timeout().copied()
    }

    #[tokio::test]
    async fn call_has_the_deadline_of_its_endpoint_and_none_beyond_the_longest() {
        let max = limits::CALL_TIMEOUT_MAX;
        let second = Duration::from_secs(1);
        assert_eq!(deadline_of(second), Some(second));
        assert_eq!(deadline_of(max), Some(max));
        assert_eq!(deadline_of(max + second), Some(max));
    }

    #[derive(Debug)]
    struct Cause(usize);

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&"x".repeat(self.0))
        }
    }

    impl std::error::Error for Cause {}

    #[test]
    fn causes_of_a_failed_call_are_kept_up_to_their_bound() {
        let max = limits::CALL_ERROR_BYTES_MAX;
        let kept = |bytes| with_causes("", Some(&Cause(bytes))).len();
        assert_eq!((kept(max), kept(max + 1)), (max, max));
        assert_eq!(with_causes("", None), "the call failed");
    }
}
