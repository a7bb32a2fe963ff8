//! Users and their points.

use super::{Page, PointsEntry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a user may draw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserBlockDoc {
    /// Who.
    pub user: String,
    /// Whether an operator keeps the user from drawing.
    pub is_blocked: bool,
}

/// What a user has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointsDoc {
    /// Who.
    pub user: String,
    /// The sum of all entries that were not taken back.
    pub balance: i64,
    /// One page of them, newest first.
    pub entries: Page<PointsEntry>,
}

/// Points that were taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PointsReversedDoc {
    /// The award that had given them.
    pub award: i64,
    /// Whose they were.
    pub user: String,
    /// How many.
    pub points: i64,
    /// What is left to the user.
    pub balance: i64,
}
