//! Processes that stop, die and start while callers draw.

use crate::town::{ADMIN, Answer, Town};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const CALLERS: usize = 8;

pub(crate) fn campaign() -> Value {
    json!({
        "campaign": { "slug": "fair", "name": "Fair" },
        "prize": [{ "slug": "thanks", "name": "Thanks", "kind": "points", "points": 1, "odds": "100%" }]
    })
}

/// Callers who draw until they are told to end, each draw under its key until it is
/// answered, at the next process where one does not answer; gives how many drew.
pub(crate) fn while_callers_draw(town: &Town, meanwhile: impl FnOnce(&AtomicUsize)) -> usize {
    while_others_draw(town, "key", meanwhile)
}

/// The same by callers whose keys begin with that.
pub(crate) fn while_others_draw(
    town: &Town,
    keys: &str,
    meanwhile: impl FnOnce(&AtomicUsize),
) -> usize {
    let (is_over, drawn) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (town, is_over, drawn) = (&town, &is_over, &drawn);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("{keys}-{caller:03}-{number:06}");
                    draw(town, &format!("u{caller}"), &key);
                    drawn.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        meanwhile(&drawn);
        is_over.store(true, Ordering::Relaxed);
    });
    drawn.into_inner()
}

/// Waits until so many more were drawn.
pub(crate) fn more(drawn: &AtomicUsize, count: usize) {
    let from = drawn.load(Ordering::Relaxed);
    while drawn.load(Ordering::Relaxed) < from + count {
        thread::yield_now();
    }
}

fn draw(town: &Town, user: &str, key: &str) {
    let (mut last, apis) = (None, town.apis());
    for turn in 0..20_000 {
        let process = apis[turn % apis.len()];
        let call = ("POST", "/v1/campaigns/fair/draws");
        let answer = town.ask(process, call, (ADMIN, key), &json!({ "user": user }));
        if matches!(&answer, Some(Answer { status: 201, .. })) {
            return;
        }
        // Nobody there, or on its way out: the next one, under the same key.
        let is_away = answer.as_ref().is_none_or(|it| it.status == 503);
        assert!(is_away, "{answer:?}");
        last = answer;
    }
    panic!("no process answered {key}: {last:?}");
}

#[test]
fn rolling_restart_under_load_loses_nothing() {
    let Some(town) = Town::new(3) else { return };
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| {
        for process in 0..town.processes() {
            more(drawn, 200);
            town.end(process, "-TERM");
            more(drawn, 100);
            town.restart(process);
        }
        more(drawn, 100);
    });
    let shown = town.all_delivered(0, "fair");
    assert_eq!(shown["draws"], drawn, "{shown:#}");
    assert_eq!(shown["prizes"][0]["delivered"], drawn, "{shown:#}");
}

#[test]
fn what_a_killed_process_leaves_is_delivered_by_the_others() {
    let Some(town) = Town::new(3) else { return };
    town.start("fair", &campaign());
    let drawn = while_callers_draw(&town, |drawn| {
        for process in [0, 1] {
            more(drawn, 200);
            town.end(process, "-KILL");
        }
        more(drawn, 200);
    });
    let shown = town.all_delivered(2, "fair");
    assert_eq!(shown["draws"], drawn, "{shown:#}");
    assert_eq!(shown["prizes"][0]["delivered"], drawn, "{shown:#}");
}

#[test]
fn key_that_is_revoked_at_one_process_is_soon_refused_by_all() {
    let Some(town) = Town::new(2) else { return };
    let made = town.admin(
        0,
        "POST",
        "/v1/keys",
        &json!({ "role": "auditor", "client": "eve" }),
    );
    let (id, key) = (&made["id"], made["key"].as_str().unwrap());
    let log = |process| {
        let call = ("GET", "/v1/log");
        town.ask(process, call, (key, "look"), &Value::Null)
            .unwrap()
            .status
    };
    let until = |process, status| (0..50_000).any(|_| log(process) == status);
    assert!(until(1, 200), "a new key is good everywhere");
    town.admin(
        0,
        "POST",
        &format!("/v1/keys/{id}/revoke"),
        &json!({ "reason": "over" }),
    );
    assert_eq!(log(0), 401);
    assert!(until(1, 401), "a revoked key is good nowhere");
}
