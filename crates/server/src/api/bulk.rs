//! Bulk actions: by filter, counted first, followed by their id.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::limits;
use tombola_core::ports::{BulkFilter, Operation, OperationState};

/// `POST /v1/awards/release`: the awards that match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    /// Which; an empty one matches all.
    pub filter: BulkFilter,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; goes into the operator log. Needed unless it only counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

/// `POST /v1/awards/cancel`: the awards that match.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkCancelBody {
    /// Which; an empty one matches all.
    pub filter: BulkFilter,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
    /// Give the units back to the stock, also where an effect may exist.
    #[serde(default)]
    pub return_stock: bool,
    /// Why; goes into the operator log. Needed unless it only counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::REASON_BYTES_MAX))]
    pub reason: Option<String>,
}

impl BulkCancelBody {
    /// What all bulk actions take.
    pub fn bulk(self) -> BulkBody {
        BulkBody {
            filter: self.filter,
            dry_run: self.dry_run,
            reason: self.reason,
        }
    }
}

/// What a bulk action would take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct BulkDoc {
    /// Only counted.
    pub dry_run: bool,
    /// Awards that match.
    pub matched: u64,
    /// Of them, those that would be left: an effect may exist and the word was not
    /// given.
    pub in_doubt: u64,
}

/// A bulk action under way or over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationDoc {
    /// Names it.
    pub id: i64,
    /// `requeue`, `cancel`, `release` or `erase`.
    #[schemars(extend("enum" = ["requeue", "cancel", "release", "erase"]))]
    pub action: String,
    /// Which awards it takes.
    pub filter: BulkFilter,
    /// Where it stands.
    pub state: OperationState,
    /// Awards that matched when it was asked for.
    pub matched: u64,
    /// Awards (of an erasure: draws) changed.
    pub done: u64,
    /// Awards left: an effect may exist and the word was not given.
    pub in_doubt: u64,
    /// Awards left: their state does not allow it by now.
    pub refused: u64,
    /// Who asked.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it took its last step.
    pub updated_at: Timestamp,
}

impl From<Operation> for OperationDoc {
    fn from(it: Operation) -> Self {
        Self {
            id: it.id,
            action: it.spec.action.name().to_owned(),
            filter: it.spec.filter,
            state: it.state,
            matched: it.spec.matched,
            done: it.done,
            in_doubt: it.in_doubt,
            refused: it.refused,
            by: it.by,
            reason: it.reason,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}
