//! Aim: what the suite of the ports cannot see: what lies in the database after an
//! import that was killed, that met another one, or that was withdrawn.

use crate::read::fixture::{Fixture, GIFT, NOW, On, actor, on_each_database};
use tombola_core::ports::{Catalog as _, CodesAdded, CopyAnswer, StoreError};
use tombola_core::reason::HoldReason;

const FREE_CODES: &str = "SELECT count(*) FROM code c JOIN code_import i ON i.id = c.import_id
  WHERE i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL";

on_each_database! {
    async of_two_imports_with_a_code_in_common_the_newer_goes_on;
    async bad_line_names_its_member_and_leaves_nothing_of_its_step;
    async withdrawn_import_gives_nothing_more_and_keeps_what_it_gave;
    async file_that_is_imported_again_is_skipped_and_gives_way_where_it_never_was_visible;
}

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

async fn of_two_imports_with_a_code_in_common_the_newer_goes_on(on: On) {
    let it = Fixture::fair_on(on).await;
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

async fn bad_line_names_its_member_and_leaves_nothing_of_its_step(on: On) {
    let it = Fixture::fair_on(on).await;
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

async fn withdrawn_import_gives_nothing_more_and_keeps_what_it_gave(on: On) {
    let it = Fixture::fair_on(on).await;
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

async fn file_that_is_imported_again_is_skipped_and_gives_way_where_it_never_was_visible(on: On) {
    let it = Fixture::fair_on(on).await;
    let killed = it.begin("fair", "gift").await;
    it.add(killed, &["LOST-1", "LOST-2"]).await;
    let again = it.begin("fair", "gift").await;
    let codes = ["GIFT-0001", "LOST-2", "NEW-1", "NEW-1", "GIFT-0003"].map(str::to_owned);
    let added = it.store.add_codes(again, codes.to_vec(), true).await;
    let expected = CodesAdded::Added {
        added: 2,
        skipped: 3,
    };
    assert_eq!(added.unwrap(), expected);
    it.store
        .finish_import(again, 0, actor(), NOW)
        .await
        .unwrap();
    assert_eq!(it.number(FREE_CODES), 5);
    assert_eq!(
        it.number("SELECT ready FROM code_import WHERE ready_at IS NULL"),
        2
    );
}

/// On PostgreSQL an unfinished import may be another process's.
#[tokio::test]
async fn unfinished_import_is_left_alone_for_a_day_where_others_may_run_it() {
    if !On::Postgres.is_there() {
        return;
    }
    let it = Fixture::fair_on(On::Postgres).await;
    let running = it.begin("fair", "gift").await;
    it.add(running, &["A", "B"]).await;
    let begun = |ago: &str| {
        let begun = format!(
            "UPDATE code_import SET created_at = extract(epoch FROM now() - interval '{ago}') * 1000000
             WHERE id = {}",
            running.0
        );
        it.by_shell(|conn| conn.execute_batch(&begun).unwrap());
    };
    begun("23 hours");
    assert!(it.store.remove_import(None).await.unwrap(), "nothing to do");
    it.add(running, &["C"]).await;
    begun("25 hours");
    while !it.store.remove_import(None).await.unwrap() {}
    assert_eq!(it.number("SELECT count(*) FROM code"), 3);
    assert_eq!(it.number("SELECT count(*) FROM code_import"), 1);
}
