//! Holds that a person or an event begins and ends.

use super::rescue_held::address;
use super::world::{BLUNT, EXTERNAL, KEEN, PHYSICAL, TEXT, Won, World, actor, days, ok, secs};
use tombola_core::award::{Refusal, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::ports::{Acted, Action, CopyAnswer};
use tombola_core::reason::HoldReason;

/// A person asks for something that the state does not allow.
pub(super) async fn is_refused(w: &World, won: &Won, action: Action) {
    let before = w.row(won).await;
    let acted = w.act(won, action.clone()).await;
    let refusal = Refusal::WrongState {
        state: before.state,
    };
    assert_eq!(acted, Acted::Refused(refusal), "{action:?} of {before:?}");
    assert_eq!(w.row(won).await, before);
}

pub(super) async fn a_person_holds_what_is_on_its_way(w: &World) {
    let (waits, retried) = (w.win(TEXT).await, w.win(KEEN).await);
    let claim = w.claim(&retried).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    for won in [&waits, &retried] {
        let before = w.row(won).await;
        let row = w.done(won, Action::Hold).await;
        assert_eq!(
            (row.state, row.hold_reason),
            (State::Held, Some(HoldReason::Manual))
        );
        assert_eq!(
            (row.due_at, row.held_at),
            (Some(w.after(w.schedule().hold_review)), Some(w.now()))
        );
        assert_eq!(
            (row.lease, row.attempts),
            (before.lease + 1, before.attempts)
        );
    }
}

pub(super) async fn what_is_held_or_over_cannot_be_held(w: &World) {
    let (held, delivered, dead) = (w.win(TEXT).await, w.win(TEXT).await, w.win(BLUNT).await);
    w.done(&held, Action::Hold).await;
    w.deliver(&delivered).await;
    let claim = w.claim(&dead).await;
    w.decide(&claim, Decision::Refuse).await;
    for won in [&held, &delivered, &dead] {
        is_refused(w, won, Action::Hold).await;
    }
}

/// It is back on its way, due now.
pub(super) async fn is_back(w: &World, won: &Won) {
    let row = w.row(won).await;
    assert_eq!((row.state, row.due_at), (State::Pending, Some(w.now())));
    assert_eq!(
        (row.hold_reason, row.held_at, row.position),
        (None, None, None)
    );
}

pub(super) async fn a_release_ends_a_hold_by_hand(w: &World) {
    let (held, declared) = (
        w.win(TEXT).await,
        w.win(&format!("{TEXT}release = \"manual\"\n")).await,
    );
    w.taken(&held, 3).await;
    w.done(&held, Action::Hold).await;
    w.advance(secs(1));
    for won in [&held, &declared] {
        let before = w.row(won).await;
        w.done(won, Action::Release).await;
        is_back(w, won).await;
        assert!(w.row(won).await.lease > before.lease);
        assert!(matches!(w.deliver(won).await, CopyAnswer::Delivered { .. }));
    }
}

pub(super) async fn a_release_ends_a_wait_for_a_date(w: &World) {
    let at = w.after(days(3));
    let won = w.win(&format!("{TEXT}release = \"{at}\"\n")).await;
    w.done(&won, Action::Release).await;
    is_back(w, &won).await;
}

pub(super) async fn a_release_ends_no_other_hold(w: &World) {
    let (physical, external, waits) = (
        w.win(PHYSICAL).await,
        w.win(EXTERNAL).await,
        w.win(TEXT).await,
    );
    w.deliver(&physical).await;
    w.deliver(&external).await;
    for won in [&physical, &external, &waits] {
        is_refused(w, won, Action::Release).await;
    }
    w.done(&physical, address()).await;
    w.deliver(&physical).await;
    is_refused(w, &physical, Action::Release).await;
}

pub(super) async fn an_address_leads_to_the_shipment(w: &World) {
    let won = w.win(PHYSICAL).await;
    w.deliver(&won).await;
    w.advance(secs(1));
    w.done(&won, address()).await;
    is_back(w, &won).await;
    let reason = HoldReason::Shipment;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Held {
            kind: Kind::Physical,
            reason
        }
    );
    let row = w.row(&won).await;
    assert_eq!(
        (row.hold_reason, row.due_at),
        (Some(reason), Some(w.after(days(30))))
    );
    assert!(!row.in_doubt, "nothing was shipped yet");
}

pub(super) async fn an_address_given_before_it_is_asked_for_moves_nothing(w: &World) {
    let won = w.win(PHYSICAL).await;
    let before = w.row(&won).await;
    assert_eq!(w.done(&won, address()).await, before);
    let reason = HoldReason::Shipment;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Held {
            kind: Kind::Physical,
            reason
        }
    );
}

pub(super) async fn an_address_given_during_another_hold_moves_nothing(w: &World) {
    let won = w.win(&format!("{PHYSICAL}release = \"manual\"\n")).await;
    let before = w.row(&won).await;
    assert_eq!(w.done(&won, address()).await, before);
    w.done(&won, Action::Release).await;
    let reason = HoldReason::Shipment;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Held {
            kind: Kind::Physical,
            reason
        }
    );
    let before = w.row(&won).await;
    assert_eq!(
        w.done(&won, address()).await,
        before,
        "mended before it is shipped"
    );
}

pub(super) async fn an_address_for_what_is_over_is_refused(w: &World) {
    let won = w.win(PHYSICAL).await;
    w.done(
        &won,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    is_refused(w, &won, address()).await;
}

pub(super) async fn only_a_physical_award_has_an_address_and_a_shipment(w: &World) {
    let won = w.win(TEXT).await;
    assert_eq!(w.act(&won, address()).await, Acted::NotFound);
    assert_eq!(w.act(&won, ship()).await, Acted::NotFound);
}

pub(super) fn ship() -> Action {
    Action::Ship {
        carrier: "SF".to_owned(),
        tracking: "SF-1".to_owned(),
    }
}

/// A physical award that waits for its shipment.
pub(super) async fn to_ship(w: &World, lines: &str) -> Won {
    let won = w.win(&format!("{PHYSICAL}{lines}")).await;
    w.done(&won, address()).await;
    w.deliver(&won).await;
    won
}

pub(super) async fn a_shipment_is_a_doubt_and_waits_for_its_confirmation(w: &World) {
    let won = to_ship(w, "").await;
    w.advance(secs(1));
    let row = w.done(&won, ship()).await;
    assert_eq!(
        (row.state, row.hold_reason),
        (State::Held, Some(HoldReason::Shipment))
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
    assert!(row.in_doubt, "it may arrive");
}

pub(super) async fn nothing_is_shipped_before_its_address_is_known(w: &World) {
    let won = w.win(PHYSICAL).await;
    is_refused(w, &won, ship()).await;
    w.deliver(&won).await;
    is_refused(w, &won, ship()).await;
}

pub(super) async fn an_endpoint_that_is_enabled_ends_its_holds(w: &World) {
    let campaign = w.campaign_of(KEEN).await;
    let won = w.win_from(&campaign, 2).await;
    let lane = w.row(&won[0]).await.lane;
    for won in &won {
        let claim = w.claim(won).await;
        ok(w.store()
            .enable_endpoint(lane, false, actor(), w.now())
            .await);
        w.decide(&claim, Decision::Hold(HoldReason::EndpointDisabled))
            .await;
        ok(w.store()
            .enable_endpoint(lane, true, actor(), w.now())
            .await);
    }
    ok(w.store()
        .enable_endpoint(lane, false, actor(), w.now())
        .await);
    let end = || w.store().end_holds(HoldReason::EndpointDisabled, w.now());
    assert_eq!(ok(end().await), 0, "it is disabled");
    ok(w.store()
        .enable_endpoint(lane, true, actor(), w.now())
        .await);
    assert_eq!(ok(end().await), 2);
    assert_eq!(ok(end().await), 0);
    for won in &won {
        is_back(w, won).await;
    }
}

pub(super) async fn only_holds_whose_reason_has_ended_are_ended(w: &World) {
    let (held, physical) = (w.win(TEXT).await, w.win(PHYSICAL).await);
    w.done(&held, Action::Hold).await;
    w.deliver(&physical).await;
    for reason in HoldReason::ALL {
        assert_eq!(
            ok(w.store().end_holds(*reason, w.now()).await),
            0,
            "{reason}"
        );
    }
    assert_eq!(w.row(&held).await.state, State::Held);
    assert_eq!(w.row(&physical).await.state, State::Held);
}
