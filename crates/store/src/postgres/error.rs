//! PostgreSQL's errors as the store's: what asks to run the batch again, what is
//! wrong with a row, what no code of ours wrote.

use std::error::Error as _;
use std::io;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{FromSql, WasNull, WrongType};
use tokio_postgres::{Error, Row};
use tombola_core::ports::{StoreError, StoreResult};

/// What to do where no server takes writes.
pub(super) const PROMOTE: &str = "no server of database.url takes writes: promote the standby if its primary is gone, else \
                       name the primary there";

/// What an error of the connection or the server means to callers.
///
/// An error without a code comes from the connection and not from the server. It
/// may have cut a commit off, so nothing is concluded from it: the same batch runs
/// again, and its request keys tell what was committed.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(crate) fn failed(error: Error) -> StoreError {
    if takes_no_writes(&error) {
        let said = error.as_db_error().map_or_else(
            || chain(&error),
            |it| format!("{} ({})", it.message(), it.code().code()),
        );
        return StoreError::Unavailable(format!("{said}: {PROMOTE}"));
    }
    match error.as_db_error() {
        Some(said) => of_code(said.code().code(), said.message()),
        // A value that no column of ours has: a fault of the code, the same at every try.
        None if is_of_types(&error) => StoreError::Inconsistent(chain(&error)),
        None => StoreError::Unavailable(chain(&error)),
    }
}

/// Whether the server is a standby, or was told to take no writes. The client says so of a server
/// that it passed over by an error of its own, which is none of the machine's.
pub(super) fn takes_no_writes(error: &Error) -> bool {
    let source = error.source();
    let passed_over = source.and_then(|it| it.downcast_ref::<io::Error>());
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
        || passed_over.is_some_and(|it| {
            it.kind() == io::ErrorKind::PermissionDenied && it.raw_os_error().is_none()
        })
}

fn is_of_types(error: &Error) -> bool {
    let source = error.source();
    source.is_some_and(|it| it.is::<WrongType>() || it.is::<WasNull>())
}

/// An error with what caused it, which PostgreSQL's client keeps apart.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = error.source();
    }
    text
}

/// Whether two transactions met: a deadlock, a serialisation, a lock that was waited
/// for in vain, a batch of draws of which something was read too early. Nothing was done, and
/// the same batch may well succeed at once.
pub(super) fn is_conflict(error: &Error) -> bool {
    error.as_db_error().is_some_and(|said| {
        matches!(said.code().code(), "40001" | "40P01" | "55P03") || is_outdated(said)
    })
}

/// A request key that was not there is, or a user would be counted beyond a limit, or twice from
/// one row. Whoever reads behind the campaign's lock never comes to that (see `path::ahead`).
fn is_outdated(said: &DbError) -> bool {
    let is = |state| *said.code() == state;
    let met = [Some("request_pkey"), Some("allowance_pkey")];
    is(SqlState::UNIQUE_VIOLATION) && met.contains(&said.constraint())
        || is(SqlState::NOT_NULL_VIOLATION) && said.table() == Some("allowance")
}

/// A column of a row; one that does not hold what it should was not written by us.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> StoreResult<T> {
    let value = row.try_get(column);
    value.map_err(|error| StoreError::Inconsistent(error.to_string()))
}

pub(super) fn inconsistent(what: impl Into<String>) -> StoreError {
    StoreError::Inconsistent(what.into())
}

/// By class, that is the first two characters, unless the class mixes things.
fn of_code(code: &str, message: &str) -> StoreError {
    let text = format!("{message} ({code})");
    match (code.get(..2).unwrap_or_default(), code) {
        // Data, constraints, a key too wide for its index: of one row, and the same
        // at every try.
        ("22" | "23" | "44" | "54", _) => StoreError::Row(text),
        // A table or column that is not there, or a right to it.
        ("42" | "3F" | "3D", _) => StoreError::Schema(text),
        // Rows or indexes that are damaged.
        ("XX", "XX001" | "XX002") => StoreError::Inconsistent(text),
        // All the rest passes or is mended from outside, and changed nothing or
        // nobody knows: connection (08), a plan that a migration outdated (0A000),
        // a server that became read only (25006), a transaction or a prepared
        // statement that is gone (25P03, 26000), serialisation (40001), a deadlock
        // (40P01), resources (53), locks (55P03), a time-out (57014), a server that
        // stops or starts (57P0x), disks (58).
        _ => StoreError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(code: &str) -> &'static str {
        match of_code(code, "") {
            StoreError::Unavailable(_) => "again",
            StoreError::Row(_) => "row",
            StoreError::Schema(_) => "schema",
            StoreError::Inconsistent(_) => "inconsistent",
            StoreError::Overloaded
            | StoreError::Moved(_)
            | StoreError::Sealed(_)
            | StoreError::KeyReused
            | StoreError::Closed => "other",
        }
    }

    #[test]
    fn errors_that_pass_ask_to_run_the_batch_again() {
        for code in [
            "40001", "40P01", "08006", "08P01", "57P01", "57P02", "57P03", "57014", "53300",
            "53100", "55P03", "25006", "25P03", "26000", "0A000", "58030", "40003",
        ] {
            assert_eq!(name(code), "again", "{code}");
        }
    }

    #[test]
    fn an_error_of_the_data_is_of_its_row_and_never_of_the_connection() {
        for code in [
            "22021", "22001", "22003", "23505", "23514", "23502", "54000",
        ] {
            assert_eq!(name(code), "row", "{code}");
        }
        for (code, expected) in [
            ("42P01", "schema"),
            ("42703", "schema"),
            ("XX001", "inconsistent"),
        ] {
            assert_eq!(name(code), expected, "{code}");
        }
    }
}
