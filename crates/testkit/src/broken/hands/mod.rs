//! Slips of the hand: rules that are sound, and one thing changed on its way into
//! or out of a port.

mod path;
mod people;
mod sloppy;

pub use sloppy::Sloppy;

use crate::ModelStore;
use tombola_core::Timestamp;
use tombola_core::adoption::Adoption;
use tombola_core::campaign::Approval;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    Actor, AdoptAnswer, ApiKey, BulkSpec, Copy, CopyAnswer, DrawAnswer, DrawBatch, DueLanes,
    DuePage, DueQuery, ImportFinished, KeptAnswer, KeptMessage, KeptRequest, NewSecret, Operation,
    PauseScope, Recorded, Resealed, Written,
};

type Slips = &'static [(&'static str, Hands)];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Hands)> {
    [path::ALL, people::ALL].into_iter().flatten().copied()
}

/// A call that is not made, although it is answered as if it were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omitted {
    BeginAlone,
    RevokeKey,
    CancelOperation,
    BlockUser,
    ReversePoints,
    WithdrawImport,
}

/// What goes in and what comes out, as it is or changed.
#[derive(Clone, Copy)]
pub struct Hands {
    ids: fn(IdBlock) -> IdBlock,
    draws: fn(DrawBatch) -> DrawBatch,
    drawn: fn(Vec<DrawAnswer>) -> Vec<DrawAnswer>,
    adoptions: fn(Vec<Adoption>) -> Vec<Adoption>,
    adopted: fn(Vec<AdoptAnswer>) -> Vec<AdoptAnswer>,
    written: fn(Vec<Written>) -> Vec<Written>,
    copies: fn(&ModelStore, Vec<Copy>) -> Vec<Copy>,
    copied: fn(Vec<CopyAnswer>) -> Vec<CopyAnswer>,
    recorded: fn(Vec<Recorded>) -> Vec<Recorded>,
    due: fn(DueQuery) -> DueQuery,
    page: fn(DuePage) -> DuePage,
    lanes: fn(DueLanes) -> DueLanes,
    kept: fn(Vec<KeptMessage>) -> Vec<KeptMessage>,
    omits: Option<Omitted>,
    cleanup: fn(Timestamp) -> Timestamp,
    bulk: fn(BulkSpec) -> BulkSpec,
    stepped: fn(Operation) -> Operation,
    running: fn(Vec<i64>) -> Vec<i64>,
    dismissed: fn(bool) -> bool,
    scope: fn(PauseScope) -> PauseScope,
    resumed: fn(bool) -> bool,
    ended: fn(u64) -> u64,
    skips_duplicates: fn(bool) -> bool,
    finished: fn(ImportFinished) -> ImportFinished,
    units: fn(i64) -> i64,
    endpoint: fn(EndpointSpec) -> EndpointSpec,
    secret: fn(NewSecret) -> NewSecret,
    ends: fn(Timestamp) -> Timestamp,
    enabled: fn(bool) -> bool,
    resealed: fn(Resealed) -> Resealed,
    key: fn(ApiKey) -> ApiKey,
    by: fn(Actor) -> Actor,
    approval: fn(Approval) -> Approval,
    kept_request: fn(KeptRequest) -> KeptRequest,
    /// Of the answer that stands and the one that came now.
    stands: fn(KeptAnswer, KeptAnswer) -> KeptAnswer,
}

/// Hands that change nothing.
const SOUND: Hands = Hands {
    ids: |it| it,
    draws: |it| it,
    drawn: |it| it,
    adoptions: |it| it,
    adopted: |it| it,
    written: |it| it,
    copies: |_, it| it,
    copied: |it| it,
    recorded: |it| it,
    due: |it| it,
    page: |it| it,
    lanes: |it| it,
    kept: |it| it,
    omits: None,
    cleanup: |it| it,
    bulk: |it| it,
    stepped: |it| it,
    running: |it| it,
    dismissed: |it| it,
    scope: |it| it,
    resumed: |it| it,
    ended: |it| it,
    skips_duplicates: |it| it,
    finished: |it| it,
    units: |it| it,
    endpoint: |it| it,
    secret: |it| it,
    ends: |it| it,
    enabled: |it| it,
    resealed: |it| it,
    key: |it| it,
    by: |it| it,
    approval: |it| it,
    kept_request: |it| it,
    stands: |stands, _| stands,
};

impl Default for Hands {
    fn default() -> Self {
        SOUND
    }
}
