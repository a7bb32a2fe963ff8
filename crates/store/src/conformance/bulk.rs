//! Dead letters put back in bulk: by filter, in steps, spread over time.

use super::world::{BLUNT, EXTERNAL, KEEN, TEXT, Won, World, actor, ok, secs};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::{Mark, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{DeadFilter, MarkOf, RequeueStep, Requeued};
use tombola_core::reason::DeadReason;

fn step(w: &World, filter: DeadFilter) -> RequeueStep {
    RequeueStep {
        filter,
        after: None,
        not_delivered: false,
        until: w.now(),
    }
}

async fn requeue(w: &World, step: RequeueStep) -> Requeued {
    ok(w.store().requeue(step, actor(), w.now()).await)
}

/// Dead letters of one campaign: their messages were refused for good.
async fn refused(w: &World, lines: &str, count: usize) -> Vec<Won> {
    let won = w.win_many(lines, count).await;
    let mark = |won: &Won| MarkOf {
        award: won.award,
        lease: 1,
        mark: Mark::Refused,
        error: None,
    };
    ok(w.store()
        .mark_published(won.iter().map(mark).collect(), w.now())
        .await);
    won
}

async fn states(w: &World, all: &[&Won]) -> Vec<State> {
    let mut states = Vec::new();
    for won in all {
        states.push(w.row(won).await.state);
    }
    states
}

pub(super) async fn all_dead_letters_are_put_back_where_no_filter_is_given(w: &World) {
    let (dead, waits) = (refused(w, TEXT, 3).await, w.win(TEXT).await);
    let before = w.row(&waits).await;
    let done = requeue(w, step(w, DeadFilter::default())).await;
    assert_eq!(
        done,
        Requeued {
            requeued: 3,
            in_doubt: 0,
            next: None
        }
    );
    for won in &dead {
        let row = w.row(won).await;
        assert_eq!(
            (row.state, row.attempts, row.publishes),
            (State::Pending, 0, 0)
        );
    }
    assert_eq!(w.row(&waits).await, before);
    assert_eq!(
        requeue(w, step(w, DeadFilter::default())).await,
        Requeued::default()
    );
}

pub(super) async fn each_filter_narrows(w: &World) {
    let first = refused(w, TEXT, 1).await.remove(0);
    w.advance(secs(60));
    let since = w.now();
    let second = refused(w, BLUNT, 1).await.remove(0);
    let called = w.win(BLUNT).await;
    let claim = w.claim(&called).await;
    w.decide(&claim, Decision::Refuse).await;
    let filters = [
        (
            DeadFilter {
                campaign: Some("none".to_owned()),
                ..DeadFilter::default()
            },
            vec![],
        ),
        (
            DeadFilter {
                reason: Some(DeadReason::Refused),
                ..DeadFilter::default()
            },
            vec![&called],
        ),
        (
            DeadFilter {
                since: Some(since),
                kind: Some(Kind::Text),
                ..DeadFilter::default()
            },
            vec![],
        ),
        (
            DeadFilter {
                since: Some(since),
                ..DeadFilter::default()
            },
            vec![&second],
        ),
        (
            DeadFilter {
                kind: Some(Kind::Webhook),
                ..DeadFilter::default()
            },
            vec![],
        ),
        (
            DeadFilter {
                campaign: Some(first.campaign.clone()),
                ..DeadFilter::default()
            },
            vec![&first],
        ),
    ];
    for (filter, expected) in filters {
        let done = requeue(w, step(w, filter.clone())).await;
        assert_eq!(
            done.requeued,
            u64::try_from(expected.len()).unwrap_or_default(),
            "{filter:?}"
        );
        assert_eq!(
            states(w, &expected).await,
            vec![State::Pending; expected.len()]
        );
    }
}

pub(super) async fn what_is_in_doubt_stays_without_the_word(w: &World) {
    let external = refused(w, EXTERNAL, 1).await.remove(0);
    let text = refused(w, TEXT, 1).await.remove(0);
    let done = requeue(w, step(w, DeadFilter::default())).await;
    assert_eq!((done.requeued, done.in_doubt), (1, 1));
    assert_eq!(
        states(w, &[&external, &text]).await,
        [State::Dead, State::Pending]
    );
    let word = RequeueStep {
        not_delivered: true,
        ..step(w, DeadFilter::default())
    };
    let done = requeue(w, word).await;
    assert_eq!((done.requeued, done.in_doubt), (1, 0));
    assert_eq!(w.row(&external).await.state, State::Pending);
}

pub(super) async fn what_is_put_back_is_spread_over_time(w: &World) {
    let dead = refused(w, KEEN, 4).await;
    let until = w.after(secs(400));
    requeue(
        w,
        RequeueStep {
            until,
            ..step(w, DeadFilter::default())
        },
    )
    .await;
    let mut due = Vec::new();
    for won in &dead {
        due.extend(w.row(won).await.due_at);
    }
    due.sort();
    assert!(due[0] >= w.now() && due[3] <= until, "{due:?}");
    let apart: Vec<Duration> = due.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    assert!(apart.iter().all(|it| *it >= secs(90)), "{apart:?}");
}

pub(super) async fn long_work_goes_on_step_by_step(w: &World) {
    let count = STEP_ROWS_MAX + 5;
    let dead = refused(w, TEXT, count).await;
    let (mut after, mut sum, mut steps): (Option<AwardId>, u64, u32) = (None, 0, 0);
    loop {
        let done = requeue(
            w,
            RequeueStep {
                after,
                ..step(w, DeadFilter::default())
            },
        )
        .await;
        assert!(done.requeued <= u64::try_from(STEP_ROWS_MAX).unwrap_or(u64::MAX));
        (sum, steps) = (sum + done.requeued, steps + 1);
        match done.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(usize::try_from(sum), Ok(count));
    assert!((2..=3).contains(&steps), "{steps} steps");
    assert_eq!(
        states(w, &[&dead[0], &dead[count - 1]]).await,
        [State::Pending; 2]
    );
}

pub(super) async fn a_doubt_that_stays_never_stops_the_work(w: &World) {
    refused(w, EXTERNAL, STEP_ROWS_MAX).await;
    let text = refused(w, TEXT, 1).await.remove(0);
    let first = requeue(w, step(w, DeadFilter::default())).await;
    assert_eq!(first.requeued, 0);
    assert!(first.next.is_some(), "{first:?}");
    let second = RequeueStep {
        after: first.next,
        ..step(w, DeadFilter::default())
    };
    assert_eq!(requeue(w, second).await.requeued, 1);
    assert_eq!(w.row(&text).await.state, State::Pending);
}
