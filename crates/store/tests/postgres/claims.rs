//! Claims of copies.

use crate::world::{LANE, NOON, World};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::campaign::Kind;
use tombola_core::ports::{AwardPath as _, Claim, Copy, CopyAnswer};
use tombola_core::reason::{HoldReason, KeptReason};
use tombola_core::retry::Schedule;

pub(crate) const COUPONS: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
[[prize]]
slug = "coupon"
name = "A coupon"
kind = "webhook"
endpoint = "coupons"
odds = "100%"
"#;

pub(crate) fn claimed(answer: &CopyAnswer) -> Option<&Claim> {
    match answer {
        CopyAnswer::Claimed(claim) => Some(claim),
        CopyAnswer::Delivered { .. }
        | CopyAnswer::Held { .. }
        | CopyAnswer::Dropped
        | CopyAnswer::Deferred
        | CopyAnswer::Outside { .. }
        | CopyAnswer::Failed { .. }
        | CopyAnswer::NotOurs(_) => None,
    }
}

/// What a port asks of a method's future.
fn is_send<T: Send>(future: T) -> T {
    future
}

#[tokio::test]
async fn a_claim_counts_the_attempt_and_a_second_one_is_dropped() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 3).await;
    let first = store.claim(copies.clone(), NOON).await.unwrap();
    for (copy, answer) in copies.iter().zip(&first) {
        let claim = claimed(answer).expect("a claim");
        assert_eq!(
            (claim.award, claim.lease, claim.lane),
            (copy.award, 2, LANE)
        );
        assert_eq!(claim.lease_ends, NOON.plus(Schedule::default().lease_time));
        assert!(claim.delivery_key.starts_with(&format!("{}-", copy.award)));
    }
    let row = "SELECT sum(lease * 100 + attempts * 10 + mq_state) FROM delivery
               WHERE state = 'delivering' AND topic_epoch = 1 AND \"offset\" = award_id";
    assert_eq!(world.number(row).await, 3 * 211);
    let again = store
        .claim(copies, NOON.plus(Duration::from_secs(1)))
        .await
        .unwrap();
    assert_eq!(again, vec![CopyAnswer::Dropped; 3]);
    assert_eq!(world.number(row).await, 3 * 211);
}

#[tokio::test]
async fn a_copy_of_an_award_that_has_moved_on_is_dropped_in_every_state_but_two() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 1).await;
    for (state, reasons) in [
        ("delivering", "due_at = 0"),
        ("held", "due_at = 0, hold_reason = 'manual'"),
        ("delivered", "due_at = NULL, hold_reason = NULL"),
        ("dead", "due_at = NULL, dead_reason = 'refused'"),
        ("cancelled", "due_at = NULL, dead_reason = NULL"),
    ] {
        let set = format!("UPDATE delivery SET state = '{state}', {reasons}");
        world.change(&set, &[]).await;
        let answer = store.claim(copies.clone(), NOON).await.unwrap();
        assert_eq!(answer, [CopyAnswer::Dropped], "{state}");
        assert_eq!(
            world.number("SELECT lease FROM delivery").await,
            1,
            "{state}"
        );
    }
    for due_at in [NOON.plus(Duration::from_secs(1)), NOON] {
        let set = "UPDATE delivery SET state = 'retryable', due_at = $1";
        world.change(set, &[&due_at.0]).await;
        let answer = store.claim(copies.clone(), NOON).await.unwrap();
        assert_eq!(claimed(&answer[0]).is_some(), due_at <= NOON);
    }
}

/// The second one names the copies in the other order: locks taken in the order of
/// the copies would close a circle.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_claims_of_one_copy_at_once_one_is_claimed() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let (one, two) = (world.store().await, world.store().await);
    let copies = world.win(&one, 500).await;
    for forth in copies.chunks(25) {
        let back: Vec<Copy> = forth.iter().rev().cloned().collect();
        let (left, right) = tokio::join!(
            is_send(one.claim(forth.to_vec(), NOON)),
            is_send(two.claim(back, NOON))
        );
        let (left, mut right) = (left.unwrap(), right.unwrap());
        right.reverse();
        for (left, right) in left.iter().zip(&right) {
            assert_ne!(
                claimed(left).is_some(),
                claimed(right).is_some(),
                "{left:?} {right:?}"
            );
            assert!([left, right].contains(&&CopyAnswer::Dropped));
        }
    }
    assert_eq!(
        world.number("SELECT sum(attempts) FROM delivery").await,
        500
    );
}

#[tokio::test]
async fn of_two_copies_of_one_award_in_a_batch_the_second_is_dropped() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 1).await;
    let answers = store
        .claim(vec![copies[0].clone(), copies[0].clone()], NOON)
        .await
        .unwrap();
    assert!(claimed(&answers[0]).is_some());
    assert_eq!(answers[1], CopyAnswer::Dropped);
}

/// The relay marks a row while a worker already has its copy: the mark moves
/// nothing, so the copy must not be passed over. Fails with SKIP LOCKED.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_row_is_being_marked_is_claimed_after_the_mark() {
    let Some(mut world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 2).await;
    let admin = crate::server::connect(&world.config).await;
    let marking = std::mem::replace(&mut world.admin, admin);
    let mark = "BEGIN; UPDATE delivery SET mq_state = 1, due_at = due_at + 1";
    marking.batch_execute(mark).await.unwrap();
    let (answers, ()) = tokio::join!(store.claim(copies, NOON), async {
        world.until_waiting(1).await;
        marking.batch_execute("COMMIT").await.unwrap();
    });
    assert!(answers.unwrap().iter().all(|it| claimed(it).is_some()));
}

#[tokio::test]
async fn what_is_paused_is_held_and_the_rest_is_claimed() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 4).await;
    let held = CopyAnswer::Held {
        kind: Kind::Webhook,
        reason: HoldReason::Paused,
    };
    for (copy, (pause, is_held)) in copies.into_iter().zip([
        ("'fair', 'coupon', 'coupons'", true),
        ("'', '', 'coupons'", true),
        ("'fair', 'other', ''", false),
        ("'other', '', ''", false),
    ]) {
        world
            .change(&format!("INSERT INTO pause VALUES ({pause}, 0)"), &[])
            .await;
        let answer = store.claim(vec![copy], NOON).await.unwrap();
        assert_eq!(answer[0] == held, is_held, "{pause}");
        assert_eq!(claimed(&answer[0]).is_some(), !is_held, "{pause}");
        world.change("DELETE FROM pause", &[]).await;
    }
    let rows = "SELECT count(*) FILTER (WHERE state = 'held' AND hold_reason = 'paused') * 100
                  + count(*) FILTER (WHERE state = 'delivering') * 10 + sum(attempts)
                FROM delivery";
    assert_eq!(world.number(rows).await, 222);
}

/// Else the hold would be written after the resume has looked for it, and wait for
/// its review date.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_meets_a_resume_waits_for_it_and_is_not_held() {
    let Some(mut world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let copies = world.win(&store, 1).await;
    world
        .change("INSERT INTO pause VALUES ('fair', '', '', 0)", &[])
        .await;
    let admin = crate::server::connect(&world.config).await;
    let resuming = std::mem::replace(&mut world.admin, admin);
    resuming
        .batch_execute("BEGIN; DELETE FROM pause")
        .await
        .unwrap();
    let (answers, ()) = tokio::join!(store.claim(copies, NOON), async {
        world.until_waiting(1).await;
        resuming.batch_execute("COMMIT").await.unwrap();
    });
    assert!(claimed(&answers.unwrap()[0]).is_some());
}

#[tokio::test]
async fn a_copy_of_no_award_or_with_another_message_id_is_not_ours() {
    let Some(world) = World::open(COUPONS).await else {
        return;
    };
    let store = world.store().await;
    let ours = world.win(&store, 1).await.remove(0);
    let nobodys = Copy {
        award: AwardId(999_999),
        ..ours.clone()
    };
    let foreign = Copy {
        message_id: "1-aaaaaaaaaaaa".to_owned(),
        ..ours
    };
    let answers = store.claim(vec![nobodys, foreign], NOON).await.unwrap();
    let expected = [KeptReason::NoAward, KeptReason::OtherMessageId].map(CopyAnswer::NotOurs);
    assert_eq!(answers, expected);
    assert_eq!(world.number("SELECT lease FROM delivery").await, 1);
}
