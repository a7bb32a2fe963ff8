//! A change of the secret under which rows are sealed: nothing that is read or
//! compared changes by it. A store that seals nothing has nothing to do.

use super::codes::import;
use super::world::{CODE, PRIZE, World, actor, days, ok, one_prize};
use tombola_core::endpoint::EndpointSpec;
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{CodesAdded, CopyAnswer, ImportBegun, NewSecret};

/// More than any of these cases needs.
const STEPS_MAX: usize = 100;

/// Seals everything anew; gives the number of rows.
async fn reseal(w: &World) -> u64 {
    let mut rows = 0;
    for _ in 0..STEPS_MAX {
        let step = ok(w.store().reseal_step().await);
        assert!(step.rows <= STEP_ROWS_MAX as u64, "{step:?}");
        rows += step.rows;
        if step.is_done {
            return rows;
        }
    }
    panic!("sealing anew comes to no end")
}

/// Whether the campaign takes a code.
async fn takes(w: &World, code: &str) -> bool {
    let begun = w.store().begin_import("fair", PRIZE, actor(), w.now());
    let ImportBegun::Begun(import) = ok(begun.await) else {
        panic!("the prize is gone")
    };
    let added = w.store().add_codes(import, vec![code.to_owned()], false);
    let added = ok(added.await);
    ok(w.store().remove_import(Some(import)).await);
    matches!(added, CodesAdded::Added { .. })
}

pub(super) async fn sealing_anew_comes_to_an_end_and_stays_there(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    for step in 0..3 {
        let codes = (0..STEP_ROWS_MAX).map(|n| format!("{step}-{n}"));
        import(w, "fair", PRIZE, codes.collect()).await;
    }
    reseal(w).await;
    w.bench().change_secret().await;
    reseal(w).await;
    assert_eq!(reseal(w).await, 0);
}

pub(super) async fn a_code_is_the_same_under_every_secret(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    import(
        w,
        "fair",
        PRIZE,
        ["a", "b", "c"].map(str::to_owned).to_vec(),
    )
    .await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let won = w.win_from("fair", 3).await;
    w.deliver(&won[0]).await;
    w.bench().change_secret().await;
    w.deliver(&won[1]).await;
    reseal(w).await;
    let third = w.deliver(&won[2]).await;
    assert!(matches!(third, CopyAnswer::Delivered { .. }), "{third:?}");
    for (won, code) in won.iter().zip(["a", "b", "c"]) {
        assert_eq!(w.bench().code_of(won.award).await.as_deref(), Some(code));
    }
}

pub(super) async fn a_code_is_unique_over_a_change_of_the_secret(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    import(w, "fair", PRIZE, vec!["old".to_owned()]).await;
    w.bench().change_secret().await;
    import(w, "fair", PRIZE, vec!["new".to_owned()]).await;
    for _ in 0..2 {
        assert!(!takes(w, "old").await && !takes(w, "new").await);
        assert!(takes(w, "other").await);
        reseal(w).await;
    }
}

pub(super) async fn an_endpoint_keeps_its_secrets_over_a_change_of_ours(w: &World) {
    let spec = EndpointSpec {
        name: "coupons".to_owned(),
        url: "https://coupons.example/awards".to_owned(),
        secret: None,
        idempotent: true,
        conflict_means_delivered: false,
        timeout: "10s".to_owned(),
        concurrency: 1,
        rate: None,
        allow_private: false,
    };
    let put = w
        .store()
        .put_endpoint(spec, "whsec_one".to_owned(), actor(), w.now());
    ok(put.await);
    let secret = NewSecret {
        text: "whsec_two".to_owned(),
        hash: [2; 32],
        overlap: days(1),
    };
    let rotated = w.store().rotate_secret("coupons", secret, actor(), w.now());
    ok(rotated.await);
    let before = ok(w.store().endpoints().await);
    assert_eq!(before[0].secrets_at(w.now()), ["whsec_two", "whsec_one"]);
    for _ in 0..2 {
        w.bench().change_secret().await;
        assert!(ok(w.store().endpoints().await) == before);
        reseal(w).await;
        assert!(ok(w.store().endpoints().await) == before);
    }
}
