//! Codes: streamed in, all or nothing; a bad line is named and changes nothing.

use crate::world::{Answer, CODES, Desk, FAIR, World, until};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;

async fn import(world: &World, query: &str, key: &str, codes: &str) -> Answer {
    let path = format!("/v1/campaigns/fair/prizes/coffee/codes{query}");
    world
        .send(
            "POST",
            &path,
            &[("content-type", "text/csv"), ("idempotency-key", key)],
            codes,
        )
        .await
}

async fn totals(world: &World) -> (Value, Value) {
    let stats = world.get("/v1/campaigns/fair/codes").await.json()["items"][0].clone();
    (stats["total"].clone(), stats["free"].clone())
}

#[tokio::test]
async fn file_with_one_bad_line_changes_nothing_and_names_the_line() {
    let world = World::new().await;
    world.apply(FAIR).await;
    let mut codes = String::new();
    for n in 0..2500 {
        writeln!(codes, "C-{n}").unwrap();
    }
    for (bad, line) in [("C-7\n", 2501), ("A,B\n", 2501), ("\"\"\n", 2501)] {
        let answer = import(&world, "", "request-1", &format!("{codes}{bad}C-last\n")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_codes")
        );
        assert_eq!(answer.json()["line"], line, "{answer:?}");
        assert!(
            !answer.json().to_string().contains("C-7"),
            "codes are never quoted"
        );
        assert_eq!(totals(&world).await, (json!(0), json!(0)));
    }
    let whole = import(&world, "", "request-1", &codes).await;
    assert_eq!(
        (whole.status, &whole.json()["imported"]),
        (StatusCode::OK, &json!(2500))
    );
    assert_eq!(totals(&world).await, (json!(2500), json!(2500)));
}

#[tokio::test]
async fn import_sent_again_is_answered_again_and_imports_once() {
    let world = World::new().await;
    world.apply(FAIR).await;
    let first = import(&world, "", "request-1", CODES).await;
    let again = import(&world, "", "request-1", CODES).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(
        import(&world, "", "request-1", "OTHER\n").await.code(),
        "request_key_reused"
    );
    assert_eq!(totals(&world).await, (json!(3), json!(3)));
    let skipped = import(
        &world,
        "?skip_duplicates=true",
        "request-2",
        "SECRET-2\nSECRET-9\n",
    )
    .await
    .json();
    assert_eq!(
        (&skipped["imported"], &skipped["skipped"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(totals(&world).await, (json!(4), json!(4)));
}

#[tokio::test]
async fn stock_is_changed_once_under_one_request_key() {
    let world = World::with_fair().await;
    let change = async |key: &str, add: i64| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = json!({ "add": add }).to_string();
        world
            .send(
                "POST",
                "/v1/campaigns/fair/prizes/coffee/stock",
                &headers,
                &body,
            )
            .await
    };
    let first = change("request-1", 5).await;
    assert_eq!(
        first.json(),
        json!({ "campaign": "fair", "prize": "coffee", "stock": 8, "left": 8 })
    );
    let again = change("request-1", 5).await;
    assert_eq!(
        (
            again.body,
            again.headers.contains_key("idempotent-replayed")
        ),
        (first.body, true)
    );
    assert_eq!(change("request-1", 6).await.code(), "request_key_reused");
    assert_eq!(change("request-2", -8).await.json()["left"], 0);
    assert_eq!(change("request-3", -1).await.code(), "not_enough_stock");
}

#[test]
fn import_of_the_command_line_keeps_codes_out_of_everything_it_says() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml"]);
    std::fs::write(desk.path("bad.csv"), "SECRET-8\nSECRET-8\n").unwrap();
    let bad = desk.run(&["code", "import", "fair", "coffee", "bad.csv"]);
    assert_eq!(bad.code, Some(1));
    assert_eq!(
        bad.stderr,
        "error: bad.csv: The code file cannot be used: line 2: the campaign has this code already; \
         nothing was imported (invalid_codes)\n"
    );
    let good = desk.ok(&["code", "import", "fair", "coffee", "codes.csv"]);
    assert_eq!(
        (good.stdout.as_str(), good.stderr.as_str()),
        ("fair/coffee: 3 codes imported, 0 skipped\n", "")
    );
    let stats = desk.ok(&["code", "stats", "fair"]);
    assert_eq!(
        stats.stdout,
        "PRIZE   TOTAL  FREE  GIVEN  VOID  IMPORTS\ncoffee  3      3     0      0     1\n"
    );
}

#[test]
fn import_whose_client_hangs_up_leaves_nothing() {
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&["campaign", "apply", "fair.toml"]);
    let key = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /v1/campaigns/fair/prizes/coffee/codes HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: text/csv\r\nidempotency-key: request-1\r\ncontent-length: 100000\r\n\r\n",
        key.trim()
    );
    stream.write_all(head.as_bytes()).unwrap();
    for n in 0..2000 {
        writeln!(stream, "CUT-{n}").unwrap();
    }
    let imports = || desk.ok(&["code", "stats", "fair", "--json"]).json()["imports"].clone();
    until("the import runs", || imports()[0]["state"] == "running");
    drop(stream);
    until("the import is gone", || imports() == json!([]));
    std::fs::write(desk.path("cut.csv"), "CUT-1\n").unwrap();
    let again = desk.ok(&["code", "import", "fair", "coffee", "cut.csv"]);
    assert_eq!(again.stdout, "fair/coffee: 1 codes imported, 0 skipped\n");
}
