//! A team moves up: from SQLite, with awards on their way, to PostgreSQL.

use crate::endpoints::Receiver;
use crate::world::{Desk, Said, Server, said, until, until_some};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use tombola_store::postgres::{self, PostgresOptions, fresh};

const CAMPAIGN: &str = r#"
[campaign]
slug = "hook"
name = "Hook"
[[prize]]
slug = "coupon"
name = "Coupon"
kind = "webhook"
endpoint = "shop"
odds = "70%"
[[prize]]
slug = "ten"
name = "Ten points"
kind = "points"
points = 10
odds = "30%"
"#;

/// Draws before the server is killed; the endpoint takes far fewer in that time.
const DRAWS: usize = 60;

/// A database of its own on the server that `TOMBOLA_TEST_POSTGRES` names.
struct New {
    server: PostgresOptions,
    name: String,
    url: String,
}

impl New {
    async fn make() -> Option<Self> {
        let Ok(server_url) = std::env::var("TOMBOLA_TEST_POSTGRES") else {
            let line = "tombola-skip: transfer: TOMBOLA_TEST_POSTGRES names no server\n";
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let name = format!("tombola_transfer_{}", std::process::id());
        let (place, query) = server_url.split_once('?').unwrap_or((&server_url, ""));
        let (host, _) = place.rsplit_once('/').unwrap();
        let url = format!("{host}/{name}?{query}");
        let server = PostgresOptions::parse(&server_url).unwrap();
        fresh::create(&server, &name).await.unwrap();
        Some(Self { server, name, url })
    }

    /// Returns once rows of a transfer are coming in.
    async fn until_rows_come(&self) {
        let mut options = PostgresOptions::parse(&self.url).unwrap();
        options.config.application_name("a look");
        until_some("the first rows", async || {
            let versions = postgres::sealed_under(&options).await.unwrap();
            (!versions.is_empty()).then_some(())
        })
        .await;
    }
}

/// A desk whose commands work on the new database.
struct Moved<'d> {
    desk: &'d Desk,
    env: [(&'static str, String); 2],
}

impl Moved<'_> {
    fn run(&self, args: &[&str]) -> Said {
        let mut command = self.desk.command(args);
        command.envs(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        said(command)
    }

    fn ok(&self, args: &[&str]) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        said
    }
}

/// How often each key was called.
fn calls(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in receiver.calls() {
        let id = call
            .lines()
            .find_map(|line| line.strip_prefix("webhook-id: "));
        *counts.entry(id.unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// A campaign whose coupons go to that receiver, slowly.
fn write_files(desk: &Desk, receiver: &Receiver) {
    let endpoint = format!(
        "[[endpoint]]\nname = \"shop\"\nurl = \"{}\"\nidempotent = true\nallow_private = true\nrate = \"10/s\"\n",
        receiver.url
    );
    fs::write(desk.path("endpoints.toml"), endpoint).unwrap();
    fs::write(desk.path("hook.toml"), CAMPAIGN).unwrap();
}

/// Aim: the server is killed with awards in hand, the transfer is killed half-way and run
/// again, and on PostgreSQL each award is delivered under its one key.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_drawn_on_sqlite_is_delivered_once_on_postgresql_after_two_kills() {
    let Some(new) = New::make().await else {
        return;
    };
    let (desk, receiver) = (Desk::new(), Receiver::of(200));
    write_files(&desk, &receiver);
    let server = desk.serve();
    desk.ok(&["endpoint", "put", "endpoints.toml"]);
    desk.ok(&["campaign", "apply", "hook.toml", "--start"]);
    let from = format!("sqlite://{}/tombola.db", desk.data().display());
    let transfer = ["transfer", "--from", &from, "--to", &new.url, "--json"];
    let early = desk.run(&transfer);
    assert!(early.stderr.contains("stop the server"), "{early:?}");
    let count = (DRAWS / 2).to_string();
    for user in ["u1", "u2"] {
        desk.ok(&["draw", "hook", "--user", user, "--count", &count]);
    }
    server.kill();

    let mut child = desk
        .command(&transfer)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    new.until_rows_come().await;
    child.kill().unwrap();
    child.wait().unwrap();
    let done = desk.ok(&transfer).json();
    assert_eq!(done["is_released"], true, "{done}");
    assert_eq!(done["audit_to"]["ok"], true, "{done}");
    assert!(
        calls(&receiver).len() < DRAWS / 2,
        "most awards were on their way"
    );

    let old = desk.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(old.code, Some(1));
    assert!(
        old.stderr.contains("was transferred to postgres://"),
        "{old:?}"
    );
    let directory = desk.path("new");
    fs::create_dir(&directory).unwrap();
    fs::copy(desk.data().join("secret.key"), directory.join("secret.key")).unwrap();
    let moved = Moved {
        desk: &desk,
        env: [
            ("TOMBOLA_DATABASE__URL", new.url.clone()),
            (
                "TOMBOLA_DATABASE__DIRECTORY",
                directory.display().to_string(),
            ),
        ],
    };
    let env: Vec<_> = moved
        .env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let server = desk.serve_with(&env);
    let delivered = || {
        let list = ["award", "list", "--state", "delivered", "--json"];
        moved.ok(&list).json_lines().len()
    };
    until("all is delivered", || delivered() == DRAWS);
    moved.ok(&["audit", "--full"]);
    let list = ["award", "list", "--kind", "webhook", "--json"];
    let coupons = moved.ok(&list).json_lines().len();
    assert_eq!(calls(&receiver).len(), coupons, "one key an award");
    moved.ok(&["draw", "hook", "--user", "u3"]);
    there_and_back(&moved, server, &from, &new);
    fresh::remove(&new.server, &new.name).await.unwrap();
}

/// Aim: what comes back, by the tools of PostgreSQL or from before the move, gives no id again.
fn there_and_back(moved: &Moved<'_>, server: Server, from: &str, new: &New) {
    let desk = moved.desk;
    let early = moved.run(&["restore"]);
    assert_eq!(early.code, Some(1));
    assert!(early.stderr.contains("stop every process"), "{early:?}");
    server.stop();
    let file = moved.run(&["restore", "b.db"]);
    assert_eq!(file.code, Some(2));
    assert!(file.stderr.contains("without a file"), "{file:?}");
    let restored = moved.ok(&["restore", "--json"]).json();
    assert_eq!(restored["deliveries"], "paused", "{restored}");
    let undo = ["transfer", "--undo", "--from", from, "--to", &new.url];
    let undone = desk.ok(&[&undo[..], &["--json"]].concat()).json();
    assert_eq!(undone["deliveries"], "paused", "{undone}");
    let next = undone["ids_from"].as_i64().unwrap();
    let old = desk.serve();
    let drawn = desk.ok(&["draw", "hook", "--user", "u4", "--json"]).json();
    let id = drawn["draws"][0]["id"].as_i64().unwrap();
    assert!(id >= next, "{drawn}");
    old.stop();
}
