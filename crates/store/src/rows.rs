//! The delivery row: how it is read, and the one way to write what the table says.
//!
//! [`apply`] is guarded by lease and state, sets the instant of the end, gives
//! stock back where the table says so and adds the line to the award's log.
//!
//! [`load_all`] and [`apply_all`] do the same for many rows, on PostgreSQL by a few
//! statements for all of them.

mod far;

use crate::sql::{self, Connection, OptionalExtension as _, params};
use crate::sql::{OrStoreError as _, inconsistent};
use tombola_core::AwardId;
use tombola_core::award::{Change, MqState, Position, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::{StoreResult, Written};
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::time::Timestamp;

/// The columns that [`Stored::read`] reads, in its order.
macro_rules! columns {
    () => {
        "award_id, kind, lane, state, lease, due_at, attempts, publishes, in_doubt, hold_reason, \
         dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition, \"offset\", \
         prize_id, message_id, delivery_key"
    };
}
pub(crate) use columns;

/// A delivery row as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// What the table speaks of.
    pub(crate) row: Row,
    /// Which prize was won.
    pub(crate) prize_id: i64,
    /// Names its message.
    pub(crate) message_id: String,
    /// Given to the endpoint on every attempt.
    pub(crate) delivery_key: String,
}

impl Stored {
    /// Reads [`columns`].
    pub(crate) fn read(row: &sql::Row<'_>) -> StoreResult<Self> {
        let get = || -> sql::Result<_> {
            let position = match row.get::<_, Option<i64>>(14)? {
                None => None,
                Some(epoch) => Some(Position {
                    epoch,
                    partition: row.get(15)?,
                    offset: row.get(16)?,
                }),
            };
            Ok((
                position,
                row.get(0)?,
                row.get(4)?,
                row.get(6)?,
                row.get(7)?,
                row.get(8)?,
            ))
        };
        let (position, award, lease, attempts, publishes, in_doubt) = get().or_store()?;
        let at = |column| Ok(row.get::<_, Option<i64>>(column).or_store()?.map(Timestamp));
        Ok(Self {
            row: Row {
                award: AwardId(award),
                kind: name(row, 1, Kind::parse)?.ok_or_else(|| missing(row, 1))?,
                lane: row.get(2).or_store()?,
                state: name(row, 3, State::parse)?.ok_or_else(|| missing(row, 3))?,
                lease,
                due_at: at(5)?,
                attempts,
                publishes,
                in_doubt,
                hold_reason: name(row, 9, HoldReason::parse)?,
                dead_reason: name(row, 10, DeadReason::parse)?,
                held_at: at(11)?,
                deferred_since: at(12)?,
                mq_state: MqState::from_code(row.get(13).or_store()?)
                    .ok_or_else(|| missing(row, 13))?,
                position,
            },
            prize_id: row.get(17).or_store()?,
            message_id: row.get(18).or_store()?,
            delivery_key: row.get(19).or_store()?,
        })
    }
}

/// A member of a closed list, by its name in that column; `None` for null.
pub(crate) fn name<T>(
    row: &sql::Row<'_>,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> StoreResult<Option<T>> {
    let text = row.text_or_null(column).or_store()?;
    text.map(|text| parse(text).ok_or_else(|| inconsistent(format!("nothing is called {text}"))))
        .transpose()
}

fn missing(row: &sql::Row<'_>, column: usize) -> tombola_core::ports::StoreError {
    let text = row.text_or_null(column).ok().flatten();
    inconsistent(format!("column {column} of a delivery row: {text:?}"))
}

/// The row of an award, to be changed by this transaction; `None` if there is none.
pub(crate) fn load(conn: &Connection, award: AwardId) -> StoreResult<Option<Stored>> {
    let select = concat!("SELECT ", columns!(), " FROM delivery WHERE award_id = ?1");
    let locking = concat!(
        "SELECT ",
        columns!(),
        " FROM delivery WHERE award_id = ?1 FOR NO KEY UPDATE"
    );
    conn.prepare_cached(conn.either(select, locking))
        .and_then(|mut it| {
            it.query_row([award.0], |row| Ok(Stored::read(row)))
                .optional()
        })
        .or_store()?
        .transpose()
}

/// The rows of these awards, to be changed by this transaction; those that are not there
/// are left out.
pub(crate) fn load_all(conn: &Connection, awards: &[AwardId]) -> StoreResult<Vec<Stored>> {
    if conn.is_far() {
        return far::load(conn, awards);
    }
    let rows = awards.iter().map(|award| load(conn, *award));
    rows.filter_map(Result::transpose).collect()
}

/// What a line of an award's log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Publish,
    Deliver,
    Rescue,
    Operator,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Deliver => "deliver",
            Self::Rescue => "rescue",
            Self::Operator => "operator",
        }
    }
}

/// One line of an award's log. A late one has `late` before its detail: its
/// decision came too late to change the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) what: What,
    /// The lease that its writer acted under.
    pub(crate) lease: i64,
    pub(crate) decision: &'a str,
    pub(crate) is_late: bool,
    /// Error, receipt or reason; no secret.
    pub(crate) detail: Option<&'a str>,
}

impl<'a> Line<'a> {
    /// A line of a write that took effect.
    pub(crate) const fn new(what: What, lease: i64, decision: &'a str) -> Self {
        Self {
            what,
            lease,
            decision,
            is_late: false,
            detail: None,
        }
    }

    /// The same with a detail.
    #[must_use]
    pub(crate) const fn with(self, detail: Option<&'a str>) -> Self {
        Self { detail, ..self }
    }

    /// The same, for a write that came too late.
    #[must_use]
    pub(crate) const fn late(self) -> Self {
        Self {
            is_late: true,
            ..self
        }
    }

    /// Adds the line; `row` is the award's row as it stands after it.
    pub(crate) fn write(&self, conn: &Connection, row: &Row, now: Timestamp) -> StoreResult<()> {
        let late = match self.detail {
            Some(detail) if self.is_late => Some(format!("late: {detail}")),
            None if self.is_late => Some("late".to_owned()),
            Some(_) | None => None,
        };
        conn.prepare_cached(
            "INSERT INTO attempt (award_id, n, at, what, lease, decision, state, due_at, detail)
             VALUES (?1, (SELECT COALESCE(MAX(n), 0) + 1 FROM attempt WHERE award_id = ?1),
                     ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut it| {
            it.execute(params![
                row.award.0,
                now.0,
                self.what.name(),
                self.lease,
                self.decision,
                row.state.name(),
                row.due_at.map(|at| at.0),
                late.as_deref().or(self.detail),
            ])
        })
        .map(drop)
        .or_store()
    }
}

/// What the table made of a row, to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    /// The row as it was read in this transaction.
    pub(crate) before: &'a Stored,
    /// What the table made of it, be it in one step or in several.
    pub(crate) change: &'a Change,
    /// The instant of the batch.
    pub(crate) now: Timestamp,
    /// Who, for the log of a unit that goes back to the stock.
    pub(crate) by: &'a str,
    /// What the award's log says of it.
    pub(crate) line: Option<Line<'a>>,
}

/// Writes what the table says; `Late` if the row has moved on since it was read.
pub(crate) fn apply(conn: &Connection, write: Write<'_>) -> StoreResult<Written> {
    if !update(conn, write)? {
        if let Some(line) = write.line {
            line.late().write(conn, &write.before.row, write.now)?;
        }
        return Ok(Written::Late);
    }
    if write.change.stock_back {
        give_stock_back(conn, write)?;
    }
    if let Some(line) = write.line {
        line.write(conn, &write.change.row, write.now)?;
    }
    Ok(Written::Applied)
}

/// Writes what the table says of many rows that this transaction loaded, each of them
/// once and all at one instant.
pub(crate) fn apply_all(conn: &Connection, writes: &[Write<'_>]) -> StoreResult<()> {
    if conn.is_far() {
        return far::apply(conn, writes);
    }
    for write in writes {
        if apply(conn, *write)? == Written::Late {
            return Err(inconsistent(format!(
                "award {} changed within one transaction",
                write.before.row.award
            )));
        }
    }
    Ok(())
}

fn update(conn: &Connection, write: Write<'_>) -> StoreResult<bool> {
    let (before, row) = (&write.before.row, &write.change.row);
    let at = |at: Option<Timestamp>| at.map(|at| at.0);
    let rows = conn
        .prepare_cached(
            "UPDATE delivery SET state = ?4, lease = ?5, due_at = ?6, attempts = ?7, publishes = ?8,
               in_doubt = ?9, hold_reason = ?10, dead_reason = ?11, held_at = ?12,
               deferred_since = ?13, mq_state = ?14, topic_epoch = ?15, partition = ?16,
               \"offset\" = ?17, ended_at = ?18
             WHERE award_id = ?1 AND lease = ?2 AND state = ?3",
        )
        .and_then(|mut it| {
            it.execute(params![
                before.award.0,
                before.lease,
                before.state.name(),
                row.state.name(),
                row.lease,
                at(row.due_at),
                row.attempts,
                row.publishes,
                row.in_doubt,
                row.hold_reason.map(HoldReason::name),
                row.dead_reason.map(DeadReason::name),
                at(row.held_at),
                at(row.deferred_since),
                row.mq_state.code(),
                row.position.map(|it| it.epoch),
                row.position.map(|it| it.partition),
                row.position.map(|it| it.offset),
                row.state.is_final().then_some(write.now.0),
            ])
        })
        .or_store()?;
    Ok(rows == 1)
}

/// Lowers what was given of the prize, and writes the entry by which an audit can
/// tell units that came back. A daily cap stays used up: the day's units were won.
fn give_stock_back(conn: &Connection, write: Write<'_>) -> StoreResult<()> {
    let before = write.before;
    let rows = conn
        .prepare_cached(conn.either(
            "UPDATE prize SET spent = spent - 1 WHERE id = ?1 AND spent > 0",
            "UPDATE prize SET spent_besides = spent_besides - 1
             WHERE id = ?1 AND (SELECT spent FROM prize_count WHERE prize_id = ?1) > 0",
        ))
        .and_then(|mut it| it.execute([before.prize_id]))
        .or_store()?;
    if rows != 1 {
        return Err(inconsistent(format!(
            "award {} spent no unit of its prize",
            before.row.award
        )));
    }
    conn.prepare_cached(
        "INSERT INTO operator_log (at, actor, action, subject, award_id, units, reason)
         SELECT ?1, ?2, 'stock_back', campaign.slug || '/' || prize.slug, ?3, 1, ?4
         FROM prize JOIN campaign ON campaign.id = prize.campaign_id WHERE prize.id = ?5",
    )
    .and_then(|mut it| {
        it.execute(params![
            write.now.0,
            write.by,
            before.row.award.0,
            write.change.row.state.name(),
            before.prize_id,
        ])
    })
    .map(drop)
    .or_store()
}
