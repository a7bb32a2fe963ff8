//! A connection to PostgreSQL as blocking code sees it, for one transaction. It runs
//! on the threads that the runtime has for waiting.

use super::dialect;
use super::error::{Error, Result};
use super::value::Bound;
use crate::postgres::{Statements, Taken};
use std::cell::Cell;
use std::error::Error as StdError;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, Statement};

/// Rows of a large query that are in memory at a time.
const STEP: usize = 2000;

/// A connection for the time of one job.
pub(crate) struct Session {
    taken: Taken,
    handle: Handle,
    /// When nobody waits for the job any more.
    ends: Instant,
    /// Large queries begun in this job.
    cursors: Cell<usize>,
    /// Whether the server ended a statement only because others were at the same rows.
    was_in_the_way: Cell<bool>,
}

impl Session {
    /// To be made within the runtime, and used outside of its own threads.
    pub(crate) fn new(taken: Taken, answer_max: Duration) -> Self {
        Self {
            taken,
            handle: Handle::current(),
            ends: Instant::now() + answer_max,
            cursors: Cell::default(),
            was_in_the_way: Cell::default(),
        }
    }

    /// The connection again, for its pool.
    pub(crate) fn into_taken(self) -> Taken {
        self.taken
    }

    /// Whether the same job would go well if it began anew.
    pub(crate) fn was_in_the_way(&self) -> bool {
        self.was_in_the_way.replace(false)
    }

    fn wait<T>(
        &self,
        call: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let answer = self
            .handle
            .block_on(tokio::time::timeout_at(self.ends, call))
            .map_err(|_| Error::TooLate)?;
        Ok(answer.inspect_err(|error| {
            let in_the_way = [
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::LOCK_NOT_AVAILABLE,
            ];
            if error.code().is_some_and(|code| in_the_way.contains(code)) {
                self.was_in_the_way.set(true);
            }
        })?)
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<Prepared<'_>> {
        let text = dialect::postgres(sql);
        let statement = self
            .handle
            .block_on(self.taken.prepared(&text))
            .map_err(Error::Store)?;
        Ok(Prepared {
            session: self,
            what: What::Statement(statement),
        })
    }

    pub(super) fn hot(&self, which: fn(&Statements) -> &Statement) -> Prepared<'_> {
        Prepared {
            session: self,
            what: What::Statement(which(self.taken.statements()).clone()),
        }
    }

    /// A cursor: `FETCH` gives its rows in steps.
    pub(super) fn declare(&self, sql: &str) -> Result<Prepared<'_>> {
        let number = self.cursors.replace(self.cursors.get() + 1);
        let name = format!("large_{number}");
        let text = dialect::postgres(sql);
        self.execute_batch(&format!("DECLARE {name} NO SCROLL CURSOR FOR {text}"))?;
        Ok(Prepared {
            session: self,
            what: What::Cursor(name),
        })
    }

    pub(crate) fn execute_batch(&self, sql: &str) -> Result<()> {
        self.wait(self.taken.client().batch_execute(sql))
    }
}

enum What {
    Statement(Statement),
    Cursor(String),
}

/// A statement, ready to be run.
pub(crate) struct Prepared<'c> {
    session: &'c Session,
    what: What,
}

impl Prepared<'_> {
    pub(super) fn execute(&self, values: &[Bound<'_>]) -> Result<usize> {
        let What::Statement(statement) = &self.what else {
            return Err(Error::NoRow);
        };
        let client = self.session.taken.client();
        let rows = self.session.wait(client.execute_raw(statement, values))?;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, values: &[Bound<'_>]) -> Result<Rows<'_>> {
        let session = self.session;
        let statement = match &self.what {
            What::Statement(statement) => statement,
            What::Cursor(name) => {
                return Ok(Rows {
                    here: Vec::new().into_iter(),
                    more: Some((session, name)),
                });
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> =
            values.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
        let rows = session.wait(session.taken.client().query(statement, &values))?;
        Ok(Rows {
            here: rows.into_iter(),
            more: None,
        })
    }
}

/// Rows that are here, and where there are more.
pub(crate) struct Rows<'s> {
    here: std::vec::IntoIter<Row>,
    more: Option<(&'s Session, &'s str)>,
}

impl Rows<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        if let Some(row) = self.here.next() {
            return Ok(Some(row));
        }
        let Some((session, cursor)) = self.more else {
            return Ok(None);
        };
        let fetch = format!("FETCH {STEP} FROM {cursor}");
        let rows = session.wait(session.taken.client().query(&fetch, &[]))?;
        if rows.len() < STEP {
            self.more = None;
        }
        self.here = rows.into_iter();
        Ok(self.here.next())
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (*self, ty) {
            (Bound::Null, _) => Ok(IsNull::Yes),
            (Bound::Integer(number), &Type::BOOL) => (number != 0).to_sql(ty, out),
            (Bound::Integer(number), &Type::INT2) => i16::try_from(number)?.to_sql(ty, out),
            (Bound::Integer(number), &Type::INT4) => i32::try_from(number)?.to_sql(ty, out),
            (Bound::Integer(number), &Type::INT8) => number.to_sql(ty, out),
            // It takes no U+0000, which no text of ours needs.
            (Bound::Text(text), &Type::TEXT | &Type::VARCHAR | &Type::NAME) => {
                if text.contains('\0') {
                    text.replace('\0', "").to_sql(ty, out)
                } else {
                    text.to_sql(ty, out)
                }
            }
            (Bound::Blob(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            (Bound::Array(array), ty) => array.to_sql_checked(ty, out),
            (value, ty) => Err(format!("{value:?} is no {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
