//! A database's errors as the store's: what is wrong with a row, what with the
//! connection, and what no code of ours wrote.

use rusqlite::ErrorCode;
use tombola_core::ports::StoreError;

/// Answer of a statement.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What went wrong with a statement or with what it gave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// A column holds what no code of ours wrote.
    #[error("column {column}: {what}")]
    Odd { column: usize, what: String },
    #[error("the query gave no row")]
    NoRow,
    /// PostgreSQL: the time of the call is over.
    #[error("no answer in time")]
    TooLate,
    /// PostgreSQL: a statement that could not be prepared.
    #[error(transparent)]
    Store(StoreError),
}

/// An error that says what a column holds instead of what it should.
pub(crate) fn odd(column: usize, what: impl Into<String>) -> Error {
    Error::Odd {
        column,
        what: what.into(),
    }
}

/// So that `?` reads a statement's error as the store's.
pub(crate) trait OrStoreError<T> {
    /// The same, with the store's error.
    fn or_store(self) -> std::result::Result<T, StoreError>;
}

impl<T> OrStoreError<T> for Result<T> {
    fn or_store(self) -> std::result::Result<T, StoreError> {
        self.map_err(|error| match error {
            Error::Sqlite(error) => store_error(&error),
            Error::Postgres(error) => crate::postgres::failed(error),
            Error::Odd { .. } | Error::NoRow => inconsistent(error.to_string()),
            Error::TooLate => StoreError::Unavailable(error.to_string()),
            Error::Store(error) => error,
        })
    }
}

impl<T> OrStoreError<T> for rusqlite::Result<T> {
    fn or_store(self) -> std::result::Result<T, StoreError> {
        self.map_err(|error| store_error(&error))
    }
}

/// What an error of SQLite means to callers.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
            StoreError::Row(text)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Inconsistent(text)
        }
        Some(_) => StoreError::Unavailable(text),
        // Not SQLite but a value that does not fit the column it was read from.
        None => StoreError::Inconsistent(text),
    }
}

/// A row that no code of ours wrote.
pub(crate) fn inconsistent(what: impl Into<String>) -> StoreError {
    StoreError::Inconsistent(what.into())
}
