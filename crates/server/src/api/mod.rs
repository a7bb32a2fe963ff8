//! What goes over the API: request and answer types, shared by the handlers and
//! by the commands, which are their clients. Answers that are facts read from the
//! database are the types of `store::read` themselves. Names here are promises;
//! fields are added freely and changed only with a decision note.

mod awards;
mod bulk;
mod campaigns;
mod doctor;
mod draws;
mod keys;
mod operations;
mod secrets;
mod users;

pub use awards::{
    ActionBody, AwardDoc, AwardQuery, AwardShown, CancelBody, ConfirmBody, ReasonBody,
    ShipmentBody, WinnerDoc,
};
pub use bulk::{BulkBody, BulkCancelBody, BulkDoc, OperationDoc};
pub use campaigns::{
    AppliedDoc, CampaignShow, ImportQuery, ImportedDoc, OddsDoc, OddsOf, StockBody, StockDoc,
    TransitionBody, TransitionDoc, WithdrawnDoc,
};
pub use doctor::{CheckState, DoctorDoc, Finding};
pub use draws::{AwardStub, DrawBody, DrawDoc, DrawQuery, DrawsDoc};
pub use keys::{KeyBody, KeyDoc, KeyMadeDoc, PlayerTokenBody, PlayerTokenDoc};
pub use operations::{
    AuditQuery, DeadLetterQuery, DismissedDoc, EndpointPutDoc, LogQuery, PauseBody, PauseDoc,
    ReadyDoc, RequeueBody, RequeuedDoc, VersionDoc,
};
pub use secrets::{SecretRotateBody, SecretRotatedDoc};
pub use tombola_core::ports::{Address, BulkFilter, DeadFilter, PauseScope};
pub use tombola_store::read::{
    AuditReport, AwardDetail, AwardFact, CampaignDetail, CampaignFact, CodeFact, DeadLetterFact,
    EndpointFact, KeptMessageFact, LogFact, Page, PageQuery, PointsFact, SealFact, TimelineEntry,
    UserCampaign, UserDetail, UserFact,
};
pub use users::{PointsReversedDoc, UserBlockDoc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tombola_core::{Timestamp, endpoint::parse_span};

/// A list that fits on one page.
pub fn whole<T>(items: Vec<T>) -> Page<T> {
    Page { items, next: None }
}

/// Reads `--since` and `?since=`: RFC 3339, or a span before `now` such as `2h`.
pub fn since(text: &str, now: Timestamp) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| parse_span(text).map(|span| now.minus(span)))
}

/// What an operator says that became of a call whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeWord {
    /// It had its effect.
    Delivered,
    /// It surely had none.
    NotDelivered,
}
