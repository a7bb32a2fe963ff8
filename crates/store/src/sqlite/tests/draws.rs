//! Commits of draws: one key, one answer; counters; what is refused.

use super::{batch, request};
use crate::read::fixture::{FAIR, Fixture, NOW, actor, endpoint};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::{Phase, Transition};
use tombola_core::draw::{DrawFact, DrawLimit, DrawRefusal, DrawRequest, Ticket};
use tombola_core::ids::IdBlock;
use tombola_core::ports::{
    AwardPath as _, Catalog as _, DrawAnswer, DrawBatch, Operate as _, PauseScope,
};

/// Of 10 places, the first: a text.
const WINS: u64 = 0;

async fn ids(fixture: &Fixture, count: u32) -> IdBlock {
    fixture.store.reserve_ids(count).await.unwrap()
}

async fn commit(fixture: &Fixture, requests: Vec<DrawRequest>) -> Vec<DrawAnswer> {
    fixture.store.commit_draws(batch(requests)).await.unwrap()
}

fn drawn(answer: &DrawAnswer) -> &[DrawFact] {
    let DrawAnswer::Drawn { draws, .. } = answer else {
        panic!("{answer:?}")
    };
    draws
}

/// Of one answer drawn and all others replayed: the draws, which are the same.
fn drawn_once(answers: &[DrawAnswer]) -> Vec<DrawFact> {
    let first = answers
        .iter()
        .find(|it| matches!(it, DrawAnswer::Drawn { .. }))
        .expect("one draws");
    let facts = drawn(first).to_vec();
    let replays = answers.iter().filter(|it| {
        **it == DrawAnswer::Replayed {
            draws: facts.clone(),
        }
    });
    assert_eq!(replays.count(), answers.len() - 1, "{answers:?}");
    facts
}

#[tokio::test]
async fn a_hundred_equal_requests_in_one_batch_draw_once() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 100).await;
    let requests = (0..100)
        .map(|_| request(&mut ids, "ann", "one-key-1", WINS))
        .collect();
    drawn_once(&commit(&fixture, requests).await);
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 1);
    assert_eq!(fixture.number("SELECT total FROM allowance"), 1);
    assert_eq!(fixture.number("SELECT sum(spent) FROM prize"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_equal_requests_in_many_batches_draw_once() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 100).await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (store, one) = (
                Arc::clone(&fixture.store),
                request(&mut ids, "ann", "one-key-1", WINS),
            );
            async move {
                store
                    .commit_draws(batch(vec![one]))
                    .await
                    .unwrap()
                    .remove(0)
            }
        })
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for call in calls {
        tasks.spawn(call);
    }
    drawn_once(&tasks.join_all().await);
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 1);
    assert_eq!(fixture.number("SELECT draws FROM campaign"), 1);
}

#[tokio::test]
async fn a_batch_whose_commit_is_unknown_replays_when_it_runs_again() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 10).await;
    let places = [0_u64, 4, 9];
    let requests: Vec<DrawRequest> = places
        .iter()
        .map(|place| {
            let key = format!("key-{place:05}");
            request(&mut ids, "ann", &key, u64::MAX / 10 * place + 1)
        })
        .collect();
    let first = commit(&fixture, requests.clone()).await;
    let again = commit(&fixture, requests).await;
    for (first, again) in first.iter().zip(again) {
        assert_eq!(
            again,
            DrawAnswer::Replayed {
                draws: drawn(first).to_vec()
            }
        );
    }
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 3);
}

#[tokio::test]
async fn a_replay_tells_the_state_at_the_draw_whatever_came_after() {
    let mut fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 30).await;
    let mut pull = request(&mut ids, "ann", "ten-pull-1", WINS);
    for place in 1..10 {
        let roll = tombola_core::campaign::odds::Roll(u64::MAX / 10 * place + 1);
        pull.tickets.push(Ticket {
            id: ids.take().unwrap(),
            roll,
            ..pull.tickets[0]
        });
    }
    let first = drawn(&commit(&fixture, vec![pull.clone()]).await[0]).to_vec();
    assert_eq!(first.len(), 10);
    for draw in first
        .iter()
        .filter(|draw| draw.prize.as_deref() == Some("hello"))
    {
        fixture.deliver(draw.id.award()).await;
    }
    fixture.go("fair", Transition::Pause).await;
    fixture.reopen();
    let again = commit(&fixture, vec![pull]).await.remove(0);
    assert_eq!(again, DrawAnswer::Replayed { draws: first });
}

#[tokio::test]
async fn a_key_with_another_request_is_refused_in_the_same_batch_and_later() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 10).await;
    let one = request(&mut ids, "ann", "one-key-1", WINS);
    let other = |ids: &mut IdBlock| DrawRequest {
        fingerprint: [2; 16],
        ..request(ids, "bob", "one-key-1", WINS)
    };
    let together = vec![one, other(&mut ids)];
    let reused = DrawAnswer::Refused(DrawRefusal::RequestKeyReused);
    assert_eq!(commit(&fixture, together).await[1], reused);
    assert_eq!(commit(&fixture, vec![other(&mut ids)]).await[0], reused);
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 1);
}

#[tokio::test]
async fn a_key_belongs_to_its_client_and_its_campaign() {
    let fixture = Fixture::fair().await;
    fixture
        .put(
            &FAIR
                .replace("\"fair\"", "\"gala\"")
                .replace("kind = \"code\"", "kind = \"text\"\ntext = \"x\""),
        )
        .await;
    fixture.start("gala").await;
    let mut ids = ids(&fixture, 10).await;
    let one = request(&mut ids, "ann", "one-key-1", WINS);
    let of_other_client = DrawRequest {
        client: Arc::from("kiosk"),
        ..request(&mut ids, "ann", "one-key-1", WINS)
    };
    let of_other_campaign = request(&mut ids, "ann", "one-key-1", WINS);
    for answer in commit(&fixture, vec![one, of_other_client]).await {
        drawn(&answer);
    }
    let gala = DrawBatch {
        campaign: Arc::from("gala"),
        ..batch(vec![of_other_campaign])
    };
    drawn(&fixture.store.commit_draws(gala).await.unwrap()[0]);
}

#[tokio::test]
async fn a_refusal_stores_nothing_and_leaves_the_key_free() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 100).await;
    let many = |ids: &mut IdBlock, count: usize, fingerprint| {
        let mut request = request(ids, "ann", "one-key-1", WINS);
        let first = request.tickets[0];
        request.tickets.extend((1..count).map(|_| Ticket {
            id: ids.take().unwrap(),
            ..first
        }));
        DrawRequest {
            fingerprint: [fingerprint; 16],
            ..request
        }
    };
    // 21 in a day are too many; so are the equal ones; two are not.
    let requests = vec![
        many(&mut ids, 21, 1),
        many(&mut ids, 21, 1),
        many(&mut ids, 2, 2),
        many(&mut ids, 21, 1),
    ];
    let answers = commit(&fixture, requests).await;
    let DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { limit, left, .. }) = &answers[0]
    else {
        panic!("{answers:?}");
    };
    assert_eq!((*limit, *left), (DrawLimit::UserPerDay, 20));
    assert_eq!(answers[1], answers[0]);
    assert_eq!(drawn(&answers[2]).len(), 2);
    assert_eq!(
        answers[3], answers[0],
        "it follows the first, which has its key and its body"
    );
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 2);
    assert_eq!(fixture.number("SELECT count(*) FROM request"), 1);
    assert_eq!(fixture.number("SELECT total FROM allowance"), 2);
    // The key is the two's now.
    let later = commit(&fixture, vec![many(&mut ids, 21, 1)])
        .await
        .remove(0);
    assert_eq!(later, DrawAnswer::Refused(DrawRefusal::RequestKeyReused));
}

#[tokio::test]
async fn nothing_is_drawn_where_nothing_may_be_drawn() {
    let fixture = Fixture::fair().await;
    let mut ids = ids(&fixture, 10).await;
    let mut one = |key: &str| vec![request(&mut ids, "ann", key, WINS)];
    let nowhere = DrawBatch {
        campaign: Arc::from("nowhere"),
        ..batch(one("some-key-1"))
    };
    let answer = fixture.store.commit_draws(nowhere).await.unwrap().remove(0);
    assert_eq!(answer, DrawAnswer::Refused(DrawRefusal::CampaignNotFound));
    fixture
        .shell()
        .execute("INSERT INTO blocked_user VALUES ('ann', 'fraud', 0)", [])
        .unwrap();
    let answer = commit(&fixture, one("some-key-2")).await.remove(0);
    assert_eq!(answer, DrawAnswer::Refused(DrawRefusal::UserBlocked));
    fixture.go("fair", Transition::Pause).await;
    let answer = commit(&fixture, one("some-key-3")).await.remove(0);
    assert_eq!(
        answer,
        DrawAnswer::Refused(DrawRefusal::NotRunning {
            phase: Phase::Paused
        })
    );
    assert_eq!(fixture.number("SELECT count(*) FROM request"), 0);
}

#[tokio::test]
async fn a_campaign_whose_endpoint_is_gone_draws_nothing_until_it_is_back() {
    let mut fixture = Fixture::fair().await;
    fixture.shell().execute("DELETE FROM endpoint", []).unwrap();
    fixture.reopen();
    let mut ids = ids(&fixture, 10).await;
    let answer = commit(&fixture, vec![request(&mut ids, "ann", "some-key-1", WINS)])
        .await
        .remove(0);
    assert!(
        matches!(answer, DrawAnswer::Refused(DrawRefusal::NotRunning { .. })),
        "{answer:?}"
    );
    fixture
        .store
        .put_endpoint(endpoint("keen"), "whsec_s".to_owned(), actor(), NOW)
        .await
        .unwrap();
    drawn(&commit(&fixture, vec![request(&mut ids, "ann", "some-key-1", WINS)]).await[0]);
}

#[tokio::test]
async fn a_day_begins_anew_with_the_civil_day_and_a_clock_that_goes_back_gives_no_second_day() {
    let fixture = Fixture::fair().await;
    let day = Duration::from_hours(24);
    let draw =
        async |now: Timestamp, count: usize| fixture.draw_at("ann", &vec![9; count], now).await;
    // What a request for `asked` draws, which are too many, is told.
    let left = async |now: Timestamp, asked: usize| {
        let mut ids = ids(&fixture, 30).await;
        let mut request = request(&mut ids, "ann", "left-key-1", WINS);
        let first = request.tickets[0];
        request.tickets.extend((1..asked).map(|_| Ticket {
            id: ids.take().unwrap(),
            ..first
        }));
        let asked = DrawBatch {
            now,
            ..batch(vec![request])
        };
        let answer = fixture.store.commit_draws(asked).await.unwrap().remove(0);
        let DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { limit, left, .. }) = answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!(limit, DrawLimit::UserPerDay);
        left
    };
    draw(NOW, 15).await;
    assert_eq!(left(NOW, 6).await, 5);
    assert_eq!(left(NOW.plus(day), 21).await, 20);
    draw(NOW.plus(day), 18).await;
    assert_eq!(left(NOW.plus(day), 3).await, 2);
    assert_eq!(left(NOW, 3).await, 2, "yesterday is not given again");
    draw(NOW, 2).await;
    assert_eq!(left(NOW.plus(day), 1).await, 0);
    assert_eq!(fixture.number("SELECT total FROM allowance"), 35);
}

#[tokio::test]
async fn a_clock_that_goes_back_gives_no_second_daily_cap() {
    let fixture = Fixture::fair().await;
    let phones = async |user: &str, now: Timestamp| {
        let draws = fixture.draw_at(user, &[4; 3], now).await;
        draws.iter().filter(|draw| draw.award.is_some()).count()
    };
    let tomorrow = NOW.plus(Duration::from_hours(24));
    assert_eq!(phones("ann", tomorrow).await, 3);
    assert_eq!(phones("bob", NOW).await, 1, "four a day, the later day's");
    assert_eq!(
        fixture.number("SELECT day_spent FROM prize WHERE slug = 'phone'"),
        4
    );
}

#[tokio::test]
async fn counters_say_what_the_rows_say() {
    let fixture = Fixture::fair().await;
    for user in ["ann", "bob", "cho"] {
        fixture.draw(user, &[0, 1, 2, 3, 4, 5, 6, 4, 4, 0]).await;
    }
    assert_eq!(fixture.number("SELECT draws FROM campaign"), 30);
    assert_eq!(fixture.number("SELECT count(*) FROM draw"), 30);
    assert_eq!(fixture.number("SELECT sum(total) FROM allowance"), 30);
    let wins = fixture.number("SELECT count(*) FROM draw WHERE prize_id IS NOT NULL");
    assert_eq!(fixture.number("SELECT sum(spent) FROM prize"), wins);
    assert_eq!(
        fixture.number("SELECT count(*) FROM delivery JOIN draw ON draw.id = award_id"),
        wins
    );
    let unlike = "SELECT count(*) FROM prize WHERE spent <> (SELECT count(*) FROM draw WHERE prize_id = prize.id)
                  OR day_spent <> spent";
    assert_eq!(fixture.number(unlike), 0);
    // A cap of four a day: the fifth phone is no win.
    assert_eq!(
        fixture.number("SELECT spent FROM prize WHERE slug = 'phone'"),
        4
    );
    assert_eq!(fixture.number("SELECT sum(wins) FROM user_win"), 4);
}

#[tokio::test]
async fn a_pause_of_deliveries_stops_no_draw() {
    let fixture = Fixture::fair().await;
    fixture
        .store
        .pause(PauseScope::default(), actor(), NOW)
        .await
        .unwrap();
    fixture.win("ann", 0).await;
}
