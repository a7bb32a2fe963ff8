//! Many at once: whatever order a store takes its calls in, each effect happens
//! once and no limit is exceeded.

use super::draws::{drawn, replayed};
use super::world::{
    Ask, CODE, EXTERNAL, KEEN, POINTS, PRIZE, TEXT, World, actor, ok, one_prize, only,
};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tombola_core::award::{Mark, State};
use tombola_core::draw::DrawRefusal;
use tombola_core::ports::{
    Acted, Action, AdoptAnswer, BulkFilter, CopyAnswer, DrawAnswer, DrawBatch, Operation,
    StockChanged, StoreResult,
};

type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Begins all of them before any has ended; their answers in order.
async fn together<T>(mut all: Vec<Waiting<'_, T>>) -> Vec<T> {
    let mut answers: Vec<Option<T>> = all.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_ready = true;
        for (waiting, answer) in all.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match waiting.as_mut().poll(cx) {
                    Poll::Ready(it) => *answer = Some(it),
                    Poll::Pending => is_ready = false,
                }
            }
        }
        if is_ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

/// So many batches of one request each, at once.
async fn draw_at_once(w: &World, campaign: &str, asks: Vec<Ask>) -> Vec<DrawAnswer> {
    let mut all: Vec<Waiting<'_, _>> = Vec::new();
    for ask in asks {
        let requests = vec![w.request(ask).await];
        let batch = DrawBatch {
            campaign: campaign.into(),
            requests,
            now: w.now(),
            has_relay: true,
        };
        all.push(Box::pin(w.commit(batch)));
    }
    together(all).await.into_iter().map(only).collect()
}

fn is_drawn(answer: &DrawAnswer) -> bool {
    matches!(answer, DrawAnswer::Drawn { .. })
}

pub(super) async fn batches_at_once_never_oversell(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 7\n")))
        .await;
    let asks = (0..30)
        .map(|n| Ask::new(&format!("u{n}"), &format!("key-{n:04}")))
        .collect();
    let answers = draw_at_once(w, "fair", asks).await;
    let won = answers
        .into_iter()
        .filter(|it| drawn(it.clone())[0].prize.is_some())
        .count();
    assert_eq!((won, w.stock_left("fair", PRIZE).await), (7, 0));
}

pub(super) async fn one_key_at_once_draws_once(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 50\n")))
        .await;
    let answers = draw_at_once(w, "fair", vec![Ask::new("u1", "key-0001"); 12]).await;
    let (first, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_drawn);
    let first = drawn(only(first));
    for other in others {
        assert_eq!(replayed(other), first);
    }
    assert_eq!(w.stock_left("fair", PRIZE).await, 49);
}

pub(super) async fn one_order_at_once_is_adopted_once(w: &World) {
    let (one, other) = (w.campaign_of(TEXT).await, w.campaign_of(TEXT).await);
    let mut all: Vec<Waiting<'_, _>> = Vec::new();
    for n in 0..12 {
        let campaign = if n % 2 == 0 { &one } else { &other };
        // In both orders, so that who claims them in the order they come meets another.
        let mut orders = vec![w.order(campaign, 1).await, w.order(campaign, 2).await];
        if n % 3 == 0 {
            orders.reverse();
        }
        all.push(Box::pin(w.adopt(orders)));
    }
    let answers: Vec<_> = together(all).await.into_iter().flatten().collect();
    let is_new = |it: &&AdoptAnswer| matches!(it, AdoptAnswer::Adopted(_));
    assert_eq!(answers.iter().filter(is_new).count(), 2);
    let known = answers.iter().filter(|it| **it == AdoptAnswer::Known);
    assert_eq!(known.count(), 22);
}

pub(super) async fn one_allowance_at_once_is_not_exceeded(w: &World) {
    let text = one_prize("fair", TEXT) + "\n[limits]\nper_user_total = 5\n";
    w.start("fair", &text).await;
    let asks = (0..12)
        .map(|n| Ask::new("u1", &format!("key-{n:04}")).times(2))
        .collect();
    let answers = draw_at_once(w, "fair", asks).await;
    assert_eq!(answers.iter().filter(|it| is_drawn(it)).count(), 2);
    for refused in answers.iter().filter(|it| !is_drawn(it)) {
        let is_exhausted = matches!(
            refused,
            DrawAnswer::Refused(DrawRefusal::AllowanceExhausted { left: 1, .. })
        );
        assert!(is_exhausted, "{refused:?}");
    }
}

pub(super) async fn ids_reserved_at_once_are_apart(w: &World) {
    let reserve = |count| -> Waiting<'_, _> { Box::pin(w.store().reserve_ids(count)) };
    let blocks = together((1..20).map(reserve).collect()).await;
    let mut all = BTreeSet::new();
    for block in blocks.into_iter().map(ok) {
        assert!(
            (block.next..block.end).all(|id| all.insert(id)),
            "{block:?}"
        );
    }
}

pub(super) async fn one_award_is_claimed_by_one_worker(w: &World) {
    let won = w.win(KEEN).await;
    let claim = |()| -> Waiting<'_, _> { Box::pin(w.try_claim(&won)) };
    let answers = together([(); 8].map(claim).into()).await;
    let claimed = answers
        .iter()
        .filter(|it| matches!(it, CopyAnswer::Claimed(_)))
        .count();
    let dropped = answers
        .iter()
        .filter(|it| **it == CopyAnswer::Dropped)
        .count();
    assert_eq!((claimed, dropped, w.row(&won).await.attempts), (1, 7, 1));
}

pub(super) async fn one_credit_is_made_by_one_worker(w: &World) {
    let won = w.win(POINTS).await;
    let deliver = |()| -> Waiting<'_, _> { Box::pin(w.deliver(&won)) };
    let answers = together([(); 8].map(deliver).into()).await;
    let delivered = answers
        .iter()
        .filter(|it| matches!(it, CopyAnswer::Delivered { .. }))
        .count();
    assert_eq!((delivered, w.bench().points_of(&won.user).await), (1, 7));
}

pub(super) async fn each_code_goes_to_one_award(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let codes = (0..9).map(|n| format!("aaa-{n}")).collect();
    super::codes::import(w, "fair", PRIZE, codes).await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let won = w.win_from("fair", 12).await;
    let answers = together(
        won.iter()
            .map(|it| -> Waiting<'_, _> { Box::pin(w.deliver(it)) })
            .collect(),
    )
    .await;
    let mut given = BTreeSet::new();
    for (won, answer) in won.iter().zip(&answers) {
        let code = w.bench().code_of(won.award).await;
        assert_eq!(
            code.is_some(),
            matches!(answer, CopyAnswer::Delivered { .. })
        );
        assert!(
            code.is_none_or(|code| given.insert(code)),
            "given to two awards"
        );
    }
    assert_eq!(given.len(), 9);
}

pub(super) async fn rescuers_at_once_take_each_row_once(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let won = w.win_from(&campaign, 10).await;
    w.move_to_due(&won[0]).await;
    let rescue = |()| -> Waiting<'_, _> { Box::pin(w.rescue_with(w.due(0))) };
    let pages = together([(); 4].map(rescue).into()).await;
    let mut taken: Vec<_> = pages
        .iter()
        .flat_map(|page| &page.handoffs)
        .map(|it| it.award)
        .collect();
    taken.sort();
    assert_eq!(taken, won.iter().map(|it| it.award).collect::<Vec<_>>());
}

pub(super) async fn dead_letters_requeued_twice_at_once_are_put_back_once(w: &World) {
    let campaign = w.campaign_of(TEXT).await;
    let won = w.win_from(&campaign, 6).await;
    for won in &won {
        w.mark(won.award, 1, Mark::Refused).await;
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        let spec = super::bulk::requeue_of(BulkFilter::default());
        ids.push(ok(w.store().begin_operation(spec, actor(), w.now()).await).id);
    }
    let step = |id| -> Waiting<'_, _> { Box::pin(w.store().step_operation(id, w.now())) };
    let answers = together(ids.into_iter().map(step).collect()).await;
    let done = |it: StoreResult<Option<Operation>>| ok(it).map_or(0, |it| it.done);
    assert_eq!(answers.into_iter().map(done).sum::<u64>(), 6);
}

pub(super) async fn of_two_people_one_is_heard(w: &World) {
    let won = w.win(EXTERNAL).await;
    w.deliver(&won).await;
    let acts = [
        Action::Confirm { receipt: None },
        Action::Cancel {
            return_stock: false,
        },
    ];
    let act = |action| -> Waiting<'_, _> { Box::pin(w.act(&won, action)) };
    let acted = together(acts.map(act).into()).await;
    let done = acted
        .iter()
        .filter(|it| matches!(it, Acted::Done(_)))
        .count();
    assert_eq!(done, 1, "{acted:?}");
    assert!(matches!(
        w.row(&won).await.state,
        State::Delivered | State::Cancelled
    ));
}

pub(super) async fn stock_added_at_once_adds_up(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 1\n")))
        .await;
    let change = |by: i64| -> Waiting<'_, _> {
        Box::pin(w.store().change_stock("fair", PRIZE, by, actor(), w.now()))
    };
    let answers = together([3, -1, 4, -2, 5].map(change).into()).await;
    let changed: i64 = answers
        .into_iter()
        .zip([3, -1, 4, -2, 5])
        .filter(|(answer, _)| matches!(answer, Ok(StockChanged::Changed { .. })))
        .map(|(_, by)| by)
        .sum();
    assert_eq!(
        i64::try_from(w.stock_left("fair", PRIZE).await),
        Ok(1 + changed)
    );
}
