//! Rows as arrays of columns, which is how a batch crosses the wire, and delivery
//! rows as they come back.

use super::error::{inconsistent, unreadable};
use super::session::Param;
use tombola_core::award::{MqState, Position, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::draw::{DrawRequest, NewDraw};
use tombola_core::ports::StoreResult;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// What the table writes of delivery rows, in the order of the statements.
#[derive(Default)]
pub(super) struct Rows {
    award: Vec<i64>,
    state: Vec<&'static str>,
    lease: Vec<i64>,
    due_at: Vec<Option<i64>>,
    attempts: Vec<i32>,
    publishes: Vec<i32>,
    in_doubt: Vec<bool>,
    hold_reason: Vec<Option<&'static str>>,
    dead_reason: Vec<Option<&'static str>>,
    held_at: Vec<Option<i64>>,
    deferred_since: Vec<Option<i64>>,
    mq_state: Vec<i16>,
    topic_epoch: Vec<Option<i64>>,
    partition: Vec<Option<i32>>,
    offset: Vec<Option<i64>>,
}

impl Rows {
    pub(super) fn push(&mut self, row: &Row) {
        let at = |at: Option<Timestamp>| at.map(|at| at.0);
        let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        self.award.push(row.award.0);
        self.state.push(row.state.name());
        self.lease.push(row.lease);
        self.due_at.push(at(row.due_at));
        self.attempts.push(count(row.attempts));
        self.publishes.push(count(row.publishes));
        self.in_doubt.push(row.in_doubt);
        self.hold_reason.push(row.hold_reason.map(HoldReason::name));
        self.dead_reason.push(row.dead_reason.map(DeadReason::name));
        self.held_at.push(at(row.held_at));
        self.deferred_since.push(at(row.deferred_since));
        self.mq_state.push(row.mq_state.code().into());
        self.topic_epoch.push(row.position.map(|it| it.epoch));
        self.partition.push(row.position.map(|it| it.partition));
        self.offset.push(row.position.map(|it| it.offset));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.award.is_empty()
    }

    /// The columns, and after them those that only one statement has.
    pub(super) fn params<'a>(&'a self, more: &[Param<'a>]) -> Vec<Param<'a>> {
        let mut params: Vec<Param<'_>> = vec![
            &self.award,
            &self.state,
            &self.lease,
            &self.due_at,
            &self.attempts,
            &self.publishes,
            &self.in_doubt,
            &self.hold_reason,
            &self.dead_reason,
            &self.held_at,
            &self.deferred_since,
            &self.mq_state,
            &self.topic_epoch,
            &self.partition,
            &self.offset,
        ];
        params.extend_from_slice(more);
        params
    }
}

/// New draws.
#[derive(Default)]
pub(super) struct Draws<'a> {
    id: Vec<i64>,
    user: Vec<&'a str>,
    client: Vec<&'a str>,
    prize_id: Vec<Option<i64>>,
    roll: Vec<i64>,
    unavailable: Vec<Option<&'a [u8]>>,
    claim_key: Vec<i32>,
    traceparent: Vec<Option<&'a str>>,
}

impl<'a> Draws<'a> {
    pub(super) fn push(&mut self, request: &'a DrawRequest, draw: &'a NewDraw, prize: Option<i64>) {
        self.id.push(draw.ticket.id.0);
        self.user.push(&request.user);
        self.client.push(&request.client);
        self.prize_id.push(prize);
        self.roll.push(draw.ticket.roll.to_bits_i64());
        self.unavailable.push(draw.unavailable.as_deref());
        self.claim_key.push(request.claim_key_version);
        self.traceparent.push(request.traceparent.as_deref());
    }

    /// What all of them share, and after it the columns.
    pub(super) fn params(&self, shared: [Param<'a>; 4]) -> [Param<'_>; 12] {
        let [campaign, version, drawn_at, day] = shared;
        [
            campaign,
            version,
            drawn_at,
            day,
            &self.id,
            &self.user,
            &self.client,
            &self.prize_id,
            &self.roll,
            &self.unavailable,
            &self.claim_key,
            &self.traceparent,
        ]
    }
}

/// A delivery row as it is kept, with the version that it was drawn by.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) row: Row,
    pub(super) prize_id: i64,
    pub(super) message_id: String,
    pub(super) delivery_key: String,
    pub(super) version: (i64, i32),
}

impl Stored {
    /// Reads the columns of `lock_copies`.
    pub(super) fn read(from: &tokio_postgres::Row) -> StoreResult<Self> {
        let at = |column: usize| Ok(from.try_get::<_, Option<i64>>(column)?.map(Timestamp));
        let count = |column: usize| Ok(u32::try_from(from.try_get::<_, i32>(column)?).unwrap_or(0));
        let read = || {
            let position = match from.try_get(14)? {
                None => None,
                Some(epoch) => Some(Position {
                    epoch,
                    partition: from.try_get(15)?,
                    offset: from.try_get(16)?,
                }),
            };
            Ok(Row {
                award: AwardId(from.try_get(0)?),
                kind: Kind::Text,
                lane: from.try_get(2)?,
                state: State::Pending,
                lease: from.try_get(4)?,
                due_at: at(5)?,
                attempts: count(6)?,
                publishes: count(7)?,
                in_doubt: from.try_get(8)?,
                hold_reason: None,
                dead_reason: None,
                held_at: at(11)?,
                deferred_since: at(12)?,
                mq_state: MqState::NotSent,
                position,
            })
        };
        let plain: Row = read().map_err(unreadable)?;
        let mq_state: i16 = from.try_get(13).map_err(unreadable)?;
        let mq_state = u8::try_from(mq_state).ok().and_then(MqState::from_code);
        Ok(Self {
            row: Row {
                kind: named(from, 1, Kind::parse)?.ok_or_else(|| missing(1))?,
                state: named(from, 3, State::parse)?.ok_or_else(|| missing(3))?,
                hold_reason: named(from, 9, HoldReason::parse)?,
                dead_reason: named(from, 10, DeadReason::parse)?,
                mq_state: mq_state.ok_or_else(|| missing(13))?,
                ..plain
            },
            prize_id: from.try_get(17).map_err(unreadable)?,
            message_id: from.try_get(18).map_err(unreadable)?,
            delivery_key: from.try_get(19).map_err(unreadable)?,
            version: (
                from.try_get(20).map_err(unreadable)?,
                from.try_get(21).map_err(unreadable)?,
            ),
        })
    }
}

fn missing(column: usize) -> tombola_core::ports::StoreError {
    inconsistent(format!(
        "column {column} of a delivery row holds no known name"
    ))
}

/// A member of a closed list by its name in that column, `None` for null.
fn named<T>(
    from: &tokio_postgres::Row,
    column: usize,
    parse: fn(&str) -> Option<T>,
) -> StoreResult<Option<T>> {
    let name: Option<&str> = from.try_get(column).map_err(unreadable)?;
    name.map(|name| parse(name).ok_or_else(|| missing(column)))
        .transpose()
}
