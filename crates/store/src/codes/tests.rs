//! Aim: what the suite of the ports cannot see: what lies in the database after an
//! import that was killed, that met another one, or that was withdrawn.

use crate::read::fixture::{Fixture, GIFT, NOW, actor};
use tombola_core::ports::{Catalog as _, CodesAdded, CopyAnswer, StoreError};
use tombola_core::reason::HoldReason;

const FREE_CODES: &str = "SELECT count(*) FROM code c JOIN code_import i ON i.id = c.import_id
  WHERE i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL";

#[tokio::test]
async fn import_that_was_killed_is_invisible_and_the_next_process_removes_it() {
    let mut it = Fixture::fair().await;
    let killed = it.begin("fair", "gift").await;
    it.add(killed, &["LOST-1", "LOST-2"]).await;
    it.reopen();
    assert_eq!(it.number(FREE_CODES), 3, "those of the finished import");
    while !it.store.remove_import(None).await.unwrap() {}
    assert_eq!(it.number("SELECT count(*) FROM code"), 3);
    assert_eq!(it.number("SELECT count(*) FROM code_import"), 1);
    it.import("fair", "gift", &["LOST-1", "LOST-2"]).await;
    assert_eq!(it.number(FREE_CODES), 5);
}

#[tokio::test]
async fn leftovers_of_a_killed_import_are_in_nobodys_way() {
    let mut it = Fixture::fair().await;
    let killed = it.begin("fair", "gift").await;
    it.add(killed, &["LOST-1", "LOST-2", "LOST-3"]).await;
    it.reopen();
    let codes = it.import("fair", "gift", &["LOST-2", "NEW-1"]).await;
    assert_eq!(it.number(FREE_CODES), 5);
    while !it.store.remove_import(None).await.unwrap() {}
    assert_eq!(it.number("SELECT count(*) FROM code"), 5);
    assert_eq!(
        it.number(&format!(
            "SELECT codes FROM code_import WHERE id = {}",
            codes.0
        )),
        2
    );
}

#[tokio::test]
async fn of_two_imports_with_a_code_in_common_the_newer_goes_on() {
    let it = Fixture::fair().await;
    let (older, newer) = (
        it.begin("fair", "gift").await,
        it.begin("fair", "gift").await,
    );
    it.add(older, &["A", "B"]).await;
    assert_eq!(
        it.add(newer, &["C", "B"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
    let next = it.store.add_codes(older, vec!["D".to_owned()], false).await;
    assert!(matches!(next, Err(StoreError::Row(_))), "{next:?}");
    assert!(
        it.store
            .finish_import(older, 0, actor(), NOW)
            .await
            .is_err()
    );
    let finished = it.store.finish_import(newer, 0, actor(), NOW).await;
    assert_eq!(finished.unwrap().codes, 2);
    assert_eq!(it.number(FREE_CODES), 5);
}

#[tokio::test]
async fn bad_line_names_its_member_and_leaves_nothing_of_its_step() {
    let it = Fixture::fair().await;
    let import = it.begin("fair", "gift").await;
    it.add(import, &["A", "B"]).await;
    assert_eq!(
        it.add(import, &["C", "D", "GIFT-0001", "E", "B"]).await,
        CodesAdded::Duplicate { index: 2 }
    );
    assert_eq!(
        it.add(import, &["C", "D", "C", "D"]).await,
        CodesAdded::Duplicate { index: 2 }
    );
    for wrong in ["", &"x".repeat(1025)] {
        let answer = it
            .store
            .add_codes(import, vec!["F".to_owned(), wrong.to_owned()], true)
            .await;
        assert!(
            matches!(&answer, Err(StoreError::Row(why)) if why.contains("code 1")),
            "{answer:?}"
        );
    }
    assert_eq!(it.number("SELECT count(*) FROM code"), 5);
    while !it.store.remove_import(Some(import)).await.unwrap() {}
    assert_eq!(it.number("SELECT count(*) FROM code"), 3);
}

#[tokio::test]
async fn withdrawn_import_gives_nothing_more_and_keeps_what_it_gave() {
    let it = Fixture::fair().await;
    let won = it.win("ann", GIFT).await;
    assert!(matches!(
        it.deliver(won).await,
        CopyAnswer::Delivered { .. }
    ));
    let import = tombola_core::ports::ImportId(it.number("SELECT id FROM code_import"));
    while !it.store.remove_import(Some(import)).await.unwrap() {}
    assert_eq!(it.number("SELECT count(*) FROM code"), 1);
    assert_eq!(it.number("SELECT codes FROM code_import"), 1);
    assert!(
        it.store.remove_import(None).await.unwrap(),
        "nothing is left to remove"
    );
    let next = it.win("bob", GIFT).await;
    assert!(matches!(
        it.deliver(next).await,
        CopyAnswer::Held {
            reason: HoldReason::NoCode,
            ..
        }
    ));
    let again = it.begin("fair", "gift").await;
    let given = it
        .add(again, &["GIFT-0001", "GIFT-0002", "GIFT-0003"])
        .await;
    assert!(
        matches!(given, CodesAdded::Duplicate { .. }),
        "a code that was given is never free again"
    );
}
