//! `doctor`, `healthcheck` and `completions` as people and containers meet them.

use crate::world::{Desk, Said, said};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn checks(said: &Said) -> Vec<Value> {
    said.json()["checks"].as_array().unwrap().clone()
}

fn state(said: &Said, name: &str) -> Value {
    let mut found = checks(said).into_iter().filter(|it| it["name"] == name);
    found.next().map_or(Value::Null, |it| it["state"].clone())
}

/// Names in order, each once.
fn names(said: &Said) -> Vec<String> {
    let mut names: Vec<String> = checks(said)
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect();
    names.dedup();
    names
}

/// A config whose address is free.
fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::write(
        desk.path("tombola.toml"),
        "[http]\nlisten = \"127.0.0.1:0\"\n",
    )
    .unwrap();
    desk
}

const NAMES: [&str; 24] = [
    "config",
    "directory",
    "directory.files",
    "directory.lock",
    "secret_key",
    "directory.space",
    "directory.file_system",
    "directory.fsync",
    "listen",
    "listen.tls",
    "database.schema",
    "database.pages",
    "database.settings",
    "database.log",
    "secret_key.used",
    "keys",
    "keys.expiry",
    "campaigns.endpoints",
    "campaigns.codes",
    "deliveries.paused",
    "deliveries.oldest",
    "deliveries.dead_letters",
    "deliveries.holds",
    "deliveries.breakers",
];

#[test]
fn doctor_has_the_same_checks_with_and_without_a_server_and_changes_nothing() {
    let desk = desk();
    let nothing = desk.ok(&["doctor", "--json"]);
    assert_eq!(state(&nothing, "directory"), "warning");
    assert_eq!(state(&nothing, "database.pages"), "not_checked");
    assert!(!desk.data().exists(), "a look makes nothing");
    let server = desk.serve();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let served = desk.ok(&["doctor", "--json"]);
    for name in [
        "clock",
        "topic",
        "deliveries.breakers",
        "database.settings",
        "secret_key.used",
    ] {
        assert_eq!(state(&served, name), "ok", "{name}: {served:?}");
    }
    assert_eq!(server.stop().code, Some(0));
    let alone = desk.ok(&["doctor", "--json"]);
    for name in ["clock", "topic", "deliveries.breakers"] {
        assert_eq!(state(&alone, name), "not_checked", "{name}");
    }
    for name in [
        "database.pages",
        "secret_key.used",
        "keys",
        "campaigns.codes",
    ] {
        assert_eq!(state(&alone, name), "ok", "{name}: {alone:?}");
    }
    let sorted = |said: &Said| {
        let mut names = names(said);
        names.sort();
        names
    };
    assert_eq!(sorted(&alone), sorted(&served));
    assert_eq!(sorted(&nothing), sorted(&served));
    assert!(
        NAMES
            .iter()
            .all(|name| names(&alone).iter().any(|it| it == name))
    );
}

#[test]
fn fault_ends_with_1_and_a_mend_and_a_warning_does_not() {
    let desk = desk();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    desk.ok(&["delivery", "pause", "--reason", "wrong codes"]);
    let warned = desk.ok(&["doctor"]);
    assert!(
        warned
            .stdout
            .contains("warning  deliveries.paused        all deliveries are paused since "),
        "{warned:?}"
    );
    assert!(
        warned
            .stdout
            .contains("         mend: `tombola delivery resume --reason …` when they may go on\n"),
        "{warned:?}"
    );
    let database = desk.data().join("tombola.db");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    let faulty = desk.run(&["doctor", "--json"]);
    assert_eq!(faulty.code, Some(1));
    assert_eq!(faulty.json()["ok"], false);
    assert_eq!(state(&faulty, "directory.files"), "fault");
    let text = desk.run(&["doctor"]);
    assert!(text.stdout.contains("1 faults, "), "{text:?}");
    assert!(text.stderr.is_empty(), "{text:?}");
}

#[test]
fn doctor_tells_a_damaged_database_and_a_config_that_cannot_be_used() {
    let desk = desk();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    let database = desk.data().join("tombola.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[8192..16384].fill(0x5a);
    std::fs::write(&database, bytes).unwrap();
    let damaged = desk.run(&["doctor", "--json"]);
    assert_eq!(damaged.code, Some(1));
    assert_eq!(state(&damaged, "database.pages"), "fault", "{damaged:?}");
    std::fs::write(desk.path("tombola.toml"), "[http]\nlisten_to = 1\n").unwrap();
    let unusable = desk.run(&["doctor", "--json"]);
    assert_eq!(unusable.code, Some(1));
    let document = unusable.json();
    assert_eq!(
        (
            &document["checks"][0]["name"],
            &document["checks"][0]["state"]
        ),
        (&json!("config"), &json!("fault"))
    );
    assert!(
        document["checks"][0]["what"]
            .as_str()
            .unwrap()
            .contains("did you mean `http.listen`?")
    );
}

#[test]
fn address_that_another_program_has_is_a_fault() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let doctor = || {
        let mut command = desk.command(&["doctor", "--json"]);
        command.env("TOMBOLA_HTTP__LISTEN", &address);
        said(command)
    };
    assert_eq!(state(&doctor(), "listen"), "fault");
    drop(taken);
    assert_eq!(state(&doctor(), "listen"), "ok");
}

#[test]
fn doctor_from_afar_says_what_the_server_says_to_an_operator() {
    let desk = desk();
    let server = desk.serve();
    let key = desk.ok(&["key", "create", "--role", "operator"]).stdout;
    let url = format!("http://{}", server.address);
    let mut command = desk.command(&["--server", &url, "doctor", "--json"]);
    command.env("TOMBOLA_API_KEY", key.trim());
    let afar = said(command);
    assert_eq!(afar.code, Some(0), "{afar:?}");
    assert_eq!(state(&afar, "database.pages"), "ok");
    assert_eq!(
        state(&afar, "directory"),
        Value::Null,
        "it has no view of that machine"
    );
}

#[test]
fn healthcheck_asks_the_server_of_the_directory_or_the_address_given() {
    let desk = desk();
    let nobody = desk.run(&["healthcheck"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(1), ""));
    assert!(
        nobody.stderr.starts_with("error: not ready: "),
        "{nobody:?}"
    );
    assert_eq!(nobody.stderr.lines().count(), 1);
    let server = desk.serve();
    assert_eq!(desk.ok(&["healthcheck"]).stdout, "ready\n");
    let document = desk.ok(&["healthcheck", "--json"]).json();
    assert_eq!(
        (&document["ready"], &document["checks"]["database"]),
        (&json!(true), &json!("ok"))
    );
    let url = format!("http://{}", server.address);
    assert_eq!(desk.ok(&["healthcheck", &url]).stdout, "ready\n");
    assert_eq!(
        desk.ok(&["healthcheck", &format!("{url}/livez")]).stdout,
        "ready\n"
    );
    let wrong = desk.run(&["healthcheck", &format!("{url}/no-such-page")]);
    assert_eq!(wrong.stderr, "error: not ready: status 404\n");
    assert_eq!(desk.run(&["healthcheck", "localhost"]).code, Some(2));
    server.kill();
    assert_eq!(desk.run(&["healthcheck", &url]).code, Some(1));
    let unready = desk.run(&["healthcheck", "--json"]);
    assert_eq!(
        (unready.code, unready.json()["ready"].clone()),
        (Some(1), json!(false))
    );
}

#[test]
fn completions_of_each_shell_know_the_commands() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.ok(&["completions", shell]);
        assert!(script.stdout.contains("healthcheck"), "{shell}");
        assert!(script.stderr.is_empty(), "{shell}");
    }
    assert_eq!(
        desk.ok(&["completions", "bash", "--json"]).json()["shell"],
        "bash"
    );
    assert_eq!(desk.run(&["completions", "csh"]).code, Some(2));
}
