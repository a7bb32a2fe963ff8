//! Requeue and cancel, the stock that goes back, and what is over for good.

use super::holds::{is_refused, ship, to_ship};
use super::world::{BLUNT, EXTERNAL, KEEN, PRIZE, TEXT, Won, World, days, secs};
use tombola_core::award::{Mark, Refusal, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Acted, Action, CopyAnswer};

fn cancel(return_stock: bool) -> Action {
    Action::Cancel { return_stock }
}

fn requeue(w: &World, not_delivered: bool) -> Action {
    Action::Requeue {
        not_delivered,
        due_at: w.after(secs(30)),
    }
}

/// A dead letter of an endpoint; with a doubt if `decision` is an unknown.
async fn dead(w: &World, lines: &str, decision: Decision) -> Won {
    let won = w.win(lines).await;
    while !w.row(&won).await.state.is_final() {
        let claim = w.claim(&won).await;
        let row = w.decide(&claim, decision.clone()).await;
        if row.state == State::Retryable {
            w.move_to_due(&won).await;
        }
    }
    won
}

async fn is_requeued(w: &World, won: &Won, not_delivered: bool) {
    let before = w.row(won).await;
    let row = w.done(won, requeue(w, not_delivered)).await;
    assert_eq!(
        (row.state, row.due_at),
        (State::Pending, Some(w.after(secs(30))))
    );
    assert_eq!((row.attempts, row.publishes, row.position), (0, 0, None));
    assert_eq!((row.in_doubt, row.dead_reason), (before.in_doubt, None));
    assert_eq!(row.deferred_since, None);
    assert!(row.lease > before.lease);
}

pub(super) async fn a_dead_letter_is_put_back_with_all_its_attempts(w: &World) {
    let won = dead(w, BLUNT, Decision::Retry { after: None }).await;
    is_requeued(w, &won, false).await;
    assert_eq!(w.claim(&won).await.attempts, 1);
}

pub(super) async fn an_unpublishable_award_is_put_back_to_be_published(w: &World) {
    let won = w.win(TEXT).await;
    w.mark(won.award, 1, Mark::Refused).await;
    is_requeued(w, &won, false).await;
    assert_eq!(w.rescue_when_due(&won).await.handoffs.len(), 1);
}

pub(super) async fn a_dead_letter_in_doubt_asks_for_the_word(w: &World) {
    let won = dead(w, BLUNT, Decision::Unknown).await;
    let before = w.row(&won).await;
    let acted = w.act(&won, requeue(w, false)).await;
    assert_eq!(acted, Acted::Refused(Refusal::OutcomeUnknown));
    assert_eq!(w.row(&won).await, before);
    is_requeued(w, &won, true).await;
}

pub(super) async fn a_doubt_outlives_the_requeue(w: &World) {
    let won = dead(w, BLUNT, Decision::Unknown).await;
    is_requeued(w, &won, true).await;
    w.move_to_due(&won).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Refuse).await;
    assert!(row.in_doubt, "the first call may still have had its effect");
    assert_eq!(
        w.act(&won, requeue(w, false)).await,
        Acted::Refused(Refusal::OutcomeUnknown)
    );
}

pub(super) async fn at_an_idempotent_endpoint_the_word_is_not_needed(w: &World) {
    let won = dead(w, KEEN, Decision::Unknown).await;
    assert!(w.row(&won).await.in_doubt);
    is_requeued(w, &won, false).await;
}

pub(super) async fn an_external_award_asks_for_the_word(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.mark(won.award, 1, Mark::Refused).await;
    assert_eq!(
        w.act(&won, requeue(w, false)).await,
        Acted::Refused(Refusal::OutcomeUnknown)
    );
    is_requeued(w, &won, true).await;
}

pub(super) async fn only_dead_letters_are_put_back(w: &World) {
    let (waits, held, delivered) = (w.win(TEXT).await, w.win(TEXT).await, w.win(TEXT).await);
    w.done(&held, Action::Hold).await;
    w.deliver(&delivered).await;
    for won in [&waits, &held, &delivered] {
        is_refused(w, won, requeue(w, true)).await;
    }
}

pub(super) async fn a_dead_letter_is_put_back_once(w: &World) {
    let won = dead(w, KEEN, Decision::Refuse).await;
    is_requeued(w, &won, false).await;
    is_refused(w, &won, requeue(w, false)).await;
}

const STOCKED: &str = "stock = 5\nreturn_stock = true\n";

pub(super) async fn whatever_nobody_has_in_hand_may_be_cancelled(w: &World) {
    let retryable = w.win(KEEN).await;
    let claim = w.claim(&retryable).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    let held = w.win(TEXT).await;
    w.done(&held, Action::Hold).await;
    for won in [
        &w.win(TEXT).await,
        &retryable,
        &held,
        &dead(w, BLUNT, Decision::Refuse).await,
    ] {
        let before = w.row(won).await;
        let row = w.done(won, cancel(false)).await;
        assert_eq!(
            (row.state, row.due_at),
            (State::Cancelled, None),
            "{before:?}"
        );
        assert!(row.lease > before.lease);
    }
}

pub(super) async fn a_cancelled_award_gives_its_unit_back_where_declared(w: &World) {
    let (declared, not) = (
        w.win(&format!("{TEXT}{STOCKED}")).await,
        w.win(&format!("{TEXT}stock = 5\n")).await,
    );
    w.done(&declared, cancel(false)).await;
    w.done(&not, cancel(false)).await;
    assert_eq!(w.stock_left(&declared.campaign, PRIZE).await, 5);
    assert_eq!(w.stock_left(&not.campaign, PRIZE).await, 4);
}

pub(super) async fn a_unit_in_doubt_never_goes_back_by_itself(w: &World) {
    let doubted = dead(w, &format!("{BLUNT}{STOCKED}"), Decision::Unknown).await;
    let external = w.win(&format!("{EXTERNAL}{STOCKED}")).await;
    let shipped = to_ship(w, STOCKED).await;
    w.done(&shipped, ship()).await;
    for won in [&doubted, &external, &shipped] {
        w.done(won, cancel(false)).await;
        assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 4);
    }
}

pub(super) async fn a_unit_goes_back_by_an_explicit_entry(w: &World) {
    let doubted = dead(w, &format!("{BLUNT}{STOCKED}"), Decision::Unknown).await;
    let not_declared = w.win(&format!("{TEXT}stock = 5\n")).await;
    for won in [&doubted, &not_declared] {
        w.done(won, cancel(true)).await;
        assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 5);
    }
}

pub(super) async fn a_unit_goes_back_once(w: &World) {
    let won = w.win(&format!("{TEXT}{STOCKED}")).await;
    w.done(&won, cancel(true)).await;
    is_refused(w, &won, cancel(true)).await;
    assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 5);
}

pub(super) async fn a_delivered_unit_never_goes_back(w: &World) {
    let won = w.win(&format!("{TEXT}{STOCKED}")).await;
    w.deliver(&won).await;
    is_refused(w, &won, cancel(true)).await;
    assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 4);
}

pub(super) async fn a_unit_that_went_back_can_be_won_again(w: &World) {
    let won = w
        .win(&format!("{TEXT}stock = 1\nreturn_stock = true\n"))
        .await;
    w.done(&won, cancel(false)).await;
    let again = w.win_from(&won.campaign, 1).await.remove(0);
    assert!(matches!(
        w.deliver(&again).await,
        CopyAnswer::Delivered { .. }
    ));
}

pub(super) async fn during_a_call_every_person_is_told_when_it_ends(w: &World) {
    let won = w.win(&format!("{BLUNT}{STOCKED}")).await;
    let claim = w.claim(&won).await;
    let before = w.row(&won).await;
    let lease_ends = claim.lease_ends;
    let confirm = Action::Confirm { receipt: None };
    for action in [
        Action::Hold,
        confirm,
        cancel(false),
        cancel(true),
        requeue(w, true),
    ] {
        let acted = w.act(&won, action.clone()).await;
        assert_eq!(
            acted,
            Acted::Refused(Refusal::Delivering { lease_ends }),
            "{action:?}"
        );
        assert_eq!(w.row(&won).await, before);
    }
    assert!(matches!(
        w.act(&won, Action::Release).await,
        Acted::Refused(_)
    ));
    assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 4);
    w.move_to(lease_ends.plus(days(1)));
    assert!(
        matches!(w.act(&won, cancel(true)).await, Acted::Refused(_)),
        "until it is rescued"
    );
}

pub(super) async fn what_is_over_stays_as_it_is(w: &World) {
    let (delivered, cancelled) = (w.win(BLUNT).await, w.win(BLUNT).await);
    let claim = w.claim(&delivered).await;
    w.decide(&claim, Decision::Delivered { receipt: None })
        .await;
    w.done(&cancelled, cancel(false)).await;
    let confirm = Action::Confirm { receipt: None };
    for won in [&delivered, &cancelled] {
        let actions = [
            Action::Hold,
            Action::Release,
            confirm.clone(),
            cancel(true),
            requeue(w, true),
        ];
        for action in actions {
            is_refused(w, won, action).await;
        }
        let lease = w.row(won).await.lease;
        super::decide::is_late(w, won, lease).await;
        assert_eq!(w.try_claim(won).await, CopyAnswer::Dropped);
    }
}
