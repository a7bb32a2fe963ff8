//! The bodies of webhooks. That of an award: the fields of the message on the wire and
//! the delivery key. It is the same on every attempt of one award, to the byte: its
//! timestamp is that of the draw, and the attempt's own is in the header.

use serde::Serialize;
use tombola_core::Timestamp;
use tombola_core::message::Message;

#[derive(Serialize)]
struct Body<T> {
    #[serde(rename = "type")]
    what: &'static str,
    timestamp: Timestamp,
    data: T,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    message: &'a Message,
    #[serde(rename = "deliveryKey")]
    delivery_key: &'a str,
}

/// The bytes that are signed and posted.
pub(super) fn encode(message: &Message, delivery_key: &str) -> Vec<u8> {
    let data = Data {
        message,
        delivery_key,
    };
    let body = Body {
        what: "award.deliver",
        timestamp: message.drawn_at,
        data,
    };
    bytes(&body)
}

/// The body of a test call: of a type of its own, and with no field of an award, so
/// that a receiver which does not look at the type finds nothing to deliver.
pub(super) fn encode_test(endpoint: &str, now: Timestamp) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        endpoint: &'a str,
    }
    bytes(&Body {
        what: "endpoint.test",
        timestamp: now,
        data: Data { endpoint },
    })
}

fn bytes<T: Serialize>(body: &Body<T>) -> Vec<u8> {
    serde_json::to_vec(body).expect("a struct of strings and integers always serialises")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombola_core::AwardId;

    #[test]
    fn body_of_a_test_call_has_a_type_of_its_own_and_no_field_of_an_award() {
        let body = encode_test("coupons", Timestamp(1_771_000_000_000_000));
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"type":"endpoint.test","timestamp":"2026-02-13T16:26:40.000000Z","data":{"endpoint":"coupons"}}"#
        );
    }

    #[test]
    fn body_is_the_message_of_the_wire_with_the_delivery_key() {
        let message = Message {
            user: "u1".to_owned(),
            award: AwardId(42),
            prize: "fair/coupon".to_owned(),
            award_type: 3,
            name: "A coupon".to_owned(),
            content: Some("10 off".to_owned()),
            schema: 1,
            message_id: "42-abcdefghijkl".to_owned(),
            campaign: "fair".to_owned(),
            drawn_at: Timestamp(1_771_000_000_000_000),
        };
        assert_eq!(
            String::from_utf8(encode(&message, "42-mnopqrstuvwx")).unwrap(),
            r#"{"type":"award.deliver","timestamp":"2026-02-13T16:26:40.000000Z","data":{"uId":"u1","orderId":42,"awardId":"fair/coupon","awardType":3,"awardName":"A coupon","awardContent":"10 off","schema":1,"messageId":"42-abcdefghijkl","campaign":"fair","drawnAt":"2026-02-13T16:26:40.000000Z","deliveryKey":"42-mnopqrstuvwx"}}"#
        );
    }
}
