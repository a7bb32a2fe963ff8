//! The database's file as a person with a shell sees it, beside the server or after
//! its death. SQL of these tests stands here.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Result};
use std::path::Path;

/// What the trigger puts before the message id of a row.
const OTHER: &str = "other-";

pub(crate) struct Rows(Connection);

/// A message that was kept for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    pub(crate) award: i64,
    pub(crate) reason: String,
    /// Whether its row has its message id with the mark of the trigger.
    pub(crate) is_of_row: bool,
}

impl Rows {
    pub(crate) fn open(data: &Path) -> Self {
        let conn = Connection::open(data.join("tombola.db")).unwrap();
        // The next start finds the log as the death left it.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
        Self(conn)
    }

    /// From now on the hand-off of a new award carries another message id than its
    /// row: to the worker its first copy is none of this database's. Rescue reads the
    /// row, so what it publishes is.
    pub(crate) fn make_first_copies_foreign(&self) {
        self.0
            .execute_batch(&format!(
                "CREATE TRIGGER other_message AFTER INSERT ON delivery BEGIN
                   UPDATE delivery SET message_id = '{OTHER}' || message_id
                   WHERE award_id = NEW.award_id;
                 END"
            ))
            .unwrap();
    }

    pub(crate) fn leave_first_copies_alone(&self) {
        self.0.execute_batch("DROP TRIGGER other_message").unwrap();
    }

    /// Every message that was kept, by award.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let sql = format!(
            "SELECT v.award_id, k.reason,
                    v.message_id = '{OTHER}' || json_extract(CAST(k.value AS TEXT), '$.messageId')
             FROM kept_message k
             JOIN delivery v ON v.award_id = json_extract(CAST(k.value AS TEXT), '$.orderId')
             ORDER BY v.award_id"
        );
        let mut select = self.0.prepare(&sql).unwrap();
        let kept = select.query_map([], |row| {
            Ok(Kept {
                award: row.get(0)?,
                reason: row.get(1)?,
                is_of_row: row.get(2)?,
            })
        });
        kept.unwrap().map(Result::unwrap).collect()
    }

    /// All awards, in the order of their draws.
    pub(crate) fn awards(&self) -> Vec<i64> {
        self.ids("SELECT award_id FROM delivery ORDER BY award_id")
            .unwrap()
    }

    /// Awards with a claim out.
    pub(crate) fn claimed(&self) -> Vec<i64> {
        self.ids("SELECT award_id FROM delivery WHERE state = 'delivering'")
            .unwrap()
    }

    /// Awards that are on their way to a worker.
    pub(crate) fn pending(&self) -> Vec<i64> {
        self.ids("SELECT award_id FROM delivery WHERE state = 'pending'")
            .unwrap()
    }

    /// Awards whose claim was given back.
    pub(crate) fn given_back(&self) -> Vec<i64> {
        self.ids("SELECT award_id FROM attempt WHERE decision = 'give_back'")
            .unwrap()
    }

    /// Awards on their way to a worker whose grace is not over.
    pub(crate) fn in_grace(&self) -> Result<Vec<i64>> {
        self.ids(
            "SELECT award_id FROM delivery
             WHERE state = 'pending' AND due_at > unixepoch('subsec') * 1000000",
        )
    }

    /// Awards with a claim out whose lease is not over.
    pub(crate) fn in_lease(&self) -> Result<Vec<i64>> {
        self.ids(
            "SELECT award_id FROM delivery
             WHERE state = 'delivering' AND due_at > unixepoch('subsec') * 1000000",
        )
    }

    /// An error while the server has the file to itself.
    fn ids(&self, sql: &str) -> Result<Vec<i64>> {
        let mut select = self.0.prepare(sql)?;
        select.query_map([], |row| row.get(0))?.collect()
    }
}
