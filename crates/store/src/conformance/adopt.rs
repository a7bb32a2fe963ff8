//! What another system has drawn: an award of ours for each of its orders, once,
//! whatever comes twice, and nothing where something is counted.

use super::world::{Ask, KEEN, POINTS, PRIZE, TEXT, Won, World, actor, ok, one_prize, only};
use tombola_core::adoption::Adoption;
use tombola_core::award::State;
use tombola_core::campaign::Transition;
use tombola_core::ports::{AdoptAnswer, BulkAction, BulkFilter, BulkSpec, CopyAnswer, Operation};
use tombola_core::reason::{HoldReason, KeptReason};

/// Beyond what a float holds.
const ORDER: i64 = 1_662_799_798_929_063_936;

/// The award that came of it, with the message that is in hand.
fn adopted(adoption: &Adoption, answer: AdoptAnswer) -> Won {
    let AdoptAnswer::Adopted(Some(message)) = answer else {
        panic!("not adopted: {answer:?}")
    };
    assert_eq!(message.award, adoption.ticket.id.award());
    assert_eq!(message.user, *adoption.user);
    Won {
        award: message.award,
        campaign: message.campaign,
        user: message.user,
        message_id: message.message_id,
        delivery_key: String::new(),
        handoff: None,
    }
}

pub(super) async fn an_order_of_another_system_becomes_an_award(w: &World) {
    let campaign = w.campaign_of(POINTS).await;
    let order = w.order(&campaign, ORDER).await;
    let answer = only(w.adopt(vec![order.clone()]).await);
    let won = adopted(&order, answer);
    let row = w.row(&won).await;
    assert_eq!((row.state, row.lease), (State::Pending, 1));
    assert_eq!(row.due_at, Some(w.after(w.schedule().grace(0))));
    // The message in hand stands for its own.
    let answer = w.deliver(&won).await;
    assert!(matches!(answer, CopyAnswer::Delivered { .. }), "{answer:?}");
    assert_eq!(w.bench().points_of(&order.user).await, 7);
}

pub(super) async fn an_order_is_adopted_once_whatever_comes_twice(w: &World) {
    let campaign = w.campaign_of(POINTS).await;
    let other = w.campaign_of(TEXT).await;
    let (first, second) = (
        w.order(&campaign, ORDER).await,
        w.order(&campaign, ORDER).await,
    );
    let mut answers = w.adopt(vec![first.clone(), second]).await;
    assert_eq!(answers.remove(1), AdoptAnswer::Known);
    let won = adopted(&first, answers.remove(0));
    w.deliver(&won).await;
    for campaign in [&campaign, &other] {
        let again = w.order(campaign, ORDER).await;
        assert_eq!(w.adopt(vec![again]).await, [AdoptAnswer::Known]);
    }
    assert_eq!(w.bench().points_of(&first.user).await, 7);
}

pub(super) async fn orders_belong_to_their_source(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let first = w.order(&campaign, ORDER).await;
    let other = Adoption {
        source: "another".into(),
        ..w.order(&campaign, ORDER).await
    };
    let answers = w.adopt(vec![first.clone(), other.clone()]).await;
    for (order, answer) in [first, other].iter().zip(answers) {
        adopted(order, answer);
    }
}

pub(super) async fn an_adopted_award_waits_where_its_prize_says_so(w: &World) {
    let campaign = w
        .campaign_of(&format!("{TEXT}release = \"manual\"\n"))
        .await;
    let order = w.order(&campaign, ORDER).await;
    let award = order.ticket.id.award();
    assert_eq!(w.adopt(vec![order]).await, [AdoptAnswer::Adopted(None)]);
    let row = w.row_of(award).await;
    let held = (State::Held, Some(HoldReason::Manual));
    assert_eq!((row.state, row.hold_reason), held);
}

pub(super) async fn an_adopted_award_of_an_endpoint_is_in_its_lane(w: &World) {
    let campaign = w.campaign_of(KEEN).await;
    let order = w.order(&campaign, ORDER).await;
    let answer = only(w.adopt(vec![order.clone()]).await);
    let won = adopted(&order, answer);
    let lane = w.row(&won).await.lane;
    assert_eq!(w.deliver(&won).await, CopyAnswer::Outside { lane });
    assert_eq!(w.claim(&won).await.lane, lane);
}

pub(super) async fn what_is_adopted_is_counted_as_a_draw_of_its_user(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let order = w.order(&campaign, ORDER).await;
    let user = order.user.to_string();
    w.adopt(vec![order]).await;
    // A new version counts what was there before it.
    w.move_campaign(&campaign, Transition::Pause).await;
    let limited = one_prize(&campaign, TEXT) + "\n[limits]\nper_user_total = 1\n";
    w.start(&campaign, &limited).await;
    let answer = w.draw(&campaign, Ask::new(&user, "key-00000001")).await;
    let refused = matches!(answer, tombola_core::ports::DrawAnswer::Refused(_));
    assert!(refused, "{answer:?}");
}

pub(super) async fn nothing_is_adopted_where_something_is_counted(w: &World) {
    let stocked = w.campaign_of(&format!("{TEXT}stock = 5\n")).await;
    let order = w.order(&stocked, ORDER).await;
    let refused = [AdoptAnswer::Refused(KeptReason::NotAdoptable)];
    assert_eq!(w.adopt(vec![order]).await, refused);
    assert_eq!(w.stock_left(&stocked, PRIZE).await, 5);
    let gone = w.order("no-such-campaign", ORDER).await;
    assert_eq!(w.adopt(vec![gone]).await, refused);
}

pub(super) async fn an_order_that_was_refused_may_come_again(w: &World) {
    w.put(&one_prize("fair", TEXT)).await;
    let (first, same) = (w.order("fair", ORDER).await, w.order("fair", ORDER).await);
    let refused = AdoptAnswer::Refused(KeptReason::NotAdoptable);
    let answers = w.adopt(vec![first, same]).await;
    assert_eq!(answers, [refused.clone(), refused]);
    w.start("fair", &one_prize("fair", TEXT)).await;
    let again = w.order("fair", ORDER).await;
    let answer = only(w.adopt(vec![again.clone()]).await);
    adopted(&again, answer);
}

pub(super) async fn orders_of_a_batch_are_answered_each_for_itself(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let (good, twin) = (
        w.order(&campaign, ORDER).await,
        w.order(&campaign, ORDER + 1).await,
    );
    let wrong = Adoption {
        award_type: Some(4),
        ..twin.clone()
    };
    let late = w.order(&campaign, ORDER + 1).await;
    let mut answers = w.adopt(vec![good.clone(), wrong, late]).await;
    // What comes behind a refused one of the same order is kept with it, and not lost.
    let refused = AdoptAnswer::Refused(KeptReason::OtherKind);
    assert_eq!(answers.split_off(1), [refused.clone(), refused]);
    adopted(&good, answers.remove(0));
    let answer = only(w.adopt(vec![twin.clone()]).await);
    adopted(&twin, answer);
}

pub(super) async fn a_paused_campaign_adopts_and_a_closed_one_does_not(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    w.move_campaign(&campaign, Transition::Pause).await;
    let order = w.order(&campaign, ORDER).await;
    let answer = only(w.adopt(vec![order.clone()]).await);
    adopted(&order, answer);
    w.move_campaign(&campaign, Transition::Close).await;
    let late = w.order(&campaign, ORDER + 1).await;
    let refused = AdoptAnswer::Refused(KeptReason::NotAdoptable);
    assert_eq!(w.adopt(vec![late]).await, [refused]);
}

pub(super) async fn nothing_is_adopted_for_a_user_who_is_being_erased(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let order = w.order(&campaign, ORDER).await;
    let spec = BulkSpec {
        action: BulkAction::Erase {
            pseudonym: "erased-x".to_owned(),
        },
        filter: BulkFilter {
            user: Some(order.user.to_string()),
            ..BulkFilter::default()
        },
        matched: 0,
    };
    let begun: Operation = ok(w.store().begin_operation(spec, actor(), w.now()).await);
    let refused = AdoptAnswer::Refused(KeptReason::UserErased);
    assert_eq!(w.adopt(vec![order]).await, [refused]);
    ok(w.store().step_operation(begun.id, w.now()).await);
}
