//! Pausing deliveries: read in the transaction of each copy, before any permit;
//! rows are held as their copies come.

use super::holds::is_back;
use super::world::{BLUNT, KEEN, PRIZE, TEXT, Won, World, actor, ok, secs};
use tombola_core::award::{Row, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{CopyAnswer, PauseScope};
use tombola_core::reason::HoldReason;

async fn pause(w: &World, scope: &PauseScope) {
    ok(w.store().pause(scope.clone(), actor(), w.now()).await);
}

async fn resume(w: &World, scope: &PauseScope) -> bool {
    ok(w.store().resume(scope.clone(), actor(), w.now()).await)
}

async fn end(w: &World) -> u64 {
    ok(w.store().end_holds(HoldReason::Paused, w.now()).await)
}

async fn is_paused(w: &World, before: &Row, answer: CopyAnswer) {
    let reason = HoldReason::Paused;
    assert_eq!(
        answer,
        CopyAnswer::Held {
            kind: before.kind,
            reason
        }
    );
    let row = w.row_of(before.award).await;
    assert_eq!((row.state, row.hold_reason), (State::Held, Some(reason)));
    assert_eq!(
        (row.attempts, row.lease),
        (before.attempts, before.lease + 1)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
}

pub(super) async fn a_paused_award_is_held_when_its_copy_comes(w: &World) {
    let won = w.win(TEXT).await;
    pause(w, &PauseScope::default()).await;
    let before = w.row(&won).await;
    assert_eq!(
        before.state,
        State::Pending,
        "the pause itself touches no row"
    );
    let answer = w.deliver(&won).await;
    is_paused(w, &before, answer).await;
}

pub(super) async fn a_pause_is_read_before_any_permit(w: &World) {
    let campaign = w.campaign_of(KEEN).await;
    let won = w.win_from(&campaign, 3).await;
    pause(w, &PauseScope::default()).await;
    let rows = [
        w.row(&won[0]).await,
        w.row(&won[1]).await,
        w.row(&won[2]).await,
    ];
    let answer = w.deliver(&won[0]).await;
    is_paused(w, &rows[0], answer).await;
    let answer = w.try_claim(&won[1]).await;
    is_paused(w, &rows[1], answer).await;
    let answer = w.defer(&won[2], w.after(secs(9))).await;
    is_paused(w, &rows[2], answer).await;
}

pub(super) async fn what_waits_for_its_next_attempt_is_paused_when_its_time_comes(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    pause(w, &PauseScope::default()).await;
    assert_eq!(w.try_claim(&won).await, CopyAnswer::Dropped);
    w.move_to_due(&won).await;
    let before = w.row(&won).await;
    let answer = w.try_claim(&won).await;
    is_paused(w, &before, answer).await;
}

pub(super) async fn a_call_that_has_begun_is_recorded_during_a_pause(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    pause(w, &PauseScope::default()).await;
    let row = w
        .decide(&claim, Decision::Delivered { receipt: None })
        .await;
    assert_eq!(row.state, State::Delivered);
}

/// Pauses `scope`: `within` is held and `outside` is not.
async fn divides(w: &World, scope: PauseScope, within: &Won, outside: &Won) {
    pause(w, &scope).await;
    let held = w.try_claim(within).await;
    assert!(
        matches!(held, CopyAnswer::Held { .. }),
        "{scope:?}: {held:?}"
    );
    let claimed = w.try_claim(outside).await;
    assert!(
        matches!(claimed, CopyAnswer::Claimed(_)),
        "{scope:?}: {claimed:?}"
    );
}

pub(super) async fn a_campaign_is_paused_alone(w: &World) {
    let (within, outside) = (w.win(KEEN).await, w.win(KEEN).await);
    let scope = PauseScope {
        campaign: Some(within.campaign.clone()),
        ..PauseScope::default()
    };
    divides(w, scope, &within, &outside).await;
}

pub(super) async fn a_prize_is_paused_alone(w: &World) {
    let (within, outside) = (w.win(KEEN).await, w.win(KEEN).await);
    let campaign = Some(within.campaign.clone());
    let other = PauseScope {
        campaign: campaign.clone(),
        prize: Some("other".to_owned()),
        endpoint: None,
    };
    pause(w, &other).await;
    assert!(matches!(
        w.deliver(&within).await,
        CopyAnswer::Outside { .. }
    ));
    let it = PauseScope {
        campaign,
        prize: Some(PRIZE.to_owned()),
        endpoint: None,
    };
    divides(w, it, &within, &outside).await;
}

pub(super) async fn an_endpoint_is_paused_alone(w: &World) {
    let (within, outside) = (w.win(KEEN).await, w.win(BLUNT).await);
    let scope = PauseScope {
        endpoint: Some("keen".to_owned()),
        ..PauseScope::default()
    };
    divides(w, scope, &within, &outside).await;
    let local = w.win(TEXT).await;
    assert!(matches!(
        w.deliver(&local).await,
        CopyAnswer::Delivered { .. }
    ));
}

pub(super) async fn a_resume_lets_the_held_awards_go_in_steps(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let won = w.win_from(&campaign, 3).await;
    let scope = PauseScope {
        campaign: Some(campaign),
        ..PauseScope::default()
    };
    pause(w, &scope).await;
    for won in &won {
        w.deliver(won).await;
    }
    assert_eq!(end(w).await, 0, "it is paused");
    w.advance(secs(1));
    assert!(resume(w, &scope).await);
    assert_eq!(w.row(&won[0]).await.state, State::Held);
    assert_eq!((end(w).await, end(w).await), (3, 0));
    for won in &won {
        is_back(w, won).await;
        assert!(matches!(w.deliver(won).await, CopyAnswer::Delivered { .. }));
    }
}

pub(super) async fn what_another_pause_still_holds_stays(w: &World) {
    let (first, second) = (w.win(TEXT).await, w.win(TEXT).await);
    let narrow = PauseScope {
        campaign: Some(first.campaign.clone()),
        ..PauseScope::default()
    };
    pause(w, &narrow).await;
    pause(w, &PauseScope::default()).await;
    w.deliver(&first).await;
    w.deliver(&second).await;
    assert!(resume(w, &PauseScope::default()).await);
    assert_eq!(end(w).await, 1);
    assert_eq!(w.row(&first).await.state, State::Held);
    is_back(w, &second).await;
}

pub(super) async fn only_what_is_paused_is_resumed(w: &World) {
    let scope = PauseScope {
        campaign: Some("fair".to_owned()),
        ..PauseScope::default()
    };
    assert!(!resume(w, &scope).await);
    pause(w, &scope).await;
    pause(w, &scope).await;
    assert!(
        !resume(w, &PauseScope::default()).await,
        "that is another scope"
    );
    assert!(resume(w, &scope).await);
    assert!(!resume(w, &scope).await);
}
