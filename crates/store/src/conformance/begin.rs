//! How an award begins: the row that its draw's transaction writes with it.

use super::world::{
    Ask, EXTERNAL, KEEN, PRIZE, TEXT, World, days, ok, one_prize, only, roll_at, secs,
};
use tombola_core::award::{MqState, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::{Action, CopyAnswer, DrawAnswer, DrawBatch};
use tombola_core::reason::HoldReason;

pub(super) async fn a_win_is_pending_and_due_after_the_first_grace(w: &World) {
    let won = w.win(TEXT).await;
    let row = w.row(&won).await;
    assert_eq!((row.state, row.lease, row.lane), (State::Pending, 1, 0));
    assert_eq!(row.due_at, Some(w.after(w.schedule().grace(0))));
    assert_eq!(
        (row.attempts, row.publishes, row.mq_state),
        (0, 0, MqState::NotSent)
    );
    assert_eq!(
        (row.kind, row.in_doubt, row.position),
        (Kind::Text, false, None)
    );
}

pub(super) async fn a_win_is_handed_off_with_its_lease_and_its_message(w: &World) {
    let won = w.win(KEEN).await;
    let handoff = won
        .handoff
        .as_ref()
        .unwrap_or_else(|| panic!("a win is handed off"));
    assert_eq!(
        (handoff.award, handoff.lease, handoff.at),
        (won.award, 1, w.now())
    );
    let message = &handoff.message;
    assert_eq!(
        (message.award, &message.message_id),
        (won.award, &won.message_id)
    );
    assert_eq!(
        (&message.user, &message.campaign),
        (&won.user, &won.campaign)
    );
    assert_eq!(message.prize, format!("{}/{PRIZE}", won.campaign));
    assert_eq!((message.award_type, message.drawn_at), (3, w.now()));
}

pub(super) async fn without_a_relay_a_win_is_due_at_once(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let requests = vec![w.request(Ask::new("u1", "key-0001")).await];
    let batch = DrawBatch {
        campaign: campaign.as_str().into(),
        requests,
        now: w.now(),
        has_relay: false,
    };
    let DrawAnswer::Drawn { draws, .. } = only(w.commit(batch).await) else {
        panic!("not drawn")
    };
    let row = w.row_of(draws[0].id.award()).await;
    assert_eq!((row.state, row.due_at), (State::Pending, Some(w.now())));
}

pub(super) async fn a_draw_that_wins_nothing_has_no_award(w: &World) {
    let text = one_prize("half", TEXT) + "\n[odds]\nnothing_weight = 1\n";
    w.start("half", &text).await;
    let ask = Ask::new("u1", "key-0001").rolls(&[roll_at(0, 2), roll_at(1, 2)]);
    let DrawAnswer::Drawn { draws, handoffs } = w.draw("half", ask).await else {
        panic!("not drawn")
    };
    assert_eq!(draws[0].prize.as_deref(), Some(PRIZE));
    assert_eq!((&draws[1].prize, draws[1].award), (&None, None));
    assert_eq!(handoffs.len(), 1);
    w.row_of(draws[0].id.award()).await;
    assert_eq!(w.bench().row(draws[1].id.award()).await, None);
}

pub(super) async fn an_award_to_be_released_by_hand_is_held_and_not_published(w: &World) {
    let won = w.win(&format!("{TEXT}release = \"manual\"\n")).await;
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.hold_reason),
        (State::Held, Some(HoldReason::Manual))
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
    assert_eq!((row.held_at, row.lease), (Some(w.now()), 1));
    assert_eq!(won.handoff, None);
}

pub(super) async fn an_award_with_a_date_is_held_until_that_date(w: &World) {
    let at = w.after(days(3));
    let won = w.win(&format!("{TEXT}release = \"{at}\"\n")).await;
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.hold_reason),
        (State::Held, Some(HoldReason::Scheduled))
    );
    assert_eq!(row.due_at, Some(at));
    assert_eq!(won.handoff, None);
}

pub(super) async fn an_award_whose_date_has_passed_begins_pending(w: &World) {
    let at = w.now();
    w.advance(secs(1));
    let won = w.win(&format!("{TEXT}release = \"{at}\"\n")).await;
    assert_eq!(w.row(&won).await.state, State::Pending);
    assert!(won.handoff.is_some());
}

pub(super) async fn an_external_award_is_in_doubt_from_its_first_way_into_pending(w: &World) {
    let won = w.win(EXTERNAL).await;
    assert!(w.row(&won).await.in_doubt, "its reader may act on any copy");
    let held = w.win(&format!("{EXTERNAL}release = \"manual\"\n")).await;
    assert!(
        !w.row(&held).await.in_doubt,
        "nothing of it is on the topic"
    );
    assert!(w.done(&held, Action::Release).await.in_doubt);
}

pub(super) async fn an_outside_award_has_the_lane_of_its_endpoint(w: &World) {
    let won = w.win(KEEN).await;
    let row = w.row(&won).await;
    assert_eq!(row.lane, w.put_endpoint("keen", true).await);
    assert_eq!(
        w.deliver(&won).await,
        CopyAnswer::Outside { lane: row.lane }
    );
}

pub(super) async fn ids_are_never_reserved_twice(w: &World) {
    let (first, second) = (
        ok(w.store().reserve_ids(10).await),
        ok(w.store().reserve_ids(5).await),
    );
    assert_eq!((first.left(), second.left()), (10, 5));
    assert!(first.next > 0);
    assert!(
        first.end <= second.next || second.end <= first.next,
        "{first:?} {second:?}"
    );
}
