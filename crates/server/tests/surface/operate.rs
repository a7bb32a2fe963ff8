//! The operator's work: bulk actions, users, points, dead letters that were seen to.

use crate::world::{Answer, JSON, World, until_some};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position};
use tombola_core::ports::{
    Actor, AwardPath, BulkAction, BulkFilter, BulkSpec, Copy, MarkOf, Operate as _,
};

const POINTS: &str = r#"
[campaign]
slug = "coins"
name = "Coins"
[[prize]]
slug = "ten"
name = "Ten points"
kind = "points"
points = 10
odds = "100%"
"#;

async fn drawn(world: &World, campaign: &str, user: &str, key: &str) -> Answer {
    let headers = [JSON, ("idempotency-key", key)];
    let body = json!({ "user": user }).to_string();
    let path = format!("/v1/campaigns/{campaign}/draws");
    world.send("POST", &path, &headers, &body).await
}

fn award_of(answer: &Answer) -> i64 {
    answer.json()["draws"][0]["award"]["id"].as_i64().unwrap()
}

/// Gives awards up, as a broker that refuses their messages for good.
async fn give_up(world: &World, awards: &[i64], lease: i64) {
    let mark = |award: &i64| MarkOf {
        award: AwardId(*award),
        lease,
        mark: Mark::Refused,
        error: Some("too large".to_owned()),
    };
    let marks = awards.iter().map(mark).collect();
    let now = world.app.now();
    world.app.store().mark_published(marks, now).await.unwrap();
}

/// Awards of a campaign in which every draw wins ten points.
async fn coins(world: &World, count: usize) -> Vec<i64> {
    world.apply(POINTS).await;
    world.start("coins").await;
    let mut awards = Vec::new();
    for n in 0..count {
        let (user, key) = (format!("u{n}"), format!("draw-{n:04}"));
        awards.push(award_of(&drawn(world, "coins", &user, &key).await));
    }
    awards
}

async fn to_its_end(world: &World, begun: &Answer) -> Value {
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
    let path = format!("/v1/operations/{}", begun.json()["id"]);
    until_some("the operation is over", async || {
        let it = world.get(&path).await.json();
        (it["state"] != "running").then_some(it)
    })
    .await
}

#[tokio::test]
async fn bulk_requeue_is_an_operation_that_is_counted_first_and_followed_by_its_id() {
    let world = World::new().await;
    let awards = coins(&world, 5).await;
    give_up(&world, &awards[..3], 1).await;
    let requeue = "/v1/dead-letters/requeue";
    let filter = json!({ "campaign": "coins" });
    let counted = world
        .post(requeue, &json!({ "filter": filter, "dry_run": true }))
        .await;
    assert_eq!(
        counted.json(),
        json!({ "dry_run": true, "matched": 3, "in_doubt": 0 })
    );
    let begun = world
        .post(requeue, &json!({ "filter": filter, "reason": "mended" }))
        .await;
    let done = to_its_end(&world, &begun).await;
    assert_eq!(
        [
            &done["state"],
            &done["done"],
            &done["action"],
            &done["reason"]
        ],
        [
            &json!("done"),
            &json!(3),
            &json!("requeue"),
            &json!("mended")
        ]
    );
    let listed = world.get("/v1/operations").await.json();
    assert_eq!(listed["items"][0], done);
    let dead = world.get("/v1/dead-letters").await.json();
    assert_eq!(dead["items"], json!([]));
}

#[tokio::test]
async fn operation_that_a_dead_process_left_is_gone_on_with_by_the_next() {
    let world = World::new().await;
    let awards = coins(&world, 3).await;
    give_up(&world, &awards, 1).await;
    let spec = BulkSpec {
        action: BulkAction::Requeue {
            not_delivered: false,
            over_secs: 0,
        },
        filter: BulkFilter::default(),
        matched: 3,
    };
    let by = Actor::named("ann");
    let begun = world.app.store().begin_operation(spec, by, world.app.now());
    let id = begun.await.unwrap().id;
    let world = world.reopen().await;
    let roles = tombola_server::app::ServeRoles::all();
    world.app.start(roles).await.unwrap();
    let path = format!("/v1/operations/{id}");
    let done = until_some("the operation is over", async || {
        let it = world.get(&path).await.json();
        (it["state"] == "done").then_some(it)
    });
    assert_eq!(done.await["done"], 3);
    world.app.stop().await;
}

#[tokio::test]
async fn requeue_of_single_awards_under_one_key_puts_back_each_of_them() {
    let world = World::new().await;
    let awards = coins(&world, 3).await;
    give_up(&world, &awards, 1).await;
    let headers = [JSON, ("idempotency-key", "request-1")];
    let body = json!({ "ids": awards, "reason": "mended" }).to_string();
    for _ in 0..2 {
        let done = world
            .send("POST", "/v1/dead-letters/requeue", &headers, &body)
            .await;
        assert_eq!(done.json()["requeued"], 3, "{done:?}");
    }
}

#[tokio::test]
async fn service_that_delivers_confirms_its_work_without_a_reason_and_an_operator_gives_one() {
    let world = World::new().await;
    world
        .apply(&POINTS.replace("points\"\npoints = 10", "external\""))
        .await;
    world.start("coins").await;
    let award = award_of(&drawn(&world, "coins", "u1", "draw-0001").await);
    let confirm = format!("/v1/awards/{award}/confirm");
    let receipt = json!({ "receipt": "seat 5" });
    let operator = world.key("operator", "ann").await;
    let silent = world.send_with(&operator, "POST", &confirm, &receipt).await;
    assert_eq!(silent.code(), "invalid_body", "{silent:?}");
    let service = world.key("deliverer", "seats").await;
    let done = world.send_with(&service, "POST", &confirm, &receipt).await;
    assert_eq!(done.json()["state"], "delivered", "{done:?}");
}

/// Aim: the operator log says why, of every act that overrides the course of an award.
#[tokio::test]
async fn override_of_an_award_without_a_reason_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let award = coins(&world, 1).await[0];
    let shown = async || world.get(&format!("/v1/awards/{award}")).await.json();
    let before = shown().await;
    for act in ["hold", "release", "confirm", "cancel"] {
        let path = format!("/v1/awards/{award}/{act}");
        for body in [json!({}), json!({ "reason": "  " })] {
            let refused = world.post(&path, &body).await;
            assert_eq!(refused.code(), "invalid_body", "{act} {body}");
            assert_eq!(refused.json()["errors"][0]["pointer"], "/reason");
        }
    }
    assert_eq!(shown().await, before);
    give_up(&world, &[award], 1).await;
    let requeue = "/v1/dead-letters/requeue";
    let silent = world.post(requeue, &json!({ "ids": [award] })).await;
    assert_eq!(silent.code(), "invalid_body", "{silent:?}");
    let counted = json!({ "ids": [award], "dry_run": true });
    assert_eq!(world.post(requeue, &counted).await.json()["requeued"], 1);
    let why = json!({ "ids": [award], "reason": "the broker is mended" });
    assert_eq!(world.post(requeue, &why).await.json()["requeued"], 1);
    let log = format!("/v1/log?award={award}");
    let line = world.get(&log).await.json()["items"][0].clone();
    assert_eq!(line["reason"], "the broker is mended");
}

#[tokio::test]
async fn bulk_cancel_and_release_need_a_reason_and_change_what_matches() {
    let world = World::new().await;
    let awards = coins(&world, 3).await;
    let hold = format!("/v1/awards/{}/hold", awards[0]);
    let held = world.post(&hold, &json!({ "reason": "look" })).await;
    assert_eq!(held.status, StatusCode::OK);
    let release = "/v1/awards/release";
    let silent = world.post(release, &json!({ "filter": {} })).await;
    assert_eq!(silent.code(), "invalid_body");
    let why = json!({ "filter": {}, "reason": "seen" });
    let begun = world.post(release, &why).await;
    assert_eq!(to_its_end(&world, &begun).await["done"], 1);
    let cancel = json!({ "filter": { "user": "u1" }, "reason": "fraud" });
    let begun = world.post("/v1/awards/cancel", &cancel).await;
    assert_eq!(to_its_end(&world, &begun).await["done"], 1);
    let mut states = Vec::new();
    for id in &awards {
        let award = world.get(&format!("/v1/awards/{id}")).await.json();
        states.push(award["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["pending", "cancelled", "pending"]);
    let log = format!("/v1/log?award={}", awards[1]);
    let line = world.get(&log).await.json()["items"][0].clone();
    assert_eq!(
        (&line["action"], &line["reason"]),
        (&json!("award cancel"), &json!("fraud"))
    );
}

#[tokio::test]
async fn log_about_what_is_no_id_of_an_award_is_refused_and_the_parameter_named() {
    let world = World::new().await;
    for award in ["0", "-1", "9007199254740992"] {
        let answer = world.get(&format!("/v1/log?award={award}")).await;
        assert_eq!(answer.code(), "invalid_query", "{award}");
        assert!(
            answer.json()["detail"]
                .as_str()
                .unwrap()
                .starts_with("award: ")
        );
    }
    let highest = world.get("/v1/log?award=9007199254740991").await;
    assert_eq!(highest.status, StatusCode::OK, "{highest:?}");
}

/// Everything that a bulk action would change or leave behind.
async fn bulk_traces(world: &World) -> Vec<Value> {
    let mut traces = Vec::new();
    for path in ["/v1/awards", "/v1/operations", "/v1/log"] {
        traces.push(world.get(path).await.json());
    }
    traces
}

#[tokio::test]
async fn list_in_place_of_a_filter_or_of_a_whole_body_is_refused_and_nothing_is_done() {
    let world = World::new().await;
    let awards = coins(&world, 3).await;
    let hold = format!("/v1/awards/{}/hold", awards[0]);
    world.post(&hold, &json!({ "reason": "look" })).await;
    give_up(&world, &awards[1..2], 1).await;
    let before = bulk_traces(&world).await;
    for act in ["awards/release", "awards/cancel", "dead-letters/requeue"] {
        for (body, pointer) in [
            (json!({ "filter": [], "reason": "all" }), "/filter"),
            (
                json!({ "filter": [null, null], "reason": "all" }),
                "/filter",
            ),
            (json!([{}, false, "all"]), ""),
            (json!([{}, false, false, "all"]), ""),
            (json!([]), ""),
        ] {
            let answer = world.post(&format!("/v1/{act}"), &body).await;
            assert_eq!(answer.code(), "invalid_body", "{act} {body}");
            let pointed = &answer.json()["errors"][0]["pointer"];
            assert!(
                pointed.as_str().unwrap().starts_with(pointer),
                "{act} {body}"
            );
        }
    }
    assert_eq!(bulk_traces(&world).await, before);
}

#[tokio::test]
async fn blocked_user_is_shown_with_the_reason_and_draws_nowhere() {
    let world = World::with_fair().await;
    assert_eq!(world.get("/v1/users/u1").await.code(), "user_not_found");
    let silent = world.post("/v1/users/u1/block", &json!({})).await;
    assert_eq!(silent.code(), "invalid_body");
    let why = json!({ "reason": "fraud" });
    let block = world.post("/v1/users/u1/block", &why).await;
    assert_eq!(block.json(), json!({ "user": "u1", "is_blocked": true }));
    let draw = world.draw("u1", 1, "request-1").await;
    assert_eq!(draw.code(), "user_blocked");
    let shown = world.get("/v1/users/u1").await.json();
    assert_eq!(
        (&shown["is_blocked"], &shown["blocked_reason"]),
        (&json!(true), &json!("fraud"))
    );
    world.post("/v1/users/u1/unblock", &json!({})).await;
    let again = world.post("/v1/users/u1/unblock", &json!({})).await;
    assert_eq!(again.code(), "user_not_blocked");
    let draw = world.draw("u1", 1, "request-1").await;
    assert_eq!(draw.status, StatusCode::CREATED, "{draw:?}");
    let shown = world.get("/v1/users/u1").await.json();
    assert_eq!(
        shown["campaigns"],
        json!([{ "campaign": "fair", "draws": 1 }])
    );
}

const ERIKA: &str = "erika.mustermann@example";

/// A user of many traces: awards of all kinds of the fair, an address, a block, a bulk
/// cancel by name.
async fn traces(world: &World) {
    let mut awards = Vec::new();
    for n in 0..5 {
        let answer = drawn(world, "fair", ERIKA, &format!("request-{n}")).await;
        awards.push(award_of(&answer));
    }
    let address =
        json!({ "name": "Erika", "lines": ["Heidestr. 17"], "city": "Köln", "country": "DE" });
    for id in &awards {
        let path = format!("/v1/awards/{id}/address");
        world.post(&path, &address).await;
    }
    for (path, body) in &answered_once() {
        let answer = keyed(world, path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
}

/// Requests whose answers name her.
fn answered_once() -> [(String, Value); 2] {
    let token = json!({ "campaign": "fair", "user": ERIKA });
    [
        (
            format!("/v1/users/{ERIKA}/block"),
            json!({ "reason": "asked" }),
        ),
        ("/v1/player-tokens".to_owned(), token),
    ]
}

async fn keyed(world: &World, path: &str, body: &Value) -> Answer {
    let headers = [JSON, ("idempotency-key", "once-0001")];
    world.send("POST", path, &headers, &body.to_string()).await
}

#[tokio::test]
async fn erased_user_is_in_no_answer_and_in_no_row_and_the_audit_holds() {
    let world = World::with_fair().await;
    traces(&world).await;
    let (user, why) = (
        format!("/v1/users/{ERIKA}"),
        json!({ "reason": "article 17" }),
    );
    let erase = format!("{user}/erase");
    let early = world.post(&erase, &why).await;
    assert_eq!(
        (early.code().as_str(), &early.json()["unfinished"]),
        ("user_unfinished", &json!(5))
    );
    let cancel = json!({ "filter": { "user": ERIKA }, "reason": "erased next" });
    let begun = world.post("/v1/awards/cancel", &cancel).await;
    to_its_end(&world, &begun).await;
    let begun = world.post(&erase, &why).await;
    assert!(!String::from_utf8_lossy(&begun.body).contains(ERIKA));
    assert_eq!(to_its_end(&world, &begun).await["done"], 5);

    let replay = drawn(&world, "fair", ERIKA, "request-1").await;
    assert_eq!(
        (replay.status, replay.code().as_str()),
        (StatusCode::GONE, "user_erased")
    );
    for (path, body) in &answered_once() {
        let again = keyed(&world, path, body).await;
        assert_eq!(again.code(), "user_erased", "{path}");
    }
    assert_eq!(world.get(&user).await.code(), "user_not_found");
    for path in ["/v1/awards", "/v1/draws", "/v1/log", "/v1/operations"] {
        let said = world.get(&format!("{path}?limit=500")).await;
        let said = String::from_utf8_lossy(&said.body).into_owned();
        assert!(!said.to_lowercase().contains("erika"), "{path}: {said}");
    }
    let audit = world.get("/v1/audit?full=true").await.json();
    assert_eq!(audit["ok"], true, "{audit}");
    has_no_row_of(&world, "erika");
    has_no_row_of(&world, "heidestr");
}

/// Every text and blob of every table, as a person with a shell would read them.
fn has_no_row_of(world: &World, word: &str) {
    let file = world.temp.path().join("data/tombola.db");
    let shell = rusqlite::Connection::open(file).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut it = shell.prepare(sql).unwrap();
        let rows = it.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for table in names("SELECT name FROM sqlite_schema WHERE type = 'table'") {
        for column in names(&format!("SELECT name FROM pragma_table_info('{table}')")) {
            let sql = format!(
                "SELECT count(*) FROM \"{table}\" WHERE lower(CAST(\"{column}\" AS TEXT)) LIKE '%{word}%'"
            );
            let found: i64 = shell.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(found, 0, "{table}.{column} has {word}");
        }
    }
}

async fn copy_of(world: &World, award: i64) -> Copy {
    let shown = world.get(&format!("/v1/awards/{award}")).await.json();
    Copy {
        award: AwardId(award),
        message_id: shown["message_id"].as_str().unwrap().to_owned(),
        position: Position {
            epoch: 1,
            partition: 0,
            offset: award,
        },
    }
}

#[tokio::test]
async fn points_are_shown_and_taken_back_once() {
    let world = World::new().await;
    let award = coins(&world, 1).await[0];
    let reverse = format!("/v1/awards/{award}/reverse-points");
    let why = json!({ "reason": "given twice by mistake" });
    assert_eq!(world.post(&reverse, &why).await.code(), "award_not_found");
    let copies = vec![copy_of(&world, award).await];
    let now = world.app.now();
    world.app.store().deliver_local(copies, now).await.unwrap();
    let shown = world.get("/v1/users/u0/points").await.json();
    assert_eq!(shown["balance"], 10, "{shown}");
    assert_eq!(
        world.post(&reverse, &json!({})).await.code(),
        "invalid_body"
    );
    let done = world.post(&reverse, &why).await.json();
    assert_eq!(
        done,
        json!({ "award": award, "user": "u0", "points": 10, "balance": 0 })
    );
    assert_eq!(world.post(&reverse, &why).await.code(), "points_reversed");
    let shown = world.get("/v1/users/u0/points").await.json();
    assert_eq!(shown["balance"], 0);
    assert!(shown["entries"]["items"][0]["reversed_at"].is_string());
    let audit = world.get("/v1/audit?full=true").await.json();
    assert_eq!(audit["ok"], true, "{audit}");
}

#[tokio::test]
async fn dismissed_dead_letter_is_off_the_list_until_it_dies_again() {
    let world = World::new().await;
    let awards = coins(&world, 2).await;
    give_up(&world, &awards, 1).await;
    let listed = async || world.get("/v1/dead-letters").await.json()["items"].clone();
    assert_eq!(listed().await.as_array().unwrap().len(), 2);
    let dismiss = |id: &str| format!("/v1/dead-letters/{id}/dismiss");
    let why = json!({ "reason": "paid by hand" });
    let first = awards[0].to_string();
    let done = world.post(&dismiss(&first), &why).await;
    assert_eq!(done.json(), json!({ "id": first }));
    assert_eq!(listed().await[0]["id"], awards[1].to_string());
    for id in ["m7", "77", "x"] {
        let answer = world.post(&dismiss(id), &why).await;
        assert_eq!(answer.code(), "dead_letter_not_found", "{id}");
    }
    let requeue = json!({ "ids": [awards[0]], "reason": "once more" });
    world.post("/v1/dead-letters/requeue", &requeue).await;
    give_up(&world, &awards[..1], 3).await;
    assert_eq!(listed().await.as_array().unwrap().len(), 2);
}
