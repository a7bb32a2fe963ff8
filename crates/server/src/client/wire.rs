//! HTTP/1.1 over a Unix socket, TCP or TLS, with a small pool of open connections.

use super::ClientError;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tombola_core::limits;

/// Idle connections kept.
const IDLE_MAX: usize = 256;

/// Where connections go to.
#[derive(Debug, Clone)]
enum Target {
    Socket(PathBuf),
    Tcp {
        address: String,
    },
    Tls {
        address: String,
        name: ServerName<'static>,
        trust: Arc<rustls::ClientConfig>,
    },
}

/// Connections to one server.
pub struct Pool {
    target: Target,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Body>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn socket(path: PathBuf) -> Self {
        Self {
            target: Target::Socket(path),
            host: HeaderValue::from_static("localhost"),
            authorization: None,
            idle: Mutex::default(),
        }
    }

    /// `authorities` names a file of certificates to trust instead of those that the
    /// machine trusts.
    pub(super) fn http(
        url: &str,
        key: Option<String>,
        authorities: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let wrong = |why: &str| ClientError::NotUnderstood(format!("{url}: {why}"));
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) | None => return Err(wrong("begin with http:// or https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '@']) {
            return Err(wrong("name a host and a port, no more"));
        }
        let with_port = authority
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok());
        let host_name = with_port
            .map_or(authority, |(host, _)| host)
            .trim_matches(['[', ']'])
            .to_owned();
        let port = if is_tls { 443 } else { 80 };
        let address = if with_port.is_some() {
            authority.to_owned()
        } else {
            format!("{authority}:{port}")
        };
        let target = if is_tls {
            let name = ServerName::try_from(host_name).map_err(|_| wrong("this is no host"))?;
            let trust = Arc::new(trust(authorities)?);
            Target::Tls {
                address,
                name,
                trust,
            }
        } else {
            Target::Tcp { address }
        };
        let host = HeaderValue::from_str(authority).map_err(|_| wrong("this is no host"))?;
        let authorization = key
            .map(|key| HeaderValue::from_str(&format!("Bearer {key}")))
            .transpose();
        let mut authorization =
            authorization.map_err(|_| wrong("the key holds characters that no key has"))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            target,
            host,
            authorization,
            idle: Mutex::default(),
        })
    }

    /// The whole answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, ClientError> {
        let (response, connection) = self.ask(request).await?;
        let (parts, body) = response.into_parts();
        let bytes = http_body_util::BodyExt::collect(body)
            .await
            .map_err(|error| ClientError::unknown(&error))?;
        self.keep(connection);
        Ok(Response::from_parts(parts, Body::from(bytes.to_bytes())))
    }

    /// The answer as it comes; its connection is for it alone.
    pub(super) async fn stream(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Body>, ClientError> {
        let (response, _) = self.ask(request).await?;
        Ok(response.map(Body::new))
    }

    async fn ask(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, SendRequest<Body>), ClientError> {
        request
            .headers_mut()
            .insert(header::HOST, self.host.clone());
        if let Some(value) = &self.authorization {
            request
                .headers_mut()
                .entry(header::AUTHORIZATION)
                .or_insert_with(|| value.clone());
        }
        let mut connection = match self.idle_one() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // A connection that the server closed meanwhile took nothing of the request.
        let response = match connection.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => match error.take_message() {
                Some(request) => {
                    connection = self.connect().await?;
                    connection
                        .send_request(request)
                        .await
                        .map_err(|error| ClientError::unknown(&error))?
                }
                None => return Err(ClientError::unknown(error.error())),
            },
        };
        Ok((response, connection))
    }

    fn idle_one(&self) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: SendRequest<Body>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && !connection.is_closed() {
            idle.push(connection);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Body>, ClientError> {
        let connecting = async {
            match &self.target {
                Target::Socket(path) => {
                    let stream = UnixStream::connect(path).await;
                    begin(stream.map_err(|error| unreachable(&path.display(), &error))?).await
                }
                Target::Tcp { address } => begin(tcp(address).await?).await,
                Target::Tls {
                    address,
                    name,
                    trust,
                } => {
                    let tls = TlsConnector::from(Arc::clone(trust));
                    let stream = tls.connect(name.clone(), tcp(address).await?).await;
                    begin(stream.map_err(|error| unreachable(address, &error))?).await
                }
            }
        };
        in_time(connecting).await
    }
}

/// What connecting came to; it does not take for ever.
async fn in_time<T>(
    connecting: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let most = limits::COMMAND_CONNECT_TIMEOUT;
    tokio::time::timeout(most, connecting)
        .await
        .unwrap_or_else(|_| {
            let why = format!("no connection within {} s", most.as_secs());
            Err(ClientError::Unreachable(why))
        })
}

fn unreachable(whom: &dyn std::fmt::Display, why: &dyn std::fmt::Display) -> ClientError {
    ClientError::Unreachable(format!("{whom}: {why}"))
}

async fn tcp(address: &str) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| unreachable(&address, &error))?;
    stream
        .set_nodelay(true)
        .map_err(|error| unreachable(&address, &error))?;
    Ok(stream)
}

/// Trusts the certificates of that file, or what the machine trusts.
fn trust(authorities: Option<&Path>) -> Result<rustls::ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| no_trust(&error))?;
    let builder = match authorities {
        Some(path) => builder.with_root_certificates(
            roots(path).map_err(|why| no_trust(&format!("{}: {why}", path.display())))?,
        ),
        None => builder
            .with_platform_verifier()
            .map_err(|error| no_trust(&error))?,
    };
    Ok(builder.with_no_client_auth())
}

fn no_trust(why: &dyn std::fmt::Display) -> ClientError {
    ClientError::NotUnderstood(format!("no certificates to trust: {why}"))
}

fn roots(path: &Path) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(roots)
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Body>, ClientError> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ClientError::Unreachable(error.to_string()))?;
    // Ends with its connection, which ends when the pool and its calls are gone.
    #[expect(
        clippy::disallowed_methods,
        reason = "a client has no tracker; the task ends with its connection"
    )]
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connection_is_waited_for_as_long_as_the_bound_says() {
        let began = tokio::time::Instant::now();
        let connected = in_time::<()>(std::future::pending()).await;
        assert!(matches!(connected, Err(ClientError::Unreachable(_))));
        assert_eq!(began.elapsed(), limits::COMMAND_CONNECT_TIMEOUT);
    }
}
