//! Reads for people: lists, timelines, statistics, the audit. They are not a port:
//! each runs on a connection that cannot write, sees one state of the database and
//! ends at its time-out. Lists are cut into pages by key (`page`), and a page reads
//! a bounded number of rows, whatever is asked for (`walk`).
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
mod page;
pub(crate) mod points;
mod seal;
#[cfg(test)]
mod tests;
mod timeline;
mod users;
mod walk;

pub use allowance::UserFact;
pub use audit::{AuditDepth, AuditReport, CampaignCount, Check};
pub use awards::{AwardFact, AwardFilter};
pub use campaigns::{CampaignDetail, CampaignFact, PrizeFact};
pub use codes::{CodeFact, ImportFact};
pub use dead_letters::{DeadLetterFact, DeadLetterFilter, KeptMessageFact, LetterReason};
pub use draws::{DrawFilter, DrawRow, Outcome};
pub use endpoints::EndpointFact;
pub use gauges::{Gauges, StockLeft};
pub(crate) use health::work_fact;
pub use health::{DatabaseFact, FileFact, KeyFact, Need, PauseFact, PrizeNeed, WorkFact};
pub use log::{LogFact, LogFilter};
pub use page::{Page, PageQuery, Place};
pub use points::{PointsEntry, PointsFact};
pub use seal::{SealFact, SealVersionFact};
pub use timeline::{AwardDetail, Shipment, TimelineEntry};
pub use users::{UserAwards, UserCampaign, UserDetail};
