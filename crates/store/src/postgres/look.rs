//! How `doctor` looks at a database beside whoever serves it: over connections of its
//! own, and without a change.

use super::error::{chain, takes_no_writes};
use super::facts::{Asked, ServerFacts, Wall, facts, is_pooled};
use super::options::PostgresOptions;
use super::pool::Postgres;
use super::session::Opener;
use super::tls::{self, TlsMode};
use crate::processes::{ProcessFact, processes};
use crate::read::{WorkFact, work_fact};
use crate::sql::{self, Connection, OrStoreError as _};
use crate::store::answer_of;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, NoTls};
use tombola_core::Timestamp;
use tombola_core::limits::DOCTOR_TIMEOUT;
use tombola_core::ports::StoreResult;

/// How a database on PostgreSQL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFact {
    /// Its server.
    pub server: ServerFacts,
    /// Its rows, or why they cannot be read.
    pub rows: Result<ServerRows, String>,
}

/// What rows tell of who uses the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerRows {
    /// Marks of the secrets that it was used with, by version.
    pub secrets: BTreeMap<i32, [u8; 16]>,
    /// Those who serve, or did a moment ago.
    pub processes: Vec<ProcessFact>,
}

/// What keeps a server from being reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Where to look.
    pub at: ObstacleAt,
    /// What was said.
    pub said: String,
}

/// Where to look, most of it in the url.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObstacleAt {
    /// The host: its name, the way to it.
    Host,
    /// The port, at which nobody listens.
    Port,
    /// The servers, of which each is a standby.
    Standby,
    /// `sslmode` and `sslrootcert`.
    Tls,
    /// The role, or who may come from where.
    Role,
    /// The password.
    Password,
    /// The database's name.
    Database,
    /// Not the url: every connection is taken.
    Connections,
    /// Not the url: the server starts, stops or recovers.
    Time,
    /// Not the url: a pooler shares connections by transaction.
    Pooler,
    /// Nobody knows.
    Unknown,
}

/// Why rows are not read under a schema that this program does not know.
pub(crate) const OTHER_SCHEMA: &str = "the schema is not that of this program";

/// Looks at the server and, where we know the schema, at the rows.
pub async fn look(
    options: &PostgresOptions,
    wall: Wall,
    review: Duration,
) -> StoreResult<(ServerFact, Result<WorkFact, String>)> {
    let opener = Opener::new(options, false)?;
    let (client, _alive) = opener.connect().await?;
    let asked = Asked {
        client: &client,
        deadline: &opener.deadline,
    };
    let connections = options.pool_max + options.reads_max;
    let server = facts(&asked, &opener, connections, wall).await?;
    if !server.schema_fits() {
        let rows = Err(OTHER_SCHEMA.to_owned());
        return Ok((ServerFact { server, rows }, Err(OTHER_SCHEMA.to_owned())));
    }
    let database = Postgres::unchecked(&PostgresOptions {
        pool_max: 1,
        reads_max: 1,
        ..options.clone()
    })?;
    let now = Timestamp(server.now);
    let read = answer_of(database.push_read(DOCTOR_TIMEOUT, move |conn| {
        let rows = rows(conn).or_store()?;
        Ok((rows, work_fact(conn, now, review).or_store()?))
    }))
    .await;
    database.close();
    let (rows, work) = match read {
        Ok((rows, work)) => (Ok(rows), Ok(work)),
        Err(error) => (Err(error.to_string()), Err(error.to_string())),
    };
    Ok((ServerFact { server, rows }, work))
}

pub(crate) fn rows(conn: &Connection) -> sql::Result<ServerRows> {
    let secrets = conn
        .prepare_cached("SELECT version, mark FROM seal_key")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<sql::Result<_>>()?;
    Ok(ServerRows {
        secrets,
        processes: processes(conn)?,
    })
}

/// What keeps us from the server; `None` where nothing does.
pub async fn obstacle(options: &PostgresOptions) -> Option<Obstacle> {
    match no_way_to(options).await {
        None => pooler(options).await,
        found => found,
    }
}

/// A pooler that shares connections by transaction loses statements between preparing
/// and running them, so any call may fail, and by any error.
async fn pooler(options: &PostgresOptions) -> Option<Obstacle> {
    let opener = Opener::new(options, true).ok()?;
    let (client, _alive) = opener.connect().await.ok()?;
    let asked = Asked {
        client: &client,
        deadline: &opener.deadline,
    };
    is_pooled(&asked, &opener).await.ok()?.then(|| Obstacle {
        at: ObstacleAt::Pooler,
        said: "a pooler gave one connection to two of ours in turn".to_owned(),
    })
}

async fn no_way_to(options: &PostgresOptions) -> Option<Obstacle> {
    let mut config = options.config.clone();
    let max = options.bounds.connect_max;
    config.connect_timeout(max);
    let tls = match tls::connector(options.tls, options.root_cert.as_deref(), &mut config) {
        Ok(tls) => tls,
        Err(error) => {
            let (at, said) = (ObstacleAt::Tls, error.to_string());
            return Some(Obstacle { at, said });
        }
    };
    let connecting = async {
        match tls {
            Some(tls) => config.connect(tls).await.map(drop),
            None => config.connect(NoTls).await.map(drop),
        }
    };
    let hosts = config.get_hosts().len().max(1);
    let max = max * u32::try_from(hosts).unwrap_or(1);
    let error = match tokio::time::timeout(max, connecting).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error,
        Err(_) => {
            let said = format!("no answer within {} ms", max.as_millis());
            let at = ObstacleAt::Host;
            return Some(Obstacle { at, said });
        }
    };
    let said = error.as_db_error().map_or_else(
        || chain(&error),
        |it| format!("{} ({})", it.message(), it.code().code()),
    );
    let at = place(&error, options);
    Some(Obstacle { at, said })
}

fn place(error: &Error, options: &PostgresOptions) -> ObstacleAt {
    if takes_no_writes(error) {
        return ObstacleAt::Standby;
    }
    if let Some(code) = error.code() {
        return of_code(code);
    }
    let source = error.source();
    if let Some(error) = source.and_then(|it| it.downcast_ref::<io::Error>()) {
        let is_tls = error
            .get_ref()
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
        return if is_tls {
            ObstacleAt::Tls
        } else if error.kind() == io::ErrorKind::ConnectionRefused {
            ObstacleAt::Port
        } else {
            ObstacleAt::Host
        };
    }
    // The client says neither that a password is missing nor that the server has no TLS
    // by anything but words.
    let has_tls = options.tls != TlsMode::Disable;
    let has_password = options.config.get_password().is_some();
    match (has_tls, has_password) {
        (false, false) => ObstacleAt::Password,
        (true, true) => ObstacleAt::Tls,
        (false, true) | (true, false) => ObstacleAt::Unknown,
    }
}

fn of_code(code: &SqlState) -> ObstacleAt {
    match code.code() {
        "28P01" => ObstacleAt::Password,
        "28000" => ObstacleAt::Role,
        "3D000" => ObstacleAt::Database,
        "53300" => ObstacleAt::Connections,
        "57P03" | "57P01" | "57P02" => ObstacleAt::Time,
        _ => ObstacleAt::Unknown,
    }
}
