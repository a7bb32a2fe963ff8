//! Aim: what the chapter's system writes is read to the last digit. The lines are those
//! that fastjson 1.2.83 wrote of its `InvoiceVO` (keys in alphabetical order, nulls left
//! out, a long as a number, an instant as milliseconds); a test of the server with a Kafka
//! writes them anew and compares.

use tombola_core::message::{Invoice, Message};
use tombola_core::reason::KeptReason;

const LINES: &str = include_str!("golden/fastjson.jsonl");

#[test]
fn lines_of_fastjson_are_read_to_the_last_digit() {
    let read: Vec<_> = LINES
        .lines()
        .map(|line| {
            let it = Invoice::decode(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(it.user, "xiaofuge", "{line}");
            (it.order, it.prize.unwrap(), it.award_type)
        })
        .collect();
    let prize = |order, prize: &str, kind| (order, prize.to_owned(), kind);
    assert_eq!(
        read,
        [
            prize(1_662_799_798_929_063_936, "1", Some(1)),
            prize(i64::MAX, "2", Some(2)),
            prize(1, "3", None),
            prize(1_662_799_798_929_063_937, "4", Some(4)),
            prize(1_662_799_798_929_063_938, "4", Some(4)),
            prize(1_662_799_798_929_063_936, "1", Some(1)),
            prize(1_662_799_798_929_063_939, "1", Some(1)),
        ]
    );
}

#[test]
fn none_of_them_passes_for_a_message_of_ours() {
    for line in LINES.lines() {
        let decoded = Message::decode(Some(line.as_bytes()));
        assert_eq!(decoded, Err(KeptReason::Foreign), "{line}");
    }
}

#[test]
fn what_only_looks_like_one_is_read_as_none() {
    for line in [
        r#"{"uId":"u","orderId":1.5}"#,
        r#"{"uId":"u","orderId":0}"#,
        r#"{"uId":"u","orderId":-7}"#,
        r#"{"uId":"u","orderId":9223372036854775808}"#,
        r#"{"uId":"u","orderId":"1662799798929063936"}"#,
        r#"{"uId":"","orderId":1}"#,
        r#"{"uId":"a\u0000b","orderId":1}"#,
        r#"{"uId":7,"orderId":1}"#,
        r#"{"uid":"u","orderId":1}"#,
        r#"{"uId":"u"}"#,
        r#"{"uId":"u","orderId":1,"messageId":"1-a"}"#,
        r#"[{"uId":"u","orderId":1}]"#,
    ] {
        assert_eq!(Invoice::decode(line.as_bytes()), None, "{line}");
    }
    let wide = format!(r#"{{"uId":"{}","orderId":1}}"#, "u".repeat(129));
    assert_eq!(Invoice::decode(wide.as_bytes()), None);
}
