//! An outside service: it sends some awards away at first, to come again in a while, and
//! takes them the next time; so awards are on their way whenever somebody looks.

use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// For how long it sends an award away, in seconds.
const AWAY: &str = "3";
/// One of so many is sent away: too few for the breaker to open.
const ONE_OF: i64 = 3;

/// How often each award was sent away, and how often it was taken.
type Calls = Arc<Mutex<BTreeMap<i64, (usize, usize)>>>;

pub(crate) struct Shop {
    pub(crate) url: String,
    calls: Calls,
    _runtime: tokio::runtime::Runtime,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let url = format!("http://{}/awards", listener.local_addr().unwrap());
        let calls = Calls::default();
        let router = Router::new()
            .route("/awards", post(take))
            .with_state(Arc::clone(&calls));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            calls,
            _runtime: runtime,
        }
    }

    /// The awards that it took, each with how often it took it.
    pub(crate) fn taken(&self) -> BTreeMap<i64, usize> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(award, it)| (*award, it.1)).collect()
    }
}

async fn take(
    State(calls): State<Calls>,
    Json(body): Json<Value>,
) -> (StatusCode, [(HeaderName, &'static str); 1]) {
    let award = body["data"]["orderId"].as_i64().unwrap();
    let mut calls = calls.lock().unwrap();
    let (away, taken) = calls.entry(award).or_default();
    let status = if award % ONE_OF == 0 && *away == 0 {
        *away += 1;
        StatusCode::TOO_MANY_REQUESTS
    } else {
        *taken += 1;
        StatusCode::OK
    };
    (status, [(RETRY_AFTER, AWAY)])
}
