//! A listener over pipes, with time moved by hand.

use super::*;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes that lie in a pipe at most.
const PIPE: usize = 64 * 1024;
/// Bytes of the answer that is too large for a pipe.
const LARGE: usize = 1 << 20;

const HEAD: Duration = limits::HEAD_TIMEOUT;
const IDLE: Duration = limits::IDLE_TIMEOUT;
/// Turns after which every task has done what it could without time.
const TURNS: usize = 100;

struct Pipes(tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>);

impl Accept for Pipes {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, Option<IpAddr>)> {
        let next = self.0.lock().await.recv().await;
        next.map(|pipe| (pipe, None))
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

struct Listener {
    pipes: mpsc::Sender<DuplexStream>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    /// What requests to `/wait` wait for.
    gate: Arc<Semaphore>,
}

impl Listener {
    fn new(connections_max: usize) -> Self {
        Self::under(None, connections_max)
    }

    fn under(tls: Option<Arc<Tls>>, connections_max: usize) -> Self {
        let (pipes, accepted) = mpsc::channel(16);
        let (stop, gate) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let waits = Arc::clone(&gate);
        let wait = async move || {
            waits.acquire().await.unwrap().forget();
            "done"
        };
        let router = Router::new()
            .route("/", get(async || "ok"))
            .route("/large", get(async || vec![b'x'; LARGE]))
            .route("/refused", post(async || StatusCode::PAYLOAD_TOO_LARGE))
            .route("/wait", get(wait));
        let manners = Manners {
            connections_max,
            patience: Patience {
                head: HEAD,
                idle: IDLE,
            },
            tls,
        };
        let pipes_of = Pipes(tokio::sync::Mutex::new(accepted));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        let ended = tokio::spawn(serve(pipes_of, router, manners, stop.clone()));
        Self {
            pipes,
            stop,
            ended,
            gate,
        }
    }

    async fn connect(&self) -> DuplexStream {
        let (ours, theirs) = duplex(PIPE);
        self.pipes.send(theirs).await.unwrap();
        ours
    }
}

/// Moves time, once everybody waits for it, and lets them act on it.
async fn pass(span: Duration) {
    settle().await;
    tokio::time::advance(span).await;
    settle().await;
}

async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

async fn ask(pipe: &mut DuplexStream, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    pipe.write_all(head.as_bytes()).await.unwrap();
}

/// Reads until it has seen `end`.
async fn read_to(pipe: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut bytes = [0; 1024];
        let count = pipe.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

/// Reads until the connection is closed.
async fn read_all(pipe: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn assert_took(since: Instant, span: Duration) {
    let took = since.elapsed();
    let is_close = took >= span && took < span + Duration::from_secs(1);
    assert!(is_close, "{took:?} instead of {span:?}");
}

#[tokio::test(start_paused = true)]
async fn connection_that_says_nothing_is_closed_after_the_time_of_a_head() {
    let listener = Listener::new(4);
    let mut pipe = listener.connect().await;
    let since = Instant::now();
    assert_eq!(read_all(&mut pipe).await, "");
    assert_took(since, HEAD);
}

#[tokio::test(start_paused = true)]
async fn handshake_that_does_not_come_is_cut_off() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let http = Http {
        tls_certificate: write("cert.pem", made.cert.pem()),
        tls_key_file: write("key.pem", made.signing_key.serialize_pem()),
        ..Http::default()
    };
    let listener = Listener::under(Tls::open(&http).unwrap().map(Arc::new), 4);
    let mut pipe = listener.connect().await;
    let since = Instant::now();
    assert_eq!(read_all(&mut pipe).await, "");
    assert_took(since, limits::HANDSHAKE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn head_that_drips_is_answered_408_when_its_time_is_over() {
    let listener = Listener::new(4);
    let (mut read, mut write) = tokio::io::split(listener.connect().await);
    let since = Instant::now();
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nx-slow: ".iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() {
                return;
            }
            pass(Duration::from_secs(1)).await;
        }
    };
    let mut said = String::new();
    tokio::select! {
        () = drip => {}
        read = read.read_to_string(&mut said) => { read.unwrap(); }
    }
    assert!(said.starts_with("HTTP/1.1 408 "), "{said:?}");
    assert_took(since, HEAD);
}

#[tokio::test(start_paused = true)]
async fn kept_connection_may_idle_longer_but_a_head_that_has_begun_may_not() {
    let listener = Listener::new(4);
    let mut pipe = listener.connect().await;
    for _ in 0..3 {
        ask(&mut pipe, "/").await;
        read_to(&mut pipe, "ok").await;
        pass(IDLE * 9 / 10).await;
    }
    pipe.write_all(b"GET").await.unwrap();
    let since = Instant::now();
    assert!(read_all(&mut pipe).await.starts_with("HTTP/1.1 408 "));
    assert_took(since, HEAD);

    let mut pipe = listener.connect().await;
    ask(&mut pipe, "/").await;
    read_to(&mut pipe, "ok").await;
    let since = Instant::now();
    assert_eq!(read_all(&mut pipe).await, "");
    assert_took(since, IDLE);
}

#[tokio::test(start_paused = true)]
async fn answer_that_nobody_reads_does_not_stand_for_ever() {
    let listener = Listener::new(4);
    let mut pipe = listener.connect().await;
    ask(&mut pipe, "/large").await;
    pass(limits::ANSWER_STALL_MAX + Duration::from_secs(1)).await;
    let read = read_all(&mut pipe).await.len();
    assert!(read <= PIPE, "no more than lay in the pipe: {read}");
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_read_slowly_comes_whole_and_the_wait_after_it_is_bounded() {
    let listener = Listener::new(4);
    let mut pipe = listener.connect().await;
    ask(&mut pipe, "/large").await;
    let (mut count, mut bytes) = (0, vec![0; PIPE]);
    while count < LARGE {
        pass(limits::ANSWER_STALL_MAX / 2).await;
        count += pipe.read(&mut bytes).await.unwrap();
    }
    let since = Instant::now();
    read_all(&mut pipe).await;
    assert_took(since, IDLE);
}

#[tokio::test(start_paused = true)]
async fn client_that_writes_a_body_nobody_reads_sees_its_answer() {
    let listener = Listener::new(4);
    let mut pipe = listener.connect().await;
    let head = "POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n";
    pipe.write_all(head.as_bytes()).await.unwrap();
    pipe.write_all(&vec![b'x'; 10_000_000]).await.unwrap();
    assert!(read_all(&mut pipe).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_of_such_a_body_is_bounded_in_bytes_and_in_time() {
    let listener = Listener::new(4);
    let head = "POST /refused HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n";
    let mut endless = listener.connect().await;
    endless.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; PIPE];
    let mut written = 0;
    while endless.write_all(&piece).await.is_ok() {
        written += piece.len();
    }
    assert!(written >= limits::LINGER_BYTES_MAX, "{written}");
    assert!(written < limits::LINGER_BYTES_MAX + 4 * PIPE, "{written}");

    let mut silent = listener.connect().await;
    silent.write_all(head.as_bytes()).await.unwrap();
    read_all(&mut silent).await;
    let since = Instant::now();
    while silent.write_all(b"x").await.is_ok() {
        pass(Duration::from_millis(100)).await;
    }
    assert_took(since, limits::LINGER_MAX);
}

#[tokio::test(start_paused = true)]
async fn when_all_places_are_taken_the_oldest_idle_connection_makes_room() {
    let listener = Listener::new(2);
    let mut oldest = listener.connect().await;
    let mut younger = listener.connect().await;
    let mut newest = listener.connect().await;
    let since = Instant::now();
    assert_eq!(read_all(&mut oldest).await, "");
    assert_took(since, Duration::ZERO);
    for pipe in [&mut younger, &mut newest] {
        ask(pipe, "/").await;
        read_to(pipe, "ok").await;
    }
}

#[tokio::test(start_paused = true)]
async fn answer_that_nobody_reads_gives_its_seat_to_another() {
    let listener = Listener::new(1);
    let mut stalled = listener.connect().await;
    ask(&mut stalled, "/large").await;
    settle().await;
    let mut other = listener.connect().await;
    ask(&mut other, "/").await;
    read_to(&mut other, "ok").await;
    assert!(read_all(&mut stalled).await.len() <= PIPE);
}

#[tokio::test(start_paused = true)]
async fn connection_with_a_request_under_way_is_never_closed_for_another() {
    let listener = Listener::new(1);
    let mut busy = listener.connect().await;
    ask(&mut busy, "/wait").await;
    settle().await;
    let mut other = listener.connect().await;
    assert_eq!(
        read_all(&mut other).await,
        "",
        "closed, for there is no place"
    );
    listener.gate.add_permits(1);
    read_to(&mut busy, "done").await;
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_requests_and_not_for_connections_that_do_nothing() {
    let listener = Listener::new(4);
    let (mut busy, mut half_open) = (listener.connect().await, listener.connect().await);
    ask(&mut busy, "/wait").await;
    half_open.write_all(b"GET / HT").await.unwrap();
    settle().await;
    let since = Instant::now();
    listener.stop.cancel();
    assert_eq!(read_all(&mut half_open).await, "");
    assert_took(since, limits::STOP_IDLE_MAX);
    assert!(!listener.ended.is_finished(), "a request is under way");
    listener.gate.add_permits(1);
    read_to(&mut busy, "done").await;
    listener.ended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn head_beyond_all_bounds_is_cut_and_answered_431() {
    let listener = Listener::new(4);
    let pipe = listener.connect().await;
    let mut head = b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec();
    for n in 0..100_000 {
        head.extend_from_slice(format!("x-{n}: flood\r\n").as_bytes());
    }
    let (mut read, mut write) = tokio::io::split(pipe);
    let mut said = String::new();
    let (written, read) = tokio::join!(write.write_all(&head), read.read_to_string(&mut said));
    read.unwrap();
    written.unwrap();
    assert!(said.starts_with("HTTP/1.1 431 "), "{said:?}");
}
