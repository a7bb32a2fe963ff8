//! The side of PostgreSQL: chunks come in with the mark of how far they are, each in one
//! transaction.

use super::mark::{self, FromMark, NAME, ToMark, ToState};
use super::row::{HEAD, Rows, Sum, TAIL};
use super::source::{Place, Source};
use super::tables::{TABLES, Table};
use super::{Chunk, TransferError};
use crate::Shared;
use crate::postgres::{Alone, Postgres, PostgresOptions, failed, migrate};
use crate::read::audit::{AuditDepth, AuditReport, audit};
use crate::store::answer_of;
use futures_util::{SinkExt as _, TryStreamExt as _};
use std::io::Cursor;
use std::pin::pin;
use std::time::Duration;
use tokio_postgres::{Client, Error, Transaction};
use tombola_core::Timestamp;
use tombola_core::limits::AUDIT_TIMEOUT;
use tombola_core::ports::StoreError;

/// How long one step may take: the statistics of all tables, all of a table read.
const STEP_MAX: Duration = Duration::from_mins(30);
/// How long one chunk may take.
const CHUNK_MAX: Duration = Duration::from_mins(5);
/// How long another session is waited for that has the mark.
const MARK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Behind the name of a server it is the name of a transfer.
const SUFFIX: &str = " transfer";

/// The database that rows go to.
pub(super) struct Target {
    alone: Alone,
    options: PostgresOptions,
    /// The name that servers have among the sessions of the database.
    server_name: String,
}

/// What was found at the beginning.
pub(super) enum Begun {
    /// All is there already, and may be served.
    Done,
    /// Rows are to come.
    Unfinished { mark: ToMark, is_resumed: bool },
}

impl Target {
    /// Connects, and makes the schema if it is missing.
    pub(super) async fn connect(options: &PostgresOptions) -> Result<Self, TransferError> {
        let (options, _) = options.renamed(SUFFIX);
        migrate::up(&options).await.map_err(to)?;
        Self::connect_as_it_is(&options).await
    }

    /// The same without a look at the schema.
    pub(super) async fn connect_as_it_is(options: &PostgresOptions) -> Result<Self, TransferError> {
        let (options, server_name) = options.renamed(SUFFIX);
        Ok(Self {
            alone: Alone::connect(&options, STEP_MAX).await.map_err(to)?,
            options,
            server_name,
        })
    }

    /// Leaves the mark in a database that nobody has used, or finds how far the transfer of
    /// the same rows came. Anything else is refused and not touched.
    pub(super) async fn begin(
        &mut self,
        source: &Source,
        now: Timestamp,
    ) -> Result<Begun, TransferError> {
        self.is_served_by_nobody().await?;
        let tx = self.alone.client.transaction().await.map_err(broken)?;
        lock(&tx).await.map_err(broken)?;
        let found = read(&tx).await?;
        let begun = match found {
            Some(mark) if mark.origin != source.origin => {
                return Err(refused("it holds another database, transferred before"));
            }
            Some(mark) if mark.state == ToState::GivenUp => {
                return Err(refused("the transfer into it was undone"));
            }
            Some(mark) if source.has_token(&mark.token) => match mark.state {
                ToState::Done => Begun::Done,
                ToState::Unfinished | ToState::GivenUp => Begun::Unfinished {
                    mark,
                    is_resumed: true,
                },
            },
            Some(mark) if mark.state == ToState::Done => {
                return Err(refused(
                    "this database was transferred into it before, and it may have been served",
                ));
            }
            found => {
                if let Some(done) = source.mark.as_ref().filter(|mark| mark.is_done) {
                    return Err(TransferError::Refused(mark::was_moved(done)));
                }
                is_empty(&tx, found.is_some()).await?;
                Begun::Unfinished {
                    mark: make(&tx, source, now).await?,
                    is_resumed: false,
                }
            }
        };
        tx.commit().await.map_err(broken)?;
        // Again: a server that began before the mark was there is seen now.
        self.is_served_by_nobody().await?;
        Ok(begun)
    }

    /// A server that has the database open read the mark before it was there.
    async fn is_served_by_nobody(&self) -> Result<(), TransferError> {
        let served_by = self.alone.served_by(&self.server_name).await.map_err(to)?;
        if let Some(who) = served_by {
            return Err(TransferError::Refused(format!(
                "the target is served: {who}"
            )));
        }
        Ok(())
    }

    /// A chunk and the mark behind it, in one transaction.
    pub(super) async fn put(
        &mut self,
        mark: &mut ToMark,
        chunk: Chunk,
    ) -> Result<(), TransferError> {
        let put = tokio::time::timeout(CHUNK_MAX, Box::pin(self.put_now(mark, chunk)));
        put.await.unwrap_or_else(|_| {
            let seconds = CHUNK_MAX.as_secs();
            let silent = format!("the server did not answer within {seconds} s");
            Err(to(StoreError::Unavailable(silent)))
        })
    }

    async fn put_now(&mut self, mark: &mut ToMark, chunk: Chunk) -> Result<(), TransferError> {
        let next = mark.behind(&chunk);
        let table = &TABLES[chunk.table];
        let step = self.alone.client.transaction().await.map_err(broken)?;
        move_mark(&step, mark, &next).await?;
        if !chunk.bytes.is_empty() {
            let copy = copy_in(&step, table, chunk.bytes);
            copy.await.map_err(|error| of_table(table, error))?;
        }
        step.commit().await.map_err(broken)?;
        *mark = next;
        Ok(())
    }

    /// What is to be done once all rows are there, again and again if need be: ids go on
    /// behind the highest, and the planner knows the tables.
    pub(super) async fn settle(&self) -> Result<(), TransferError> {
        let numbered = TABLES.iter().filter(|table| table.has_identity);
        let settle = numbered.map(|Table { name, .. }| {
            format!(
                "SELECT setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 0) + 1, false) FROM {name}"
            )
        });
        let settle = settle.collect::<Vec<_>>().join("; ");
        let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
        let settle = format!("{settle}; ANALYZE {}", names.join(", "));
        let call = self.alone.within(self.alone.client.batch_execute(&settle));
        call.await.map_err(to)
    }

    /// The sum of a table's rows.
    pub(super) async fn sum(&self, table: &Table) -> Result<Sum, TransferError> {
        let call = self.alone.within(copy_out(&self.alone.client, table));
        call.await.map_err(to)
    }

    /// Audits the database, of which nothing is changed.
    pub(super) async fn audit(
        &self,
        shared: std::sync::Arc<Shared>,
    ) -> Result<AuditReport, TransferError> {
        let postgres = Postgres::open_unfinished(&self.options).await.map_err(to)?;
        let read = postgres.push_read(AUDIT_TIMEOUT, move |conn| {
            audit(conn, &shared, AuditDepth::Full)
        });
        let report = answer_of(read).await.map_err(to);
        postgres.close();
        report
    }

    /// From here on the database may be served.
    pub(super) async fn release(&mut self, mark: &ToMark) -> Result<(), TransferError> {
        let done = ToMark {
            state: ToState::Done,
            ..mark.clone()
        };
        let tx = self.alone.client.transaction().await.map_err(broken)?;
        move_mark(&tx, mark, &done).await?;
        tx.commit().await.map_err(broken)
    }

    /// From here on nobody serves the database any more.
    pub(super) async fn give_up(&mut self, from: &FromMark) -> Result<(), TransferError> {
        let tx = self.alone.client.transaction().await.map_err(broken)?;
        lock(&tx).await.map_err(broken)?;
        let Some(mark) = read(&tx).await?.filter(|mark| mark.token == from.token) else {
            return Err(TransferError::Refused(format!(
                "this is not the database that the old one was transferred to, which is {}",
                from.to
            )));
        };
        let given_up = ToMark {
            state: ToState::GivenUp,
            ..mark.clone()
        };
        move_mark(&tx, &mark, &given_up).await?;
        tx.commit().await.map_err(broken)?;
        // A server that is running does not look at the mark again.
        self.is_served_by_nobody().await
    }
}

impl Source {
    /// Whether rows that came under this token are still the rows of the file.
    pub(super) fn has_token(&self, token: &str) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.token == token)
    }
}

impl ToMark {
    /// How far it is behind that chunk.
    fn behind(&self, chunk: &Chunk) -> Self {
        let table = chunk.table + usize::from(chunk.is_last);
        Self {
            table: TABLES.get(table).map(|table| table.name.to_owned()),
            after: if chunk.is_last {
                Vec::new()
            } else {
                chunk.last.clone()
            },
            ..self.clone()
        }
    }

    /// Where rows are missing.
    pub(super) fn place(&self) -> Place {
        let of_mark = |table: &Table| Some(table.name) == self.table.as_deref();
        Place {
            table: TABLES.iter().position(of_mark).unwrap_or(TABLES.len()),
            after: self.after.clone(),
        }
    }
}

async fn lock(tx: &Transaction<'_>) -> Result<(), Error> {
    let lock = format!(
        "SET LOCAL lock_timeout = {}; LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE",
        MARK_WAIT_MAX.as_millis()
    );
    tx.batch_execute(&lock).await
}

async fn read(tx: &Transaction<'_>) -> Result<Option<ToMark>, TransferError> {
    let sql = "SELECT value FROM meta WHERE name = $1";
    let row = tx.query_opt(sql, &[&NAME]).await.map_err(broken)?;
    row.map(|row| mark::parse(row.get(0)).map_err(to))
        .transpose()
}

/// Refuses what anybody has used; rows of a transfer that began with other rows of the same
/// file, which was served since, are nobody's.
async fn is_empty(tx: &Transaction<'_>, has_old_rows: bool) -> Result<(), TransferError> {
    if has_old_rows {
        let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
        let empty = format!("TRUNCATE {}", names.join(", "));
        return tx.batch_execute(&empty).await.map_err(broken);
    }
    let mut used = Vec::new();
    for table in TABLES.iter().filter(|table| !table.is_of_beginnings()) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        if tx.query_one(&sql, &[]).await.map_err(broken)?.get(0) {
            used.push(table.name);
        }
    }
    if used.is_empty() {
        return Ok(());
    }
    Err(refused(&format!("it has rows in {}", used.join(", "))))
}

async fn make(
    tx: &Transaction<'_>,
    source: &Source,
    now: Timestamp,
) -> Result<ToMark, TransferError> {
    let mark = ToMark {
        origin: source.origin.clone(),
        // One of its own: rows that went elsewhere before are not gone on with.
        token: source.fresh_token.clone(),
        started_at: now,
        state: ToState::Unfinished,
        table: Some(TABLES[0].name.to_owned()),
        after: Vec::new(),
    };
    for table in TABLES.iter().filter(|table| table.is_of_beginnings()) {
        let sql = format!("DELETE FROM {}", table.name);
        tx.batch_execute(&sql).await.map_err(broken)?;
    }
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)";
    let text = mark::text(&mark).map_err(to)?;
    tx.execute(sql, &[&NAME, &text]).await.map_err(broken)?;
    Ok(mark)
}

/// From one mark to the next; an error where another process moved it.
async fn move_mark(
    tx: &Transaction<'_>,
    from: &ToMark,
    next: &ToMark,
) -> Result<(), TransferError> {
    let sql = "UPDATE meta SET value = $2 WHERE name = $1 AND value = $3";
    let (from, next) = (mark::text(from).map_err(to)?, mark::text(next).map_err(to)?);
    match tx
        .execute(sql, &[&NAME, &next, &from])
        .await
        .map_err(broken)?
    {
        1 => Ok(()),
        _ => Err(TransferError::Refused(
            "another process transfers into the same database: let one of them finish".to_owned(),
        )),
    }
}

async fn copy_in(tx: &Transaction<'_>, table: &Table, rows: Vec<u8>) -> Result<u64, Error> {
    let sql = format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        table.name,
        table.postgres_columns()
    );
    let mut sink = pin!(tx.copy_in(&sql).await?);
    for piece in [HEAD.to_vec(), rows, TAIL.to_vec()] {
        sink.send(Cursor::new(piece)).await?;
    }
    sink.finish().await
}

async fn copy_out(client: &Client, table: &Table) -> Result<Sum, Error> {
    let sql = format!("COPY ({}) TO STDOUT (FORMAT binary)", table.postgres_rows());
    let mut pieces = pin!(client.copy_out(&sql).await?);
    let (mut rows, mut sum) = (Rows::default(), Sum::default());
    while let Some(piece) = pieces.try_next().await? {
        rows.take(&piece, &mut sum);
    }
    Ok(sum)
}

fn refused(why: &str) -> TransferError {
    TransferError::Refused(format!(
        "the target is in use: {why}. Nothing of it was changed. Transfer into an empty database, \
         as `createdb` makes it"
    ))
}

fn to(error: StoreError) -> TransferError {
    TransferError::To(error)
}

fn broken(error: Error) -> TransferError {
    to(failed(error))
}

/// What the server said of a row of that table.
fn of_table(table: &Table, error: Error) -> TransferError {
    let place = error
        .as_db_error()
        .and_then(|it| it.where_())
        .map(str::to_owned);
    let failed = failed(error);
    if let StoreError::Row(what) = failed {
        return TransferError::Row {
            table: table.name,
            key: place.unwrap_or_default(),
            what,
        };
    }
    to(failed)
}

/// Where it is, without a password.
pub(super) fn place_of(options: &PostgresOptions) -> String {
    let config = &options.config;
    let host = config.get_hosts().iter().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
    });
    let hosts = host.collect::<Vec<_>>().join(",");
    let name = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    format!("postgres://{hosts}/{name}")
}
