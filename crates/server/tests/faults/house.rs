//! The house of a fault test: the real binary on a fresh directory, a campaign of
//! every kind that delivers by itself, and an endpoint that writes down what it
//! did and honours the delivery key.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tombola_server::client::{Answer, Api, Call};

/// Nothing here takes longer, or it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Draws of one request: enough awards at once that the endpoint's lane is full.
pub(crate) const PULL: usize = 10;

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

/// Delivery keys under which the endpoint acted, by award.
pub(crate) type Acted = Arc<Mutex<HashMap<i64, HashSet<String>>>>;

pub(crate) struct House {
    pub(crate) data: TempDir,
    pub(crate) acted: Acted,
    child: Child,
}

impl House {
    /// A server that ends itself at `point`, with the campaign `fair` started.
    pub(crate) async fn with_kill_point(point: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(
            data.path().join("c.toml"),
            "[delivery]\nretry_first = \"100ms\"\n",
        )
        .unwrap();
        let acted = Acted::default();
        let url = endpoint(Arc::clone(&acted)).await;
        let mut house = Self {
            child: spawn(data.path(), None),
            data,
            acted,
        };
        house.until_ready().await;
        house.set_up(&url).await;
        house.child.kill().unwrap();
        house.child.wait().unwrap();
        house.child = spawn(house.data.path(), Some(point));
        house.until_ready_or_dead().await;
        house
    }

    pub(crate) fn api(&self) -> Api {
        Api::socket(self.data.path().join("tombola.sock"))
    }

    async fn set_up(&self, url: &str) {
        let api = self.api();
        let rides = json!({
            "name": "rides", "url": url, "idempotent": true, "conflict_means_delivered": true,
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

    /// Draws once under `key`, whatever happens to the server meanwhile: a server
    /// that has died is started again, without its kill point.
    pub(crate) async fn draw(&mut self, key: &str, user: &str) -> Answer {
        loop {
            let call = Call::post("/v1/campaigns/fair/draws")
                .request_key(key)
                .json(&json!({ "user": user, "count": PULL }));
            match self.api().answer(call).await {
                Ok(answer) if answer.status < 500 => return answer,
                Ok(_) | Err(_) => self.restart_if_dead().await,
            }
        }
    }

    /// How the server ended, if it has.
    pub(crate) async fn restart_if_dead(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            self.child = spawn(self.data.path(), None);
            self.until_ready().await;
        }
    }

    /// Waits until the server has ended at its kill point.
    pub(crate) async fn until_killed(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait("the death at the kill point", async || {
            child.try_wait().unwrap()
        })
        .await
    }

    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.data.path(), None);
        self.until_ready().await;
    }

    async fn until_ready(&mut self) {
        let api = self.api();
        wait("a ready server", async || {
            api.answer(Call::get("/readyz"))
                .await
                .ok()
                .filter(|answer| answer.status == 200)
        })
        .await;
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
    pub(crate) async fn until_delivered(&mut self) -> Vec<Value> {
        let api = self.api();
        wait("an audit without an unfinished award", async || {
            let audit = good(&api, Call::get("/v1/audit")).await;
            (audit["campaigns"][0]["unfinished"] == 0).then_some(())
        })
        .await;
        good(&api, Call::get("/v1/awards?limit=500")).await["items"]
            .as_array()
            .unwrap()
            .clone()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
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
async fn wait<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("this did not come: {what}"))
}

fn spawn(data: &Path, point: Option<&str>) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(data.join("serve.log"))
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

async fn endpoint(acted: Acted) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rides", listener.local_addr().unwrap());
    let router = Router::new().route("/rides", post(act)).with_state(acted);
    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn act(
    State(acted): State<Acted>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["webhook-id"].to_str().unwrap().to_owned();
    let award = body["data"]["orderId"].as_i64().unwrap();
    let is_new = acted.lock().unwrap().entry(award).or_default().insert(key);
    let status = if is_new {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    (status, Json(json!({ "receipt": format!("ride-{award}") })))
}
