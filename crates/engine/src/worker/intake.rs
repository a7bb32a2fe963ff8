//! What comes from the topic: decoded, or kept with the reason why it is none of our
//! awards'.

use super::partitions::Place;
use std::sync::Arc;
use tombola_core::award::Position;
use tombola_core::limits;
use tombola_core::message::Message;
use tombola_core::ports::{Copy, Incoming, KeptMessage};
use tombola_core::reason::KeptReason;

/// The header that names the database a message came from.
const ORIGIN: &str = "origin";

/// A message in hand.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) place: Place,
    pub(super) message: Arc<Message>,
    incoming: Arc<Incoming>,
    epoch: i64,
}

impl Taken {
    pub(super) fn copy(&self) -> Copy {
        Copy {
            award: self.message.award,
            message_id: self.message.message_id.clone(),
            position: position(&self.incoming, self.epoch),
        }
    }

    /// Trace context of the draw, as it came with the message.
    pub(super) fn traceparent(&self) -> Option<String> {
        let mut headers = self.incoming.headers.iter();
        headers
            .find(|(name, _)| name == "traceparent")
            .map(|(_, value)| value.clone())
    }

    /// The store says that it is none of our awards'.
    pub(super) fn kept(&self, reason: KeptReason) -> KeptMessage {
        kept(&self.incoming, self.epoch, reason)
    }
}

/// A message that changes no award.
#[derive(Debug, Clone)]
pub(super) struct Bad {
    pub(super) place: Place,
    pub(super) kept: KeptMessage,
}

/// Reads a message. One without the header `origin` is judged by its `messageId`
/// alone, which no other database can have given.
pub(super) fn read(
    incoming: Incoming,
    place: Place,
    epoch: i64,
    origin: &str,
) -> Result<Taken, Box<Bad>> {
    let other = incoming
        .headers
        .iter()
        .any(|(name, value)| name == ORIGIN && value != origin);
    let message = match Message::decode(incoming.value.as_deref()) {
        Ok(_) if other => Err(KeptReason::Foreign),
        decoded => decoded,
    };
    match message {
        Ok(message) => Ok(Taken {
            place,
            message: Arc::new(message),
            incoming: Arc::new(incoming),
            epoch,
        }),
        Err(reason) => Err(Box::new(Bad {
            place,
            kept: kept(&incoming, epoch, reason),
        })),
    }
}

fn position(incoming: &Incoming, epoch: i64) -> Position {
    Position {
        epoch,
        partition: incoming.partition,
        offset: incoming.offset,
    }
}

fn kept(incoming: &Incoming, epoch: i64, reason: KeptReason) -> KeptMessage {
    let cut = |value: &Arc<[u8]>| value[..value.len().min(limits::KEPT_MESSAGE_BYTES_MAX)].to_vec();
    KeptMessage {
        position: position(incoming, epoch),
        key: incoming
            .key
            .as_deref()
            .and_then(|key| std::str::from_utf8(key).ok())
            .map(str::to_owned),
        value: incoming.value.as_ref().map(cut),
        headers: incoming.headers.clone(),
        reason,
    }
}
