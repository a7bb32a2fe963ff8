//! The house of these tests: the real binary on a fresh directory with a campaign in
//! which every draw wins, and requests as bytes over TCP, good and bad ones.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes longer, or it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A server that takes less than this has not grown with what was offered.
pub(crate) const RSS_KIB_MAX: u64 = 300 * 1024;

const CAMPAIGN: &str = r#"{
  "campaign": { "slug": "fair", "name": "Fair" },
  "prize": [{ "slug": "thanks", "name": "Thanks", "kind": "text", "text": "Thank you", "odds": "100%" }]
}"#;

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Of all that was read until the end; status 0 if nothing was.
    fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
        let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Self {
            status: status.unwrap_or_default(),
            head,
            body: body.to_vec(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status and code.
    pub(crate) fn said(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        (self.status, code)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find_map(|(it, value)| (it == name).then_some(value))
    }
}

/// A running server.
pub(crate) struct House {
    temp: TempDir,
    pub(crate) address: String,
    pub(crate) admin: String,
    pub(crate) client: String,
    child: Child,
}

impl House {
    /// Under these settings, with the campaign `fair` started and the key of a client.
    pub(crate) fn new(settings: &str) -> Self {
        let mut house = Self::bare(settings, &[]);
        house.set_up();
        house
    }

    /// The same, where the system bounds the files of a process by what `ulimit` takes.
    pub(crate) fn with_files(settings: &str, ulimit: &str) -> Self {
        let temp = with_settings(settings);
        let shell = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
        let mut house = Self::begin(temp, |serve| {
            let mut command = Command::new("sh");
            command.args(["-c", &shell]).arg(serve.get_program());
            command.args(serve.get_args());
            command.current_dir(serve.get_current_dir().unwrap());
            command
        });
        house.set_up();
        house
    }

    /// Under these settings and variables, with nothing in it.
    pub(crate) fn bare(settings: &str, env: &[(&str, &str)]) -> Self {
        Self::over(with_settings(settings), env)
    }

    /// The same over a directory that holds more.
    pub(crate) fn over(temp: TempDir, env: &[(&str, &str)]) -> Self {
        Self::begin(temp, |mut serve| {
            serve.envs(env.iter().copied());
            serve
        })
    }

    fn begin(temp: TempDir, how: impl FnOnce(Command) -> Command) -> Self {
        let serve = command(&temp, &["serve", "--listen", "127.0.0.1:0", "--json"]);
        let log = File::create(temp.path().join("serve.log")).unwrap();
        let mut command = how(serve);
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said["address"].as_str().map(str::to_owned);
        let admin = std::fs::read_to_string(temp.path().join("tombola-data/admin.key"));
        Self {
            address: address.unwrap_or_else(|| panic!("no start: {}", log_of(&temp))),
            admin: admin.unwrap().trim().to_owned(),
            client: String::new(),
            temp,
            child,
        }
    }

    fn set_up(&mut self) {
        let admin = self.admin.clone();
        let applied = self.call(&admin, "PUT", "/v1/campaigns/fair", CAMPAIGN);
        assert_eq!(applied.status, 200, "{applied:?}");
        for to in ["submit", "approve", "start"] {
            let body = json!({ "to": to }).to_string();
            let moved = self.call(&admin, "POST", "/v1/campaigns/fair/transitions", &body);
            assert_eq!(moved.status, 200, "{moved:?}");
        }
        let made = self.call(&admin, "POST", "/v1/keys", r#"{"role":"client"}"#);
        self.client = made.json()["key"].as_str().unwrap().to_owned();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // Who is refused half-way may be cut off; what was answered is read all the same.
        stream.write_all(bytes).ok();
        read(stream)
    }

    /// A whole request with a key.
    pub(crate) fn call(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut bytes = head(
            key,
            method,
            path,
            &format!("content-length: {}", body.len()),
        );
        bytes.extend_from_slice(body);
        self.raw(&bytes)
    }

    /// A draw as the client; the answer has to be one.
    pub(crate) fn draw(&self) {
        static USERS: AtomicU64 = AtomicU64::new(0);
        let user = format!("u{}", USERS.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "user": user }).to_string();
        let answer = self.call(&self.client, "POST", DRAWS, body);
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// The server lives, draws, and has not grown.
    pub(crate) fn assert_well(&self) {
        let alive = self.raw(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(
            (alive.status, alive.body.as_slice()),
            (200, b"ok\n".as_slice())
        );
        self.draw();
        let rss = self.rss_kib();
        assert!(rss < RSS_KIB_MAX, "{rss} KiB");
    }

    /// Memory of the server's process.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    pub(crate) fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        command(&self.temp, args)
            .envs(env.iter().copied())
            .output()
            .unwrap()
    }

    /// Runs a command and expects that it does.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args, &[]);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn log(&self) -> String {
        log_of(&self.temp)
    }

    /// Stops it and gives all that it has logged.
    pub(crate) fn stop(mut self) -> String {
        self.signal("-TERM");
        self.child.wait().unwrap();
        self.log()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn with_settings(settings: &str) -> TempDir {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("tombola.toml"), settings).unwrap();
    temp
}

pub(crate) const DRAWS: &str = "/v1/campaigns/fair/draws";

/// The head of a request with a key and one more line.
pub(crate) fn head(key: &str, method: &str, path: &str, line: &str) -> Vec<u8> {
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\nidempotency-key: request-{number}\r\n{line}\r\n\r\n"
    )
    .into_bytes()
}

/// Reads until the server closes. A reset after the answer is an end too.
pub(crate) fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok();
    Answer::of(&bytes)
}

pub(crate) fn command(temp: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombola"));
    command
        .args(args)
        .current_dir(temp.path())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOMBOLA_") {
            command.env_remove(name);
        }
    }
    command
}

fn log_of(temp: &TempDir) -> String {
    std::fs::read_to_string(temp.path().join("serve.log")).unwrap()
}

/// Looks again until it is so; an end of patience, not of time, bounds it.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    const LOOKS_MAX: u32 = 2_000_000;
    let is_so = (0..LOOKS_MAX).any(|_| {
        std::thread::yield_now();
        is_so()
    });
    assert!(is_so, "{what}: not so after {LOOKS_MAX} looks");
}
