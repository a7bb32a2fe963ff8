//! Local kinds: the claim, the effect and the end are one transaction, and each
//! effect happens once.

use super::codes::import;
use super::world::{CODE, EXTERNAL, PHYSICAL, POINTS, PRIZE, TEXT, World, ok, secs};
use tombola_core::award::{MqState, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::CopyAnswer;
use tombola_core::reason::HoldReason;

pub(super) async fn a_text_is_delivered_when_its_copy_comes(w: &World) {
    let won = w.win(TEXT).await;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Delivered { kind: Kind::Text }
    );
    let row = w.row(&won).await;
    assert_eq!((row.state, row.due_at), (State::Delivered, None));
    assert_eq!((row.attempts, row.mq_state), (1, MqState::Sent));
    assert!(row.lease > 1);
}

pub(super) async fn points_are_credited_once_whatever_comes_twice(w: &World) {
    let won = w.win(POINTS).await;
    let copies = vec![w.copy(&won), w.copy(&won)];
    let answers = ok(w.store().deliver_local(copies, w.now()).await);
    assert_eq!(
        answers,
        [
            CopyAnswer::Delivered { kind: Kind::Points },
            CopyAnswer::Dropped
        ]
    );
    assert_eq!(w.deliver(&won).await, CopyAnswer::Dropped);
    assert_eq!(w.bench().points_of(&won.user).await, 7);
}

pub(super) async fn each_award_is_given_a_code_of_its_own(w: &World) {
    let (campaign, codes) = (coded(w, 3).await, ["aaa-0", "aaa-1", "aaa-2"]);
    let won = w.win_from(&campaign, 3).await;
    let copies = won.iter().map(|won| w.copy(won)).collect();
    let answers = ok(w.store().deliver_local(copies, w.now()).await);
    assert_eq!(answers, vec![CopyAnswer::Delivered { kind: Kind::Code }; 3]);
    let mut given = Vec::new();
    for won in &won {
        assert_eq!(w.deliver(won).await, CopyAnswer::Dropped);
        given.extend(w.bench().code_of(won.award).await);
    }
    given.sort();
    assert_eq!(given, codes);
}

/// A started campaign of kind code with unlimited stock and so many codes.
pub(super) async fn coded(w: &World, count: usize) -> String {
    let slug = format!("codes-{}", w.fresh());
    w.put(&super::world::one_prize(&slug, CODE)).await;
    let codes = (0..count).map(|n| format!("aaa-{n}")).collect();
    import(w, &slug, PRIZE, codes).await;
    w.start(&slug, &super::world::one_prize(&slug, CODE)).await;
    slug
}

pub(super) async fn an_award_without_a_code_is_held_and_no_attempt_is_counted(w: &World) {
    let campaign = coded(w, 1).await;
    let won = w.win_from(&campaign, 2).await;
    w.deliver(&won[0]).await;
    w.advance(secs(1));
    let reason = HoldReason::NoCode;
    assert_eq!(
        w.deliver(&won[1]).await,
        CopyAnswer::Held {
            kind: Kind::Code,
            reason
        }
    );
    let row = w.row(&won[1]).await;
    assert_eq!(
        (row.state, row.hold_reason, row.attempts),
        (State::Held, Some(reason), 0)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
    assert_eq!(w.bench().code_of(won[1].award).await, None);
}

pub(super) async fn an_award_held_for_a_code_gets_it_once_codes_are_imported(w: &World) {
    let campaign = coded(w, 1).await;
    let won = w.win_from(&campaign, 2).await;
    w.deliver(&won[0]).await;
    w.deliver(&won[1]).await;
    assert_eq!(
        ok(w.store().end_holds(HoldReason::NoCode, w.now()).await),
        0
    );
    import(w, &campaign, PRIZE, vec!["bbb-0".to_owned()]).await;
    assert_eq!(
        ok(w.store().end_holds(HoldReason::NoCode, w.now()).await),
        1
    );
    let row = w.row(&won[1]).await;
    assert_eq!(
        (row.state, row.due_at, row.position),
        (State::Pending, Some(w.now()), None)
    );
    assert_eq!(
        w.deliver(&won[1]).await,
        CopyAnswer::Delivered { kind: Kind::Code }
    );
    assert_eq!(
        w.bench().code_of(won[1].award).await.as_deref(),
        Some("bbb-0")
    );
}

pub(super) async fn a_physical_award_is_held_for_an_address_as_long_as_declared(w: &World) {
    let won = w.win(PHYSICAL).await;
    let reason = HoldReason::Address;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Held {
            kind: Kind::Physical,
            reason
        }
    );
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.hold_reason, row.attempts),
        (State::Held, Some(reason), 0)
    );
    assert_eq!(
        (row.due_at, row.held_at),
        (Some(w.after(super::world::days(14))), Some(w.now()))
    );
}

pub(super) async fn an_external_award_is_held_until_its_service_confirms(w: &World) {
    let won = w.win(EXTERNAL).await;
    let reason = HoldReason::External;
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Held {
            kind: Kind::External,
            reason
        }
    );
    let row = w.row(&won).await;
    assert_eq!(
        (row.hold_reason, row.held_at, row.attempts),
        (Some(reason), Some(w.now()), 0)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().grace(0))));
    assert!(row.in_doubt);
}

pub(super) async fn a_batch_of_all_kinds_answers_each_copy_for_itself(w: &World) {
    let (text, physical) = (w.win(TEXT).await, w.win(PHYSICAL).await);
    let (points, outside) = (w.win(POINTS).await, w.win(super::world::KEEN).await);
    let copies = [&outside, &text, &physical, &points]
        .map(|won| w.copy(won))
        .to_vec();
    let answers = ok(w.store().deliver_local(copies, w.now()).await);
    let lane = w.row(&outside).await.lane;
    let held = CopyAnswer::Held {
        kind: Kind::Physical,
        reason: HoldReason::Address,
    };
    let delivered = |kind| CopyAnswer::Delivered { kind };
    let expected = [
        CopyAnswer::Outside { lane },
        delivered(Kind::Text),
        held,
        delivered(Kind::Points),
    ];
    assert_eq!(answers, expected);
}
