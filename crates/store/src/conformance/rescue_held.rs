//! Rescue and holds: a hold's date is when it is looked at again, and its reason
//! says what happens then.

use super::rescue::{is_left_alone, is_published_again};
use super::world::{
    BLUNT, CODE, EPOCH, EXTERNAL, KEEN, PHYSICAL, PRIZE, TEXT, Won, World, actor, days, ok,
    one_prize, secs,
};
use tombola_core::award::{Mark, Position, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, Address, PauseScope, Written};
use tombola_core::reason::{DeadReason, HoldReason};

pub(super) fn address() -> Action {
    Action::Address(Address {
        name: "Li Wei".to_owned(),
        lines: vec!["1 Long Lane".to_owned()],
        postal_code: None,
        city: "Shanghai".to_owned(),
        region: None,
        country: "CN".to_owned(),
        phone: None,
    })
}

pub(super) async fn an_award_with_a_date_is_published_on_that_date(w: &World) {
    let at = w.after(days(3));
    let won = w.win(&format!("{TEXT}release = \"{at}\"\n")).await;
    w.move_to(at.minus(secs(1)));
    is_left_alone(w, &won).await;
    w.move_to(at);
    is_published_again(w, &won, w.due(0)).await;
}

pub(super) async fn an_external_award_with_a_date_is_in_doubt_once_published(w: &World) {
    let at = w.after(days(3));
    let won = w.win(&format!("{EXTERNAL}release = \"{at}\"\n")).await;
    assert!(!w.row(&won).await.in_doubt);
    w.move_to(at);
    is_published_again(w, &won, w.due(0)).await;
    assert!(w.row(&won).await.in_doubt);
}

/// The hold stays, a person is told, and it is looked at again later.
async fn is_reviewed(w: &World, won: &Won, reason: HoldReason) {
    w.move_to_due(won).await;
    let before = w.row(won).await;
    let page = w.rescue(won).await;
    let row = w.row(won).await;
    assert_eq!((row.state, row.hold_reason), (State::Held, Some(reason)));
    assert_eq!(
        (row.held_at, row.publishes),
        (before.held_at, before.publishes)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
    assert!(
        row.lease > before.lease,
        "moving the date of a hold grows its lease"
    );
    assert!(page.alerts.contains(&(won.award, reason)), "{page:?}");
    assert!(
        page.handoffs.is_empty() && page.ended.is_empty(),
        "{page:?}"
    );
}

pub(super) async fn a_hold_by_hand_waits_for_a_person_however_long(w: &World) {
    let won = w.win(&format!("{TEXT}release = \"manual\"\n")).await;
    for _ in 0..3 {
        is_reviewed(w, &won, HoldReason::Manual).await;
    }
}

pub(super) async fn a_shipment_that_is_late_is_told_and_waits(w: &World) {
    let won = w.win(PHYSICAL).await;
    w.deliver(&won).await;
    w.done(&won, address()).await;
    w.deliver(&won).await;
    for _ in 0..2 {
        is_reviewed(w, &won, HoldReason::Shipment).await;
    }
}

pub(super) async fn a_pause_that_lasts_is_told_and_goes_on(w: &World) {
    let won = w.win(TEXT).await;
    ok(w.store()
        .pause(PauseScope::default(), actor(), w.now())
        .await);
    w.deliver(&won).await;
    is_reviewed(w, &won, HoldReason::Paused).await;
}

pub(super) async fn what_was_paused_is_published_on_its_date_once_resumed(w: &World) {
    let won = w.win(TEXT).await;
    ok(w.store()
        .pause(PauseScope::default(), actor(), w.now())
        .await);
    w.deliver(&won).await;
    assert!(ok(w
        .store()
        .resume(PauseScope::default(), actor(), w.now())
        .await));
    is_left_alone(w, &won).await;
    w.move_to_due(&won).await;
    is_published_again(w, &won, w.due(0)).await;
}

pub(super) async fn what_its_endpoint_held_is_published_on_its_date_once_enabled(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    ok(w.store()
        .enable_endpoint(claim.lane, false, actor(), w.now())
        .await);
    w.decide(&claim, Decision::Hold(HoldReason::EndpointDisabled))
        .await;
    is_reviewed(w, &won, HoldReason::EndpointDisabled).await;
    ok(w.store()
        .enable_endpoint(claim.lane, true, actor(), w.now())
        .await);
    w.move_to_due(&won).await;
    is_published_again(w, &won, w.due(claim.lane)).await;
}

pub(super) async fn what_had_no_code_is_published_on_its_date_once_codes_are_there(w: &World) {
    let slug = "coded";
    w.put(&one_prize(slug, CODE)).await;
    super::codes::import(w, slug, PRIZE, vec!["aaa-0".to_owned()]).await;
    w.start(slug, &one_prize(slug, CODE)).await;
    let won = w.win_from(slug, 2).await;
    w.deliver(&won[0]).await;
    w.deliver(&won[1]).await;
    is_reviewed(w, &won[1], HoldReason::NoCode).await;
    super::codes::import(w, slug, PRIZE, vec!["aaa-1".to_owned()]).await;
    w.move_to_due(&won[1]).await;
    is_published_again(w, &won[1], w.due(0)).await;
}

pub(super) async fn an_award_without_an_address_is_cancelled_when_its_time_is_over(w: &World) {
    let won = w.win(&format!("{PHYSICAL}stock = 3\n")).await;
    w.deliver(&won).await;
    w.move_to_due(&won).await;
    let page = w.rescue(&won).await;
    let row = w.row(&won).await;
    assert_eq!((row.state, row.due_at), (State::Cancelled, None));
    assert_eq!(page.ended, [(won.award, State::Cancelled)]);
    assert!(page.handoffs.is_empty());
    assert_eq!(
        w.stock_left(&won.campaign, PRIZE).await,
        2,
        "not declared, not returned"
    );
}

pub(super) async fn its_unit_goes_back_where_that_is_declared(w: &World) {
    let won = w
        .win(&format!("{PHYSICAL}stock = 3\nreturn_stock = true\n"))
        .await;
    w.deliver(&won).await;
    assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 2);
    w.rescue_when_due(&won).await;
    assert_eq!(w.stock_left(&won.campaign, PRIZE).await, 3);
}

pub(super) async fn an_external_award_is_published_again_until_it_is_confirmed(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.deliver(&won).await;
    for publishes in 1..=4 {
        w.move_to_due(&won).await;
        let before = w.row(&won).await;
        let page = w.rescue(&won).await;
        let row = w.row(&won).await;
        assert_eq!(
            (row.state, row.hold_reason),
            (State::Held, Some(HoldReason::External))
        );
        assert_eq!((row.publishes, row.held_at), (publishes, before.held_at));
        assert_eq!(row.due_at, Some(w.after(w.schedule().grace(publishes))));
        assert_eq!(
            (page.handoffs[0].award, page.handoffs[0].lease),
            (won.award, row.lease)
        );
        assert!(row.lease > before.lease);
        let taken = Mark::Taken(Position {
            epoch: EPOCH,
            partition: 0,
            offset: 9,
        });
        assert_eq!(w.mark(won.award, row.lease, taken).await, Written::Late);
    }
}

pub(super) async fn an_external_award_is_a_dead_letter_when_its_time_is_over(w: &World) {
    let won = w
        .win("kind = \"external\"\nconfirm_within = \"1h\"\n")
        .await;
    w.deliver(&won).await;
    let ends = w.after(secs(3600));
    while w.now() < ends {
        w.move_to_due(&won).await;
        assert!(w.now() <= ends, "its date is at most the end of its time");
        let page = w.rescue(&won).await;
        assert_eq!(page.handoffs.len(), usize::from(w.now() < ends));
    }
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.dead_reason),
        (State::Dead, Some(DeadReason::NotConfirmed))
    );
    assert!(row.in_doubt);
}

pub(super) async fn holds_are_looked_at_while_the_breaker_is_open(w: &World) {
    let won = w.win(KEEN).await;
    w.done(&won, Action::Hold).await;
    w.move_to_due(&won).await;
    let lane = w.row(&won).await.lane;
    let open = tombola_core::ports::DueQuery {
        is_breaker_open: true,
        ..w.due(lane)
    };
    let page = w.rescue_with(open).await;
    assert_eq!(page.alerts, [(won.award, HoldReason::Manual)]);
}
