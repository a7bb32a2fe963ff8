//! Lists: pages that follow each other, whatever happens meanwhile, and filters that
//! are refused by name.

use crate::document::{Operation, operations};
use crate::examples::path;
use crate::world::{JSON, World};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Draws without a limit; every draw wins.
pub(crate) const WIDE: &str = r#"
[campaign]
slug = "wide"
name = "Wide"
[[prize]]
slug = "hello"
name = "Hello"
kind = "text"
text = "The secret of happiness"
odds = "100%"
"#;

/// Of `users` each, a hundred awards.
pub(crate) async fn wide(users: &[&str]) -> World {
    let world = World::new().await;
    world.apply(WIDE).await;
    world.start("wide").await;
    for (number, user) in users.iter().enumerate() {
        let body = json!({ "user": user, "count": 100 }).to_string();
        let key = format!("request-{number}");
        let headers = [JSON, ("idempotency-key", key.as_str())];
        let path = "/v1/campaigns/wide/draws";
        let drawn = world.send("POST", path, &headers, &body).await;
        assert_eq!(drawn.status, StatusCode::CREATED, "{drawn:?}");
    }
    world
}

/// All items of a list, in pages of `limit`.
pub(crate) async fn pages(world: &World, path: &str, limit: usize) -> Vec<Value> {
    let mark = if path.contains('?') { '&' } else { '?' };
    let (mut items, mut after) = (Vec::new(), String::new());
    loop {
        let page = world
            .get(&format!("{path}{mark}limit={limit}{after}"))
            .await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        let mut page = page.json();
        if let Some(entries) = page.get_mut("entries") {
            page = entries.take();
        }
        let Value::Array(more) = page["items"].take() else {
            panic!("{page}")
        };
        assert!(more.len() <= limit);
        items.extend(more);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return items,
        }
    }
}

#[tokio::test]
async fn cursor_is_for_its_list_and_its_filters_only() {
    let world = wide(&["ann", "bob"]).await;
    let first = world.get("/v1/awards?user=ann&limit=7").await.json();
    let next = first["next"].as_str().unwrap();
    assert!(next.parse::<i64>().is_err(), "it is opaque");
    let second = world
        .get(&format!("/v1/awards?limit=3&user=ann&after={next}"))
        .await;
    assert_eq!(second.status, StatusCode::OK, "{second:?}");
    let id = |page: &Value, place: usize| page["items"][place]["id"].as_i64().unwrap();
    assert!(id(&second.json(), 0) < id(&first, 6));
    let forged = next.replacen(
        &next[0..1],
        if next.starts_with('A') { "B" } else { "A" },
        1,
    );
    for wrong in [
        format!("/v1/draws?user=ann&after={next}"),
        format!("/v1/awards?user=bob&after={next}"),
        format!("/v1/awards?user=ann&state=pending&after={next}"),
        format!("/v1/awards?after={next}"),
        format!("/v1/awards?user=ann&after={forged}"),
        "/v1/awards?user=ann&after=4711".to_owned(),
        "/v1/log?after=".to_owned(),
        format!("/v1/awards/export?user=ann&after={next}"),
    ] {
        let refused = world.get(&wrong).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (StatusCode::BAD_REQUEST, "invalid_query"),
            "{wrong}"
        );
        assert!(
            refused.json()["detail"]
                .as_str()
                .unwrap()
                .starts_with("after: "),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn span_of_time_means_the_same_on_every_page() {
    let world = wide(&["ann"]).await;
    // All were drawn less than an hour ago, and more than no time ago.
    assert_eq!(pages(&world, "/v1/awards?since=1h", 30).await.len(), 100);
    assert_eq!(
        pages(&world, "/v1/awards?until=0s&since=1h", 30)
            .await
            .len(),
        100
    );
    assert_eq!(pages(&world, "/v1/awards?until=1h", 30).await.len(), 0);
}

/// The address with parameters that are refused, and which is named.
const REFUSED: &[(&str, &str)] = &[
    ("/v1/draws?until=yesterday", "until"),
    ("/v1/awards?since=1h&until=2h", "until"),
    ("/v1/awards?since=soon", "since"),
    ("/v1/awards?state=lost", "state"),
    ("/v1/awards?kind=gift", "kind"),
    ("/v1/awards?hold_reason=bored", "hold_reason"),
    ("/v1/awards/export?dead_reason=bored", "dead_reason"),
    ("/v1/draws?outcome=lost", "outcome"),
    ("/v1/dead-letters?reason=bored", "reason"),
    ("/v1/log?award=ann", "award"),
    ("/v1/awards?color=red", "color"),
    ("/v1/awards/export?format=xlsx", "format"),
    ("/v1/awards/export?limit=0", "limit"),
    ("/v1/awards/export?color=red", "color"),
];

#[tokio::test]
async fn filter_that_cannot_be_meant_is_refused_by_its_name() {
    let world = World::new().await;
    for (path, name) in REFUSED {
        let refused = world.get(path).await;
        assert_eq!(refused.code(), "invalid_query", "{path}: {refused:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(name), "{path}: {detail}");
    }
}

/// Every operation that answers with a page: its address, with the examples of its
/// parts.
fn lists() -> Vec<String> {
    let is_list = |it: &Operation| {
        let schema = &it.said["responses"]["200"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str().unwrap_or_default();
        name.contains("/PageOf") || name.ends_with("/PointsDoc")
    };
    let named = operations().into_iter().filter(is_list);
    named.map(|it| path(&it, None)).collect()
}

#[tokio::test]
async fn every_list_has_a_cursor_and_a_limit_and_refuses_others_by_name() {
    let world = World::with_fair().await;
    let lists = lists();
    assert_eq!(lists.len(), 10, "{lists:?}");
    for list in lists {
        let list = list.replace("autumn-fair", "fair");
        assert_eq!(world.get(&list).await.status, StatusCode::OK, "{list}");
        for (name, value) in [("after", "4711"), ("limit", "0"), ("limit", "501")] {
            let refused = world.get(&format!("{list}?{name}={value}")).await;
            assert_eq!(refused.code(), "invalid_query", "{list}: {refused:?}");
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with(&format!("{name}: ")), "{list}: {detail}");
        }
    }
}

/// One row more in each list, and a change of one that is there.
async fn meanwhile(world: &World, nth: usize) {
    let slug = format!("new-{nth}");
    world.apply(&WIDE.replace("wide", &slug)).await;
    let body = json!({ "user": "u1" }).to_string();
    let key = format!("request-of-{slug}");
    let headers = [JSON, ("idempotency-key", key.as_str())];
    let drawn = world
        .send("POST", "/v1/campaigns/wide/draws", &headers, &body)
        .await;
    assert_eq!(drawn.status, StatusCode::CREATED, "{drawn:?}");
    let award = drawn.json()["draws"][0]["id"].as_i64().unwrap() - 7;
    let reason = json!({ "reason": "it is time" });
    let held = world
        .post(&format!("/v1/awards/{award}/hold"), &reason)
        .await;
    assert_eq!(held.status, StatusCode::OK, "{held:?}");
    let endpoint = json!({ "name": slug, "url": "https://x.example/", "idempotent": true });
    let path = format!("/v1/endpoints/{slug}");
    let put = world
        .send("PUT", &path, &[JSON], &endpoint.to_string())
        .await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    world.key("client", &slug).await;
    let filter =
        json!({ "filter": { "campaign": "wide", "hold_reason": "manual" }, "reason": "on" });
    let begun = world.post("/v1/awards/release", &filter).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
}

/// What names a row.
fn name(row: &Value) -> String {
    let names = ["id", "name", "campaign", "prize", "award"];
    let name = names.into_iter().find_map(|it| row.get(it));
    name.unwrap_or_else(|| panic!("{row}")).to_string()
}

/// Aim: whoever reads a list page by page, while rows come and change before each
/// page, sees each row that was there once, whatever list it is.
#[tokio::test]
async fn every_list_shows_each_row_once_while_rows_come_and_change() {
    let world = wide(&["u1"]).await;
    for nth in 0..6 {
        meanwhile(&world, nth).await;
    }
    let (mut nth, mut long) = (6, 0);
    for list in lists() {
        let list = list.replace("autumn-fair", "wide");
        let before: Vec<_> = pages(&world, &list, 500).await.iter().map(name).collect();
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = world.get(&format!("{list}?limit=2{after}")).await.json();
            let page = page.get("entries").unwrap_or(&page);
            seen.extend(page["items"].as_array().unwrap().iter().map(name));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            after = format!("&after={next}");
            if nth < 12 || seen.len() < 20 {
                meanwhile(&world, nth).await;
                nth += 1;
            }
        }
        assert_eq!(seen, before, "{list}");
        long += usize::from(seen.len() > 5);
    }
    assert_eq!(
        long, 7,
        "all but dead letters, codes and points, of which there are none"
    );
}
