//! Requests that come again: one effect, one answer, and the key is as durable as
//! the effect. Draws have their own cases.

use super::world::{PHYSICAL, PRIZE, TEXT, World, actor, days, ok, one_prize};
use tombola_core::campaign::{Approval, Transition};
use tombola_core::ports::{
    Acted, Action, Actor, ApiKey, KeptAnswer, NewSecret, PauseScope, RequestKey, Role,
    StockChanged, StoreError, Transitioned,
};

fn request(operation: &str, key: &str) -> RequestKey {
    RequestKey {
        client: "shop".to_owned(),
        operation: operation.to_owned(),
        key: key.to_owned(),
        fingerprint: [1; 32],
    }
}

fn under(request: RequestKey) -> Actor {
    Actor {
        request: Some(request),
        ..actor()
    }
}

fn answer(body: &str) -> KeptAnswer {
    KeptAnswer {
        status: 200,
        body: body.as_bytes().to_vec(),
        user: None,
    }
}

async fn add(w: &World, by: Actor) -> Result<StockChanged, StoreError> {
    w.store().change_stock("fair", PRIZE, 2, by, w.now()).await
}

const TWO_MORE: StockChanged = StockChanged::Changed { stock: 5, left: 5 };

async fn with_stock(w: &World) {
    w.start("fair", &one_prize("fair", &format!("{TEXT}stock = 3\n")))
        .await;
}

pub(super) async fn a_repeated_request_has_one_effect_and_the_same_answer(w: &World) {
    with_stock(w).await;
    let by = under(request("POST stock", "key-00000001"));
    let lines = w.bench().operator_lines().await;
    for _ in 0..3 {
        assert_eq!(ok(add(w, by.clone()).await), TWO_MORE);
        w.advance(days(1));
    }
    assert_eq!(w.bench().operator_lines().await, lines + 1);
    assert_eq!(w.stock_left("fair", PRIZE).await, 5);
}

pub(super) async fn a_key_belongs_to_its_client_and_its_operation(w: &World) {
    with_stock(w).await;
    let first = request("POST stock", "key-00000001");
    let others = [
        RequestKey {
            client: "app".to_owned(),
            ..first.clone()
        },
        RequestKey {
            operation: "POST stock of another".to_owned(),
            ..first.clone()
        },
        RequestKey {
            key: "key-00000002".to_owned(),
            ..first.clone()
        },
    ];
    ok(add(w, under(first)).await);
    for other in others {
        ok(add(w, under(other)).await);
    }
    assert_eq!(w.stock_left("fair", PRIZE).await, 3 + 4 * 2);
}

pub(super) async fn a_key_that_comes_with_another_request_is_refused(w: &World) {
    with_stock(w).await;
    let first = request("POST stock", "key-00000001");
    let other = RequestKey {
        fingerprint: [2; 32],
        ..first.clone()
    };
    ok(add(w, under(first)).await);
    let refused = add(w, under(other.clone())).await;
    assert!(matches!(refused, Err(StoreError::KeyReused)), "{refused:?}");
    let kept = w.store().keep_answer(other, answer("{}"), w.now()).await;
    assert!(matches!(kept, Err(StoreError::KeyReused)), "{kept:?}");
    assert_eq!(w.stock_left("fair", PRIZE).await, 5);
}

pub(super) async fn a_request_that_changed_nothing_may_be_tried_again(w: &World) {
    with_stock(w).await;
    let request = request("POST stock", "key-00000001");
    let take = |by: Actor| w.store().change_stock("fair", PRIZE, -4, by, w.now());
    let refused = ok(take(under(request.clone())).await);
    assert_eq!(refused, StockChanged::NotEnough { left: 3 });
    assert_eq!(ok(w.store().kept_request(&request).await), None);
    ok(add(w, actor()).await);
    assert_eq!(
        ok(take(under(request)).await),
        StockChanged::Changed { stock: 1, left: 1 }
    );
}

pub(super) async fn each_act_under_a_key_happens_once(w: &World) {
    let (text, physical) = (w.win(TEXT).await, w.win(PHYSICAL).await);
    let by = |operation: &str| under(request(operation, "key-00000001"));
    let hold = || {
        w.store()
            .act(text.award, Action::Hold, by("POST hold"), w.now())
    };
    let first = ok(hold().await);
    assert!(matches!(first, Acted::Done(_)), "{first:?}");
    w.done(&text, Action::Release).await;
    assert_eq!(ok(hold().await), first, "it is held no second time");

    let scope = || PauseScope::default();
    ok(w.store().pause(scope(), by("POST pause"), w.now()).await);
    assert!(ok(w
        .store()
        .resume(scope(), by("POST resume"), w.now())
        .await));
    ok(w.store().pause(scope(), by("POST pause"), w.now()).await);
    assert!(
        !ok(w.store().resume(scope(), actor(), w.now()).await),
        "it is paused no second time"
    );

    let submit = || async {
        let (slug, submit) = (physical.campaign.as_str(), Transition::Pause);
        let by = by("POST transitions");
        ok(w.store()
            .transition(slug, submit, Approval::Anybody, by, w.now())
            .await)
    };
    let moved = submit().await;
    assert!(matches!(moved, Transitioned::Moved { .. }), "{moved:?}");
    assert_eq!(submit().await, moved);
}

pub(super) async fn a_key_of_the_api_is_made_once_under_a_request_key(w: &World) {
    let key = |hash| ApiKey {
        id: 0,
        client: "shop".to_owned(),
        role: Role::Client,
        campaigns: Vec::new(),
        hash: [hash; 32],
        created_at: w.now(),
        expires_at: None,
        revoked_at: None,
    };
    let by = || under(request("POST keys", "key-00000001"));
    let first = ok(w.store().put_key(key(1), by()).await);
    assert_eq!(ok(w.store().put_key(key(2), by()).await), first);
    assert_eq!(ok(w.store().keys().await), [first]);
}

pub(super) async fn a_secret_is_rotated_once_under_a_request_key(w: &World) {
    let lane = w.put_endpoint("coupons", true).await;
    let rotate = async |text: &str, hash: u8| {
        let secret = NewSecret {
            text: text.to_owned(),
            hash: [hash; 32],
            overlap: days(1),
        };
        let by = under(request("POST rotate-secret", "key-00000001"));
        ok(w.store()
            .rotate_secret("coupons", secret, by, w.now())
            .await)
    };
    let first = rotate("whsec_two", 2).await;
    w.advance(days(2));
    assert_eq!(rotate("whsec_other", 3).await, first);
    let all = ok(w.store().endpoints().await);
    let endpoint = all.iter().find(|it| it.lane == lane).expect("it is there");
    assert_eq!(endpoint.secrets_at(w.now()), ["whsec_two"]);
}

pub(super) async fn the_first_answer_stands(w: &World) {
    with_stock(w).await;
    let request = request("POST stock", "key-00000001");
    ok(add(w, under(request.clone())).await);
    let kept = ok(w.store().kept_request(&request).await).expect("the effect is kept");
    assert_eq!((kept.fingerprint, kept.answer), ([1; 32], None));
    for body in ["first", "second"] {
        let stands = ok(w
            .store()
            .keep_answer(request.clone(), answer(body), w.now())
            .await);
        assert_eq!(stands, answer("first"));
    }
    let kept = ok(w.store().kept_request(&request).await).expect("the answer is kept");
    assert_eq!(kept.answer, Some(answer("first")));
}

pub(super) async fn a_request_without_an_effect_here_is_kept_by_its_answer(w: &World) {
    let request = request("POST player-tokens", "key-00000001");
    assert_eq!(ok(w.store().kept_request(&request).await), None);
    ok(w.store()
        .keep_answer(request.clone(), answer("token"), w.now())
        .await);
    let kept = ok(w.store().kept_request(&request).await).expect("the answer is kept");
    assert_eq!(kept.answer, Some(answer("token")));
}

pub(super) async fn cleanup_removes_keys_that_are_older_than_their_retention(w: &World) {
    with_stock(w).await;
    let (old, young) = (
        request("POST stock", "key-00000001"),
        request("POST stock", "key-00000002"),
    );
    ok(add(w, under(old.clone())).await);
    w.advance(days(1));
    let before = w.now();
    ok(add(w, under(young.clone())).await);
    while ok(w.store().cleanup(before).await) > 0 {}
    assert_eq!(ok(w.store().kept_request(&old).await), None);
    assert!(ok(w.store().kept_request(&young).await).is_some());
}

pub(super) async fn who_submitted_may_not_approve_where_a_second_person_has_to(w: &World) {
    w.put(&one_prize("fair", TEXT)).await;
    let transition = async |command, by: &str| {
        ok(w.store()
            .transition(
                "fair",
                command,
                Approval::SecondPerson,
                Actor::named(by),
                w.now(),
            )
            .await)
    };
    transition(Transition::Submit, "ann").await;
    let alone = transition(Transition::Approve, "ann").await;
    assert_eq!(alone, Transitioned::SamePerson);
    let second = transition(Transition::Approve, "bo").await;
    assert!(matches!(second, Transitioned::Moved { .. }), "{second:?}");
    // A version is submitted anew, and the one before says nothing of it.
    transition(Transition::Refuse, "bo").await;
    w.put(&one_prize("fair", &format!("{TEXT}stock = 1\n")))
        .await;
    transition(Transition::Submit, "bo").await;
    assert_eq!(
        transition(Transition::Approve, "bo").await,
        Transitioned::SamePerson
    );
    let second = transition(Transition::Approve, "ann").await;
    assert!(matches!(second, Transitioned::Moved { .. }), "{second:?}");
}
