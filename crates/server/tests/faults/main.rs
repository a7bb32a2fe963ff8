//! The real binary, built with kill points, ended at each hop of the path, at two of
//! them in turn, or made to stand still. What was answered is there and the same,
//! everything is delivered, nothing twice, and the audit is clean. The modules are
//! marked as tests so that lints know their helpers for what they are.

#[cfg(test)]
mod frozen;
#[cfg(test)]
mod give_back;
#[cfg(test)]
mod house;
#[cfg(test)]
mod keep;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod pairs;
#[cfg(test)]
mod rides;
#[cfg(test)]
mod rows;

use futures_util::future::join_all;
use house::{House, good};
use lives::{Book, die_at, live_on};
use std::collections::HashSet;
use tombola_server::client::{Answer, Call};

/// Requests of one life.
const REQUESTS: usize = 6;

/// Points whose work is done in batches: one pass may be all there is in a life.
const PASSED_ONCE: &[&str] = &[
    "before_rescue_claim",
    "rescue_after_claim",
    "before_defer",
    "after_defer",
    "before_give_back",
    "after_give_back",
];

/// Aim: a process that dies at `point` loses nothing and pays nothing twice.
async fn survives(point: &str) {
    let pass = if PASSED_ONCE.contains(&point) { 1 } else { 2 };
    let (mut house, mut book) = (House::new().await, Book::new());
    die_at(&mut house, &mut book, &format!("{point}:{pass}"), REQUESTS).await;
    live_on(&mut house, &mut book).await;
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

/// Points with tests of their own in `keep` and `give_back`, and those of adopting, which
/// needs the topic of another system, among the tests with Kafka.
const TRIED_APART: &[&str] = &[
    "before_adopt",
    "after_adopt",
    "before_keep",
    "after_keep",
    "before_give_back",
    "after_give_back",
];

#[test]
fn process_is_ended_at_every_kill_point() {
    let known: HashSet<&str> = tombola_engine::kill::POINTS.iter().copied().collect();
    let here: HashSet<&str> = TRIED.iter().chain(TRIED_APART).copied().collect();
    assert_eq!(known, here);
}

/// Aim: the answer to a key is one, also when the process dies between the commit
/// and the answer, with a hundred callers waiting for it.
#[tokio::test]
async fn hundred_equal_requests_get_one_draw_also_after_death_between_commit_and_answer() {
    let mut house = House::new().await;
    house.start(Some("after_commit:1")).await;
    let first = hundred(&house).await;
    assert!(
        first.iter().all(Option::is_none),
        "nobody was answered before the death"
    );
    house.until_dead().await;
    house.start(None).await;
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
