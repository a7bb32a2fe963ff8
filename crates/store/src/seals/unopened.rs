//! Aim: what cannot be opened is named, stays as it is, and stands in the way of nothing else.

use super::tests::{address, content, in_use, reseal};
use crate::Store;
use crate::read::AuditDepth;
use crate::read::fixture::{Fixture, GIFT, NOW, actor, endpoint, seal_keys};
use tombola_core::award::State;
use tombola_core::limits::CODES_TRIED_MAX;
use tombola_core::ports::{Action, Catalog as _, CopyAnswer, StoreError};

#[tokio::test]
async fn missing_version_is_named_and_is_an_error_of_its_own_rows_only() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    let (gift, _) = in_use(&it).await;
    it.reopen_with(&[2]).unwrap();
    let shown = it.store.award_show(gift).await.unwrap().unwrap();
    assert_eq!((shown.fact.state, shown.content), (State::Delivered, None));
    assert_eq!(
        shown.content_problem.as_deref(),
        Some(
            "cannot be opened: a code of campaign 1 is sealed under version 1, which is missing from secret.key"
        )
    );
    let listed = it.store.endpoint_list(NOW).await.unwrap().remove(0);
    assert!(
        listed
            .problem
            .unwrap()
            .contains("version 1, which is missing")
    );
    let endpoints = it.store.endpoints().await.unwrap();
    assert!(
        endpoints[0].secrets.is_empty(),
        "no call is signed by nothing"
    );
    let audit = it.store.audit(AuditDepth::Sampled).await.unwrap();
    let names = audit.checks.iter().filter(|check| check.violations > 0);
    assert_eq!(
        names.map(|it| it.name.as_str()).collect::<Vec<_>>(),
        ["I4_code_opens"]
    );
    // Everything else goes on.
    let drawn = it.draw("bob", &[0, 2]).await;
    assert_eq!(drawn.len(), 2);
    it.store
        .put_endpoint(endpoint("other"), "whsec_other".to_owned(), actor(), NOW)
        .await
        .unwrap();
    let mut lost = endpoint("keen");
    lost.secret = Some("whsec_new".to_owned());
    let put = it.store.put_endpoint(lost, String::new(), actor(), NOW);
    let put = put.await.unwrap().endpoint().unwrap();
    assert_eq!(put.secrets_at(NOW), ["whsec_new"], "the way out");
}

#[tokio::test]
async fn code_that_does_not_open_is_given_to_nobody_and_burned_for_nobody() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    let gift = it.win("ann", GIFT).await;
    // The change has come to the key of the digests and no farther.
    it.reopen_with(&[1, 2]).unwrap();
    assert_eq!(it.store.reseal_step().await.unwrap().rows, 1);
    it.reopen_with(&[2]).unwrap();
    let failed = it.deliver(gift).await;
    assert_eq!(failed, CopyAnswer::Failed { is_dead: false });
    let row = it.text("SELECT state || ' ' || attempts FROM delivery WHERE kind = 'code'");
    assert_eq!(row, "retryable 1");
    assert_eq!(
        it.number("SELECT count(*) FROM code WHERE award_id IS NULL"),
        3
    );
    let why = it.text("SELECT detail FROM attempt WHERE decision = 'fail'");
    assert!(
        why.contains("version 1, which is missing from secret.key"),
        "{why}"
    );
    // An import that opens is given from, although it is behind the others.
    it.import("fair", "gift", &["NEW-1"]).await;
    let bob = it.win("bob", GIFT).await;
    let delivered = it.deliver(bob).await;
    assert!(
        matches!(delivered, CopyAnswer::Delivered { .. }),
        "{delivered:?}"
    );
    assert_eq!(content(&it, bob).await.as_deref(), Some("NEW-1"));
    // With the version back, the same award gets its code when its time comes.
    it.reopen_with(&[1, 2]).unwrap();
    it.shell()
        .execute(
            "UPDATE delivery SET due_at = 1 WHERE state = 'retryable'",
            [],
        )
        .unwrap();
    let delivered = it.deliver(gift).await;
    assert!(
        matches!(delivered, CopyAnswer::Delivered { .. }),
        "{delivered:?}"
    );
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
}

#[tokio::test]
async fn delivery_tries_as_many_codes_as_its_bound_and_no_more() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    // Three codes of the fair and four of each import: one less than the bound.
    for import in 0..7 {
        let codes = ["A", "B", "C", "D", "E"].map(|it| format!("{it}-{import}"));
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        it.import("fair", "gift", &codes).await;
    }
    let last = it.import("fair", "gift", &["LAST-1"]).await;
    let gift = it.win("ann", GIFT).await;
    it.reopen_with(&[1, 2]).unwrap();
    it.store.reseal_step().await.unwrap(); // the key of the digests
    it.reopen_with(&[2]).unwrap();
    it.import("fair", "gift", &["GOOD-1"]).await;
    let failed = it.deliver(gift).await;
    assert_eq!(failed, CopyAnswer::Failed { is_dead: false });
    while !it.store.remove_import(Some(last)).await.unwrap() {}
    it.shell()
        .execute(
            "UPDATE delivery SET due_at = 1 WHERE state = 'retryable'",
            [],
        )
        .unwrap();
    let delivered = it.deliver(gift).await;
    assert!(
        matches!(delivered, CopyAnswer::Delivered { .. }),
        "{delivered:?}"
    );
    assert_eq!(content(&it, gift).await.as_deref(), Some("GOOD-1"));
    assert_eq!(CODES_TRIED_MAX, 3 + 7 * 4 + 1);
}

#[tokio::test]
async fn code_that_was_changed_or_moved_is_passed_over() {
    let it = Fixture::sealed_fair(&[1]).await;
    // The bytes of the first and the second code change places.
    it.shell()
        .execute_batch(
            "CREATE TEMP TABLE was AS SELECT id, sealed FROM code;
             UPDATE code SET sealed = (SELECT sealed FROM was WHERE was.id = 3 - code.id) WHERE id < 3",
        )
        .unwrap();
    let gift = it.win("ann", GIFT).await;
    let delivered = it.deliver(gift).await;
    assert!(
        matches!(delivered, CopyAnswer::Delivered { .. }),
        "{delivered:?}"
    );
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0003"));
    assert_eq!(
        it.number("SELECT count(*) FROM code WHERE award_id IS NULL"),
        2
    );
}

#[tokio::test]
async fn rows_that_do_not_open_stay_as_they_are_and_are_tried_by_the_next_process() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    in_use(&it).await;
    it.reopen_with(&[2]).unwrap();
    assert_eq!(reseal(&it).await, 0);
    let shown = it.store.seal_show().await.unwrap();
    assert_eq!(
        (shown.newest, shown.is_resealing, shown.stuck),
        (2, false, 6)
    );
    let old = &shown.versions[0];
    assert_eq!((old.version, old.is_there, old.is_needed), (1, false, true));
    it.reopen_with(&[1, 2]).unwrap();
    assert_eq!(reseal(&it).await, 6);
    let shown = it.store.seal_show().await.unwrap();
    assert_eq!((shown.is_resealing, shown.stuck), (false, 0));
    let said = shown
        .versions
        .iter()
        .map(|it| (it.version, it.is_there, it.is_needed));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [(1, true, false), (2, true, true)]
    );
    assert_eq!(shown.versions[1].rows["code"], 3);
}

#[tokio::test]
async fn another_secret_under_a_known_number_is_refused() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    it.store.close();
    assert_eq!(Store::sealed_under(&it.path()).unwrap(), [1]);
    it.shell()
        .execute("UPDATE seal_key SET mark = zeroblob(16)", [])
        .unwrap();
    let error = it.reopen_with(&[1]).unwrap_err();
    assert!(
        matches!(&error, StoreError::Sealed(why) if why.contains("version 1 of secret.key")),
        "{error}"
    );
}

#[tokio::test]
async fn without_the_key_of_digests_no_code_is_imported_until_it_is_given_up() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    it.reopen_with(&[2]).unwrap();
    let import = it.begin("fair", "gift").await;
    let refused = it
        .store
        .add_codes(import, vec!["NEW-1".to_owned()], false)
        .await;
    assert!(matches!(refused, Err(StoreError::Sealed(_))), "{refused:?}");
    assert!(it.store.code_digest().is_err());
    let keys = || seal_keys(&[2, 3]);
    it.store
        .change_secret(keys(), false, actor(), NOW)
        .await
        .unwrap();
    assert!(
        it.store.code_digest().is_err(),
        "never without the word for it"
    );
    it.store
        .change_secret(keys(), true, actor(), NOW)
        .await
        .unwrap();
    it.import("fair", "gift", &["NEW-1"]).await;
}

#[tokio::test]
async fn without_secrets_what_was_sealed_stays_and_new_rows_are_plain() {
    let mut it = Fixture::sealed_fair(&[1]).await;
    let (gift, phone) = in_use(&it).await;
    it.reopen_with(&[]).unwrap();
    assert_eq!(content(&it, gift).await, None);
    assert_eq!(reseal(&it).await, 0);
    it.act(phone, Action::Address(address())).await;
    assert_eq!(it.number("SELECT key_version FROM address"), 0);
    it.reopen_with(&[1]).unwrap();
    assert_eq!(content(&it, gift).await.as_deref(), Some("GIFT-0001"));
}
