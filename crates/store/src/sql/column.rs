//! Values on their way out of a row. PostgreSQL has several widths of integers and a
//! boolean where SQLite has one integer: a number is read from each of them.

use super::error::{Error, Result, odd};
use std::error::Error as StdError;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// What can be read from a column.
pub(crate) trait Column: rusqlite::types::FromSql {
    /// From a row of PostgreSQL.
    fn postgres(row: &Row, column: usize) -> Result<Self>;
}

/// A number of any width.
struct Number(i64);

impl<'a> FromSql<'a> for Number {
    fn from_sql(
        ty: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *ty {
            Type::BOOL => i64::from(bool::from_sql(ty, raw)?),
            Type::INT2 => i64::from(i16::from_sql(ty, raw)?),
            Type::INT4 => i64::from(i32::from_sql(ty, raw)?),
            Type::NUMERIC => whole_number(raw).ok_or("a sum beyond 64 bits, or with a fraction")?,
            _ => i64::from_sql(ty, raw)?,
        }))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::BOOL | Type::INT2 | Type::INT4 | Type::INT8 | Type::NUMERIC
        )
    }
}

/// A sum of `bigint` is a `numeric`: digits to the base of 10,000, behind their
/// number, the weight of the first, the sign and the number of decimals.
fn whole_number(raw: &[u8]) -> Option<i64> {
    let mut words = raw
        .chunks_exact(2)
        .map(|word| i16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign) = (words.next()?, words.next()?, words.next()?);
    words.next()?;
    let mut number: i64 = 0;
    for place in 0..=weight.max(-1) {
        let digit = if place < count { words.next()? } else { 0 };
        number = number.checked_mul(10_000)?.checked_add(i64::from(digit))?;
    }
    let is_whole = words.all(|digit| digit == 0);
    let is_negative = sign == 0x4000;
    is_whole.then_some(if is_negative { -number } else { number })
}

fn number(row: &Row, column: usize) -> Result<Option<i64>> {
    Ok(row
        .try_get::<_, Option<Number>>(column)?
        .map(|Number(number)| number))
}

fn null(column: usize) -> Error {
    odd(column, "null where a value is due")
}

macro_rules! numbers {
    ($($integer:ty)+) => { $(
        impl Column for $integer {
            fn postgres(row: &Row, column: usize) -> Result<Self> {
                let number = number(row, column)?.ok_or_else(|| null(column))?;
                Self::try_from(number)
                    .map_err(|_| odd(column, format!("{number} is out of range")))
            }
        }

        impl Column for Option<$integer> {
            fn postgres(row: &Row, column: usize) -> Result<Self> {
                let number = number(row, column)?;
                number
                    .map(|number| {
                        <$integer>::try_from(number)
                            .map_err(|_| odd(column, format!("{number} is out of range")))
                    })
                    .transpose()
            }
        }
    )+ };
}
numbers!(u8 u16 u32 i32 i64);

impl Column for bool {
    fn postgres(row: &Row, column: usize) -> Result<Self> {
        Ok(number(row, column)?.ok_or_else(|| null(column))? != 0)
    }
}

impl Column for Option<bool> {
    fn postgres(row: &Row, column: usize) -> Result<Self> {
        Ok(number(row, column)?.map(|number| number != 0))
    }
}

macro_rules! as_they_are {
    ($($value:ty)+) => { $(
        impl Column for $value {
            fn postgres(row: &Row, column: usize) -> Result<Self> {
                Ok(row.try_get(column)?)
            }
        }
    )+ };
}
impl Column for Arc<str> {
    fn postgres(row: &Row, column: usize) -> Result<Self> {
        let text: &str = row.try_get(column)?;
        Ok(text.into())
    }
}

as_they_are!(String Option<String> Vec<u8> Option<Vec<u8>>);

impl<const N: usize> Column for [u8; N] {
    fn postgres(row: &Row, column: usize) -> Result<Self> {
        let bytes: &[u8] = row.try_get(column)?;
        bytes
            .try_into()
            .map_err(|_| odd(column, format!("{} bytes, not {N}", bytes.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_whole() {
        let raw = |words: &[i16]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        assert_eq!(whole_number(&raw(&[0, 0, 0, 0])), Some(0));
        assert_eq!(whole_number(&raw(&[1, 0, 0, 0, 7])), Some(7));
        assert_eq!(whole_number(&raw(&[1, 1, 0, 0, 3])), Some(30_000));
        assert_eq!(whole_number(&raw(&[2, 1, 0x4000, 0, 1, 2])), Some(-10_002));
        assert_eq!(whole_number(&raw(&[1, -1, 0, 1, 5000])), None, "a half");
        assert_eq!(
            whole_number(&raw(&[5, 4, 0, 0, 9999, 9999, 9999, 9999, 9999])),
            None
        );
    }
}
