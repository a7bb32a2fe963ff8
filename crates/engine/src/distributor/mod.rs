//! Distributors: the code that delivers an outside kind. One says how its call
//! ended; `core::decision::judge` says what that means for the award.

mod answer;
mod body;
mod client;
mod guard;
mod sign;
mod webhook;

pub use guard::is_public;
pub use sign::{SignError, sign};
pub use webhook::WebhookDistributor;

use async_trait::async_trait;
use tombola_core::decision::CallAnswer;
use tombola_core::endpoint::Endpoint;
use tombola_core::message::Message;
use tombola_core::ports::Claim;

/// Delivers awards of an outside kind.
#[async_trait]
pub trait Distributor: Send + Sync {
    /// Makes one call, within `endpoint.timeout`. Beside the answer: why, for the
    /// timeline, with no secret and no payload in it.
    async fn deliver(
        &self,
        endpoint: &Endpoint,
        claim: &Claim,
        message: &Message,
    ) -> (CallAnswer, Option<String>);
}
