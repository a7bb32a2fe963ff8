//! Everybody at once: four connections draw, mark, deliver, call and rescue the same
//! awards, and each of them ends delivered once.

use crate::claims::claimed;
use crate::world::{NOON, World, batch};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tombola_core::Timestamp;
use tombola_core::award::{Mark, Position};
use tombola_core::decision::Decision;
use tombola_core::ports::{
    AwardPath as _, Claim, Copy, CopyAnswer, DrawAnswer, DueQuery, Handoff, MarkOf, Record,
};
use tombola_core::retry::Jitter;
use tombola_store::postgres::PostgresStore;

const ALL_KINDS: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "code"
name = "A code"
kind = "code"
odds = "30%"
[[prize]]
slug = "points"
name = "Points"
kind = "points"
points = 7
odds = "30%"
stock = 100000
[[prize]]
slug = "coupon"
name = "A coupon"
kind = "webhook"
endpoint = "coupons"
odds = "40%"
"#;

/// What several workers have of one topic: each hand-off comes to two of them.
#[derive(Default)]
struct Topic(std::sync::Mutex<Vec<Handoff>>);

impl Topic {
    fn publish(&self, handoffs: Vec<Handoff>) {
        self.0.lock().unwrap().extend(handoffs);
    }

    fn read(&self, from: usize, count: usize) -> Vec<Handoff> {
        let all = self.0.lock().unwrap();
        all.iter().skip(from).take(count).cloned().collect()
    }
}

fn copy_of(handoff: &Handoff) -> Copy {
    Copy {
        award: handoff.award,
        message_id: handoff.message.message_id.clone(),
        position: Position {
            epoch: 1,
            partition: 0,
            offset: handoff.award.0,
        },
    }
}

async fn relay(store: &PostgresStore, handoffs: &[Handoff], now: Timestamp) {
    let mark = |handoff: &Handoff| MarkOf {
        award: handoff.award,
        lease: handoff.lease,
        mark: Mark::Taken(copy_of(handoff).position),
        error: None,
    };
    let marks = handoffs.iter().rev().map(mark).collect();
    store.mark_published(marks, now).await.unwrap();
}

async fn work(store: &PostgresStore, handoffs: &[Handoff], now: Timestamp) {
    let copies: Vec<Copy> = handoffs.iter().map(copy_of).collect();
    let answers = store.deliver_local(copies.clone(), now).await.unwrap();
    let outside = copies.into_iter().zip(answers);
    let outside = outside.filter(|(_, it)| matches!(it, CopyAnswer::Outside { .. }));
    let outside = outside.map(|(copy, _)| copy).collect();
    let claims = store.claim(outside, now).await.unwrap();
    let record = |claim: &Claim| Record {
        award: claim.award,
        lease: claim.lease,
        decision: Decision::Delivered { receipt: None },
        error: None,
        lane_at: now,
        jitter: Jitter::NONE,
    };
    let records = claims.iter().filter_map(claimed).map(record).collect();
    store.record(records, now).await.unwrap();
}

async fn rescue(store: &PostgresStore, topic: &Topic, now: Timestamp) {
    for lane in store.due_lanes(now).await.unwrap().due {
        let mut after = None;
        loop {
            let query = DueQuery {
                lane,
                after,
                limit: 100,
                now,
                group: Some(tombola_core::ports::GroupPosition::default()),
                is_breaker_open: false,
            };
            let page = store.claim_due(query).await.unwrap();
            topic.publish(page.handoffs);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
}

/// One connection's life: it draws, and does what a relay, a worker and a rescuer do.
async fn live(world: Arc<World>, store: Arc<PostgresStore>, topic: Arc<Topic>, me: usize) {
    let clock = AtomicI64::new(NOON.0);
    let (mut read, mut idle) = (0, 0);
    for round in 0.. {
        let second = Duration::from_secs(1).as_micros().try_into().unwrap();
        let now = Timestamp(clock.fetch_add(second, Ordering::Relaxed));
        if round < 10 {
            let user = |n: i64| format!("u{}", (n * [1, 3, 7, 9][me % 4]) % 50);
            let request = |n: i64| world.request(&user(n), &format!("crowd-{me}-{round}-{n}"), 1);
            let answers = store.commit_draws(batch((0..50).map(request).collect()));
            let handoffs = answers.await.unwrap().into_iter().map(|it| match it {
                DrawAnswer::Drawn { handoffs, .. } => handoffs,
                DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_) => panic!("{it:?}"),
            });
            let handoffs: Vec<Handoff> = handoffs.flatten().collect();
            topic.publish(handoffs.clone());
            relay(&store, &handoffs, now).await;
        }
        let mut some = topic.read(read, 60);
        read += some.len();
        if me % 2 == 1 {
            some.reverse();
        }
        work(&store, &some, now).await;
        rescue(&store, &topic, now).await;
        idle = if some.is_empty() && round >= 10 {
            idle + 1
        } else {
            0
        };
        if idle > 2 {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_connections_that_draw_deliver_and_rescue_end_all_awards_and_meet_no_deadlock() {
    let Some(world) = World::open(ALL_KINDS).await else {
        return;
    };
    world.codes(1, 2000, true, 0).await;
    let (world, topic) = (Arc::new(world), Arc::new(Topic::default()));
    let mut tasks = JoinSet::new();
    for (me, store) in (0..).zip(world.stores(4).await) {
        tasks.spawn(live(Arc::clone(&world), store, Arc::clone(&topic), me));
    }
    tasks.join_all().await;
    for (what, expected) in [
        ("SELECT count(*) FROM draw", 2000),
        (
            "SELECT count(*) FROM delivery WHERE state <> 'delivered'",
            0,
        ),
        (
            "SELECT count(*) - (SELECT wins FROM campaign_count) FROM delivery",
            0,
        ),
        (
            "SELECT count(*) - (SELECT count(award_id) FROM code) FROM delivery WHERE kind = 'code'",
            0,
        ),
        (
            "SELECT count(*) - (SELECT count(*) FROM points_entry) FROM delivery WHERE kind = 'points'",
            0,
        ),
        ("SELECT count(*) FROM delivery WHERE attempts <> 1", 0),
        (
            "SELECT count(*) FROM draw_span WHERE span = 0 AND campaign_id = 1",
            1,
        ),
    ] {
        assert_eq!(world.number(what).await, expected, "{what}");
    }
    assert_eq!(world.deadlocks().await, 0);
}
