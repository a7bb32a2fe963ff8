//! Columns into the words of `core`. A word that no code of ours writes is an
//! error of that column, never a guess.

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Error, Row};
use tombola_core::{AwardId, DrawId, Timestamp};

/// Why a column is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Odd(String);

/// An error that says what a column holds instead of what it should.
pub(crate) fn odd(column: usize, what: impl Into<String>) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(Odd(what.into())))
}

/// A word of one of the closed lists.
pub(crate) fn word<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).ok_or_else(|| odd(column, format!("{text:?} is not a word of its list")))
}

/// The same, of a column that may be null.
pub(crate) fn word_or_null<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> rusqlite::Result<Option<T>> {
    let is_null = row.get_ref(column)? == ValueRef::Null;
    (!is_null).then(|| word(row, column, parse)).transpose()
}

/// An instant.
pub(crate) fn instant(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

/// An instant that may be missing.
pub(crate) fn instant_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

/// The id of an award.
pub(crate) fn award_id(row: &Row<'_>, column: usize) -> rusqlite::Result<AwardId> {
    row.get(column).map(AwardId)
}

/// The id of a draw.
pub(crate) fn draw_id(row: &Row<'_>, column: usize) -> rusqlite::Result<DrawId> {
    row.get(column).map(DrawId)
}

/// A count: never negative where it is counted.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| odd(column, format!("{number} is not a count")))
}

/// A count that may be missing.
pub(crate) fn count_or_null(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let is_null = row.get_ref(column)? == ValueRef::Null;
    (!is_null).then(|| count(row, column)).transpose()
}

/// A count on its way into a column; beyond the column's range the range's end.
pub(crate) fn as_column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A word of a closed list as the value of a column.
pub(crate) fn text<T>(name: fn(T) -> &'static str) -> impl Fn(T) -> String {
    move |word| name(word).to_owned()
}
