//! A backup is one state of the database; a restored one gives no id again and
//! delivers nothing by itself.

use super::insert;
use crate::lapse::Restored;
use crate::read::AuditDepth;
use crate::read::fixture::{
    COINS, Fixture, GIFT, HELLO, HOOK, NOTHING, NOW, PHONE, actor, endpoint, seal_keys,
};
use crate::sqlite::Priority::Other;
use crate::{Store, StoreOptions, backup, restore};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::limits::{BACKUP_STEP_PAGES, RESTORE_ADDRESS_TIME};
use tombola_core::ports::{
    Acted, Action, AwardPath as _, BulkAction, BulkFilter, BulkSpec, Catalog as _, DueQuery,
    Operate as _, StoreError, StoreResult,
};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

const HOUR: Duration = Duration::from_hours(1);

/// A folder for backups, and the path of one in it.
fn backup_path() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup.db");
    (dir, path)
}

fn take(fixture: &Fixture, to: &Path) {
    assert!(backup::take(&fixture.path(), to, NOW, &mut |_| true).unwrap());
}

/// The backup, made a database again at `now` and opened.
fn restored(backup: &Path, now: Timestamp) -> (tempfile::TempDir, Restored, std::sync::Arc<Store>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tombola.db");
    restore::bring(backup, &path, &mut |_| {}).unwrap();
    assert_eq!(backup::faults(&path).unwrap(), Vec::<String>::new());
    let restored = restore::ready(&path, Schedule::default(), &actor(), now).unwrap();
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    (dir, restored, store)
}

/// Fills the database with that many pages and more.
async fn grow(fixture: &Fixture, pages: i64) {
    fixture
        .store
        .write_once(Other, 1, move |conn| {
            conn.execute(
                "INSERT INTO meta (name, value) VALUES ('big', hex(zeroblob(?1)))",
                [pages * 4096 / 2],
            )
            .unwrap();
            Ok(())
        })
        .await
        .unwrap();
}

fn names(store: &Store) -> impl Future<Output = StoreResult<Vec<String>>> {
    store.read(|conn| {
        Ok(conn
            .prepare_cached("SELECT name FROM meta WHERE value = 'x' ORDER BY name")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect())
    })
}

/// Aim: writes between the steps neither get in nor make the work begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn backup_is_the_state_at_its_beginning_whatever_is_written_between_its_steps() {
    let fixture = Fixture::new();
    grow(&fixture, 2000).await;
    let write = |name: &str| {
        let name = name.to_owned();
        fixture
            .store
            .write_once(Other, 1, move |conn| insert(conn, &name))
    };
    write("before").await.unwrap();
    let (_dir, path) = backup_path();
    let (mut steps, mut last) = (0, 0);
    let is_whole = backup::take(&fixture.path(), &path, NOW, &mut |progress| {
        steps += 1;
        let step = progress.done - last;
        assert!(step > 0 && step <= BACKUP_STEP_PAGES as u64, "{step} pages");
        last = progress.done;
        let name = format!("meanwhile-{steps}");
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(write(&name)))
            .unwrap();
        true
    });
    assert!(is_whole.unwrap());
    assert!(steps > 4, "{steps} steps");
    let copy = Fixture::copy_of(&path);
    assert_eq!(names(&copy.store).await.unwrap(), ["before"]);
    assert_eq!(names(&fixture.store).await.unwrap().len(), steps + 1);
}

#[tokio::test]
async fn backup_is_one_plain_file_for_its_owner_that_says_when_it_was_taken() {
    let mut fixture = Fixture::new();
    fixture.reopen_with(&[1, 2]).unwrap();
    let (dir, path) = backup_path();
    take(&fixture, &path);
    let beside = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(beside(), 1);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let fact = backup::fact(&path).unwrap();
    assert_eq!(fact.taken_at, Some(NOW));
    assert_eq!(fact.origin, fixture.store.origin());
    assert_eq!(fact.schema.present, fact.schema.newest);
    assert_eq!(fact.secrets, seal_keys(&[1, 2]).marks());
    assert_eq!(backup::faults(&path).unwrap(), Vec::<String>::new());
    assert_eq!(beside(), 1, "reading it leaves nothing beside it");
    assert_eq!(backup::fact(&fixture.path()).unwrap().taken_at, None);
    let again = backup::take(&fixture.path(), &path, NOW, &mut |_| true);
    assert!(again.is_err(), "what is there is never overwritten");
}

#[tokio::test]
async fn backup_that_nobody_wants_any_more_ends_at_its_next_step() {
    let fixture = Fixture::new();
    grow(&fixture, 2000).await;
    let (_dir, path) = backup_path();
    let mut steps = 0;
    let is_whole = backup::take(&fixture.path(), &path, NOW, &mut |_| {
        steps += 1;
        steps < 2
    });
    assert!(!is_whole.unwrap());
    assert_eq!(steps, 2);
}

#[tokio::test]
async fn what_is_no_database_of_ours_and_what_is_damaged_is_told_apart() {
    let (dir, path) = backup_path();
    std::fs::write(&path, "name,code\n").unwrap();
    assert!(matches!(
        backup::fact(&path),
        Err(StoreError::Inconsistent(_))
    ));
    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    assert!(matches!(
        backup::fact(&foreign),
        Err(StoreError::Inconsistent(_))
    ));
    let fixture = Fixture::fair().await;
    for n in 0..200 {
        fixture.draw(&format!("u{n}"), &[HELLO, NOTHING]).await;
    }
    let taken = dir.path().join("taken.db");
    take(&fixture, &taken);
    let mut bytes = std::fs::read(&taken).unwrap();
    let last = bytes.len() - 4096;
    bytes[last..].fill(0x5a);
    std::fs::write(&taken, bytes).unwrap();
    assert!(backup::fact(&taken).is_ok(), "its first pages are whole");
    let faults = backup::faults(&taken);
    assert!(faults.is_err() || !faults.unwrap().is_empty());
}

#[tokio::test]
async fn database_that_a_killed_process_left_is_brought_with_its_log() {
    let fixture = Fixture::new();
    fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "a"))
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["tombola.db", "tombola.db-wal"] {
        std::fs::copy(fixture.path().with_file_name(name), dir.path().join(name)).unwrap();
    }
    let (_dir, _, store) = restored(&dir.path().join("tombola.db"), NOW);
    assert_eq!(names(&store).await.unwrap(), ["a"]);
}

#[tokio::test]
async fn restored_database_gives_no_id_again_and_holds_every_delivery() {
    let fixture = Fixture::fair().await;
    let code = fixture.win("u1", GIFT).await;
    let (_dir, path) = backup_path();
    take(&fixture, &path);
    let after: Vec<AwardId> = [
        fixture.win("u2", COINS).await,
        fixture.win("u3", HELLO).await,
    ]
    .into();
    let later = NOW.plus(HOUR);
    let (_data, said, store) = restored(&path, later);
    assert_eq!(said.unfinished, [(Kind::Code, 1)].into());
    assert_eq!(said.in_doubt, 0);
    let block = store.reserve_ids(10).await.unwrap();
    assert_eq!(block.next, said.ids_from);
    assert!(after.iter().all(|id| id.0 < block.next), "{block:?}");
    let pauses: i64 = store
        .read(|conn| {
            Ok(conn
                .query_row("SELECT count(*) FROM pause WHERE campaign = '' AND prize = '' AND endpoint = ''", [], |row| row.get(0))
                .unwrap())
        })
        .await
        .unwrap();
    assert_eq!(pauses, 1);
    let shown = store.award_show(code).await.unwrap().unwrap();
    assert_eq!(shown.fact.state, State::Pending, "nothing else was changed");
    let audit = store.audit(AuditDepth::Full).await.unwrap();
    assert!(audit.ok, "{audit:?}");
    // Once more, from the same file: none of the first one's ids.
    let (_data, again, _store) = restored(&path, later.plus(Duration::from_secs(1)));
    assert!(again.ids_from > block.end);
}

/// Aim: after a restore a call is repeated without a person's word only where the
/// endpoint honours the delivery key.
#[tokio::test]
async fn award_of_an_endpoint_without_delivery_keys_waits_for_a_word_in_every_state() {
    for is_idempotent in [true, false] {
        let fixture = Fixture::fair().await;
        let mut spec = endpoint("keen");
        spec.idempotent = is_idempotent;
        let secret = "whsec_secret".to_owned();
        fixture
            .store
            .put_endpoint(spec, secret, actor(), NOW)
            .await
            .unwrap();
        let pending = fixture.win("u1", HOOK).await;
        let in_hand = fixture.win("u2", HOOK).await;
        fixture.claim(in_hand).await;
        let by_hand = fixture.win("u3", HOOK).await;
        fixture.act(by_hand, Action::Hold).await;
        let local = fixture.win("u4", HELLO).await;
        let (_dir, path) = backup_path();
        take(&fixture, &path);
        let (_data, said, store) = restored(&path, NOW.plus(HOUR));
        assert_eq!(said.in_doubt, if is_idempotent { 0 } else { 2 });
        let state = async |award| store.award_show(award).await.unwrap().unwrap().fact.state;
        let wanted = |state| if is_idempotent { state } else { State::Dead };
        assert_eq!(state(pending).await, wanted(State::Pending));
        assert_eq!(state(in_hand).await, wanted(State::Delivering));
        assert_eq!(state(by_hand).await, State::Held);
        assert_eq!(state(local).await, State::Pending);
        assert!(store.audit(AuditDepth::Full).await.unwrap().ok);
        if !is_idempotent {
            the_word_is_asked_for(&store, pending).await;
        }
    }
}

async fn the_word_is_asked_for(store: &Store, award: AwardId) {
    let requeue = |not_delivered| Action::Requeue {
        not_delivered,
        due_at: NOW,
    };
    let act = |action| store.act(award, action, actor(), NOW);
    assert!(matches!(
        act(requeue(false)).await.unwrap(),
        Acted::Refused(_)
    ));
    assert!(matches!(act(requeue(true)).await.unwrap(), Acted::Done(_)));
}

/// Aim: the deadline of an address ends no award whose address was lost.
#[tokio::test]
async fn winner_has_time_to_give_an_address_again() {
    let fixture = Fixture::fair().await;
    let phone = fixture.win("u1", PHONE).await;
    fixture.deliver(phone).await;
    let (_dir, path) = backup_path();
    take(&fixture, &path);
    let late = NOW.plus(Duration::from_hours(15 * 24)); // the claim's 14 days are over
    let (_data, _, store) = restored(&path, late);
    let state_at = async |now| {
        let query = DueQuery {
            lane: 0,
            now,
            after: None,
            limit: 10,
            group: None,
            is_breaker_open: false,
        };
        store.claim_due(query).await.unwrap();
        store.award_show(phone).await.unwrap().unwrap().fact.state
    };
    let ends = late.plus(RESTORE_ADDRESS_TIME);
    assert_eq!(state_at(Timestamp(ends.0 - 1)).await, State::Held);
    assert_eq!(state_at(ends).await, State::Cancelled);
}

/// Aim: a requeue that was begun with the word "not delivered" does not go on to
/// awards that may have been delivered since.
#[tokio::test]
async fn bulk_action_that_was_under_way_is_cancelled_and_an_erasure_goes_on() {
    let fixture = Fixture::fair().await;
    let begin = async |filter, action| {
        let spec = BulkSpec {
            filter,
            action,
            matched: 0,
        };
        fixture
            .store
            .begin_operation(spec, actor(), NOW)
            .await
            .unwrap()
            .id
    };
    let requeue = BulkAction::Requeue {
        not_delivered: true,
        over_secs: 0,
    };
    let requeue = begin(BulkFilter::default(), requeue).await;
    let user = BulkFilter {
        user: Some("u1".to_owned()),
        ..BulkFilter::default()
    };
    let pseudonym = "erased-1".to_owned();
    let erase = begin(user, BulkAction::Erase { pseudonym }).await;
    let (_dir, path) = backup_path();
    take(&fixture, &path);
    let (_data, said, store) = restored(&path, NOW.plus(HOUR));
    assert_eq!(said.operations_cancelled, 1);
    let running = store.running_operations().await.unwrap();
    assert_eq!(running, [erase]);
    assert!(requeue != erase);
}
