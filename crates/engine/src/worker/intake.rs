//! What comes from the topic: decoded, another system's to be adopted, or kept with the
//! reason why it is none of our awards'.

use super::adopt::{Adopt, PrizeOf};
use super::partitions::Place;
use std::sync::Arc;
use tombola_core::DrawId;
use tombola_core::adoption::Adoption;
use tombola_core::award::Position;
use tombola_core::draw::Ticket;
use tombola_core::limits;
use tombola_core::message::{Invoice, Message};
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
        traceparent(&self.incoming).map(str::to_owned)
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

/// A message of another draw system, to be adopted.
#[derive(Debug)]
pub(super) struct Ordered {
    pub(super) place: Place,
    invoice: Invoice,
    prize: PrizeOf,
    /// Its tails; the id comes when it is adopted.
    ticket: Ticket,
    incoming: Arc<Incoming>,
    epoch: i64,
}

impl Ordered {
    pub(super) fn adoption(&self, adopt: &Adopt, id: DrawId) -> Adoption {
        Adoption {
            source: Arc::clone(&adopt.source),
            order: self.invoice.order,
            campaign: Arc::clone(&self.prize.campaign),
            prize: Arc::clone(&self.prize.prize),
            award_type: self.invoice.award_type,
            user: self.invoice.user.as_str().into(),
            ticket: Ticket { id, ..self.ticket },
            traceparent: traceparent(&self.incoming).map(Arc::from),
            claim_key_version: adopt.claim_key_version,
        }
    }

    /// It stands for the message of the award that it became.
    pub(super) fn taken(self, message: Message) -> Taken {
        Taken {
            place: self.place,
            message: Arc::new(message),
            incoming: self.incoming,
            epoch: self.epoch,
        }
    }

    pub(super) fn bad(&self, reason: KeptReason) -> Bad {
        Bad {
            place: self.place,
            kept: kept(&self.incoming, self.epoch, reason),
        }
    }
}

/// What a message is to a worker.
pub(super) enum Read {
    /// A message of ours.
    Ours(Taken),
    /// Another system's, which is adopted.
    Order(Box<Ordered>),
    /// No award's.
    Bad(Box<Bad>),
}

/// How messages are read.
pub(super) struct Reader<'a> {
    /// The topic's life.
    pub(super) epoch: i64,
    /// The database's own uuid.
    pub(super) origin: &'a str,
    /// Whose messages are adopted, if any are.
    pub(super) adopt: Option<&'a Adopt>,
}

impl Reader<'_> {
    /// Reads a message. One without the header `origin` is judged by its `messageId`
    /// alone, which no other database can have given.
    pub(super) fn read(
        &self,
        incoming: Incoming,
        place: Place,
        ticket: impl FnOnce() -> Ticket,
    ) -> Read {
        let origin = header(&incoming, ORIGIN);
        let message = match Message::decode(incoming.value.as_deref()) {
            Ok(_) if origin.is_some_and(|it| it != self.origin) => Err(KeptReason::Foreign),
            decoded => decoded,
        };
        let reason = match message {
            Ok(message) => {
                return Read::Ours(Taken {
                    place,
                    message: Arc::new(message),
                    incoming: Arc::new(incoming),
                    epoch: self.epoch,
                });
            }
            Err(KeptReason::Foreign) if origin.is_none() => match self.order(&incoming) {
                Ok((invoice, prize)) => {
                    return Read::Order(Box::new(Ordered {
                        place,
                        invoice,
                        prize,
                        ticket: ticket(),
                        incoming: Arc::new(incoming),
                        epoch: self.epoch,
                    }));
                }
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        Read::Bad(Box::new(Bad {
            place,
            kept: kept(&incoming, self.epoch, reason),
        }))
    }

    /// What another system's message is to become here.
    fn order(&self, incoming: &Incoming) -> Result<(Invoice, PrizeOf), KeptReason> {
        let adopt = self.adopt.ok_or(KeptReason::Foreign)?;
        let invoice = incoming.value.as_deref().and_then(Invoice::decode);
        let invoice = invoice.ok_or(KeptReason::Foreign)?;
        let prize = invoice.prize.as_deref();
        let prize = prize.and_then(|it| adopt.prizes.get(it)).cloned();
        Ok((invoice, prize.ok_or(KeptReason::Unmapped)?))
    }
}

fn header<'a>(incoming: &'a Incoming, wanted: &str) -> Option<&'a str> {
    let mut headers = incoming.headers.iter();
    headers
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_str())
}

/// Trace context of the draw, as it came with the message.
fn traceparent(incoming: &Incoming) -> Option<&str> {
    header(incoming, "traceparent")
}

/// Whom a message is about, by which it is found when that user is erased: its key or,
/// for the chapter's producer gives none, the user that it names.
fn key(incoming: &Incoming) -> Option<String> {
    let text = |key| std::str::from_utf8(key).ok().map(str::to_owned);
    let named = |value| Invoice::decode(value).map(|it| it.user);
    match incoming.key.as_deref() {
        Some(key) => text(key),
        None => incoming.value.as_deref().and_then(named),
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
        key: key(incoming),
        value: incoming.value.as_ref().map(cut),
        headers: incoming.headers.clone(),
        reason,
    }
}
