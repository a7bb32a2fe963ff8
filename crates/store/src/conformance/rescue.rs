//! Rescue puts back on the path whatever is overdue: what was never published,
//! what nobody read, what a lost worker had in hand.

use super::world::{BLUNT, EPOCH, KEEN, TEXT, Won, World, actor, ok, secs};
use std::time::Duration;
use tombola_core::award::{Mark, MqState, Position, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Action, CopyAnswer, DuePage, DueQuery};
use tombola_core::reason::DeadReason;

/// Rescue looks and leaves the row as it is.
pub(super) async fn is_left_alone(w: &World, won: &Won) {
    let before = w.row(won).await;
    let page = w.rescue(won).await;
    assert_eq!(w.row(won).await, before);
    assert!(
        page.handoffs.is_empty() && page.ended.is_empty(),
        "{page:?}"
    );
}

/// Rescue looks and publishes the row again.
pub(super) async fn is_published_again(w: &World, won: &Won, query: DueQuery) -> DuePage {
    let before = w.row(won).await;
    let page = w.rescue_with(query).await;
    let row = w.row(won).await;
    assert_eq!(row.state, State::Pending, "{before:?}");
    assert_eq!(
        (row.lease, row.publishes),
        (before.lease + 1, before.publishes + 1)
    );
    assert_eq!(row.due_at, Some(w.after(w.schedule().grace(row.publishes))));
    assert_eq!((row.position, row.attempts), (None, before.attempts));
    let handoff = page.handoffs.iter().find(|it| it.award == won.award);
    let handoff = handoff.unwrap_or_else(|| panic!("it is to be published: {page:?}"));
    assert_eq!((handoff.lease, handoff.at), (row.lease, w.now()));
    assert_eq!(handoff.message.message_id, won.message_id);
    assert!(
        page.rescued.contains(&(won.award, before.state)),
        "{page:?}"
    );
    page
}

pub(super) async fn what_was_never_published_is_published(w: &World) {
    let won = w.win(TEXT).await;
    w.move_to_due(&won).await;
    let page = is_published_again(w, &won, w.due(0)).await;
    let first = won.handoff.as_ref().map(|it| &it.message);
    assert_eq!(Some(&page.handoffs[0].message), first, "the same message");
}

pub(super) async fn nothing_is_rescued_before_its_time(w: &World) {
    let won = w.win(TEXT).await;
    is_left_alone(w, &won).await;
    w.move_to_due(&won).await;
    w.move_to(w.now().minus(Duration::from_micros(1)));
    is_left_alone(w, &won).await;
}

pub(super) async fn each_publish_waits_twice_as_long_up_to_the_longest_grace(w: &World) {
    let won = w.win(TEXT).await;
    let mut waits = Vec::new();
    for publishes in 1..=12 {
        w.move_to_due(&won).await;
        is_published_again(w, &won, w.due(0)).await;
        let row = w.row(&won).await;
        assert_eq!(row.publishes, publishes);
        waits.extend(row.due_at.map(|due| due.since(w.now())));
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert_eq!(waits.last(), Some(&w.schedule().grace_max));
}

pub(super) async fn what_waited_for_its_next_attempt_is_published(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    is_left_alone(w, &won).await;
    w.move_to_due(&won).await;
    let lane = claim.lane;
    is_published_again(w, &won, w.due(lane)).await;
    assert_eq!(w.claim(&won).await.attempts, 2);
}

pub(super) async fn nothing_is_published_while_the_breaker_is_open(w: &World) {
    let (waits, retried) = (w.win(KEEN).await, w.win(KEEN).await);
    let claim = w.claim(&retried).await;
    w.decide(&claim, Decision::Retry { after: None }).await;
    w.advance(w.schedule().grace_max);
    for won in [&waits, &retried] {
        let before = w.row(won).await;
        let open = DueQuery {
            is_breaker_open: true,
            ..w.due(claim.lane)
        };
        let page = w.rescue_with(open).await;
        assert!(page.handoffs.is_empty(), "{page:?}");
        assert_eq!(w.row(won).await, before);
    }
    assert_eq!(
        w.rescue(&waits).await.handoffs.len(),
        2,
        "closed, both are published"
    );
}

pub(super) async fn a_call_of_a_lost_worker_is_repeated_where_the_endpoint_is_idempotent(
    w: &World,
) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    is_left_alone(w, &won).await;
    w.move_to_due(&won).await;
    is_published_again(w, &won, w.due(claim.lane)).await;
    let row = w.row(&won).await;
    assert!(row.in_doubt, "the lost call may have had its effect");
    assert_eq!(row.attempts, 1, "the lost attempt counts");
    assert_eq!(w.claim(&won).await.delivery_key, claim.delivery_key);
}

pub(super) async fn a_worker_lost_on_the_last_attempt_leaves_a_dead_letter(w: &World) {
    let won = w.win(KEEN).await;
    while w.claim(&won).await.attempts < w.schedule().attempts_max {
        w.rescue_when_due(&won).await;
    }
    let page = w.rescue_when_due(&won).await;
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.dead_reason),
        (State::Dead, Some(DeadReason::WorkerLost))
    );
    assert!(row.in_doubt);
    assert_eq!(page.ended, [(won.award, State::Dead)]);
    assert!(page.handoffs.is_empty());
}

pub(super) async fn a_call_of_a_lost_worker_is_never_repeated_elsewhere(w: &World) {
    let won = w.win(BLUNT).await;
    w.claim(&won).await;
    is_left_alone(w, &won).await;
    let page = w.rescue_when_due(&won).await;
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.dead_reason),
        (State::Dead, Some(DeadReason::UnknownOutcome))
    );
    assert!(row.in_doubt);
    assert_eq!(page.ended, [(won.award, State::Dead)]);
    assert_eq!(w.try_claim(&won).await, CopyAnswer::Dropped);
}

pub(super) async fn what_one_rescuer_took_the_other_finds_no_more(w: &World) {
    let won = w.win(TEXT).await;
    w.move_to_due(&won).await;
    assert_eq!(w.rescue(&won).await.handoffs.len(), 1);
    let row = w.row(&won).await;
    let second = w.rescue(&won).await;
    assert_eq!(
        (second.handoffs.len(), second.seen, second.next),
        (0, 0, None)
    );
    assert_eq!(w.row(&won).await, row);
}

pub(super) async fn what_is_over_is_never_rescued(w: &World) {
    let (delivered, dead, cancelled) = (w.win(TEXT).await, w.win(TEXT).await, w.win(TEXT).await);
    w.deliver(&delivered).await;
    w.mark(dead.award, 1, Mark::Refused).await;
    w.done(
        &cancelled,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    w.advance(w.schedule().redelivery_max * 10);
    for won in [&delivered, &dead, &cancelled] {
        is_left_alone(w, won).await;
    }
    assert_eq!(w.rescue(&dead).await.seen, 0);
}

pub(super) async fn a_step_looks_at_one_lane_only(w: &World) {
    let (local, outside) = (w.win(TEXT).await, w.win(KEEN).await);
    w.move_to_due(&local).await;
    let page = w.rescue(&outside).await;
    assert_eq!(
        page.handoffs.iter().map(|it| it.award).collect::<Vec<_>>(),
        [outside.award]
    );
    assert_eq!(w.row(&local).await.publishes, 0);
}

pub(super) async fn lanes_with_due_rows_are_named_with_the_next_date(w: &World) {
    let none = ok(w.store().due_lanes(w.now()).await);
    assert_eq!((none.due.len(), none.next), (0, None));
    let (local, outside) = (w.win(TEXT).await, w.win(KEEN).await);
    let due = w.row(&local).await.due_at;
    let lanes = ok(w.store().due_lanes(w.now()).await);
    assert_eq!((lanes.due.len(), lanes.next), (0, due));
    w.claim(&outside).await;
    w.move_to_due(&local).await;
    let lanes = ok(w.store().due_lanes(w.now()).await);
    assert_eq!(
        (lanes.due, lanes.next),
        (vec![0], w.row(&outside).await.due_at)
    );
    w.move_to_due(&outside).await;
    let lane = w.row(&outside).await.lane;
    assert_eq!(ok(w.store().due_lanes(w.now()).await).due, [0, lane]);
}

pub(super) async fn a_step_is_bounded_and_says_where_to_go_on(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let won = w.win_from(&campaign, 5).await;
    w.move_to_due(&won[0]).await;
    let mut query = DueQuery {
        limit: 2,
        ..w.due(0)
    };
    let mut published = Vec::new();
    for _ in 0..5 {
        let page = w.rescue_with(query.clone()).await;
        assert!(page.seen <= 2 && page.handoffs.len() <= 2, "{page:?}");
        published.extend(page.handoffs.into_iter().map(|it| it.award));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    published.sort();
    assert_eq!(published, won.iter().map(|it| it.award).collect::<Vec<_>>());
}

pub(super) async fn what_was_never_published_goes_first(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let won = w.win_from(&campaign, 4).await;
    for sent in [&won[0], &won[2]] {
        let position = Position {
            epoch: EPOCH,
            partition: 0,
            offset: 1,
        };
        w.mark(sent.award, 1, Mark::Taken(position)).await;
        assert_eq!(w.row(sent).await.mq_state, MqState::Sent);
    }
    w.move_to_due(&won[0]).await;
    let page = w.rescue_with(w.due(0)).await;
    let mut awards: Vec<_> = page.handoffs.iter().map(|it| it.award).collect();
    assert_eq!(awards.len(), 4);
    awards[..2].sort();
    awards[2..].sort();
    assert_eq!(awards, [1, 3, 0, 2].map(|index: usize| won[index].award));
}

pub(super) async fn rescue_and_a_late_worker_deliver_once(w: &World) {
    let won = w.win(KEEN).await;
    let slow = w.claim(&won).await;
    w.move_to_due(&won).await;
    let row = w.decide(&slow, Decision::Delivered { receipt: None }).await;
    assert_eq!(
        row.state,
        State::Delivered,
        "its lease is over, and nobody else has it yet"
    );
    is_left_alone(w, &won).await;
}

pub(super) async fn a_change_of_the_endpoint_counts_at_once(w: &World) {
    let won = w.win(KEEN).await;
    w.claim(&won).await;
    w.put_endpoint("keen", false).await;
    w.rescue_when_due(&won).await;
    assert_eq!(
        w.row(&won).await.dead_reason,
        Some(DeadReason::UnknownOutcome)
    );
}

pub(super) async fn an_award_goes_on_while_its_campaign_is_closed(w: &World) {
    let won = w.win(TEXT).await;
    let close = tombola_core::campaign::Transition::Close;
    ok(w.store()
        .transition(
            &won.campaign,
            close,
            tombola_core::campaign::Approval::Anybody,
            actor(),
            w.now(),
        )
        .await);
    w.advance(secs(5));
    w.move_to_due(&won).await;
    is_published_again(w, &won, w.due(0)).await;
    assert!(matches!(
        w.deliver(&won).await,
        CopyAnswer::Delivered { .. }
    ));
}
