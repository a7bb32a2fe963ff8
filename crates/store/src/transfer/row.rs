//! One row as PostgreSQL's binary COPY writes it: the number of columns, then each
//! with its length. It is what goes to the server and what the server gives back, byte
//! for byte, so the sum over these bytes is the same on both sides.

use super::TransferError;
use super::tables::{Table, Type};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Display;

/// What stands before the rows of a binary COPY: its signature, no flags, no extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And behind them.
pub(super) const TAIL: [u8; 2] = (-1_i16).to_be_bytes();

/// How many rows there are, and the sum of their digests: it is the same in whatever
/// order they come, and another if one byte of one row is another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    digests: u128,
}

impl Sum {
    pub(super) fn add(&mut self, row: &[u8]) {
        let digest = Sha256::digest(row);
        let mut head = [0; 16];
        head.copy_from_slice(&digest[..16]);
        self.rows += 1;
        self.digests = self.digests.wrapping_add(u128::from_be_bytes(head));
    }
}

/// Puts a row of SQLite behind `out`; gives how many texts of it lost a U+0000.
pub(super) fn encode(
    table: &'static Table,
    row: &Row<'_>,
    out: &mut Vec<u8>,
) -> Result<u64, TransferError> {
    let mut cut = 0;
    out.extend_from_slice(&len_of(table)?.to_be_bytes());
    for (place, (name, of)) in table.columns.iter().enumerate() {
        let value = row
            .get_ref(place)
            .map_err(|error| wrong(table, row, name, &error))?;
        let put = put(*of, value, out).map_err(|what| wrong(table, row, name, &what))?;
        cut += u64::from(put == Put::Cut);
    }
    Ok(cut)
}

fn len_of(table: &'static Table) -> Result<i16, TransferError> {
    i16::try_from(table.columns.len())
        .map_err(|_| TransferError::Refused(format!("{} has too many columns", table.name)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Whole,
    Cut,
}

fn put(of: Type, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<Put, String> {
    match (of, value) {
        (_, ValueRef::Null) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        (Type::Bool, ValueRef::Integer(number @ (0 | 1))) => field(out, &[u8::from(number == 1)])?,
        (Type::Int2, ValueRef::Integer(number)) => {
            field(out, &narrow::<i16>(number)?.to_be_bytes())?;
        }
        (Type::Int4, ValueRef::Integer(number)) => {
            field(out, &narrow::<i32>(number)?.to_be_bytes())?;
        }
        (Type::Int8, ValueRef::Integer(number)) => field(out, &number.to_be_bytes())?,
        (Type::Bytes, ValueRef::Blob(bytes)) => field(out, bytes)?,
        (Type::Text | Type::Words, ValueRef::Text(text)) => {
            if std::str::from_utf8(text).is_err() {
                return Err("the text is not UTF-8".to_owned());
            }
            if text.contains(&0) {
                if of == Type::Text {
                    return Err("the text has a U+0000, which PostgreSQL does not take".to_owned());
                }
                let text: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
                field(out, &text)?;
                return Ok(Put::Cut);
            }
            field(out, text)?;
        }
        (of, value) => return Err(format!("{} is no {}", value.data_type(), of.name())),
    }
    Ok(Put::Whole)
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} is out of range"))
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    let length = i32::try_from(bytes.len()).map_err(|_| "it is too long".to_owned())?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn wrong(table: &Table, row: &Row<'_>, column: &str, what: &dyn Display) -> TransferError {
    TransferError::Row {
        table: table.name,
        key: Value::from(key_of(table, row)).to_string(),
        what: format!("{column}: {what}"),
    }
}

/// The key of a row, to go on behind it.
pub(super) fn key_of(table: &Table, row: &Row<'_>) -> Vec<Value> {
    let value = |place| match row.get_ref(place) {
        Ok(ValueRef::Integer(number)) => Value::from(number),
        Ok(ValueRef::Text(text)) => Value::from(String::from_utf8_lossy(text)),
        Ok(ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) | Err(_) => Value::Null,
    };
    table.key_places().map(value).collect()
}

/// Cuts what the server gives into rows, however it comes.
#[derive(Debug, Default)]
pub(super) struct Rows {
    held: Vec<u8>,
    is_begun: bool,
}

impl Rows {
    /// Adds every row that is whole by now to the sum.
    pub(super) fn take(&mut self, bytes: &[u8], sum: &mut Sum) {
        self.held.extend_from_slice(bytes);
        let mut at = 0;
        if !self.is_begun {
            if self.held.len() < HEAD.len() {
                return;
            }
            at = HEAD.len();
            self.is_begun = true;
        }
        while let Some(end) = end_of(&self.held, at) {
            sum.add(&self.held[at..end]);
            at = end;
        }
        self.held.drain(..at);
    }
}

/// The end of the row that begins there; `None` if it is not whole, or is the tail.
fn end_of(bytes: &[u8], from: usize) -> Option<usize> {
    let columns = i16::from_be_bytes(bytes.get(from..from + 2)?.try_into().ok()?);
    let mut at = from + 2;
    for _ in 0..u16::try_from(columns).ok()? {
        let length = i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4 + usize::try_from(length).unwrap_or(0);
    }
    (at <= bytes.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::tables::TABLES;
    use rusqlite::Connection;

    fn table(name: &str) -> &'static Table {
        TABLES.iter().find(|it| it.name == name).unwrap()
    }

    fn encoded(name: &str, values: &str) -> Result<(Vec<u8>, u64), TransferError> {
        let conn = Connection::open_in_memory().unwrap();
        let mut select = conn.prepare(&format!("SELECT {values}")).unwrap();
        let mut rows = select.query([]).unwrap();
        let row = rows.next().unwrap().unwrap();
        let mut out = Vec::new();
        encode(table(name), row, &mut out).map(|cut| (out, cut))
    }

    #[test]
    fn rows_are_cut_and_summed_whatever_pieces_they_come_in() {
        let one = encoded("pause", "'a', '', 'c', 7").unwrap().0;
        let two = encoded("reseal", "1, 2, NULL, 4, 5").unwrap().0;
        let mut expected = Sum::default();
        expected.add(&two);
        expected.add(&one);
        let whole = [HEAD, &one, &two, &TAIL].concat();
        for step in 1..whole.len() {
            let (mut rows, mut sum) = (Rows::default(), Sum::default());
            for piece in whole.chunks(step) {
                rows.take(piece, &mut sum);
            }
            assert_eq!(sum, expected, "in pieces of {step}");
        }
        let mut other = Sum::default();
        other.add(&one);
        other.add(&encoded("reseal", "1, 2, NULL, 4, 6").unwrap().0);
        assert_ne!(other, expected, "one byte is another");
    }

    #[test]
    fn a_text_that_postgresql_does_not_take_is_named_and_one_for_people_loses_the_character() {
        let error = encoded("points_entry", "12, 'a' || char(0), 1, 1").unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("points_entry [12]") && said.contains("user_id"),
            "{said}"
        );
        assert!(said.contains("U+0000"), "{said}");
        let values = |detail| format!("1, 1, 1, 'deliver', 1, 'retry', 'pending', 1, {detail}");
        let with = encoded("attempt", &values("'a' || char(0) || 'b'")).unwrap();
        let without = encoded("attempt", &values("'ab'")).unwrap();
        assert_eq!((with.0, with.1), (without.0, 1));
        assert_eq!(without.1, 0);
    }

    #[test]
    fn a_number_that_its_column_cannot_hold_is_named() {
        let error = encoded("id_block", "3000000000, 1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("one: 3000000000 is out of range"), "{error}");
        let error = encoded("id_block", "'x', 1").unwrap_err().to_string();
        assert!(error.contains("Text is no integer"), "{error}");
    }
}
