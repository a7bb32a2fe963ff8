//! The marks in `meta` of both databases that say whether each may be served. At every
//! instant at most one of them may, whatever dies where:
//!
//! | when | SQLite | PostgreSQL |
//! | --- | --- | --- |
//! | before | may | is empty |
//! | rows are on their way | may: it is opened, which takes its mark away, and a later run begins anew | refused |
//! | all was compared, SQLite has its last mark | refused | refused: another run goes on |
//! | done | refused | may |
//! | undone | may | refused for good |

use crate::sql::OrStoreError as _;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::{Client, Error};
use tombola_core::Timestamp;
use tombola_core::ports::{StoreError, StoreResult};

/// The name of the mark in `meta`, on both databases.
pub(super) const NAME: &str = "transfer";

/// The mark of the database that rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FromMark {
    /// Names one transfer of one state of the rows: the other side has the same.
    pub(super) token: String,
    /// Where to, in words, without a password.
    pub(super) to: String,
    pub(super) at: Timestamp,
    /// Whether all was moved and compared.
    pub(super) is_done: bool,
}

/// The mark of the database that rows go to: how far they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToMark {
    /// The database's uuid, which comes with the rows.
    pub(super) origin: String,
    pub(super) token: String,
    /// What was on its way is due then.
    pub(super) started_at: Timestamp,
    pub(super) state: ToState,
    /// The table that rows are taken of: those before it are whole. `None`: all are.
    pub(super) table: Option<String>,
    /// The key of its last row that is there; empty before the first one.
    pub(super) after: Vec<Value>,
}

/// What may be done with the database that rows go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToState {
    /// Go on.
    Unfinished,
    /// Serve it.
    Done,
    /// Drop it: the other database is served again.
    GivenUp,
}

/// Whoever opens a file to serve it takes the mark of an unfinished transfer away: rows may
/// change from here on. One that is done refuses.
pub(crate) fn on_open(conn: &Connection) -> StoreResult<()> {
    let has_table =
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta')";
    let has_table: bool = conn.query_row(has_table, [], |row| row.get(0)).or_store()?;
    if !has_table {
        return Ok(());
    }
    match read(conn)? {
        None => Ok(()),
        Some(mark) if mark.is_done => Err(StoreError::Moved(was_moved(&mark))),
        Some(_) => remove(conn),
    }
}

pub(super) fn was_moved(mark: &FromMark) -> String {
    let (to, at) = (&mark.to, mark.at);
    format!(
        "this database was transferred to {to} at {at}, and awards would be paid twice if both were served: \
         set database.url to the new one. The way back, without what happened there since, is \
         `tombola transfer --undo`: docs/guides/move-to-postgresql.md"
    )
}

pub(super) fn read(conn: &Connection) -> StoreResult<Option<FromMark>> {
    let text: Option<String> = conn
        .query_row("SELECT value FROM meta WHERE name = ?1", [NAME], |row| {
            row.get(0)
        })
        .optional()
        .or_store()?;
    text.map(|text| parse(&text)).transpose()
}

pub(super) fn write(conn: &Connection, mark: &FromMark) -> StoreResult<()> {
    conn.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [NAME, &text(mark)?],
    )
    .map(drop)
    .or_store()
}

pub(super) fn remove(conn: &Connection) -> StoreResult<()> {
    conn.execute("DELETE FROM meta WHERE name = ?1", [NAME])
        .map(drop)
        .or_store()
}

/// Refuses a database on PostgreSQL whose rows are not all there.
pub(crate) async fn on_connect(client: &Client) -> Result<StoreResult<()>, Error> {
    let sql = "SELECT value FROM meta WHERE name = $1";
    let Some(row) = client.query_opt(sql, &[&NAME]).await? else {
        return Ok(Ok(()));
    };
    Ok(parse::<ToMark>(row.try_get(0)?).and_then(|mark| {
        let words = match mark.state {
            ToState::Done => return Ok(()),
            ToState::Unfinished => {
                "the transfer into this database is not finished: run `tombola transfer` again with the same \
                 --from and --to, which goes on where it was, or drop the database"
            }
            ToState::GivenUp => {
                "the transfer into this database was undone, and the old database is the one to be served: \
                 drop this one"
            }
        };
        Err(StoreError::Moved(words.to_owned()))
    }))
}

pub(super) fn parse<T: for<'a> Deserialize<'a>>(text: &str) -> StoreResult<T> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Inconsistent(format!("the mark of a transfer: {error}")))
}

pub(super) fn text(mark: &impl Serialize) -> StoreResult<String> {
    serde_json::to_string(mark).map_err(|error| StoreError::Inconsistent(error.to_string()))
}
