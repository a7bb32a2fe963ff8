//! The way back: a transfer that is undone, and what the tools of PostgreSQL restored. Both lack
//! the time in which another database was served.

use super::lived_in::{LATER, Old, by, store_options};
use super::{ended, is_moved, open_new, refusal};
use crate::server::Database;
use tombola_core::ports::{AwardPath as _, StoreError};
use tombola_core::retry::Schedule;
use tombola_store::Store;
use tombola_store::conformance::counted::until_alone;
use tombola_store::lapse::Restored;
use tombola_store::postgres;
use tombola_store::read::AuditDepth;
use tombola_store::transfer;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_undone_shuts_the_new_database_before_it_opens_the_old_one() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    ended(old.move_to(&new).await);
    assert!(is_moved(&old.open()));
    undo(&old, &new).await;
    let opened = open_new(&new).await;
    assert!(is_moved(&opened));
    old.open().unwrap().close();
    let paused = "SELECT count(*) FROM pause WHERE campaign || prize || endpoint = ''";
    let paused: i64 = old.shell().query_row(paused, [], |row| row.get(0)).unwrap();
    assert_eq!(
        paused, 1,
        "the other database may have delivered what is unfinished here"
    );
    let why = refusal(old.move_to(&new).await);
    assert!(why.contains("was undone"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_undo_no_id_of_the_new_database_is_given_again() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    ended(old.move_to(&new).await);
    let served = open_new(&new).await.unwrap();
    let given = served.reserve_ids(1_000_000).await.unwrap().take().unwrap();
    served.close();
    let undone = undo(&old, &new).await;
    assert!(undone.ids_from > given.0 + 1_000_000, "{undone:?}");
    let served = old.open().unwrap();
    let next = served.reserve_ids(1).await.unwrap().take().unwrap();
    assert_eq!(next.0, undone.ids_from);
    served.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_undo_only_a_persons_word_calls_an_endpoint_again_that_does_not_honour_the_key() {
    let Some(new) = Database::new().await else {
        return;
    };
    let old = Old::lived_in().await;
    ended(old.move_to(&new).await);
    let count = |condition: &str| -> u64 {
        let sql = format!(
            "SELECT count(*) FROM delivery WHERE lane = (SELECT lane FROM endpoint WHERE name = 'blunt')
               AND {condition}"
        );
        let count: i64 = old.shell().query_row(&sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    };
    let unfinished = count("due_at IS NOT NULL AND coalesce(hold_reason, '') <> 'manual'");
    assert!(unfinished > 0, "the old database has calls to make");
    let in_doubt = "state = 'dead' AND dead_reason = 'unknown_outcome'";
    let before = count(in_doubt);
    let undone = undo(&old, &new).await;
    assert_eq!(undone.in_doubt, unfinished);
    assert_eq!(count(in_doubt), before + unfinished);
    assert_eq!(
        count("due_at IS NOT NULL AND coalesce(hold_reason, '') <> 'manual'"),
        0
    );
    let served = old.open().unwrap();
    let report = served.audit(AuditDepth::Full).await.unwrap();
    assert!(report.ok, "{report:?}");
    served.close();
}

async fn undo(old: &Old, new: &Database) -> Restored {
    let (schedule, to) = (Schedule::default(), new.options());
    let undone = transfer::undo(&old.path(), Some(&to), schedule, by(), LATER).await;
    undone.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_restored_gives_no_id_again_and_repeats_no_call_without_a_word() {
    let Some(new) = Database::new().await else {
        return;
    };
    ended(Old::lived_in().await.move_to(&new).await);
    let options = new.options();
    let served = Store::connect(&options, store_options()).await.unwrap();
    let given = served.reserve_ids(1000).await.unwrap().take().unwrap();
    let restore = || postgres::restore(&options, Schedule::default(), by(), LATER);
    let why = restore().await.unwrap_err().to_string();
    assert!(why.contains("stop every process that serves it"), "{why}");
    served.close();

    let shell = new.connect().await;
    until_alone(&shell).await.unwrap();
    let blunt = "lane = (SELECT lane FROM endpoint WHERE name = 'blunt')";
    let count = async |condition: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM delivery WHERE {blunt} AND {condition}");
        shell.query_one(&sql, &[]).await.unwrap().get(0)
    };
    let unfinished = "due_at IS NOT NULL AND hold_reason IS DISTINCT FROM 'manual'";
    let expected = count(unfinished).await;
    assert!(expected > 0, "there are calls to make");
    let restored = restore().await.unwrap();
    assert_eq!(restored.in_doubt, u64::try_from(expected).unwrap());
    assert_eq!(count(unfinished).await, 0);
    assert!(restored.ids_from > given.0 + 1_000_000, "{restored:?}");
    let paused = "SELECT count(*) FROM pause WHERE campaign || prize || endpoint = ''";
    let paused: i64 = shell.query_one(paused, &[]).await.unwrap().get(0);
    assert_eq!(paused, 1);

    // Whatever the name of its sessions, a server tells of itself.
    let tells = "INSERT INTO process (id, roles, version, host, pid, connections, clock_off, started_at, seen_at)
                 VALUES ('a', 'api', '0', 'db7', 42, 20, 0, 0, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)";
    shell.batch_execute(tells).await.unwrap();
    let why = restore().await.unwrap_err().to_string();
    assert!(why.contains("db7 (process 42) serves"), "{why}");
    shell.batch_execute("DELETE FROM process").await.unwrap();
    // As one that was killed leaves it.
    let mark = "INSERT INTO meta VALUES ('restore', 'unfinished')";
    shell.batch_execute(mark).await.unwrap();
    let half = open_new(&new).await;
    let Err(StoreError::Moved(why)) = half else {
        panic!("it may be served");
    };
    assert!(why.contains("run `tombola restore` again"), "{why}");

    // A second time nothing is in doubt any more, and ids go on behind the first time's.
    let again = restore().await.unwrap();
    assert_eq!(
        (again.in_doubt, &again.unfinished),
        (0, &restored.unfinished)
    );
    assert!(again.ids_from > restored.ids_from);
    let served = open_new(&new).await.unwrap();
    let report = served.audit(AuditDepth::Full).await.unwrap();
    assert!(report.ok, "{report:?}");
    served.close();
}
