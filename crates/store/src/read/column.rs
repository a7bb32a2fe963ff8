//! Columns into the words of `core`. A word that no code of ours writes is an
//! error of that column, never a guess.

pub(crate) use crate::sql::odd;
use crate::sql::{self, Row};
use tombola_core::{AwardId, DrawId, Timestamp};

/// A word of one of the closed lists.
pub(crate) fn word<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> sql::Result<T> {
    let text = row.text(column)?;
    parse(text).ok_or_else(|| odd(column, format!("{text:?} is not a word of its list")))
}

/// The same, of a column that may be null.
pub(crate) fn word_or_null<T>(
    row: &Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> sql::Result<Option<T>> {
    let is_null = row.text_or_null(column)?.is_none();
    (!is_null).then(|| word(row, column, parse)).transpose()
}

/// An instant.
pub(crate) fn instant(row: &Row<'_>, column: usize) -> sql::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

/// An instant that may be missing.
pub(crate) fn instant_or_null(row: &Row<'_>, column: usize) -> sql::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}

/// The id of an award.
pub(crate) fn award_id(row: &Row<'_>, column: usize) -> sql::Result<AwardId> {
    row.get(column).map(AwardId)
}

/// The id of a draw.
pub(crate) fn draw_id(row: &Row<'_>, column: usize) -> sql::Result<DrawId> {
    row.get(column).map(DrawId)
}

/// A count: never negative where it is counted.
pub(crate) fn count(row: &Row<'_>, column: usize) -> sql::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| odd(column, format!("{number} is not a count")))
}

/// A count that may be missing.
pub(crate) fn count_or_null(row: &Row<'_>, column: usize) -> sql::Result<Option<u64>> {
    let is_null = row.get::<_, Option<i64>>(column)?.is_none();
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
