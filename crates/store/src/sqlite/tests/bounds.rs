//! Aim: the bounds of this store, each at its bound and one past it: what a step of
//! long work touches, what waits and is gathered, what is kept of what came in.

use super::{Held, at_once, won_by_many};
use crate::read::fixture::{Fixture, NOW, actor};
use crate::sql::Connection;
use crate::sqlite::Priority::{Draw, Other};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::award::Position;
use tombola_core::campaign::Transition;
use tombola_core::limits::{
    CODE_BYTES_MAX, CODES_PER_IMPORT_MAX, KEPT_MESSAGE_BYTES_MAX, READ_TIMEOUT, READS_WAITING_MAX,
    STEP_ROWS_MAX, STEP_ROWS_SEEN_MAX, WRITER_GATHER_MAX, WRITER_ROWS_MAX,
};
use tombola_core::ports::{
    AwardPath as _, BulkAction, BulkFilter, BulkSpec, Catalog as _, KeptMessage, Operate as _,
    Operation, OperationState, StoreError, StoreResult,
};
use tombola_core::reason::{HoldReason, KeptReason};

const STEP: u64 = STEP_ROWS_MAX as u64;
const LATER: Timestamp = Timestamp(NOW.0 + 1_000_000);

/// The order in which calls of the writer ran.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Order {
    fn note(&self, name: &'static str) -> impl FnOnce(&Connection) -> StoreResult<()> + use<> {
        let order = Arc::clone(&self.0);
        move |_| {
            order.lock().unwrap().push(name);
            Ok(())
        }
    }
}

/// Two draws and another call wait behind one that runs. Draws go first until the
/// transaction is full, and then one other call: its place says where that was.
async fn order_of(fixture: &Fixture, rows: usize, meanwhile: impl FnOnce()) -> Vec<&'static str> {
    let order = Order::default();
    let (held, first) = Held::new(&fixture.store);
    held.wait();
    let a = fixture.store.write_once(Draw, rows, order.note("draw"));
    let other = fixture.store.write_once(Other, 1, order.note("other"));
    let b = fixture.store.write_once(Draw, 1, order.note("next draw"));
    meanwhile();
    held.let_go();
    for call in [first.await, a.await, other.await, b.await] {
        call.unwrap();
    }
    let order = order.0.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn a_transaction_is_full_when_its_calls_have_as_many_rows_as_its_bound() {
    let fixture = Fixture::timed(|| Duration::ZERO);
    let call_that_runs = 1;
    let room = WRITER_ROWS_MAX - call_that_runs;
    let full = order_of(&fixture, room, || {}).await;
    assert_eq!(full, ["draw", "other", "next draw"]);
    let one_row_left = order_of(&fixture, room - 1, || {}).await;
    assert_eq!(one_row_left, ["draw", "next draw", "other"]);
}

#[tokio::test]
async fn a_transaction_gathers_for_as_long_as_its_bound_and_no_longer() {
    let micros = Arc::new(AtomicU64::new(0));
    let hand = Arc::clone(&micros);
    let fixture = Fixture::timed(move || Duration::from_micros(hand.load(Ordering::Relaxed)));
    let passes = |span: Duration| {
        let span = u64::try_from(span.as_micros()).unwrap();
        micros.fetch_add(span, Ordering::Relaxed);
    };
    let over = order_of(&fixture, 1, || passes(WRITER_GATHER_MAX)).await;
    assert_eq!(over, ["other", "draw", "next draw"]);
    let almost = WRITER_GATHER_MAX.saturating_sub(Duration::from_micros(1));
    let in_time = order_of(&fixture, 1, || passes(almost)).await;
    assert_eq!(in_time, ["draw", "next draw", "other"]);
}

#[tokio::test]
async fn reads_wait_up_to_their_bound_and_one_more_is_overloaded() {
    let fixture = Fixture::new();
    let readers = 3;
    let (begun, has_begun) = sync_channel(readers);
    let (go, gone) = sync_channel(readers);
    let gone = Arc::new(Mutex::new(gone));
    let mut running = Vec::new();
    for _ in 0..readers {
        let (begun, gone) = (begun.clone(), Arc::clone(&gone));
        running.push(fixture.store.read(move |_| {
            begun.send(()).unwrap();
            gone.lock().unwrap().recv().unwrap();
            Ok(())
        }));
        has_begun.recv().unwrap();
    }
    let waiting: Vec<_> = (0..READS_WAITING_MAX)
        .map(|_| fixture.store.read(|_| Ok(())))
        .collect();
    let one_more = at_once(fixture.store.read(|_| Ok(())));
    for _ in 0..readers {
        go.send(()).unwrap();
    }
    assert!(
        matches!(one_more, Some(Err(StoreError::Overloaded))),
        "{one_more:?}"
    );
    for read in running {
        read.await.unwrap();
    }
    for read in waiting {
        read.await.unwrap();
    }
}

#[tokio::test]
async fn a_read_for_people_ends_at_its_time_out_and_not_before() {
    let looks = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&looks);
    // The first look is when the read begins to wait; then almost its whole time is
    // gone, for three looks, and then all of it.
    let fixture = Fixture::timed(move || match count.fetch_add(1, Ordering::Relaxed) {
        0 => Duration::ZERO,
        1..=3 => READ_TIMEOUT.saturating_sub(Duration::from_micros(1)),
        4..=100 => READ_TIMEOUT,
        _ => Duration::MAX, // so that a read without its bound ends too
    });
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let read = |conn: &Connection| {
        use crate::sql::OrStoreError as _;
        conn.query_row(endless, [], |row| row.get::<_, i64>(0))
            .or_store()
    };
    let answer = fixture.store.read(read).await;
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
    assert_eq!(looks.load(Ordering::Relaxed), 5);
}

fn codes(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("C-{n}")).collect()
}

/// Whether the import takes these codes.
async fn takes(
    it: &Fixture,
    import: tombola_core::ports::ImportId,
    codes: Vec<String>,
) -> Result<(), String> {
    match it.store.add_codes(import, codes, false).await {
        Ok(_) => Ok(()),
        Err(StoreError::Row(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_step_of_an_import_and_a_code_of_it_are_as_large_as_their_bounds_and_no_larger() {
    let it = Fixture::fair().await;
    let import = it.begin("fair", "gift").await;
    assert_eq!(takes(&it, import, codes(STEP_ROWS_MAX)).await, Ok(()));
    let refused = takes(&it, import, codes(STEP_ROWS_MAX + 1)).await;
    assert!(refused.unwrap_err().contains("a step has at most"));
    let long = |bytes| vec!["x".repeat(bytes)];
    assert_eq!(takes(&it, import, long(CODE_BYTES_MAX)).await, Ok(()));
    let refused = takes(&it, import, long(CODE_BYTES_MAX + 1)).await;
    assert!(refused.unwrap_err().starts_with("code 0"));
}

#[tokio::test]
async fn an_import_has_as_many_codes_as_its_bound_and_no_more() {
    let it = Fixture::fair().await;
    let import = it.begin("fair", "gift").await;
    it.shell()
        .execute(
            "UPDATE code_import SET codes = ?1 WHERE id = ?2",
            [i64::try_from(CODES_PER_IMPORT_MAX).unwrap() - 1, import.0],
        )
        .unwrap();
    let last = takes(&it, import, vec!["LAST".to_owned()]).await;
    assert_eq!(last, Ok(()));
    let beyond = takes(&it, import, vec!["BEYOND".to_owned()]).await;
    assert!(beyond.unwrap_err().contains("an import has at most"));
    assert_eq!(
        it.number("SELECT count(*) FROM code WHERE sealed = x'4c415354'"),
        1
    );
}

fn message(offset: i64, bytes: usize) -> KeptMessage {
    KeptMessage {
        position: Position {
            epoch: 1,
            partition: 0,
            offset,
        },
        key: None,
        value: Some(vec![b'x'; bytes]),
        headers: Vec::new(),
        reason: KeptReason::Undecodable,
    }
}

#[tokio::test]
async fn bytes_of_a_kept_message_beyond_the_bound_are_cut_off() {
    let it = Fixture::new();
    let max = KEPT_MESSAGE_BYTES_MAX;
    let messages = vec![message(1, max), message(2, max + 1)];
    it.store.keep_messages(messages, NOW).await.unwrap();
    let is_cut = format!("SELECT count(*) FROM kept_message WHERE length(value) = {max}");
    assert_eq!(it.number(&is_cut), 2);
}

/// What each step of a cleanup of everything older than `LATER` removed.
async fn cleaned(it: &Fixture) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        match it.store.cleanup(LATER).await.unwrap() {
            0 => return steps,
            rows => steps.push(rows),
        }
        assert!(steps.len() < 10, "{steps:?}");
    }
}

#[tokio::test]
async fn a_step_of_cleanup_removes_as_many_rows_as_its_bound_and_no_more() {
    let it = Fixture::new();
    let messages = (0..=STEP_ROWS_MAX).map(|n| message(i64::try_from(n).unwrap(), 1));
    it.store
        .keep_messages(messages.collect(), NOW)
        .await
        .unwrap();
    assert_eq!(cleaned(&it).await, [STEP, 1], "kept messages");

    let it = Fixture::new();
    it.shell()
        .execute(
            "INSERT INTO kept_request (client, operation, request_key, fingerprint, status, body, at)
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             SELECT 'shop', 'POST /', 'key-' || i, zeroblob(32), 200, x'', ?2 FROM n",
            [i64::try_from(STEP_ROWS_MAX).unwrap(), NOW.0],
        )
        .unwrap();
    assert_eq!(cleaned(&it).await, [STEP, 1], "kept answers");

    let it = won_by_many(STEP_ROWS_MAX + 1).await;
    it.go("fair", Transition::Close).await;
    assert_eq!(cleaned(&it).await, [STEP, 1], "request keys");

    let it = won_by_many(STEP_ROWS_MAX + 1).await;
    let now = NOW.0;
    it.shell()
        .execute_batch(&format!(
            "UPDATE delivery SET state = 'delivered', due_at = NULL, ended_at = {now};
             INSERT INTO attempt (award_id, n, at, what, lease, decision, state)
             SELECT award_id, 1, {now}, 'deliver', 2, 'delivered', 'delivered' FROM delivery"
        ))
        .unwrap();
    assert_eq!(cleaned(&it).await, [STEP, 1], "lines of attempts");
}

/// What each step of ending the holds of that reason ended.
async fn ended(it: &Fixture, reason: HoldReason) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        match it.store.end_holds(reason, NOW).await.unwrap() {
            0 => return steps,
            rows => steps.push(rows),
        }
        assert!(steps.len() < 10, "{steps:?}");
    }
}

#[tokio::test]
async fn a_step_of_ending_holds_ends_as_many_as_its_bound_and_no_more() {
    for (reason, prize, lane) in [
        (HoldReason::Paused, "hello", 0),
        (HoldReason::NoCode, "gift", 0),
        (HoldReason::EndpointDisabled, "hook", 1),
    ] {
        let it = won_by_many(STEP_ROWS_MAX + 1).await;
        let import = it.begin("fair", "gift").await;
        for half in codes(STEP_ROWS_MAX + 1).chunks(STEP_ROWS_MAX) {
            assert_eq!(takes(&it, import, half.to_vec()).await, Ok(()));
        }
        let finished = it.store.finish_import(import, 0, actor(), NOW);
        finished.await.unwrap();
        // As if each were of a prize that waits for that.
        it.shell()
            .execute_batch(&format!(
                "UPDATE delivery SET state = 'held', hold_reason = '{reason}', held_at = 0, lane = {lane},
                   prize_id = (SELECT id FROM prize WHERE slug = '{prize}')"
            ))
            .unwrap();
        assert_eq!(ended(&it, reason).await, [STEP, 1], "{reason}");
    }
}

/// A bulk action on the awards of one user, or on all.
async fn begun(it: &Fixture, action: BulkAction, user: Option<&str>) -> i64 {
    let filter = BulkFilter {
        user: user.map(str::to_owned),
        ..BulkFilter::default()
    };
    let spec = BulkSpec {
        action,
        filter,
        matched: 0,
    };
    let begun = it.store.begin_operation(spec, actor(), NOW).await;
    begun.unwrap().id
}

async fn step(it: &Fixture, id: i64) -> (u64, OperationState) {
    let stepped = it.store.step_operation(id, NOW).await.unwrap();
    let Operation { done, state, .. } = stepped.unwrap();
    (done, state)
}

#[tokio::test]
async fn a_step_of_a_bulk_action_looks_at_and_changes_as_many_awards_as_its_bounds() {
    let it = won_by_many(STEP_ROWS_SEEN_MAX + 1).await;
    let last = STEP_ROWS_SEEN_MAX - 1;
    it.shell()
        .execute_batch(&format!(
            "UPDATE delivery SET state = 'dead', dead_reason = 'refused', due_at = NULL;
             UPDATE draw SET user = 'last' WHERE id =
               (SELECT id FROM draw ORDER BY id LIMIT 1 OFFSET {last});
             UPDATE draw SET user = 'beyond' WHERE id = (SELECT max(id) FROM draw)"
        ))
        .unwrap();
    let requeue = || BulkAction::Requeue {
        not_delivered: false,
        over_secs: 0,
    };
    let beyond = begun(&it, requeue(), Some("beyond")).await;
    assert_eq!(step(&it, beyond).await, (0, OperationState::Running));
    assert_eq!(step(&it, beyond).await, (1, OperationState::Done));
    let of_last = begun(&it, requeue(), Some("last")).await;
    assert_eq!(step(&it, of_last).await.0, 1);
    let of_all = begun(&it, requeue(), None).await;
    assert_eq!(step(&it, of_all).await, (STEP, OperationState::Running));
}

/// Of those that have ended too, which no index leaves out.
#[tokio::test]
async fn a_step_of_a_bulk_cancel_looks_at_as_many_awards_as_its_bound_whatever_their_states() {
    let it = won_by_many(STEP_ROWS_SEEN_MAX + 1).await;
    let ended = "UPDATE delivery SET state = 'delivered', due_at = NULL, ended_at = 1
                 WHERE award_id < (SELECT max(id) FROM draw)";
    it.shell().execute(ended, []).unwrap();
    let cancel = BulkAction::Cancel {
        return_stock: false,
    };
    let id = begun(&it, cancel, None).await;
    assert_eq!(step(&it, id).await, (0, OperationState::Running));
    assert_eq!(step(&it, id).await, (1, OperationState::Done));
}

#[tokio::test]
async fn a_step_of_an_erasure_changes_as_many_draws_as_its_bound_and_no_more() {
    let it = won_by_many(STEP_ROWS_MAX + 1).await;
    it.shell()
        .execute("UPDATE draw SET user = 'ann'", [])
        .unwrap();
    let erase = BulkAction::Erase {
        pseudonym: "erased-1".to_owned(),
    };
    let id = begun(&it, erase, Some("ann")).await;
    assert_eq!(step(&it, id).await, (STEP, OperationState::Running));
    assert_eq!(step(&it, id).await, (STEP + 1, OperationState::Done));
}

#[tokio::test]
async fn a_step_of_an_erasure_looks_at_as_many_draws_as_its_bound_and_no_more() {
    let it = won_by_many(STEP_ROWS_SEEN_MAX + 1).await;
    it.shell()
        .execute(
            "UPDATE draw SET user = 'ann' WHERE id = (SELECT max(id) FROM draw)",
            [],
        )
        .unwrap();
    let erase = BulkAction::Erase {
        pseudonym: "erased-1".to_owned(),
    };
    let id = begun(&it, erase, Some("ann")).await;
    assert_eq!(step(&it, id).await, (0, OperationState::Running));
    assert_eq!(step(&it, id).await, (1, OperationState::Done));
}
