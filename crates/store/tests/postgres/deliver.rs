//! Local deliveries, marks and records: batches with copies of one award, and what a
//! hold waits for ending while it is written.

use crate::claims::COUPONS;
use crate::world::{LANE, NOON, World};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::{Mark, Position};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::ports::{
    AwardPath as _, Copy, CopyAnswer, Deferral, KeptMessage, MarkOf, Record, Written,
};
use tombola_core::reason::{HoldReason, KeptReason};
use tombola_core::retry::Jitter;

pub(crate) const POINTS: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "points"
name = "Points"
kind = "points"
points = 7
odds = "100%"
"#;

const PHYSICAL: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "mug"
name = "A mug"
kind = "physical"
odds = "100%"
stock = 1000
return_stock = true
claim_within = "14d"
ship_within = "30d"
"#;

const DELIVERED: CopyAnswer = CopyAnswer::Delivered { kind: Kind::Points };

fn record(copy: &Copy, decision: Decision) -> Record {
    Record {
        award: copy.award,
        lease: 2,
        decision,
        error: None,
        lane_at: NOON,
        jitter: Jitter::NONE,
    }
}

#[tokio::test]
async fn copies_of_one_award_in_a_batch_are_one_delivery_and_one_credit() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 3).await;
    let foreign = Copy {
        message_id: "1-aaaaaaaaaaaa".to_owned(),
        ..copies[2].clone()
    };
    let order = [&copies[1], &copies[0], &copies[1], &foreign, &copies[2]];
    let batch = order.map(Clone::clone).to_vec();
    let answers = store.deliver_local(batch, NOON).await.unwrap();
    let not_ours = CopyAnswer::NotOurs(KeptReason::OtherMessageId);
    let expected = [
        DELIVERED,
        DELIVERED,
        CopyAnswer::Dropped,
        not_ours,
        DELIVERED,
    ];
    assert_eq!(answers, expected);
    let sums = "SELECT sum(points) * 1000 + count(*) * 100 + (SELECT count(*) FROM attempt)
                FROM points_entry";
    assert_eq!(world.number(sums).await, 21_303);
}

#[tokio::test]
async fn what_is_done_to_an_award_twice_in_a_batch_is_done_once_and_told_twice() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let mark = |lease| MarkOf {
        award: copies[0].award,
        lease,
        mark: Mark::Failed,
        error: Some("no\0 broker".to_owned()),
    };
    let marked = store.mark_published(vec![mark(1), mark(2), mark(1)], NOON);
    let expected = [Written::Applied, Written::Late, Written::Applied];
    assert_eq!(marked.await.unwrap(), expected);
    store.claim(copies.clone(), NOON).await.unwrap();
    let receipt = Some("thanks\0".to_owned());
    let records = vec![
        record(&copies[0], Decision::Delivered { receipt }),
        record(&copies[0], Decision::Refuse),
    ];
    let recorded = store.record(records, NOON).await.unwrap();
    let written = [recorded[0].written, recorded[1].written];
    assert_eq!(written, [Written::Applied, Written::Late]);
    assert_eq!(recorded[0].row, recorded[1].row);
    let back = vec![
        (copies[1].award, 2),
        (copies[1].award, 2),
        (AwardId(9999), 1),
    ];
    let back = store.give_back(back, NOON).await.unwrap();
    assert_eq!(back, [Written::Applied, Written::Late, Written::Late]);
    let lines = "SELECT award_id || ' ' || n || ' ' || decision || ' ' || state || ' ' || coalesce(detail, '-')
                 FROM attempt ORDER BY award_id, n";
    let lines = world.admin.query(lines, &[]).await.unwrap();
    let lines: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    assert_eq!(
        lines,
        [
            "1 1 failed pending no broker",
            "1 2 failed pending late: no broker",
            "1 3 failed pending no broker",
            "1 4 delivered delivered thanks",
            "1 5 refuse delivered late",
            "2 1 give_back pending -",
            "2 2 give_back pending late",
        ]
    );
}

#[tokio::test]
async fn a_copy_without_a_permit_is_set_aside_once() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copy = world.win(&store, 1).await.remove(0);
    let until = NOON.plus(Duration::from_secs(30));
    let deferral = Deferral { copy, until };
    let answers = store.defer(vec![deferral.clone(), deferral], NOON).await;
    let expected = [CopyAnswer::Deferred, CopyAnswer::Dropped];
    assert_eq!(answers.unwrap(), expected);
    assert_eq!(
        world
            .number("SELECT due_at FROM delivery WHERE state = 'retryable'")
            .await,
        until.0
    );
}

#[tokio::test]
async fn an_award_of_an_outside_kind_is_named_and_nothing_is_written() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let answers = store.deliver_local(copies, NOON).await.unwrap();
    assert_eq!(
        answers,
        [
            CopyAnswer::Outside { lane: LANE },
            CopyAnswer::Outside { lane: LANE }
        ]
    );
    assert_eq!(world.number("SELECT sum(lease) FROM delivery").await, 2);
}

/// The record of a call that said 410, while an operator enables the endpoint again.
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_not_written_where_its_endpoint_is_being_enabled() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 1).await;
    store.claim(copies.clone(), NOON).await.unwrap();
    world
        .change("UPDATE endpoint SET enabled = false", &[])
        .await;
    let shell = world.shell().await;
    let enable = "BEGIN; UPDATE endpoint SET enabled = true";
    shell.batch_execute(enable).await.unwrap();
    let hold = record(&copies[0], Decision::Hold(HoldReason::EndpointDisabled));
    let (recorded, ()) = tokio::join!(store.record(vec![hold], NOON), async {
        world.until_waiting(1).await;
        shell.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(recorded.unwrap()[0].row.state.name(), "pending");
}

/// Whoever gives an address locks the delivery first.
#[tokio::test(flavor = "multi_thread")]
async fn a_mug_waits_for_its_shipment_where_its_address_is_being_given() {
    let Some(world) = World::open(PHYSICAL).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let shell = world.shell().await;
    let give = "BEGIN; SELECT 1 FROM delivery WHERE award_id = 1 FOR NO KEY UPDATE;
                INSERT INTO address VALUES (1, 0, '', 0)";
    shell.batch_execute(give).await.unwrap();
    let (answers, ()) = tokio::join!(store.deliver_local(copies, NOON), async {
        world.until_waiting(1).await;
        shell.batch_execute("COMMIT").await.unwrap();
    });
    let held = |reason| CopyAnswer::Held {
        kind: Kind::Physical,
        reason,
    };
    let expected = [held(HoldReason::Shipment), held(HoldReason::Address)];
    assert_eq!(answers.unwrap(), expected);
}

/// Else the hold would be written after the resume has looked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_meets_a_resume_waits_for_it_and_is_not_held() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let pause = "INSERT INTO pause VALUES ('', 'points', '', 0)";
    world.change(pause, &[]).await;
    let held = CopyAnswer::Held {
        kind: Kind::Points,
        reason: HoldReason::Paused,
    };
    let first = vec![copies[0].clone()];
    assert_eq!(store.deliver_local(first, NOON).await.unwrap(), [held]);
    let shell = world.shell().await;
    shell
        .batch_execute("BEGIN; DELETE FROM pause")
        .await
        .unwrap();
    let second = vec![copies[1].clone()];
    let (answers, ()) = tokio::join!(store.deliver_local(second, NOON), async {
        world.until_waiting(1).await;
        shell.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(answers.unwrap(), [DELIVERED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_meets_a_deadlock_runs_again_and_nobody_hears_of_it() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let shell = world.shell().await;
    let lock = |award: i64| format!("SELECT 1 FROM delivery WHERE award_id = {award} FOR UPDATE");
    let begin = format!("BEGIN; SET LOCAL deadlock_timeout = '60s'; {}", lock(2));
    shell.batch_execute(&begin).await.unwrap();
    let (answers, ()) = tokio::join!(store.claim(copies, NOON), async {
        world.until_waiting(1).await;
        shell.batch_execute(&lock(1)).await.unwrap();
        shell.batch_execute("COMMIT").await.unwrap();
    });
    let claimed = |it: &CopyAnswer| matches!(it, CopyAnswer::Claimed(_));
    assert!(answers.unwrap().iter().all(claimed));
}

#[tokio::test]
async fn a_message_is_kept_once_whatever_text_it_has() {
    let Some(world) = World::open(POINTS).await else {
        return;
    };
    let store = world.store().await;
    let message = |offset, key: &str| KeptMessage {
        position: Position {
            epoch: 1,
            partition: 0,
            offset,
        },
        key: Some(key.to_owned()),
        value: Some(vec![0, 255]),
        headers: vec![("a\0".to_owned(), "b\0".to_owned())],
        reason: KeptReason::NoAward,
    };
    let both = vec![message(2, "u"), message(1, "u\0"), message(2, "v")];
    store.keep_messages(both.clone(), NOON).await.unwrap();
    store.keep_messages(both, NOON).await.unwrap();
    let kept = "SELECT count(*) FROM kept_message WHERE message_key = 'u' AND value = '\\x00ff'";
    assert_eq!(world.number(kept).await, 2);
}
