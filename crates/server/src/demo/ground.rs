//! Where a demo plays: a directory of its own, and with PostgreSQL a database of its own
//! on the server that the config names, which is dropped at the end.

use crate::config::{self, Config, Flag, Sources};
use crate::random;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tombola_store::postgres::{PostgresOptions, fresh};

/// Settings that make the demo short: an outage of the receiver is retried soon.
const CONFIG: &str = "[delivery]\nretry_first = \"200ms\"\n";
/// With PostgreSQL nothing tells a new process that it is alone, so what a killed one had
/// in hand waits for the end of its lease.
const SHORT_LEASE: &str = "lease_time = \"41s\"\n";

/// How long awards may take to be delivered, once all is drawn.
const PATIENCE: Duration = Duration::from_mins(2);
/// The same where leases have to end.
const PATIENCE_WITH_LEASES: Duration = Duration::from_mins(5);

/// How often it is tried to drop the database, and how long between two tries.
const REMOVALS: u32 = 50;
const AGAIN: Duration = Duration::from_millis(200);

/// The directory and the database of one run.
pub(crate) struct Ground {
    pub(crate) data: PathBuf,
    postgres: Option<Fresh>,
    _fresh: Option<TempDir>,
}

/// A database of this run alone.
struct Fresh {
    server: PostgresOptions,
    database: PostgresOptions,
    name: String,
    url: String,
}

impl Ground {
    /// Makes it. `postgres` is the url of a database on the server to play on.
    pub(crate) async fn make(data: Option<&Path>, postgres: Option<&str>) -> Result<Self> {
        let fresh = tempfile::Builder::new().prefix("tombola-demo-").tempdir()?;
        let (data, fresh) = match data {
            Some(data) => (data.to_owned(), None),
            None => (fresh.path().to_owned(), Some(fresh)),
        };
        anyhow::ensure!(
            !data.join("tombola.db").exists(),
            "{} holds a database already; the demo plays in a fresh directory, so name another with --data",
            data.display()
        );
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make {}", data.display()))?;
        let postgres = match postgres {
            Some(url) => Some(Fresh::make(url).await?),
            None => None,
        };
        Ok(Self {
            data: data.canonicalize()?,
            postgres,
            _fresh: fresh,
        })
    }

    /// In a sentence.
    pub(crate) fn about(&self) -> String {
        match &self.postgres {
            Some(fresh) => format!("data in the new database {} on PostgreSQL", fresh.name),
            None => format!("data in {}", self.data.display()),
        }
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// How long awards may take to be delivered.
    pub(crate) fn patience(&self) -> Duration {
        if self.is_on_postgres() {
            PATIENCE_WITH_LEASES
        } else {
            PATIENCE
        }
    }

    /// The settings of a run in this process.
    pub(crate) fn config(&self) -> Result<Config> {
        let sources = Sources {
            file: Some((PathBuf::from("demo.toml"), self.text())),
            env: Vec::new(),
            flags: self.flags(),
        };
        Ok(config::load(&sources)?.config)
    }

    /// The same for a server in a process of its own: a file, and the environment for
    /// what may have a password in it.
    pub(crate) fn write_config(&self) -> Result<PathBuf> {
        let path = self.data.join("demo.toml");
        std::fs::write(&path, self.text())?;
        Ok(path)
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (String, String)> {
        self.flags().into_iter().map(|flag| {
            let key = flag.key.replace('.', "__").to_uppercase();
            (format!("TOMBOLA_{key}"), flag.value)
        })
    }

    fn text(&self) -> String {
        let lease = if self.is_on_postgres() {
            SHORT_LEASE
        } else {
            ""
        };
        format!("{CONFIG}{lease}")
    }

    fn flags(&self) -> Vec<Flag> {
        let flag = |key, value: String| Flag {
            flag: "demo",
            key,
            value,
        };
        let data = self.data.display().to_string();
        match &self.postgres {
            Some(fresh) => vec![
                flag("database.url", fresh.url.clone()),
                flag("database.directory", data),
            ],
            None => vec![flag("database.url", format!("sqlite://{data}/tombola.db"))],
        }
    }

    /// Awards that are on their way at this moment; `None` where only the next start on
    /// the directory can say it. Nothing is known of them while PostgreSQL restarts, so
    /// a kill at that moment counts for nothing.
    pub(crate) async fn on_their_way(&self) -> Option<u64> {
        let it = self.postgres.as_ref()?;
        Some(fresh::on_their_way(&it.database).await.unwrap_or_default())
    }

    /// Drops the database; the directory goes by itself.
    pub(crate) async fn remove(self) -> Result<()> {
        let Some(it) = &self.postgres else {
            return Ok(());
        };
        // PostgreSQL may be restarting at this moment.
        for _ in 0..REMOVALS {
            if fresh::remove(&it.server, &it.name).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(AGAIN).await;
        }
        fresh::remove(&it.server, &it.name)
            .await
            .with_context(|| format!("the database {} was not dropped", it.name))
    }
}

impl Fresh {
    async fn make(url: &str) -> Result<Self> {
        let server = PostgresOptions::parse(url)?;
        let name = format!("tombola_demo_{:016x}", u64::from_be_bytes(random::bytes()));
        let database = fresh::create(&server, &name)
            .await
            .context("the demo plays in a database of its own; its role has to be one that may create databases")?;
        Ok(Self {
            server,
            database,
            url: with_database(url, &name),
            name,
        })
    }
}

/// The url of another database on the same server.
fn with_database(url: &str, name: &str) -> String {
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (place, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority = place.find("://").map_or(0, |at| at + 3);
    let end = place[authority..]
        .find('/')
        .map_or(place.len(), |at| authority + at);
    format!("{}/{name}{query}", &place[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_of_another_database_keeps_server_and_parameters() {
        for (url, expected) in [
            ("postgres://u:p@h:1/db", "postgres://u:p@h:1/demo"),
            ("postgres://h", "postgres://h/demo"),
            (
                "postgres://h/db?sslmode=disable",
                "postgres://h/demo?sslmode=disable",
            ),
            (
                "postgres://u@%2Frun%2Fpg/db",
                "postgres://u@%2Frun%2Fpg/demo",
            ),
        ] {
            assert_eq!(with_database(url, "demo"), expected);
        }
    }
}
