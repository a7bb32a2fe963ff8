//! Typed ids. Draw and award ids are positive and below 2^53, so that every JSON
//! reader keeps them; they are unique, not dense and not in time order.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The largest id that a double holds without loss.
pub const ID_MAX: i64 = (1 << 53) - 1;

/// Names one draw. Reserved in blocks from the database, known before commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DrawId(pub i64);

/// Names one award; equal to the id of the draw that won it. `orderId` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AwardId(pub i64);

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
