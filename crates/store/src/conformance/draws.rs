//! Request keys: one key, one answer, whatever happens in between.

use super::world::{Ask, EXTERNAL, KEEN, PRIZE, TEXT, World, one_prize, only};
use tombola_core::award::State;
use tombola_core::campaign::{Kind, Phase, Transition};
use tombola_core::decision::Decision;
use tombola_core::draw::{DrawFact, DrawRefusal};
use tombola_core::ports::{Action, DrawAnswer};

pub(super) fn drawn(answer: DrawAnswer) -> Vec<DrawFact> {
    let DrawAnswer::Drawn { draws, .. } = answer else {
        panic!("not drawn: {answer:?}")
    };
    draws
}

pub(super) fn replayed(answer: DrawAnswer) -> Vec<DrawFact> {
    let DrawAnswer::Replayed { draws } = answer else {
        panic!("not replayed: {answer:?}")
    };
    draws
}

pub(super) async fn a_draw_is_answered_with_its_facts(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    let draw = only(drawn(w.draw("fair", Ask::new("u1", "key-0001")).await));
    assert_eq!((&*draw.campaign, &*draw.user), ("fair", "u1"));
    assert_eq!(draw.prize.as_deref(), Some(PRIZE));
    assert_eq!(draw.award, Some((Kind::Text, State::Pending)));
    assert_eq!((draw.drawn_at, draw.claim_key_version), (w.now(), 1));
}

pub(super) async fn the_same_key_replays_the_same_answer(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    let ask = Ask::new("u1", "key-0001").times(3);
    let first = drawn(w.draw("fair", ask.clone()).await);
    w.advance(super::world::days(3));
    assert_eq!(replayed(w.draw("fair", ask).await), first);
    assert_eq!(w.win_from("fair", 1).await.len(), 1);
}

pub(super) async fn a_replay_is_equal_although_the_award_moved_on(w: &World) {
    let campaign = w.campaign_of(&format!("{KEEN}stock = 9\n")).await;
    let ask = Ask::new("u1", "key-0001");
    let first = drawn(w.draw(&campaign, ask.clone()).await);
    let won = super::world::Won::of(&first[0]);
    let claim = w.claim(&won).await;
    assert_eq!(replayed(w.draw(&campaign, ask.clone()).await), first);
    w.decide(&claim, Decision::Refuse).await;
    assert_eq!(replayed(w.draw(&campaign, ask.clone()).await), first);
    w.done(&won, Action::Cancel { return_stock: true }).await;
    assert_eq!(replayed(w.draw(&campaign, ask).await), first);
    assert_eq!(
        w.stock_left(&campaign, PRIZE).await,
        9,
        "a replay spends nothing"
    );
}

pub(super) async fn a_replay_says_how_its_award_began(w: &World) {
    let campaign = w
        .campaign_of(&format!("{EXTERNAL}release = \"manual\"\n"))
        .await;
    let ask = Ask::new("u1", "key-0001");
    let first = drawn(w.draw(&campaign, ask.clone()).await);
    assert_eq!(first[0].award, Some((Kind::External, State::Held)));
    w.done(&super::world::Won::of(&first[0]), Action::Release)
        .await;
    assert_eq!(replayed(w.draw(&campaign, ask).await), first);
}

pub(super) async fn the_same_key_with_another_request_is_refused(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 5\n")))
        .await;
    drawn(w.draw("fair", Ask::new("u1", "key-0001")).await);
    let other = Ask {
        fingerprint: [2; 16],
        ..Ask::new("u2", "key-0001")
    };
    let reused = DrawAnswer::Refused(DrawRefusal::RequestKeyReused);
    assert_eq!(w.draw("fair", other).await, reused);
    assert_eq!(w.stock_left("fair", PRIZE).await, 4);
}

pub(super) async fn the_same_key_twice_in_one_batch_draws_once(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 5\n")))
        .await;
    let ask = Ask::new("u1", "key-0001");
    let other = Ask {
        fingerprint: [2; 16],
        ..ask.clone()
    };
    let mut answers = w.draw_all("fair", vec![ask.clone(), ask, other]).await;
    assert_eq!(
        answers.pop(),
        Some(DrawAnswer::Refused(DrawRefusal::RequestKeyReused))
    );
    let second = replayed(answers.remove(1));
    assert_eq!(drawn(answers.remove(0)), second);
    assert_eq!(w.stock_left("fair", PRIZE).await, 4);
}

pub(super) async fn a_key_belongs_to_its_client_and_its_campaign(w: &World) {
    for slug in ["fair", "other"] {
        w.start(slug, &one_prize(slug, TEXT)).await;
    }
    let ask = Ask::new("u1", "key-0001");
    let first = drawn(w.draw("fair", ask.clone()).await);
    let client = Ask {
        client: "kiosk".to_owned(),
        ..ask.clone()
    };
    let second = drawn(w.draw("fair", client).await);
    let third = drawn(w.draw("other", ask).await);
    assert!(first[0].id != second[0].id && second[0].id != third[0].id);
}

pub(super) async fn a_refused_request_may_be_tried_again_with_its_key(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    w.move_campaign("fair", Transition::Pause).await;
    let ask = Ask::new("u1", "key-0001");
    let refused = DrawAnswer::Refused(DrawRefusal::NotRunning {
        phase: Phase::Paused,
    });
    assert_eq!(w.draw("fair", ask.clone()).await, refused);
    assert_eq!(w.draw("fair", ask.clone()).await, refused);
    w.move_campaign("fair", Transition::Resume).await;
    drawn(w.draw("fair", ask).await);
}

pub(super) async fn a_refused_request_may_come_back_as_another(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    w.move_campaign("fair", Transition::Pause).await;
    w.draw("fair", Ask::new("u1", "key-0001")).await;
    w.move_campaign("fair", Transition::Resume).await;
    drawn(
        w.draw(
            "fair",
            Ask {
                fingerprint: [2; 16],
                ..Ask::new("u2", "key-0001")
            },
        )
        .await,
    );
}

pub(super) async fn a_key_is_replayed_while_nobody_may_draw(w: &World) {
    let limited = one_prize("fair", TEXT) + "\n[limits]\nper_user_total = 1\n";
    w.start("fair", &limited).await;
    let ask = Ask::new("u1", "key-0001");
    let first = drawn(w.draw("fair", ask.clone()).await);
    assert_eq!(
        replayed(w.draw("fair", ask.clone()).await),
        first,
        "the allowance is used up"
    );
    w.move_campaign("fair", Transition::Pause).await;
    assert_eq!(replayed(w.draw("fair", ask.clone()).await), first);
    w.move_campaign("fair", Transition::Close).await;
    assert_eq!(replayed(w.draw("fair", ask).await), first);
}

pub(super) async fn a_draw_from_a_campaign_that_does_not_exist_is_refused(w: &World) {
    let asks = vec![Ask::new("u1", "key-0001"), Ask::new("u2", "key-0002")];
    let refused = DrawAnswer::Refused(DrawRefusal::CampaignNotFound);
    assert_eq!(w.draw_all("none", asks).await, [refused.clone(), refused]);
}
