//! Worlds of these tests: a router over a fresh directory, and the real binary.

use crate::document;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tombola_server::app::{App, Purpose};
use tombola_server::client::Api;
use tombola_server::config::Config;
use tombola_server::http::auth::Who;
use tombola_store::postgres::{PostgresOptions, fresh};
use tower::ServiceExt;

/// A campaign of three kinds; users may draw five times, and every draw wins.
pub(crate) const FAIR: &str = r#"
[campaign]
slug = "fair"
name = "Fair"

[limits]
per_user_total = 5

[odds]
on_unavailable = "fallback"
fallback = "thanks"

[[prize]]
slug = "coffee"
name = "Coffee voucher"
kind = "code"
odds = "40%"
stock = 3
codes = "codes.csv"

[[prize]]
slug = "mug"
name = "A mug"
kind = "physical"
odds = "30%"

[[prize]]
slug = "thanks"
name = "Thank you"
kind = "text"
text = "Thank you for coming"
odds = "30%"
"#;

/// Its code file.
pub(crate) const CODES: &str = "code\nSECRET-1\nSECRET-2\nSECRET-3\n";

/// An answer of the router.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A router over a fresh directory; nothing moves, so every state stands still.
pub(crate) struct World {
    pub(crate) temp: Temp,
    pub(crate) app: App,
    router: Router,
}

/// A fresh directory. Where `TOMBOLA_SURFACE_POSTGRES` names a server, a database of its
/// own as well, so that the same tests of the API run on PostgreSQL; it is dropped with
/// the directory.
pub(crate) struct Temp {
    dir: TempDir,
    database: Option<(PostgresOptions, String)>,
}

impl From<TempDir> for Temp {
    fn from(dir: TempDir) -> Self {
        let database = server().map(|url| {
            let options = PostgresOptions::parse(&url).unwrap();
            let name = database_of(dir.path());
            wait(fresh::create(&options, &name)).unwrap();
            (options, name)
        });
        Self { dir, database }
    }
}

impl std::ops::Deref for Temp {
    type Target = TempDir;

    fn deref(&self) -> &TempDir {
        &self.dir
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if let Some((server, name)) = &self.database {
            wait(fresh::remove(server, name)).unwrap();
        }
    }
}

/// Where these tests have their databases, if not in files.
pub(crate) fn server() -> Option<String> {
    std::env::var("TOMBOLA_SURFACE_POSTGRES").ok()
}

/// Whether this run is on PostgreSQL, where a test about the file of a database has
/// nothing to say: it has said it in the run on SQLite.
pub(crate) fn is_not_about_files() -> bool {
    server().is_some()
}

fn database_of(directory: &Path) -> String {
    let tail = directory.file_name().unwrap().to_string_lossy();
    format!("tombola_surface_{}", tail.trim_start_matches('.'))
}

/// On a thread of its own: the test's runtime may be waiting, or ending.
fn wait<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(work)
        });
        waiting.join().unwrap()
    })
}

pub(crate) fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.database.url = format!("sqlite://{}/tombola.db", directory.display());
    if let (Some(url), Some(temp)) = (server(), directory.parent()) {
        let (place, _) = url.rsplit_once('/').unwrap();
        config.database.url = format!("{place}/{}", database_of(temp));
        config.database.directory = directory.display().to_string();
    }
    config.http.listen = "127.0.0.1:0".to_owned();
    config
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap().into()).await
    }

    pub(crate) async fn over(temp: Temp) -> Self {
        Self::set(temp, |_| {}).await
    }

    /// Over a directory, under these settings.
    pub(crate) async fn set(temp: Temp, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&temp.path().join("data"));
        set(&mut config);
        Self::with(temp, config).await
    }

    pub(crate) async fn with(temp: Temp, config: Config) -> Self {
        let app = Box::pin(App::open_for(config, Purpose::Serve { migrate: true }))
            .await
            .unwrap();
        let router = app.router();
        Self { temp, app, router }
    }

    /// With the campaign `fair` started.
    pub(crate) async fn with_fair() -> Self {
        Self::with_fair_and(|_| {}).await
    }

    /// With the campaign `fair` started under these settings.
    pub(crate) async fn with_fair_and(settings: impl FnOnce(&mut Config)) -> Self {
        let world = Self::set(tempfile::tempdir().unwrap().into(), settings).await;
        world.apply(FAIR).await;
        let codes = world
            .send(
                "POST",
                "/v1/campaigns/fair/prizes/coffee/codes",
                &[("content-type", "text/csv"), KEY],
                CODES,
            )
            .await;
        assert_eq!(codes.status, StatusCode::OK, "{codes:?}");
        world.start("fair").await;
        world
    }

    pub(crate) async fn apply(&self, toml: &str) -> Answer {
        let file = tombola_core::campaign::parse_toml("test", toml).unwrap();
        let path = format!("/v1/campaigns/{}", file.campaign.slug);
        let answer = self.send("PUT", &path, &[JSON], &file.to_json()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    pub(crate) async fn start(&self, campaign: &str) {
        for to in ["submit", "approve", "start"] {
            let path = format!("/v1/campaigns/{campaign}/transitions");
            let answer = self.post(&path, &json!({ "to": to })).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }

    /// Closes the directory and opens it again, as another process would.
    pub(crate) async fn reopen(self) -> Self {
        self.app.stop().await;
        Self::over(self.temp).await
    }

    /// As admin `local`.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send_as(Some(Who::Local), method, path, headers, body)
            .await
    }

    /// As whoever; `None` goes by the headers alone.
    pub(crate) async fn send_as(
        &self,
        caller: Option<Who>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        document::hold(method, path, &answer);
        answer
    }

    /// As admin `local`, the body not read yet.
    pub(crate) async fn response(&self, method: &str, path: &str) -> axum::response::Response {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Who::Local);
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[JSON], &body.to_string()).await
    }

    pub(crate) async fn draw(&self, user: &str, count: u64, key: &str) -> Answer {
        let body = json!({ "user": user, "count": count }).to_string();
        let headers = [JSON, ("idempotency-key", key)];
        self.send("POST", "/v1/campaigns/fair/draws", &headers, &body)
            .await
    }

    /// A key of that role, in clear.
    pub(crate) async fn key(&self, role: &str, client: &str) -> String {
        let made = self
            .post("/v1/keys", &json!({ "role": role, "client": client }))
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()["key"].as_str().unwrap().to_owned()
    }

    /// With a key, and with a request key of its own.
    pub(crate) async fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let bearer = format!("Bearer {key}");
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!("request-of-a-key-{}", REQUESTS.fetch_add(1, Relaxed));
        let headers = [
            JSON,
            ("idempotency-key", request.as_str()),
            ("authorization", bearer.as_str()),
        ];
        self.send_as(None, method, path, &headers, &text).await
    }
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const KEY: (&str, &str) = ("idempotency-key", "a-request-key");

/// Requests sent with a key so far.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// What a run of the binary said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The one JSON document on stdout.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "one document: {self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// One object a line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A working directory in which the real binary runs.
pub(crate) struct Desk {
    pub(crate) temp: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("fair.toml"), FAIR).unwrap();
        std::fs::write(temp.path().join("codes.csv"), CODES).unwrap();
        Self { temp }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("tombola-data")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tombola"));
        command
            .args(args)
            .current_dir(self.temp.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TOMBOLA_") {
                command.env_remove(name);
            }
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Said {
        said(self.command(args))
    }

    /// Runs and expects exit code 0.
    pub(crate) fn ok(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said
    }

    /// Starts `serve` on a free port and waits until it says where it listens.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, env: &[(&str, &str)]) -> Server {
        self.serve_as(&[], env)
    }

    /// The same with further arguments.
    pub(crate) fn serve_as(&self, args: &[&str], env: &[(&str, &str)]) -> Server {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--json"];
        let mut command = self.command(&[args, &serve].concat());
        command.envs(env.iter().copied()).stdout(Stdio::piped());
        // Into a file: a pipe that nobody reads would fill and hold the server up.
        let log = self.path("serve.log");
        command.stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let Some(address) = said["address"].as_str() else {
            child.wait().unwrap();
            panic!(
                "serve did not start: {}",
                std::fs::read_to_string(log).unwrap()
            );
        };
        Server {
            address: address.to_owned(),
            child: Some(child),
            log,
        }
    }
}

pub(crate) fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    pub(crate) address: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Server {
    pub(crate) fn api(&self, key: &str) -> Api {
        Api::http(&format!("http://{}", self.address), Some(key.to_owned())).unwrap()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().map(Child::id).unwrap();
        let sent = Command::new("kill")
            .args([name, &id.to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// SIGTERM; gives what it said until its end.
    pub(crate) fn stop(mut self) -> Said {
        self.signal("-TERM");
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: std::fs::read_to_string(&self.log).unwrap(),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Asks again until there is an answer; an end of patience, not of time, bounds it.
pub(crate) async fn until_some<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    const ASKED_MAX: u32 = 20_000;
    for _ in 0..ASKED_MAX {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what}: not so after {ASKED_MAX} times");
}

/// Looks again until it is so.
#[expect(
    clippy::disallowed_methods,
    reason = "bounds how long a test that fails looks"
)]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_mins(2);
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not so in {PATIENCE:?}");
        std::thread::yield_now();
    }
}
