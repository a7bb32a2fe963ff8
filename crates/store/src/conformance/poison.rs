//! A row that fails by an error of its own: it is found, counted alone, and never
//! takes its neighbours with it.

use super::world::{POINTS, TEXT, World, ok};
use std::time::Duration;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::ports::CopyAnswer;
use tombola_core::reason::DeadReason;
use tombola_core::retry::Jitter;

pub(super) async fn a_poison_row_never_wedges_its_batch(w: &World) {
    let campaign = w.campaign_of(POINTS).await;
    let won = w.win_from(&campaign, 7).await;
    w.bench().poison(won[3].award).await;
    let copies = won.iter().map(|won| w.copy(won)).collect();
    let answers = ok(w.store().deliver_local(copies, w.now()).await);
    for (index, answer) in answers.iter().enumerate() {
        let expected = match index {
            3 => CopyAnswer::Failed { is_dead: false },
            _ => CopyAnswer::Delivered { kind: Kind::Points },
        };
        assert_eq!(*answer, expected, "member {index}");
        let points = w.bench().points_of(&won[index].user).await;
        assert_eq!(points, if index == 3 { 0 } else { 7 }, "member {index}");
    }
}

pub(super) async fn a_poison_row_waits_and_its_attempt_is_counted(w: &World) {
    let won = w.win(TEXT).await;
    w.bench().poison(won.award).await;
    assert_eq!(w.deliver(&won).await, CopyAnswer::Failed { is_dead: false });
    let row = w.row(&won).await;
    assert_eq!((row.state, row.attempts), (State::Retryable, 1));
    let wait: Duration = row.due_at.map_or(Duration::ZERO, |due| due.since(w.now()));
    let bounds = [Jitter(0), Jitter(1000)].map(|jitter| w.schedule().backoff(1, jitter));
    assert!(
        (bounds[0]..=bounds[1]).contains(&wait),
        "{wait:?} is not within {bounds:?}"
    );
}

pub(super) async fn a_poison_row_is_left_alone_until_its_time(w: &World) {
    let won = w.win(TEXT).await;
    w.bench().poison(won.award).await;
    w.deliver(&won).await;
    assert_eq!(w.deliver(&won).await, CopyAnswer::Dropped);
    assert_eq!(w.row(&won).await.attempts, 1);
}

pub(super) async fn a_poison_row_is_a_dead_letter_after_its_last_attempt(w: &World) {
    let won = w.win(TEXT).await;
    w.bench().poison(won.award).await;
    let attempts_max = w.schedule().attempts_max;
    for attempt in 1..=attempts_max {
        let is_dead = attempt == attempts_max;
        assert_eq!(
            w.deliver(&won).await,
            CopyAnswer::Failed { is_dead },
            "attempt {attempt}"
        );
        let row = w.row(&won).await;
        assert_eq!((row.attempts, row.state == State::Dead), (attempt, is_dead));
        if !is_dead {
            w.move_to_due(&won).await;
        }
    }
    assert_eq!(w.row(&won).await.dead_reason, Some(DeadReason::Poison));
}
