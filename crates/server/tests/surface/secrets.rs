//! Aim: the data directory keeps its secrets apart from its database, and a change
//! of the secret takes nothing away from anybody, wherever it is cut off.

use crate::world::{Desk, FAIR, World, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// Codes that several steps of sealing anew are needed for.
const MANY: usize = 4000;

/// The campaign, started, with many codes.
fn apply(desk: &Desk) {
    let codes: Vec<String> = (0..MANY).map(|n| format!("SECRET-{n}")).collect();
    std::fs::write(desk.path("codes.csv"), codes.join("\n")).unwrap();
    let fair = FAIR
        .replace("stock = 3", "stock = 4000")
        .replace("per_user_total = 5", "per_user_total = 50");
    std::fs::write(desk.path("fair.toml"), fair).unwrap();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
}

fn status(desk: &Desk) -> Value {
    desk.ok(&["secret", "status", "--json"]).json()
}

/// Rows of a version in all.
fn rows(status: &Value, version: i64) -> u64 {
    let versions = status["versions"].as_array().unwrap();
    let found = versions.iter().find(|it| it["version"] == version);
    let counts = found.and_then(|it| it["rows"].as_object());
    counts.map_or(0, |rows| rows.values().filter_map(Value::as_u64).sum())
}

fn secret_key(desk: &Desk) -> String {
    std::fs::read_to_string(desk.data().join("secret.key")).unwrap()
}

/// An award of kind code that was delivered.
fn coffee_won(desk: &Desk, key: &str) -> String {
    let args = [
        "draw", "fair", "--user", key, "--count", "50", "--key", key, "--json",
    ];
    let drawn = desk.ok(&args).json();
    let draws = drawn["draws"].as_array().unwrap();
    let coffee = draws.iter().find(|draw| draw["prize"] == "coffee").unwrap();
    let id = coffee["id"].to_string();
    until("it is delivered", || {
        shown(desk, &id)["state"] == "delivered"
    });
    id
}

fn shown(desk: &Desk, id: &str) -> Value {
    desk.ok(&["award", "show", id, "--json"]).json()
}

#[test]
fn secret_is_changed_while_the_server_runs_and_every_row_follows() {
    let desk = Desk::new();
    let server = desk.serve();
    apply(&desk);
    let id = coffee_won(&desk, "request-1");
    let before = desk.ok(&[
        "draw",
        "fair",
        "--user",
        "u9",
        "--key",
        "request-2",
        "--json",
    ]);
    assert_eq!(status(&desk)["newest"], 1);
    let made = desk.ok(&["secret", "rotate", "--reason", "yearly"]);
    assert_eq!(made.stdout, "version 2 signs and seals from now on\n");
    assert!(
        made.stderr.contains("claim tokens of draws made before"),
        "{made:?}"
    );
    until("all rows follow", || status(&desk)["is_resealing"] == false);
    let now = status(&desk);
    assert_eq!(
        (rows(&now, 1), rows(&now, 2)),
        (0, MANY as u64 + 1),
        "codes, and the key of digests"
    );
    let needed = |version: usize| now["versions"][version]["is_needed"].clone();
    assert_eq!((needed(0), needed(1)), (json!(false), json!(true)));
    let content = shown(&desk, &id)["content"].clone();
    assert!(
        content.as_str().unwrap().starts_with("SECRET-"),
        "{content}"
    );
    // A claim token of before is made and read with its own version.
    let again = desk.ok(&[
        "draw",
        "fair",
        "--user",
        "u9",
        "--key",
        "request-2",
        "--json",
    ]);
    assert_eq!(again.stdout, before.stdout);
    let line = desk.ok(&["log", "--json"]).json_lines().remove(0);
    assert_eq!(
        (&line["action"], &line["subject"], &line["reason"]),
        (
            &json!("secret rotate"),
            &json!("version 2"),
            &json!("yearly")
        )
    );
    let mode = std::fs::metadata(desk.data().join("secret.key"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert_eq!(secret_key(&desk).lines().count(), 2);
    assert!(
        desk.ok(&["audit", "--full", "--json"]).json()["ok"]
            .as_bool()
            .unwrap()
    );
    drop(server);
}

#[test]
fn server_that_is_killed_while_rows_follow_goes_on_after_its_restart() {
    let desk = Desk::new();
    let server = desk.serve();
    apply(&desk);
    let id = coffee_won(&desk, "request-1");
    let content = shown(&desk, &id)["content"].clone();
    desk.ok(&["secret", "rotate"]);
    server.kill();
    let server = desk.serve();
    assert_eq!(
        shown(&desk, &id)["content"],
        content,
        "whichever version it has"
    );
    until("all rows follow", || status(&desk)["is_resealing"] == false);
    assert_eq!(rows(&status(&desk), 2), MANY as u64 + 1);
    assert_eq!(server.stop().code, Some(0));
    // No row needs the older version any more.
    let newest = secret_key(&desk).lines().last().unwrap().to_owned();
    std::fs::write(desk.data().join("secret.key"), format!("{newest}\n")).unwrap();
    assert_eq!(shown(&desk, &id)["content"], content);
    assert!(
        desk.ok(&["audit", "--full", "--json"]).json()["ok"]
            .as_bool()
            .unwrap()
    );
}

#[tokio::test]
async fn token_of_a_version_that_was_removed_is_no_longer_good() {
    if crate::world::is_not_about_files() {
        return;
    }
    let world = World::with_fair().await;
    let drawn = world.draw("u1", 5, "request-1").await.json();
    let award = drawn["draws"][0]["award"].clone();
    let path = format!("/v1/awards/{}", award["id"]);
    let token = award["claim_token"].as_str().unwrap();
    let status = async |world: &World| {
        let answer = world.send_with(token, "GET", &path, &Value::Null).await;
        answer.status.as_u16()
    };
    assert_eq!(status(&world).await, 200);
    let made = world.post("/v1/secrets/rotate", &json!({})).await;
    assert_eq!(made.json(), json!({ "version": 2 }));
    assert_eq!(status(&world).await, 200, "as long as its version is there");
    let path = world.app.directory().secret_key();
    let newest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, newest.lines().last().unwrap()).unwrap();
    let world = world.reopen().await;
    assert_eq!(status(&world).await, 401);
}

#[test]
fn database_without_its_secrets_is_not_opened_and_no_new_ones_are_made() {
    let desk = Desk::new();
    apply(&desk);
    let kept = secret_key(&desk);
    std::fs::remove_file(desk.data().join("secret.key")).unwrap();
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["audit"]] {
        let refused = desk.run(command);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let place = "error: ./tombola-data/secret.key is missing, and rows of the database are sealed under version 1";
        assert!(refused.stderr.starts_with(place), "{refused:?}");
    }
    assert!(!desk.data().join("secret.key").exists());
    // Another secret under the same number would split the rows between two.
    let other = kept.replace(|it: char| it.is_ascii_lowercase(), "A");
    std::fs::write(desk.data().join("secret.key"), other).unwrap();
    let refused = desk.run(&["audit"]);
    assert!(
        refused
            .stderr
            .contains("version 1 of ./tombola-data/secret.key is not the secret"),
        "{refused:?}"
    );
    std::fs::write(desk.data().join("secret.key"), kept).unwrap();
    desk.ok(&["audit"]);
}

#[test]
fn secret_that_is_lost_for_good_is_given_up_by_the_word_of_an_admin() {
    let desk = Desk::new();
    let server = desk.serve();
    apply(&desk);
    let id = coffee_won(&desk, "request-1");
    server.stop();
    let other = secret_key(&desk).replacen("1 ", "2 ", 1);
    std::fs::write(desk.data().join("secret.key"), other).unwrap();
    let problem = shown(&desk, &id)["content_problem"].clone();
    let why = "which is missing from ./tombola-data/secret.key";
    assert!(problem.as_str().unwrap().ends_with(why), "{problem}");
    assert_eq!(desk.run(&["audit", "--json"]).code, Some(1));
    std::fs::write(desk.path("new.csv"), "NEW-1\n").unwrap();
    let import = ["code", "import", "fair", "coffee", "new.csv"];
    let refused = desk.run(&import);
    assert!(refused.stderr.contains("(sealed)"), "{refused:?}");
    desk.ok(&["secret", "rotate", "--after-loss"]);
    desk.ok(&import);
}

#[test]
fn versions_are_shown_to_people_with_what_they_are_needed_for() {
    let desk = Desk::new();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    desk.ok(&["secret", "rotate", "--json"]);
    let server = desk.serve();
    until("all rows follow", || status(&desk)["is_resealing"] == false);
    assert_eq!(
        desk.ok(&["secret", "status"]).stdout,
        "VERSION  IN SECRET.KEY  CODES  ADDRESSES  ENDPOINTS  NEEDED FOR\n\
         1        yes            0      0          0          tokens of before\n\
         2        yes            3      0          0          new rows and tokens\n"
    );
    let log = server.stop().stderr;
    let secrets = secret_key(&desk);
    for line in secrets.lines() {
        assert!(!log.contains(&line[2..]), "no secret is logged");
    }
}
