//! Aim: from one version to the next and back, with the two side by side on one database:
//! callers draw all the while, awards are on their way at each step, and nothing is lost
//! or given twice. The next version is the same sources with a migration and a field of
//! messages more (`tombola_core::next`).

use crate::lives::{more, while_callers_draw, while_others_draw};
use crate::shop::Shop;
use crate::town::{ADMIN, TOMBOLA, Town, sum};
use serde_json::{Value, json};
use std::sync::atomic::AtomicUsize;

/// The binary of the version after this one.
const NEXT: &str = env!("CARGO_BIN_EXE_tombola-next");

fn campaign() -> Value {
    json!({
        "campaign": { "slug": "fair", "name": "Fair" },
        "prize": [
            { "slug": "coupon", "name": "A coupon", "kind": "webhook", "endpoint": "shop", "odds": "20%" },
            { "slug": "word", "name": "A word", "kind": "text", "text": "well done", "odds": "20%" },
            { "slug": "thanks", "name": "Thanks", "kind": "points", "points": 1, "odds": "60%" },
        ]
    })
}

/// A town at work: its campaign is started, and its coupons go to the shop.
fn at_work(town: &Town, shop: &Shop) {
    let endpoint = json!({
        "name": "shop", "url": shop.url, "idempotent": true, "concurrency": 16, "allow_private": true,
    });
    town.admin(0, "PUT", "/v1/endpoints/shop", &endpoint);
    town.start("fair", &campaign());
}

/// Looks until awards are on their way: while callers draw, they always are but for moments.
fn on_their_way(town: &Town, process: usize) {
    let unfinished = || {
        let shown = town.admin(process, "GET", "/v1/campaigns/fair", &Value::Null);
        sum(&shown, "unfinished")
    };
    let looks = (0..50_000).take_while(|_| unfinished() == 0).count();
    assert!(looks < 50_000, "nothing is on its way");
}

/// Ends that process and starts it under another binary, with awards on their way before
/// and after.
fn replace(town: &Town, drawn: &AtomicUsize, process: usize, binary: &'static str) {
    more(drawn, 100);
    on_their_way(town, process);
    town.end(process, "-TERM");
    more(drawn, 50);
    town.restart_as(process, binary);
    on_their_way(town, process);
}

/// What the newer one brings is there, and what the older one needs as well.
fn migrate_up(town: &Town) {
    let plan = town.run(NEXT, &["migrate", "plan"]);
    assert_eq!(plan["plan"].as_array().unwrap().len(), 1, "{plan:#}");
    let newer = town.run(NEXT, &["migrate", "up"]);
    assert_eq!(newer["is_newest"], true, "{newer:#}");
    let older = town.tombola(&["migrate", "status"]);
    assert_eq!(
        [&older["is_newest"], &older["fits"]],
        [&json!(false), &json!(true)],
        "{older:#}"
    );
}

/// What a check of `doctor` says, asked of that process.
fn check(town: &Town, process: usize, name: &str) -> Value {
    let doctor = town.admin(process, "GET", "/v1/doctor", &Value::Null);
    let mut checks = doctor["checks"].as_array().unwrap().iter();
    checks.find(|it| it["name"] == name).unwrap().clone()
}

/// Each draw that was answered is there and delivered, and the shop took each coupon once.
fn nothing_was_lost_or_doubled(town: &Town, shop: &Shop, drawn: usize) {
    let shown = town.all_delivered(0, "fair");
    assert_eq!(shown["draws"], drawn, "{shown:#}");
    assert_eq!(sum(&shown, "delivered"), drawn as u64, "{shown:#}");
    let taken = shop.taken();
    let coupons = &shown["prizes"][0];
    assert_eq!(coupons["prize"], "coupon");
    assert_eq!(coupons["delivered"], taken.len(), "{shown:#}");
    let doubled: Vec<_> = taken.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

#[test]
fn rolling_upgrade_under_load_loses_nothing_that_is_on_its_way() {
    let Some(town) = Town::new(3) else { return };
    let shop = Shop::open();
    at_work(&town, &shop);
    let drawn = while_callers_draw(&town, |drawn| {
        more(drawn, 200);
        migrate_up(&town);
        // One of the older ones has to start anew in the middle of it.
        replace(&town, drawn, 0, TOMBOLA);
        assert_eq!(check(&town, 0, "database.schema")["state"], "ok");
        for process in 0..town.processes() {
            replace(&town, drawn, process, NEXT);
            let versions = check(&town, process, "processes.versions");
            let is_last = process + 1 == town.processes();
            let expected = if is_last { "ok" } else { "warning" };
            assert_eq!(versions["state"], expected, "{versions:#}");
        }
        more(drawn, 100);
    });
    nothing_was_lost_or_doubled(&town, &shop, drawn);
}

#[test]
fn way_back_under_load_loses_nothing_that_is_on_its_way() {
    let Some(town) = Town::new(3) else { return };
    let shop = Shop::open();
    at_work(&town, &shop);
    migrate_up(&town);
    let drawn = while_callers_draw(&town, |drawn| {
        for process in 0..town.processes() {
            replace(&town, drawn, process, NEXT);
        }
        for process in 0..town.processes() {
            replace(&town, drawn, process, TOMBOLA);
        }
        more(drawn, 100);
    });
    nothing_was_lost_or_doubled(&town, &shop, drawn);
    let versions = check(&town, 0, "processes.versions");
    assert_eq!(versions["state"], "ok", "{versions:#}");
}

/// Nobody rescues here: what is delivered came by its message.
#[test]
fn worker_delivers_by_the_messages_of_the_version_before_and_of_the_one_after() {
    let Some(town) = Town::on_kafka(&["api", "worker"]) else {
        return;
    };
    let mut campaign = campaign();
    let prizes = campaign["prize"].as_array_mut().unwrap();
    prizes.retain(|it| it["kind"] != "webhook");
    prizes[0]["odds"] = json!("40%");
    town.start("fair", &campaign);
    migrate_up(&town);
    let mut drawn = 0;
    for (keys, api, worker) in [("first", NEXT, TOMBOLA), ("then", TOMBOLA, NEXT)] {
        for (process, binary) in [(0, api), (1, worker)] {
            town.end(process, "-TERM");
            town.restart_as(process, binary);
        }
        drawn += while_others_draw(&town, keys, |drawn| more(drawn, 100));
        let shown = town.all_delivered(0, "fair");
        assert_eq!(sum(&shown, "delivered"), drawn as u64, "{shown:#}");
    }
    let call = ("GET", "/v1/dead-letters");
    let kept = town.ask(0, call, (ADMIN, "kept"), &Value::Null).unwrap();
    assert_eq!(kept.json()["items"], json!([]), "{kept:?}");
}
