//! TLS of the API: one certificate and its key, from two PEM files that can be read
//! anew while the server runs. Connections that are open keep what they began with.

use crate::config::Http;
use anyhow::{Context as _, bail};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// A certificate in use.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<TlsAcceptor>,
}

impl Tls {
    /// From the files that the settings name; none, where they name none.
    pub(crate) fn open(http: &Http) -> anyhow::Result<Option<Self>> {
        if !http.has_tls() {
            return Ok(None);
        }
        let certificate = PathBuf::from(&http.tls_certificate);
        let key = PathBuf::from(&http.tls_key_file);
        let current = RwLock::new(read(&certificate, &key)?);
        Ok(Some(Self {
            certificate,
            key,
            current,
        }))
    }

    /// Reads the files anew. If they cannot be used, what was in use stays in use.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let fresh = read(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let of_certificate = || format!("http.tls_certificate: {}", certificate.display());
    let of_key = || format!("http.tls_key_file: {}", key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(of_certificate)?;
    if chain.is_empty() {
        bail!("{}: there is no certificate in it", of_certificate());
    }
    let private = PrivateKeyDer::from_pem_file(key).with_context(of_key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "http.tls_key_file: {} does not fit the certificate {}",
                key.display(),
                certificate.display()
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
