//! The PostgreSQL server that benchmarks run on: the one that `TOMBOLA_TEST_POSTGRES`
//! names, which `cargo xtask bench` starts where nobody has. Each contender has a
//! database of its own on it.

use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;
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

    /// What its sessions have worked so far: nothing, where the server runs on another machine.
    pub(crate) async fn work(&self) -> Result<Work> {
        let sql = "SELECT pid FROM pg_stat_activity
            WHERE datname = $1 AND backend_type = 'client backend'";
        let sessions = self.root.query(sql, &[&self.name]).await?;
        let work = sessions.iter().map(|session| {
            let pid = session.get(0);
            (pid, worked(pid).unwrap_or_default())
        });
        Ok(Work(work.collect()))
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

/// Time on a processor, by session.
pub(crate) struct Work(HashMap<i32, Duration>);

impl Work {
    /// What came after; of a session that ended, nothing.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let sessions = self.0.iter().map(|(pid, worked)| {
            let before = before.0.get(pid).copied().unwrap_or_default();
            worked.saturating_sub(before)
        });
        sessions.sum()
    }
}

/// How long a process of PostgreSQL was on a processor, to a hundredth of a second.
fn worked(pid: i32) -> Option<Duration> {
    ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// As `proc_pid_stat(5)` has it: utime and stime are the 14th and 15th, in ticks, of which Linux
/// tells 100 a second to every program; the name of the program comes second, in brackets.
fn ticks(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.split_once("(postgres) ")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (next()? + next()?)))
}

async fn connect(config: &Config) -> Result<Client> {
    let connected = config.connect(NoTls).await;
    let (client, connection) = connected.context("connecting to PostgreSQL")?;
    // It ends when its client is dropped.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_time_of_the_user_and_of_the_system_by_processes_of_postgresql() {
        let stat = "51 (postgres) S 1 51 51 0 -1 4194560 9 0 3 0 7 5 2 1 20 0 1 0 99 1 2";
        assert_eq!(ticks(stat), Some(Duration::from_millis(120)));
        assert_eq!(ticks(&stat.replace("postgres", "cat")), None);
    }

    #[test]
    fn work_of_a_session_counts_from_what_it_had_done_before() {
        let work = |of: &[(i32, u64)]| {
            let of = of.iter().map(|&(pid, ms)| (pid, Duration::from_millis(ms)));
            Work(of.collect())
        };
        let (before, after) = (work(&[(1, 50), (2, 70)]), work(&[(1, 60), (3, 20)]));
        assert_eq!(after.since(&before), Duration::from_millis(30));
    }
}
