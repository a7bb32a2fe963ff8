//! The store: one type that makes the three store ports true, on either database.

use crate::catalog::log;
use crate::postgres::{PoolState, PostgresOptions, PostgresStore};
use crate::rules::RulesCache;
use crate::seal::SealKeys;
use crate::seals::Seals;
use crate::sql::{Connection, OrStoreError as _};
use crate::sqlite::{self, Schema, Sqlite};
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tombola_core::adoption::Adoption;
use tombola_core::award::{StepFn, step};
use tombola_core::ids::IdBlock;
use tombola_core::limits::READ_TIMEOUT;
use tombola_core::ports::{
    Actor, AdoptAnswer, Arrivals, AwardPath, Copy, CopyAnswer, Deferral, DrawAnswer, DrawBatch,
    DueLanes, DuePage, DueQuery, KeptMessage, MarkOf, Record, Recorded, StoreError, StoreResult,
    Written,
};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// When awards are looked at again.
    pub schedule: Schedule,
    /// The award's table: always [`step`], but where the suite shows that it
    /// notices a table that is wrong.
    pub step: StepFn,
    /// Connections that read.
    pub readers: usize,
    /// SQLite: memory for pages of the writer, in KiB; each reader has a quarter of it.
    pub cache_kib: u32,
    /// The secrets under which codes, addresses and secrets of endpoints are sealed;
    /// without them all is plain.
    pub seal_keys: Option<SealKeys>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            step,
            readers: 3,
            cache_kib: 32 * 1024,
            seal_keys: None,
        }
    }
}

/// What calls on any thread may know.
pub(crate) struct Shared {
    /// When awards are looked at again.
    pub(crate) schedule: Schedule,
    /// The award's table.
    pub(crate) step: StepFn,
    /// The database's own uuid.
    pub(crate) origin: String,
    /// What was read of campaigns.
    pub(crate) rules: RulesCache,
    /// What seals and opens.
    pub(crate) seals: Seals,
}

/// Which line a call waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Somebody waits for a draw.
    Draw,
    /// Everything else.
    Other,
}

/// What a call is answered by, once it has run.
pub(crate) type Waiting<T> = StoreResult<oneshot::Receiver<StoreResult<T>>>;

/// The store ports on one database.
pub struct Store {
    pub(crate) database: Database,
    shared: Arc<Shared>,
}

/// The database behind a store.
#[expect(
    clippy::large_enum_variant,
    reason = "a store has one, for as long as it is open"
)]
pub(crate) enum Database {
    Sqlite(Sqlite),
    Postgres(PostgresStore),
}

impl Store {
    /// Opens the file, makes it if it is not there, and brings it to this version's
    /// schema. Blocks for as long as that takes.
    pub fn open(path: &Path, options: StoreOptions) -> StoreResult<Arc<Self>> {
        Sqlite::open(path, options).map(Self::on_sqlite)
    }

    /// The same with another stopwatch.
    #[cfg(test)]
    pub(crate) fn open_timed(
        path: &Path,
        stopwatch: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> StoreResult<Arc<Self>> {
        Sqlite::open_timed(path, stopwatch).map(Self::on_sqlite)
    }

    /// Connects to a database on PostgreSQL, whose schema has to be this version's, or
    /// is brought to it where the options say so.
    pub async fn connect(
        postgres: &PostgresOptions,
        options: StoreOptions,
    ) -> StoreResult<Arc<Self>> {
        let postgres = PostgresStore::open(postgres, options).await?;
        Ok(Arc::new(Self {
            shared: postgres.shared(),
            database: Database::Postgres(postgres),
        }))
    }

    /// The schema of the file at `path`, which is read and not changed.
    pub fn schema(path: &Path) -> StoreResult<Schema> {
        sqlite::schema(path)
    }

    /// The names of what opening the file at `path` would apply to its schema, in order.
    pub fn migrations_missing(path: &Path) -> StoreResult<Vec<String>> {
        sqlite::migrations_missing(path)
    }

    pub(crate) fn on_sqlite(sqlite: Sqlite) -> Arc<Self> {
        Arc::new(Self {
            shared: sqlite.shared(),
            database: Database::Sqlite(sqlite),
        })
    }

    /// The database's own uuid: `origin` of every message.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// Whether other processes may have the same database open.
    pub fn is_shared(&self) -> bool {
        match &self.database {
            Database::Sqlite(_) => false,
            Database::Postgres(_) => true,
        }
    }

    /// The time of the database's server; `None` where the database is a file of this
    /// machine.
    pub async fn time(&self) -> StoreResult<Option<Timestamp>> {
        match &self.database {
            Database::Sqlite(_) => Ok(None),
            Database::Postgres(postgres) => postgres.time().await.map(Some),
        }
    }

    /// Whether the database can be used now: it answers, and takes writes. On PostgreSQL it is
    /// asked where draws are, and not behind reads for people, which may take long.
    pub async fn ready(&self) -> StoreResult<()> {
        match &self.database {
            Database::Sqlite(_) => {
                let reads = self.read(|conn| {
                    conn.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0))
                        .or_store()
                });
                reads.await.map(drop)
            }
            Database::Postgres(postgres) => postgres.takes_writes().await,
        }
    }

    /// How full the pools of connections are, by name; none where the database is a file.
    pub fn connections(&self) -> Vec<(&'static str, PoolState)> {
        match &self.database {
            Database::Sqlite(_) => Vec::new(),
            Database::Postgres(postgres) => {
                let database = postgres.database();
                vec![
                    ("write", database.state()),
                    ("read", database.reads_state()),
                ]
            }
        }
    }

    /// One step of what PostgreSQL's partitions need: those to come are made, and those
    /// that ended before `before` are dropped. Nothing where there are none.
    pub async fn keep_partitions(&self, now: Timestamp, before: Timestamp) -> StoreResult<()> {
        match &self.database {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(postgres) => postgres
                .database()
                .keep_partitions(now, before)
                .await
                .map(drop),
        }
    }

    /// Puts a line into the operator log that a backup was taken, and by whom.
    pub async fn note_backup(&self, by: Actor, now: Timestamp) -> StoreResult<()> {
        self.write(Priority::Other, 1, move |conn| {
            let line = log::Line {
                action: "backup",
                subject: "database",
                ..log::Line::default()
            };
            log::write(conn, &by, now, line).or_store()
        })
        .await
    }

    /// What calls may know, to be moved into a job.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs `job` in a transaction and answers after its commit. `rows` is about how
    /// many it writes. It is in its line when this returns, and runs even if the future
    /// is dropped. On PostgreSQL it may run more than once, of which one run counts.
    pub(crate) fn write<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> StoreResult<T> + Send + Sync + 'static,
    {
        answer_of(match &self.database {
            Database::Sqlite(sqlite) => sqlite.push_write(priority, rows, job),
            Database::Postgres(postgres) => {
                let shared = self.shared();
                // What was read of rows that are gone again must not be remembered.
                let job = move |conn: &Connection| job(conn).inspect_err(|_| shared.rules.forget());
                postgres.database().push_write(job)
            }
        })
    }

    /// The same on SQLite, where a job runs once.
    #[cfg(test)]
    pub(crate) fn write_once<T, F>(
        &self,
        priority: Priority,
        rows: usize,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let Database::Sqlite(sqlite) = &self.database else {
            panic!("the test is about SQLite");
        };
        answer_of(sqlite.push_write(priority, rows, job))
    }

    /// Runs `job` on one state of the database, with the time-out of reads for people.
    pub(crate) fn read<T, F>(
        &self,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        self.read_within(READ_TIMEOUT, job)
    }

    /// The same with another time-out. While it runs the log of SQLite cannot begin
    /// anew.
    pub(crate) fn read_within<T, F>(
        &self,
        timeout: Duration,
        job: F,
    ) -> impl Future<Output = StoreResult<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        answer_of(match &self.database {
            Database::Sqlite(sqlite) => sqlite.push_read(timeout, job),
            Database::Postgres(postgres) => postgres.database().push_read(timeout, job),
        })
    }

    /// Takes no more calls, finishes those that wait and closes the database. Blocks
    /// until that is done; dropping the store does the same.
    pub fn close(&self) {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.close(),
            Database::Postgres(postgres) => postgres.database().close(),
        }
    }

    fn path(&self) -> &dyn AwardPath {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite,
            Database::Postgres(postgres) => postgres,
        }
    }
}

pub(crate) async fn answer_of<T>(waiting: Waiting<T>) -> StoreResult<T> {
    waiting?.await.unwrap_or(Err(StoreError::Closed))
}

#[async_trait]
impl AwardPath for Store {
    async fn reserve_ids(&self, count: u32) -> StoreResult<IdBlock> {
        self.path().reserve_ids(count).await
    }

    async fn commit_draws(&self, batch: DrawBatch) -> StoreResult<Vec<DrawAnswer>> {
        self.path().commit_draws(batch).await
    }

    async fn commit_draws_with(
        &self,
        batch: DrawBatch,
        arrivals: &dyn Arrivals,
    ) -> StoreResult<Vec<DrawAnswer>> {
        self.path().commit_draws_with(batch, arrivals).await
    }

    async fn adopt(
        &self,
        adoptions: Vec<Adoption>,
        now: Timestamp,
    ) -> StoreResult<Vec<AdoptAnswer>> {
        self.path().adopt(adoptions, now).await
    }

    async fn mark_published(
        &self,
        marks: Vec<MarkOf>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.path().mark_published(marks, now).await
    }

    async fn deliver_local(
        &self,
        copies: Vec<Copy>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.path().deliver_local(copies, now).await
    }

    async fn claim(&self, copies: Vec<Copy>, now: Timestamp) -> StoreResult<Vec<CopyAnswer>> {
        self.path().claim(copies, now).await
    }

    async fn defer(
        &self,
        deferrals: Vec<Deferral>,
        now: Timestamp,
    ) -> StoreResult<Vec<CopyAnswer>> {
        self.path().defer(deferrals, now).await
    }

    async fn record(&self, records: Vec<Record>, now: Timestamp) -> StoreResult<Vec<Recorded>> {
        self.path().record(records, now).await
    }

    async fn claim_due(&self, query: DueQuery) -> StoreResult<DuePage> {
        self.path().claim_due(query).await
    }

    async fn give_back(
        &self,
        claims: Vec<(AwardId, i64)>,
        now: Timestamp,
    ) -> StoreResult<Vec<Written>> {
        self.path().give_back(claims, now).await
    }

    async fn keep_messages(&self, messages: Vec<KeptMessage>, now: Timestamp) -> StoreResult<()> {
        self.path().keep_messages(messages, now).await
    }

    async fn due_lanes(&self, now: Timestamp) -> StoreResult<DueLanes> {
        self.path().due_lanes(now).await
    }

    async fn begin_alone(&self, now: Timestamp) -> StoreResult<u64> {
        self.path().begin_alone(now).await
    }
}
