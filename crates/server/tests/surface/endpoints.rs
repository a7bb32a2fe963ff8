//! Endpoints: a secret that is rotated, and a test call.

use crate::clients::whole;
use crate::world::{Answer, Desk, JSON, World};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use tombola_core::ports::Catalog as _;
use tombola_core::{Timestamp, limits};

/// A service on this machine that answers every call with one status, and keeps what
/// came. Ends with the test's process.
pub(crate) struct Receiver {
    pub(crate) url: String,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) fn of(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/awards", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // A server that is killed may end in the middle of its call.
                let Some(request) = whole(&mut stream, "POST /awards") else {
                    continue;
                };
                let request = String::from_utf8(request).unwrap();
                seen.lock().unwrap().push(request);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\
                     connection: close\r\n\r\n"
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self { url, calls }
    }

    /// The calls so far, head and body.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

async fn put(world: &World, spec: &Value) -> Answer {
    let path = format!("/v1/endpoints/{}", spec["name"].as_str().unwrap());
    let put = world.send("PUT", &path, &[JSON], &spec.to_string()).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    put
}

/// A world with the endpoint `shop`; gives its first secret.
async fn with_shop() -> (World, String) {
    let world = World::new().await;
    let spec = json!({ "name": "shop", "url": "https://shop.example/awards", "idempotent": true });
    let made = put(&world, &spec).await.json();
    let secret = made["new_secret"].as_str().unwrap().to_owned();
    (world, secret)
}

const ROTATE: &str = "/v1/endpoints/shop/rotate-secret";

async fn rotate(world: &World, overlap: &str) -> Value {
    let body = json!({ "reason": "yearly", "overlap": overlap });
    let rotated = world.post(ROTATE, &body).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    rotated.json()
}

/// The secrets that sign now, the newest first.
async fn signing(world: &World) -> Vec<String> {
    let all = world.app.store().endpoints().await.unwrap();
    let live = all[0].secrets_at(world.app.now());
    live.into_iter().map(str::to_owned).collect()
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn rotated_secret_is_shown_once_and_signs_beside_the_one_before_until_its_end_is_told() {
    let (world, first) = with_shop().await;
    let began = world.app.now();
    let rotated = world.post(ROTATE, &json!({ "reason": "yearly" })).await;
    let rotated = rotated.json();
    let second = rotated["new_secret"].as_str().unwrap();
    assert_eq!(rotated["endpoint"], "shop");
    assert_eq!(signing(&world).await, [second, &first]);
    let ends = rotated["older_secrets_end_at"].clone();
    let overlap = instant(&ends[0]).since(began);
    let slack = std::time::Duration::from_mins(1);
    assert!(
        overlap >= limits::SECRET_OVERLAP && overlap < limits::SECRET_OVERLAP + slack,
        "a day unless asked otherwise: {overlap:?}"
    );
    let shown = world.get("/v1/endpoints/shop").await.json();
    assert_eq!(
        (&shown["secrets"], &shown["older_secrets_end_at"]),
        (&json!(2), &ends)
    );
    for path in ["/v1/endpoints/shop", "/v1/endpoints", "/v1/log"] {
        let said = world.get(path).await.json().to_string();
        assert!(!said.contains("whsec_"), "{path}: {said}");
    }
    let line = world.get("/v1/log").await.json()["items"][0].clone();
    assert_eq!(
        [&line["action"], &line["subject"], &line["reason"]],
        ["endpoint rotate-secret", "shop", "yearly"]
    );
}

#[tokio::test]
async fn rotation_of_no_endpoint_or_with_an_overlap_that_is_none_changes_nothing() {
    let (world, first) = with_shop().await;
    for overlap in ["", "a while", "-1h", "1.5h", "8d"] {
        let body = json!({ "overlap": overlap });
        let refused = world.post(ROTATE, &body).await;
        assert_eq!(refused.code(), "invalid_body", "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], "/overlap");
    }
    let why = json!({ "reason": "yearly" });
    let none = world.post("/v1/endpoints/none/rotate-secret", &why).await;
    assert_eq!(none.code(), "endpoint_not_found");
    assert_eq!(signing(&world).await, [first]);
}

#[tokio::test]
async fn rotation_that_comes_again_shows_the_same_secret_which_is_kept_in_clear_nowhere() {
    let (mut world, first) = with_shop().await;
    let send = async |world: &World| {
        let headers = [JSON, ("idempotency-key", "request-1")];
        let body = json!({ "reason": "yearly" }).to_string();
        world.send("POST", ROTATE, &headers, &body).await
    };
    let rotated = send(&world).await;
    assert_eq!(rotated.header("idempotent-replayed"), None);
    let second = rotated.json()["new_secret"].as_str().unwrap().to_owned();
    // Another one, another key of ours, and another process.
    rotate(&world, "0s").await;
    world
        .post("/v1/secrets/rotate", &json!({ "reason": "too" }))
        .await;
    for restarted in [false, true] {
        let again = send(&world).await;
        assert_eq!(
            (again.status, &again.body),
            (rotated.status, &rotated.body),
            "restarted: {restarted}"
        );
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(
            signing(&world).await.len(),
            1,
            "it was rotated no second time"
        );
        world = world.reopen().await;
    }
    let data = world.temp.path().join("data");
    world.app.stop().await;
    for entry in std::fs::read_dir(data).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        for secret in [&first, &second] {
            let found = bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            assert!(!found, "a secret lies in a file");
        }
    }
}

#[tokio::test]
async fn rotation_beyond_the_bound_tells_when_there_is_room_and_0s_ends_all_older_ones() {
    let (world, first) = with_shop().await;
    let ends = rotate(&world, "1h").await["older_secrets_end_at"].clone();
    for _ in 2..limits::ENDPOINT_SECRETS_MAX {
        rotate(&world, "2h").await;
    }
    let full = signing(&world).await;
    assert_eq!(full.len(), limits::ENDPOINT_SECRETS_MAX);
    assert_eq!(full.last(), Some(&first));
    let spec = json!({
        "name": "shop", "url": "https://shop.example/awards", "idempotent": true,
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqr"
    });
    let refused = [
        world.post(ROTATE, &json!({ "reason": "again" })).await,
        world
            .send("PUT", "/v1/endpoints/shop", &[JSON], &spec.to_string())
            .await,
    ];
    for refused in refused {
        assert_eq!(refused.code(), "endpoint_secrets_full", "{refused:?}");
        assert_eq!(refused.json()["ends_at"], ends[0]);
    }
    assert_eq!(signing(&world).await, full);
    let leaked = rotate(&world, "0s").await;
    assert_eq!(leaked["older_secrets_end_at"], json!([]));
    assert_eq!(
        signing(&world).await,
        [leaked["new_secret"].as_str().unwrap()]
    );
}

/// A world with an endpoint at that receiver, disabled.
async fn disabled_at(receiver: &Receiver) -> World {
    let world = World::new().await;
    let spec = json!({
        "name": "shop", "url": receiver.url, "idempotent": true, "allow_private": true
    });
    put(&world, &spec).await;
    let why = json!({ "reason": "not yet" });
    world.post("/v1/endpoints/shop/disable", &why).await;
    world
}

const TEST: &str = "/v1/endpoints/shop/test";

#[tokio::test]
async fn a_test_call_of_a_disabled_endpoint_is_no_award_and_its_answer_is_told() {
    let receiver = Receiver::of(204);
    let world = disabled_at(&receiver).await;
    let tested = world.post(TEST, &json!({})).await.json();
    assert_eq!(
        [&tested["is_ok"], &tested["decision"], &tested["status"]],
        [&json!(true), &json!("delivered"), &json!(204)]
    );
    assert_eq!([&tested["error"], &tested["mend"]], [&Value::Null; 2]);
    assert!(tested["took_ms"].is_u64(), "{tested}");
    let calls = receiver.calls();
    let [call] = calls.as_slice() else {
        panic!("one call: {calls:?}")
    };
    let (head, body) = call.split_once("\r\n\r\n").unwrap();
    let id = tested["webhook_id"].as_str().unwrap();
    assert!(head.contains(&format!("webhook-id: {id}\r\n")), "{head}");
    assert!(head.contains("webhook-signature: v1,"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["type"], "endpoint.test");
    assert_eq!(body["data"], json!({ "endpoint": "shop" }));
}

#[tokio::test]
async fn every_answer_to_a_test_call_has_its_decision_and_mend_and_changes_nothing() {
    for (status, decision) in [
        (302, "defer"),
        (401, "defer"),
        (410, "hold"),
        (422, "refuse"),
        (500, "unknown"),
        (503, "retry"),
    ] {
        let receiver = Receiver::of(status);
        let world = disabled_at(&receiver).await;
        let why = json!({ "reason": "now" });
        world.post("/v1/endpoints/shop/enable", &why).await;
        let before = world.get("/v1/endpoints/shop").await.json();
        let tested = world.post(TEST, &json!({})).await.json();
        assert_eq!(
            [&tested["is_ok"], &tested["decision"], &tested["status"]],
            [&json!(false), &json!(decision), &json!(status)]
        );
        assert!(tested["mend"].is_string(), "{tested}");
        assert_eq!(receiver.calls().len(), 1, "redirects are not followed");
        assert_eq!(world.get("/v1/endpoints/shop").await.json(), before);
    }
}

#[tokio::test]
async fn a_test_call_goes_to_no_private_address_and_to_no_endpoint_that_is_not_there() {
    let receiver = Receiver::of(204);
    let world = World::new().await;
    let spec = json!({ "name": "shop", "url": receiver.url, "idempotent": true });
    put(&world, &spec).await;
    let tested = world.post(TEST, &json!({})).await.json();
    assert_eq!(
        [&tested["is_ok"], &tested["status"]],
        [&json!(false), &Value::Null]
    );
    let error = tested["error"].as_str().unwrap();
    assert!(error.contains("private"), "{error}");
    assert!(receiver.calls().is_empty());
    let none = world.post("/v1/endpoints/none/test", &json!({})).await;
    assert_eq!(none.code(), "endpoint_not_found");
}

#[tokio::test]
async fn a_test_call_that_comes_again_under_its_key_is_answered_without_a_call() {
    let receiver = Receiver::of(204);
    let world = disabled_at(&receiver).await;
    let headers = [JSON, ("idempotency-key", "request-1")];
    let first = world.send("POST", TEST, &headers, "{}").await;
    let again = world.send("POST", TEST, &headers, "{}").await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(receiver.calls().len(), 1);
}

#[test]
fn endpoint_is_tested_and_its_secret_rotated_by_command_over_the_socket_and_from_afar() {
    let receiver = Receiver::of(401);
    let desk = Desk::new();
    let file = format!(
        "[[endpoint]]\nname = \"shop\"\nurl = \"{}\"\nidempotent = true\nallow_private = true\n",
        receiver.url
    );
    std::fs::write(desk.path("endpoints.toml"), file).unwrap();
    desk.ok(&["endpoint", "put", "endpoints.toml"]);
    let rotate = ["endpoint", "rotate-secret", "shop", "--reason", "yearly"];

    let server = desk.serve();
    let key = desk.ok(&["key", "create", "--role", "admin", "--client", "ann"]);
    std::fs::write(desk.path("key"), key.stdout.trim()).unwrap();
    let url = format!("http://{}", server.address);
    let afar = ["--server", url.as_str(), "--api-key-file", "key"];
    let mut secrets = Vec::new();
    for way in [&[][..], &afar[..]] {
        let tested = desk.run(&[way, &["endpoint", "test", "shop", "--json"]].concat());
        assert_eq!(tested.code, Some(1), "{tested:?}");
        assert_eq!(tested.json()["decision"], "defer");
        assert!(tested.stderr.contains("rotate-secret"), "{tested:?}");
        let more = ["--overlap", "2h", "--json"];
        let rotated = desk.ok(&[way, &rotate, &more].concat());
        secrets.push(rotated.json()["new_secret"].clone());
        assert!(
            rotated.stderr.contains("signs as well until"),
            "{rotated:?}"
        );
    }
    assert_ne!(secrets[0], secrets[1]);
    let shown = desk.ok(&["endpoint", "show", "shop"]).stdout;
    assert_eq!(
        shown.matches("an older secret signs until").count(),
        2,
        "{shown}"
    );
    let keyed = [&rotate[..], &["--overlap", "0s", "--key", "a-request-key"]].concat();
    let once = desk.ok(&keyed);
    assert_eq!(desk.ok(&keyed).stdout, once.stdout);
    assert!(once.stdout.contains("(shown this once)"), "{once:?}");
    assert!(once.stderr.contains("no other secret signs"), "{once:?}");
}
