//! The real binary, built with kill points, ended at each hop of the path. What
//! was answered is there and the same, everything is delivered, nothing twice, and
//! the audit is clean.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod house;

use futures_util::future::join_all;
use house::{House, good};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use tombola_server::client::{Answer, Call};

const REQUESTS: usize = 6;

/// Aim: a process that dies at `point` loses nothing and pays nothing twice.
async fn survives(point: &str) {
    // Rescue and deferrals work in batches: one pass may be all there is.
    let is_rare = point.contains("rescue") || point.contains("defer");
    let pass = if is_rare { 1 } else { 2 };
    let mut house = House::with_kill_point(&format!("{point}:{pass}")).await;
    let mut answers = HashMap::new();
    for number in 0..REQUESTS {
        let key = format!("key-{number:06}");
        let answer = house.draw(&key, &format!("user-{}", number % 7)).await;
        assert_eq!(
            answer.status,
            201,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answers.insert(key, answer.body);
    }
    if !has_died(&house) {
        // The point lies behind the answer: it comes while the rest is delivered.
        house.until_killed().await;
    }
    house.restart_if_dead().await;
    let awards = house.until_delivered().await;
    check(&mut house, answers, &awards).await;
    assert!(
        has_died(&house),
        "the kill point `{point}` was never passed"
    );
}

/// Whether a server of this house ended at a kill point: the second one says that
/// it takes up what the process before left.
fn has_died(house: &House) -> bool {
    let log = std::fs::read_to_string(house.data.path().join("serve.log")).unwrap();
    log.matches("tombola serves").count() > 2
}

async fn check(house: &mut House, answers: HashMap<String, impl AsRef<[u8]>>, awards: &[Value]) {
    let mut won = HashSet::new();
    for (key, bytes) in &answers {
        let user: Value = serde_json::from_slice(bytes.as_ref()).unwrap();
        let user = user["draws"][0]["user"].as_str().unwrap().to_owned();
        let again = house.draw(key, &user).await;
        assert_eq!(
            &again.body[..],
            bytes.as_ref(),
            "`{key}` is answered as before"
        );
        let draw: Value = serde_json::from_slice(bytes.as_ref()).unwrap();
        let draws = draw["draws"].as_array().unwrap();
        assert_eq!(draws.len(), house::PULL, "all or none");
        won.extend(draws.iter().filter_map(|draw| draw["award"]["id"].as_i64()));
    }
    let listed: HashSet<i64> = awards
        .iter()
        .filter_map(|award| award["id"].as_i64())
        .collect();
    assert_eq!(won, listed, "every win has its award, and nothing else has");
    for award in awards {
        assert_eq!(award["state"], "delivered", "{award}");
    }
    let acted = house.acted.lock().unwrap().clone();
    let rides: HashSet<i64> = awards
        .iter()
        .filter(|award| award["kind"] == "webhook")
        .filter_map(|award| award["id"].as_i64())
        .collect();
    assert_eq!(
        acted.keys().copied().collect::<HashSet<_>>(),
        rides,
        "the endpoint paid each ride"
    );
    assert!(
        acted.values().all(|keys| keys.len() == 1),
        "under one delivery key each"
    );
    let audit = good(&house.api(), Call::get("/v1/audit?full=true")).await;
    assert_eq!(audit["ok"], true, "{audit}");
}

macro_rules! survives_death_at {
    ($($point:ident),+ $(,)?) => {$(
        mod $point {
            #[tokio::test]
            async fn loses_nothing_and_pays_nothing_twice() {
                super::survives(stringify!($point)).await;
            }
        }
    )+
    /// Points with a test of their own here.
    const TRIED: &[&str] = &[$(stringify!($point)),+];
    };
}

survives_death_at!(
    before_commit,
    after_commit,
    before_handoff,
    before_publish,
    after_publish,
    after_mark,
    before_rescue_claim,
    rescue_after_claim,
    after_consume,
    before_deliver,
    after_deliver,
    before_defer,
    after_defer,
    before_claim,
    after_claim,
    before_call,
    after_call_before_record,
    after_record,
    before_offset_commit,
    after_offset_commit,
);

/// Points at which no process is ended yet: nobody can put a foreign message on the
/// topic in memory, and only a graceful stop gives a claim back. The engine's tests
/// walk through both hops in process, without a death.
const NOT_REACHED: &[&str] = &[
    "before_keep",
    "after_keep",
    "before_give_back",
    "after_give_back",
];

#[test]
fn every_kill_point_is_tried_or_named_with_its_reason() {
    let known: HashSet<&str> = tombola_engine::kill::POINTS.iter().copied().collect();
    let here: HashSet<&str> = TRIED.iter().chain(NOT_REACHED).copied().collect();
    assert_eq!(known, here);
}

/// Aim: the answer to a key is one, also when the process dies between the commit
/// and the answer, with a hundred callers waiting for it.
#[tokio::test]
async fn hundred_equal_requests_get_one_draw_also_after_death_between_commit_and_answer() {
    let mut house = House::with_kill_point("after_commit:1").await;
    let first = hundred(&house).await;
    assert!(
        first.iter().all(Option::is_none),
        "nobody was answered before the death"
    );
    house.until_killed().await;
    house.start_again().await;
    for _ in 0..2 {
        let answers: Vec<Answer> = hundred(&house).await.into_iter().flatten().collect();
        assert_eq!(answers.len(), 100);
        let bytes: HashSet<Vec<u8>> = answers.iter().map(|answer| answer.body.to_vec()).collect();
        assert_eq!(bytes.len(), 1, "all answers are equal");
        assert!(
            answers
                .iter()
                .all(|answer| answer.is_replayed && answer.status == 201)
        );
    }
    let audit = good(&house.api(), Call::get("/v1/audit")).await;
    assert_eq!(audit["campaigns"][0]["draws"], 1);
}

/// A hundred connections, one key; `None` where no answer came.
async fn hundred(house: &House) -> Vec<Option<Answer>> {
    let calls = (0..100).map(|_| {
        let api = house.api();
        async move {
            let call = Call::post("/v1/campaigns/fair/draws")
                .request_key("the-one-key")
                .json(&serde_json::json!({ "user": "u1" }));
            api.answer(call)
                .await
                .ok()
                .filter(|answer| answer.status < 500)
        }
    });
    join_all(calls).await
}
