//! What the relay heard of a publish. A mark speaks of one publish, named by the
//! lease it was handed off with; in any other state or lease it is late.

use super::world::{EPOCH, EXTERNAL, KEEN, TEXT, Won, World, actor, ok, secs};
use tombola_core::AwardId;
use tombola_core::award::{Mark, MqState, Position, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, MarkOf, Written};
use tombola_core::reason::DeadReason;

const AT: Position = Position {
    epoch: EPOCH,
    partition: 2,
    offset: 17,
};

pub(super) async fn a_message_that_was_taken_has_its_position_and_a_grace(w: &World) {
    let won = w.win(TEXT).await;
    w.advance(secs(1));
    assert_eq!(
        w.mark(won.award, 1, Mark::Taken(AT)).await,
        Written::Applied
    );
    let row = w.row(&won).await;
    assert_eq!((row.state, row.mq_state), (State::Pending, MqState::Sent));
    assert_eq!(row.position, Some(AT));
    assert_eq!(row.due_at, Some(w.after(w.schedule().grace(0))));
}

pub(super) async fn a_mark_keeps_the_lease(w: &World) {
    let won = w.win(TEXT).await;
    w.mark(won.award, 1, Mark::Taken(AT)).await;
    assert_eq!(w.row(&won).await.lease, 1);
    w.mark(won.award, 1, Mark::Failed).await;
    assert_eq!(w.row(&won).await.lease, 1);
}

pub(super) async fn the_grace_after_a_mark_follows_the_publishes(w: &World) {
    let won = w.win(TEXT).await;
    for publishes in 1..4 {
        let page = w.rescue_when_due(&won).await;
        w.advance(secs(1));
        assert_eq!(
            w.mark(won.award, page.handoffs[0].lease, Mark::Taken(AT))
                .await,
            Written::Applied
        );
        let row = w.row(&won).await;
        assert_eq!(row.publishes, publishes);
        assert_eq!(row.due_at, Some(w.after(w.schedule().grace(publishes))));
    }
}

pub(super) async fn a_failed_publish_waits_no_shorter_than_the_grace(w: &World) {
    let won = w.win(TEXT).await;
    w.advance(secs(1));
    assert_eq!(w.mark(won.award, 1, Mark::Failed).await, Written::Applied);
    let row = w.row(&won).await;
    assert_eq!((row.state, row.mq_state), (State::Pending, MqState::Failed));
    assert!(
        row.due_at >= Some(w.after(w.schedule().grace(0))),
        "{row:?}"
    );
    assert_eq!(row.position, None);
}

pub(super) async fn the_note_of_a_sent_message_never_falls(w: &World) {
    let won = w.win(TEXT).await;
    w.mark(won.award, 1, Mark::Failed).await;
    assert_eq!(w.row(&won).await.mq_state, MqState::Failed);
    w.mark(won.award, 1, Mark::Taken(AT)).await;
    assert_eq!(w.row(&won).await.mq_state, MqState::Sent);
    w.mark(won.award, 1, Mark::Failed).await;
    assert_eq!(w.row(&won).await.mq_state, MqState::Sent);
}

pub(super) async fn a_message_that_is_refused_for_good_is_a_dead_letter(w: &World) {
    let won = w.win(TEXT).await;
    assert_eq!(w.mark(won.award, 1, Mark::Refused).await, Written::Applied);
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.dead_reason),
        (State::Dead, Some(DeadReason::Unpublishable))
    );
    assert_eq!(row.mq_state, MqState::Failed);
}

/// Every mark with that lease is late: a line in the log, and the row as it was.
/// That the message was taken needs no line where the row tells it.
async fn is_late(w: &World, won: &Won, lease: i64) {
    let before = w.row(won).await;
    for mark in [Mark::Taken(AT), Mark::Failed, Mark::Refused] {
        let lines = w.bench().log_lines(won.award).await;
        assert_eq!(
            w.mark(won.award, lease, mark).await,
            Written::Late,
            "{mark:?} of {before:?}"
        );
        assert_eq!(w.row(won).await, before, "{mark:?}");
        let has_line = w.bench().log_lines(won.award).await > lines;
        let is_told = before.mq_state == MqState::Sent && matches!(mark, Mark::Taken(_));
        assert!(
            has_line || is_told,
            "{mark:?} of {before:?} leaves its line"
        );
    }
}

pub(super) async fn the_mark_of_an_earlier_publish_is_late(w: &World) {
    let won = w.win(TEXT).await;
    w.rescue_when_due(&won).await;
    is_late(w, &won, 1).await;
}

pub(super) async fn a_mark_never_takes_back_a_claim(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    is_late(w, &won, 1).await;
    is_late(w, &won, claim.lease).await;
}

pub(super) async fn a_mark_never_wakes_what_waits_for_its_next_attempt(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Retry { after: None }).await;
    is_late(w, &won, 1).await;
    is_late(w, &won, row.lease).await;
}

pub(super) async fn a_mark_never_ends_a_hold(w: &World) {
    let won = w.win(TEXT).await;
    let row = w.done(&won, Action::Hold).await;
    is_late(w, &won, 1).await;
    is_late(w, &won, row.lease).await;
}

pub(super) async fn a_mark_never_revives_what_is_delivered(w: &World) {
    let won = w.win(TEXT).await;
    w.deliver(&won).await;
    is_late(w, &won, 1).await;
    is_late(w, &won, w.row(&won).await.lease).await;
}

pub(super) async fn a_mark_never_revives_a_dead_letter(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Refuse).await;
    is_late(w, &won, 1).await;
    is_late(w, &won, row.lease).await;
}

pub(super) async fn a_mark_never_revives_what_is_cancelled(w: &World) {
    let won = w.win(TEXT).await;
    let row = w
        .done(
            &won,
            Action::Cancel {
                return_stock: false,
            },
        )
        .await;
    is_late(w, &won, 1).await;
    is_late(w, &won, row.lease).await;
}

pub(super) async fn the_mark_of_a_copy_for_another_service_is_late(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.deliver(&won).await;
    let page = w.rescue_when_due(&won).await;
    is_late(w, &won, page.handoffs[0].lease).await;
}

pub(super) async fn marks_of_a_batch_are_answered_each_for_itself(w: &World) {
    let (first, second) = (w.win(TEXT).await, w.win(TEXT).await);
    w.store()
        .act(second.award, Action::Hold, actor(), w.now())
        .await
        .map_or_else(|e| panic!("{e}"), drop);
    let mark = |award, lease| MarkOf {
        award,
        lease,
        mark: Mark::Taken(AT),
        error: None,
    };
    let marks = vec![
        mark(second.award, 1),
        mark(AwardId(1 << 40), 1),
        mark(first.award, 1),
    ];
    let written = ok(w.store().mark_published(marks, w.now()).await);
    assert_eq!(written, [Written::Late, Written::Late, Written::Applied]);
    assert_eq!(w.row(&first).await.mq_state, MqState::Sent);
}
