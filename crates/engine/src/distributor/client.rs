//! The guarded HTTP clients: one for each way of calling, kept while endpoints use
//! it. No proxies of the environment, no redirects, no retries of their own, HTTP/1.1,
//! addresses checked after resolution, and a time to connect that ends before the
//! call's own deadline does, so that an endpoint that cannot be reached is never
//! taken for one that was called.

use super::guard::GuardedResolver;
use reqwest::{Client, ClientBuilder};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls_platform_verifier::BuilderVerifierExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tombola_core::endpoint::Endpoint;

/// Clients in hand; above it all are dropped and made anew as they are used.
const CLIENTS_MAX: usize = 64;
/// Idle connections kept for one endpoint, and how long.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// What makes one client differ from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Way {
    allow_private: bool,
    /// An endpoint that is not idempotent gets a new connection for each call: on a
    /// kept one nobody can tell a request that was lost from one that was read.
    keeps_connections: bool,
    connect_timeout: Duration,
}

/// Makes and keeps clients.
pub(super) struct Clients {
    tls: ClientConfig,
    made: Mutex<HashMap<Way, Client>>,
}

impl Clients {
    pub(super) fn new() -> Self {
        Self {
            tls: tls(),
            made: Mutex::default(),
        }
    }

    /// The client for an endpoint.
    pub(super) fn of(&self, endpoint: &Endpoint) -> reqwest::Result<Client> {
        let way = Way {
            allow_private: endpoint.allow_private,
            keeps_connections: endpoint.is_idempotent,
            connect_timeout: connect_timeout(endpoint.timeout),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&way) {
            return Ok(client.clone());
        }
        if made.len() >= CLIENTS_MAX {
            made.clear();
        }
        let client = self.builder(way).build()?;
        made.insert(way, client.clone());
        Ok(client)
    }

    fn builder(&self, way: Way) -> ClientBuilder {
        Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(GuardedResolver {
                allow_private: way.allow_private,
            })
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(way.connect_timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(if way.keeps_connections { usize::MAX } else { 0 })
            .user_agent(concat!("tombola/", env!("CARGO_PKG_VERSION")))
    }
}

/// Ends well before the call's deadline.
fn connect_timeout(timeout: Duration) -> Duration {
    timeout / 2
}

/// TLS on ring, trusting what the machine trusts. On a machine that trusts nobody
/// (an image without certificates) calls over TLS fail, plain ones work.
fn tls() -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match trusting_the_machine(&provider) {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!(%error, "no certificates of the machine: calls of https endpoints will fail");
            trusting_nobody(provider)
        }
    }
}

fn trusting_the_machine(provider: &Arc<CryptoProvider>) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_platform_verifier()?.with_no_client_auth())
}

fn trusting_nobody(provider: Arc<CryptoProvider>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the protocol versions of rustls")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
