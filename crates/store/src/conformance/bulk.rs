//! Bulk actions: by filter, in steps, spread over time, stopped and gone on with.

use super::world::{BLUNT, EXTERNAL, KEEN, TEXT, Won, World, actor, ok, secs};
use std::time::Duration;
use tombola_core::award::{Mark, State};
use tombola_core::campaign::Kind;
use tombola_core::decision::Decision;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Action, BulkAction, BulkFilter, BulkSpec, MarkOf, Operation, OperationState,
};
use tombola_core::reason::{DeadReason, HoldReason};

pub(super) fn requeue_of(filter: BulkFilter) -> BulkSpec {
    BulkSpec {
        action: BulkAction::Requeue {
            not_delivered: false,
            over_secs: 0,
        },
        filter,
        matched: 0,
    }
}

fn of_action(action: BulkAction) -> BulkSpec {
    BulkSpec {
        action,
        ..requeue_of(BulkFilter::default())
    }
}

async fn begin(w: &World, spec: BulkSpec) -> Operation {
    let begun = ok(w.store().begin_operation(spec, actor(), w.now()).await);
    assert_eq!((begun.state, begun.done), (OperationState::Running, 0));
    begun
}

async fn step(w: &World, id: i64) -> Operation {
    ok(w.store().step_operation(id, w.now()).await).expect("it was begun")
}

/// To its end; gives its steps as well.
async fn run(w: &World, spec: BulkSpec) -> (Operation, u32) {
    let id = begin(w, spec).await.id;
    for steps in 1..100 {
        let it = step(w, id).await;
        if it.state == OperationState::Done {
            return (it, steps);
        }
    }
    panic!("a bulk action does not end");
}

async fn done(w: &World, spec: BulkSpec) -> (u64, u64, u64) {
    let (it, _) = run(w, spec).await;
    (it.done, it.in_doubt, it.refused)
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
    assert_eq!(done(w, requeue_of(BulkFilter::default())).await, (3, 0, 0));
    for won in &dead {
        let row = w.row(won).await;
        assert_eq!(
            (row.state, row.attempts, row.publishes),
            (State::Pending, 0, 0)
        );
    }
    assert_eq!(w.row(&waits).await, before);
    assert_eq!(done(w, requeue_of(BulkFilter::default())).await, (0, 0, 0));
}

fn filter(set: impl FnOnce(&mut BulkFilter)) -> BulkFilter {
    let mut filter = BulkFilter::default();
    set(&mut filter);
    filter
}

pub(super) async fn each_filter_narrows(w: &World) {
    let first = refused(w, TEXT, 1).await.remove(0);
    w.advance(secs(60));
    let since = w.now();
    let second = refused(w, BLUNT, 1).await.remove(0);
    let third = refused(w, KEEN, 1).await.remove(0);
    let called = w.win(BLUNT).await;
    let claim = w.claim(&called).await;
    w.decide(&claim, Decision::Refuse).await;
    let none = || Some("none".to_owned());
    let (of_first, of_third) = (Some(first.campaign.clone()), Some(third.campaign.clone()));
    let of_user = |it: &mut BulkFilter| {
        it.user = Some(third.user.clone());
        it.campaign.clone_from(&of_third);
    };
    let of_no_prize = |it: &mut BulkFilter| (it.campaign, it.prize) = (of_third.clone(), none());
    let of_text = |it: &mut BulkFilter| (it.since, it.kind) = (Some(since), Some(Kind::Text));
    let filters = [
        (filter(|it| it.campaign = none()), vec![]),
        (filter(|it| it.user = none()), vec![]),
        (filter(|it| it.state = Some(State::Held)), vec![]),
        (
            filter(|it| it.hold_reason = Some(HoldReason::Manual)),
            vec![],
        ),
        (filter(of_no_prize), vec![]),
        (filter(of_user), vec![&third]),
        (
            filter(|it| it.reason = Some(DeadReason::Refused)),
            vec![&called],
        ),
        (filter(of_text), vec![]),
        (filter(|it| it.kind = Some(Kind::Webhook)), vec![&second]),
        (filter(|it| it.campaign.clone_from(&of_first)), vec![&first]),
    ];
    for (filter, expected) in filters {
        let (put_back, _, _) = done(w, requeue_of(filter.clone())).await;
        assert_eq!(usize::try_from(put_back), Ok(expected.len()), "{filter:?}");
        assert_eq!(
            states(w, &expected).await,
            vec![State::Pending; expected.len()]
        );
    }
}

pub(super) async fn what_is_in_doubt_stays_without_the_word(w: &World) {
    let external = refused(w, EXTERNAL, 1).await.remove(0);
    let text = refused(w, TEXT, 1).await.remove(0);
    assert_eq!(done(w, requeue_of(BulkFilter::default())).await, (1, 1, 0));
    assert_eq!(
        states(w, &[&external, &text]).await,
        [State::Dead, State::Pending]
    );
    let word = of_action(BulkAction::Requeue {
        not_delivered: true,
        over_secs: 0,
    });
    assert_eq!(done(w, word).await, (1, 0, 0));
    assert_eq!(w.row(&external).await.state, State::Pending);
}

pub(super) async fn what_is_put_back_is_spread_over_time(w: &World) {
    let dead = refused(w, KEEN, 4).await;
    let until = w.after(secs(400));
    let spec = BulkSpec {
        matched: 4,
        ..of_action(BulkAction::Requeue {
            not_delivered: false,
            over_secs: 400,
        })
    };
    run(w, spec).await;
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
    let (it, steps) = run(w, requeue_of(BulkFilter::default())).await;
    assert_eq!(usize::try_from(it.done), Ok(count));
    assert!((2..=3).contains(&steps), "{steps} steps");
    assert_eq!(
        states(w, &[&dead[0], &dead[count - 1]]).await,
        [State::Pending; 2]
    );
}

pub(super) async fn a_doubt_that_stays_never_stops_the_work(w: &World) {
    refused(w, EXTERNAL, STEP_ROWS_MAX).await;
    let text = refused(w, TEXT, 1).await.remove(0);
    let id = begin(w, requeue_of(BulkFilter::default())).await.id;
    let first = step(w, id).await;
    assert_eq!((first.done, first.state), (0, OperationState::Running));
    let second = step(w, id).await;
    assert_eq!((second.done, second.state), (1, OperationState::Done));
    assert_eq!(w.row(&text).await.state, State::Pending);
}

pub(super) async fn a_bulk_cancel_ends_what_nobody_has_in_hand(w: &World) {
    let (dead, waits) = (refused(w, TEXT, 1).await.remove(0), w.win(TEXT).await);
    let over = w.win(TEXT).await;
    w.deliver(&over).await;
    let in_hand = w.win(KEEN).await;
    w.claim(&in_hand).await;
    let cancel = of_action(BulkAction::Cancel {
        return_stock: false,
    });
    assert_eq!(done(w, cancel).await, (2, 0, 0));
    assert_eq!(
        states(w, &[&dead, &waits, &over, &in_hand]).await,
        [
            State::Cancelled,
            State::Cancelled,
            State::Delivered,
            State::Delivering
        ]
    );
}

pub(super) async fn a_bulk_cancel_gives_units_back_where_it_is_told_to(w: &World) {
    let lines = format!("{EXTERNAL}stock = 5\n");
    let won = w.win(&lines).await;
    let left = w.stock_left(&won.campaign, super::world::PRIZE).await;
    let cancel = of_action(BulkAction::Cancel { return_stock: true });
    assert_eq!(done(w, cancel).await, (1, 0, 0));
    assert_eq!(
        w.stock_left(&won.campaign, super::world::PRIZE).await,
        left + 1
    );
}

pub(super) async fn a_bulk_release_ends_holds_by_hand_and_no_others(w: &World) {
    let manual = w.win(&format!("{TEXT}release = \"manual\"\n")).await;
    let external = w.win(EXTERNAL).await;
    w.deliver(&external).await;
    assert_eq!(
        w.row(&external).await.hold_reason,
        Some(HoldReason::External)
    );
    assert_eq!(done(w, of_action(BulkAction::Release)).await, (1, 0, 0));
    assert_eq!(
        states(w, &[&manual, &external]).await,
        [State::Pending, State::Held]
    );
}

pub(super) async fn a_bulk_action_is_stopped_between_two_steps(w: &World) {
    refused(w, TEXT, STEP_ROWS_MAX + 5).await;
    let id = begin(w, requeue_of(BulkFilter::default())).await.id;
    let first = step(w, id).await;
    let stopped = ok(w.store().cancel_operation(id, actor(), w.now()).await);
    let stopped = stopped.expect("it was begun");
    assert_eq!(
        (stopped.state, stopped.done),
        (OperationState::Cancelled, first.done)
    );
    assert_eq!(step(w, id).await, stopped, "it takes no further step");
    let again = ok(w.store().cancel_operation(id, actor(), w.now()).await);
    assert_eq!(again, Some(stopped));
    assert_eq!(
        ok(w.store().cancel_operation(id + 1, actor(), w.now()).await),
        None
    );
    assert_eq!(ok(w.store().step_operation(id + 1, w.now()).await), None);
}

pub(super) async fn a_bulk_action_that_is_not_over_is_gone_on_with(w: &World) {
    refused(w, TEXT, STEP_ROWS_MAX + 5).await;
    let id = begin(w, requeue_of(BulkFilter::default())).await.id;
    assert_eq!(ok(w.store().running_operations().await), [id]);
    step(w, id).await;
    assert_eq!(ok(w.store().running_operations().await), [id]);
    step(w, id).await;
    assert_eq!(ok(w.store().running_operations().await), Vec::<i64>::new());
}

pub(super) async fn what_is_looked_at_once_is_not_taken_again(w: &World) {
    let won = refused(w, TEXT, 1).await.remove(0);
    refused(w, TEXT, STEP_ROWS_MAX).await;
    let id = begin(w, requeue_of(BulkFilter::default())).await.id;
    step(w, id).await;
    let lease = w.row(&won).await.lease;
    w.mark(won.award, lease, Mark::Refused).await;
    assert_eq!(
        w.row(&won).await.state,
        State::Dead,
        "it died again meanwhile"
    );
    step(w, id).await;
    assert_eq!(w.row(&won).await.state, State::Dead);
    w.done(
        &won,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
}
