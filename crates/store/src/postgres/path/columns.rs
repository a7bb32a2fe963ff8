//! Rows as arrays of columns, which is how a batch crosses the wire, and delivery
//! rows as they come back.

use super::super::error::{get, inconsistent};
use super::super::session::Param;
use tokio_postgres::Row;
use tombola_core::award::{self, MqState, Position, State};
use tombola_core::campaign::Kind;
use tombola_core::draw::{DrawRequest, NewDraw};
use tombola_core::ports::{StoreError, StoreResult};
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::{AwardId, Timestamp};

/// What the table writes of delivery rows, in the order of the statements.
#[derive(Default)]
pub(crate) struct Rows {
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
    pub(crate) fn push(&mut self, row: &award::Row) {
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
    pub(crate) fn params<'a>(&'a self, more: &[Param<'a>]) -> Vec<Param<'a>> {
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

/// A delivery row as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) row: award::Row,
    pub(super) prize_id: i64,
    pub(super) message_id: String,
    pub(super) delivery_key: String,
}

impl Stored {
    /// Reads the columns of `lock_rows`, and of `read_page`.
    pub(super) fn read(from: &Row) -> StoreResult<Self> {
        let at = |column| Ok(get::<Option<i64>>(from, column)?.map(Timestamp));
        let mq_state: i16 = get(from, 13)?;
        let mq_state = u8::try_from(mq_state).ok().and_then(MqState::from_code);
        let row = award::Row {
            award: AwardId(get(from, 0)?),
            kind: named(from, 1, Kind::parse)?.ok_or_else(|| odd(1))?,
            lane: get(from, 2)?,
            state: named(from, 3, State::parse)?.ok_or_else(|| odd(3))?,
            lease: get(from, 4)?,
            due_at: at(5)?,
            attempts: count(from, 6)?,
            publishes: count(from, 7)?,
            in_doubt: get(from, 8)?,
            hold_reason: named(from, 9, HoldReason::parse)?,
            dead_reason: named(from, 10, DeadReason::parse)?,
            held_at: at(11)?,
            deferred_since: at(12)?,
            mq_state: mq_state.ok_or_else(|| odd(13))?,
            position: position(from)?,
        };
        Ok(Self {
            row,
            prize_id: get(from, 17)?,
            message_id: get(from, 18)?,
            delivery_key: get(from, 19)?,
        })
    }
}

fn position(from: &Row) -> StoreResult<Option<Position>> {
    let Some(epoch) = get(from, 14)? else {
        return Ok(None);
    };
    Ok(Some(Position {
        epoch,
        partition: get(from, 15)?,
        offset: get(from, 16)?,
    }))
}

fn count(from: &Row, column: usize) -> StoreResult<u32> {
    u32::try_from(get::<i32>(from, column)?).map_err(|_| odd(column))
}

fn odd(column: usize) -> StoreError {
    inconsistent(format!(
        "column {column} of a delivery row holds what nobody wrote"
    ))
}

/// A member of a closed list by its name in that column, `None` for null.
fn named<T>(from: &Row, column: usize, parse: fn(&str) -> Option<T>) -> StoreResult<Option<T>> {
    let name: Option<&str> = get(from, column)?;
    name.map(|name| parse(name).ok_or_else(|| odd(column)))
        .transpose()
}
