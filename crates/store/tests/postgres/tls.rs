//! TLS, against a server of our own with a certificate of our own authority.

use crate::cluster::Cluster;
use crate::server::skip;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::net::TcpListener;
use std::path::PathBuf;
use tombola_core::ports::StoreResult;
use tombola_store::postgres::{Postgres, PostgresOptions};

struct Server {
    cluster: Cluster,
    port: u16,
}

impl Server {
    /// A server on loopback whose certificate is for that name; without a name it has
    /// none.
    fn start(name: Option<&str>) -> Option<Self> {
        let Some(cluster) = Cluster::alone() else {
            skip();
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let ssl = name.map(|name| {
            certify(&cluster, name);
            let directory = cluster.path().display();
            format!(
                "-c ssl=on -c ssl_cert_file='{directory}/server.pem' -c ssl_key_file='{directory}/server.key'"
            )
        });
        let ssl = ssl.unwrap_or_default();
        let settings = format!("-c listen_addresses=127.0.0.1 -c port={port} {ssl}");
        cluster.start(&settings);
        Some(Self { cluster, port })
    }

    fn authority(&self) -> PathBuf {
        self.cluster.path().join("ca.pem")
    }

    /// Opens by a url with these parameters, and gives the version of TLS in use.
    async fn open(&self, parameters: &str) -> StoreResult<Option<String>> {
        let url = format!(
            "postgres://tombola@127.0.0.1:{}/postgres?{parameters}",
            self.port
        );
        let mut options = PostgresOptions::parse(&url).unwrap();
        options.migrate = true;
        Ok(Postgres::open(&options)
            .await?
            .facts(|| tombola_core::Timestamp(0))
            .await?
            .tls_version)
    }

    async fn refused(&self, parameters: &str) -> String {
        self.open(parameters).await.unwrap_err().to_string()
    }
}

fn certify(cluster: &Cluster, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    for (file, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", server.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        let path = cluster.path().join(file);
        std::fs::write(&path, text).unwrap();
        cluster.give(&path);
    }
}

#[tokio::test]
async fn a_server_is_believed_by_its_certificate_and_its_name() {
    let Some(server) = Server::start(Some("127.0.0.1")) else {
        return;
    };
    let authority = format!("sslrootcert={}", server.authority().display());
    for mode in ["require", "verify-full", "verify-ca", "prefer"] {
        let open = server.open(&format!("sslmode={mode}&{authority}")).await;
        assert_eq!(open.unwrap().as_deref(), Some("TLSv1.3"), "{mode}");
    }
    let open = server.open(&authority).await;
    assert_eq!(open.unwrap().as_deref(), Some("TLSv1.3"), "no word");
    assert_eq!(server.open("sslmode=disable").await.unwrap(), None);
}

/// libpq's `require` would talk to it.
#[tokio::test]
async fn a_server_that_nobody_known_has_signed_is_refused() {
    let Some(server) = Server::start(Some("127.0.0.1")) else {
        return;
    };
    for mode in ["require", "verify-full", "prefer"] {
        let refused = server.refused(&format!("sslmode={mode}")).await;
        assert!(refused.contains("UnknownIssuer"), "{mode}: {refused}");
    }
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
    let path = server.cluster.path().join("other.pem");
    std::fs::write(&path, other.cert.pem()).unwrap();
    for mode in ["verify-ca", "verify-full"] {
        let refused = server
            .refused(&format!("sslmode={mode}&sslrootcert={}", path.display()))
            .await;
        assert!(refused.contains("certificate"), "{mode}: {refused}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_enough_for_verify_ca_alone() {
    let Some(server) = Server::start(Some("db.example")) else {
        return;
    };
    let authority = format!("sslrootcert={}", server.authority().display());
    let open = server.open(&format!("sslmode=verify-ca&{authority}")).await;
    assert_eq!(open.unwrap().as_deref(), Some("TLSv1.3"));
    for mode in ["require", "verify-full", "prefer"] {
        let refused = server.refused(&format!("sslmode={mode}&{authority}")).await;
        assert!(refused.contains("not valid for name"), "{mode}: {refused}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_talked_to_only_where_that_was_allowed() {
    let Some(server) = Server::start(None) else {
        return;
    };
    let refused = server.refused("sslmode=require").await;
    assert!(refused.contains("server does not support TLS"), "{refused}");
    assert_eq!(server.open("sslmode=prefer").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_without_certificates_is_told_by_name() {
    let Some(server) = Server::start(None) else {
        return;
    };
    let missing = server.authority();
    let refused = server
        .refused(&format!("sslrootcert={}", missing.display()))
        .await;
    assert!(refused.contains("ca.pem"), "{refused}");
}
