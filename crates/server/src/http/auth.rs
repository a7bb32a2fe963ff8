//! Who calls, and what a key may do. Keys are kept hashed; the ring in memory is
//! read on every request and refreshed at once when a key is made or revoked.

use super::error::{ApiError, Code};
use crate::claim::{self, ClaimKeys};
use crate::random;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tombola_core::ports::{Actor, ApiKey, Role};
use tombola_core::{AwardId, Timestamp};

/// What every API key begins with.
pub const KEY_PREFIX: &str = "tmb_";
/// Who acts over the socket of the data directory.
pub const LOCAL: &str = "local";

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A command on this machine, over the socket or in process: an admin.
    Local,
    /// A program with a key.
    Key {
        /// Scope of its request keys.
        client: Arc<str>,
        /// What it may do.
        role: Role,
    },
    /// A winner with a claim token, for this award only.
    Winner(AwardId),
    /// Nobody said.
    Nobody,
}

impl Caller {
    /// The role; a winner and nobody have none.
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Local => Some(Role::Admin),
            Self::Key { role, .. } => Some(*role),
            Self::Winner(_) | Self::Nobody => None,
        }
    }

    /// The client name: scope of request keys, and who saw what it drew.
    pub fn client(&self) -> Arc<str> {
        match self {
            Self::Local | Self::Nobody => LOCAL.into(),
            Self::Key { client, .. } => Arc::clone(client),
            Self::Winner(award) => format!("winner:{award}").into(),
        }
    }

    /// The same for the operator log.
    pub fn actor(&self, reason: Option<String>) -> Actor {
        Actor {
            name: self.client().to_string(),
            reason,
        }
    }
}

/// What a route asks of its caller. Admin may all that a role may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// No key is needed.
    pub is_public: bool,
    /// A claim token is enough; the handler checks the award.
    pub takes_claim_token: bool,
    /// These roles, and admin.
    pub roles: &'static [Role],
}

impl Access {
    /// No key is needed.
    pub const PUBLIC: Self = Self {
        is_public: true,
        takes_claim_token: false,
        roles: &[],
    };

    /// These roles, and admin.
    pub const fn of(roles: &'static [Role]) -> Self {
        Self {
            is_public: false,
            takes_claim_token: false,
            roles,
        }
    }

    /// These roles, admin, and whoever has the award's claim token.
    pub const fn or_winner(roles: &'static [Role]) -> Self {
        Self {
            is_public: false,
            takes_claim_token: true,
            roles,
        }
    }

    /// Lets the caller in, or says why not.
    pub fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let is_let_in = self.is_public
            || matches!(caller, Caller::Winner(_)) && self.takes_claim_token
            || caller
                .role()
                .is_some_and(|role| role == Role::Admin || self.roles.contains(&role));
        match caller {
            _ if is_let_in => Ok(()),
            Caller::Nobody => Err(Code::Unauthorized.into()),
            Caller::Local | Caller::Key { .. } | Caller::Winner(_) => Err(Code::Forbidden.into()),
        }
    }
}

/// A new key in clear: shown once, kept only as its hash.
pub fn new_key() -> String {
    format!(
        "{KEY_PREFIX}{}",
        URL_SAFE_NO_PAD.encode(random::bytes::<32>())
    )
}

/// What is kept of a key.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The keys that are good, by hash.
#[derive(Debug, Default)]
pub struct KeyRing {
    by_hash: RwLock<Arc<HashMap<[u8; 32], ApiKey>>>,
}

impl KeyRing {
    /// Takes these keys as all there are.
    pub fn replace(&self, keys: Vec<ApiKey>) {
        let fresh = keys
            .into_iter()
            .filter(|key| key.revoked_at.is_none())
            .map(|key| (key.hash, key))
            .collect();
        *self.by_hash.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
    }

    /// Who the bearer of `key` is at `now`.
    pub fn caller(&self, key: &str, now: Timestamp) -> Option<Caller> {
        let keys = Arc::clone(&self.by_hash.read().unwrap_or_else(PoisonError::into_inner));
        let found = keys.get(&hash(key))?;
        let is_good = found.expires_at.is_none_or(|end| now < end);
        is_good.then(|| Caller::Key {
            client: found.client.as_str().into(),
            role: found.role,
        })
    }
}

/// Who calls, by the header; a wrong key is an error even where none is needed.
pub(super) fn identify(
    headers: &HeaderMap,
    keys: &KeyRing,
    claims: &ClaimKeys,
    now: Timestamp,
) -> Result<Caller, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(Caller::Nobody);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let caller = token.and_then(|token| {
        if token.starts_with(claim::PREFIX) {
            claims.read(token, now).map(Caller::Winner)
        } else {
            keys.caller(token, now)
        }
    });
    caller.ok_or_else(|| Code::Unauthorized.into())
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
        assert!(ring.caller("good", Timestamp(99)).is_some());
        assert!(ring.caller("late", Timestamp(9)).is_some());
        assert_eq!(ring.caller("late", Timestamp(10)), None);
        assert_eq!(ring.caller("gone", Timestamp(0)), None);
        assert_eq!(ring.caller("other", Timestamp(0)), None);
    }

    #[test]
    fn debug_form_of_new_keys_is_never_needed_and_keys_differ() {
        assert_ne!(new_key(), new_key());
        assert!(new_key().starts_with(KEY_PREFIX));
    }
}
