//! The server of the tests: the one that `TOMBOLA_TEST_POSTGRES` names, reached without
//! TLS, else a cluster of our own. Each test has a database of its own on it, which is
//! dropped with its last user.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may stop where it stands, as the test itself may"
)]

use super::cluster::Cluster;
use crate::postgres::PostgresOptions;
use std::io::Write as _;
use std::sync::{Arc, Once};
use tokio_postgres::{Client, Config, NoTls};

/// A new database.
pub struct Database {
    /// How it is reached.
    pub config: Config,
    /// Not of a server that ends with it.
    dropped_as: Option<String>,
    server: Server,
}

/// Where databases are made; keeps the cluster alive.
struct Server {
    config: Config,
    _cluster: Option<Arc<Cluster>>,
}

impl Server {
    /// `None` where there is none, and says so once.
    fn find() -> Option<Self> {
        if let Ok(url) = std::env::var("TOMBOLA_TEST_POSTGRES") {
            return Some(Self {
                config: url.parse().expect("TOMBOLA_TEST_POSTGRES: postgres://…"),
                _cluster: None,
            });
        }
        let Some(cluster) = Cluster::shared() else {
            skip();
            return None;
        };
        Some(Self {
            config: cluster.config(),
            _cluster: Some(cluster),
        })
    }

    async fn run(&self, sql: &str) {
        connect(&self.config)
            .await
            .batch_execute(sql)
            .await
            .unwrap();
    }
}

impl Database {
    /// An empty one; `None` where there is no server.
    pub async fn new() -> Option<Self> {
        let server = Server::find()?;
        let root = connect(&server.config).await;
        let uuid = "SELECT replace(gen_random_uuid()::text, '-', '')";
        let uuid: String = root.query_one(uuid, &[]).await.unwrap().get(0);
        let name = format!("tombola_test_{uuid}");
        server.run(&format!("CREATE DATABASE {name}")).await;
        let mut config = server.config.clone();
        config.dbname(&name);
        Some(Self {
            config,
            dropped_as: Some(name),
            server,
        })
    }

    /// The first one of a server that runs and that nobody else uses; it goes with the server.
    pub fn on(cluster: Cluster) -> Self {
        let config = cluster.config();
        Self {
            config: config.clone(),
            dropped_as: None,
            server: Server {
                config,
                _cluster: Some(Arc::new(cluster)),
            },
        }
    }

    /// How a store opens it: it is brought to the newest schema.
    pub fn options(&self) -> PostgresOptions {
        options(&self.config)
    }

    pub async fn connect(&self) -> Client {
        connect(&self.config).await
    }
}

impl Drop for Database {
    /// On a thread of its own, because the test's runtime may be ending.
    fn drop(&mut self) {
        let Some(name) = &self.dropped_as else {
            return;
        };
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        let server = &self.server;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(server.run(&sql));
            });
        });
    }
}

/// Whether there is a server; says once that there is none.
pub fn is_there() -> bool {
    let is_there = std::env::var("TOMBOLA_TEST_POSTGRES").is_ok() || Cluster::is_installed();
    if !is_there {
        skip();
    }
    is_there
}

/// Says once that there is no server.
pub fn skip() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = "tombola-skip: postgres: no PostgreSQL on this machine";
        // Not `println!`, which a test that passes keeps for itself.
        let mut out = std::io::stdout();
        writeln!(out, "{line}").unwrap();
    });
}

/// How a store opens a database, which it brings to the newest schema.
pub fn options(config: &Config) -> PostgresOptions {
    let mut options = PostgresOptions::new(config.clone());
    options.migrate = true;
    options
}

#[expect(
    clippy::disallowed_methods,
    reason = "the task is the connection itself: it ends when its client is dropped"
)]
pub async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}
