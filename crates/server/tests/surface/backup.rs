//! Backups of a running server: with real processes, some of them killed.

use crate::world::{Desk, Server, World, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use tombola_server::api::DrawBody;
use tombola_server::client::Api;

pub(crate) type Ids = BTreeSet<i64>;

fn ids(draws: &Value) -> Ids {
    let draws = draws["draws"].as_array().unwrap().iter();
    draws.map(|draw| draw["id"].as_i64().unwrap()).collect()
}

/// A served desk with the fair started.
pub(crate) fn fair() -> (Desk, Server) {
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&["campaign", "apply", "fair.toml", "--start"]);
    (desk, server)
}

pub(crate) fn draw(desk: &Desk, args: &[&str], user: &str) -> Ids {
    let draw = ["draw", "fair", "--user", user, "--count", "5", "--json"];
    ids(&desk.ok(&[args, &draw].concat()).json())
}

pub(crate) const LIST: [&str; 6] = ["draw", "list", "fair", "--limit", "1000000", "--json"];

pub(crate) fn drawn(desk: &Desk, args: &[&str]) -> Ids {
    let lines = desk.ok(&[args, &LIST].concat()).json_lines();
    lines.iter().map(|it| it["id"].as_i64().unwrap()).collect()
}

pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

/// What was kept with the backup.
pub(crate) fn bring_secret(desk: &Desk, folder: &str) {
    std::fs::create_dir(desk.path(folder)).unwrap();
    let kept = desk.data().join("secret.key");
    std::fs::copy(kept, desk.path(folder).join("secret.key")).unwrap();
}

/// Files of that folder whose names begin so.
pub(crate) fn named(folder: &Path, begin: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(begin)).collect()
}

/// Draws until it is told to stop, and gives the ids that it was answered. Each answer
/// is told of.
fn crowd(
    api: Api,
    is_over: Arc<AtomicBool>,
    answered: SyncSender<()>,
) -> std::thread::JoinHandle<Ids> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut given = Ids::new();
        for n in 0.. {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let body = DrawBody {
                user: format!("crowd-{n}"),
                count: 5,
            };
            let key = format!("crowd-key-{n}");
            let done = runtime.block_on(api.draw("fair", &body, &key)).unwrap();
            given.extend(done.draws.iter().map(|draw| draw.id));
            // Full: nobody waits for this one.
            answered.try_send(()).ok();
        }
        given
    })
}

/// Aim: everything that was answered before the backup began is in it; ids given
/// after it are never given again; nothing is delivered before somebody says so.
#[test]
fn backup_taken_while_draws_run_is_restored_without_giving_an_id_again() {
    let (desk, server) = fair();
    let mut before = Ids::new();
    for n in 0..5 {
        before.extend(draw(&desk, &[], &format!("early-{n}")));
    }
    let key = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (answered, answers) = sync_channel(1);
    let crowd = crowd(server.api(key.trim()), Arc::clone(&is_over), answered);
    let ten_more = || (0..10).for_each(|_| answers.recv().unwrap());
    ten_more();
    let taken = desk.ok(&["backup", "b.db", "--json"]).json();
    ten_more();
    is_over.store(true, Ordering::Relaxed);
    let mut given = crowd.join().unwrap();
    given.extend(draw(&desk, &[], "late"));
    given.extend(&before);
    server.kill();

    let there = ["--data", "restored"];
    bring_secret(&desk, "restored");
    let restored = desk
        .ok(&[&there[..], &["restore", "b.db", "--json"]].concat())
        .json();
    assert_eq!(
        (
            &restored["deliveries"],
            &restored["secret_key"],
            &restored["kept"]
        ),
        (&json!("paused"), &json!("matches"), &Value::Null)
    );
    assert_eq!(restored["taken_at"], taken["taken_at"]);
    let kept = drawn(&desk, &there);
    assert!(
        before.is_subset(&kept),
        "every draw answered before is there"
    );
    assert!(kept.is_subset(&given) && kept.len() < given.len());
    let audit = desk
        .ok(&[&there[..], &["audit", "--full", "--json"]].concat())
        .json();
    assert_eq!(audit["ok"], true, "{audit}");

    let server = desk.serve_as(&there, &[]);
    let fresh = draw(&desk, &there, "after");
    assert!(fresh.is_disjoint(&given), "{fresh:?} were given before");
    nothing_is_delivered_before_it_is_resumed(&desk, &there);
    let again = draw(&desk, &there, "after-2");
    assert!(again.is_disjoint(&given) && again.is_disjoint(&fresh));
    assert_eq!(server.stop().code, Some(0));
}

/// How many draws the backup that was just taken holds.
fn drawn_in(taken: &Value, desk: &Desk) -> usize {
    let file = taken["file"].as_str().unwrap();
    let url = format!("sqlite://{}", desk.path("probe/tombola.db").display());
    std::fs::create_dir_all(desk.path("probe")).unwrap();
    std::fs::copy(file, desk.path("probe/tombola.db")).unwrap();
    let secret = desk.data().join("secret.key");
    std::fs::copy(secret, desk.path("probe/secret.key")).unwrap();
    let mut command = desk.command(&LIST);
    command.env("TOMBOLA_DATABASE__URL", url);
    crate::world::said(command).stdout.lines().count()
}

fn nothing_is_delivered_before_it_is_resumed(desk: &Desk, there: &[&str]) {
    let awards = |state: &str| {
        let list = [
            "award", "list", "--state", state, "--limit", "1000000", "--json",
        ];
        desk.ok(&[there, &list].concat()).json_lines()
    };
    until("all that was on its way is held", || {
        ["pending", "delivering", "retryable"]
            .iter()
            .all(|state| awards(state).is_empty())
    });
    let held = awards("held");
    let paused = |award: &&Value| award["hold_reason"] == "paused";
    assert!(held.iter().any(|it| paused(&it)), "{held:?}");
    let delivered = awards("delivered").len();
    let resume = ["delivery", "resume", "--reason", "looked at"];
    desk.ok(&[there, &resume].concat());
    until("what was held is delivered", || {
        awards("delivered").len() > delivered && !awards("held").iter().any(|it| paused(&it))
    });
}

#[test]
fn backup_is_for_its_owner_checked_and_says_what_must_be_kept_with_it() {
    let (desk, server) = fair();
    let said = desk.ok(&["backup", "b.db"]);
    let mode = std::fs::metadata(desk.path("b.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        said.stdout.contains("b.db: ") && said.stdout.contains("checked"),
        "{said:?}"
    );
    assert!(
        said.stderr
            .contains("tombola-data/secret.key as well, in another place"),
        "{said:?}"
    );
    let secret = std::fs::read_to_string(desk.data().join("secret.key")).unwrap();
    let bytes = std::fs::read(desk.path("b.db")).unwrap();
    let secret = secret.trim().split(' ').nth(1).unwrap().as_bytes();
    assert!(
        !bytes.windows(secret.len()).any(|part| part == secret),
        "it does not hold its own key"
    );
    let twice = desk.run(&["backup", "b.db"]);
    assert_eq!((twice.code, twice.stdout.as_str()), (Some(1), ""));
    assert!(twice.stderr.contains("b.db is there already"), "{twice:?}");
    assert_eq!(std::fs::read(desk.path("b.db")).unwrap(), bytes);
    assert_eq!(desk.run(&["backup", "no-such-folder/b.db"]).code, Some(1));
    let log = desk.ok(&["log", "--json"]).json_lines();
    assert!(
        log.iter()
            .any(|line| line["action"] == "backup" && line["by"] == "local")
    );
    assert_eq!(
        named(desk.temp.path(), ".").len(),
        0,
        "nothing is left beside it"
    );
    assert!(!exists(&desk.data().join("backup.tmp")));
    drop(server);
}

#[test]
fn backup_of_a_directory_that_nobody_serves_leaves_its_database_as_it_is() {
    let (desk, server) = fair();
    draw(&desk, &[], "u1");
    server.kill();
    let file = || std::fs::read(desk.data().join("tombola.db")).unwrap();
    let before = file();
    let taken = desk.ok(&["backup", "b.db", "--json"]).json();
    assert!(
        before == file(),
        "the log of the killed server is read, not written"
    );
    assert_eq!(
        drawn_in(&taken, &desk),
        5,
        "what is in the log only is in it"
    );
    let none = desk.run(&["--data", "none", "backup", "c.db"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("there is no database"), "{none:?}");
}

#[test]
fn backup_comes_from_afar_to_an_admin_alone() {
    let (desk, server) = fair();
    draw(&desk, &[], "u1");
    let url = format!("http://{}", server.address);
    let afar = |key: &str, file: &str| {
        let mut command = desk.command(&["--server", &url, "backup", file, "--json"]);
        command.env("TOMBOLA_API_KEY", key);
        crate::world::said(command)
    };
    let admin = std::fs::read_to_string(desk.data().join("admin.key")).unwrap();
    let taken = afar(admin.trim(), "afar.db").json();
    assert_eq!(drawn_in(&taken, &desk), 5);
    let operator = desk.ok(&["key", "create", "--role", "operator"]).stdout;
    let refused = afar(operator.trim(), "no.db");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("(forbidden)"), "{refused:?}");
    assert!(!exists(&desk.path("no.db")));
}

/// A server that sends a part of what it said it would, and then nothing.
fn half_a_backup() -> (String, std::thread::JoinHandle<std::net::TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = stream.read(&mut [0; 4096]).unwrap();
        assert!(read > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; 50_000]).unwrap();
        stream
    });
    (url, serving)
}

#[test]
fn backup_that_breaks_off_leaves_no_file() {
    let desk = Desk::new();
    let (url, serving) = half_a_backup();
    let closing = std::thread::spawn(move || drop(serving.join().unwrap()));
    let broken = desk.run(&["--server", &url, "backup", "b.db"]);
    closing.join().unwrap();
    assert_eq!((broken.code, broken.stdout.as_str()), (Some(1), ""));
    assert!(broken.stderr.contains("the backup broke off"), "{broken:?}");
    assert!(!exists(&desk.path("b.db")));
    assert_eq!(named(desk.temp.path(), ".b.db").len(), 0);
}

#[test]
fn backup_that_is_killed_leaves_no_file_under_its_name() {
    let desk = Desk::new();
    let (url, serving) = half_a_backup();
    let mut child = desk
        .command(&["--server", &url, "backup", "b.db"])
        .spawn()
        .unwrap();
    let part = || named(desk.temp.path(), ".b.db").pop();
    until("it has begun to write", || {
        part().is_some_and(|part| std::fs::metadata(desk.path(&part)).unwrap().len() > 0)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!exists(&desk.path("b.db")));
    drop(serving.join().unwrap());
}

#[test]
fn what_a_killed_server_left_of_a_backup_is_removed_by_the_next() {
    let (desk, server) = fair();
    server.kill();
    std::fs::write(desk.data().join("backup.tmp"), "half").unwrap();
    let server = desk.serve();
    assert!(!exists(&desk.data().join("backup.tmp")));
    desk.ok(&["backup", "b.db"]);
    drop(server);
}

#[tokio::test]
async fn one_backup_at_a_time_and_a_receiver_that_goes_away_lets_the_next_begin() {
    if crate::world::is_not_about_files() {
        return;
    }
    let world = World::with_fair().await;
    let first = world.response("GET", "/v1/backup").await;
    assert_eq!(first.status(), 200);
    let second = world.get("/v1/backup").await;
    // Its small file may have been read ahead whole: then the first is over.
    assert!(second.status == 200 || second.code() == "backup_in_progress");
    drop(first);
    let mut whole = None;
    for _ in 0..1000 {
        let next = world.get("/v1/backup").await;
        if next.status == 200 {
            whole = Some(next);
            break;
        }
        assert_eq!(next.code(), "backup_in_progress");
        tokio::task::yield_now().await;
    }
    let whole = whole.unwrap();
    assert!(whole.body.starts_with(b"SQLite format 3\0"));
    assert_eq!(
        whole.header("content-length").unwrap(),
        whole.body.len().to_string()
    );
}

#[tokio::test]
async fn what_is_for_sqlite_is_refused_on_postgresql() {
    if !crate::world::is_not_about_files() {
        return; // said in the run on PostgreSQL
    }
    let world = World::new().await;
    let backup = world.send("GET", "/v1/backup", &[], "").await;
    assert_eq!(backup.code(), "sqlite_only");
    let rotate = world
        .post(
            "/v1/secrets/rotate",
            &serde_json::json!({ "reason": "new" }),
        )
        .await;
    assert_eq!(rotate.code(), "sqlite_only");
}
