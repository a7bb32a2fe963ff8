//! TLS to the server: rustls on ring.
//!
//! Whoever asks for encryption gets a server whose certificate was looked at. libpq's
//! `require` encrypts to anybody who answers, which keeps out those who listen and not
//! those who answer in the server's place; here it is `verify-full`. Channel binding
//! (SCRAM-SHA-256-PLUS) comes with it where the server has it.

use super::error::chain;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;
use tombola_core::ports::{StoreError, StoreResult};

/// Whether a connection is encrypted, and who is believed to be the server: the words
/// of libpq's `sslmode`, with the one difference that `require` and `prefer` verify.
///
/// Without a word it is [`TlsMode::VerifyFull`], and [`TlsMode::Disable`] if every
/// host is this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// `disable`: plain.
    Disable,
    /// `prefer`: encrypted and verified if the server says that it can, else plain.
    /// It protects from nobody who can change what it says.
    Prefer,
    /// `verify-ca`: encrypted, to a server whose certificate was signed by one of the
    /// given authorities, whatever name it is for.
    VerifyCa,
    /// `verify-full`, `require`: encrypted, to a server whose certificate is signed by
    /// who is trusted and for the host's name.
    VerifyFull,
}

impl TlsMode {
    /// By its word in a url.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "disable" => Some(Self::Disable),
            "prefer" => Some(Self::Prefer),
            "verify-ca" => Some(Self::VerifyCa),
            "require" | "verify-full" => Some(Self::VerifyFull),
            _ => None,
        }
    }

    /// What is done where nobody said anything.
    pub fn default_for(config: &Config) -> Self {
        if is_near(config, true) {
            Self::Disable
        } else {
            Self::VerifyFull
        }
    }

    fn asked_for(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// Whether every host is a socket of this machine, or, if `has_loopback` allows it, its
/// loopback address. Where a url has `hostaddr` that is where it goes, whatever `host` says.
pub(super) fn is_near(config: &Config, has_loopback: bool) -> bool {
    let is_near = |address: &std::net::IpAddr| has_loopback && address.is_loopback();
    if !config.get_hostaddrs().iter().all(is_near) {
        return false;
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            has_loopback && (name == "localhost" || address.is_ok_and(|it| it.is_loopback()))
        }
    })
}

/// Makes the TLS of connections, `None` if there is to be none; tells `config` whether
/// to ask for it.
pub(super) fn connector(
    mode: TlsMode,
    root_cert: Option<&Path>,
    config: &mut Config,
) -> StoreResult<Option<MakeRustlsConnect>> {
    config.ssl_mode(mode.asked_for());
    if mode == TlsMode::Disable {
        return Ok(None);
    }
    let made = client_config(mode, root_cert).map_err(|why| {
        StoreError::Unavailable(format!(
            "no certificates to verify the server with: {why}; name them by sslrootcert=FILE in the url"
        ))
    })?;
    Ok(Some(MakeRustlsConnect::new(made)))
}

fn client_config(mode: TlsMode, root_cert: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let text = |error: Error| chain(&error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(text)?;
    let Some(path) = root_cert else {
        let builder = builder.with_platform_verifier().map_err(text)?;
        return Ok(builder.with_no_client_auth());
    };
    let roots = roots(path).map_err(|why| format!("{}: {why}", path.display()))?;
    if mode == TlsMode::VerifyCa {
        let any_name = AnyName::new(roots, provider)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(any_name));
        return Ok(builder.with_no_client_auth());
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
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

/// Verifies all but the name, which is what `verify-ca` means.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl AnyName {
    fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, String> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

impl ServerCertVerifier for AnyName {
    /// The name is looked at last: if that is what is wrong, all else was right.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
