//! Requests that are no good: too large, too deep, no text, no HTTP.

use crate::house::{Answer, DRAWS, House, head};
use serde_json::{Value, json};
use std::fmt::Write as _;
use tombola_core::limits;

const LARGE: usize = 10_000_000;

fn said(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// What the first problem of the answer points to.
fn pointer(answer: &Answer) -> Value {
    answer.json()["errors"][0]["pointer"].clone()
}

#[test]
fn bodies_of_ten_megabytes_are_refused_by_their_length_or_where_they_pass_the_bound() {
    let house = House::new("");
    let large = format!("{{\"user\":\"{}\"}}", "u".repeat(LARGE));
    let answer = house.call(&house.client, "POST", DRAWS, &large);
    assert_eq!(answer.said(), said(413, "body_too_large"));
    let answer = house.call("tmb_wrong", "POST", DRAWS, &large);
    assert_eq!(answer.said(), said(401, "unauthorized"));

    let mut chunked = head(&house.client, "POST", DRAWS, "transfer-encoding: chunked");
    for chunk in large.as_bytes().chunks(50_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(house.raw(&chunked).said(), said(413, "body_too_large"));

    // Refused before a byte of it came.
    let announced = head(&house.client, "POST", DRAWS, "content-length: 10000000");
    assert_eq!(house.raw(&announced).said(), said(413, "body_too_large"));
    house.assert_well();
}

#[test]
fn json_that_is_too_deep_is_refused_wherever_it_comes() {
    let house = House::new("");
    let deep = "[".repeat(500_000);
    let nested = format!("{{\"user\":{deep}");
    for body in [&deep, &nested] {
        let answer = house.call(&house.client, "POST", DRAWS, body);
        assert_eq!(answer.said(), said(422, "invalid_body"));
    }
    let closed = "[".repeat(400_000) + &"]".repeat(400_000);
    let campaign = format!("{{\"campaign\":{{\"slug\":\"deep\",\"name\":{closed}}}}}");
    let unknown = format!("{{\"colour\":{closed}}}");
    for body in [&deep, &campaign, &unknown] {
        let answer = house.call(&house.admin, "PUT", "/v1/campaigns/deep", body);
        assert_eq!(answer.said(), said(422, "invalid_body"));
    }
    house.assert_well();
}

#[test]
fn what_is_no_text_is_refused_with_a_pointer_where_there_is_one() {
    let house = House::new("");
    let draw = |body: &[u8]| house.call(&house.client, "POST", DRAWS, body);
    assert_eq!(
        draw(b"{\"user\":\"\xff\xfe\"}").said(),
        said(422, "invalid_body")
    );
    assert_eq!(
        draw(b"{\"user\":\"a\0b\"}").said(),
        said(422, "invalid_body")
    );
    let escaped = draw(br#"{"user":"a\u0000b"}"#);
    assert_eq!(escaped.said(), said(422, "invalid_body"));
    assert_eq!(pointer(&escaped), "/user");

    let admin = |method: &str, path: &str, body: Value| {
        house.call(&house.admin, method, path, body.to_string())
    };
    let key = admin("POST", "/v1/keys/1/revoke", json!({ "reason": "a\0b" }));
    assert_eq!(
        (key.said(), pointer(&key)),
        (said(422, "invalid_body"), "/reason".into())
    );
    let campaign = json!({ "campaign": { "slug": "nul", "name": "a\0b" }, "prize": [] });
    let campaign = admin("PUT", "/v1/campaigns/nul", campaign);
    assert_eq!(pointer(&campaign), "/campaign/name");
    for path in [
        "/v1/campaigns/a%00b",
        "/v1/awards?user=a%00b",
        "/v1/campaigns/fair/users/a%00b",
    ] {
        assert_eq!(
            admin("GET", path, Value::Null).said(),
            said(400, "invalid_query"),
            "{path}"
        );
    }
    let not_text = admin("GET", "/v1/campaigns/%ff", Value::Null);
    assert_eq!(not_text.said(), said(404, "route_not_found"));
    house.assert_well();
}

#[test]
fn bytes_that_are_no_http_are_answered_400() {
    let house = House::new("");
    for bytes in [
        b"GET /liv\0ez HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(),
        b"GET /livez HTTP/1.1\r\nx-nul: a\0b\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    ] {
        let answer = house.raw(bytes);
        assert_eq!(answer.status, 400, "{bytes:?}: {answer:?}");
    }
    let line = "content-length: 12\r\nidempotency-key: \u{e4}\u{f6}\u{fc}";
    let mut key = head(&house.client, "POST", DRAWS, line);
    key.extend_from_slice(br#"{"user":"u"}"#);
    assert_eq!(house.raw(&key).said(), said(400, "request_key_invalid"));
    house.assert_well();
}

#[test]
fn floods_of_headers_are_answered_431_and_long_addresses_414() {
    let house = House::new("");
    let with = |lines: &str| {
        house.raw(format!("GET /livez HTTP/1.1\r\nconnection: close\r\n{lines}\r\n").as_bytes())
    };
    let lines = |count: usize| {
        (0..count).fold(String::new(), |mut text, n| {
            write!(text, "x-{n}: flood\r\n").unwrap();
            text
        })
    };
    assert_eq!(with(&lines(limits::HEADERS_MAX - 1)).status, 200);
    assert_eq!(
        with(&lines(limits::HEADERS_MAX)).said(),
        said(431, "headers_too_large")
    );
    let wide = format!("x-wide: {}\r\n", "w".repeat(limits::HEADERS_BYTES_MAX));
    assert_eq!(with(&wide).said(), said(431, "headers_too_large"));
    // Beyond what is kept of a head nobody reads it, so nobody writes a body either.
    assert_eq!(with(&lines(50_000)).status, 431);
    let wide = format!("x-wide: {}\r\n", "w".repeat(LARGE));
    assert_eq!(with(&wide).status, 431);

    let at = |path: &str| {
        house.raw(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
    };
    let long = format!("/v1/awards?user={}", "u".repeat(limits::URI_BYTES_MAX));
    assert_eq!(at(&long).said(), said(414, "uri_too_long"));
    let longer = format!("/{}", "u".repeat(LARGE));
    assert_eq!(at(&longer).status, 431);
    house.assert_well();
}
