//! One way to speak to either database, for what is not the hot path: campaigns,
//! codes, endpoints, operators' acts, reads for people. Its SQL is written once, in
//! what both understand; [`dialect`] is the whole of what is changed for PostgreSQL,
//! and where that does not suffice, [`Connection::either`] takes two texts.
//!
//! Calls block: on SQLite they run on the threads of the file, on PostgreSQL on
//! blocking threads, one connection each.
//!
//! # Trips
//! On PostgreSQL each statement is a trip to the server. Where a step has many rows,
//! [`Connection::is_far`] parts the code: one statement with an [`Array`] for each column
//! there, and on SQLite, where a statement costs nothing but its rows, one after the
//! other.
//!
//! # Locks
//! On SQLite nobody else writes. On PostgreSQL each write of this code takes one lock
//! of the whole database first, so these writes go one after the other there too;
//! what the hot path writes at the same time is locked row by row, by
//! [`Connection::locking`].

mod column;
mod dialect;
mod error;
mod postgres;
mod value;

pub(crate) use column::Column;
pub(crate) use error::{Error, OrStoreError, Result, inconsistent, odd, store_error};
pub(crate) use postgres::Session;
pub(crate) use value::{Array, Param, Params, Value, params, params_from_iter};

use crate::postgres::Statements;
use postgres::Prepared;

/// One connection, in a transaction that its owner began and ends.
pub(crate) struct Connection(Database);

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each job, never a list of them"
)]
enum Database {
    Sqlite(rusqlite::Connection),
    Postgres(Session),
}

impl From<rusqlite::Connection> for Connection {
    fn from(conn: rusqlite::Connection) -> Self {
        Self(Database::Sqlite(conn))
    }
}

impl From<Session> for Connection {
    fn from(session: Session) -> Self {
        Self(Database::Postgres(session))
    }
}

impl Connection {
    /// SQLite's own, for the code that only SQLite has.
    pub(crate) fn sqlite(&self) -> &rusqlite::Connection {
        match &self.0 {
            Database::Sqlite(conn) => conn,
            Database::Postgres(_) => unreachable!("only the SQLite store asks for it"),
        }
    }

    /// The same, to be changed.
    pub(crate) fn sqlite_mut(&mut self) -> &mut rusqlite::Connection {
        match &mut self.0 {
            Database::Sqlite(conn) => conn,
            Database::Postgres(_) => unreachable!("only the SQLite store asks for it"),
        }
    }

    /// The same, to be closed.
    pub(crate) fn into_sqlite(self) -> rusqlite::Connection {
        match self.0 {
            Database::Sqlite(conn) => conn,
            Database::Postgres(_) => unreachable!("only the SQLite store asks for it"),
        }
    }

    /// The session of PostgreSQL, to be given back to its pool.
    pub(crate) fn into_postgres(self) -> Option<Session> {
        match self.0 {
            Database::Sqlite(_) => None,
            Database::Postgres(session) => Some(session),
        }
    }

    /// Whether the job failed only because others were at the same rows.
    pub(crate) fn was_in_the_way(&self) -> bool {
        match &self.0 {
            Database::Sqlite(_) => false,
            Database::Postgres(session) => session.was_in_the_way(),
        }
    }

    /// Whether each statement is a trip to a server, so that many rows go in one.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self.0, Database::Postgres(_))
    }

    /// The text for the database that this is.
    pub(crate) fn either<'s>(&self, sqlite: &'s str, postgres: &'s str) -> &'s str {
        match &self.0 {
            Database::Sqlite(_) => sqlite,
            Database::Postgres(_) => postgres,
        }
    }

    /// At the end of a `SELECT` of rows that this transaction is going to change: on
    /// PostgreSQL nobody else changes them until it ends.
    pub(crate) fn locking(&self) -> &'static str {
        self.either("", " FOR NO KEY UPDATE")
    }

    /// A statement that is kept ready for the next time.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(match &self.0 {
            Database::Sqlite(conn) => Statement::Sqlite(conn.prepare_cached(sql)?),
            Database::Postgres(session) => Statement::Postgres(session.prepare(sql)?),
        })
    }

    /// A statement of the hot path on PostgreSQL.
    pub(crate) fn hot(
        &self,
        which: fn(&Statements) -> &tokio_postgres::Statement,
    ) -> Statement<'_> {
        match &self.0 {
            Database::Sqlite(_) => unreachable!("only where statements are trips"),
            Database::Postgres(session) => Statement::Postgres(session.hot(which)),
        }
    }

    /// A query without values whose rows may be many: on PostgreSQL they come in
    /// steps, so that they are never all in memory.
    pub(crate) fn prepare_large(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(match &self.0 {
            Database::Sqlite(conn) => Statement::Sqlite(conn.prepare_cached(sql)?),
            Database::Postgres(session) => Statement::Postgres(session.declare(sql)?),
        })
    }

    /// Runs a statement once; gives the rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// Runs a statement once that gives one row.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    /// Runs statements without values.
    pub(crate) fn execute_batch(&self, sql: &str) -> Result<()> {
        match &self.0 {
            Database::Sqlite(conn) => conn.execute_batch(sql).map_err(Error::from),
            Database::Postgres(session) => session.execute_batch(&dialect::postgres(sql)),
        }
    }
}

/// A statement, ready to be run.
pub(crate) enum Statement<'c> {
    Sqlite(rusqlite::CachedStatement<'c>),
    Postgres(Prepared<'c>),
}

impl Statement<'_> {
    /// Runs it; gives the rows it changed.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used, as with rusqlite"
    )]
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        let values = params.bound();
        match self {
            Self::Sqlite(statement) => Ok(statement.execute(rusqlite::params_from_iter(values))?),
            Self::Postgres(statement) => statement.execute(&values),
        }
    }

    /// Runs it; its rows come one after the other.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values are written where they are used, as with rusqlite"
    )]
    pub(crate) fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        let values = params.bound();
        Ok(match self {
            Self::Sqlite(statement) => {
                Rows::Sqlite(statement.query(rusqlite::params_from_iter(values))?)
            }
            Self::Postgres(statement) => Rows::Postgres(statement.query(&values)?),
        })
    }

    /// The first row; [`Error::NoRow`] if there is none.
    pub(crate) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut rows = self.query(params)?;
        read(&rows.next()?.ok_or(Error::NoRow)?)
    }

    /// Each row, read by `read`.
    pub(crate) fn query_map<T, F>(&mut self, params: impl Params, read: F) -> Result<Mapped<'_, F>>
    where
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        let rows = self.query(params)?;
        Ok(Mapped { rows, read })
    }
}

/// Rows of a query.
pub(crate) enum Rows<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres(postgres::Rows<'s>),
}

impl Rows<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        Ok(match self {
            Self::Sqlite(rows) => rows.next()?.map(Row::Sqlite),
            Self::Postgres(rows) => rows.next()?.map(Row::Postgres),
        })
    }
}

/// One row.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(tokio_postgres::Row),
}

impl Row<'_> {
    /// The value of a column.
    pub(crate) fn get<I: Index, T: Column>(&self, column: I) -> Result<T> {
        let column = column.index();
        match self {
            Self::Sqlite(row) => Ok(row.get(column)?),
            Self::Postgres(row) => T::postgres(row, column),
        }
    }

    /// The text of a column, without a copy; `None` for null.
    pub(crate) fn text_or_null(&self, column: usize) -> Result<Option<&str>> {
        match self {
            Self::Sqlite(row) => row
                .get_ref(column)?
                .as_str_or_null()
                .map_err(|error| odd(column, error.to_string())),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }

    /// The same of a column that is never null.
    pub(crate) fn text(&self, column: usize) -> Result<&str> {
        self.text_or_null(column)?
            .ok_or_else(|| odd(column, "null where a text is due"))
    }
}

/// The number of a column; the type of `0` in `row.get(0)`.
pub(crate) trait Index {
    fn index(self) -> usize;
}

impl Index for usize {
    fn index(self) -> usize {
        self
    }
}

/// Rows, read one by one.
pub(crate) struct Mapped<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F> Iterator for Mapped<'_, F>
where
    F: FnMut(&Row<'_>) -> Result<T>,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.rows.next() {
            Ok(row) => row.map(|row| (self.read)(&row)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// So that "there is none" is no error.
pub(crate) trait OptionalExtension<T> {
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRow | Error::Sqlite(rusqlite::Error::QueryReturnedNoRows)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
