//! More than can be served: what is beyond it is answered 503 or 429 at once, and
//! memory does not grow with what is offered.

use crate::house::{Answer, DRAWS, House, RSS_KIB_MAX, head, until};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use tombola_core::limits;

/// Begins a draw whose body stops before its last byte; its request is under way once
/// the server has asked for the body.
fn half_a_draw(house: &House) -> TcpStream {
    let lines = "content-length: 100\r\nexpect: 100-continue";
    let mut stream = house.connect();
    stream
        .write_all(&head(&house.client, "POST", DRAWS, lines))
        .unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

fn assert_overloaded(answer: &Answer) {
    assert_eq!(answer.said(), (503, "overloaded".to_owned()), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}");
}

#[test]
fn request_beyond_those_worked_on_is_answered_503_at_once_and_the_operator_gets_in() {
    let house = House::new("[http]\nrequests_max = 2\n");
    let under_way = [half_a_draw(&house), half_a_draw(&house)];
    let body = json!({ "user": "u" }).to_string();
    assert_overloaded(&house.call(&house.client, "POST", DRAWS, &body));
    assert_overloaded(&house.call(&house.admin, "GET", "/v1/awards", ""));
    let wrong = house.call("tmb_wrong", "GET", "/v1/awards", "");
    assert_eq!(wrong.status, 401, "who has no key takes no room");
    let alive = house.call(&house.client, "GET", "/livez", "");
    assert_eq!(alive.status, 200);
    house.ok(&["campaign", "list"]); // over the socket of the data directory
    drop(under_way);
    until("the room is given back", || {
        house.call(&house.client, "POST", DRAWS, &body).status == 201
    });
    house.assert_well();
}

#[test]
fn bodies_that_come_together_are_bounded_in_bytes() {
    let house = House::new("[http]\nbody_timeout = \"50s\"\nrate_per_user = \"\"\n");
    let length = limits::BODY_BYTES_MAX;
    let body = vec![b' '; length - 1];
    let begin = |_| {
        let mut stream = house.connect();
        let line = format!("content-length: {length}");
        let head = head(&house.client, "POST", DRAWS, &line);
        stream.write_all(&head).unwrap();
        stream.write_all(&body).unwrap();
        stream
    };
    // Each lacks its last byte, and so many bytes are left for others.
    let count = limits::BODIES_BYTES_MAX / length;
    let bodies: Vec<TcpStream> = (0..count).map(begin).collect();
    let draw = format!("{{\"user\":\"{}\"}}", "u".repeat(count));
    until("the room is taken", || {
        let answer = house.call(&house.client, "POST", DRAWS, &draw);
        let is_refused = answer.status != 201;
        if is_refused {
            assert_overloaded(&answer);
        }
        is_refused
    });
    assert!(house.rss_kib() < RSS_KIB_MAX);
    drop(bodies);
    until("the room is given back", || {
        house.call(&house.client, "POST", DRAWS, &draw).status == 201
    });
    house.assert_well();
}

#[test]
fn far_more_than_can_be_served_is_answered_quickly_and_takes_no_memory() {
    const CALLERS: usize = 64;
    const CALLS: usize = 50;
    let house = House::new("[http]\nrequests_max = 4\n");
    let (drawn, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (house, drawn, refused) = (&house, &drawn, &refused);
            scope.spawn(move || {
                for _ in 0..CALLS {
                    let body = json!({ "user": format!("u{caller}") }).to_string();
                    let answer = house.call(&house.client, "POST", DRAWS, body);
                    if answer.status == 201 {
                        drawn.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_overloaded(&answer);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (drawn, refused) = (drawn.into_inner(), refused.into_inner());
    assert_eq!(
        drawn + refused,
        (CALLERS * CALLS) as u64,
        "each has its answer"
    );
    assert!(drawn > 0 && refused > 0, "{drawn} drawn, {refused} refused");
    assert!(house.rss_kib() < RSS_KIB_MAX);
    house.assert_well();
}

#[test]
fn address_that_tries_keys_is_told_to_stop_and_good_keys_from_it_are_not() {
    let house = House::new("[http]\nrate_per_peer = \"2/h\"\n");
    for _ in 0..2 {
        let answer = house.call("tmb_wrong", "GET", "/v1/awards", "");
        assert_eq!(answer.said(), (401, "unauthorized".to_owned()));
    }
    for key in ["tmb_wrong", "tmc_wrong"] {
        let answer = house.call(key, "GET", "/v1/awards", "");
        assert_eq!(answer.said(), (429, "rate_limited".to_owned()));
        assert!(answer.header("retry-after").is_some());
    }
    // It keeps no connection either, whatever it asks for.
    let answer = house.raw(b"GET /v1/awards HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(
        (answer.status, answer.header("connection")),
        (429, Some("close"))
    );
    house.assert_well();
}
