//! Users and their points.

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
