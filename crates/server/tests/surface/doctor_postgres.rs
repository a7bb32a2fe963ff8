//! `doctor` of a database on PostgreSQL, on a fresh one of the server that
//! `TOMBOLA_TEST_POSTGRES` names (a url of a role that may make databases).

use crate::world::{Desk, Said, Server, said};
use serde_json::Value;
use std::io::Write as _;
use std::sync::Once;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_server::client::Call;
use tombola_store::postgres::{PostgresOptions, fresh};
use tombola_store::processes::Process;
use tombola_store::{Store, StoreOptions};

/// A database, dropped with its last user.
struct Database {
    options: PostgresOptions,
    name: String,
    url: String,
}

impl Database {
    /// Of its own for that desk; `None` where there is no server, and says so once.
    fn new(desk: &Desk) -> Option<Self> {
        let Ok(url) = std::env::var("TOMBOLA_TEST_POSTGRES") else {
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let line = "tombola-skip: postgres: TOMBOLA_TEST_POSTGRES names no server";
                // Not `println!`, which a test that passes keeps for itself.
                writeln!(std::io::stdout(), "{line}").unwrap();
            });
            return None;
        };
        let options = PostgresOptions::parse(&url).unwrap();
        // The desk's directory has a name that no other has.
        let place = desk.temp.path().file_name().unwrap().to_str().unwrap();
        let name = format!("tombola_{}_{}", std::process::id(), place.trim_matches('.'));
        block_on(fresh::create(&options, &name)).unwrap();
        let url = with_name(&url, &name);
        Some(Self { options, name, url })
    }

    fn doctor(&self, desk: &Desk) -> Said {
        at(desk, &self.url, &["doctor", "--json"])
    }

    fn serve(&self, desk: &Desk) -> Server {
        desk.serve_with(&[
            ("TOMBOLA_DATABASE__URL", &self.url),
            (
                "TOMBOLA_BOOTSTRAP_KEY",
                "tmb_0123456789abcdef0123456789abcdef",
            ),
        ])
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        block_on(fresh::remove(&self.options, &self.name)).unwrap();
    }
}

fn block_on<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(call)
}

/// The url of another database of the same server.
fn with_name(url: &str, name: &str) -> String {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = place.rsplit_once('/').unwrap();
    format!("{server}/{name}?{query}")
}

fn at(desk: &Desk, url: &str, args: &[&str]) -> Said {
    let mut command = desk.command(args);
    command.env("TOMBOLA_DATABASE__URL", url);
    command.env("TOMBOLA_HTTP__LISTEN", "127.0.0.1:0");
    said(command)
}

fn checks(said: &Said) -> Vec<Value> {
    said.json()["checks"].as_array().unwrap().clone()
}

fn find(said: &Said, name: &str) -> Value {
    let mut found = checks(said).into_iter().filter(|it| it["name"] == name);
    found.next().unwrap_or_default()
}

/// Names, each once, and those that are not ok.
fn names(said: &Said) -> Vec<String> {
    let mut names: Vec<String> = checks(said)
        .iter()
        .map(|it| it["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn doctor_of_postgres_has_the_same_checks_with_and_without_a_server_and_changes_nothing() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    let empty = database.doctor(&desk);
    assert_eq!(empty.code, Some(1), "{empty:?}");
    let schema = find(&empty, "database.schema");
    assert_eq!(schema["state"], "fault");
    assert!(
        schema["mend"]
            .as_str()
            .unwrap()
            .contains("`tombola migrate up`")
    );
    assert_eq!(find(&empty, "processes")["state"], "not_checked");
    assert!(!desk.data().exists(), "a look makes nothing");
    let status = at(&desk, &database.url, &["migrate", "status", "--json"]);
    assert_eq!(status.json()["present"], 0, "a look migrates nothing");

    assert_eq!(at(&desk, &database.url, &["migrate", "up"]).code, Some(0));
    let alone = database.doctor(&desk);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    for name in [
        "database.reachable",
        "database.version",
        "database.schema",
        "database.primary",
        "database.durability",
        "database.clock",
        "database.pooler",
        "database.tls",
        "database.autovacuum",
        "database.partitions",
        "deliveries.dead_letters",
    ] {
        assert_eq!(find(&alone, name)["state"], "ok", "{name}: {alone:?}");
    }
    assert_eq!(find(&alone, "processes")["state"], "warning");
    assert_eq!(find(&alone, "clock")["state"], "not_checked");

    let server = database.serve(&desk);
    let served = database.doctor(&desk);
    assert_eq!(served.code, Some(0), "{served:?}");
    for name in [
        "clock",
        "processes",
        "processes.versions",
        "processes.clocks",
        "secret_key.used",
    ] {
        assert_eq!(find(&served, name)["state"], "ok", "{name}: {served:?}");
    }
    assert_eq!(names(&served), names(&alone));
    assert_eq!(names(&served), names(&empty));

    // Another machine looks beside it, and without its secrets.
    let other = Desk::new();
    let beside = database.doctor(&other);
    assert_eq!(find(&beside, "processes")["state"], "ok", "{beside:?}");
    assert_eq!(find(&beside, "secret_key.used")["state"], "not_checked");
    assert_eq!(names(&beside), names(&served));

    assert_eq!(server.stop().code, Some(0));
    let stopped = database.doctor(&desk);
    let processes = find(&stopped, "processes");
    assert_eq!(processes["what"], "nobody serves", "it said goodbye");
}

#[test]
fn server_that_may_not_migrate_refuses_with_the_command_and_migrates_nothing() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    let refused = at(&desk, &database.url, &["serve"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let command = "run `tombola migrate up`";
    assert!(refused.stderr.contains(command), "{refused:?}");
    let status = at(&desk, &database.url, &["migrate", "status", "--json"]);
    assert_eq!(status.json()["present"], 0, "{status:?}");
}

#[test]
fn readiness_and_metrics_tell_of_the_connections_to_postgres() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    assert_eq!(at(&desk, &database.url, &["migrate", "up"]).code, Some(0));
    let server = database.serve(&desk);
    let ready = at(&desk, &database.url, &["healthcheck", "--json"]).json();
    assert_eq!(ready["checks"]["database"], "ok", "{ready}");
    let api = server.api("tmb_0123456789abcdef0123456789abcdef");
    let metrics = block_on(api.answer(Call::get("/metrics")));
    let metrics = String::from_utf8(metrics.unwrap().body.to_vec()).unwrap();
    for line in [
        "tombola_database_connections_max{pool=\"write\"} 16",
        "tombola_database_connections_max{pool=\"read\"} 4",
        "# TYPE tombola_database_connections gauge",
        "# TYPE tombola_database_waiting gauge",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    let backup = at(&desk, &database.url, &["backup", "b.db"]);
    assert_eq!(backup.code, Some(2), "{backup:?}");
    let rotate = at(&desk, &database.url, &["secret", "rotate"]);
    assert_eq!(rotate.code, Some(1), "{rotate:?}");
}

#[test]
fn role_that_no_process_plays_is_a_fault_that_names_the_command() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    assert_eq!(at(&desk, &database.url, &["migrate", "up"]).code, Some(0));
    let process = Process {
        id: "1".to_owned(),
        roles: "api,worker".to_owned(),
        version: "0.0.9".to_owned(),
        host: "far".to_owned(),
        pid: 7,
        started_at: Timestamp(0),
    };
    let options = PostgresOptions::parse(&database.url).unwrap();
    let tell = || {
        block_on(async {
            let store = Store::connect(&options, StoreOptions::default());
            let store = store.await.unwrap();
            let told = store.note_process(&process, Duration::ZERO);
            told.await.unwrap();
        });
    };
    tell();
    let out = database.doctor(&desk);
    assert_eq!(out.code, Some(1), "{out:?}");
    let found = find(&out, "processes");
    assert_eq!(found["state"], "fault");
    let mend = found["mend"].as_str().unwrap();
    assert!(mend.contains("`tombola serve --roles rescue`"), "{mend}");

    // One process more, with all roles and of this version.
    let _server = database.serve(&desk);
    tell();
    let out = database.doctor(&desk);
    assert_eq!(find(&out, "processes")["state"], "ok", "{out:?}");
    assert_eq!(find(&out, "processes.versions")["state"], "warning");
}

#[test]
fn database_that_cannot_be_reached_names_the_part_of_the_url() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    let wrong = with_name(&database.url, "nobody_made_it");
    let out = at(&desk, &wrong, &["doctor", "--json"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    let reachable = find(&out, "database.reachable");
    assert_eq!(reachable["state"], "fault");
    let mend = reachable["mend"].as_str().unwrap();
    assert!(mend.contains("the database's name at the end"), "{mend}");
    let faults = checks(&out);
    let faults = faults.iter().filter(|it| it["state"] == "fault");
    assert_eq!(faults.count(), 1, "{out:?}");
}

/// Whoever sets them: the server's file, the database, the role, or here the url.
#[test]
fn settings_that_take_a_promise_away_are_told_with_the_mend() {
    let desk = Desk::new();
    let Some(database) = Database::new(&desk) else {
        return;
    };
    assert_eq!(at(&desk, &database.url, &["migrate", "up"]).code, Some(0));
    let settings = [
        "synchronous_commit=off",
        "idle_session_timeout=90s",
        "statement_timeout=7s",
    ];
    let options = settings.map(|it| format!("-c%20{}", it.replace('=', "%3D")));
    let url = format!("{}&options={}", database.url, options.join("%20"));
    let out = at(&desk, &url, &["doctor", "--json"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    for (name, state, what, mend) in [
        (
            "database.durability",
            "fault",
            "can be lost",
            "SET synchronous_commit = on",
        ),
        (
            "database.timeouts",
            "warning",
            "idle_session_timeout is 90000 ms (set by: client)",
            "SET idle_session_timeout = 0",
        ),
    ] {
        let found = find(&out, name);
        assert_eq!(found["state"], state, "{out:?}");
        assert!(found["what"].as_str().unwrap().contains(what), "{found}");
        assert!(found["mend"].as_str().unwrap().contains(mend), "{found}");
    }
    let ours = find(&out, "database.pooler");
    assert_eq!(
        ours["state"], "ok",
        "the time-outs that we set are in force: {ours}"
    );
}
