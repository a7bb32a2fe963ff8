//! Those who take their time: heads and bodies that do not come, a thousand
//! connections that say nothing.

use crate::house::{DRAWS, House, head, read};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::TcpStream;

/// Slow clients at a time.
const SLOW: usize = 50;
/// Half-open connections.
const HALF_OPEN: usize = 1000;

/// Lets this process have as many files open as the half-open connections need.
fn raise_files_max() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8192, |most| most.min(8192));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

/// Connections that have sent these bytes and no more.
fn begun(house: &House, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = house.connect();
        // One that has to make room for another may be closed already.
        stream.write_all(bytes).ok();
        stream
    };
    (0..count).map(begin).collect()
}

#[test]
fn heads_that_do_not_come_are_answered_408_and_others_do_not_wait_for_them() {
    let house = House::new("[http]\nhead_timeout = \"2s\"\n");
    let slow = begun(&house, SLOW, b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ");
    house.assert_well();
    for stream in slow {
        assert_eq!(read(stream).status, 408);
    }
    house.assert_well();
}

#[test]
fn bodies_that_do_not_come_are_answered_408_and_those_without_a_key_401_at_once() {
    let house = House::new("[http]\nbody_timeout = \"2s\"\n");
    let begin = |key: &str| {
        let mut bytes = head(key, "POST", DRAWS, "content-length: 100");
        bytes.extend_from_slice(b"{\"user\":");
        bytes
    };
    let slow = begun(&house, SLOW, &begin(&house.client));
    let strangers = begun(&house, SLOW, &begin("tmb_wrong"));
    house.assert_well();
    for stream in strangers {
        assert_eq!(read(stream).said(), (401, "unauthorized".to_owned()));
    }
    for stream in slow {
        assert_eq!(read(stream).said(), (408, "body_timeout".to_owned()));
    }
    house.assert_well();
}

#[test]
fn thousand_half_open_connections_take_no_place_from_others() {
    raise_files_max();
    for settings in ["", "[http]\nconnections_max = 100\n"] {
        let house = House::new(settings);
        let half_open = begun(&house, HALF_OPEN / 2, b"");
        house.assert_well();
        let half_heads = begun(&house, HALF_OPEN / 2, b"POST /v1/cam");
        house.assert_well();
        drop((half_open, half_heads));
        house.assert_well();
    }
}

#[test]
fn server_raises_its_own_bound_on_files_and_lives_with_one_that_it_cannot_raise() {
    raise_files_max();
    let house = House::with_files("", "-Sn 256");
    let half_open = begun(&house, HALF_OPEN, b"");
    house.assert_well();
    assert!(!house.log().contains("connection not accepted"));
    drop(half_open);

    let house = House::with_files("", "-n 256");
    let half_open = begun(&house, HALF_OPEN, b"");
    house.assert_well();
    assert!(house.log().contains("connection not accepted"));
    drop(half_open);
}
