//! What stands still while awards move: campaigns, stock, endpoints, codes, keys.

use super::{KeptAnswer, KeptRequest, RequestKey, StoreResult};
use crate::campaign::{Approval, CampaignFile, CampaignState, Transition};
use crate::endpoint::{Endpoint, EndpointSpec};
use crate::time::Timestamp;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Who asks for a change; goes into the operator log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The client name of the key, or `local` over the socket.
    pub name: String,
    /// Why, where a reason was given.
    pub reason: Option<String>,
    /// The key of the request, if it has one: the store keeps it with the effect. A
    /// call whose key is kept changes nothing and answers as the first did; with
    /// another fingerprint it is `StoreError::KeyReused`.
    pub request: Option<RequestKey>,
}

impl Actor {
    /// The same, for one of several changes that one request asks for: each has a key
    /// of its own.
    #[must_use]
    pub fn for_part(&self, part: impl std::fmt::Display) -> Self {
        let mut by = self.clone();
        if let Some(request) = &mut by.request {
            request.operation = format!("{} {part}", request.operation);
        }
        by
    }

    /// Someone without a reason and without a request key.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: None,
            request: None,
        }
    }
}

/// What `put_campaign` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutCampaign {
    /// A new version stands in draft.
    Applied { version: i32, is_new: bool },
    /// The newest version says the same.
    Unchanged { version: i32 },
    /// Another kind under a slug that was used before: the prize's slug.
    KindChanged { prize: String },
    /// The newest version is neither in draft nor refused nor in force.
    NotEditable { state: CampaignState },
}

/// What a transition did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transitioned {
    /// The campaign, or its newest version, stands here now.
    Moved { state: CampaignState, version: i32 },
    /// The command is not allowed in this state.
    NotAllowed { state: CampaignState },
    /// It was submitted by the one who wants to approve it, and a second person has to.
    SamePerson,
    /// It cannot start: what is missing, each with its mend.
    NotReady { problems: Vec<String> },
    /// No such campaign.
    NotFound,
}

/// What a change of stock did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockChanged {
    /// Stock in all and units left now.
    Changed { stock: u64, left: u64 },
    /// More would be taken than is left.
    NotEnough { left: u64 },
    /// The prize has no stock to change: it is unlimited.
    Unlimited,
    /// No such campaign or prize.
    NotFound,
}

/// What `put_endpoint` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutEndpoint {
    /// It is so now.
    Put(Endpoint),
    /// It brings another secret, and no more can sign now.
    SecretsFull {
        /// When the first of them ends.
        ends_at: Timestamp,
    },
}

impl PutEndpoint {
    /// The endpoint, if it was put.
    pub fn endpoint(self) -> Option<Endpoint> {
        match self {
            Self::Put(endpoint) => Some(endpoint),
            Self::SecretsFull { .. } => None,
        }
    }
}

/// A secret that takes its place in front of those of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// `whsec_…`
    pub text: String,
    /// SHA-256 of it, by which a repetition of the request knows it again.
    pub hash: [u8; 32],
    /// How long those before it still sign.
    pub overlap: Duration,
}

/// What a rotation of an endpoint's secret did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretRotated {
    /// The new one signs.
    Rotated {
        /// SHA-256 of it.
        hash: [u8; 32],
        /// Until when those before it sign as well, the newest of them first.
        older_end_at: Vec<Timestamp>,
    },
    /// No more can sign now.
    SecretsFull {
        /// When the first of them ends.
        ends_at: Timestamp,
    },
    /// No such endpoint.
    NotFound,
}

/// An import of codes; its rows are invisible until it is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImportId(pub i64);

/// What the beginning of an import says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportBegun {
    /// Add codes under this id.
    Begun(ImportId),
    /// No such campaign or prize, or the prize is of another kind.
    NotFound,
}

/// What a step of an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodesAdded {
    /// All of them are in; so many were there before and were skipped.
    Added { added: usize, skipped: usize },
    /// This member of the step (from 0) is in the campaign already; nothing of the
    /// step was written.
    Duplicate { index: usize },
}

/// An import that is visible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportFinished {
    /// Which.
    pub import: ImportId,
    /// Its codes.
    pub codes: u64,
    /// Codes of the file that were there before.
    pub skipped: u64,
}

/// What a step of sealing rows anew did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that are sealed under the newest version now and were not before.
    pub rows: u64,
    /// Nothing is left to do: no row is older, but those that do not open.
    pub is_done: bool,
}

/// A key of the API as it is kept: hashed, never in clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names the key in lists; not secret.
    pub id: i64,
    /// Scope of request keys; several keys may share it.
    pub client: String,
    /// What it may do.
    pub role: Role,
    /// The campaigns that it may speak of; empty: all.
    pub campaigns: Vec<String>,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

crate::names::names! {
    /// What a key may do.
    Role {
        /// Draw; see what it drew.
        Client = "client",
        /// Read and confirm awards of kind `external`, nothing else.
        Deliverer = "deliverer",
        /// Operate.
        Operator = "operator",
        /// Read only.
        Auditor = "auditor",
        /// All that the others may.
        Admin = "admin",
    }
}

/// What stands still while awards move.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// The database's own uuid: `origin` of every message.
    async fn origin(&self) -> StoreResult<String>;

    /// Puts a checked campaign file in as a new version in draft.
    async fn put_campaign(
        &self,
        file: CampaignFile,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutCampaign>;

    /// Moves a campaign, or its newest version where one stands beside the version
    /// in force. Start checks everything: codes, endpoints, stock.
    async fn transition(
        &self,
        campaign: &str,
        command: Transition,
        approval: Approval,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<Transitioned>;

    /// Adds to or takes from a prize's stock, in force at once.
    async fn change_stock(
        &self,
        campaign: &str,
        prize: &str,
        by_units: i64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<StockChanged>;

    /// Makes or replaces an endpoint; its lane and state stay. `new_secret` is used
    /// where the spec brings none and none is kept. Where it brings another secret,
    /// the one before signs beside it for `limits::SECRET_OVERLAP`.
    async fn put_endpoint(
        &self,
        spec: EndpointSpec,
        new_secret: String,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<PutEndpoint>;

    /// Puts a new secret in front of those of an endpoint.
    async fn rotate_secret(
        &self,
        endpoint: &str,
        secret: NewSecret,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<SecretRotated>;

    /// Deletes what is kept of secrets whose time to sign is over, of at most
    /// `limits::STEP_ROWS_MAX` endpoints; gives their number.
    async fn end_secrets(&self, now: Timestamp) -> StoreResult<u64>;

    /// All endpoints, with their secrets: for the engine.
    async fn endpoints(&self) -> StoreResult<Vec<Endpoint>>;

    /// Enables or disables an endpoint; `false` if there is none of that lane.
    async fn enable_endpoint(
        &self,
        lane: i64,
        is_enabled: bool,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Begins an import of codes.
    async fn begin_import(
        &self,
        campaign: &str,
        prize: &str,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportBegun>;

    /// Adds one step of codes, at most `limits::STEP_ROWS_MAX`.
    async fn add_codes(
        &self,
        import: ImportId,
        codes: Vec<String>,
        skip_duplicates: bool,
    ) -> StoreResult<CodesAdded>;

    /// Makes an import visible in one update. `skipped` is what `add_codes` skipped.
    async fn finish_import(
        &self,
        import: ImportId,
        skipped: u64,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<ImportFinished>;

    /// Takes an import of codes back: no more of them are given, those that were stay
    /// with their awards. Its rows are removed by `remove_import`. `false` if the prize
    /// has no finished import of that id.
    async fn withdraw_import(
        &self,
        campaign: &str,
        prize: &str,
        import: ImportId,
        by: Actor,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Removes one step of an import that failed, or, with `None`, of any import
    /// that was left unfinished by a dead process; `true` when nothing is left.
    async fn remove_import(&self, import: Option<ImportId>) -> StoreResult<bool>;

    /// Seals at most `limits::STEP_ROWS_MAX` rows under the newest version of the
    /// secret that are plain or under an older one. It goes on where the step before
    /// ended, also after a restart.
    async fn reseal_step(&self) -> StoreResult<Resealed>;

    /// Keeps a new key; its `id` is given by the store.
    async fn put_key(&self, key: ApiKey, by: Actor) -> StoreResult<ApiKey>;

    /// All keys, revoked and expired ones too.
    async fn keys(&self) -> StoreResult<Vec<ApiKey>>;

    /// Revokes a key at once; `false` if there is none of that id.
    async fn revoke_key(&self, id: i64, by: Actor, now: Timestamp) -> StoreResult<bool>;

    /// What is kept under the request's client, operation and key, if anything is:
    /// the effect of the first request is durable then.
    async fn kept_request(&self, request: &RequestKey) -> StoreResult<Option<KeptRequest>>;

    /// Keeps the answer of a request before it goes out; gives the one that stands,
    /// which is the first. A request that had no effect in the store is kept by this
    /// alone.
    async fn keep_answer(
        &self,
        request: RequestKey,
        answer: KeptAnswer,
        now: Timestamp,
    ) -> StoreResult<KeptAnswer>;

    /// Removes one bounded step of what is older than its retention; gives the
    /// number of rows removed.
    async fn cleanup(&self, before: Timestamp) -> StoreResult<u64>;
}
