//! Values on their way into a statement.

use rusqlite::types::{ToSqlOutput, ValueRef};
use std::sync::Arc;
use tokio_postgres::types::ToSql;

/// A value as both databases take it, lent for one call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
    /// Many values of one column, which only PostgreSQL takes.
    Array(&'a (dyn ToSql + Sync)),
}

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Array(_) => {
                let error = "SQLite takes no arrays";
                return Err(rusqlite::Error::ToSqlConversionFailure(error.into()));
            }
        }))
    }
}

/// A value that is kept until its statement is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A column of many rows, for PostgreSQL: `unnest` makes rows of several.
pub(crate) struct Array<'a>(pub(crate) &'a (dyn ToSql + Sync));

impl Param for Array<'_> {
    fn bound(&self) -> Bound<'_> {
        Bound::Array(self.0)
    }
}

/// What can be a value of a statement.
pub(crate) trait Param {
    fn bound(&self) -> Bound<'_>;
}

macro_rules! integers {
    ($($integer:ty)+) => { $(
        impl Param for $integer {
            fn bound(&self) -> Bound<'_> {
                Bound::Integer(i64::from(*self))
            }
        }
    )+ };
}
integers!(bool u8 u16 u32 i32 i64);

impl Param for str {
    fn bound(&self) -> Bound<'_> {
        Bound::Text(self)
    }
}

impl Param for String {
    fn bound(&self) -> Bound<'_> {
        Bound::Text(self)
    }
}

impl Param for Arc<str> {
    fn bound(&self) -> Bound<'_> {
        Bound::Text(self)
    }
}

impl Param for Vec<u8> {
    fn bound(&self) -> Bound<'_> {
        Bound::Blob(self)
    }
}

impl Param for [u8] {
    fn bound(&self) -> Bound<'_> {
        Bound::Blob(self)
    }
}

impl<const N: usize> Param for [u8; N] {
    fn bound(&self) -> Bound<'_> {
        Bound::Blob(self)
    }
}

impl Param for Value {
    fn bound(&self) -> Bound<'_> {
        match self {
            Self::Integer(number) => Bound::Integer(*number),
            Self::Text(text) => Bound::Text(text),
        }
    }
}

impl<T: Param> Param for Option<T> {
    fn bound(&self) -> Bound<'_> {
        self.as_ref().map_or(Bound::Null, Param::bound)
    }
}

impl<T: Param + ?Sized> Param for &T {
    fn bound(&self) -> Bound<'_> {
        (**self).bound()
    }
}

/// All values of a statement, in order.
pub(crate) trait Params {
    fn bound(&self) -> Vec<Bound<'_>>;
}

impl Params for &[&dyn Param] {
    fn bound(&self) -> Vec<Bound<'_>> {
        self.iter().map(|it| it.bound()).collect()
    }
}

/// None: the type of `[]`.
impl Params for [&dyn Param; 0] {
    fn bound(&self) -> Vec<Bound<'_>> {
        Vec::new()
    }
}

macro_rules! arrays {
    ($($length:literal)+) => { $(
        impl<T: Param> Params for [T; $length] {
            fn bound(&self) -> Vec<Bound<'_>> {
                self.iter().map(Param::bound).collect()
            }
        }
    )+ };
}
arrays!(1 2 3 4 5 6 7 8);

macro_rules! tuples {
    ($(($($value:ident $index:tt),+))+) => { $(
        impl<$($value: Param),+> Params for ($($value,)+) {
            fn bound(&self) -> Vec<Bound<'_>> {
                vec![$(self.$index.bound()),+]
            }
        }
    )+ };
}
tuples!((A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3));

/// Values of one type, however many.
pub(crate) struct FromIter<T>(Vec<T>);

impl<T: Param> Params for FromIter<T> {
    fn bound(&self) -> Vec<Bound<'_>> {
        self.0.iter().map(Param::bound).collect()
    }
}

pub(crate) fn params_from_iter<I: IntoIterator>(values: I) -> FromIter<I::Item>
where
    I::Item: Param,
{
    FromIter(values.into_iter().collect())
}

/// Values of several types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::sql::Param),*] as &[&dyn $crate::sql::Param]
    };
}
pub(crate) use params;
