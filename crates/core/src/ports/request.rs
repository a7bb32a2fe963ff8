//! Requests that may be sent again. A request key is kept by the transaction of
//! its effect, so whoever repeats a request gets its answer and not a second
//! effect, after a crash between effect and answer too.
//!
//! Draws keep their keys with the draw (`draw::DrawRequest`); this is for all else.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request that its client may send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// Who asks: the client name of the key, scope of its request keys.
    pub client: String,
    /// What is asked: method and address.
    pub operation: String,
    /// The client's `Idempotency-Key`.
    pub key: String,
    /// SHA-256 of the body: the same key with another body is another request.
    pub fingerprint: [u8; 32],
}

/// What is kept of a request that had its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// Of the first request under this key.
    pub fingerprint: [u8; 32],
    /// Its answer; `None` when the process died between effect and answer.
    pub answer: Option<KeptAnswer>,
}

/// An answer as it went out, or was about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// The user that it speaks of, who may have to be forgotten.
    pub user: Option<String>,
}

impl KeptAnswer {
    /// No answer that is kept has it: only those that went well are.
    const GONE: u16 = 410;

    /// What stands in the place of an answer whose user was erased.
    pub fn erased() -> Self {
        Self {
            status: Self::GONE,
            body: Vec::new(),
            user: None,
        }
    }

    /// Whether its user was erased.
    pub fn is_erased(&self) -> bool {
        self.status == Self::GONE
    }
}

/// What a port answers to a request that may come again. It is kept as JSON beside
/// the key and given back to the repetition.
pub trait Repeatable: Serialize + DeserializeOwned {
    /// Whether something was changed. What changed nothing is not kept: the same
    /// request may be tried again.
    fn has_effect(&self) -> bool;
}

impl Repeatable for () {
    fn has_effect(&self) -> bool {
        true
    }
}

/// `true` where the port says "done", `false` where it found nothing to do it to.
impl Repeatable for bool {
    fn has_effect(&self) -> bool {
        *self
    }
}

impl Repeatable for super::ImportFinished {
    fn has_effect(&self) -> bool {
        true
    }
}

impl Repeatable for super::Transitioned {
    fn has_effect(&self) -> bool {
        matches!(self, Self::Moved { .. })
    }
}

impl Repeatable for super::StockChanged {
    fn has_effect(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

impl Repeatable for super::ApiKey {
    fn has_effect(&self) -> bool {
        true
    }
}

impl Repeatable for super::SecretRotated {
    fn has_effect(&self) -> bool {
        matches!(self, Self::Rotated { .. })
    }
}

impl Repeatable for super::PointsReversed {
    fn has_effect(&self) -> bool {
        matches!(self, Self::Reversed { .. })
    }
}

impl Repeatable for super::Operation {
    fn has_effect(&self) -> bool {
        true
    }
}

/// `None` is "there is none".
impl<T: Repeatable> Repeatable for Option<T> {
    fn has_effect(&self) -> bool {
        self.is_some()
    }
}

impl Repeatable for super::Acted {
    fn has_effect(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}
