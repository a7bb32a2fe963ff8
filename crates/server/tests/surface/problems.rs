//! Errors: one shape for all, and every code that can be reached from outside.

use crate::world::{Answer, JSON, KEY, World};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tombola_core::award::Position;
use tombola_core::decision::Decision;
use tombola_core::ports::{AwardPath, Claim, Copy, CopyAnswer, Record};
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, Timestamp, limits};
use tombola_server::http::error::Code;

/// Codes that no request of this test reaches, with what would.
const NOT_REACHED: &[(Code, &str)] = &[
    (
        Code::SqliteOnly,
        "see `what_is_for_sqlite_is_refused_on_postgresql`",
    ),
    (
        Code::UserErased,
        "see `erased_user_is_in_no_answer_and_in_no_row_and_the_audit_holds`",
    ),
    (
        Code::UserUnfinished,
        "see `erased_user_is_in_no_answer_and_in_no_row_and_the_audit_holds`",
    ),
    (
        Code::PointsReversed,
        "see `points_are_shown_and_taken_back_once`",
    ),
    (
        Code::RequestInProgress,
        "two equal imports at the same instant",
    ),
    (
        Code::SecondPersonNeeded,
        "a setting, see `second_person_has_to_approve_where_the_config_says_so`",
    ),
    (
        Code::EndpointSecretsFull,
        "see `rotation_beyond_the_bound_tells_when_there_is_room_and_0s_ends_all_older_ones`",
    ),
    (
        Code::EndpointBusy,
        "a test call while as many calls as the endpoint takes are under way",
    ),
    (Code::BackupInProgress, "two backups at the same time"),
    (Code::NoSpace, "a disk that is nearly full"),
    (
        Code::ImportReplaced,
        "two imports of one prize at the same time",
    ),
    (Code::BodyTimeout, "a body that takes half a minute"),
    (
        Code::RateLimited,
        "more requests than the rates of the defaults",
    ),
    (Code::Overloaded, "more requests than the desk has places"),
    (Code::TimedOut, "a request that takes a minute"),
    (Code::Unavailable, "a database that is away"),
    (Code::Stopping, "a request in the moment of a stop"),
    (Code::Sealed, "a secret that is lost: `secrets` shows it"),
    (Code::Internal, "a fault of ours"),
];

const HOOK: &str = r#"
[campaign]
slug = "hook"
name = "Hook"
[[prize]]
slug = "gift"
name = "Gift"
kind = "webhook"
endpoint = "shop"
odds = "100%"
"#;

struct Seen {
    world: World,
    codes: BTreeSet<&'static str>,
}

impl Seen {
    /// The answer is the error of that code, in the one shape.
    fn expect(&mut self, answer: &Answer, code: Code) {
        let body = answer.json();
        assert_eq!(
            (body["code"].as_str(), answer.status),
            (Some(code.name()), code.status()),
            "{body}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{body}"
        );
        assert_eq!(body["status"], code.status().as_u16(), "{body}");
        assert_eq!(body["title"], code.title(), "{body}");
        assert_eq!(
            body["request_id"].as_str(),
            answer.header("x-request-id"),
            "{body}"
        );
        self.codes.insert(code.name());
    }

    async fn get(&mut self, path: &str, code: Code) {
        let answer = self.world.get(path).await;
        self.expect(&answer, code);
    }

    async fn post(&mut self, path: &str, body: &Value, code: Code) -> Value {
        let answer = self
            .world
            .send("POST", path, &[JSON, KEY], &body.to_string())
            .await;
        self.expect(&answer, code);
        answer.json()
    }
}

#[tokio::test]
async fn every_code_that_can_be_reached_has_the_shape_of_rfc_9457() {
    let mut seen = Seen {
        world: World::with_fair().await,
        codes: BTreeSet::new(),
    };
    of_the_edge(&mut seen).await;
    of_names(&mut seen).await;
    of_draws(&mut seen).await;
    of_campaigns(&mut seen).await;
    of_codes_and_stock(&mut seen).await;
    of_awards(&mut seen).await;
    let missing: Vec<&str> = Code::ALL
        .iter()
        .filter(|code| !NOT_REACHED.iter().any(|(other, _)| other == *code))
        .map(|code| code.name())
        .filter(|name| !seen.codes.contains(name))
        .collect();
    assert_eq!(
        missing,
        Vec::<&str>::new(),
        "codes that this test does not reach"
    );
    let unexpected: Vec<&str> = NOT_REACHED
        .iter()
        .map(|(code, _)| code.name())
        .filter(|name| seen.codes.contains(name))
        .collect();
    assert_eq!(
        unexpected,
        Vec::<&str>::new(),
        "codes that are reached after all"
    );
}

async fn of_the_edge(seen: &mut Seen) {
    let nobody = seen.world.send_as(None, "GET", "/v1/awards", &[], "").await;
    seen.expect(&nobody, Code::Unauthorized);
    let key = seen.world.key("client", "app").await;
    let client = seen
        .world
        .send_with(&key, "GET", "/v1/log", &Value::Null)
        .await;
    seen.expect(&client, Code::Forbidden);
    seen.get("/v1/nothing", Code::RouteNotFound).await;
    let method = seen.world.send("DELETE", "/v1/awards", &[], "").await;
    assert!(method.header("allow").unwrap().contains("GET"));
    seen.expect(&method, Code::MethodNotAllowed);
    seen.get("/v1/awards?colour=red", Code::InvalidQuery).await;
    seen.get("/v1/awards?since=yesterday", Code::InvalidQuery)
        .await;
    seen.get("/v1/awards?limit=100000", Code::InvalidQuery)
        .await;
    let path = "/v1/campaigns/fair/draws";
    let text = seen
        .world
        .send("POST", path, &[KEY, ("content-type", "text/plain")], "{}")
        .await;
    seen.expect(&text, Code::UnsupportedMediaType);
    let large = format!("{{\"user\":\"{}\"}}", "u".repeat(2 << 20));
    let large = seen.world.send("POST", path, &[KEY, JSON], &large).await;
    seen.expect(&large, Code::BodyTooLarge);
    let long = format!("/v1/awards?user={}", "u".repeat(limits::URI_BYTES_MAX));
    seen.get(&long, Code::UriTooLong).await;
    let many = [("x-many", "1"); limits::HEADERS_MAX + 1];
    let many = seen.world.send("GET", "/v1/awards", &many, "").await;
    seen.expect(&many, Code::HeadersTooLarge);
    let wide = "w".repeat(limits::HEADERS_BYTES_MAX);
    let wide = [("x-wide", wide.as_str())];
    let wide = seen.world.send("GET", "/v1/awards", &wide, "").await;
    seen.expect(&wide, Code::HeadersTooLarge);
    let given = seen
        .world
        .send("GET", "/v1/nothing", &[("x-request-id", "mine-1")], "")
        .await;
    assert_eq!(given.header("x-request-id"), Some("mine-1"));
}

async fn of_names(seen: &mut Seen) {
    seen.get("/v1/campaigns/none", Code::CampaignNotFound).await;
    seen.get("/v1/campaigns/none/odds", Code::CampaignNotFound)
        .await;
    seen.get("/v1/draws/1000000", Code::DrawNotFound).await;
    seen.get("/v1/draws/abc", Code::DrawNotFound).await;
    seen.get("/v1/awards/-1", Code::AwardNotFound).await;
    seen.get("/v1/endpoints/none", Code::EndpointNotFound).await;
    seen.post("/v1/keys/77/revoke", &json!({}), Code::KeyNotFound)
        .await;
    seen.get("/v1/users/none", Code::UserNotFound).await;
    seen.post("/v1/users/none/unblock", &json!({}), Code::UserNotBlocked)
        .await;
    seen.get("/v1/operations/77", Code::OperationNotFound).await;
    seen.get("/v1/dead-letters/m77", Code::DeadLetterNotFound)
        .await;
    let why = json!({ "reason": "try" });
    let withdraw = "/v1/campaigns/fair/prizes/coffee/codes/77/withdraw";
    seen.post(withdraw, &why, Code::ImportNotFound).await;
    seen.post("/v1/deliveries/resume", &why, Code::NotPaused)
        .await;
    seen.post(
        "/v1/deliveries/pause",
        &json!({ "campaign": "fair", "prize": "none", "reason": "try" }),
        Code::PrizeNotFound,
    )
    .await;
}

async fn of_draws(seen: &mut Seen) {
    let path = "/v1/campaigns/fair/draws";
    let why = json!({ "reason": "try" });
    seen.world.post("/v1/users/blocked/block", &why).await;
    seen.post(path, &json!({ "user": "blocked" }), Code::UserBlocked)
        .await;
    let body = seen
        .post(path, &json!({ "user": 7 }), Code::InvalidBody)
        .await;
    assert_eq!(body["errors"][0]["pointer"], "/user", "{body}");
    let body = seen
        .post(
            path,
            &json!({ "user": "u", "colour": 1 }),
            Code::InvalidBody,
        )
        .await;
    assert_eq!(body["errors"][0]["pointer"], "/colour", "{body}");
    seen.post(path, &json!({ "user": "" }), Code::InvalidBody)
        .await;
    seen.post(path, &json!({ "user": "u", "count": 0 }), Code::InvalidBody)
        .await;
    seen.post(
        path,
        &json!({ "user": "u", "count": 101 }),
        Code::CountTooLarge,
    )
    .await;
    seen.post(
        "/v1/campaigns/none/draws",
        &json!({ "user": "u" }),
        Code::CampaignNotFound,
    )
    .await;
    let without = seen
        .world
        .send("POST", path, &[JSON], "{\"user\":\"u\"}")
        .await;
    seen.expect(&without, Code::RequestKeyMissing);
    let short = seen
        .world
        .send(
            "POST",
            path,
            &[JSON, ("idempotency-key", "short")],
            "{\"user\":\"u\"}",
        )
        .await;
    seen.expect(&short, Code::RequestKeyInvalid);
    assert_eq!(
        seen.world.draw("u", 5, "request-1").await.status,
        StatusCode::CREATED
    );
    let reused = seen.world.draw("v", 1, "request-1").await;
    seen.expect(&reused, Code::RequestKeyReused);
    let exhausted = seen.world.draw("u", 1, "request-2").await;
    assert_eq!(exhausted.json()["left"], 0);
    seen.expect(&exhausted, Code::AllowanceExhausted);
}

async fn of_campaigns(seen: &mut Seen) {
    let path = "/v1/campaigns/hook";
    let body = json!({ "campaign": { "slug": "hook", "nam": "Hook" }, "prize": [] }).to_string();
    let bad = seen.world.send("PUT", path, &[JSON], &body).await;
    let pointers: Vec<_> = bad.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["pointer"].clone())
        .collect();
    assert!(
        pointers.contains(&json!("/campaign/nam")) && pointers.contains(&json!("/prize")),
        "{pointers:?}"
    );
    seen.expect(&bad, Code::InvalidBody);
    let applied = seen.world.apply(HOOK).await.json();
    assert_eq!(
        applied["warnings"],
        json!(["prize gift: there is no endpoint shop yet"])
    );
    let transitions = "/v1/campaigns/hook/transitions";
    seen.post(
        transitions,
        &json!({ "to": "started" }),
        Code::TransitionNotAllowed,
    )
    .await;
    seen.post(transitions, &json!({ "to": "refused" }), Code::InvalidBody)
        .await;
    seen.post(
        "/v1/campaigns/hook/draws",
        &json!({ "user": "u" }),
        Code::CampaignNotRunning,
    )
    .await;
    for to in ["submitted", "approved"] {
        let moved = seen.world.post(transitions, &json!({ "to": to })).await;
        assert_eq!(moved.json()["state"], to, "{moved:?}");
    }
    let edited = tombola_core::campaign::parse_toml("test", &HOOK.replace("Gift", "Present"))
        .unwrap()
        .to_json();
    let edited = seen.world.send("PUT", path, &[JSON], &edited).await;
    seen.expect(&edited, Code::CampaignNotEditable);
    let body = seen
        .post(
            transitions,
            &json!({ "to": "start" }),
            Code::CampaignNotReady,
        )
        .await;
    assert!(
        body["problems"][0].as_str().unwrap().contains("shop"),
        "{body}"
    );
    let text = HOOK
        .replace("slug = \"hook\"", "slug = \"fair\"")
        .replace("slug = \"gift\"", "slug = \"mug\"");
    let changed = tombola_core::campaign::parse_toml("test", &text)
        .unwrap()
        .to_json();
    let changed = seen
        .world
        .send("PUT", "/v1/campaigns/fair", &[JSON], &changed)
        .await;
    seen.expect(&changed, Code::KindChanged);
}

async fn of_codes_and_stock(seen: &mut Seen) {
    let prizes = "/v1/campaigns/fair/prizes";
    let csv = [
        ("content-type", "text/csv"),
        ("idempotency-key", "bad-codes"),
    ];
    let bad = seen
        .world
        .send("POST", &format!("{prizes}/coffee/codes"), &csv, "A\nA,B\n")
        .await;
    seen.expect(&bad, Code::InvalidCodes);
    let wrong = seen
        .world
        .send("POST", &format!("{prizes}/mug/codes"), &csv, "A\n")
        .await;
    seen.expect(&wrong, Code::PrizeNotFound);
    seen.post(
        &format!("{prizes}/coffee/stock"),
        &json!({ "add": -1000 }),
        Code::NotEnoughStock,
    )
    .await;
    seen.post(
        &format!("{prizes}/mug/stock"),
        &json!({ "add": 1 }),
        Code::StockUnlimited,
    )
    .await;
    let spec = json!({ "name": "shop", "url": "ftp://shop.example", "idempotent": false });
    let bad = seen
        .world
        .send("PUT", "/v1/endpoints/shop", &[JSON], &spec.to_string())
        .await;
    assert_eq!(bad.json()["errors"][0]["pointer"], "/url");
    seen.expect(&bad, Code::InvalidEndpoint);
}

/// An award of kind webhook, drawn by a user.
async fn webhook_award(seen: &mut Seen) -> i64 {
    let spec = json!({ "name": "shop", "url": "https://shop.example", "idempotent": false });
    let path = "/v1/endpoints/shop";
    let put = seen
        .world
        .send("PUT", path, &[JSON], &spec.to_string())
        .await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    let to_start = json!({ "to": "start" });
    let started = seen
        .world
        .post("/v1/campaigns/hook/transitions", &to_start)
        .await;
    assert_eq!(started.status, StatusCode::OK, "{started:?}");
    let path = "/v1/campaigns/hook/draws";
    let drawn = seen
        .world
        .send("POST", path, &[JSON, KEY], "{\"user\":\"u\"}")
        .await;
    drawn.json()["draws"][0]["id"].as_i64().unwrap()
}

/// Claims the award as a worker would.
async fn claim(world: &World, id: i64) -> Claim {
    let shown = world.get(&format!("/v1/awards/{id}")).await.json();
    let copy = Copy {
        award: AwardId(id),
        message_id: shown["message_id"].as_str().unwrap().to_owned(),
        position: Position {
            epoch: 1,
            partition: 0,
            offset: 0,
        },
    };
    let claimed = world
        .app
        .store()
        .claim(vec![copy], world.app.now())
        .await
        .unwrap();
    match claimed.as_slice() {
        [CopyAnswer::Claimed(claim)] => Claim::clone(claim),
        other => panic!("{other:?}"),
    }
}

/// Its call ends unknown, at an endpoint that is not idempotent.
async fn record_unknown(world: &World, claim: &Claim) {
    let record = Record {
        award: claim.award,
        lease: claim.lease,
        decision: Decision::Unknown,
        error: None,
        lane_at: world.app.now(),
        jitter: Jitter::NONE,
    };
    world
        .app
        .store()
        .record(vec![record], world.app.now())
        .await
        .unwrap();
}

async fn of_awards(seen: &mut Seen) {
    let id = webhook_award(seen).await;
    seen.post(
        &format!("/v1/awards/{id}/release"),
        &json!({ "reason": "try" }),
        Code::AwardState,
    )
    .await;
    let claim = claim(&seen.world, id).await;
    let path = format!("/v1/awards/{id}/cancel");
    let body = seen
        .post(&path, &json!({ "reason": "try" }), Code::AwardDelivering)
        .await;
    let lease_ends = Timestamp::parse(body["lease_ends"].as_str().unwrap());
    assert_eq!(lease_ends, Some(claim.lease_ends));

    record_unknown(&seen.world, &claim).await;
    let path = "/v1/dead-letters/requeue";
    let ids = json!({ "ids": [id], "reason": "mended" });
    seen.post(path, &ids, Code::OutcomeUnknown).await;
    let dry = json!({ "filter": {}, "dry_run": true });
    let dry = seen.world.post(path, &dry).await.json();
    assert_eq!((&dry["matched"], &dry["in_doubt"]), (&json!(1), &json!(1)));
    let word = json!({ "ids": [id], "outcome": "not-delivered", "reason": "asked them" });
    assert_eq!(seen.world.post(path, &word).await.json()["requeued"], 1);
}
