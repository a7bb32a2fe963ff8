//! The examples of the document run: each is sent as it stands there, in an order
//! that makes sense, and answered with the status and the shape that stand there.
//!
//! `TOMBOLA_RECORD=1 cargo test -p tombola-server --test surface examples` records
//! the answers anew; `cargo xtask codegen` then puts them into the document.

use crate::document::{Operation, operations};
use crate::endpoints::Receiver;
use crate::world::{Answer, JSON, World};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tombola_core::award::Position;
use tombola_core::ports::{AwardPath, KeptMessage};
use tombola_core::reason::KeptReason;
use tombola_engine::Seed;
use tombola_server::app::ServeRoles;

/// Where the recorded answers are.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi/answers.json");

/// A server, and what was played on it.
struct Play {
    world: World,
    played: BTreeSet<&'static str>,
    recorded: Map<String, Value>,
}

impl Play {
    async fn new() -> Self {
        Self {
            world: World::new().await,
            played: BTreeSet::new(),
            recorded: Map::new(),
        }
    }

    /// The example of that operation.
    async fn example(&mut self, id: &str) -> Value {
        self.play(id, None).await
    }

    /// The same about the award, draw, key … of that id, which is the last part of the
    /// path that has a name.
    async fn example_of(&mut self, operation: &str, id: impl ToString) -> Value {
        self.play(operation, Some(id.to_string())).await
    }

    async fn play(&mut self, operation: &str, id: Option<String>) -> Value {
        let operation = Operation::of(operation);
        let path = path(&operation, id.as_deref());
        let key = format!("example-{}", self.played.len());
        let mut headers = vec![("idempotency-key", key.as_str())];
        let mut body = String::new();
        if let Some((media, example)) = operation.example() {
            headers.push(("content-type", media));
            body = example
                .as_str()
                .map_or_else(|| example.to_string(), str::to_owned);
        }
        let method = operation.method.to_uppercase();
        let answer = self.world.send(&method, &path, &headers, &body).await;
        self.played.insert(operation.id());
        if crate::world::is_not_about_files() && answer.code() == "sqlite_only" {
            return answer.json();
        }
        assert!(answer.status.is_success(), "{}: {answer:?}", operation.id());
        self.compare(&operation, &answer);
        answer.json()
    }

    fn compare(&mut self, operation: &Operation, answer: &Answer) {
        if answer.header("content-type") != Some("application/json") || operation.id() == "document"
        {
            return;
        }
        let (status, body) = (answer.status.as_u16(), answer.json());
        if std::env::var_os("TOMBOLA_RECORD").is_some() {
            let entry = json!({ status.to_string(): fit_to_be_shown("", body) });
            self.recorded.insert(operation.id().to_owned(), entry);
            return;
        }
        let recorded = operation.recorded(status).unwrap_or_else(|| {
            panic!(
                "{}: no answer is recorded, see above how to",
                operation.id()
            )
        });
        is_like(operation.id(), recorded, &body);
    }

    /// An award of a prize that `user` is sure to win.
    async fn award_of(&self, campaign: &str, user: &str) -> i64 {
        let path = format!("/v1/campaigns/{campaign}/draws");
        let key = format!("{campaign}-{user}");
        let headers = [JSON, ("idempotency-key", key.as_str())];
        let body = json!({ "user": user }).to_string();
        let answer = self.world.send("POST", &path, &headers, &body).await;
        answer.json()["draws"][0]["award"]["id"].as_i64().unwrap()
    }

    /// Looks until the award stands there.
    async fn until(&self, award: i64, state: &str, reason: Option<&str>) {
        const LOOKS_MAX: u32 = 20_000;
        for _ in 0..LOOKS_MAX {
            let award = self.world.get(&format!("/v1/awards/{award}")).await.json();
            if award["state"] == state && award["hold_reason"].as_str() == reason {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("award {award} did not become {state}");
    }

    /// A campaign of one prize that every draw wins.
    async fn campaign_of(&self, slug: &str, prize: &str) {
        let file = format!(
            "[campaign]\nslug = \"{slug}\"\nname = \"{slug}\"\n[[prize]]\nslug = \"it\"\n\
             name = \"It\"\nodds = \"100%\"\n{prize}\n"
        );
        self.world.apply(&file).await;
        self.world.start(slug).await;
    }
}

/// The path with the examples of its parts.
pub(crate) fn path(operation: &Operation, id: Option<&str>) -> String {
    let parameters = operation.said["parameters"].as_array();
    let mut names: Vec<_> = parameters
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| (parameter["name"].as_str().unwrap(), &parameter["example"]))
        .collect();
    let mut path = operation.path.to_owned();
    if let Some(id) = id {
        let (last, _) = names.pop().unwrap();
        path = path.replace(&format!("{{{last}}}"), id);
    }
    for (name, example) in names {
        let example = example
            .as_str()
            .unwrap_or_else(|| panic!("{path} needs an id"));
        path = path.replace(&format!("{{{name}}}"), example);
    }
    path
}

/// The pointers of all objects in a body, its own first.
fn objects(value: &Value) -> Vec<String> {
    let below = |name: String, member| {
        let deeper = objects(member).into_iter();
        deeper.map(move |pointer| format!("/{name}{pointer}"))
    };
    match value {
        Value::Object(members) => std::iter::once(String::new())
            .chain(members.iter().flat_map(|(n, it)| below(n.clone(), it)))
            .collect(),
        Value::Array(items) => (0..)
            .zip(items)
            .flat_map(|(n, it): (u32, _)| below(n.to_string(), it))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[tokio::test]
async fn list_in_place_of_any_object_of_any_body_is_refused() {
    let world = World::new().await;
    let mut tried = 0;
    for operation in operations() {
        let Some(("application/json", example)) = operation.example() else {
            continue;
        };
        let parts = operation.path.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { "1" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let method = operation.method.to_uppercase();
        for pointer in objects(example) {
            let mut body = example.clone();
            let object = body.pointer_mut(&pointer).unwrap();
            let members = object.as_object().unwrap().values();
            let inner = members.cloned().collect::<Value>();
            for list in [json!([]), json!([null, null]), inner] {
                *body.pointer_mut(&pointer).unwrap() = list;
                let headers = [JSON, ("idempotency-key", "a-request-key")];
                let answer = world
                    .send(&method, &path, &headers, &body.to_string())
                    .await;
                assert_eq!(answer.code(), "invalid_body", "{} {body}", operation.id());
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "only {tried} bodies were tried");
}

/// Secrets and instants as the document shows them, and of a list its beginning.
fn fit_to_be_shown(name: &str, value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name.clone(), fit_to_be_shown(&name, member)))
            .collect(),
        Value::Array(items) => items
            .into_iter()
            .take(2)
            .map(|item| fit_to_be_shown(name, item))
            .collect(),
        Value::String(text) => match name {
            "key" => "tmb_…".into(),
            "claim_token" => "tmc_…".into(),
            "new_secret" => "whsec_…".into(),
            "webhook_id" => "test-k3v7qz2mhd5a".into(),
            "origin" => "1f0c7d3e-6d0e-4c5a-9a3e-2b8f5f0f8a11".into(),
            _ if tombola_core::Timestamp::parse(&text).is_some() => {
                "2026-02-10T08:30:00.000000Z".into()
            }
            _ => text.into(),
        },
        Value::Number(_) if name == "took_ms" => 12.into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// The same fields, of the same types. Null stands for any type, an empty list for
/// any list.
fn is_like(place: &str, recorded: &Value, body: &Value) {
    match (recorded, body) {
        (Value::Object(one), Value::Object(other)) => {
            let names = |it: &Map<String, Value>| it.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(one), names(other), "{place}");
            for (name, member) in one {
                is_like(&format!("{place}/{name}"), member, &other[name]);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            if let (Some(one), Some(other)) = (one.first(), other.first()) {
                is_like(&format!("{place}/0"), one, other);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (one, other) => assert_eq!(
            std::mem::discriminant(one),
            std::mem::discriminant(other),
            "{place}: {one} and {other}"
        ),
    }
}

/// Aim: whoever copies an example from the document gets what the document says.
#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_document_runs_and_is_answered_as_it_stands_there() {
    let mut play = Play::new().await;
    let import = set_up(&mut play).await;
    hold(&mut play).await;
    let seed = Seed::Number(7);
    let started = play.world.app.start_seeded(ServeRoles::all(), seed).await;
    started.unwrap();
    draw(&mut play).await;
    ship(&mut play).await;
    play.example_of("withdraw_import", import).await;
    see_to_users(&mut play).await;
    act_in_bulk(&mut play).await;
    operate(&mut play).await;
    let all: BTreeSet<_> = operations().iter().map(Operation::id).collect();
    let left: Vec<_> = all.difference(&play.played).collect();
    assert!(
        left.is_empty(),
        "these operations have no place in the play: {left:?}"
    );
    if std::env::var_os("TOMBOLA_RECORD").is_some() {
        let text = format!("{:#}\n", Value::Object(play.recorded));
        std::fs::write(RECORDED, text).unwrap();
    }
    play.world.app.stop().await;
}

/// Gives the id of the import.
async fn set_up(play: &mut Play) -> Value {
    for id in [
        "alive",
        "version",
        "document",
        "browse_document",
        "page_file",
    ] {
        play.example(id).await;
    }
    play.example("put_endpoint").await;
    play.example("put_campaign").await;
    let imported = play.example("import_codes").await;
    play.example("move_campaign").await;
    for to in ["approve", "start"] {
        let path = "/v1/campaigns/autumn-fair/transitions";
        let moved = play.world.post(path, &json!({ "to": to })).await;
        assert_eq!(moved.status, StatusCode::OK, "{moved:?}");
    }
    play.example("change_stock").await;
    play.example("create_player_token").await;
    for id in [
        "list_endpoints",
        "show_endpoint",
        "list_campaigns",
        "count_codes",
        "show_odds",
    ] {
        play.example(id).await;
    }
    imported["import"].clone()
}

async fn draw(play: &mut Play) {
    play.example("ready").await;
    let drawn = play.example("draw").await;
    play.example_of("show_draw", &drawn["draws"][0]["id"]).await;
    for id in [
        "list_draws",
        "export_draws",
        "show_allowance",
        "show_campaign",
    ] {
        play.example(id).await;
    }
}

/// Nothing moves yet, so the award waits.
async fn hold(play: &mut Play) {
    play.campaign_of("waiting", "kind = \"points\"\npoints = 1")
        .await;
    let award = play.award_of("waiting", "u2").await;
    for id in ["hold_award", "release_award", "cancel_award"] {
        play.example_of(id, award).await;
    }
}

async fn ship(play: &mut Play) {
    let kind = |kind: &str| format!("kind = \"{kind}\"");
    play.campaign_of("posted", &kind("physical")).await;
    play.campaign_of("partner", &kind("external")).await;
    let mug = play.award_of("posted", "u1").await;
    play.until(mug, "held", Some("address")).await;
    play.example_of("give_address", mug).await;
    play.until(mug, "held", Some("shipment")).await;
    play.example_of("enter_shipment", mug).await;
    play.example_of("confirm_award", mug).await;
    play.example_of("show_award", mug).await;

    play.award_of("partner", "u1").await;
    play.example("list_awards").await;
    play.example("export_awards").await;
}

async fn operate(play: &mut Play) {
    for id in [
        "list_dead_letters",
        "export_dead_letters",
        "requeue_dead_letters",
        "pause_deliveries",
        "resume_deliveries",
        "disable_endpoint",
        "enable_endpoint",
        "rotate_endpoint_secret",
    ] {
        play.example(id).await;
    }
    test_an_endpoint(play).await;
    keep_a_message(play).await;
    play.example_of("show_dead_message", "m1").await;
    play.example_of("dismiss_dead_letter", "m1").await;
    let made = play.example("create_key").await;
    play.example("list_keys").await;
    play.example_of("revoke_key", &made["id"]).await;
    for id in [
        "show_secrets",
        "rotate_secret",
        "read_log",
        "export_log",
        "audit",
        "doctor",
        "fetch_backup",
        "read_metrics",
    ] {
        play.example(id).await;
    }
}

/// One whose receiver is there.
async fn test_an_endpoint(play: &mut Play) {
    let receiver = Receiver::of(204);
    let spec = json!({
        "name": "coupon-service", "url": receiver.url, "idempotent": true, "allow_private": true
    });
    let path = "/v1/endpoints/coupon-service";
    let spec = spec.to_string();
    let put = play.world.send("PUT", path, &[JSON], &spec);
    assert_eq!(put.await.status, StatusCode::OK);
    play.example_of("test_endpoint", "coupon-service").await;
}

/// One that no worker of ours wrote.
async fn keep_a_message(play: &Play) {
    let message = KeptMessage {
        position: Position {
            epoch: 0,
            partition: 3,
            offset: 17,
        },
        key: Some("u1".to_owned()),
        value: Some(b"not an award".to_vec()),
        headers: vec![("origin".to_owned(), "elsewhere".to_owned())],
        reason: KeptReason::Undecodable,
    };
    let (store, now) = (play.world.app.store(), play.world.app.now());
    store.keep_messages(vec![message], now).await.unwrap();
}

async fn see_to_users(play: &mut Play) {
    let points = play.award_of("waiting", "u1").await;
    play.until(points, "delivered", None).await;
    play.example_of("reverse_points", points).await;
    for id in ["show_points", "block_user", "show_user", "unblock_user"] {
        play.example(id).await;
    }
    let last = play.award_of("waiting", "u9").await;
    play.until(last, "delivered", None).await;
    play.example_of("erase_user", "u9").await;
}

async fn act_in_bulk(play: &mut Play) {
    play.example("cancel_awards").await;
    let begun = play.example("release_awards").await;
    play.example_of("show_operation", &begun["id"]).await;
    play.example_of("cancel_operation", &begun["id"]).await;
    play.example("list_operations").await;
}
