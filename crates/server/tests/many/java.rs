//! The other side of the topic in Java: the chapter's `InvoiceVO`, fastjson and Kafka's own
//! client. `TOMBOLA_TEST_JAVA` is their class path; where it is not set the tests say so
//! and claim nothing.

use crate::town::{ADMIN, Town, skip};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Once};
use tempfile::TempDir;

/// Beyond what a double holds.
const ORDER: i64 = 1_662_799_798_929_063_936;

/// The program, compiled once.
struct Java {
    classes: TempDir,
    class_path: String,
}

impl Java {
    fn here() -> Option<&'static Self> {
        static COMPILED: LazyLock<Option<Java>> = LazyLock::new(Java::compiled);
        COMPILED.as_ref()
    }

    fn compiled() -> Option<Self> {
        let Ok(class_path) = std::env::var("TOMBOLA_TEST_JAVA") else {
            static SAID: Once = Once::new();
            skip(&SAID, "TOMBOLA_TEST_JAVA names no class path");
            return None;
        };
        let classes = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/many/java/Lottery.java");
        let compiled = Command::new("javac")
            .args(["-encoding", "UTF-8", "-cp", &class_path, "-d"])
            .arg(classes.path())
            .arg(source)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        Some(Self {
            classes,
            class_path,
        })
    }

    /// What it says on its output when it is given these lines.
    fn run(&self, args: &[&str], lines: &str) -> String {
        let class_path = format!("{}:{}", self.classes.path().display(), self.class_path);
        let mut child = Command::new("java")
            .args(["-cp", &class_path, "Lottery"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(lines.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Sends these as the chapter's producer does.
    fn produce(&self, town: &Town, lines: &[String]) {
        let (brokers, topic) = town.topic();
        self.run(&["produce", &brokers, &topic], &lines.join("\n"));
    }
}

fn order(user: &str, order: i64, award_id: &str, award_type: i32) -> String {
    format!("{user}\t{order}\t{award_id}\t{award_type}\tIMac")
}

/// Two prizes that adopt, and are drawn from as well.
fn fair() -> Value {
    json!({
        "campaign": { "slug": "fair", "name": "Fair" },
        "prize": [
            { "slug": "word", "name": "一句话 \"'<b>", "kind": "text", "text": "well done", "odds": "50%" },
            { "slug": "thanks", "name": "Thanks", "kind": "points", "points": 5, "award_type": 3, "odds": "50%" },
        ]
    })
}

/// A server that adopts orders into the fair, with its topic; on it a campaign.
fn adopting() -> Option<(&'static Java, Town)> {
    let mut town = Town::on_kafka(&["api,worker,rescue"])?;
    let java = Java::here()?;
    town.start("fair", &fair());
    town.end(0, "-TERM");
    town.set("TOMBOLA_DELIVERY__FOREIGN", "adopt");
    town.set(
        "TOMBOLA_DELIVERY__FOREIGN_PRIZES",
        "1=fair/word,3=fair/thanks",
    );
    town.restart(0);
    Some((java, town))
}

/// Waits until so many awards were adopted and none is unfinished; gives the campaign.
fn all_adopted(town: &Town, count: u64) -> Value {
    for _ in 0..50_000 {
        let shown = town.admin(0, "GET", "/v1/campaigns/fair", &Value::Null);
        assert!(shown["draws"].as_u64().unwrap() <= count, "{shown:#}");
        if shown["draws"] == count {
            return town.all_delivered(0, "fair");
        }
    }
    panic!("fewer than {count} were adopted");
}

/// Waits until so many messages were kept; their reasons.
fn kept(town: &Town, count: usize) -> Vec<String> {
    for _ in 0..50_000 {
        let list = town.admin(0, "GET", "/v1/dead-letters?limit=100", &Value::Null);
        let items = list["items"].as_array().unwrap();
        assert!(items.len() <= count, "{list:#}");
        if items.len() == count {
            let reason = |it: &Value| it["reason"].as_str().unwrap().to_owned();
            let mut reasons: Vec<String> = items.iter().map(reason).collect();
            reasons.sort_unstable();
            return reasons;
        }
    }
    panic!("fewer than {count} messages were kept");
}

fn points(town: &Town, user: &str) -> Value {
    let path = format!("/v1/users/{user}/points");
    town.admin(0, "GET", &path, &Value::Null)["balance"].clone()
}

#[test]
fn golden_lines_are_what_fastjson_writes() {
    let Some(java) = Java::here() else { return };
    let golden = include_str!("../../../core/tests/golden/fastjson.jsonl");
    assert_eq!(java.run(&["golden"], ""), golden);
}

#[test]
fn consumer_written_for_the_chapter_reads_our_messages() {
    let Some(town) = Town::on_kafka(&["api,worker,rescue"]) else {
        return;
    };
    let Some(java) = Java::here() else { return };
    town.start("fair", &fair());
    for n in 0..20 {
        let call = ("POST", "/v1/campaigns/fair/draws");
        let (user, key) = (format!("user-{n}"), format!("key-{n:08}"));
        let answer = town.ask(0, call, (ADMIN, &key), &json!({ "user": user }));
        assert_eq!(answer.unwrap().status, 201);
    }
    town.all_delivered(0, "fair");
    let (brokers, topic) = town.topic();
    let read = java.run(&["consume", &brokers, &topic, "20"], "");
    let awards = town.admin(0, "GET", "/v1/awards?limit=100", &Value::Null);
    let mut expected: Vec<String> = awards["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let (user, id) = (it["user"].as_str().unwrap(), &it["id"]);
            let rest = match it["prize"].as_str().unwrap() {
                "word" => "fair/word\t1\t一句话 \"'<b>\twell done",
                _ => "fair/thanks\t3\tThanks\t5",
            };
            format!("{user}\t{user}\t{id}\t{rest}")
        })
        .collect();
    let mut read: Vec<&str> = read.lines().collect();
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected);
}

#[test]
fn messages_of_another_system_are_kept_unless_the_config_says_otherwise() {
    let Some(town) = Town::on_kafka(&["api,worker,rescue"]) else {
        return;
    };
    let Some(java) = Java::here() else { return };
    town.start("fair", &fair());
    java.produce(&town, &[order("u1", ORDER, "1", 1)]);
    assert_eq!(kept(&town, 1), ["foreign"]);
    let shown = town.admin(0, "GET", "/v1/campaigns/fair", &Value::Null);
    assert_eq!(shown["draws"], 0);
}

#[test]
fn each_order_of_another_system_becomes_one_award_and_what_has_no_prize_is_kept() {
    let Some((java, town)) = adopting() else {
        return;
    };
    let lines = [
        order("u1", ORDER, "3", 3),
        order("u1", ORDER, "3", 3),
        order("u1", ORDER + 1, "3", 3), // the same to a reader of doubles
        order("小傅哥", i64::MAX, "1", 1),
        order("u1", ORDER + 2, "9", 1),
        order("u1", ORDER + 3, "1", 4),
        "!{\"uId\":".to_owned(),
        "!".to_owned(),
    ];
    java.produce(&town, &lines);
    java.produce(&town, &lines[..4]);
    all_adopted(&town, 3);
    let reasons = ["empty", "other_kind", "undecodable", "unmapped"];
    assert_eq!(kept(&town, 4), reasons);
    assert_eq!(points(&town, "u1"), 10);
    let awards = town.admin(0, "GET", "/v1/awards?limit=100", &Value::Null);
    let awards = awards["items"].as_array().unwrap().clone();
    assert_eq!(awards.len(), 3);
    for award in &awards {
        assert_eq!(award["adopted_from"], "lottery", "{award:#}");
        assert_eq!(award["state"], "delivered", "{award:#}");
    }
    let word = awards.iter().find(|it| it["prize"] == "word").unwrap();
    assert_eq!(word["user"], "小傅哥");
    let path = format!("/v1/awards/{}", word["id"]);
    let shown = town.admin(0, "GET", &path, &Value::Null);
    assert_eq!(shown["adopted_order"], i64::MAX.to_string());
    assert_eq!(shown["client"], "lottery");
    let first = &shown["timeline"][0];
    assert_eq!(first["what"], "adopted");
    let detail = format!("order {} of lottery", i64::MAX);
    assert_eq!(first["detail"], detail);
}

#[test]
fn order_is_delivered_once_wherever_the_worker_dies() {
    let Some((java, mut town)) = adopting() else {
        return;
    };
    let points_of_all = [
        "before_adopt",
        "after_adopt",
        "after_deliver",
        "before_offset_commit",
    ];
    for (n, point) in (0..).zip(points_of_all) {
        town.end(0, "-TERM");
        town.set("TOMBOLA_KILL_POINT", point);
        town.restart(0);
        let user = format!("u{n}");
        java.produce(&town, &[order(&user, ORDER + n, "3", 3)]);
        town.has_died(0);
        town.set("TOMBOLA_KILL_POINT", "");
        town.restart(0);
        all_adopted(&town, u64::try_from(n + 1).unwrap());
        assert_eq!(points(&town, &user), 5, "{point}");
    }
}

#[test]
fn server_whose_map_names_no_prize_that_adopts_does_not_start() {
    let Some(mut town) = Town::on_kafka(&["api,worker,rescue"]) else {
        return;
    };
    let mut stocked = fair();
    stocked["prize"][0]["stock"] = json!(5);
    town.start("fair", &stocked);
    town.end(0, "-TERM");
    town.set("TOMBOLA_DELIVERY__FOREIGN", "adopt");
    for (map, said) in [
        ("1=autumn/word", "there is no campaign autumn"),
        ("1=fair/mug", "campaign fair has no prize mug"),
        (
            "1=fair/word",
            "take stock, daily_cap and per_user_wins from prize word",
        ),
    ] {
        town.set("TOMBOLA_DELIVERY__FOREIGN_PRIZES", map);
        let refused = town.refuses_to_start(0);
        assert!(refused.contains(said), "{map}: {refused}");
        assert!(refused.contains("`delivery.foreign_prizes`"), "{refused}");
    }
}
