//! Imports of codes: in steps, all or nothing, invisible until they are finished;
//! a code is unique in its campaign.

use super::world::{CODE, PRIZE, TEXT, World, actor, ok, one_prize};
use tombola_core::limits::STEP_ROWS_MAX;
use tombola_core::ports::{CodesAdded, CopyAnswer, ImportBegun, ImportId};
use tombola_core::reason::HoldReason;

/// Begins an import.
pub(super) async fn begin(w: &World, campaign: &str, prize: &str) -> ImportId {
    match ok(w
        .store()
        .begin_import(campaign, prize, actor(), w.now())
        .await)
    {
        ImportBegun::Begun(import) => import,
        ImportBegun::NotFound => panic!("no prize {campaign}/{prize} to import codes for"),
    }
}

pub(super) async fn add(w: &World, import: ImportId, codes: &[&str]) -> CodesAdded {
    let codes = codes.iter().map(|code| (*code).to_owned()).collect();
    ok(w.store().add_codes(import, codes, false).await)
}

/// Finishes an import; gives the number of its codes.
pub(super) async fn finish(w: &World, import: ImportId) -> u64 {
    let done = ok(w.store().finish_import(import, 3, actor(), w.now()).await);
    assert_eq!((done.import, done.skipped), (import, 3), "as it was told");
    done.codes
}

/// Imports codes, whole.
pub(super) async fn import(w: &World, campaign: &str, prize: &str, codes: Vec<String>) {
    let import = begin(w, campaign, prize).await;
    let added = CodesAdded::Added {
        added: codes.len(),
        skipped: 0,
    };
    assert_eq!(ok(w.store().add_codes(import, codes, false).await), added);
    finish(w, import).await;
}

async fn remove(w: &World, import: Option<ImportId>) {
    for _ in 0..10 {
        if ok(w.store().remove_import(import).await) {
            return;
        }
    }
    panic!("a removal comes to an end");
}

/// A started campaign of unlimited codes with one code, "aaa-0", and an award that
/// took it.
async fn used_up(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    import(w, "fair", PRIZE, vec!["aaa-0".to_owned()]).await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let won = w.win_from("fair", 1).await.remove(0);
    assert!(matches!(
        w.deliver(&won).await,
        CopyAnswer::Delivered { .. }
    ));
}

pub(super) async fn an_import_needs_a_prize_of_kind_code(w: &World) {
    w.put(&one_prize("fair", TEXT)).await;
    for (campaign, prize) in [("fair", PRIZE), ("fair", "none"), ("none", PRIZE)] {
        let begun = w
            .store()
            .begin_import(campaign, prize, actor(), w.now())
            .await;
        assert_eq!(ok(begun), ImportBegun::NotFound, "{campaign}/{prize}");
    }
}

pub(super) async fn an_import_counts_its_codes(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = begin(w, "fair", PRIZE).await;
    assert_eq!(
        add(w, import, &["a", "b"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
    assert_eq!(
        add(w, import, &["c"]).await,
        CodesAdded::Added {
            added: 1,
            skipped: 0
        }
    );
    assert_eq!(finish(w, import).await, 3);
}

pub(super) async fn codes_are_invisible_until_their_import_is_finished(w: &World) {
    used_up(w).await;
    let import = begin(w, "fair", PRIZE).await;
    add(w, import, &["bbb-0"]).await;
    let won = w.win_from("fair", 1).await.remove(0);
    let held = w.deliver(&won).await;
    assert!(
        matches!(
            held,
            CopyAnswer::Held {
                reason: HoldReason::NoCode,
                ..
            }
        ),
        "{held:?}"
    );
    assert_eq!(
        ok(w.store().end_holds(HoldReason::NoCode, w.now()).await),
        0
    );
    finish(w, import).await;
    assert_eq!(
        ok(w.store().end_holds(HoldReason::NoCode, w.now()).await),
        1
    );
    w.deliver(&won).await;
    assert_eq!(w.bench().code_of(won.award).await.as_deref(), Some("bbb-0"));
}

pub(super) async fn a_step_with_a_duplicate_writes_nothing(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = begin(w, "fair", PRIZE).await;
    add(w, import, &["a"]).await;
    assert_eq!(
        add(w, import, &["b", "c", "a"]).await,
        CodesAdded::Duplicate { index: 2 }
    );
    assert_eq!(
        add(w, import, &["b", "d", "b"]).await,
        CodesAdded::Duplicate { index: 2 }
    );
    assert_eq!(finish(w, import).await, 1);
}

pub(super) async fn a_code_is_unique_in_its_campaign_whatever_its_prize(w: &World) {
    let two = one_prize("fair", CODE)
        + &format!("[[prize]]\nslug = \"two\"\nname = \"Two\"\nweight = 1\n{CODE}");
    w.put(&two).await;
    import(w, "fair", PRIZE, vec!["a".to_owned()]).await;
    let second = begin(w, "fair", "two").await;
    assert_eq!(
        add(w, second, &["a"]).await,
        CodesAdded::Duplicate { index: 0 }
    );
    w.put(&one_prize("other", CODE)).await;
    import(w, "other", PRIZE, vec!["a".to_owned()]).await;
}

pub(super) async fn duplicates_are_skipped_where_that_is_asked(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    import(w, "fair", PRIZE, vec!["a".to_owned()]).await;
    let import = begin(w, "fair", PRIZE).await;
    let codes = ["a", "b", "b", "c"].map(str::to_owned).to_vec();
    let added = ok(w.store().add_codes(import, codes, true).await);
    assert_eq!(
        added,
        CodesAdded::Added {
            added: 2,
            skipped: 2
        }
    );
    assert_eq!(finish(w, import).await, 2);
}

pub(super) async fn an_import_that_failed_leaves_nothing(w: &World) {
    used_up(w).await;
    let import = begin(w, "fair", PRIZE).await;
    add(w, import, &["b", "c"]).await;
    remove(w, Some(import)).await;
    let again = begin(w, "fair", PRIZE).await;
    assert_eq!(
        add(w, again, &["b", "c"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
    remove(w, Some(again)).await;
    let won = w.win_from("fair", 1).await.remove(0);
    let held = w.deliver(&won).await;
    assert!(
        matches!(
            held,
            CopyAnswer::Held {
                reason: HoldReason::NoCode,
                ..
            }
        ),
        "{held:?}"
    );
}

pub(super) async fn an_import_is_removed_in_steps(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = begin(w, "fair", PRIZE).await;
    for step in 0..2 {
        let codes = (0..STEP_ROWS_MAX).map(|n| format!("{step}-{n}")).collect();
        ok(w.store().add_codes(import, codes, false).await);
    }
    assert!(
        !ok(w.store().remove_import(Some(import)).await),
        "more than one step"
    );
    remove(w, Some(import)).await;
    let again = begin(w, "fair", PRIZE).await;
    assert_eq!(
        add(w, again, &["0-0", "1-999"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
}

pub(super) async fn what_a_dead_process_left_is_found_and_removed(w: &World) {
    used_up(w).await;
    let (first, second) = (begin(w, "fair", PRIZE).await, begin(w, "fair", PRIZE).await);
    add(w, first, &["b"]).await;
    add(w, second, &["c"]).await;
    remove(w, None).await;
    assert!(ok(w.store().remove_import(None).await), "nothing is left");
    let again = begin(w, "fair", PRIZE).await;
    assert_eq!(
        add(w, again, &["b", "c"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
    assert_eq!(
        add(w, again, &["aaa-0"]).await,
        CodesAdded::Duplicate { index: 0 }
    );
}

pub(super) async fn a_withdrawn_import_gives_no_more_codes_and_takes_none_back(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = begin(w, "fair", PRIZE).await;
    add(w, import, &["aaa-0", "aaa-1"]).await;
    finish(w, import).await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let won = w.win_from("fair", 2).await;
    w.deliver(&won[0]).await;
    remove(w, Some(import)).await;
    let held = w.deliver(&won[1]).await;
    assert!(
        matches!(
            held,
            CopyAnswer::Held {
                reason: HoldReason::NoCode,
                ..
            }
        ),
        "{held:?}"
    );
    assert_eq!(
        w.bench().code_of(won[0].award).await.as_deref(),
        Some("aaa-0")
    );
}

pub(super) async fn an_import_that_is_finished_twice_says_the_same(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let import = begin(w, "fair", PRIZE).await;
    add(w, import, &["a", "b"]).await;
    for _ in 0..2 {
        assert_eq!(finish(w, import).await, 2);
    }
    let more = w
        .store()
        .add_codes(import, vec!["c".to_owned()], false)
        .await;
    assert!(more.is_err(), "what is visible is whole: {more:?}");
}

pub(super) async fn a_newer_import_takes_the_codes_of_one_that_was_left(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let left = begin(w, "fair", PRIZE).await;
    add(w, left, &["a", "b"]).await;
    let newer = begin(w, "fair", PRIZE).await;
    assert_eq!(
        add(w, newer, &["b", "c"]).await,
        CodesAdded::Added {
            added: 2,
            skipped: 0
        }
    );
    assert_eq!(finish(w, newer).await, 2);
    let finished = w.store().finish_import(left, 0, actor(), w.now()).await;
    assert!(finished.is_err(), "it is no longer whole: {finished:?}");
}

pub(super) async fn codes_are_given_in_the_order_of_their_file(w: &World) {
    w.put(&one_prize("fair", CODE)).await;
    let codes: Vec<String> = (0..20).map(|n| format!("{:02}", (n * 7) % 20)).collect();
    import(w, "fair", PRIZE, codes.clone()).await;
    w.start("fair", &one_prize("fair", CODE)).await;
    let won = w.win_from("fair", 20).await;
    let mut given = Vec::new();
    for won in &won {
        w.deliver(won).await;
        given.extend(w.bench().code_of(won.award).await);
    }
    assert_eq!(given, codes);
}

pub(super) async fn codes_are_given_from_their_own_prize_only(w: &World) {
    used_up(w).await;
    w.put(&one_prize("other", CODE)).await;
    import(w, "other", PRIZE, vec!["other-0".to_owned()]).await;
    let won = w.win_from("fair", 1).await.remove(0);
    let held = w.deliver(&won).await;
    assert!(
        matches!(
            held,
            CopyAnswer::Held {
                reason: HoldReason::NoCode,
                ..
            }
        ),
        "{held:?}"
    );
    assert_eq!(
        ok(w.store().end_holds(HoldReason::NoCode, w.now()).await),
        0
    );
}
