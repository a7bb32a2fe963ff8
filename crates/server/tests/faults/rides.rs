//! The outside service of a fault test: it writes down every call, acts once under
//! each delivery key, answers 409 to a key under which it has acted, and may hold its
//! answers back.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The delivery keys of the calls for each award, in order.
pub(crate) type Calls = BTreeMap<i64, Vec<String>>;

#[derive(Clone)]
pub(crate) struct Rides {
    pub(crate) url: String,
    calls: Arc<Mutex<Calls>>,
    answers: Arc<watch::Sender<bool>>,
}

impl Rides {
    pub(crate) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let rides = Self {
            url: format!("http://{}/rides", listener.local_addr().unwrap()),
            calls: Arc::default(),
            answers: Arc::new(watch::Sender::new(true)),
        };
        let router = Router::new()
            .route("/rides", post(act))
            .with_state(rides.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        rides
    }

    pub(crate) fn calls(&self) -> Calls {
        self.calls.lock().unwrap().clone()
    }

    /// Whether it answers; until then it acts all the same, and the caller waits.
    pub(crate) fn answer(&self, answers: bool) {
        self.answers.send_replace(answers);
    }
}

async fn act(
    State(rides): State<Rides>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let key = headers["webhook-id"].to_str().unwrap().to_owned();
    let award = body["data"]["orderId"].as_i64().unwrap();
    let is_new = {
        let mut calls = rides.calls.lock().unwrap();
        let before = calls.entry(award).or_default();
        let is_new = !before.contains(&key);
        before.push(key);
        is_new
    };
    let mut answers = rides.answers.subscribe();
    answers.wait_for(|answers| *answers).await.unwrap();
    let status = if is_new {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    (status, Json(json!({ "receipt": format!("ride-{award}") })))
}
