//! Draws: one request key, one draw, one answer, whatever happens in between.

use crate::world::{Desk, JSON, KEY, World};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tombola_server::api::DrawBody;

#[tokio::test]
async fn answer_has_the_shape_of_the_contract() {
    let world = World::with_fair().await;
    let answer = world.draw("u1", 2, "request-1").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("idempotent-replayed"), None);
    let draws = answer.json()["draws"].as_array().unwrap().clone();
    assert_eq!(draws.len(), 2);
    for draw in draws {
        let keys: Vec<&String> = draw.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "award", "campaign", "drawn_at", "id", "outcome", "prize", "user"
            ]
        );
        assert_eq!(
            (&draw["campaign"], &draw["user"], &draw["outcome"]),
            (&json!("fair"), &json!("u1"), &json!("won"))
        );
        assert_eq!(draw["award"]["id"], draw["id"]);
        assert_eq!(draw["award"]["state"], "pending");
        let token = draw["award"]["claim_token"].as_str().unwrap();
        assert!(token.starts_with("tmc_"), "{token}");
    }
}

#[tokio::test]
async fn replay_is_byte_equal_also_after_the_award_moved_and_the_directory_was_reopened() {
    let world = World::with_fair().await;
    let first = world.draw("u1", 3, "request-1").await;
    let id = first.json()["draws"][0]["id"].as_i64().unwrap();
    let held = world
        .post(
            &format!("/v1/awards/{id}/hold"),
            &json!({ "reason": "test" }),
        )
        .await;
    assert_eq!(held.json()["state"], "held");
    let again = world.draw("u1", 3, "request-1").await;
    let world = world.reopen().await;
    let later = world.draw("u1", 3, "request-1").await;
    for replay in [again, later] {
        assert_eq!(
            (replay.status, &replay.body),
            (StatusCode::CREATED, &first.body)
        );
        assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    }
    let left = world.get("/v1/campaigns/fair/users/u1").await.json()["left"].as_u64();
    assert_eq!(left, Some(2), "three of five draws were made");
}

#[tokio::test]
async fn key_is_demanded_and_not_taken_for_another_request() {
    let world = World::with_fair().await;
    let body = json!({ "user": "u1" }).to_string();
    let without = world
        .send("POST", "/v1/campaigns/fair/draws", &[JSON], &body)
        .await;
    assert_eq!(
        (without.status, without.code().as_str()),
        (StatusCode::BAD_REQUEST, "request_key_missing")
    );
    assert_eq!(
        world.draw("u1", 1, "request-1").await.status,
        StatusCode::CREATED
    );
    for other in [
        world.draw("u2", 1, "request-1").await,
        world.draw("u1", 2, "request-1").await,
    ] {
        assert_eq!(
            (other.status, other.code().as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, "request_key_reused")
        );
    }
    let spaced = [JSON, ("idempotency-key", "request-1")];
    let spaced = world
        .send(
            "POST",
            "/v1/campaigns/fair/draws",
            &spaced,
            "{ \"count\": 1,\n \"user\": \"u1\" }",
        )
        .await;
    assert_eq!(
        spaced.header("idempotent-replayed"),
        Some("true"),
        "it goes by the parsed request"
    );
}

#[tokio::test]
async fn request_keys_of_two_clients_do_not_meet() {
    let world = World::with_fair().await;
    let (app, shop) = (
        world.key("client", "app").await,
        world.key("client", "shop").await,
    );
    let path = "/v1/campaigns/fair/draws";
    let draw = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [JSON, KEY, ("authorization", bearer.as_str())];
        let body = json!({ "user": "u1" }).to_string();
        world.send_as(None, "POST", path, &headers, &body).await
    };
    let (one, two) = (draw(&app).await, draw(&shop).await);
    let rotated = world.key("client", "app").await;
    let three = draw(&rotated).await;
    assert_ne!(one.body, two.body);
    assert_eq!(
        one.body, three.body,
        "a second key of one client keeps the scope"
    );
}

#[tokio::test]
async fn many_draws_are_all_or_none() {
    let world = World::with_fair().await;
    assert_eq!(
        world.draw("u1", 3, "request-1").await.status,
        StatusCode::CREATED
    );
    let refused = world.draw("u1", 3, "request-2").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::CONFLICT, "allowance_exhausted")
    );
    assert_eq!(
        (&refused.json()["left"], &refused.json()["limit"]),
        (&json!(2), &json!("per_user_total"))
    );
    assert_eq!(
        world.draw("u1", 2, "request-2").await.status,
        StatusCode::CREATED,
        "a refusal keeps no key"
    );
    let audit = world.get("/v1/audit?full=true").await.json();
    assert_eq!(
        (&audit["ok"], &audit["campaigns"][0]["draws"]),
        (&json!(true), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_equal_requests_from_hundred_connections_are_one_draw_with_equal_bytes() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let server = desk.serve();
    let key = desk
        .ok(&["key", "create", "--role", "client", "--client", "app"])
        .stdout;
    let body = DrawBody {
        user: "u1".to_owned(),
        count: 2,
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (api, body) = (server.api(key.trim()), body.clone());
        calls.spawn(async move { api.draw_answer("fair", &body, "one-request").await.unwrap() });
    }
    let answers = calls.join_all().await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 && answer.body == answers[0].body)
    );
    assert_eq!(
        answers.iter().filter(|answer| !answer.is_replayed).count(),
        1
    );
    // And again after the process was killed.
    server.kill();
    let server = desk.serve();
    let later = server
        .api(key.trim())
        .draw_answer("fair", &body, "one-request")
        .await
        .unwrap();
    assert_eq!((later.is_replayed, &later.body), (true, &answers[0].body));
    let audit = desk.ok(&["audit", "--json"]).json();
    assert_eq!(audit["campaigns"][0]["draws"], 2);
}

#[tokio::test]
async fn code_is_shown_whole_to_the_client_that_drew_and_masked_to_others() {
    let world = World::with_fair().await;
    let client = world.key("client", "app").await;
    let operator = world.key("operator", "desk").await;
    let mut coffee = None;
    for n in 0..100 {
        let bearer = format!("Bearer {client}");
        let (user, key) = (format!("u{n}"), format!("request-{n}"));
        let headers = [
            JSON,
            ("idempotency-key", key.as_str()),
            ("authorization", bearer.as_str()),
        ];
        let body = json!({ "user": user }).to_string();
        let drawn = world
            .send_as(None, "POST", "/v1/campaigns/fair/draws", &headers, &body)
            .await
            .json();
        if drawn["draws"][0]["prize"] == "coffee" {
            coffee = drawn["draws"][0]["award"]["id"].as_i64();
            break;
        }
    }
    let path = format!("/v1/awards/{}", coffee.unwrap());
    let before = world
        .send_with(&client, "GET", &path, &Value::Null)
        .await
        .json();
    assert_eq!(before["content"], Value::Null, "not delivered yet");
    // Delivered by the worker of a server that was started.
    let roles = tombola_server::app::ServeRoles::all();
    world.app.start(roles).await.unwrap();
    let whole = loop {
        let award = world
            .send_with(&client, "GET", &path, &Value::Null)
            .await
            .json();
        if award["state"] == "delivered" {
            break award["content"].as_str().unwrap().to_owned();
        }
        tokio::task::yield_now().await;
    };
    assert!(whole.starts_with("SECRET-"), "{whole}");
    let masked = world
        .send_with(&operator, "GET", &path, &Value::Null)
        .await
        .json();
    let masked = masked["content"].as_str().unwrap();
    assert!(masked.contains('•') && masked != whole, "{masked}");
    let list = world
        .send_with(&operator, "GET", "/v1/awards", &Value::Null)
        .await;
    assert!(!String::from_utf8(list.body).unwrap().contains("SECRET-"));
    world.app.stop().await;
}
