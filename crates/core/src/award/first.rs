//! The row that is committed with the draw that won it. There is no other way to
//! write a win.

use super::{MqState, Row, State};
use crate::campaign::{Kind, Prize, Release};
use crate::ids::AwardId;
use crate::reason::HoldReason;
use crate::retry::Schedule;
use crate::time::Timestamp;

/// The row that is committed with the draw that won it.
pub fn first_row(
    award: AwardId,
    prize: &Prize,
    lane: i64,
    now: Timestamp,
    schedule: &Schedule,
    has_relay: bool,
) -> Row {
    let mut row = Row {
        award,
        kind: prize.kind(),
        lane,
        state: State::Pending,
        lease: 1,
        due_at: Some(if has_relay {
            now.plus(schedule.grace(0))
        } else {
            now
        }),
        attempts: 0,
        publishes: 0,
        in_doubt: prize.kind() == Kind::External,
        hold_reason: None,
        dead_reason: None,
        held_at: None,
        deferred_since: None,
        mq_state: MqState::NotSent,
        position: None,
    };
    let hold = match prize.release {
        Release::Manual => Some((HoldReason::Manual, now.plus(schedule.hold_review))),
        Release::At(at) if at > now => Some((HoldReason::Scheduled, at)),
        Release::At(_) | Release::Immediate => None,
    };
    if let Some((reason, due_at)) = hold {
        row.state = State::Held;
        row.hold_reason = Some(reason);
        row.held_at = Some(now);
        row.due_at = Some(due_at);
        row.in_doubt = false;
    }
    row
}
