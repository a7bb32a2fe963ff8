//! What comes in has its bounds at the door: what is at one is not refused for it, and
//! what is one past it is, with a pointer or a code that says so.

use crate::world::{Answer, JSON, KEY, World};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tombola_core::{Timestamp, limits};

const DRAWS: &str = "/v1/campaigns/fair/draws";

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Where the body is refused, if it is: the pointer of the field.
async fn refused(world: &World, path: &str, body: Value) -> Option<String> {
    let answer = world.send("POST", path, &[JSON], &body.to_string()).await;
    pointer(&answer)
}

fn pointer(answer: &Answer) -> Option<String> {
    assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    let is_refused = answer.code() == "invalid_body";
    is_refused.then(|| {
        let errors = answer.json()["errors"].clone();
        errors[0]["pointer"].as_str().unwrap_or_default().to_owned()
    })
}

/// A body with so much is not refused for it, one with one more is at that field.
async fn assert_bound(
    world: &World,
    path: &str,
    max: usize,
    field: &str,
    body: impl Fn(usize) -> Value,
) {
    assert_eq!(refused(world, path, body(max)).await, None, "{field}");
    let beyond = refused(world, path, body(max + 1)).await;
    assert_eq!(beyond.as_deref(), Some(field));
}

#[tokio::test]
async fn user_of_a_draw_is_as_long_as_the_bound_and_no_longer() {
    let world = World::with_fair().await;
    let ask = async |user: String| {
        let body = json!({ "user": user }).to_string();
        world.send("POST", DRAWS, &[JSON, KEY], &body).await
    };
    let longest = ask(text(limits::USER_BYTES_MAX)).await;
    assert_eq!(longest.status, StatusCode::CREATED, "{longest:?}");
    // Bytes, not letters.
    let bytes = "ü".repeat(limits::USER_BYTES_MAX / 2) + "x";
    assert_eq!(pointer(&ask(bytes).await).as_deref(), Some("/user"));
}

#[tokio::test]
async fn request_asks_for_as_many_draws_as_the_bound_and_no_more() {
    let world = World::with_fair().await;
    let most = u64::from(limits::DRAWS_PER_REQUEST_MAX);
    // More than the campaign allows, which is asked after this.
    let asked = world.draw("u1", most, "request-1").await;
    assert_eq!(asked.code(), "allowance_exhausted");
    let beyond = world.draw("u1", most + 1, "request-1").await;
    assert_eq!(
        (beyond.code().as_str(), &beyond.json()["max"]),
        ("count_too_large", &json!(most))
    );
}

#[tokio::test]
async fn body_has_as_many_bytes_as_the_bound_and_no_more() {
    let world = World::with_fair().await;
    let ask = async |bytes: usize| {
        let mut body = json!({ "user": "u1" }).to_string();
        body.push_str(&" ".repeat(bytes - body.len()));
        world.send("POST", DRAWS, &[JSON, KEY], &body).await
    };
    let largest = ask(limits::BODY_BYTES_MAX).await;
    assert_eq!(largest.status, StatusCode::CREATED, "{largest:?}");
    let larger = ask(limits::BODY_BYTES_MAX + 1).await;
    assert_eq!(larger.code(), "body_too_large");
}

#[tokio::test]
async fn page_has_as_many_rows_as_the_bound_and_no_more() {
    let world = World::new().await;
    let page = async |limit: usize| world.get(&format!("/v1/awards?limit={limit}")).await;
    assert_eq!(page(limits::PAGE_MAX).await.status, StatusCode::OK);
    assert_eq!(page(limits::PAGE_MAX + 1).await.code(), "invalid_query");
}

#[tokio::test]
async fn reason_and_receipt_are_as_long_as_their_bounds_and_no_longer() {
    let world = World::new().await;
    let max = limits::REASON_BYTES_MAX;
    assert_bound(
        &world,
        "/v1/awards/1/hold",
        max,
        "/reason",
        |bytes| json!({ "reason": text(bytes) }),
    )
    .await;
    let max = limits::RECEIPT_BYTES_MAX;
    assert_bound(
        &world,
        "/v1/awards/1/confirm",
        max,
        "/receipt",
        |bytes| json!({ "receipt": text(bytes), "reason": "seen" }),
    )
    .await;
}

#[tokio::test]
async fn address_is_as_large_as_its_bounds_and_no_larger() {
    let world = World::new().await;
    let with = |field: &str, value: Value| {
        let mut address =
            json!({ "name": "Ann", "lines": ["1"], "city": "Bergen", "country": "NO" });
        address[field] = value;
        address
    };
    let path = "/v1/awards/1/address";
    let max = limits::ADDRESS_TEXT_BYTES_MAX;
    for field in ["name", "city", "postal_code", "region", "phone"] {
        assert_bound(&world, path, max, &format!("/{field}"), |bytes| {
            with(field, json!(text(bytes)))
        })
        .await;
    }
    assert_bound(&world, path, max, "/lines", |bytes| {
        with("lines", json!([text(bytes)]))
    })
    .await;
    let max = limits::ADDRESS_LINES_MAX;
    assert_bound(&world, path, max, "/lines", |lines| {
        with("lines", json!(vec!["1"; lines]))
    })
    .await;
}

#[tokio::test]
async fn carrier_and_tracking_are_as_long_as_their_bound_and_no_longer() {
    let world = World::new().await;
    let path = "/v1/awards/1/shipment";
    let max = limits::SHIPMENT_TEXT_BYTES_MAX;
    assert_bound(
        &world,
        path,
        max,
        "/carrier",
        |bytes| json!({ "carrier": text(bytes), "tracking": "1" }),
    )
    .await;
    assert_bound(
        &world,
        path,
        max,
        "/tracking",
        |bytes| json!({ "carrier": "post", "tracking": text(bytes) }),
    )
    .await;
}

#[tokio::test]
async fn requeue_names_as_many_ids_and_is_spread_as_long_as_the_bounds_and_no_more() {
    let world = World::new().await;
    let path = "/v1/dead-letters/requeue";
    assert_bound(
        &world,
        path,
        limits::STEP_ROWS_MAX,
        "/ids",
        |ids| json!({ "ids": (1..=ids).collect::<Vec<_>>(), "reason": "mended" }),
    )
    .await;
    let max = usize::try_from(limits::REQUEUE_OVER_MAX.as_millis()).unwrap();
    assert_bound(
        &world,
        path,
        max,
        "/over",
        |millis| json!({ "filter": {}, "over": format!("{millis}ms") }),
    )
    .await;
}

#[tokio::test]
async fn overlap_of_a_rotation_is_as_long_as_the_bound_and_no_longer() {
    let world = World::new().await;
    let path = "/v1/endpoints/none/rotate-secret";
    let max = usize::try_from(limits::SECRET_OVERLAP_MAX.as_secs()).unwrap();
    assert_bound(
        &world,
        path,
        max,
        "/overlap",
        |seconds| json!({ "reason": "yearly", "overlap": format!("{seconds}s") }),
    )
    .await;
}

#[tokio::test]
async fn key_has_a_client_and_campaigns_up_to_their_bounds() {
    let world = World::new().await;
    let path = "/v1/keys";
    let max = limits::CLIENT_BYTES_MAX;
    assert_bound(
        &world,
        path,
        max,
        "/client",
        |bytes| json!({ "role": "client", "client": text(bytes) }),
    )
    .await;
    let with = |campaigns: Vec<String>| json!({ "role": "client", "campaigns": campaigns });
    let max = limits::KEY_CAMPAIGNS_MAX;
    assert_bound(&world, path, max, "/campaigns", |count| {
        with((0..count).map(|n| format!("c{n}")).collect())
    })
    .await;
    let max = limits::SLUG_BYTES_MAX;
    assert_bound(&world, path, max, "/campaigns", |bytes| {
        with(vec![text(bytes)])
    })
    .await;
}

#[tokio::test]
async fn player_token_is_good_as_long_as_the_bounds_say() {
    let world = World::with_fair().await;
    let path = "/v1/player-tokens";
    let body = |ttl: Value| json!({ "campaign": "fair", "user": "u1", "ttl": ttl });
    let max = usize::try_from(limits::PLAYER_TOKEN_LIFE_MAX.as_millis()).unwrap();
    assert_bound(&world, path, max, "/ttl", |millis| {
        body(json!(format!("{millis}ms")))
    })
    .await;
    for (ttl, life) in [
        (Value::Null, limits::PLAYER_TOKEN_LIFE),
        (json!("24h"), limits::PLAYER_TOKEN_LIFE_MAX),
    ] {
        let before = world.app.now().plus(life);
        let made = world.post(path, &body(ttl)).await.json();
        let after = world.app.now().plus(life);
        let ends = Timestamp::parse(made["expires_at"].as_str().unwrap()).unwrap();
        // Whole seconds count.
        let second = Duration::from_secs(1);
        assert!((before.minus(second)..=after).contains(&ends), "{ends}");
    }
}
