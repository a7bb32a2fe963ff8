//! Requests that come again: one effect and the same bytes, after a restart too.

use crate::world::{Answer, JSON, World};
use axum::http::StatusCode;
use serde_json::{Value, json};

async fn post(world: &World, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [JSON, ("idempotency-key", key)];
    world.send("POST", path, &headers, &body.to_string()).await
}

const ENDPOINT: &str =
    r#"{ "name": "shop", "url": "https://shop.example/awards", "idempotent": true }"#;

/// A world in which each request of [`requests`] goes through, in their order.
async fn ready() -> (World, i64) {
    let world = World::with_fair().await;
    let put = world
        .send("PUT", "/v1/endpoints/shop", &[JSON], ENDPOINT)
        .await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    for n in 0..200 {
        let draw = world
            .draw(&format!("u{n}"), 1, &format!("draw-{n:04}"))
            .await;
        if draw.json()["draws"][0]["prize"] == "mug" {
            let id = draw.json()["draws"][0]["id"].as_i64().unwrap();
            return (world, id);
        }
    }
    panic!("no mug in 200 draws");
}

/// Requests of every kind of act, each of which changes something when it comes
/// first and would change it again.
fn requests(award: i64) -> Vec<(String, Value)> {
    let address =
        json!({ "name": "Ann", "lines": ["Main street 1"], "city": "Bergen", "country": "NO" });
    let of_award = |act: &str| format!("/v1/awards/{award}/{act}");
    let transitions = "/v1/campaigns/fair/transitions".to_owned();
    let stock = "/v1/campaigns/fair/prizes/coffee/stock".to_owned();
    vec![
        (stock, json!({ "add": 5 })),
        (transitions.clone(), json!({ "to": "pause" })),
        (transitions, json!({ "to": "resume" })),
        (of_award("address"), address),
        (of_award("hold"), json!({ "reason": "look at it" })),
        (of_award("release"), json!({ "reason": "looked at" })),
        (of_award("cancel"), json!({ "reason": "withdrawn" })),
        ("/v1/endpoints/shop/disable".into(), json!({})),
        ("/v1/endpoints/shop/enable".into(), json!({})),
        (
            "/v1/endpoints/shop/rotate-secret".into(),
            json!({ "reason": "yearly" }),
        ),
        (
            "/v1/deliveries/pause".into(),
            json!({ "campaign": "fair", "reason": "try" }),
        ),
        (
            "/v1/deliveries/resume".into(),
            json!({ "campaign": "fair", "reason": "try" }),
        ),
        (
            "/v1/keys".into(),
            json!({ "role": "client", "client": "app" }),
        ),
        ("/v1/keys/1/revoke".into(), json!({})),
        ("/v1/users/u1/block".into(), json!({ "reason": "fraud" })),
        ("/v1/users/u1/unblock".into(), json!({})),
        (
            "/v1/campaigns/fair/prizes/coffee/codes/1/withdraw".into(),
            json!({ "reason": "wrong codes" }),
        ),
        (
            "/v1/awards/cancel".into(),
            json!({ "filter": {}, "reason": "all wrong" }),
        ),
        (
            "/v1/player-tokens".into(),
            json!({ "campaign": "fair", "user": "u1" }),
        ),
    ]
}

fn key(n: usize) -> String {
    format!("request-{n:04}")
}

async fn log_lines(world: &World) -> usize {
    let log = world.get("/v1/log?limit=500").await.json();
    log["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn every_act_that_comes_again_has_one_effect_and_the_same_bytes_after_a_restart_too() {
    let (mut world, award) = ready().await;
    let mut first = Vec::new();
    for (n, (path, body)) in requests(award).iter().enumerate() {
        let answer = post(&world, path, &key(n), body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        assert_eq!(answer.header("idempotent-replayed"), None, "{path}");
        first.push(answer);
    }
    for restarted in [false, true] {
        let lines = log_lines(&world).await;
        for (n, (path, body)) in requests(award).iter().enumerate() {
            let again = post(&world, path, &key(n), body).await;
            assert_eq!(
                (again.status, &again.body),
                (first[n].status, &first[n].body),
                "{path}, restarted: {restarted}"
            );
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
        }
        assert_eq!(log_lines(&world).await, lines, "nothing was done again");
        world = world.reopen().await;
    }
}

#[tokio::test]
async fn a_key_that_comes_with_another_body_is_refused_and_another_address_is_another_request() {
    let (world, award) = ready().await;
    let hold = format!("/v1/awards/{award}/hold");
    let why = json!({ "reason": "look at it" });
    let held = post(&world, &hold, "request-1", &why).await;
    assert_eq!(held.status, StatusCode::OK, "{held:?}");
    let other = post(&world, &hold, "request-1", &json!({ "reason": "other" })).await;
    assert_eq!(other.code(), "request_key_reused");
    let release = format!("/v1/awards/{award}/release");
    let released = post(&world, &release, "request-1", &why).await;
    assert_eq!(released.json()["state"], "pending", "{released:?}");
}

#[tokio::test]
async fn what_was_refused_may_be_tried_again_under_its_key() {
    let (world, award) = ready().await;
    let release = format!("/v1/awards/{award}/release");
    let why = json!({ "reason": "looked at" });
    let refused = post(&world, &release, "request-1", &why).await;
    assert_eq!(refused.code(), "award_state", "{refused:?}");
    let hold = format!("/v1/awards/{award}/hold");
    assert_eq!(world.post(&hold, &why).await.status, StatusCode::OK);
    let released = post(&world, &release, "request-1", &why).await;
    assert_eq!(released.status, StatusCode::OK, "{released:?}");
}

#[tokio::test]
async fn a_key_of_the_api_is_shown_again_to_its_request_only_and_kept_in_clear_nowhere() {
    let world = World::new().await;
    let body = json!({ "role": "auditor", "client": "books" });
    let made = post(&world, "/v1/keys", "request-1", &body).await.json();
    let clear = made["key"].as_str().unwrap().to_owned();
    let other = post(&world, "/v1/keys", "request-2", &body).await.json();
    assert_ne!(other["key"], made["key"]);
    let listed = world
        .send_with(&clear, "GET", "/v1/campaigns", &Value::Null)
        .await;
    assert_eq!(listed.status, StatusCode::OK);
    let data = world.temp.path().join("data");
    world.app.stop().await;
    for entry in std::fs::read_dir(data).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        let found = bytes.windows(clear.len()).any(|it| it == clear.as_bytes());
        assert!(!found, "the key lies in a file");
    }
}
