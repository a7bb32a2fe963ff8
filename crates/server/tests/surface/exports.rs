//! Exports: the rows of the lists in every form, nothing in them that is secret, and
//! no file that is short without a word.

use crate::lists::{WIDE, pages, wide};
use crate::world::{Desk, World, until};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use tombola_core::limits;
use tombola_server::http::auth::Who;
use tower::ServiceExt as _;

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The cells of a column, by its heading.
fn column(csv_text: &[u8], name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv_text);
    let place = reader.headers().unwrap().iter().position(|it| it == name);
    let place = place.unwrap_or_else(|| panic!("no column {name}"));
    reader
        .records()
        .map(|record| record.unwrap()[place].to_owned())
        .collect()
}

#[tokio::test]
async fn export_has_the_rows_of_the_list_in_either_form() {
    let world = wide(&["ann", "bob", "=cid"]).await;
    let awards = pages(&world, "/v1/awards", 500).await;
    let id = awards[5]["id"].to_string();
    for act in ["hold", "release", "cancel"] {
        let reason = json!({ "reason": "a \"reason\", with\nall that" });
        let done = world.post(&format!("/v1/awards/{id}/{act}"), &reason).await;
        assert_eq!(done.status, StatusCode::OK, "{done:?}");
    }
    for (list, filter, rows) in [
        ("awards", "", 300),
        ("awards", "&user=ann", 100),
        ("awards", "&user=%3Dcid&prize=hello&state=pending", 99),
        ("awards", "&prize=none", 0),
        ("draws", "&outcome=won&client=local", 300),
        ("draws", "&outcome=nothing", 0),
        ("dead-letters", "", 0),
        ("log", "&action=award", 3),
    ] {
        let listed = pages(
            &world,
            &format!("/v1/{list}?{}", filter.trim_start_matches('&')),
            77,
        )
        .await;
        assert_eq!(listed.len(), rows, "{list} {filter}");
        let exported = world
            .get(&format!("/v1/{list}/export?format=jsonl{filter}"))
            .await;
        assert_eq!(exported.header("content-type"), Some("application/jsonl"));
        assert_eq!(lines(&exported.body), listed, "{list} {filter}");
        let sheet = world
            .get(&format!("/v1/{list}/export?format=csv{filter}"))
            .await;
        assert_eq!(
            sheet.header("content-type"),
            Some("text/csv; charset=utf-8; header=present")
        );
        let name = format!("attachment; filename=\"{list}.csv\"");
        assert_eq!(sheet.header("content-disposition"), Some(name.as_str()));
        let ids: Vec<String> = listed.iter().map(|row| row["id"].to_string()).collect();
        assert_eq!(column(&sheet.body, "id"), ids, "{list} {filter}");
    }
}

#[tokio::test]
async fn csv_has_a_heading_instants_and_no_formula() {
    let world = wide(&["=HYPERLINK(1)"]).await;
    let sheet = world.get("/v1/awards/export?limit=2").await;
    let text = String::from_utf8(sheet.body.clone()).unwrap();
    let heading = "id,drawn_at,campaign,user,prize,kind,state,hold_reason,dead_reason,mq_state,grant_state,\
                   in_doubt,attempts,due_at,ended_at,adopted_from\r\n";
    assert!(text.starts_with(heading), "{text}");
    assert_eq!(text.lines().count(), 3, "a limit of two rows: {text}");
    assert_eq!(column(&sheet.body, "user"), ["'=HYPERLINK(1)"; 2]);
    let drawn_at = &column(&sheet.body, "drawn_at")[0];
    assert!(
        tombola_core::Timestamp::parse(drawn_at).is_some(),
        "{drawn_at}"
    );
    let none = world.get("/v1/awards/export?limit=0").await;
    assert_eq!(none.code(), "invalid_query");
    let form = world.get("/v1/awards/export?format=xlsx").await;
    assert_eq!(form.code(), "invalid_query");
}

#[tokio::test]
async fn export_shows_a_key_no_more_than_the_list_does() {
    let world = wide(&["ann"]).await;
    let deliverer = world.key("deliverer", "carrier").await;
    let none = Value::Null;
    let seen = world
        .send_with(&deliverer, "GET", "/v1/awards/export?format=jsonl", &none)
        .await;
    assert_eq!((seen.status, lines(&seen.body).len()), (StatusCode::OK, 0));
    let other = world
        .send_with(&deliverer, "GET", "/v1/awards/export?kind=text", &none)
        .await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    let body = json!({ "role": "operator", "client": "fairs", "campaigns": ["fair"] });
    let scoped = world.post("/v1/keys", &body).await.json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    for path in [
        "/v1/awards/export",
        "/v1/draws/export?campaign=wide",
        "/v1/log/export",
    ] {
        let refused = world.send_with(&scoped, "GET", path, &none).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    let own = world
        .send_with(
            &scoped,
            "GET",
            "/v1/draws/export?campaign=fair&format=jsonl",
            &none,
        )
        .await;
    assert_eq!(own.status, StatusCode::OK);
}

/// An export whose body nobody has read yet.
async fn begun(world: &World) -> axum::http::Response<Body> {
    let mut request = Request::get("/v1/awards/export?format=jsonl")
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(Who::Local);
    world.app.router().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn exports_at_a_time_are_bounded_and_one_that_is_dropped_ends() {
    // More rows than the pages that are read ahead.
    let world = wide(&["ann"; 20]).await;
    let mut exports = Vec::new();
    for _ in 0..limits::EXPORTS_MAX {
        let export = begun(&world).await;
        assert_eq!(export.status(), StatusCode::OK);
        exports.push(export);
    }
    let further = world.get("/v1/awards/export").await;
    assert_eq!(
        (further.status, further.code().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
    );
    let wait = limits::EXPORT_RETRY_AFTER.as_secs().to_string();
    assert_eq!(further.header("retry-after"), Some(wait.as_str()));
    // Nobody reads, and everything goes on: lists, draws, other exports when one ends.
    assert_eq!(world.get("/v1/awards").await.status, StatusCode::OK);
    drop(exports.pop());
    let mut looks = 0;
    while begun(&world).await.status() != StatusCode::OK {
        looks += 1;
        assert!(
            looks < 100_000,
            "the place of the one that was dropped is free"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn export_that_nobody_reads_holds_nothing_of_the_database() {
    if crate::world::is_not_about_files() {
        return;
    }
    let world = wide(&["ann"; 20]).await;
    let export = begun(&world).await;
    assert_eq!(export.status(), StatusCode::OK);
    let shell = rusqlite::Connection::open(world.temp.path().join("data/tombola.db")).unwrap();
    // A reader that stays would keep the log from being emptied.
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let (busy, left): (i64, i64) = shell
        .query_row(checkpoint, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((busy, left), (0, 0));
    drop(export);
}

#[tokio::test]
async fn export_that_is_not_whole_breaks_off() {
    let world = wide(&["ann"; 20]).await;
    let whole = lines(&world.get("/v1/awards/export?format=jsonl").await.body);
    assert_eq!(whole.len(), 2000);
    let mut body = begun(&world).await.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(lines(&first), whole[..lines(&first).len()]);
    world.app.stop().await;
    let rest: Vec<_> = body.collect().await;
    let (last, before) = rest.split_last().unwrap();
    assert!(before.iter().all(Result::is_ok));
    assert!(last.is_err(), "nobody takes it for whole");
}

#[test]
fn command_says_that_an_export_broke_off() {
    let desk = Desk::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let breaks_off = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nid\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let said = desk.run(&["--server", &url, "award", "list", "--csv"]);
    breaks_off.join().unwrap();
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (Some(1), "id\n"),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("the export broke off, and what was printed is not all"),
        "{said:?}"
    );
}

#[test]
fn lists_of_commands_stream_through_the_export() {
    let desk = Desk::new();
    std::fs::write(desk.path("wide.toml"), WIDE).unwrap();
    desk.ok(&["campaign", "apply", "wide.toml", "--start"]);
    for user in ["ann", "bob"] {
        desk.ok(&["draw", "wide", "--user", user, "--count", "60"]);
    }
    let table = desk.ok(&["award", "list"]);
    assert_eq!(table.stdout.lines().count(), 51, "{table:?}");
    assert_eq!(
        table.stderr,
        "there are more; --limit says how many are shown (now 50)\n"
    );
    let in_process = desk.ok(&["award", "list", "--json"]);
    assert_eq!(in_process.json_lines().len(), 120, "a stream has all");
    let server = desk.serve();
    let key = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let over_socket = desk.ok(&["award", "list", "--csv", "--user", "ann", "--since", "1h"]);
    let mut command = desk.command(&[
        "--server",
        &format!("http://{}", server.address),
        "award",
        "list",
        "--csv",
        "--user",
        "ann",
    ]);
    command.env("TOMBOLA_API_KEY", key.trim());
    let from_afar = crate::world::said(command);
    assert_eq!(column(over_socket.stdout.as_bytes(), "id").len(), 60);
    assert_eq!(
        column(from_afar.stdout.as_bytes(), "id"),
        column(over_socket.stdout.as_bytes(), "id")
    );
    let few = desk.ok(&[
        "draw",
        "list",
        "wide",
        "--outcome",
        "won",
        "--limit",
        "3",
        "--json",
    ]);
    assert_eq!(few.json_lines().len(), 3);
    let log = desk.ok(&["log", "--action", "campaign", "--by", "local", "--csv"]);
    assert!(
        column(log.stdout.as_bytes(), "action")
            .iter()
            .all(|it| it.starts_with("campaign"))
    );
    let wrong = desk.run(&["dead-letter", "list", "--reason", "bored"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("unpublishable") && wrong.stderr.contains("undecodable"),
        "{wrong:?}"
    );
}

#[test]
fn no_code_text_token_address_or_secret_is_in_any_export() {
    let desk = Desk::new();
    std::fs::write(
        desk.path("endpoints.toml"),
        "[[endpoint]]\nname = \"shop\"\nurl = \"https://shop.example/awards\"\nidempotent = true\n",
    )
    .unwrap();
    let secret = desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    assert_eq!(secret.code, Some(0));
    let put = desk.ok(&["endpoint", "put", "endpoints.toml"]).stdout;
    let secret = put
        .split_whitespace()
        .find(|word| word.starts_with("whsec_"))
        .unwrap()
        .to_owned();
    let server = desk.serve();
    let key = desk.ok(&["key", "create", "--role", "client"]).stdout;
    let mut tokens = Vec::new();
    for n in 0..8 {
        let user = format!("u{n}");
        let drawn = desk
            .ok(&["draw", "fair", "--user", &user, "--count", "5", "--json"])
            .json();
        for draw in drawn["draws"].as_array().unwrap() {
            tokens.extend(draw["award"]["claim_token"].as_str().map(str::to_owned));
            if draw["prize"] == "mug" {
                let id = draw["id"].to_string();
                let address = [
                    "--name",
                    "Ann Secretive",
                    "--line",
                    "Hidden lane 7",
                    "--city",
                    "Bergen",
                    "--country",
                    "NO",
                ];
                desk.ok(&[&["award", "address", &id][..], &address].concat());
            }
        }
    }
    until("codes are delivered", || {
        desk.ok(&["code", "stats", "fair", "--json"]).json()["given"].as_u64() == Some(3)
    });
    let mut exported = String::new();
    for list in [
        &["award", "list"][..],
        &["draw", "list", "fair"],
        &["dead-letter", "list"],
        &["log"],
    ] {
        for form in ["--csv", "--json"] {
            exported += &desk.ok(&[list, &[form]].concat()).stdout;
        }
    }
    assert!(exported.lines().count() > 150, "{exported}");
    drop(server);
    let hidden = [
        "SECRET-",
        "Thank you for coming",
        "Ann Secretive",
        "Hidden lane",
        "Bergen",
        key.trim(),
        secret.as_str(),
    ];
    for word in hidden.into_iter().chain(tokens.iter().map(String::as_str)) {
        let line = exported.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word}");
    }
}
