//! One hot prize, the same users from all sides, one key at two doors.

use crate::town::{ADMIN, Answer, Town};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

const CALLERS: usize = 16;
const DRAWS_EACH: usize = 90;
const USERS: usize = 150;
const LIMIT: u64 = 5;
const STOCK: u64 = 200;

fn campaign() -> Value {
    json!({
        "campaign": { "slug": "fair", "name": "Fair" },
        "limits": { "per_user_total": LIMIT },
        "odds": { "on_unavailable": "fallback", "fallback": "thanks" },
        "prize": [
            { "slug": "hot", "name": "Hot", "kind": "text", "text": "hot", "odds": "99%", "stock": STOCK },
            { "slug": "thanks", "name": "Thanks", "kind": "points", "points": 1, "odds": "1%" }
        ]
    })
}

fn draw(town: &Town, process: usize, user: &str, key: &str) -> Answer {
    let call = ("POST", "/v1/campaigns/fair/draws");
    town.ask(process, call, (ADMIN, key), &json!({ "user": user }))
        .unwrap()
}

#[test]
fn stock_and_limits_are_exact_whichever_process_draws() {
    let Some(town) = Town::new(4) else { return };
    town.start("fair", &campaign());
    let drawn: Vec<(String, Answer)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let town = &town;
                scope.spawn(move || {
                    (0..DRAWS_EACH)
                        .map(|number| {
                            let user = format!("u{}", (number * 7 + caller * 13) % USERS);
                            let process = (number + caller) % town.processes();
                            let key = format!("key-{caller:04}-{number:04}");
                            let answer = draw(town, process, &user, &key);
                            (user, answer)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = callers.into_iter().map(|it| it.join().unwrap());
        joined.flatten().collect()
    });
    let mut by_user: BTreeMap<&str, u64> = BTreeMap::new();
    let mut hot = 0;
    for (user, answer) in &drawn {
        match (answer.status, answer.code().as_str()) {
            (201, _) => {
                *by_user.entry(user).or_default() += 1;
                hot += u64::from(answer.json()["draws"][0]["prize"] == "hot");
            }
            (409, "allowance_exhausted") => {}
            _ => panic!("neither drawn nor refused by its limit: {answer:?}"),
        }
    }
    assert_eq!(hot, STOCK, "all of the stock and no more");
    let asked = |user: &str| drawn.iter().filter(|(it, _)| it == user).count() as u64;
    for (user, drew) in by_user {
        assert_eq!(drew, asked(user).min(LIMIT), "{user}");
    }
    let shown = town.all_delivered(0, "fair");
    assert_eq!(shown["prizes"][0]["delivered"], STOCK, "{shown:#}");
}

#[test]
fn key_that_is_sent_to_two_processes_at_once_draws_once() {
    let Some(town) = Town::new(2) else { return };
    let mut campaign = campaign();
    campaign["limits"]["per_user_total"] = json!(1000);
    town.start("fair", &campaign);
    for number in 0..40 {
        let (key, gate) = (format!("at-two-doors-{number}"), Barrier::new(2));
        let answers: Vec<Answer> = thread::scope(|scope| {
            let at: Vec<_> = (0..2)
                .map(|process| {
                    let (town, key, gate) = (&town, &key, &gate);
                    scope.spawn(move || {
                        gate.wait();
                        draw(town, process, "ann", key)
                    })
                })
                .collect();
            at.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(answers[0].status, 201, "{answers:?}");
        assert_eq!(answers[0].status, answers[1].status);
        assert_eq!(answers[0].body, answers[1].body);
    }
    let shown = town.all_delivered(1, "fair");
    assert_eq!(shown["draws"], 40, "{shown:#}");
}
