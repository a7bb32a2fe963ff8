//! The outside service of the demo: a webhook receiver on loopback that honours
//! the delivery key and misbehaves in fixed shares. It speaks plain HTTP/1.1 over
//! a socket by hand, because an honest server library cannot answer twice or hang
//! up in the middle. What it wrote down is what `double` is counted from.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// How long a late answer takes: longer than the demo endpoint's time-out.
const LATE: Duration = Duration::from_millis(1500);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What the receiver does with the first call under a delivery key, in parts of
/// a thousand; every later call is answered honestly.
const SHARES: [(First, u64); 5] = [
    (First::Unavailable, 30),
    (First::HangsUp, 10),
    // These three act, and then fail, answer late, or answer twice.
    (First::Fails, 20),
    (First::Late, 10),
    (First::Twice, 20),
];

/// What was written down.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Delivery keys under which the receiver acted, by award.
    acted: HashMap<i64, HashSet<String>>,
    /// Calls by delivery key.
    calls: HashMap<String, u32>,
    /// Answers after which the caller cannot know whether the receiver acted.
    unknown: u64,
    /// Calls whose signature did not verify.
    bad_signatures: u64,
}

impl Ledger {
    /// Awards that the receiver paid.
    pub(crate) fn paid(&self) -> impl Iterator<Item = i64> + '_ {
        self.acted.keys().copied()
    }

    /// Payments beyond one an award.
    pub(crate) fn double(&self) -> usize {
        self.acted.values().map(|keys| keys.len() - 1).sum()
    }

    /// Calls beyond the first under each key.
    pub(crate) fn repeats(&self) -> u64 {
        self.calls.values().map(|calls| u64::from(*calls) - 1).sum()
    }

    /// Answers after which the caller cannot know whether the receiver acted.
    pub(crate) const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Calls whose signature did not verify.
    pub(crate) const fn bad_signatures(&self) -> u64 {
        self.bad_signatures
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    ledger: Arc<Mutex<Ledger>>,
    tracker: TaskTracker,
}

impl Receiver {
    /// Listens on a free loopback port; `secret` is the `whsec_…` of the endpoint.
    pub(crate) async fn start(secret: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/awards", listener.local_addr()?);
        let key: Arc<[u8]> = BASE64_STANDARD
            .decode(secret.trim_start_matches("whsec_"))?
            .into();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let tracker = TaskTracker::new();
        let (connections, book) = (tracker.clone(), Arc::clone(&ledger));
        tracker.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (key, book) = (Arc::clone(&key), Arc::clone(&book));
                connections.spawn(async move {
                    // A caller that was killed in mid-call is part of the demo.
                    if let Err(error) = serve(stream, &key, &book).await {
                        tracing::debug!(%error, "a caller of the demo's receiver went away");
                    }
                });
            }
        });
        Ok(Self {
            url,
            ledger,
            tracker,
        })
    }

    /// Reads what was written down.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.ledger.lock().expect("no holder of the ledger panics"))
    }

    /// Tasks that are still there; they end with the runtime.
    pub(crate) fn close(&self) {
        self.tracker.close();
    }
}

struct Call {
    delivery_key: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

async fn serve(mut stream: TcpStream, key: &[u8], ledger: &Mutex<Ledger>) -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    while let Some(call) = read_call(&mut stream, &mut buffer).await? {
        if !is_signed(&call, key) {
            ledger
                .lock()
                .expect("no holder of the ledger panics")
                .bad_signatures += 1;
            stream.write_all(&answer("401 Unauthorized", "{}")).await?;
            continue;
        }
        match behave(&call, ledger)? {
            Behaviour::Answer(bytes) => stream.write_all(&bytes).await?,
            Behaviour::Late(bytes) => {
                tokio::time::sleep(LATE).await;
                stream.write_all(&bytes).await?;
            }
            Behaviour::HangUp => return Ok(()),
        }
    }
    Ok(())
}

enum Behaviour {
    Answer(Vec<u8>),
    Late(Vec<u8>),
    HangUp,
}

/// Acts at most once under a key, and answers as the shares say.
fn behave(call: &Call, ledger: &Mutex<Ledger>) -> anyhow::Result<Behaviour> {
    let body: serde_json::Value = serde_json::from_slice(&call.body)?;
    let award = body["data"]["orderId"].as_i64().unwrap_or_default();
    let mut ledger = ledger.lock().expect("no holder of the ledger panics");
    let calls = ledger.calls.entry(call.delivery_key.clone()).or_default();
    *calls += 1;
    let is_first = *calls == 1;
    let ok = answer("200 OK", &format!(r#"{{"receipt":"coupon-{award}"}}"#));
    let behaviour = if is_first {
        first_of(&call.delivery_key)
    } else {
        First::Honest
    };
    if behaviour == First::Unavailable {
        return Ok(Behaviour::Answer(answer("503 Service Unavailable", "{}")));
    }
    if matches!(behaviour, First::HangsUp | First::Fails | First::Late) {
        ledger.unknown += 1;
    }
    if behaviour == First::HangsUp {
        return Ok(Behaviour::HangUp);
    }
    let is_new = ledger
        .acted
        .entry(award)
        .or_default()
        .insert(call.delivery_key.clone());
    Ok(match behaviour {
        First::Fails => Behaviour::Answer(answer("500 Internal Server Error", "{}")),
        First::Late => Behaviour::Late(ok),
        First::Twice => Behaviour::Answer([ok.clone(), ok].concat()),
        First::Unavailable | First::HangsUp | First::Honest if is_new => Behaviour::Answer(ok),
        First::Unavailable | First::HangsUp | First::Honest => {
            Behaviour::Answer(answer("409 Conflict", "{}"))
        }
    })
}

/// What the receiver does with the first call under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Unavailable,
    HangsUp,
    Fails,
    Late,
    Twice,
    Honest,
}

fn first_of(key: &str) -> First {
    let mut share = share_of(key);
    for (behaviour, size) in SHARES {
        if share < size {
            return behaviour;
        }
        share -= size;
    }
    First::Honest
}

/// A number from 0 to 999 that a delivery key always has (FNV-1a).
fn share_of(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 29)) % 1000
}

fn is_signed(call: &Call, key: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length makes an HMAC");
    mac.update(format!("{}.{}.", call.delivery_key, call.timestamp).as_bytes());
    mac.update(&call.body);
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    call.signature.split(' ').any(|given| given == expected)
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Reads one request, `None` when the caller is done.
async fn read_call(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Call>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        anyhow::ensure!(
            buffer.len() < HEAD_BYTES_MAX,
            "the head of a call is too long"
        );
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let length: usize = header("content-length").parse()?;
    anyhow::ensure!(length <= 1 << 20, "the body of a call is too long");
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    Ok(Some(Call {
        delivery_key: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
        body,
    }))
}
