//! What came of an outside call. Every decision is guarded by the lease of its
//! claim; an outcome that nobody knows is repeated only where the endpoint
//! honours the delivery key.

use super::world::{BLUNT, KEEN, Won, World, days, ok, secs};
use tombola_core::award::{Row, State};
use tombola_core::decision::Decision;
use tombola_core::ports::{Claim, Record, Written};
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Jitter;

const DELIVERED: Decision = Decision::Delivered { receipt: None };
const RETRY: Decision = Decision::Retry { after: None };

/// A claim of the last attempt that the schedule allows.
async fn last_claim(w: &World, won: &Won) -> Claim {
    loop {
        let claim = w.claim(won).await;
        if claim.attempts == w.schedule().attempts_max {
            return claim;
        }
        w.decide(&claim, RETRY).await;
        w.move_to_due(won).await;
    }
}

fn is_dead(row: &Row, reason: DeadReason) {
    assert_eq!(
        (row.state, row.dead_reason, row.due_at),
        (State::Dead, Some(reason), None)
    );
}

pub(super) async fn a_delivered_award_is_over(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    let receipt = Some("r-1".to_owned());
    let row = w.decide(&claim, Decision::Delivered { receipt }).await;
    assert_eq!(
        (row.state, row.due_at, row.attempts),
        (State::Delivered, None, 1)
    );
    assert!(row.lease > claim.lease);
}

pub(super) async fn a_retry_waits_by_the_schedule(w: &World) {
    let won = w.win(KEEN).await;
    for attempt in 1..4 {
        let claim = w.claim(&won).await;
        w.advance(secs(2));
        let row = w.decide(&claim, RETRY).await;
        assert_eq!((row.state, row.attempts), (State::Retryable, attempt));
        assert_eq!(
            row.due_at,
            Some(w.after(w.schedule().backoff(attempt, Jitter::NONE)))
        );
        assert!(row.lease > claim.lease && !row.in_doubt);
        w.move_to_due(&won).await;
    }
}

pub(super) async fn a_retry_waits_as_long_as_the_endpoint_asks(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w
        .decide(
            &claim,
            Decision::Retry {
                after: Some(secs(600)),
            },
        )
        .await;
    assert_eq!(row.due_at, Some(w.after(secs(600))));
}

pub(super) async fn the_last_attempt_that_fails_makes_a_dead_letter(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = last_claim(w, &won).await;
    let row = w.decide(&claim, RETRY).await;
    is_dead(&row, DeadReason::Exhausted);
    assert!(
        !row.in_doubt,
        "every attempt is known to have had no effect"
    );
}

pub(super) async fn an_unknown_outcome_is_repeated_where_the_endpoint_is_idempotent(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Unknown).await;
    assert_eq!((row.state, row.in_doubt), (State::Retryable, true));
    assert_eq!(
        row.due_at,
        Some(w.after(w.schedule().backoff(1, Jitter::NONE)))
    );
    w.move_to_due(&won).await;
    assert_eq!(w.claim(&won).await.delivery_key, claim.delivery_key);
}

pub(super) async fn an_unknown_outcome_on_the_last_attempt_makes_a_dead_letter(w: &World) {
    let won = w.win(KEEN).await;
    let claim = last_claim(w, &won).await;
    let row = w.decide(&claim, Decision::Unknown).await;
    is_dead(&row, DeadReason::Exhausted);
    assert!(row.in_doubt);
}

pub(super) async fn an_unknown_outcome_is_never_repeated_elsewhere(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Unknown).await;
    is_dead(&row, DeadReason::UnknownOutcome);
    assert!(row.in_doubt);
}

pub(super) async fn what_the_endpoint_refuses_is_a_dead_letter_at_once(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Refuse).await;
    is_dead(&row, DeadReason::Refused);
    assert!(!row.in_doubt);
}

pub(super) async fn a_fault_of_the_endpoint_gives_the_attempt_back(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let lane_at = w.after(secs(30));
    let recorded = w
        .record_with(won.award, claim.lease, Decision::Defer, lane_at)
        .await;
    assert_eq!(recorded.written, Written::Applied);
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.attempts, row.due_at),
        (State::Retryable, 0, Some(lane_at))
    );
    assert_eq!((row.deferred_since, row.in_doubt), (Some(w.now()), false));
    assert!(row.lease > claim.lease);
}

pub(super) async fn a_fault_that_lasts_makes_a_dead_letter(w: &World) {
    let won = w.win(KEEN).await;
    let since = w.now();
    loop {
        let claim = w.claim(&won).await;
        assert_eq!(
            claim.attempts, 1,
            "a fault of the endpoint is not an attempt"
        );
        let lane_at = w.after(days(1));
        w.record_with(won.award, claim.lease, Decision::Defer, lane_at)
            .await;
        let row = w.row(&won).await;
        if w.now().since(since) >= w.schedule().defer_max {
            is_dead(&row, DeadReason::EndpointFault);
            return;
        }
        assert_eq!(
            (row.state, row.deferred_since),
            (State::Retryable, Some(since))
        );
        w.move_to_due(&won).await;
    }
}

pub(super) async fn a_fault_counts_from_its_last_beginning(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    w.decide(&claim, Decision::Defer).await;
    let claim = w.claim(&won).await;
    assert_eq!(w.decide(&claim, RETRY).await.deferred_since, None);
    w.advance(w.schedule().defer_max);
    let claim = w.claim(&won).await;
    let row = w.decide(&claim, Decision::Defer).await;
    assert_eq!(
        (row.state, row.deferred_since),
        (State::Retryable, Some(w.now()))
    );
}

pub(super) async fn a_hold_gives_the_attempt_back(w: &World) {
    let won = w.win(KEEN).await;
    let lane = w.row(&won).await.lane;
    let claim = w.claim(&won).await;
    ok(w.store()
        .enable_endpoint(lane, false, super::world::actor(), w.now())
        .await);
    let row = w
        .decide(&claim, Decision::Hold(HoldReason::EndpointDisabled))
        .await;
    assert_eq!(
        (row.state, row.hold_reason),
        (State::Held, Some(HoldReason::EndpointDisabled))
    );
    assert_eq!((row.attempts, row.held_at), (0, Some(w.now())));
    assert_eq!(row.due_at, Some(w.after(w.schedule().hold_review)));
    assert!(row.lease > claim.lease);
}

pub(super) async fn a_hold_whose_reason_ended_meanwhile_waits_for_nobody(w: &World) {
    let won = w.win(KEEN).await;
    let claim = w.claim(&won).await;
    let row = w
        .decide(&claim, Decision::Hold(HoldReason::EndpointDisabled))
        .await;
    assert_eq!(
        (row.state, row.due_at, row.attempts),
        (State::Pending, Some(w.now()), 0)
    );
    assert_eq!((row.hold_reason, row.position), (None, None));
}

pub(super) async fn a_claim_is_given_back_whole(w: &World) {
    let won = w.win(BLUNT).await;
    let claim = w.claim(&won).await;
    w.advance(secs(1));
    assert_eq!(w.give_back(won.award, claim.lease).await, Written::Applied);
    let row = w.row(&won).await;
    assert_eq!(
        (row.state, row.due_at, row.attempts),
        (State::Pending, Some(w.now()), 0)
    );
    assert_eq!((row.position, row.in_doubt), (None, false));
    assert!(row.lease > claim.lease);
}

/// Whatever is recorded with that lease is late: a line in the log, and the row as
/// it was.
pub(super) async fn is_late(w: &World, won: &Won, lease: i64) {
    let before = w.row(won).await;
    let hold = Decision::Hold(HoldReason::Manual);
    for decision in [
        DELIVERED,
        RETRY,
        Decision::Refuse,
        Decision::Unknown,
        Decision::Defer,
        hold,
    ] {
        let lines = w.bench().log_lines(won.award).await;
        let recorded = w
            .record_with(won.award, lease, decision.clone(), w.now())
            .await;
        assert_eq!(
            recorded.written,
            Written::Late,
            "{decision:?} of {before:?}"
        );
        assert_eq!((&recorded.row, &w.row(won).await), (&before, &before));
        assert!(
            w.bench().log_lines(won.award).await > lines,
            "{decision:?} leaves its line"
        );
    }
    assert_eq!(
        w.give_back(won.award, lease).await,
        Written::Late,
        "given back: {before:?}"
    );
    assert_eq!(w.row(won).await, before);
}

pub(super) async fn a_worker_that_slept_through_its_lease_changes_nothing(w: &World) {
    let won = w.win(KEEN).await;
    let slept = w.claim(&won).await;
    w.rescue_when_due(&won).await;
    is_late(w, &won, slept.lease).await;
    let second = w.claim(&won).await;
    is_late(w, &won, slept.lease).await;
    assert_eq!(w.decide(&second, DELIVERED).await.state, State::Delivered);
    is_late(w, &won, slept.lease).await;
    is_late(w, &won, second.lease).await;
}

pub(super) async fn a_record_counts_only_while_the_award_is_in_hand(w: &World) {
    let (waits, retried) = (w.win(KEEN).await, w.win(KEEN).await);
    let (held, dead) = (w.win(KEEN).await, w.win(KEEN).await);
    let claim = w.claim(&retried).await;
    w.decide(&claim, RETRY).await;
    w.done(&held, tombola_core::ports::Action::Hold).await;
    let claim = w.claim(&dead).await;
    w.decide(&claim, Decision::Refuse).await;
    for won in [&waits, &retried, &held, &dead] {
        is_late(w, won, w.row(won).await.lease).await;
    }
}

pub(super) async fn records_of_a_batch_are_answered_each_for_itself(w: &World) {
    let campaign = w.campaign_of(KEEN).await;
    let won = w.win_from(&campaign, 2).await;
    let (first, second) = (w.claim(&won[0]).await, w.claim(&won[1]).await);
    let record = |claim: &Claim, lease| Record {
        award: claim.award,
        lease,
        decision: DELIVERED,
        error: None,
        lane_at: w.now(),
        jitter: Jitter::NONE,
    };
    let records = vec![
        record(&first, first.lease - 1),
        record(&second, second.lease),
    ];
    let recorded = ok(w.store().record(records, w.now()).await);
    assert_eq!(
        (recorded[0].written, recorded[1].written),
        (Written::Late, Written::Applied)
    );
    assert_eq!(recorded[0].row.state, State::Delivering);
    assert_eq!(recorded[1].row.state, State::Delivered);
}
