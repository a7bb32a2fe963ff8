//! One connection with its prepared statements, and one transaction on it.
//!
//! # What each failure does
//! - The server ends a statement that takes too long, waits too long for a lock, or a
//!   transaction that stands still.
//! - The peer is gone without a word: the kernel finds out, by unanswered keepalives or
//!   unacknowledged bytes.
//! - The peer keeps the connection and says nothing, as a stopped server or a pooler
//!   that lost its own server does: no answer comes by the time by which the server
//!   would have ended the statement, and a margin. The call is `Unavailable`, and the
//!   idle connections of the same pool are not used again: they fell silent with it.

use super::error::{failed, is_conflict};
use super::options::{Bounds, PostgresOptions};
use super::prepared::Prepared;
use super::sql::Statements;
use super::tls;
use futures_util::FutureExt as _;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Connection, Error, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tombola_core::ports::{StoreError, StoreResult};

/// How long sent bytes may stay unacknowledged before the connection counts as
/// dead.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);
/// How long a connection may be silent before the kernel asks whether the peer is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Between two such questions; three that stay unanswered end the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVES_MAX: u32 = 3;
/// How long a connection that nobody has any more may take to say goodbye. It may wait
/// for an answer that never comes.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A parameter of a statement.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);
/// All of them, in order.
pub(super) type Params<'a> = &'a [Param<'a>];

/// Opens sessions of one kind.
pub(super) struct Opener {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    bounds: Bounds,
    is_read_only: bool,
    pub(super) deadline: Deadline,
}

/// One connection.
pub struct Session {
    pub(super) client: Client,
    pub(super) sql: Statements,
    prepared: Mutex<Prepared>,
    spans: Spans,
    /// Whether the last transaction ended by meeting another one.
    has_met: AtomicBool,
    pub(super) deadline: Deadline,
    /// How many connections had fallen silent when this one came about.
    silent_before: u64,
    /// Dropped with the session, which tells the connection's task to end.
    _alive: oneshot::Sender<()>,
}

impl Opener {
    pub(super) fn new(options: &PostgresOptions, is_read_only: bool) -> StoreResult<Self> {
        let mut config = options.config.clone();
        let tls = tls::connector(options.tls, options.root_cert.as_deref(), &mut config)?;
        let bounds = options.bounds;
        let statement_max = statement_max(&bounds, is_read_only);
        Ok(Self {
            config,
            tls,
            bounds,
            is_read_only,
            deadline: Deadline::of(statement_max + bounds.answer_margin),
        })
    }

    pub(super) async fn open(&self) -> StoreResult<Session> {
        let silent_before = self.deadline.silent();
        let (client, alive) = self.connect().await?;
        let sql = Statements::prepare(&client).await?;
        Ok(Session {
            client,
            sql,
            prepared: Mutex::default(),
            spans: Spans::default(),
            has_met: AtomicBool::new(false),
            deadline: self.deadline.clone(),
            silent_before,
            _alive: alive,
        })
    }

    /// Connects and sets the limits of the session. The connection lives as long as the
    /// sender.
    pub(super) async fn connect(&self) -> StoreResult<(Client, oneshot::Sender<()>)> {
        let mut config = self.config.clone();
        config
            .connect_timeout(self.bounds.connect_max)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVES_MAX);
        if config.get_application_name().is_none() {
            config.application_name("tombola");
        }
        // A login that hangs says nothing of the connections that are there.
        let connecting = Deadline::of(self.connect_max());
        let (alive, gone) = oneshot::channel();
        let client = if let Some(tls) = self.tls.clone() {
            let (client, connection) = connecting.within(config.connect(tls)).await?;
            drive(connection, gone);
            client
        } else {
            let (client, connection) = connecting.within(config.connect(NoTls)).await?;
            drive(connection, gone);
            client
        };
        let settings: Vec<String> = self
            .settings()
            .iter()
            .map(|(name, value)| format!("SET {name} = '{value}'"))
            .collect();
        let settings = settings.join("; ");
        self.deadline
            .within(client.batch_execute(&settings))
            .await?;
        Ok((client, alive))
    }

    /// What each session is set to, in the units of `pg_settings`. By `SET` and not when
    /// connecting: poolers refuse what they do not know there.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let millis = |span: Duration| span.as_millis().to_string();
        let bounds = &self.bounds;
        // What writes finds its rows by an index, and its plan may be from a time when the
        // table was empty.
        let may_read_whole_tables = if self.is_read_only { "on" } else { "off" };
        vec![
            ("enable_seqscan", may_read_whole_tables.to_owned()),
            // Where a whole table has to be read after all, the plan counts as so dear that it
            // would be compiled: a second for a table of ten rows.
            ("jit", "off".to_owned()),
            (
                "statement_timeout",
                millis(statement_max(bounds, self.is_read_only)),
            ),
            ("lock_timeout", millis(bounds.lock_wait_max)),
            (
                "idle_in_transaction_session_timeout",
                millis(bounds.idle_in_transaction_max),
            ),
            ("default_transaction_isolation", "read committed".to_owned()),
            (
                "default_transaction_read_only",
                if self.is_read_only { "on" } else { "off" }.to_owned(),
            ),
        ]
    }

    /// Whether every host of the url is this machine.
    pub(super) fn is_near(&self) -> bool {
        tls::is_near(&self.config, true)
    }

    /// How long a connection may take to come about, at each host.
    pub(super) fn connect_max(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(1);
        self.bounds.connect_max * u32::try_from(hosts).unwrap_or(1)
    }
}

const fn statement_max(bounds: &Bounds, is_read_only: bool) -> Duration {
    if is_read_only {
        bounds.read_max
    } else {
        bounds.statement_max
    }
}

impl Session {
    /// The connection itself. Every call on it belongs into [`Session::within`].
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The statements of the hot path.
    pub(crate) fn statements(&self) -> &Statements {
        &self.sql
    }

    /// Runs a call on the connection, and ends it where no answer comes. The session is
    /// then not to be used again: the answer may come yet.
    pub fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = StoreResult<T>> {
        self.deadline.within(call)
    }

    /// Whether it may be used again, as far as can be told without asking.
    pub(super) fn is_good(&self) -> bool {
        !self.client.is_closed() && self.silent_before == self.deadline.silent()
    }

    /// Asks the server whether it is there.
    pub(super) async fn ask(&self, max: Duration) -> StoreResult<()> {
        let deadline = self.deadline.of_max(max);
        deadline.within(self.client.batch_execute("")).await
    }

    /// The statement, prepared at its first use.
    pub async fn prepared(&self, sql: &str) -> StoreResult<Statement> {
        let known = self.cache().get(sql);
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.within(self.client.prepare(sql)).await?;
        self.cache().put(sql, statement.clone());
        Ok(statement)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing goes to the server until the first statement does.
    pub(super) const fn begin(&mut self) -> Work<'_> {
        self.work(false, false)
    }

    /// The same for a turn, whose end others wait for: see [`Work::commit`].
    pub(super) const fn begin_turn(&mut self) -> Work<'_> {
        self.work(false, true)
    }

    /// For statements that are each a transaction of their own.
    pub(super) const fn apart(&mut self) -> Work<'_> {
        self.work(true, false)
    }

    const fn work(&mut self, is_apart: bool, is_turn: bool) -> Work<'_> {
        Work {
            client: &self.client,
            is_turn,
            is_begun: AtomicBool::new(is_apart),
            is_over: AtomicBool::new(is_apart),
            sql: &self.sql,
            spans: &self.spans,
            has_met: &self.has_met,
            deadline: &self.deadline,
        }
    }

    /// Whether a transaction since the last asking ended by meeting another one: it
    /// did nothing, and may run again at once.
    pub(super) fn take_has_met(&self) -> bool {
        self.has_met.swap(false, Ordering::Relaxed)
    }
}

/// Spans of ids that this connection has committed rows for: by campaign, span and time.
/// They stay on the server that it is connected to, so they need not be written again.
#[derive(Default)]
pub(super) struct Spans(Mutex<HashSet<(i64, i64, i64)>>);

/// More are forgotten: a batch has one or two, and they change every few seconds.
const SPANS_MAX: usize = 1000;

impl Spans {
    pub(super) fn has(&self, span: (i64, i64, i64)) -> bool {
        self.lock().contains(&span)
    }

    /// To be called after the commit.
    pub(super) fn keep(&self, spans: impl Iterator<Item = (i64, i64, i64)>) {
        let mut kept = self.lock();
        if kept.len() >= SPANS_MAX {
            kept.clear();
        }
        kept.extend(spans);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(i64, i64, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By when an answer has to come, on the connections of one pool.
#[derive(Debug, Clone)]
pub(super) struct Deadline {
    max: Duration,
    /// Counts the connections that fell silent. What fell silent once is rarely one
    /// connection alone: those from before are not used again.
    silent: Arc<AtomicU64>,
}

impl Deadline {
    fn of(max: Duration) -> Self {
        Self {
            max,
            silent: Arc::default(),
        }
    }

    /// The same with another span.
    pub(super) fn of_max(&self, max: Duration) -> Self {
        Self {
            max,
            silent: Arc::clone(&self.silent),
        }
    }

    fn silent(&self) -> u64 {
        self.silent.load(Ordering::Relaxed)
    }

    /// A connection's answer, or `Unavailable` if there is none by then. No `async fn`:
    /// it would keep the call twice, and there are many in one batch.
    pub(super) fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = StoreResult<T>> {
        let answer = tokio::time::timeout(self.max, call);
        async move {
            if let Ok(answer) = answer.await {
                return answer.map_err(failed);
            }
            self.silent.fetch_add(1, Ordering::Relaxed);
            Err(StoreError::Unavailable(format!(
                "the server did not answer within {} ms",
                self.max.as_millis()
            )))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the task is the connection itself: it ends when its client is dropped"
)]
fn drive<S, T>(connection: Connection<S, T>, gone: oneshot::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        let goodbye = async {
            drop(gone.await);
            tokio::time::sleep(GOODBYE_MAX).await;
        };
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                let error = super::error::chain(&error);
                tracing::warn!(error, "a connection to PostgreSQL ended");
            },
            () = goodbye => {}
        }
    });
}

/// One transaction. Dropped without a commit it is rolled back.
///
/// Statements whose futures are polled together (`try_join!`, `biased`) go to the
/// server in one trip and run there in that order. `biased` also makes the error
/// of the statement that failed come first, and not the one that says of every
/// later statement that the transaction is over (see `Work::within`). Each is boxed: a batch
/// joins many.
/// The transaction begins with the trip of its first statement; its commit may go with the
/// last ones ([`Work::commit`]).
pub(super) struct Work<'a> {
    client: &'a Client,
    /// Whether its locks are free before the disk has it.
    is_turn: bool,
    is_begun: AtomicBool,
    is_over: AtomicBool,
    pub(super) sql: &'a Statements,
    pub(super) spans: &'a Spans,
    has_met: &'a AtomicBool,
    deadline: &'a Deadline,
}

impl Work<'_> {
    pub(super) async fn query(&self, sql: &Statement, params: Params<'_>) -> StoreResult<Vec<Row>> {
        self.within(Box::pin(self.client.query(sql, params))).await
    }

    pub(super) async fn execute(&self, sql: &Statement, params: Params<'_>) -> StoreResult<()> {
        let changed = self
            .within(Box::pin(self.client.execute(sql, params)))
            .await;
        changed.map(drop)
    }

    /// Runs what has no parameters and no answer: savepoints.
    pub(super) async fn run(&self, sql: &str) -> StoreResult<()> {
        self.within(self.client.batch_execute(sql)).await
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, Error>>) -> StoreResult<T> {
        let seen = async {
            let answer = self.begun(call).await;
            match &answer {
                Err(error) if is_conflict(error) => self.has_met.store(true, Ordering::Relaxed),
                // Its answer may have come between the join's look at the statement that failed
                // and its look at this one. The next look finds the former first.
                Err(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => {
                    tokio::task::yield_now().await;
                }
                Err(_) | Ok(_) => {}
            }
            answer
        };
        self.deadline.within(seen).await
    }

    /// The first call of the transaction has its beginning before it.
    async fn begun<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if self.is_begun.swap(true, Ordering::Relaxed) {
            return call.await;
        }
        let begin = if self.is_turn {
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off"
        } else {
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        };
        let begin = self.client.batch_execute(begin);
        let ((), answer) = tokio::try_join!(biased; begin, call)?;
        Ok(answer)
    }

    /// May be joined as the last of the statements that it commits: if one of them fails,
    /// the server takes the commit of what has failed for a rollback, and the join gives the
    /// failure.
    ///
    /// Of a turn the commit waits neither for the disk nor for a standby, so that the next one
    /// may begin; what does wait is sent behind it, and this ends when both are done.
    pub(super) async fn commit(&self) -> StoreResult<()> {
        if !self.is_turn {
            return self.end_by("COMMIT").await;
        }
        tokio::try_join!(biased; self.end_by("COMMIT"), self.flush()).map(drop)
    }

    /// Waits until all that was committed before this is as durable as the server makes it, be
    /// it of another connection. To be sent once the transaction is over.
    pub(super) async fn flush(&self) -> StoreResult<()> {
        let write = self.client.execute(&self.sql.write_mark, &[]);
        self.deadline.within(write).await.map(drop)
    }

    /// Commits what was written. Locks alone are not worth the wait for the disk.
    pub(super) async fn end(self, has_written: bool) -> StoreResult<()> {
        if has_written {
            self.commit().await
        } else {
            self.roll_back().await
        }
    }

    pub(super) async fn roll_back(&self) -> StoreResult<()> {
        self.end_by("ROLLBACK").await
    }

    async fn end_by(&self, sql: &str) -> StoreResult<()> {
        self.is_over.store(true, Ordering::Relaxed);
        if !self.is_begun.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.deadline.within(self.client.batch_execute(sql)).await
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if self.is_begun.load(Ordering::Relaxed) && !self.is_over.load(Ordering::Relaxed) {
            // Sent, and not waited for: what comes on this connection comes behind it.
            drop(self.client.batch_execute("ROLLBACK").now_or_never());
        }
    }
}

#[cfg(test)]
mod tests;
