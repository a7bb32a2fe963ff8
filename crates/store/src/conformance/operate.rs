//! Acts of people: each is written down in its own transaction.

use super::holds::ship;
use super::rescue_held::address;
use super::world::{KEEN, PHYSICAL, TEXT, World, actor, ok};
use tombola_core::AwardId;
use tombola_core::decision::Decision;
use tombola_core::ports::{Acted, Action, PauseScope};

pub(super) async fn each_act_is_in_the_operator_log(w: &World) {
    let (text, physical) = (w.win(TEXT).await, w.win(PHYSICAL).await);
    let cancel = Action::Cancel {
        return_stock: false,
    };
    let mut lines = w.bench().operator_lines().await;
    for action in [Action::Hold, Action::Release, cancel] {
        w.done(&text, action.clone()).await;
        lines += 1;
        assert_eq!(w.bench().operator_lines().await, lines, "{action:?}");
    }
    w.done(&physical, address()).await;
    w.deliver(&physical).await;
    w.done(&physical, ship()).await;
    w.done(&physical, Action::Confirm { receipt: None }).await;
    assert_eq!(w.bench().operator_lines().await, lines + 3);
}

pub(super) async fn an_act_is_in_the_timeline_of_its_award(w: &World) {
    let won = w.win(TEXT).await;
    let lines = w.bench().log_lines(won.award).await;
    w.done(&won, Action::Hold).await;
    assert!(w.bench().log_lines(won.award).await > lines);
}

pub(super) async fn a_pause_and_a_resume_are_in_the_operator_log(w: &World) {
    let lines = w.bench().operator_lines().await;
    ok(w.store()
        .pause(PauseScope::default(), actor(), w.now())
        .await);
    ok(w.store()
        .resume(PauseScope::default(), actor(), w.now())
        .await);
    assert_eq!(w.bench().operator_lines().await, lines + 2);
}

pub(super) async fn what_is_refused_changes_nothing(w: &World) {
    let won = w.win(TEXT).await;
    w.deliver(&won).await;
    let (before, points) = (w.row(&won).await, w.bench().points_of(&won.user).await);
    for action in [
        Action::Hold,
        Action::Release,
        Action::Cancel { return_stock: true },
    ] {
        assert!(matches!(w.act(&won, action).await, Acted::Refused(_)));
    }
    assert_eq!(
        (w.row(&won).await, w.bench().points_of(&won.user).await),
        (before, points)
    );
}

pub(super) async fn an_award_that_does_not_exist_is_not_found(w: &World) {
    w.win(TEXT).await;
    let requeue = Action::Requeue {
        not_delivered: true,
        due_at: w.now(),
    };
    let cancel = Action::Cancel { return_stock: true };
    let confirm = Action::Confirm { receipt: None };
    for action in [
        Action::Hold,
        Action::Release,
        confirm,
        cancel,
        requeue,
        address(),
        ship(),
    ] {
        let acted = w
            .store()
            .act(AwardId(1 << 40), action.clone(), actor(), w.now())
            .await;
        assert_eq!(ok(acted), Acted::NotFound, "{action:?}");
    }
}

pub(super) async fn each_attempt_is_in_the_timeline_of_its_award(w: &World) {
    let won = w.win(KEEN).await;
    let mut lines = w.bench().log_lines(won.award).await;
    for _ in 0..3 {
        let claim = w.claim(&won).await;
        w.decide(&claim, Decision::Retry { after: None }).await;
        let now = w.bench().log_lines(won.award).await;
        assert!(now > lines, "a call that failed leaves its line");
        lines = now;
        w.move_to_due(&won).await;
    }
}
