//! Confirming: a person, or the service that delivers, says that it is there.

use super::holds::{is_refused, ship, to_ship};
use super::rescue_held::address;
use super::world::{BLUNT, EXTERNAL, KEEN, PHYSICAL, TEXT, Won, World, secs};
use tombola_core::award::State;
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, CopyAnswer};

fn confirm() -> Action {
    Action::Confirm {
        receipt: Some("r-1".to_owned()),
    }
}

async fn is_confirmed(w: &World, won: &Won) {
    let before = w.row(won).await;
    let row = w.done(won, confirm()).await;
    assert_eq!(
        (row.state, row.due_at),
        (State::Delivered, None),
        "{before:?}"
    );
    assert!(row.lease > before.lease);
    assert_eq!(w.deliver(won).await, CopyAnswer::Dropped);
    is_refused(w, won, confirm()).await;
}

pub(super) async fn what_is_to_be_shipped_may_be_confirmed(w: &World) {
    let (shipped, handed_over) = (to_ship(w, "").await, to_ship(w, "").await);
    w.done(&shipped, ship()).await;
    is_confirmed(w, &shipped).await;
    is_confirmed(w, &handed_over).await;
}

pub(super) async fn a_dead_letter_in_doubt_may_be_confirmed(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Unknown).await;
    is_confirmed(w, &won).await;
}

pub(super) async fn a_dead_letter_without_a_doubt_may_not(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Refuse).await;
    is_refused(w, &won, confirm()).await;
}

pub(super) async fn an_external_award_may_be_confirmed_before_our_worker_saw_it(w: &World) {
    let won = w.win(EXTERNAL).await;
    assert_eq!(w.row(&won).await.state, State::Pending);
    is_confirmed(w, &won).await;
}

pub(super) async fn an_external_award_may_be_confirmed_while_it_waits_for_its_turn(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.defer(&won, w.after(secs(60))).await;
    assert_eq!(w.row(&won).await.state, State::Retryable);
    is_confirmed(w, &won).await;
}

pub(super) async fn an_external_award_may_be_confirmed_in_any_hold(w: &World) {
    let (external, by_hand) = (w.win(EXTERNAL).await, w.win(EXTERNAL).await);
    w.deliver(&external).await;
    w.done(&by_hand, Action::Hold).await;
    is_confirmed(w, &external).await;
    is_confirmed(w, &by_hand).await;
}

pub(super) async fn an_external_award_may_be_confirmed_after_its_time(w: &World) {
    let won = w
        .win("kind = \"external\"\nconfirm_within = \"1h\"\n")
        .await;
    w.deliver(&won).await;
    w.advance(secs(3600));
    w.rescue(&won).await;
    assert_eq!(w.row(&won).await.state, State::Dead);
    is_confirmed(w, &won).await;
}

pub(super) async fn other_kinds_may_not_be_confirmed_on_their_way(w: &World) {
    let (waits, held, retried) = (w.win(TEXT).await, w.win(KEEN).await, w.win(KEEN).await);
    w.done(&held, Action::Hold).await;
    let claim = w.claim(&retried).await;
    w.decide(&claim, Decision::Unknown).await;
    let physical = w.win(PHYSICAL).await;
    w.deliver(&physical).await;
    for won in [&waits, &held, &retried, &physical] {
        is_refused(w, won, confirm()).await;
    }
    w.done(&physical, address()).await;
    is_refused(w, &physical, confirm()).await;
}

pub(super) async fn what_is_cancelled_may_not_be_confirmed(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.done(
        &won,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    is_refused(w, &won, confirm()).await;
}
