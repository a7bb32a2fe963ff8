//! Restores: what they refuse, what they keep, and what is left of one that is killed.

use crate::backup::{LIST, bring_secret, draw, drawn, exists, fair, named};
use crate::world::{CODES, Desk, JSON, KEY, World};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;

/// A desk that nobody serves, with a backup `b.db` of it.
fn with_backup() -> Desk {
    let (desk, server) = fair();
    draw(&desk, &[], "u1");
    desk.ok(&["backup", "b.db"]);
    draw(&desk, &[], "u2");
    server.kill();
    desk
}

#[test]
fn restore_refuses_what_would_lose_something_and_says_the_way() {
    let (desk, server) = fair();
    desk.ok(&["backup", "b.db"]);
    let refused = |args: &[&str], what: &str| {
        let said = desk.run(args);
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.stderr.contains(what), "{said:?}");
    };
    refused(&["restore", "b.db", "--replace"], "stop the server first");
    server.kill();
    refused(
        &["restore", "b.db"],
        "--replace keeps it there under a dated name",
    );
    let own = desk.data().join("tombola.db");
    refused(
        &["restore", own.to_str().unwrap(), "--replace"],
        "is the database of",
    );
    refused(
        &["restore", "none.db", "--replace"],
        "there is no such file",
    );
    std::fs::write(desk.path("codes.db"), CODES).unwrap();
    refused(
        &["restore", "codes.db", "--replace"],
        "no backup of tombola",
    );
    let mut bytes = std::fs::read(desk.path("b.db")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0x5a);
    std::fs::write(desk.path("damaged.db"), bytes).unwrap();
    refused(&["restore", "damaged.db", "--replace"], "damaged.db: ");
    let afar = desk.run(&["--server", "http://127.0.0.1:1", "restore", "b.db"]);
    assert_eq!(afar.code, Some(2));
    assert!(exists(&own) && named(&desk.data(), "tombola.db.").is_empty());
    desk.ok(&["campaign", "list"]);
}

#[test]
fn database_that_is_replaced_is_kept_whole_beside_the_new_one() {
    let desk = with_backup();
    let said = desk.ok(&["restore", "b.db", "--replace", "--json"]).json();
    let kept = said["kept"].as_str().unwrap().to_owned();
    assert!(kept.contains("tombola.db.replaced-20"), "{kept}");
    assert_eq!(drawn(&desk, &[]).len(), 5);
    // And back again: what was kept, with its log, is as good as a backup.
    let back = desk.ok(&["restore", &kept, "--replace"]);
    assert!(
        back.stderr.contains("the database that was here is "),
        "{back:?}"
    );
    assert_eq!(drawn(&desk, &[]).len(), 10);
    assert!(exists(Path::new(&desk.path(&kept))));
}

#[test]
fn secret_key_that_is_not_the_backups_is_refused_and_a_missing_one_told() {
    let desk = with_backup();
    let there = ["--data", "restored"];
    let restore = |more: &[&str]| desk.run(&[&there[..], &["restore", "b.db"], more].concat());
    let secret = desk.path("restored/secret.key");
    std::fs::create_dir(desk.path("restored")).unwrap();
    let other = "1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    std::fs::write(&secret, other).unwrap();
    let refused = restore(&[]);
    assert_eq!(refused.code, Some(1));
    let what = "is not the secret that the database was used with";
    assert!(refused.stderr.contains(what), "{refused:?}");
    std::fs::remove_file(&secret).unwrap();
    let told = restore(&[]);
    assert_eq!(told.code, Some(0));
    assert!(
        told.stderr.contains("secret.key is not there: put"),
        "{told:?}"
    );
    assert!(!exists(&secret), "none is made up");
    // Another one is put there all the same.
    std::fs::write(&secret, other).unwrap();
    let doctor = desk.run(&[&there[..], &["doctor", "--json"]].concat());
    assert_eq!(doctor.code, Some(1));
    let checks = doctor.json()["checks"].as_array().unwrap().clone();
    let used = checks
        .iter()
        .find(|it| it["name"] == "secret_key.used")
        .unwrap();
    assert_eq!(used["state"], "fault");
    std::fs::write(&secret, other.replace("1 ", "2 ")).unwrap();
    let lacks = restore(&["--replace", "--json"]).json();
    assert_eq!(lacks["secret_key"], "lacks");
}

/// Aim: killed anywhere, a restore leaves the directory without a database, or with
/// the one that was there, or with the whole new one; and it can be run again.
#[test]
fn restore_that_is_killed_leaves_no_half_database() {
    let desk = with_backup();
    for replaces in [false, true] {
        for looks in 0..12 {
            let folder = format!("restored-{replaces}-{looks}");
            let there = ["--data", folder.as_str()];
            bring_secret(&desk, &folder);
            if replaces {
                desk.ok(&[&there[..], &["restore", "b.db"]].concat());
                draw(&desk, &there, "u3");
            }
            let restore = [&there[..], &["restore", "b.db", "--replace"]].concat();
            let mut child = desk
                .command(&restore)
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let database = desk.path(&folder).join("tombola.db");
            let (draft, decided) = (
                database.with_extension("db.restoring.part"),
                database.with_extension("db.restoring"),
            );
            // Every other round dies about the decision, the others ever later before it.
            let awaited = if looks % 2 == 0 { &draft } else { &decided };
            let has_come = || exists(awaited) || child.try_wait().unwrap().is_some();
            assert!(
                std::iter::repeat_with(has_come)
                    .take(100_000_000)
                    .any(|it| it)
            );
            if looks % 2 == 0 {
                (0..looks * looks * 500).for_each(|_| assert!(!exists(Path::new("none"))));
            }
            // It may have ended by itself.
            child.kill().ok();
            child.wait().unwrap();
            let listed = desk.run(&[&there[..], &LIST].concat());
            let is_none = listed.stderr.contains("there is no database");
            let draws = listed.stdout.lines().count();
            assert!(
                is_none && !replaces || draws == 5 || draws == 10 && replaces,
                "{listed:?}"
            );
            if !is_none {
                let audit = desk.ok(&[&there[..], &["audit", "--json"]].concat());
                assert_eq!(audit.json()["ok"], true);
            }
            desk.ok(&restore);
            assert_eq!(drawn(&desk, &there).len(), 5);
        }
    }
}

/// Aim: between the decision and the last rename there is no database under its
/// name; whoever opens the directory then finishes the restore.
#[tokio::test]
async fn restore_that_was_decided_on_is_finished_by_whoever_opens_the_directory() {
    if crate::world::is_not_about_files() {
        return;
    }
    let world = World::with_fair().await;
    let body = json!({ "user": "u1" }).to_string();
    let path = "/v1/campaigns/fair/draws";
    world.send("POST", path, &[JSON, KEY], &body).await;
    world.app.stop().await;
    let data = world.temp.path().join("data");
    let database = data.join("tombola.db");
    std::fs::rename(&database, data.join("tombola.db.restoring")).unwrap();
    std::fs::write(data.join("tombola.db-wal"), "the log of another database").unwrap();
    let world = world.reopen().await;
    let listed = world.get("/v1/draws?campaign=fair").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        named(&data, "tombola.db.replaced-").len(),
        1,
        "the log was moved aside"
    );
}
