//! Back ends in other languages, as `docs/guides/integrate.md` shows them: the first
//! answer is lost on the way, and the retry gets it.

use crate::world::Desk;
use serde_json::Value;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

/// Passes requests on, one connection at a time; the answer of the first one is lost.
/// Ends with the test's process.
fn lossy_way(to: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (number, from) in listener.incoming().enumerate() {
            let mut from = from.unwrap();
            let request = whole(&mut from, "").unwrap();
            let mut server = TcpStream::connect(&to).unwrap();
            server.write_all(&request).unwrap();
            let answer = whole(&mut server, "HTTP/1.1 ").unwrap();
            if number > 0 {
                from.write_all(&answer).unwrap();
            }
        }
    });
    address
}

/// A message with the length that its head tells; none where the other side ends before.
pub(crate) fn whole(stream: &mut TcpStream, begins: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(text.starts_with(&begins.to_lowercase()) || text.is_empty());
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |it| it.trim().parse().unwrap());
            if body.len() >= length {
                return Some(bytes);
            }
        }
        let count = stream.read(&mut piece).unwrap_or_default();
        if count == 0 {
            return None;
        }
        bytes.extend(&piece[..count]);
    }
}

/// Draws with the file of that language, twice for one order; says when the language
/// is not here.
fn draws_once(language: &str, program: &[&str]) {
    let [name, arguments @ ..] = program else {
        panic!("a program")
    };
    if Command::new(name).arg("--version").output().is_err() {
        let line = format!("tombola-skip: clients::{language}: no `{name}` on this machine\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        return;
    }
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let key = desk.ok(&["key", "create", "--role", "client", "--client", "shop"]);
    let address = lossy_way(server.address.clone());
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients");
    let draw = || {
        let output = Command::new(name)
            .args(arguments)
            .args(["fair", "u1", "4711"])
            .current_dir(&examples)
            .env("TOMBOLA_URL", format!("http://{address}"))
            .env("TOMBOLA_API_KEY", key.stdout.trim())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{language}: {stderr}");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let draw = said.get("draws").map_or(&said, |draws| &draws[0]);
        assert_eq!(draw["user"], "u1", "{said}");
        draw.clone()
    };
    assert_eq!(
        draw(),
        draw(),
        "{language}: the same order is the same draw"
    );
    let listed = desk.ok(&["draw", "list", "fair", "--json"]).json_lines();
    assert_eq!(listed.len(), 1, "{language}: {listed:?}");
}

#[test]
fn python_draws_once_although_its_first_answer_is_lost() {
    draws_once("python", &["python3", "draw.py"]);
}

#[test]
fn node_draws_once_although_its_first_answer_is_lost() {
    draws_once("node", &["node", "draw.mjs"]);
}

#[test]
fn java_draws_once_although_its_first_answer_is_lost() {
    draws_once("java", &["java", "Draw.java"]);
}
