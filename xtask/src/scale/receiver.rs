//! The outside service: a webhook receiver that acts once on each delivery key and misbehaves in
//! fixed shares. What it wrote down says what was paid, and how often.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::town::lock;

/// Longer than the endpoint's time-out of a second.
const LATE: Duration = Duration::from_millis(1_500);
const BODY_MAX: usize = 1 << 20;

/// What was written down.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Delivery keys under which it paid, by award.
    pub(super) paid: HashMap<i64, HashSet<String>>,
    /// Calls by delivery key.
    calls: HashMap<String, u64>,
    /// Answers after which the caller cannot know whether it paid.
    pub(super) unknown: u64,
}

impl Ledger {
    pub(super) fn calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl Receiver {
    /// Its threads end with this process.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("http://{}/awards", listener.local_addr()?);
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let book = Arc::clone(&ledger);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&book);
                // A caller that was killed in mid-call is part of the run.
                thread::spawn(move || serve(stream, &book).ok());
            }
        });
        Ok(Self { url, ledger })
    }
}

struct Call {
    delivery_key: String,
    award: i64,
}

fn serve(stream: TcpStream, ledger: &Mutex<Ledger>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read(&mut stream)? {
        let behaviour = behave(&call, &mut lock(ledger));
        let (answer, times) = match behaviour {
            Behaviour::Unavailable => ("503 Service Unavailable", 1),
            Behaviour::HangsUp => return Ok(()),
            Behaviour::Fails => ("500 Internal Server Error", 1),
            Behaviour::Late => {
                thread::sleep(LATE);
                ("200 OK", 1)
            }
            Behaviour::Twice => ("200 OK", 2),
            Behaviour::Pays => ("200 OK", 1),
            Behaviour::HasPaid => ("409 Conflict", 1),
        };
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\n\r\n{{}}").repeat(times);
        stream.get_mut().write_all(answer.as_bytes())?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Unavailable,
    /// Without having paid.
    HangsUp,
    /// These two pay first.
    Fails,
    Late,
    Twice,
    Pays,
    /// Under this key already.
    HasPaid,
}

/// Pays at most once under a key; only the first call under one is treated badly.
fn behave(call: &Call, ledger: &mut Ledger) -> Behaviour {
    let calls = ledger.calls.entry(call.delivery_key.clone()).or_default();
    *calls += 1;
    let behaviour = if *calls == 1 {
        first(&call.delivery_key)
    } else {
        Behaviour::Pays
    };
    if matches!(
        behaviour,
        Behaviour::HangsUp | Behaviour::Fails | Behaviour::Late
    ) {
        ledger.unknown += 1;
    }
    if matches!(behaviour, Behaviour::Unavailable | Behaviour::HangsUp) {
        return behaviour;
    }
    let keys = ledger.paid.entry(call.award).or_default();
    if keys.insert(call.delivery_key.clone()) {
        behaviour
    } else {
        Behaviour::HasPaid
    }
}

/// What becomes of the first call, by a number that the key always has (FNV-1a).
fn first(key: &str) -> Behaviour {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    match (hash ^ (hash >> 29)) % 1_000 {
        0..20 => Behaviour::Unavailable,
        20..30 => Behaviour::HangsUp,
        30..45 => Behaviour::Fails,
        45..50 => Behaviour::Late,
        50..60 => Behaviour::Twice,
        _ => Behaviour::Pays,
    }
}

/// One request, `None` when the caller is done.
fn read(stream: &mut BufReader<TcpStream>) -> Result<Option<Call>> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").context("no length")?;
    let length: usize = length.parse()?;
    ensure!(length <= BODY_MAX, "the body of a call is too long");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    Ok(Some(Call {
        delivery_key: headers.remove("webhook-id").context("no delivery key")?,
        award: body["data"]["orderId"]
            .as_i64()
            .context("no number of an award")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ledger: &mut Ledger, award: i64, key: &str) -> Behaviour {
        let call = Call {
            delivery_key: key.to_owned(),
            award,
        };
        behave(&call, ledger)
    }

    #[test]
    fn key_is_paid_once_and_a_second_key_shows() {
        let mut ledger = Ledger::default();
        let good = (0..).map(|number| format!("key-{number}"));
        let mut good = good.filter(|key| first(key) == Behaviour::Pays);
        let (one, other) = (good.next().unwrap(), good.next().unwrap());
        assert_eq!(call(&mut ledger, 7, &one), Behaviour::Pays);
        assert_eq!(call(&mut ledger, 7, &one), Behaviour::HasPaid);
        assert_eq!(ledger.paid[&7].len(), 1);
        assert_eq!(call(&mut ledger, 7, &other), Behaviour::Pays);
        assert_eq!(ledger.paid[&7].len(), 2);
    }

    #[test]
    fn whoever_was_turned_away_is_paid_the_next_time() {
        let mut ledger = Ledger::default();
        let mut bad = (0..).map(|number| format!("key-{number}"));
        let bad = bad
            .find(|key| first(key) == Behaviour::Unavailable)
            .unwrap();
        assert_eq!(call(&mut ledger, 7, &bad), Behaviour::Unavailable);
        assert!(!ledger.paid.contains_key(&7));
        assert_eq!(call(&mut ledger, 7, &bad), Behaviour::Pays);
    }
}
