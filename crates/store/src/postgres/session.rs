//! One connection with its prepared statements, and one transaction on it.

use super::error::{failed, is_conflict};
use super::sql::Statements;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Row, Socket, Statement, Transaction};
use tombola_core::ports::{StoreError, StoreResult};

/// How long a statement may take.
pub const STATEMENT_MAX: Duration = Duration::from_secs(10);
/// How long a statement may wait for a lock.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a transaction may stand still before the server ends its session:
/// whoever stopped in it held locks for that long.
pub const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as
/// dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// A parameter of a statement.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);
/// All of them, in order.
pub(super) type Params<'a> = &'a [Param<'a>];

/// One connection.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) sql: Statements,
    /// Whether the last transaction ended by meeting another one.
    has_met: AtomicBool,
}

impl Session {
    pub(super) async fn open(config: &Config) -> StoreResult<Self> {
        let client = connect(config, NoTls).await?;
        let sql = Statements::prepare(&client).await?;
        Ok(Self {
            client,
            sql,
            has_met: AtomicBool::new(false),
        })
    }

    pub(super) async fn begin(&mut self) -> StoreResult<Work<'_>> {
        let tx = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()
            .await
            .map_err(failed)?;
        Ok(Work {
            tx,
            sql: &self.sql,
            has_met: &self.has_met,
        })
    }

    /// Whether a transaction since the last asking ended by meeting another one: it
    /// did nothing, and may run again at once.
    pub(super) fn take_has_met(&self) -> bool {
        self.has_met.swap(false, Ordering::Relaxed)
    }
}

/// Connects and sets the limits of the session.
pub(super) async fn connect(config: &Config, tls: NoTls) -> StoreResult<Client> {
    let mut config = config.clone();
    config
        .application_name("tombola")
        .connect_timeout(CONNECT_MAX)
        .tcp_user_timeout(UNACKNOWLEDGED_MAX);
    let (client, connection) = config.connect(tls).await.map_err(failed)?;
    drive(connection);
    let settings = format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}",
        STATEMENT_MAX.as_millis(),
        LOCK_WAIT_MAX.as_millis(),
        IDLE_IN_TRANSACTION_MAX.as_millis(),
    );
    client.batch_execute(&settings).await.map_err(failed)?;
    Ok(client)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the task is the connection itself: it ends when its client is dropped"
)]
fn drive(connection: tokio_postgres::Connection<Socket, NoTlsStream>) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(%error, "a connection to PostgreSQL ended");
        }
    });
}

/// One transaction. Dropped without a commit it is rolled back.
///
/// Statements whose futures are polled together (`try_join!`, `biased`) go to the
/// server in one trip and run there in that order. `biased` also makes the error
/// of the statement that failed come first, and not the one that says of every
/// later statement that the transaction is over.
pub(super) struct Work<'a> {
    tx: Transaction<'a>,
    pub(super) sql: &'a Statements,
    has_met: &'a AtomicBool,
}

impl Work<'_> {
    pub(super) async fn query(&self, sql: &Statement, params: Params<'_>) -> StoreResult<Vec<Row>> {
        let rows = self.tx.query(sql, params).await;
        rows.map_err(|error| self.failed(error))
    }

    pub(super) async fn execute(&self, sql: &Statement, params: Params<'_>) -> StoreResult<()> {
        let done = self.tx.execute(sql, params).await;
        done.map(drop).map_err(|error| self.failed(error))
    }

    /// Runs what has no parameters and no answer: savepoints.
    pub(super) async fn run(&self, sql: &str) -> StoreResult<()> {
        let done = self.tx.batch_execute(sql).await;
        done.map_err(|error| self.failed(error))
    }

    /// What another transaction did between two statements of this one; the batch may
    /// run again at once.
    pub(super) fn met(&self, what: &str) -> StoreError {
        self.has_met.store(true, Ordering::Relaxed);
        StoreError::Unavailable(what.to_owned())
    }

    fn failed(&self, error: tokio_postgres::Error) -> StoreError {
        if is_conflict(&error) {
            self.has_met.store(true, Ordering::Relaxed);
        }
        failed(error)
    }

    pub(super) async fn commit(self) -> StoreResult<()> {
        self.tx.commit().await.map_err(failed)
    }

    /// Commits what was written. Locks alone are not worth the wait for the disk.
    pub(super) async fn end(self, has_written: bool) -> StoreResult<()> {
        if has_written {
            self.commit().await
        } else {
            self.roll_back().await
        }
    }

    pub(super) async fn roll_back(self) -> StoreResult<()> {
        self.tx.rollback().await.map_err(failed)
    }
}
