//! Who calls, and what a key may do. Keys are kept hashed; the ring in memory is
//! read on every request and refreshed at once when a key is made or revoked.

use super::error::{ApiError, Code};
use super::replay::derived;
use crate::claim::{self, ClaimKeys};
use crate::player::{self, Player};
use crate::random;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tombola_core::ports::{Actor, ApiKey, RequestKey, Role};
use tombola_core::{AwardId, Timestamp};

/// What every API key begins with.
pub const KEY_PREFIX: &str = "tmb_";
/// Who acts over the socket of the data directory.
pub const LOCAL: &str = "local";

/// Who somebody is, by what they show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A command on this machine, over the socket or in process: an admin.
    Local,
    /// A program with a key.
    Key(Arc<KeyHolder>),
    /// A winner with a claim token, for this award only.
    Winner(AwardId),
    /// A player with a token, for one campaign and one user, and its scope.
    Player(Arc<Player>, Arc<str>),
    /// Nobody said.
    Nobody,
}

/// A program with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// Names the key; not secret.
    pub id: i64,
    /// Scope of its request keys.
    pub client: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// The campaigns that it may speak of; empty: all.
    pub campaigns: Vec<String>,
}

/// Who calls, and the request key of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    who: Who,
    /// Kept by the store with the effect of the call.
    request: Option<Arc<RequestKey>>,
}

impl Who {
    /// The role; winners, players and nobody have none.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Local => Some(Role::Admin),
            Self::Key(key) => Some(key.role),
            Self::Winner(_) | Self::Player(..) | Self::Nobody => None,
        }
    }

    /// The client name: scope of request keys, and who saw what it drew. A player's
    /// begins with the client that made its token.
    pub fn client(&self) -> Arc<str> {
        match self {
            Self::Local | Self::Nobody => LOCAL.into(),
            Self::Key(key) => Arc::clone(&key.client),
            Self::Winner(award) => format!("winner:{award}").into(),
            Self::Player(_, scope) => Arc::clone(scope),
        }
    }

    /// The campaigns that it may speak of; empty: all.
    fn campaigns(&self) -> &[String] {
        match self {
            Self::Key(key) => &key.campaigns,
            Self::Player(player, _) => std::slice::from_ref(&player.campaign),
            Self::Local | Self::Winner(_) | Self::Nobody => &[],
        }
    }
}

impl Caller {
    /// Without a request key.
    pub(super) fn new(who: Who) -> Self {
        Self { who, request: None }
    }

    /// With one.
    pub(super) fn with_request(who: Who, request: RequestKey) -> Self {
        Self {
            who,
            request: Some(Arc::new(request)),
        }
    }

    /// Who it is.
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }

    /// The role; winners, players and nobody have none.
    pub(crate) fn role(&self) -> Option<Role> {
        self.who.role()
    }

    /// The client name.
    pub(crate) fn client(&self) -> Arc<str> {
        self.who.client()
    }

    /// The request key of the call, if it has one.
    pub(super) fn request(&self) -> Option<&RequestKey> {
        self.request.as_deref()
    }

    /// The same for the operator log, with the request key that the store keeps.
    pub(crate) fn actor(&self, reason: Option<String>) -> Actor {
        Actor {
            name: self.client().to_string(),
            reason,
            request: self.request.as_deref().cloned(),
        }
    }

    /// Whether what was drawn by `client` is its own: it drew, or a player with a
    /// token that it made.
    pub(crate) fn has_drawn(&self, client: &str) -> bool {
        let own = self.client();
        client
            .strip_prefix(&*own)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether it may speak of that campaign.
    pub(crate) fn speaks_of(&self, campaign: &str) -> bool {
        let campaigns = self.who.campaigns();
        campaigns.is_empty() || campaigns.iter().any(|it| it == campaign)
    }

    /// Lets a call about `campaign`, or about all, pass, or says why not.
    pub(crate) fn check_campaign(&self, campaign: Option<&str>) -> Result<(), ApiError> {
        let campaigns = self.who.campaigns();
        let is_let_in = match campaign {
            Some(campaign) => self.speaks_of(campaign),
            None => campaigns.is_empty(),
        };
        if is_let_in {
            return Ok(());
        }
        let of = campaigns.join(", ");
        Err(ApiError::new(
            Code::Forbidden,
            format!("it is for these campaigns only: {of}; name one of them"),
        ))
    }
}

/// What a route asks of its caller. Admin may all that a role may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// No key is needed.
    pub is_public: bool,
    /// A claim token is enough; the handler checks the award.
    pub takes_claim_token: bool,
    /// A player's token is enough; the handler checks user and campaign.
    pub takes_player_token: bool,
    /// These roles, and admin.
    pub roles: &'static [Role],
}

impl Access {
    /// No key is needed.
    pub const PUBLIC: Self = Self {
        is_public: true,
        takes_claim_token: false,
        takes_player_token: false,
        roles: &[],
    };

    /// These roles, and admin.
    pub const fn of(roles: &'static [Role]) -> Self {
        Self {
            is_public: false,
            takes_claim_token: false,
            takes_player_token: false,
            roles,
        }
    }

    /// These roles, admin, and players.
    pub const fn or_player(roles: &'static [Role]) -> Self {
        Self {
            takes_player_token: true,
            ..Self::of(roles)
        }
    }

    /// These roles, admin, the player, and whoever has the award's claim token.
    pub const fn or_winner(roles: &'static [Role]) -> Self {
        Self {
            takes_claim_token: true,
            ..Self::or_player(roles)
        }
    }

    /// Lets the caller in, or says why not.
    pub fn check(&self, who: &Who) -> Result<(), ApiError> {
        let has_role = |role| role == Role::Admin || self.roles.contains(&role);
        let is_let_in = match who {
            _ if self.is_public => true,
            Who::Winner(_) => self.takes_claim_token,
            Who::Player(..) => self.takes_player_token,
            Who::Local | Who::Key(_) | Who::Nobody => who.role().is_some_and(has_role),
        };
        match who {
            _ if is_let_in => Ok(()),
            Who::Nobody => Err(Code::Unauthorized.into()),
            Who::Local | Who::Key(_) | Who::Winner(_) | Who::Player(..) => {
                Err(Code::Forbidden.into())
            }
        }
    }
}

/// A new key in clear: shown once, kept only as its hash.
pub fn new_key() -> String {
    key_of(&random::bytes::<32>())
}

/// Keys in clear that a request is answered with: a function of the request and of
/// the secret, so that a repetition shows the same key and nothing of it is kept.
/// One for each version of the secret, the newest first.
pub(super) fn keys_for(claims: &ClaimKeys, request: &RequestKey) -> Vec<String> {
    let derived = derived(claims, "tombola api key", request);
    derived.iter().map(key_of).collect()
}

fn key_of(bytes: &[u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a key.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A key that was not revoked.
#[derive(Debug)]
struct GoodKey {
    holder: Arc<KeyHolder>,
    expires_at: Option<Timestamp>,
}

impl From<ApiKey> for GoodKey {
    fn from(key: ApiKey) -> Self {
        Self {
            expires_at: key.expires_at,
            holder: Arc::new(KeyHolder {
                id: key.id,
                client: key.client.into(),
                role: key.role,
                campaigns: key.campaigns,
            }),
        }
    }
}

/// The keys that are good, by hash.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: RwLock<Arc<HashMap<[u8; 32], GoodKey>>>,
}

impl KeyRing {
    /// Takes these keys as all there are.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        let fresh = keys
            .into_iter()
            .filter(|key| key.revoked_at.is_none())
            .map(|key| (key.hash, GoodKey::from(key)))
            .collect();
        *self.by_hash.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
    }

    /// Who the bearer of `key` is at `now`.
    pub fn bearer(&self, key: &str, now: Timestamp) -> Option<Who> {
        let keys = Arc::clone(&self.by_hash.read().unwrap_or_else(PoisonError::into_inner));
        let found = keys.get(&hash(key))?;
        let is_good = found.expires_at.is_none_or(|end| now < end);
        is_good.then(|| Who::Key(Arc::clone(&found.holder)))
    }
}

/// Who it is, by the header; a wrong key is an error even where none is needed.
pub(super) fn identify(
    headers: &HeaderMap,
    keys: &KeyRing,
    claims: &ClaimKeys,
    now: Timestamp,
) -> Result<Who, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(Who::Nobody);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let who = token.and_then(|token| {
        if token.starts_with(claim::PREFIX) {
            claims.read(token, now).map(Who::Winner)
        } else if token.starts_with(player::PREFIX) {
            let player = player::read(claims, token, now)?;
            let scope = player.scope(claims);
            Some(Who::Player(Arc::new(player), scope.into()))
        } else {
            keys.bearer(token, now)
        }
    });
    who.ok_or_else(|| Code::Unauthorized.into())
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Code::Unauthorized.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, expires_at: Option<Timestamp>, revoked_at: Option<Timestamp>) -> ApiKey {
        ApiKey {
            id: 1,
            client: "shop".into(),
            role: Role::Client,
            campaigns: Vec::new(),
            hash: hash(text),
            created_at: Timestamp(0),
            expires_at,
            revoked_at,
        }
    }

    #[test]
    fn revoked_and_expired_keys_are_nobody() {
        let ring = KeyRing::default();
        ring.replace(vec![
            key("good", None, None),
            key("late", Some(Timestamp(10)), None),
            key("gone", None, Some(Timestamp(1))),
        ]);
        assert!(ring.bearer("good", Timestamp(99)).is_some());
        assert!(ring.bearer("late", Timestamp(9)).is_some());
        assert_eq!(ring.bearer("late", Timestamp(10)), None);
        assert_eq!(ring.bearer("gone", Timestamp(0)), None);
        assert_eq!(ring.bearer("other", Timestamp(0)), None);
    }

    #[test]
    fn new_keys_differ() {
        assert_ne!(new_key(), new_key());
        assert!(new_key().starts_with(KEY_PREFIX));
    }
}
