//! How often somebody may ask, and how long an answer may take.

use crate::world::{FAIR, JSON, World, until_some};
use axum::http::StatusCode;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tombola_core::endpoint::parse_rate;
use tombola_core::ports::Catalog as _;
use tombola_server::app::ServeRoles;
use tombola_server::config::{Config, Rate, Span};
use tombola_store::read::{DrawFilter, PageQuery};

/// Looks at what goes on behind an answer; an end of patience, not of time.
const LOOKS_MAX: u32 = 20_000;

fn per_hour(count: u32) -> Rate {
    Rate(parse_rate(&format!("{count}/h")))
}

/// A draw with that key, under a request key of its own.
async fn draw(world: &World, key: &str, user: &str, request_key: &str) -> (StatusCode, String) {
    let bearer = format!("Bearer {key}");
    let headers = [
        JSON,
        ("idempotency-key", request_key),
        ("authorization", bearer.as_str()),
    ];
    let body = json!({ "user": user }).to_string();
    let answer = world
        .send_as(None, "POST", "/v1/campaigns/fair/draws", &headers, &body)
        .await;
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait), "{answer:?}");
    }
    (answer.status, answer.code())
}

const LIMITED: (StatusCode, &str) = (StatusCode::TOO_MANY_REQUESTS, "rate_limited");

#[tokio::test]
async fn one_user_is_held_to_its_rate_and_what_is_refused_has_done_nothing() {
    let world = World::with_fair_and(|it: &mut Config| it.http.rate_per_user = per_hour(2)).await;
    let (app, other) = (
        world.key("client", "app").await,
        world.key("client", "kiosk").await,
    );
    for request_key in ["request-1", "request-2"] {
        assert_eq!(
            draw(&world, &app, "u", request_key).await.0,
            StatusCode::CREATED
        );
    }
    let (status, code) = draw(&world, &app, "u", "request-3").await;
    assert_eq!((status, code.as_str()), LIMITED);
    let (status, code) = draw(&world, &other, "u", "request-4").await;
    assert_eq!(
        (status, code.as_str()),
        LIMITED,
        "a user is one at every client"
    );
    assert_eq!(
        draw(&world, &app, "v", "request-5").await.0,
        StatusCode::CREATED
    );
    let drawn = world.get("/v1/draws?user=u").await.json();
    assert_eq!(drawn["items"].as_array().unwrap().len(), 2);
    // The key was not used up: on this machine, where no rate holds, it is new.
    let local = world.draw("u", 1, "request-3").await;
    assert_eq!(local.status, StatusCode::CREATED);
    assert_eq!(local.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn keys_of_one_client_share_its_rate_and_other_clients_have_their_own() {
    let world = World::with_fair_and(|it: &mut Config| it.http.rate_per_key = per_hour(3)).await;
    let (first, second) = (
        world.key("client", "app").await,
        world.key("client", "app").await,
    );
    let auditor = world.key("auditor", "books").await;
    for key in [&first, &second, &first] {
        let answer = world
            .send_with(key, "GET", "/v1/draws/1", &Value::Null)
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    for key in [&first, &second] {
        let answer = world
            .send_with(key, "GET", "/v1/draws/1", &Value::Null)
            .await;
        assert_eq!((answer.status, answer.code().as_str()), LIMITED);
        assert_eq!(answer.json()["limit"], "rate_per_key");
    }
    let answer = world
        .send_with(&auditor, "GET", "/v1/draws", &Value::Null)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn bearer_of_a_claim_token_is_held_to_the_rate_of_users() {
    let world = World::with_fair_and(|it: &mut Config| it.http.rate_per_user = per_hour(2)).await;
    let mut token = None;
    for n in 0..100 {
        let drawn = world
            .draw(&format!("u{n}"), 1, &format!("request-{n}"))
            .await;
        let award = &drawn.json()["draws"][0]["award"];
        if let Some(found) = award["claim_token"].as_str() {
            token = Some((found.to_owned(), award["id"].to_string()));
            break;
        }
    }
    let (token, id) = token.unwrap();
    let path = format!("/v1/awards/{id}");
    for _ in 0..2 {
        let answer = world.send_with(&token, "GET", &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    let answer = world.send_with(&token, "GET", &path, &Value::Null).await;
    assert_eq!((answer.status, answer.code().as_str()), LIMITED);
}

#[tokio::test]
async fn draw_that_took_too_long_to_answer_is_answered_under_its_key_later() {
    // No time at all: whatever is not there at the first look is late.
    let late = |it: &mut Config| it.http.request_timeout = Span(Duration::ZERO);
    let world = World::with_fair().await;
    world.app.stop().await;
    let world = World::set(world.temp, late).await;
    world.app.start(ServeRoles::all()).await.unwrap();
    let answer = world.draw("u", 1, "request-1").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "timed_out")
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    let is_drawn = async || {
        let all = world
            .app
            .store()
            .draw_list(DrawFilter::default(), PageQuery::default());
        !all.await.unwrap().items.is_empty()
    };
    let mut looks = 0;
    while !is_drawn().await {
        looks += 1;
        assert!(looks < LOOKS_MAX, "the desk did not draw");
    }
    let world = world.reopen().await;
    let again = world.draw("u", 1, "request-1").await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn backup_takes_longer_than_other_requests_may() {
    if crate::world::is_not_about_files() {
        return;
    }
    let late = |it: &mut Config| it.http.request_timeout = Span(Duration::ZERO);
    let world = World::set(tempfile::tempdir().unwrap().into(), late).await;
    let backup = world.response("GET", "/v1/backup").await;
    assert_eq!(backup.status(), StatusCode::OK);
}

#[tokio::test]
async fn revoked_key_is_good_no_more_though_the_client_did_not_wait() {
    let world = World::new().await;
    let key = world.key("auditor", "lost").await;
    let lost = async || {
        let keys = world.app.store().keys().await.unwrap();
        keys.into_iter().find(|it| it.client == "lost").unwrap()
    };
    let id = lost().await.id;
    let revoke = format!("/v1/keys/{id}/revoke");
    let why = json!({ "reason": "lost" });
    let mut asked = Box::pin(world.post(&revoke, &why));
    assert!(asked.as_mut().now_or_never().is_none());
    until_some("the key is revoked", async || {
        // A write waits for those before it.
        world.apply(FAIR).await;
        lost().await.revoked_at
    })
    .await;
    drop(asked);
    until_some("the key is good no more", async || {
        world.apply(FAIR).await;
        let answer = world.send_with(&key, "GET", "/v1/log", &Value::Null).await;
        (answer.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}
