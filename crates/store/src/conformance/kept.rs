//! Messages that change no award are kept for people, each position once; and
//! cleanup, which takes nothing that is unfinished.

use super::world::{BLUNT, EPOCH, TEXT, World, days, ok};
use tombola_core::award::{Position, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, CopyAnswer, KeptMessage};
use tombola_core::reason::{HoldReason, KeptReason};

fn message(position: Position) -> KeptMessage {
    KeptMessage {
        position,
        key: Some("u1".to_owned()),
        value: Some(vec![0xff, 0]),
        headers: vec![("message-id".to_owned(), "1-a".to_owned())],
        reason: KeptReason::Undecodable,
    }
}

pub(super) async fn a_message_is_kept_once_for_each_position(w: &World) {
    let at = Position {
        epoch: EPOCH,
        partition: 0,
        offset: 1,
    };
    let others = [
        Position { offset: 2, ..at },
        Position { partition: 1, ..at },
        Position {
            epoch: EPOCH + 1,
            ..at
        },
    ];
    ok(w.store()
        .keep_messages(vec![message(at), message(at)], w.now())
        .await);
    assert_eq!(w.bench().kept_messages().await, 1);
    ok(w.store().keep_messages(vec![message(at)], w.now()).await);
    assert_eq!(w.bench().kept_messages().await, 1);
    ok(w.store()
        .keep_messages(others.map(message).to_vec(), w.now())
        .await);
    assert_eq!(w.bench().kept_messages().await, 4);
}

pub(super) async fn a_message_without_value_is_kept_too(w: &World) {
    let at = Position {
        epoch: EPOCH,
        partition: 0,
        offset: 1,
    };
    let empty = KeptMessage {
        key: None,
        value: None,
        headers: vec![],
        reason: KeptReason::Empty,
        ..message(at)
    };
    ok(w.store().keep_messages(vec![empty], w.now()).await);
    assert_eq!(w.bench().kept_messages().await, 1);
}

/// Cleans until nothing more goes.
async fn clean(w: &World, before: tombola_core::Timestamp) {
    for _ in 0..100 {
        if ok(w.store().cleanup(before).await) == 0 {
            return;
        }
    }
    panic!("a cleanup comes to an end");
}

pub(super) async fn cleanup_leaves_everything_unfinished_however_old(w: &World) {
    let (waits, held) = (w.win(TEXT).await, w.win(TEXT).await);
    let (in_hand, retried) = (w.win(BLUNT).await, w.win(BLUNT).await);
    w.done(&held, Action::Hold).await;
    w.claim(&in_hand).await;
    let claim = w.claim(&retried).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    let mut before = Vec::new();
    for won in [&waits, &held, &in_hand, &retried] {
        before.push(w.row(won).await);
    }
    clean(w, w.after(days(10_000))).await;
    for (won, before) in [&waits, &held, &in_hand, &retried].into_iter().zip(before) {
        assert_eq!(w.row(won).await, before);
    }
}

pub(super) async fn cleanup_leaves_dead_letters_which_wait_for_a_person(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Refuse).await;
    clean(w, w.after(days(10_000))).await;
    assert_eq!(w.row(&won).await.state, State::Dead);
}

pub(super) async fn cleanup_leaves_what_is_younger_than_its_retention(w: &World) {
    let won = w.win(TEXT).await;
    w.advance(days(1));
    w.deliver(&won).await;
    clean(w, w.now()).await;
    assert_eq!(w.row(&won).await.state, State::Delivered);
}

pub(super) async fn a_copy_of_what_was_cleaned_up_delivers_nothing(w: &World) {
    let won = w.win(super::world::POINTS).await;
    w.deliver(&won).await;
    clean(w, w.after(days(10_000))).await;
    let answer = w.deliver(&won).await;
    let is_harmless = matches!(answer, CopyAnswer::Dropped | CopyAnswer::NotOurs(_));
    assert!(is_harmless, "{answer:?}");
    assert_eq!(w.bench().points_of(&won.user).await, 7);
    assert_eq!(
        ok(w.store().end_holds(HoldReason::Paused, w.now()).await),
        0
    );
}
