//! Aim: what the suite of the ports cannot see: what an act leaves in the database
//! beside the row, and that what is refused leaves nothing.

use crate::read::fixture::{FAIR, Fixture, GIFT, HELLO, HOOK, NOW, PHONE, actor};
use std::time::Duration;
use tombola_core::award::{Refusal, State};
use tombola_core::campaign::Transition;
use tombola_core::limits::LEASE_TIME;
use tombola_core::ports::{
    Acted, Action, Actor, Address, Catalog as _, CopyAnswer, Operate as _, PauseScope, StoreError,
};
use tombola_core::reason::HoldReason;

fn address() -> Action {
    Action::Address(Address {
        name: "Ann Example".to_owned(),
        lines: vec!["1 Secret Street".to_owned()],
        postal_code: None,
        city: "Lyon".to_owned(),
        region: None,
        country: "FR".to_owned(),
        phone: None,
    })
}

#[tokio::test]
async fn award_in_a_workers_hand_is_refused_with_the_end_of_its_lease() {
    let it = Fixture::fair().await;
    let award = it.win("ann", HOOK).await;
    it.claim(award).await;
    let lines = it.number("SELECT count(*) FROM operator_log");
    let refused = Acted::Refused(Refusal::Delivering {
        lease_ends: NOW.plus(LEASE_TIME),
    });
    for action in [
        Action::Hold,
        Action::Confirm { receipt: None },
        Action::Cancel { return_stock: true },
    ] {
        assert_eq!(it.act(award, action).await, refused);
    }
    assert_eq!(it.number("SELECT count(*) FROM operator_log"), lines);
    assert_eq!(it.text("SELECT state FROM delivery"), "delivering");
}

#[tokio::test]
async fn cancel_gives_the_unit_back_once_and_says_so() {
    let it = Fixture::fair().await;
    let award = it.win("ann", PHONE).await;
    assert_eq!(it.number("SELECT spent FROM prize_count WHERE prize_id = (SELECT id FROM prize WHERE slug = 'phone')"), 1);
    let cancel = || {
        it.act(
            award,
            Action::Cancel {
                return_stock: false,
            },
        )
    };
    assert!(matches!(cancel().await, Acted::Done(row) if row.state == State::Cancelled));
    assert!(matches!(
        cancel().await,
        Acted::Refused(Refusal::WrongState {
            state: State::Cancelled
        })
    ));
    assert_eq!(it.number("SELECT spent FROM prize_count WHERE prize_id = (SELECT id FROM prize WHERE slug = 'phone')"), 0);
    assert_eq!(
        it.number("SELECT sum(units) FROM operator_log WHERE award_id IS NOT NULL"),
        1
    );
    assert!(
        it.store
            .audit(crate::read::AuditDepth::Full)
            .await
            .unwrap()
            .ok
    );
}

#[tokio::test]
async fn cancel_voids_the_code_that_was_bound() {
    let it = Fixture::fair().await;
    let award = it.win("ann", GIFT).await;
    let bind = format!("UPDATE code SET award_id = {award} WHERE id = (SELECT min(id) FROM code)");
    it.shell().execute_batch(&bind).unwrap();
    it.act(award, Action::Cancel { return_stock: true }).await;
    assert_eq!(
        it.number(&format!(
            "SELECT voided_at FROM code WHERE award_id = {award}"
        )),
        NOW.0
    );
}

#[tokio::test]
async fn address_is_kept_apart_and_stands_in_no_log() {
    let it = Fixture::fair().await;
    let award = it.win("ann", PHONE).await;
    assert!(matches!(
        it.deliver(award).await,
        CopyAnswer::Held {
            reason: HoldReason::Address,
            ..
        }
    ));
    assert!(
        matches!(it.act(award, address()).await, Acted::Done(row) if row.state == State::Pending)
    );
    assert!(
        matches!(it.act(award, address()).await, Acted::Done(row) if row.state == State::Pending)
    );
    assert_eq!(it.number("SELECT count(*) FROM address"), 1);
    let told =
        "SELECT count(*) FROM attempt WHERE detail LIKE '%Secret%' OR detail LIKE '%Example%'";
    assert_eq!(it.number(told), 0);
    assert_eq!(
        it.number("SELECT count(*) FROM operator_log WHERE subject LIKE '%Secret%'"),
        0
    );
}

#[tokio::test]
async fn shipment_and_confirmation_leave_carrier_receipt_and_name() {
    let it = Fixture::fair().await;
    let award = it.win("ann", PHONE).await;
    it.act(award, address()).await;
    it.deliver(award).await;
    let ship = |tracking: &str| Action::Ship {
        carrier: "SF".to_owned(),
        tracking: tracking.to_owned(),
    };
    it.act(award, ship("SF-1")).await;
    it.act(award, ship("SF-2")).await;
    assert_eq!(
        it.text("SELECT carrier || ' ' || tracking FROM shipment"),
        "SF SF-2"
    );
    it.act(
        award,
        Action::Confirm {
            receipt: Some("signed".to_owned()),
        },
    )
    .await;
    assert_eq!(
        it.text("SELECT detail FROM attempt WHERE decision = 'confirm'"),
        "signed"
    );
    assert_eq!(
        it.text("SELECT actor FROM operator_log WHERE action = 'award confirm'"),
        "ada"
    );
    assert_eq!(it.text("SELECT state FROM delivery"), "delivered");
}

#[tokio::test]
async fn as_many_holds_end_as_there_are_codes_for() {
    let it = Fixture::fair().await;
    it.go("fair", Transition::Pause).await;
    it.put(&FAIR.replace("stock = 3\nweight", "weight")).await;
    it.start("fair").await;
    let mut waiting = Vec::new();
    for user in ["ann", "bob", "cid", "dan", "eve", "fay"] {
        let award = it.win(user, GIFT).await;
        if matches!(it.deliver(award).await, CopyAnswer::Held { .. }) {
            waiting.push(award);
        }
    }
    assert_eq!(waiting.len(), 3);
    it.import("fair", "gift", &["NEW-1", "NEW-2"]).await;
    let end = || it.store.end_holds(HoldReason::NoCode, NOW);
    assert_eq!(
        (end().await.unwrap(), end().await.unwrap()),
        (2, 0),
        "two codes, and both are spoken for"
    );
    for award in &waiting[..2] {
        assert!(matches!(
            it.deliver(*award).await,
            CopyAnswer::Delivered { .. }
        ));
    }
    assert_eq!(end().await.unwrap(), 0);
    it.import("fair", "gift", &["NEW-3"]).await;
    assert_eq!(end().await.unwrap(), 1);
}

#[tokio::test]
async fn hold_that_stands_again_is_not_ended_by_what_was_found_before() {
    let it = Fixture::fair().await;
    let award = it.win("ann", HELLO).await;
    let all = PauseScope::default();
    it.store.pause(all.clone(), actor(), NOW).await.unwrap();
    it.deliver(award).await;
    it.store.resume(all.clone(), actor(), NOW).await.unwrap();
    let found = super::end_holds::find(&it.shell(), HoldReason::Paused).unwrap();
    assert_eq!(found, [award]);
    it.store.pause(all, actor(), NOW).await.unwrap();
    let shared = it.store.shared();
    let ended = it
        .store
        .write(crate::store::Priority::Other, 1, move |conn| {
            super::end_holds::end(conn, &shared, &found, HoldReason::Paused, NOW)
        })
        .await;
    assert_eq!(ended.unwrap(), 0);
    assert_eq!(it.text("SELECT state FROM delivery"), "held");
}

#[tokio::test]
async fn pause_of_a_prize_names_its_campaign() {
    let it = Fixture::new();
    let scope = PauseScope {
        prize: Some("phone".to_owned()),
        ..PauseScope::default()
    };
    assert!(matches!(
        it.store.pause(scope, actor(), NOW).await,
        Err(StoreError::Row(_))
    ));
    let scope = PauseScope {
        campaign: Some("fair".to_owned()),
        prize: Some("phone".to_owned()),
        endpoint: Some("keen".to_owned()),
    };
    it.store
        .pause(
            scope,
            Actor {
                name: "bob".to_owned(),
                reason: None,
                request: None,
            },
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(
        it.text("SELECT actor || ': ' || subject FROM operator_log"),
        "bob: fair/phone, endpoint keen"
    );
}

#[tokio::test]
async fn scheduled_award_is_released_by_a_person_too() {
    let at = NOW.plus(Duration::from_hours(72));
    let it = Fixture::new();
    it.store
        .put_endpoint(
            crate::read::fixture::endpoint("keen"),
            "whsec_a".to_owned(),
            actor(),
            NOW,
        )
        .await
        .unwrap();
    it.put(&FAIR.replace(
        "text = \"hello, winner\"",
        &format!("text = \"hello\"\nrelease = \"{at}\""),
    ))
    .await;
    it.import("fair", "gift", &["A", "B", "C"]).await;
    it.start("fair").await;
    let award = it.win("ann", HELLO).await;
    assert!(
        matches!(it.act(award, Action::Release).await, Acted::Done(row) if row.state == State::Pending)
    );
    assert!(matches!(
        it.act(award, Action::Release).await,
        Acted::Refused(Refusal::WrongState { .. })
    ));
}
