//! The message on the wire: one versioned pair of encode and decode. The first
//! six fields are those that consumers of the chapter's `InvoiceVO` read, with
//! their names and types; ours are additive. Absent means null; unknown fields
//! are ignored.

use crate::campaign::{Prize, Rules};
use crate::ids::{AwardId, ID_MAX};
use crate::limits;
use crate::reason::KeptReason;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version that this code writes.
pub const SCHEMA: u32 = 1;

/// What travels on the topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The user; also the key, so that one user's messages share a partition.
    #[serde(rename = "uId")]
    pub user: String,
    /// The award's id.
    #[serde(rename = "orderId")]
    pub award: AwardId,
    /// Names the prize: `<campaign>/<prize>` unless the prize sets its own.
    #[serde(rename = "awardId")]
    pub prize: String,
    /// 1 text, 2 code, 3 webhook or external, 4 physical, 5 points, unless set.
    #[serde(rename = "awardType")]
    pub award_type: i32,
    /// The prize's name.
    #[serde(rename = "awardName")]
    pub name: String,
    /// What may be shown or acted on; never a secret.
    #[serde(
        rename = "awardContent",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub content: Option<String>,
    /// Version of this shape.
    pub schema: u32,
    /// Names the message; not derivable from the award's id.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// The campaign's slug.
    pub campaign: String,
    /// When the draw was made.
    #[serde(rename = "drawnAt")]
    pub drawn_at: Timestamp,
}

impl Message {
    /// The message of an award of `prize`.
    pub fn new(
        rules: &Rules,
        prize: &Prize,
        award: AwardId,
        user: &str,
        message_id: &str,
        drawn_at: Timestamp,
    ) -> Self {
        Self {
            user: user.to_owned(),
            award,
            prize: prize
                .award_id
                .clone()
                .unwrap_or_else(|| format!("{}/{}", rules.slug, prize.slug)),
            award_type: prize
                .award_type
                .unwrap_or_else(|| prize.kind().award_type()),
            name: prize.name.clone(),
            content: prize.content(),
            schema: SCHEMA,
            message_id: message_id.to_owned(),
            campaign: rules.slug.clone(),
            drawn_at,
        }
    }

    /// The value on the topic.
    pub fn encode(&self) -> Vec<u8> {
        let value =
            serde_json::to_vec(self).expect("a struct of strings and integers always serialises");
        #[cfg(feature = "next-version")]
        if crate::next::is_next() {
            return crate::next::with_field(value);
        }
        value
    }

    /// Reads a value from the topic, or says why it is kept as a dead-letter
    /// message. Never panics, whatever the bytes.
    pub fn decode(value: Option<&[u8]>) -> Result<Self, KeptReason> {
        let value = value
            .filter(|value| !value.is_empty())
            .ok_or(KeptReason::Empty)?;
        if value.len() > limits::MESSAGE_BYTES_MAX {
            return Err(KeptReason::Undecodable);
        }
        if value.trim_ascii() == b"null" {
            return Err(KeptReason::Empty);
        }
        let message: Self =
            serde_json::from_slice(value).map_err(|_| undecodable_or_foreign(value))?;
        let is_ours = message.schema == SCHEMA && (1..=ID_MAX).contains(&message.award.0);
        if is_ours {
            Ok(message)
        } else {
            Err(KeptReason::Undecodable)
        }
    }
}

/// A message of the chapter's own producer: the fields that it shares with ours, and
/// no `messageId`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Invoice {
    /// Who won.
    #[serde(rename = "uId")]
    pub user: String,
    /// The order there: 64 bits, beyond what a float holds.
    #[serde(rename = "orderId")]
    pub order: i64,
    /// The prize there.
    #[serde(rename = "awardId", default)]
    pub prize: Option<String>,
    /// 1 text, 2 code, 3 coupon, 4 physical.
    #[serde(rename = "awardType", default)]
    pub award_type: Option<i32>,
    #[serde(rename = "messageId", default)]
    message_id: Option<serde::de::IgnoredAny>,
}

impl Invoice {
    /// Reads a value from the topic that is no message of ours; `None` if it is none of
    /// the chapter's producer either.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let invoice: Self = serde_json::from_slice(value).ok()?;
        let is_one = invoice.message_id.is_none()
            && invoice.order > 0
            && (1..=limits::USER_BYTES_MAX).contains(&invoice.user.len())
            && !invoice.user.chars().any(char::is_control);
        is_one.then_some(invoice)
    }
}

/// A message of the chapter's own producer is whole but carries no `messageId`.
fn undecodable_or_foreign(value: &[u8]) -> KeptReason {
    if Invoice::decode(value).is_some() {
        KeptReason::Foreign
    } else {
        KeptReason::Undecodable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            user: "u1".to_owned(),
            award: AwardId(42),
            prize: "fair/phone".to_owned(),
            award_type: 4,
            name: "A phone".to_owned(),
            content: None,
            schema: SCHEMA,
            message_id: "42-abcdefghijkl".to_owned(),
            campaign: "fair".to_owned(),
            drawn_at: Timestamp(1_771_000_000_000_000),
        }
    }

    #[test]
    fn wire_form_is_the_contract_to_the_byte() {
        assert_eq!(
            String::from_utf8(message().encode()).unwrap(),
            r#"{"uId":"u1","orderId":42,"awardId":"fair/phone","awardType":4,"awardName":"A phone","schema":1,"messageId":"42-abcdefghijkl","campaign":"fair","drawnAt":"2026-02-13T16:26:40.000000Z"}"#
        );
    }

    #[test]
    fn what_was_encoded_decodes_to_itself_and_unknown_fields_are_ignored() {
        let text = String::from_utf8(message().encode()).unwrap();
        let later = text.replacen('{', r#"{"newer":[1,{"a":2}],"#, 1);
        assert_eq!(Message::decode(Some(text.as_bytes())), Ok(message()));
        assert_eq!(Message::decode(Some(later.as_bytes())), Ok(message()));
    }

    #[cfg(feature = "next-version")]
    #[test]
    fn message_of_the_next_version_decodes_to_what_this_one_knows_of_it() {
        let next = crate::next::with_field(message().encode());
        assert!(next.starts_with(br#"{"nextNote":"#));
        assert_eq!(Message::decode(Some(&next)), Ok(message()));
    }

    #[test]
    fn null_empty_and_rubbish_are_kept_with_their_reason() {
        let whole = message().encode();
        let wide = vec![b' '; limits::MESSAGE_BYTES_MAX + 1];
        for (value, reason) in [
            (None, KeptReason::Empty),
            (Some(&b""[..]), KeptReason::Empty),
            (Some(&b" null "[..]), KeptReason::Empty),
            (Some(&b"{}"[..]), KeptReason::Undecodable),
            (Some(&b"\xff\xfe"[..]), KeptReason::Undecodable),
            (Some(&whole[..whole.len() - 1]), KeptReason::Undecodable),
            (Some(&wide[..]), KeptReason::Undecodable),
            (
                Some(&br#"{"awardId":"1","orderId":1662799798929063936,"uId":"u"}"#[..]),
                KeptReason::Foreign,
            ),
        ] {
            assert_eq!(Message::decode(value), Err(reason));
        }
    }

    #[test]
    fn another_schema_or_an_impossible_id_is_undecodable() {
        let other = Message {
            schema: 2,
            ..message()
        };
        let zero = Message {
            award: AwardId(0),
            ..message()
        };
        for odd in [other, zero] {
            assert_eq!(
                Message::decode(Some(&odd.encode())),
                Err(KeptReason::Undecodable)
            );
        }
    }
}
