//! The house of a fault test: the real binary on a fresh directory, a campaign of
//! every kind that delivers by itself, and the outside service that it calls.

use crate::rides::Rides;
use crate::rows::Rows;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tombola_server::client::{Answer, Api, Call};

/// Nothing here takes longer, or it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// The shortest times that may be configured.
const CONFIG: &str = r#"
[delivery]
retry_first = "100ms"
grace_first = "4001ms"
lease_time = "40001ms"
"#;

const CAMPAIGN: &str = r#"{
  "campaign": { "slug": "fair", "name": "Fair" },
  "odds": { "on_unavailable": "fallback", "fallback": "thanks" },
  "prize": [
    { "slug": "coffee", "name": "Coffee", "kind": "code", "odds": "30%", "stock": 12 },
    { "slug": "ten", "name": "Ten points", "kind": "points", "points": 10, "odds": "20%" },
    { "slug": "ride", "name": "A ride", "kind": "webhook", "endpoint": "rides", "odds": "30%" },
    { "slug": "thanks", "name": "Thanks", "kind": "text", "text": "Thank you", "odds": "20%" }
  ]
}"#;

/// A request for draws.
pub(crate) struct Request {
    pub(crate) key: String,
    pub(crate) user: String,
    pub(crate) count: usize,
}

impl Request {
    pub(crate) fn call(&self) -> Call {
        Call::post("/v1/campaigns/fair/draws")
            .request_key(&self.key)
            .json(&json!({ "user": self.user, "count": self.count }))
    }
}

pub(crate) struct House {
    pub(crate) rides: Rides,
    data: TempDir,
    child: Child,
}

impl House {
    /// The campaign `fair` is started; the server is not.
    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("c.toml"), CONFIG).unwrap();
        let mut house = Self {
            rides: Rides::open().await,
            child: spawn(data.path(), None),
            data,
        };
        house.until_ready_or_dead().await;
        house.set_up().await;
        house.child.kill().unwrap();
        house.child.wait().unwrap();
        house
    }

    pub(crate) fn api(&self) -> Api {
        Api::socket(self.data.path().join("tombola.sock"))
    }

    pub(crate) fn rows(&self) -> Rows {
        Rows::open(self.data.path())
    }

    async fn set_up(&self) {
        let api = self.api();
        let rides = json!({
            "name": "rides", "url": self.rides.url, "idempotent": true, "conflict_means_delivered": true,
            "concurrency": 1, "rate": "8/s", "allow_private": true,
        });
        good(&api, Call::put("/v1/endpoints/rides").json(&rides)).await;
        good(
            &api,
            Call::put("/v1/campaigns/fair").json_text(CAMPAIGN.to_owned()),
        )
        .await;
        let codes: Vec<String> = (0..12).map(|number| format!("CODE-{number:04}")).collect();
        let import =
            Call::post("/v1/campaigns/fair/prizes/coffee/codes").request_key("codes-of-the-fair");
        good(
            &api,
            import.stream("text/csv", format!("code\n{}\n", codes.join("\n")).into()),
        )
        .await;
        for to in ["submit", "approve", "start"] {
            good(
                &api,
                Call::post("/v1/campaigns/fair/transitions").json(&json!({ "to": to })),
            )
            .await;
        }
    }

    /// Starts the server, to end at `point` if there is one; it may do so at once.
    pub(crate) async fn start(&mut self, point: Option<&str>) {
        assert!(self.is_dead(), "one server at a time");
        self.child = spawn(self.data.path(), point);
        self.until_ready_or_dead().await;
        assert!(
            point.is_some() || !self.is_dead(),
            "the server died by itself"
        );
    }

    /// Draws; `None` if the server died before it answered.
    pub(crate) async fn draw(&mut self, request: &Request) -> Option<Answer> {
        let api = self.api();
        let child = &mut self.child;
        wait("an answer, or the server's death", async || {
            match api.answer(request.call()).await {
                Ok(answer) if answer.status < 500 => Some(Some(answer)),
                Ok(_) | Err(_) => child.try_wait().unwrap().map(|_| None),
            }
        })
        .await
    }

    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the server has ended, and says how.
    pub(crate) async fn until_dead(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait("the server's end", async || child.try_wait().unwrap()).await
    }

    /// Asks for a graceful stop.
    pub(crate) fn stop(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Stands still, whatever it was doing, when this comes back.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED)
            .unwrap()
            .unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// Goes on where it stood.
    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    async fn until_ready_or_dead(&mut self) {
        let api = self.api();
        let child = &mut self.child;
        wait("a ready or dead server", async || {
            let is_dead = child.try_wait().unwrap().is_some();
            let is_ready = api
                .answer(Call::get("/readyz"))
                .await
                .is_ok_and(|answer| answer.status == 200);
            (is_dead || is_ready).then_some(())
        })
        .await;
    }

    /// Waits until nothing is on its way any more, and gives all awards.
    pub(crate) async fn until_delivered(&self) -> Vec<Value> {
        let api = self.api();
        wait("an audit without an unfinished award", async || {
            (unfinished(&api).await == Some(0)).then_some(())
        })
        .await;
        awards(&api, "").await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(log(self.data.path()));
            println!("{}", log.unwrap_or_default());
        }
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Awards on their way, as a server says that lives.
pub(crate) async fn unfinished(api: &Api) -> Option<u64> {
    let answer = api.answer(Call::get("/v1/audit")).await.ok()?;
    let audit: Value = serde_json::from_slice(&answer.body).ok()?;
    audit["campaigns"][0]["unfinished"].as_u64()
}

/// The awards that fit, such as `&state=delivering`.
pub(crate) async fn awards(api: &Api, filter: &str) -> Vec<Value> {
    let page = good(api, Call::get(format!("/v1/awards?limit=500{filter}"))).await;
    page["items"].as_array().unwrap().clone()
}

/// The answer of a call that has to go well.
pub(crate) async fn good(api: &Api, call: Call) -> Value {
    let answer = api.answer(call).await.unwrap();
    assert!(
        answer.status < 300,
        "{} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Asks until there is an answer; fails when patience ends.
pub(crate) async fn wait<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    wait_at_most(PATIENCE, what, ask).await
}

/// The same, for what takes its time.
pub(crate) async fn wait_at_most<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let asking = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(patience, asking)
        .await
        .unwrap_or_else(|_| panic!("this did not come: {what}"))
}

/// What the servers of a house say.
fn log(data: &Path) -> PathBuf {
    data.join("serve.log")
}

fn spawn(data: &Path, point: Option<&str>) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log(data))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombola"));
    command
        .arg("--data")
        .arg(data)
        .arg("--config")
        .arg(data.join("c.toml"));
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    match point {
        Some(point) => command.env("TOMBOLA_KILL_POINT", point),
        None => command.env_remove("TOMBOLA_KILL_POINT"),
    };
    command.spawn().unwrap()
}
