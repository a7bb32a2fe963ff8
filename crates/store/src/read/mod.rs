//! Reads for people: lists, timelines, statistics, the audit. They are not a port:
//! each runs on a connection that cannot write, sees one state of the database and
//! ends at its time-out. Lists have a limit and a cursor by key, never an offset.
//!
//! What they give are facts, ready to be shown as JSON under the names of the
//! contract. No secret of an endpoint and no address is among them; the text or
//! code of a delivered award is only in [`AwardDetail::content`], which
//! [`AwardDetail::masked`] hides.

mod allowance;
pub mod audit;
mod awards;
mod campaigns;
mod codes;
pub(crate) mod column;
mod dead_letters;
mod draws;
mod endpoints;
#[cfg(test)]
pub(crate) mod fixture;
mod gauges;
mod health;
mod log;
mod operations;
pub(crate) mod points;
mod seal;
#[cfg(test)]
mod tests;
mod timeline;
mod users;

pub use allowance::UserFact;
pub use audit::{AuditDepth, AuditReport, CampaignCount, Check};
pub use awards::{AwardFact, AwardFilter};
pub use campaigns::{CampaignDetail, CampaignFact, PrizeFact};
pub use codes::{CodeFact, ImportFact};
pub use dead_letters::{DeadLetterFact, DeadLetterFilter, KeptMessageFact};
pub use draws::{DrawFilter, DrawRow};
pub use endpoints::EndpointFact;
pub use gauges::{Gauges, StockLeft};
pub use health::{DatabaseFact, KeyFact, Need, PauseFact, PrizeNeed, WorkFact};
pub use log::{LogFact, LogFilter};
pub use points::{PointsEntry, PointsFact};
pub use seal::{SealFact, SealVersionFact};
pub use timeline::{AwardDetail, Shipment, TimelineEntry};
pub use users::{UserAwards, UserCampaign, UserDetail};

use serde::{Deserialize, Serialize};
use tombola_core::limits::{PAGE_DEFAULT, PAGE_MAX};

/// One page of a list, newest first unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(rename = "PageOf{T}")
)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Give this as `after` for the next page; null on the last one.
    pub next: Option<String>,
}

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// Where the page before ended; a cursor that is none of ours begins anew.
    pub after: Option<String>,
    /// Rows of the page.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = PAGE_MAX), extend("default" = PAGE_DEFAULT)))]
    pub limit: Option<usize>,
}

impl PageQuery {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }

    /// Rows to ask for: one more than shown tells whether there is a next page.
    fn rows(&self) -> i64 {
        i64::try_from(self.limit() + 1).unwrap_or(i64::MAX)
    }

    /// The id that the page before ended at; above all ids for the first page.
    fn below(&self) -> i64 {
        self.after
            .as_deref()
            .and_then(|after| after.parse().ok())
            .unwrap_or(i64::MAX)
    }

    /// Cuts the one row too many off and makes the cursor.
    fn page<T>(&self, mut items: Vec<T>, cursor: impl FnOnce(&T) -> String) -> Page<T> {
        let has_more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = items.last().filter(|_| has_more).map(cursor);
        Page { items, next }
    }
}
