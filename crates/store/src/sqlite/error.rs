//! SQLite's errors as the store's: what is wrong with a row, what with the
//! connection, and what no code of ours wrote.

use rusqlite::{Error, ErrorCode};
use tombola_core::ports::StoreError;

/// So that `?` reads a statement's error as the store's.
pub(crate) trait OrStoreError<T> {
    /// The same, with the store's error.
    fn or_store(self) -> Result<T, StoreError>;
}

impl<T> OrStoreError<T> for Result<T, Error> {
    fn or_store(self) -> Result<T, StoreError> {
        self.map_err(|error| store_error(&error))
    }
}

/// What an error of SQLite means to callers.
pub(crate) fn store_error(error: &Error) -> StoreError {
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
