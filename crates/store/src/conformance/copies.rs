//! What a worker's copy makes of its row. A message is only a hint: any copy
//! serves, and the row decides.

use super::world::{BLUNT, EXTERNAL, KEEN, PHYSICAL, TEXT, Won, World, days, ok, secs};
use tombola_core::AwardId;
use tombola_core::award::{MqState, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, Copy, CopyAnswer, Deferral};
use tombola_core::reason::KeptReason;

pub(super) async fn a_claim_counts_its_attempt_and_holds_for_the_lease_time(w: &World) {
    let won = w.win(KEEN).await;
    let copy = w.copy(&won);
    let answers = ok(w.store().claim(vec![copy.clone()], w.now()).await);
    let CopyAnswer::Claimed(claim) = &answers[0] else {
        panic!("not claimed: {answers:?}")
    };
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.attempts, row.lease),
        (State::Delivering, 1, 2)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().lease_time)));
    assert_eq!(
        (row.mq_state, row.position),
        (MqState::Sent, Some(copy.position))
    );
    assert_eq!(
        (claim.award, claim.lease, claim.lane),
        (won.award, row.lease, row.lane)
    );
    assert_eq!((claim.attempts, Some(claim.lease_ends)), (1, row.due_at));
    assert_eq!(claim.delivery_key, won.delivery_key);
}

pub(super) async fn a_claim_begins_the_graces_anew(w: &World) {
    let won = w.win(KEEN).await;
    w.rescue_when_due(&won).await;
    assert_eq!(w.row(&won).await.publishes, 1);
    w.claim(&won).await;
    assert_eq!(w.row(&won).await.publishes, 0);
}

pub(super) async fn a_copy_needs_no_mark_before_it(w: &World) {
    let won = w.win(TEXT).await;
    assert!(matches!(
        w.deliver(&won).await,
        CopyAnswer::Delivered { .. }
    ));
    let row = w.row(&won).await;
    assert_eq!((row.state, row.mq_state), (State::Delivered, MqState::Sent));
}

/// Whoever has a copy, it is dropped and the row stays as it is.
async fn is_dropped(w: &World, won: &Won) {
    let before = w.row(won).await;
    assert_eq!(w.deliver(won).await, CopyAnswer::Dropped, "{before:?}");
    assert_eq!(w.try_claim(won).await, CopyAnswer::Dropped, "{before:?}");
    assert_eq!(
        w.defer(won, w.after(secs(1))).await,
        CopyAnswer::Dropped,
        "{before:?}"
    );
    assert_eq!(w.row(won).await, before);
}

pub(super) async fn a_copy_is_dropped_before_the_retry_is_due(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let due = w
        .decide(&claim, Decision::Retry { after: None })
        .await
        .due_at;
    is_dropped(w, &won).await;
    w.move_to(due.map_or(w.now(), |due| {
        due.minus(std::time::Duration::from_micros(1))
    }));
    is_dropped(w, &won).await;
}

pub(super) async fn a_copy_begins_the_next_attempt_when_the_retry_is_due(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    w.move_to_due(&won).await;
    let claim = w.claim(&won).await;
    assert_eq!(
        (claim.attempts, claim.delivery_key),
        (2, won.delivery_key.clone())
    );
}

pub(super) async fn a_copy_is_dropped_while_another_worker_has_the_award(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    is_dropped(w, &won).await;
    w.move_to(claim.lease_ends.plus(days(1)));
    is_dropped(w, &won).await;
}

pub(super) async fn a_copy_is_dropped_while_the_award_is_held(w: &World) {
    let held = w.win(TEXT).await;
    w.done(&held, Action::Hold).await;
    is_dropped(w, &held).await;
    let (physical, external) = (w.win(PHYSICAL).await, w.win(EXTERNAL).await);
    for won in [&physical, &external] {
        w.deliver(won).await;
        is_dropped(w, won).await;
    }
    w.advance(days(400));
    is_dropped(w, &held).await;
}

pub(super) async fn a_copy_of_what_is_over_is_dropped(w: &World) {
    let (delivered, dead, cancelled) = (w.win(TEXT).await, w.win(BLUNT).await, w.win(TEXT).await);
    w.deliver(&delivered).await;
    let claim = w.claim(&dead).await;
    w.decide(&claim, Decision::Refuse).await;
    w.done(
        &cancelled,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    for won in [&delivered, &dead, &cancelled] {
        is_dropped(w, won).await;
    }
}

pub(super) async fn an_outside_kind_is_named_and_left_alone(w: &World) {
    let won = w.win(BLUNT).await;
    let before = w.row(&won).await;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Outside { lane: before.lane }
    );
    assert_eq!(w.row(&won).await, before);
}

pub(super) async fn a_copy_without_a_permit_is_set_aside_and_no_attempt_is_counted(w: &World) {
    let won = w.win(KEEN).await;
    w.rescue_when_due(&won).await;
    let (before, until) = (w.row(&won).await, w.after(secs(90)));
    let copy = w.copy(&won);
    let deferral = Deferral {
        copy: copy.clone(),
        until,
    };
    let answers = ok(w.store().defer(vec![deferral], w.now()).await);
    assert_eq!(answers, [CopyAnswer::Deferred]);
    let row = w.row(&won).await;
    assert_eq!((row.state, row.due_at), (State::Retryable, Some(until)));
    assert_eq!((row.attempts, row.publishes), (0, 0));
    assert_eq!(
        (row.mq_state, row.position),
        (MqState::Sent, Some(copy.position))
    );
    assert!(row.lease > before.lease);
    is_dropped(w, &won).await;
    w.move_to(until);
    w.claim(&won).await;
}

pub(super) async fn a_lane_whose_turn_has_passed_takes_the_copy_at_once(w: &World) {
    let won = w.win(KEEN).await;
    let past = w.now();
    w.advance(secs(1));
    assert_eq!(w.defer(&won, past).await, CopyAnswer::Deferred);
    assert_eq!(w.row(&won).await.due_at, Some(w.now()));
}

pub(super) async fn a_copy_of_no_award_of_ours_changes_nothing(w: &World) {
    let won = w.win(KEEN).await;
    let before = w.row(&won).await;
    let ours = w.copy(&won);
    let unknown = Copy {
        award: AwardId(1 << 40),
        ..ours.clone()
    };
    let other = Copy {
        message_id: format!("{}-aaaaaaaaaaaa", won.award),
        ..ours
    };
    let expected = [
        CopyAnswer::NotOurs(KeptReason::NoAward),
        CopyAnswer::NotOurs(KeptReason::OtherMessageId),
    ];
    let copies = vec![unknown, other];
    assert_eq!(
        ok(w.store().deliver_local(copies.clone(), w.now()).await),
        expected
    );
    assert_eq!(ok(w.store().claim(copies.clone(), w.now()).await), expected);
    let until = w.after(secs(1));
    let deferrals = copies
        .into_iter()
        .map(|copy| Deferral { copy, until })
        .collect();
    assert_eq!(ok(w.store().defer(deferrals, w.now()).await), expected);
    assert_eq!(w.row(&won).await, before);
}

pub(super) async fn two_copies_in_one_batch_are_one_claim(w: &World) {
    let won = w.win(KEEN).await;
    let copies = vec![w.copy(&won), w.copy(&won)];
    let answers = ok(w.store().claim(copies, w.now()).await);
    assert!(matches!(answers[0], CopyAnswer::Claimed(_)), "{answers:?}");
    assert_eq!(answers[1], CopyAnswer::Dropped);
    assert_eq!(w.row(&won).await.attempts, 1);
}
