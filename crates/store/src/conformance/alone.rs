//! Start-up under the lock of the data directory: no other holder lives, so what
//! is on its way is due now, and what has a promised date keeps it.

use super::world::{BLUNT, EXTERNAL, KEEN, PHYSICAL, TEXT, World, days, ok};
use tombola_core::award::State;
use tombola_core::decision::Decision;
use tombola_core::ports::Action;
use tombola_core::reason::DeadReason;

pub(super) async fn what_was_on_its_way_is_due_at_once(w: &World) {
    let (waits, in_hand) = (w.win(TEXT).await, w.win(KEEN).await);
    w.claim(&in_hand).await;
    let leases = (w.row(&waits).await.lease, w.row(&in_hand).await.lease);
    assert_eq!(ok(w.store().begin_alone(w.now()).await), 2);
    for (won, state) in [(&waits, State::Pending), (&in_hand, State::Delivering)] {
        let row = w.row(won).await;
        assert_eq!((row.state, row.due_at), (state, Some(w.now())));
    }
    assert_eq!(
        (w.row(&waits).await.lease, w.row(&in_hand).await.lease),
        leases
    );
    assert_eq!(w.rescue(&waits).await.handoffs.len(), 1);
    assert_eq!(w.rescue(&in_hand).await.handoffs.len(), 1);
}

pub(super) async fn a_call_that_was_cut_off_is_judged_as_a_lost_worker(w: &World) {
    let (keen, blunt) = (w.win(KEEN).await, w.win(BLUNT).await);
    w.claim(&keen).await;
    w.claim(&blunt).await;
    ok(w.store().begin_alone(w.now()).await);
    w.rescue(&keen).await;
    w.rescue(&blunt).await;
    let (keen, blunt) = (w.row(&keen).await, w.row(&blunt).await);
    assert_eq!((keen.state, keen.in_doubt), (State::Pending, true));
    assert_eq!(
        (blunt.state, blunt.dead_reason),
        (State::Dead, Some(DeadReason::UnknownOutcome))
    );
}

pub(super) async fn the_date_of_a_retry_is_a_promise(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    let before = w.row(&won).await;
    assert_eq!(ok(w.store().begin_alone(w.now()).await), 0);
    assert_eq!(w.row(&won).await, before);
}

pub(super) async fn start_up_never_ends_a_hold_early(w: &World) {
    let at = w.after(days(3));
    let all = [
        w.win(&format!("{TEXT}release = \"{at}\"\n")).await,
        w.win(&format!("{TEXT}release = \"manual\"\n")).await,
        w.win(PHYSICAL).await,
        w.win(EXTERNAL).await,
    ];
    w.deliver(&all[2]).await;
    w.deliver(&all[3]).await;
    for won in &all {
        let before = w.row(won).await;
        assert_eq!(ok(w.store().begin_alone(w.now()).await), 0, "{before:?}");
        assert_eq!(w.row(won).await, before);
    }
}

pub(super) async fn start_up_leaves_what_is_over(w: &World) {
    let (delivered, cancelled) = (w.win(TEXT).await, w.win(TEXT).await);
    w.deliver(&delivered).await;
    w.done(
        &cancelled,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    assert_eq!(ok(w.store().begin_alone(w.now()).await), 0);
    assert_eq!(w.row(&delivered).await.due_at, None);
    assert_eq!(w.row(&cancelled).await.due_at, None);
}
