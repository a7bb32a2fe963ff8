//! Typed ids. Draw and award ids are positive and below 2^53, so that every JSON
//! reader keeps them; they are unique, not dense and not in time order.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest id that a double holds without loss.
pub const ID_MAX: i64 = (1 << 53) - 1;

/// Names one draw. Reserved in blocks from the database, known before commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent)]
pub struct DrawId(#[cfg_attr(feature = "schema", schemars(range(min = 1, max = ID_MAX)))] pub i64);

/// Names one award; equal to the id of the draw that won it. `orderId` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent)]
pub struct AwardId(#[cfg_attr(feature = "schema", schemars(range(min = 1, max = ID_MAX)))] pub i64);

impl DrawId {
    /// The id of the award that this draw won, if it won one.
    pub const fn award(self) -> AwardId {
        AwardId(self.0)
    }
}

impl AwardId {
    /// The draw that won this award.
    pub const fn draw(self) -> DrawId {
        DrawId(self.0)
    }
}

impl fmt::Display for DrawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AwardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run of ids that one instance may use: `next` up to and not including `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdBlock {
    /// The next id to give out.
    pub next: i64,
    /// One past the last id of the block.
    pub end: i64,
}

impl IdBlock {
    /// Takes one id, or `None` when the block is used up.
    pub fn take(&mut self) -> Option<DrawId> {
        (self.next < self.end).then(|| {
            self.next += 1;
            DrawId(self.next - 1)
        })
    }

    /// How many ids are left.
    pub const fn left(&self) -> i64 {
        self.end - self.next
    }
}

/// Ids that a restore leaves out at least, above the next one of the backup.
const RESTORE_ROOM: i64 = 1 << 32;
/// 2025-01-01T00:00:00Z, in seconds: when the floor of restored ids was zero.
const RESTORE_EPOCH: i64 = 1_735_689_600;
/// How much the floor rises in a second: more than anybody draws in one.
const RESTORE_IDS_PER_SECOND: i64 = 1 << 22;

/// Where ids go on in a database that is restored at `now` from a backup that would
/// give out `next`; `None` when none are left (in 2093).
///
/// Ids given out after the backup was taken are unknown to it, and so are those
/// given out since an earlier restore of the same backup. So the floor follows the
/// clock, faster than ids can be used up; where the clock is wrong, the room above
/// the backup's own next id is still there.
pub fn after_restore(next: i64, now: Timestamp) -> Option<i64> {
    let seconds = now.0.div_euclid(1_000_000).saturating_sub(RESTORE_EPOCH);
    let floor = seconds.saturating_mul(RESTORE_IDS_PER_SECOND);
    let from = next.saturating_add(RESTORE_ROOM).max(floor);
    (from <= ID_MAX - RESTORE_ROOM).then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn second_restore_of_one_backup_gives_no_id_of_the_first_again() {
        let first = after_restore(5000, at("2026-03-01T03:00:00Z")).unwrap();
        let a_second_later = after_restore(5000, at("2026-03-01T03:00:01Z")).unwrap();
        assert!(
            a_second_later - first > 4_000_000,
            "more than a second's draws"
        );
    }

    #[test]
    fn restore_leaves_room_above_the_backup_whatever_the_clock_says() {
        for now in ["1970-01-01T00:00:00Z", "2026-03-01T03:00:00Z"] {
            for next in [1, 1 << 40, 1 << 50] {
                let from = after_restore(next, at(now)).unwrap();
                assert!(from - next >= 1 << 32, "{now} {next}: {from}");
            }
        }
    }

    #[test]
    fn ids_stay_below_those_that_a_double_holds_and_end_with_a_word() {
        let from = after_restore(1, at("2092-12-31T00:00:00Z")).unwrap();
        assert!(from < ID_MAX);
        assert_eq!(after_restore(1, at("2094-01-01T00:00:00Z")), None);
        assert_eq!(after_restore(ID_MAX, at("2026-03-01T00:00:00Z")), None);
    }
}
