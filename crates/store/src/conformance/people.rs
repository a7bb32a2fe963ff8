//! What is done to users, points, dead letters that were seen to, and imports that
//! should not have been.

use super::codes;
use super::draws::{drawn, replayed};
use super::world::{Ask, CODE, EPOCH, PHYSICAL, POINTS, PRIZE, TEXT, World, actor, ok, one_prize};
use tombola_core::award::{Mark, Position, State};
use tombola_core::draw::DrawRefusal;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{
    Action, BulkAction, BulkFilter, BulkSpec, CopyAnswer, DeadLetter, DrawAnswer, KeptAnswer,
    KeptMessage, Operation, OperationState, PointsReversed, RequestKey,
};
use tombola_core::reason::KeptReason;

pub(super) async fn a_blocked_user_draws_nowhere_until_unblocked(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    w.start("other", &one_prize("other", TEXT)).await;
    let lines = w.bench().operator_lines().await;
    for _ in 0..2 {
        ok(w.store().block_user("u1", actor(), w.now()).await);
    }
    for slug in ["fair", "other"] {
        let answer = w.draw(slug, Ask::new("u1", "key-00000001")).await;
        assert_eq!(answer, DrawAnswer::Refused(DrawRefusal::UserBlocked));
        drawn(w.draw(slug, Ask::new("u2", "key-00000002")).await);
    }
    assert!(ok(w.store().unblock_user("u1", actor(), w.now()).await));
    assert!(!ok(w.store().unblock_user("u1", actor(), w.now()).await));
    assert_eq!(w.bench().operator_lines().await, lines + 3);
    drawn(w.draw("fair", Ask::new("u1", "key-00000001")).await);
}

pub(super) async fn points_are_taken_back_once(w: &World) {
    let (won, text) = (w.win(POINTS).await, w.win(TEXT).await);
    let reverse = async |award| ok(w.store().reverse_points(award, actor(), w.now()).await);
    assert_eq!(
        reverse(won.award).await,
        PointsReversed::NotFound,
        "nothing is given yet"
    );
    w.deliver(&won).await;
    let points = w.bench().points_of(&won.user).await;
    assert!(points > 0);
    assert_eq!(
        reverse(won.award).await,
        PointsReversed::Reversed {
            user: won.user.clone(),
            points,
            balance: 0
        }
    );
    assert_eq!(reverse(won.award).await, PointsReversed::Before);
    assert_eq!(reverse(text.award).await, PointsReversed::NotFound);
    assert_eq!(w.bench().points_of(&won.user).await, 0);
    assert_eq!(w.row(&won).await.state, State::Delivered);
}

pub(super) async fn a_dead_letter_that_was_seen_to_is_dismissed(w: &World) {
    let (dead, waits) = (w.win(TEXT).await, w.win(TEXT).await);
    w.mark(dead.award, 1, Mark::Refused).await;
    let at = Position {
        epoch: EPOCH,
        partition: 0,
        offset: 1,
    };
    let message = KeptMessage {
        position: at,
        key: None,
        value: None,
        headers: vec![],
        reason: KeptReason::Empty,
    };
    ok(w.store().keep_messages(vec![message], w.now()).await);
    let lines = w.bench().operator_lines().await;
    let dismiss = async |letter| ok(w.store().dismiss(letter, actor(), w.now()).await);
    assert!(dismiss(DeadLetter::Award(dead.award)).await);
    assert!(dismiss(DeadLetter::Message(1)).await);
    assert!(!dismiss(DeadLetter::Award(waits.award)).await);
    assert!(!dismiss(DeadLetter::Message(2)).await);
    assert_eq!(w.bench().operator_lines().await, lines + 2);
    assert_eq!(w.row(&dead).await.state, State::Dead, "it stays what it is");
}

pub(super) async fn codes_that_were_withdrawn_are_given_no_more(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = codes::begin(w, "fair", PRIZE).await;
    codes::add(w, import, &["A-1", "A-2"]).await;
    let withdraw = async |prize: &str| {
        ok(w.store()
            .withdraw_import("fair", prize, import, actor(), w.now())
            .await)
    };
    assert!(!withdraw(PRIZE).await, "it is not finished");
    codes::finish(w, import).await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let mut won = w.win_from("fair", 2).await;
    let (held, given) = (won.remove(1), won.remove(0));
    assert!(matches!(
        w.deliver(&given).await,
        CopyAnswer::Delivered { .. }
    ));
    assert!(!withdraw("none").await);
    assert!(withdraw(PRIZE).await);
    assert!(matches!(w.deliver(&held).await, CopyAnswer::Held { .. }));
    assert!(
        w.bench().code_of(given.award).await.is_some(),
        "what was given stays"
    );
    for _ in 0..10 {
        if ok(w.store().remove_import(Some(import)).await) {
            break;
        }
    }
    assert!(w.bench().code_of(given.award).await.is_some());
}

async fn erase(w: &World, user: &str, pseudonym: &str) -> Operation {
    let spec = BulkSpec {
        action: BulkAction::Erase {
            pseudonym: pseudonym.to_owned(),
        },
        filter: BulkFilter {
            user: Some(user.to_owned()),
            ..BulkFilter::default()
        },
        matched: 0,
    };
    let begun = ok(w.store().begin_operation(spec, actor(), w.now()).await);
    assert_eq!(begun.spec.filter.user, None, "it does not tell who it is");
    let id = begun.id;
    loop {
        let it = ok(w.store().step_operation(id, w.now()).await).expect("it was begun");
        if it.state == OperationState::Done {
            return it;
        }
    }
}

pub(super) async fn an_erased_user_has_another_name_and_its_sums_stay(w: &World) {
    let won = w.win(POINTS).await;
    w.deliver(&won).await;
    let (lines, points) = (
        w.bench().operator_lines().await,
        w.bench().points_of(&won.user).await,
    );
    let erased = erase(w, &won.user, "erased-1").await;
    assert_eq!(erased.done, 1);
    assert_eq!(w.bench().points_of(&won.user).await, 0);
    assert_eq!(w.bench().points_of("erased-1").await, points);
    assert_eq!(w.row(&won).await.state, State::Delivered);
    assert_eq!(w.bench().operator_lines().await, lines + 1);
}

pub(super) async fn a_replay_of_an_erased_user_says_so(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    let ask = || Ask::new("u1", "key-00000001");
    let first = drawn(w.draw("fair", ask()).await);
    let other = Ask::new("u2", "key-00000002");
    let of_other = drawn(w.draw("fair", other.clone()).await);
    assert_eq!(replayed(w.draw("fair", ask()).await), first);
    assert_eq!(erase(w, "u1", "erased-1").await.done, 1);
    let again = w.draw("fair", ask()).await;
    assert_eq!(again, DrawAnswer::Refused(DrawRefusal::UserErased));
    assert_eq!(replayed(w.draw("fair", other).await), of_other);
}

pub(super) async fn an_answer_about_an_erased_user_is_kept_no_longer(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    for user in ["u1", "u2"] {
        drawn(
            w.draw("fair", Ask::new(user, &format!("key-of-{user}")))
                .await,
        );
        let answer = KeptAnswer {
            status: 201,
            body: user.into(),
            user: Some(user.to_owned()),
        };
        ok(w.store().keep_answer(token_of(user), answer, w.now()).await);
    }
    erase(w, "u1", "erased-1").await;
    let kept = async |user| {
        let kept = ok(w.store().kept_request(&token_of(user)).await);
        kept.and_then(|it| it.answer).expect("an answer is kept")
    };
    assert_eq!(kept("u1").await, KeptAnswer::erased());
    assert!(kept("u1").await.is_erased());
    assert_eq!(kept("u2").await.body, b"u2");
}

fn token_of(user: &str) -> RequestKey {
    RequestKey {
        client: "shop".to_owned(),
        operation: "POST token".to_owned(),
        key: format!("token-of-{user}"),
        fingerprint: [1; 32],
    }
}

pub(super) async fn what_was_given_to_an_erased_user_is_given_to_nobody_else(w: &World) {
    let campaign = super::local::coded(w, 1).await;
    let code = w.win_from(&campaign, 1).await.remove(0);
    w.deliver(&code).await;
    let text = w.bench().code_of(code.award).await.expect("it was given");
    erase(w, &code.user, "erased-1").await;
    assert_ne!(w.bench().code_of(code.award).await, Some(text.clone()));
    let import = codes::begin(w, &code.campaign, PRIZE).await;
    assert_eq!(
        codes::add(w, import, &[&text]).await,
        tombola_core::ports::CodesAdded::Duplicate { index: 0 }
    );
}

pub(super) async fn an_erased_user_of_many_draws_is_erased_in_steps(w: &World) {
    w.start("fair", &one_prize("fair", TEXT)).await;
    let requests = STEP_ROWS_MAX / 100 + 1;
    for n in 0..requests {
        let rolls = vec![super::world::roll_at(0, 4); 100];
        let ask = Ask::new("u1", &format!("key-{n:08}")).rolls(&rolls);
        drawn(w.draw("fair", ask).await);
    }
    let erased = erase(w, "u1", "erased-1").await;
    assert_eq!(usize::try_from(erased.done), Ok(requests * 100));
}

pub(super) async fn an_erasure_is_not_stopped_half_way(w: &World) {
    let won = w.win(PHYSICAL).await;
    w.done(&won, super::rescue_held::address()).await;
    w.done(
        &won,
        Action::Cancel {
            return_stock: false,
        },
    )
    .await;
    let spec = BulkSpec {
        action: BulkAction::Erase {
            pseudonym: "erased-1".to_owned(),
        },
        filter: BulkFilter {
            user: Some(won.user.clone()),
            ..BulkFilter::default()
        },
        matched: 0,
    };
    let id = ok(w.store().begin_operation(spec, actor(), w.now()).await).id;
    let stopped = ok(w.store().cancel_operation(id, actor(), w.now()).await);
    assert_eq!(
        stopped.expect("it was begun").state,
        OperationState::Running
    );
    let mut state = OperationState::Running;
    for _ in 0..2 {
        if state == OperationState::Running {
            let stepped = ok(w.store().step_operation(id, w.now()).await);
            state = stepped.expect("it was begun").state;
        }
    }
    assert_eq!(state, OperationState::Done);
}
