//! The lives of one house: each begins with a kill point armed and ends there. What
//! was asked and answered in all of them stands in one book, and the last, clean life
//! has to agree with it.

use crate::house::{House, Request, awards, good, unfinished, wait};
use bytes::Bytes;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::os::unix::process::ExitStatusExt as _;
use tombola_server::client::Call;

/// Graceful stops in one life: each finds a claim to give back, or nearly so.
const STOPS_MAX: usize = 20;

/// Draws of one request: enough awards at once that the endpoint's lane is full.
const PULL: usize = 10;

/// What was asked, and what was answered.
pub(crate) struct Book {
    pull: usize,
    asked: Vec<Request>,
    answers: HashMap<String, Bytes>,
    /// Deaths, and what else may have cost a claim.
    pub(crate) faults: u64,
}

impl Book {
    /// Of requests for several draws each.
    pub(crate) fn new() -> Self {
        Self::of_pulls(PULL)
    }

    /// Of requests for so many draws each.
    pub(crate) fn of_pulls(pull: usize) -> Self {
        Self {
            pull,
            asked: Vec::new(),
            answers: HashMap::new(),
            faults: 0,
        }
    }

    /// Asks again what has no answer yet, and `count` times anew, until the server dies.
    pub(crate) async fn ask(&mut self, house: &mut House, count: usize) {
        self.note(count);
        for request in &self.asked {
            if self.answers.contains_key(&request.key) {
                continue;
            }
            let Some(answer) = house.draw(request).await else {
                return;
            };
            assert_eq!(answer.status, 201, "{answer:?}");
            self.answers.insert(request.key.clone(), answer.body);
        }
    }

    /// Asks `count` times, all at once, of a server that does not die.
    pub(crate) async fn ask_at_once(&mut self, house: &House, count: usize) {
        let asking = self.note(count).iter().map(async |request| {
            let api = house.api();
            let answer = wait("an answer", async || {
                let answer = api.answer(request.call()).await.ok();
                answer.filter(|answer| answer.status == 201)
            });
            (request.key.clone(), answer.await.body)
        });
        let answers = join_all(asking).await;
        self.answers.extend(answers);
    }

    /// Notes `count` new requests.
    fn note(&mut self, count: usize) -> &[Request] {
        let before = self.asked.len();
        let new = (before..before + count).map(|number| Request {
            key: format!("key-{number:06}"),
            user: format!("user-{}", number % 7),
            count: self.pull,
        });
        self.asked.extend(new);
        &self.asked[before..]
    }
}

/// One life: draws `count` times, and ends at `point`, such as `after_mark:2`.
pub(crate) async fn die_at(house: &mut House, book: &mut Book, point: &str, count: usize) {
    let is_keep = point.contains("keep");
    if is_keep {
        house.rows().make_first_copies_foreign();
    }
    house.start(Some(point)).await;
    book.ask(house, count).await;
    if point.contains("give_back") {
        stop_until_dead(house, book, point).await;
    } else {
        draw_until_dead(house, book, count).await;
    }
    let end = house.until_dead().await;
    let by = Some(Signal::ABORT.as_raw());
    assert_eq!(end.signal(), by, "the server ended at `{point}`");
    if is_keep {
        house.rows().leave_first_copies_alone();
    }
    book.faults += 1;
}

/// Where the point lies behind the answers, it comes while the rest is delivered. What
/// waits for a full lane may need more draws than the first.
async fn draw_until_dead(house: &mut House, book: &mut Book, count: usize) {
    wait("the server's death", async || {
        if house.is_dead() {
            return Some(());
        }
        if unfinished(&house.api()).await == Some(0) {
            book.ask(house, count).await;
        }
        None
    })
    .await;
}

/// Only a graceful stop gives claims back. It finds one nearly always, for each is made
/// ahead of its turn; when its call has just begun, the server is started and stopped
/// again.
async fn stop_until_dead(house: &mut House, book: &mut Book, point: &str) {
    for _ in 0..STOPS_MAX {
        until_claim_waits(house, book).await;
        house.stop();
        let end = house.until_dead().await;
        if !end.success() {
            return;
        }
        house.start(Some(point)).await;
    }
    panic!("{STOPS_MAX} stops found no claim to give back");
}

/// Waits for a claim whose call has not come, and draws when nothing is on its way.
async fn until_claim_waits(house: &mut House, book: &mut Book) {
    wait("a claim before its call", async || {
        let api = house.api();
        let calls = house.rides.calls();
        let claimed = awards(&api, "&state=delivering").await;
        let mut claimed = claimed.iter().filter_map(|award| award["id"].as_i64());
        if claimed.any(|award| !calls.contains_key(&award)) {
            return Some(());
        }
        if unfinished(&api).await == Some(0) {
            book.ask(house, 1).await;
        }
        None
    })
    .await;
}

/// The last life: nothing was lost and nothing paid twice. Gives all awards.
pub(crate) async fn live_on(house: &mut House, book: &mut Book) -> Vec<Value> {
    house.start(None).await;
    check(house, book).await
}

/// The same for a server that runs.
pub(crate) async fn check(house: &mut House, book: &mut Book) -> Vec<Value> {
    book.ask(house, 0).await;
    let awards = house.until_delivered().await;
    check_answers(house, book, &awards).await;
    for award in &awards {
        assert_eq!(award["state"], "delivered", "{award}");
        let attempts = award["attempts"].as_u64().unwrap();
        assert!(
            attempts <= 1 + book.faults,
            "each fault costs a claim at most: {award}"
        );
    }
    check_rides(house, &awards);
    let kept = house.rows().kept();
    let kept_awards: HashSet<i64> = kept.iter().map(|kept| kept.award).collect();
    assert_eq!(kept.len(), kept_awards.len(), "a message is kept once");
    let audit = good(&house.api(), Call::get("/v1/audit?full=true")).await;
    assert_eq!(audit["ok"], true, "{audit}");
    awards
}

/// Each key has its one answer, and each win in it its award.
async fn check_answers(house: &mut House, book: &Book, awards: &[Value]) {
    let mut won = HashSet::new();
    for request in &book.asked {
        let bytes = &book.answers[&request.key];
        let again = house.draw(request).await.unwrap();
        assert_eq!(
            again.body, *bytes,
            "`{}` is answered as before",
            request.key
        );
        let draw: Value = serde_json::from_slice(bytes).unwrap();
        let draws = draw["draws"].as_array().unwrap();
        assert_eq!(draws.len(), request.count, "all or none");
        won.extend(draws.iter().filter_map(|draw| draw["award"]["id"].as_i64()));
    }
    let listed: HashSet<i64> = awards
        .iter()
        .filter_map(|award| award["id"].as_i64())
        .collect();
    assert_eq!(won, listed, "every win has its award, and nothing else has");
}

/// The outside service acted for each ride, under one delivery key.
fn check_rides(house: &House, awards: &[Value]) {
    let calls = house.rides.calls();
    let rides: HashSet<i64> = awards
        .iter()
        .filter(|award| award["kind"] == "webhook")
        .filter_map(|award| award["id"].as_i64())
        .collect();
    assert_eq!(
        calls.keys().copied().collect::<HashSet<_>>(),
        rides,
        "the endpoint paid each ride"
    );
    for (award, keys) in calls {
        let keys: HashSet<String> = keys.into_iter().collect();
        assert_eq!(keys.len(), 1, "award {award}: one delivery key");
    }
}
