//! What a store on PostgreSQL is told: where the server is, how many connections it
//! may have, and how long each thing may take.

use super::tls::{TlsMode, is_near};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::TargetSessionAttrs;
use tombola_core::limits;

/// How long a connection may take to come about.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a statement may take.
pub const STATEMENT_MAX: Duration = Duration::from_secs(10);
/// The same of a statement that only reads, on the connections for people.
pub const READ_MAX: Duration = Duration::from_secs(30);
/// How long a statement may wait for a lock.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a transaction may stand still before the server ends its session:
/// whoever stopped in it held locks for that long.
pub const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);
/// How much longer than the statement the answer may take. The server ends a
/// statement by itself; if nothing at all comes, the connection is dead.
pub const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// How a store on PostgreSQL is opened.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where the server is, and as whom. What it says of TLS is not looked at.
    pub config: Config,
    /// Whether the connection is encrypted, and who is believed to be the server.
    pub tls: TlsMode,
    /// A file of certificates, one of which signed the server's; without it, those
    /// that the machine trusts.
    pub root_cert: Option<PathBuf>,
    /// Whether a database that is behind is migrated; else it is refused.
    pub migrate: bool,
    /// See [`limits::DATABASE_CONNECTIONS_MAX`].
    pub pool_max: usize,
    /// See [`limits::DATABASE_READ_CONNECTIONS_MAX`].
    pub reads_max: usize,
    /// See [`limits::DATABASE_WAIT_MAX`].
    pub wait_max: Duration,
    /// How long each thing may take.
    pub bounds: Bounds,
}

/// How long things may take on one connection.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// See [`CONNECT_MAX`].
    pub connect_max: Duration,
    /// See [`STATEMENT_MAX`].
    pub statement_max: Duration,
    /// See [`READ_MAX`].
    pub read_max: Duration,
    /// See [`LOCK_WAIT_MAX`].
    pub lock_wait_max: Duration,
    /// See [`IDLE_IN_TRANSACTION_MAX`].
    pub idle_in_transaction_max: Duration,
    /// See [`ANSWER_MARGIN`].
    pub answer_margin: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect_max: CONNECT_MAX,
            statement_max: STATEMENT_MAX,
            read_max: READ_MAX,
            lock_wait_max: LOCK_WAIT_MAX,
            idle_in_transaction_max: IDLE_IN_TRANSACTION_MAX,
            answer_margin: ANSWER_MARGIN,
        }
    }
}

/// A url that does not say where the database is.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no `postgres://…`.
    #[error("use postgres://USER:PASSWORD@HOST/DATABASE")]
    Scheme,
    /// A part of it is not understood.
    #[error("{0}")]
    Part(String),
}

impl PostgresOptions {
    /// Under a name of its own among the sessions of the database; gives that of servers too.
    pub(crate) fn renamed(&self, suffix: &str) -> (Self, String) {
        let mut options = self.clone();
        let name = options.config.get_application_name().unwrap_or("tombola");
        let server_name = name.strip_suffix(suffix).unwrap_or(name).to_owned();
        options
            .config
            .application_name(format!("{server_name}{suffix}"));
        (options, server_name)
    }

    /// The default of everything but the place.
    pub fn new(config: Config) -> Self {
        Self {
            tls: TlsMode::default_for(&config),
            config,
            root_cert: None,
            migrate: false,
            pool_max: limits::DATABASE_CONNECTIONS_MAX as usize,
            reads_max: limits::DATABASE_READ_CONNECTIONS_MAX as usize,
            wait_max: limits::DATABASE_WAIT_MAX,
            bounds: Bounds::default(),
        }
    }

    /// Reads a url as libpq writes it. Of its parameters, `sslmode` is one of those of
    /// [`TlsMode`] and `sslrootcert` names a file; the others are what
    /// [`Config`] knows, such as `target_session_attrs` and `application_name`. Of several
    /// hosts the one is looked for that takes writes, unless the url says otherwise.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root_cert, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(tls_mode(value)?),
                Some(("sslrootcert", value)) => root_cert = Some(path(value)?),
                Some(_) | None => rest.push(pair),
            }
        }
        let place = match rest.as_slice() {
            [] => place.to_owned(),
            rest => format!("{place}?{}", rest.join("&")),
        };
        let mut config: Config = place.parse().map_err(|error| part(&error))?;
        if config.get_hosts().is_empty() {
            return Err(UrlError::Scheme);
        }
        // Of several hosts one is the primary, and after a fail-over another one.
        if config.get_hosts().len() > 1 && !says(&rest, "target_session_attrs") {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let mut options = Self::new(config);
        options.tls = match mode {
            // A file of certificates is named to be used.
            None if root_cert.is_some() => TlsMode::VerifyFull,
            // The server speaks no TLS on a socket; libpq passes over it as well.
            _ if is_near(&options.config, false) => TlsMode::Disable,
            None => options.tls,
            Some(mode) => mode,
        };
        options.root_cert = root_cert;
        if options.tls == TlsMode::VerifyCa && options.root_cert.is_none() {
            let what = "sslmode=verify-ca needs sslrootcert=FILE: of the authorities that the machine trusts, each gives certificates to everybody";
            return Err(UrlError::Part(what.to_owned()));
        }
        Ok(options)
    }
}

fn says(parameters: &[&str], name: &str) -> bool {
    let names = parameters.iter().filter_map(|it| it.split_once('='));
    names.into_iter().any(|(it, _)| it == name)
}

fn tls_mode(name: &str) -> Result<TlsMode, UrlError> {
    TlsMode::parse(name).ok_or_else(|| {
        UrlError::Part(format!(
            "sslmode={name} is not known: use disable, prefer, require, verify-ca or verify-full"
        ))
    })
}

fn path(value: &str) -> Result<PathBuf, UrlError> {
    let value = percent_decode_str(value).decode_utf8();
    Ok(PathBuf::from(value.map_err(|error| part(&error))?.as_ref()))
}

fn part(error: &dyn std::error::Error) -> UrlError {
    UrlError::Part(super::error::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> TlsMode {
        PostgresOptions::parse(url).unwrap().tls
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_url_says_otherwise() {
        for (url, expected) in [
            ("postgres://db.example/tombola", TlsMode::VerifyFull),
            (
                "postgres://db.example/tombola?sslmode=require",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://db.example/tombola?sslmode=verify-full",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://db.example/tombola?sslmode=prefer",
                TlsMode::Prefer,
            ),
            (
                "postgres://db.example/tombola?sslmode=disable",
                TlsMode::Disable,
            ),
            (
                "postgres://db.example/t?sslmode=verify-ca&sslrootcert=ca.pem",
                TlsMode::VerifyCa,
            ),
            (
                "postgres://near.localhost.example,127.0.0.1/tombola",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://localhost/tombola?hostaddr=10.0.0.5",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://localhost/tombola?hostaddr=127.0.0.1",
                TlsMode::Disable,
            ),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
    }

    #[test]
    fn on_this_machine_nothing_is_encrypted_unless_the_url_says_so() {
        for (url, expected) in [
            ("postgres://localhost/tombola", TlsMode::Disable),
            ("postgres://127.0.0.1:5433/tombola", TlsMode::Disable),
            ("postgres://[::1]/tombola", TlsMode::Disable),
            (
                "postgres://localhost/tombola?sslmode=require",
                TlsMode::VerifyFull,
            ),
            (
                "postgres://localhost/tombola?sslrootcert=ca.pem",
                TlsMode::VerifyFull,
            ),
            ("postgres://%2Frun%2Fpostgresql/tombola", TlsMode::Disable),
            (
                "postgres://%2Frun%2Fpostgresql/tombola?sslmode=require",
                TlsMode::Disable,
            ),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
    }

    #[test]
    fn a_url_that_is_not_understood_says_what_to_write() {
        for (url, expected) in [
            (
                "postgres:///tombola",
                "use postgres://USER:PASSWORD@HOST/DATABASE",
            ),
            (
                "sqlite://t.db",
                "use postgres://USER:PASSWORD@HOST/DATABASE",
            ),
            (
                "postgres://h/d?sslmode=allow",
                "sslmode=allow is not known: use disable, prefer, require, verify-ca or verify-full",
            ),
            (
                "postgres://h/d?colour=red",
                "invalid connection string: unknown option `colour`",
            ),
        ] {
            let error = PostgresOptions::parse(url).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let error = PostgresOptions::parse("postgres://h/d?sslmode=verify-ca").unwrap_err();
        assert!(error.to_string().contains("sslrootcert=FILE"), "{error}");
    }

    #[test]
    fn other_parameters_of_the_url_and_the_name_of_the_file_are_read() {
        let url = "postgres://tombola@a,b/tombola?connect_timeout=3&sslrootcert=%2Fetc%2Fmy%20ca.pem&target_session_attrs=read-write";
        let options = PostgresOptions::parse(url).unwrap();
        assert_eq!(options.root_cert, Some(PathBuf::from("/etc/my ca.pem")));
        assert_eq!(options.config.get_hosts().len(), 2);
        assert_eq!(
            options.config.get_connect_timeout(),
            Some(&Duration::from_secs(3))
        );
    }

    #[test]
    fn of_several_hosts_the_one_that_takes_writes_is_looked_for_unless_the_url_says_otherwise() {
        for (url, expected) in [
            (
                "postgres://tombola@127.0.0.1:5001,127.0.0.1:5002/postgres",
                TargetSessionAttrs::ReadWrite,
            ),
            (
                "postgres://a,b/t?target_session_attrs=any&application_name=x",
                TargetSessionAttrs::Any,
            ),
            ("postgres://a/t", TargetSessionAttrs::Any),
        ] {
            let config = PostgresOptions::parse(url).unwrap().config;
            assert_eq!(config.get_target_session_attrs(), expected, "{url}");
        }
        let url = "postgres://127.0.0.1:5001,127.0.0.1:5002/postgres";
        let config = PostgresOptions::parse(url).unwrap().config;
        assert_eq!(config.get_ports(), [5001, 5002]);
    }

    #[test]
    fn what_is_logged_of_the_options_has_no_password() {
        let options = PostgresOptions::parse("postgres://tombola:geheim@h/d").unwrap();
        assert!(!format!("{options:?}").contains("geheim"));
    }
}
