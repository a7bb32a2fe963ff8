//! The PostgreSQL server that benchmarks run on: the one that `TOMBOLA_TEST_POSTGRES`
//! names, which `cargo xtask bench` starts where nobody has. Each contender has a
//! database of its own on it.

use anyhow::{Context as _, Result};
use std::process::Command;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};
use tombola_store::postgres::PostgresOptions;

/// Its variable, a url of a role that may make databases.
const VARIABLE: &str = "TOMBOLA_TEST_POSTGRES";

/// What decides how durable and how fast a commit is.
const SETTINGS: &str = "SELECT 'PostgreSQL ' || current_setting('server_version')
  || string_agg('; ' || name || '=' || current_setting(name), '' ORDER BY name)
  FROM unnest(ARRAY['fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers',
    'max_wal_size', 'wal_sync_method']) AS name";

/// A running server.
pub(crate) struct Server {
    config: Config,
    /// Its version and its settings, for the head of a table.
    pub(crate) settings: String,
}

impl Server {
    pub(crate) async fn find() -> Result<Self> {
        let url = std::env::var(VARIABLE).with_context(|| {
            format!("{VARIABLE} names no server: run `cargo xtask bench`, which starts one")
        })?;
        let config: Config = url.parse().context(VARIABLE)?;
        let root = connect(&config).await?;
        let settings = root.query_one(SETTINGS, &[]).await?.get(0);
        Ok(Self { config, settings })
    }

    /// A new database; the first of its name goes if it is there.
    pub(crate) async fn database(&self, name: &str) -> Result<Database> {
        let name = format!("tombola_bench_{name}");
        let root = connect(&self.config).await?;
        root.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        root.batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        let mut config = self.config.clone();
        config.dbname(&name);
        Ok(Database { config, name, root })
    }
}

/// A database, and a connection beside it.
pub(crate) struct Database {
    config: Config,
    name: String,
    root: Client,
}

impl Database {
    pub(crate) async fn connect(&self) -> Result<Client> {
        connect(&self.config).await
    }

    /// How a store opens it: it is brought to the newest schema.
    pub(crate) fn options(&self) -> PostgresOptions {
        let mut options = PostgresOptions::new(self.config.clone());
        options.migrate = true;
        options
    }

    /// Writes all pages out, so that no contender pays for the one before it.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        Ok(self.root.batch_execute("CHECKPOINT").await?)
    }

    /// Bytes of the server's log so far.
    pub(crate) async fn wal_bytes(&self) -> Result<u64> {
        let sql = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
        let bytes: i64 = self.root.query_one(sql, &[]).await?.get(0);
        Ok(u64::try_from(bytes)?)
    }

    /// Removes it, whoever is connected.
    pub(crate) async fn drop(self) -> Result<()> {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        Ok(self.root.batch_execute(&sql).await?)
    }

    /// A program of PostgreSQL that is to work on it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PGDATABASE", &self.name);
        match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => command.env("PGHOST", host),
            Some(Host::Unix(path)) => command.env("PGHOST", path),
            None => &mut command,
        };
        if let Some(port) = self.config.get_ports().first() {
            command.env("PGPORT", port.to_string());
        }
        if let Some(user) = self.config.get_user() {
            command.env("PGUSER", user);
        }
        if let Some(password) = self.config.get_password() {
            command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
        }
        command
    }
}

async fn connect(config: &Config) -> Result<Client> {
    let connected = config.connect(NoTls).await;
    let (client, connection) = connected.context("connecting to PostgreSQL")?;
    // It ends when its client is dropped.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
