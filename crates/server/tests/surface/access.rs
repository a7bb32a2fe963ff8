//! Route by role, and whose awards a key or a claim token may see.

use crate::world::World;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tombola_server::http::access_table;

/// The contract's table: who may, beside admin. `*` is everybody, `winner` whoever
/// has the claim token.
const TABLE: &str = "
GET  /livez                                          *
GET  /readyz                                         *
GET  /version                                        *
GET  /openapi.json                                   *
GET  /docs                                           *
GET  /docs/{file}                                    *
GET  /metrics                                        auditor
POST /v1/campaigns/{campaign}/draws                  client
GET  /v1/draws                                       operator auditor
GET  /v1/draws/export                                operator auditor
GET  /v1/draws/{id}                                  client operator auditor
GET  /v1/awards                                      deliverer operator auditor
GET  /v1/awards/export                               deliverer operator auditor
GET  /v1/awards/{id}                                 client deliverer operator auditor winner
POST /v1/awards/{id}/hold                            operator
POST /v1/awards/{id}/release                         operator
POST /v1/awards/{id}/confirm                         deliverer operator
POST /v1/awards/{id}/cancel                          operator
POST /v1/awards/{id}/address                         client operator winner
POST /v1/awards/{id}/shipment                        operator
GET  /v1/campaigns                                   operator auditor
GET  /v1/campaigns/{campaign}                        operator auditor
PUT  /v1/campaigns/{campaign}                        operator
POST /v1/campaigns/{campaign}/transitions            operator
GET  /v1/campaigns/{campaign}/odds                   *
GET  /v1/campaigns/{campaign}/users/{user}           client operator auditor
POST /v1/campaigns/{campaign}/prizes/{prize}/codes   operator
GET  /v1/campaigns/{campaign}/codes                  operator auditor
POST /v1/campaigns/{campaign}/prizes/{prize}/stock   operator
GET  /v1/endpoints                                   operator auditor
GET  /v1/endpoints/{name}                            operator auditor
PUT  /v1/endpoints/{name}
POST /v1/endpoints/{name}/test                       operator
POST /v1/endpoints/{name}/rotate-secret
POST /v1/endpoints/{name}/enable                     operator
POST /v1/endpoints/{name}/disable                    operator
GET  /v1/dead-letters                                operator auditor
GET  /v1/dead-letters/export                         operator auditor
POST /v1/dead-letters/requeue                        operator
POST /v1/deliveries/pause                            operator
POST /v1/deliveries/resume                           operator
GET  /v1/keys
POST /v1/keys
POST /v1/keys/{id}/revoke
POST /v1/player-tokens                               client
POST /v1/awards/cancel                               operator
POST /v1/awards/release                              operator
POST /v1/awards/{id}/reverse-points                  operator
GET  /v1/operations                                  operator auditor
GET  /v1/operations/{id}                             operator auditor
POST /v1/operations/{id}/cancel                      operator
GET  /v1/users/{user}                                operator auditor
POST /v1/users/{user}/block                          operator
POST /v1/users/{user}/unblock                        operator
POST /v1/users/{user}/erase
GET  /v1/users/{user}/points                         operator auditor
GET  /v1/dead-letters/{id}                           operator auditor
POST /v1/dead-letters/{id}/dismiss                   operator
POST /v1/campaigns/{campaign}/prizes/{prize}/codes/{import}/withdraw operator
GET  /v1/secrets                                     auditor
POST /v1/secrets/rotate
GET  /v1/log                                         operator auditor
GET  /v1/log/export                                  operator auditor
GET  /v1/audit                                       operator auditor
GET  /v1/backup
GET  /v1/doctor                                      operator auditor
";

const ROLES: [&str; 5] = ["client", "deliverer", "operator", "auditor", "admin"];

fn expected() -> BTreeMap<(String, String), Vec<String>> {
    TABLE
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            (
                (words.next().unwrap(), words.next().unwrap()),
                words.collect(),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_route_lets_in_exactly_the_roles_of_the_table() {
    let world = World::with_fair().await;
    let mut keys = Vec::new();
    for role in ROLES {
        keys.push((role, world.key(role, &format!("{role}-client")).await));
    }
    let expected = expected();
    let routes: Vec<_> = access_table()
        .into_iter()
        .map(|(method, path, _)| (method.to_string(), path.to_owned()))
        .collect();
    assert_eq!(
        routes.len(),
        expected.len(),
        "the table of this test names every route"
    );
    for (route, may) in expected {
        assert!(routes.contains(&route), "{route:?}");
        let (method, path) = &route;
        let path = path
            .replace("{campaign}", "none")
            .replace("{prize}", "none")
            .replace("{name}", "none")
            .replace("{user}", "none")
            .replace("{import}", "1")
            .replace("{id}", "9007199254740991");
        let nobody = world.send_as(None, method, &path, &[], "").await.status;
        let is_public = may.iter().any(|who| who == "*");
        assert_eq!(
            nobody == StatusCode::UNAUTHORIZED,
            !is_public,
            "{route:?} nobody: {nobody}"
        );
        for (role, key) in &keys {
            let status = world
                .send_with(key, method, &path, &Value::Null)
                .await
                .status;
            let is_let_in = is_public || *role == "admin" || may.iter().any(|who| who == role);
            assert_eq!(
                status != StatusCode::FORBIDDEN,
                is_let_in,
                "{route:?} {role}: {status}"
            );
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{route:?} {role}");
        }
    }
}

#[tokio::test]
async fn wrong_keys_are_nobody_also_where_no_key_is_needed() {
    let world = World::new().await;
    for bearer in ["Bearer tmb_wrong", "Bearer", "Basic abc", "Bearer tmc_AAAA"] {
        for path in ["/v1/awards", "/livez"] {
            let answer = world
                .send_as(None, "GET", path, &[("authorization", bearer)], "")
                .await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {bearer}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
}

#[tokio::test]
async fn key_is_good_at_once_and_gone_at_once() {
    let world = World::new().await;
    let key = world.key("auditor", "books").await;
    let list = || world.send_with(&key, "GET", "/v1/campaigns", &Value::Null);
    assert_eq!(list().await.status, StatusCode::OK);
    let id = world.get("/v1/keys").await.json()["items"][0]["id"]
        .as_i64()
        .unwrap();
    let revoked = world
        .post(
            &format!("/v1/keys/{id}/revoke"),
            &json!({ "reason": "lost" }),
        )
        .await;
    assert!(revoked.json()["revoked_at"].is_string());
    assert_eq!(list().await.status, StatusCode::UNAUTHORIZED);
    let world = world.reopen().await;
    let again = world
        .send_with(&key, "GET", "/v1/campaigns", &Value::Null)
        .await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
}

/// Routes that a key for some campaigns may ask although they name no campaign of
/// its own: what they answer with, when nothing there is of its campaigns.
const OF_HANDLER: &[(&str, &str)] = &[
    ("/v1/draws/{id}", "draw_not_found"),
    ("/v1/awards/{id}", "award_not_found"),
    ("/v1/awards/{id}/hold", "award_not_found"),
    ("/v1/awards/{id}/release", "award_not_found"),
    ("/v1/awards/{id}/confirm", "award_not_found"),
    ("/v1/awards/{id}/cancel", "award_not_found"),
    ("/v1/awards/{id}/address", "award_not_found"),
    ("/v1/awards/{id}/shipment", "award_not_found"),
];

#[tokio::test]
async fn key_for_some_campaigns_speaks_of_no_other_and_not_of_all() {
    let world = World::with_fair().await;
    let mug = 'found: {
        for n in 0..200 {
            let draw = world
                .draw(&format!("u{n}"), 1, &format!("draw-{n:04}"))
                .await;
            if draw.json()["draws"][0]["prize"] == "mug" {
                break 'found draw.json()["draws"][0]["id"].to_string();
            }
        }
        panic!("no mug in 200 draws");
    };
    let made = world
        .post(
            "/v1/keys",
            &json!({ "role": "admin", "client": "other", "campaigns": ["other"] }),
        )
        .await;
    let key = made.json()["key"].as_str().unwrap().to_owned();
    for (method, path, access) in access_table() {
        if access.is_public {
            continue;
        }
        let at = path
            .replace("{campaign}", "fair")
            .replace("{prize}", "coffee")
            .replace("{name}", "none")
            .replace("{user}", "u1")
            .replace("{import}", "1")
            .replace("{id}", &mug);
        let body = match path {
            "/v1/awards/{id}/address" => {
                json!({ "name": "A", "lines": ["B"], "city": "C", "country": "NO" })
            }
            "/v1/awards/{id}/shipment" => json!({ "carrier": "A", "tracking": "B" }),
            "/v1/awards/{id}/hold"
            | "/v1/awards/{id}/release"
            | "/v1/awards/{id}/confirm"
            | "/v1/awards/{id}/cancel" => json!({ "reason": "try" }),
            "/v1/player-tokens" => json!({ "campaign": "fair", "user": "u1" }),
            "/v1/deliveries/pause" | "/v1/deliveries/resume" => {
                json!({ "campaign": "fair", "reason": "try" })
            }
            "/v1/dead-letters/requeue" | "/v1/awards/cancel" | "/v1/awards/release" => {
                json!({ "filter": { "campaign": "fair" }, "reason": "try" })
            }
            _ => Value::Null,
        };
        let answer = world.send_with(&key, method.as_str(), &at, &body).await;
        let expected = OF_HANDLER
            .iter()
            .find(|(of, _)| *of == path)
            .map_or("forbidden", |(_, code)| code);
        assert_eq!(answer.code(), expected, "{method} {path}: {answer:?}");
    }
    let own = world
        .send_with(&key, "GET", "/v1/awards?campaign=other", &Value::Null)
        .await;
    assert_eq!(own.status, StatusCode::OK, "{own:?}");
    let foreign = world
        .send_with(&key, "GET", "/v1/awards?campaign=fair", &Value::Null)
        .await;
    assert_eq!(foreign.code(), "forbidden");
}

#[tokio::test]
async fn player_draws_and_looks_for_itself_only() {
    let world = World::with_fair().await;
    let shop = world.key("client", "shop").await;
    let ask = json!({ "campaign": "fair", "user": "u1", "ttl": "5m" });
    let made = world
        .send_with(&shop, "POST", "/v1/player-tokens", &ask)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let token = made.json()["token"].as_str().unwrap().to_owned();

    let draws = "/v1/campaigns/fair/draws";
    let drawn = world
        .send_with(&token, "POST", draws, &json!({ "user": "u1" }))
        .await;
    assert_eq!(drawn.status, StatusCode::CREATED, "{drawn:?}");
    let id = drawn.json()["draws"][0]["id"].to_string();
    let other = world
        .send_with(&token, "POST", draws, &json!({ "user": "u2" }))
        .await;
    assert_eq!(other.code(), "forbidden");

    let get = async |who: &str, path: &str| world.send_with(who, "GET", path, &Value::Null).await;
    let own = get(&token, "/v1/campaigns/fair/users/u1").await;
    assert_eq!(own.status, StatusCode::OK);
    let refused = [
        "/v1/campaigns/fair/users/u2",
        "/v1/campaigns/other/users/u1",
        "/v1/campaigns/fair",
        "/v1/awards",
    ];
    for path in refused {
        assert_eq!(get(&token, path).await.code(), "forbidden", "{path}");
    }
    let award = format!("/v1/awards/{id}");
    let seen = get(&token, &award).await.json();
    assert!(seen.get("timeline").is_none(), "{seen}");
    assert_eq!(
        get(&shop, &award).await.status,
        StatusCode::OK,
        "the client that made the token sees what its player drew"
    );
    let ask = json!({ "campaign": "fair", "user": "u2" });
    let second = world
        .send_as(
            None,
            "POST",
            "/v1/player-tokens",
            &[
                crate::world::JSON,
                ("authorization", &format!("Bearer {shop}")),
            ],
            &ask.to_string(),
        )
        .await;
    let second = second.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(get(&second, &award).await.code(), "award_not_found");
    for ttl in ["0s", "25h", "soon"] {
        let ask = json!({ "campaign": "fair", "user": "u1", "ttl": ttl });
        let answer = world.post("/v1/player-tokens", &ask).await;
        assert_eq!(answer.code(), "invalid_body", "{ttl}");
    }
}

#[tokio::test]
async fn second_person_has_to_approve_where_the_config_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let mut config = crate::world::config(&temp.path().join("data"));
    config.campaigns.approval = tombola_core::campaign::Approval::SecondPerson;
    let world = World::with(temp.into(), config).await;
    world.apply(crate::world::FAIR).await;
    let (ann, bo) = (
        world.key("operator", "ann").await,
        world.key("operator", "bo").await,
    );
    let path = "/v1/campaigns/fair/transitions";
    let to = |to: &str| json!({ "to": to });
    world.send_with(&ann, "POST", path, &to("submit")).await;
    let alone = world.send_with(&ann, "POST", path, &to("approve")).await;
    assert_eq!(alone.code(), "second_person_needed");
    let second = world.send_with(&bo, "POST", path, &to("approve")).await;
    assert_eq!(second.json()["state"], "approved", "{second:?}");
    let log = world.get("/v1/log").await.json();
    let said: Vec<_> = log["items"].as_array().unwrap()[..2]
        .iter()
        .map(|line| format!("{} {}", line["by"], line["action"]))
        .collect();
    assert_eq!(
        said,
        ["\"bo\" \"campaign approve\"", "\"ann\" \"campaign submit\""]
    );
}

/// Two clients draw until each has won a mug; gives the first one's award, its claim
/// token, and the second one's award.
async fn two_mugs(world: &World, keys: [&str; 2]) -> (i64, String, i64) {
    let mut mugs = Vec::new();
    for key in keys {
        let mug = 'found: {
            for n in 0..200 {
                let (user, request) = (format!("u{n}"), format!("request-{n}"));
                let bearer = format!("Bearer {key}");
                let headers = [
                    ("content-type", "application/json"),
                    ("idempotency-key", request.as_str()),
                    ("authorization", bearer.as_str()),
                ];
                let body = json!({ "user": user }).to_string();
                let answer = world
                    .send_as(None, "POST", "/v1/campaigns/fair/draws", &headers, &body)
                    .await
                    .json();
                if answer["draws"][0]["prize"] == "mug" {
                    break 'found answer["draws"][0]["award"].clone();
                }
            }
            panic!("no mug in 200 draws");
        };
        mugs.push(mug);
    }
    let token = mugs[0]["claim_token"].as_str().unwrap().to_owned();
    (
        mugs[0]["id"].as_i64().unwrap(),
        token,
        mugs[1]["id"].as_i64().unwrap(),
    )
}

#[tokio::test]
async fn client_sees_its_own_awards_and_claim_token_one_award_only() {
    let world = World::with_fair().await;
    let (app, shop) = (
        world.key("client", "app").await,
        world.key("client", "shop").await,
    );
    let (own, token, other) = two_mugs(&world, [&app, &shop]).await;
    let status = async |key: &str, id: i64| {
        world
            .send_with(key, "GET", &format!("/v1/awards/{id}"), &Value::Null)
            .await
            .status
    };
    assert_eq!(status(&app, own).await, StatusCode::OK);
    assert_eq!(status(&app, other).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&shop, own).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&token, own).await, StatusCode::OK);
    assert_eq!(status(&token, other).await, StatusCode::FORBIDDEN);
    let draw = world
        .send_with(&shop, "GET", &format!("/v1/draws/{own}"), &Value::Null)
        .await;
    assert_eq!(draw.code(), "draw_not_found");

    let deliverer = world.key("deliverer", "warehouse").await;
    assert_eq!(
        status(&deliverer, own).await,
        StatusCode::NOT_FOUND,
        "a mug is not of kind external"
    );
    let confirm = world
        .send_with(
            &deliverer,
            "POST",
            &format!("/v1/awards/{own}/confirm"),
            &json!({}),
        )
        .await;
    assert_eq!(confirm.code(), "award_not_found");
    let list = world
        .send_with(&deliverer, "GET", "/v1/awards?kind=physical", &Value::Null)
        .await;
    assert_eq!(list.code(), "forbidden");

    let address =
        json!({ "name": "Ann", "lines": ["Main street 1"], "city": "Bergen", "country": "NO" });
    let path = |id: i64| format!("/v1/awards/{id}/address");
    assert_eq!(
        world
            .send_with(&token, "POST", &path(other), &address)
            .await
            .code(),
        "forbidden"
    );
    assert_eq!(
        world
            .send_with(&token, "POST", &path(own), &address)
            .await
            .status,
        StatusCode::OK
    );
    let seen = world
        .send_with(&token, "GET", &format!("/v1/awards/{own}"), &Value::Null)
        .await
        .json();
    assert_eq!(seen["has_address"], true);
    assert!(
        seen.get("delivery_key").is_none() && seen.get("timeline").is_none(),
        "{seen}"
    );
    assert!(
        !seen.to_string().contains("Main street"),
        "addresses are never shown"
    );
}
