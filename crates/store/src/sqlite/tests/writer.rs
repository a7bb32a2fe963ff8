//! One writer: savepoints, answers after the commit, bounds, the end.

use super::{Held, at_once, insert, names};
use crate::read::fixture::Fixture;
use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use crate::sqlite::Priority::{Draw, Other};
use crate::sqlite::alone;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tombola_core::limits::WRITER_WAITING_MAX;
use tombola_core::ports::{StoreError, StoreResult};

fn failed() -> StoreResult<()> {
    Err(StoreError::Row("on purpose".to_owned()))
}

#[tokio::test]
async fn a_call_that_fails_or_panics_is_undone_alone() {
    let fixture = Fixture::new();
    let (held, first) = Held::new(&fixture.store);
    let good = fixture.store.write_once(Other, 1, |conn| insert(conn, "a"));
    let bad = fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "b").and_then(|()| failed()));
    let panics = fixture.store.write_once(Other, 1, |conn| {
        insert(conn, "c")?;
        panic!("on purpose");
        #[expect(unreachable_code, reason = "gives the closure its type")]
        failed()
    });
    let last = fixture.store.write_once(Other, 1, |conn| insert(conn, "d"));
    held.let_go();
    first.await.unwrap();
    good.await.unwrap();
    assert!(matches!(bad.await, Err(StoreError::Row(why)) if why == "on purpose"));
    assert!(matches!(panics.await, Err(StoreError::Row(why)) if why.contains("panicked")));
    last.await.unwrap();
    assert_eq!(names(&fixture), ["a", "d"]);
}

#[tokio::test]
async fn the_first_call_of_a_transaction_is_undone_alone_too() {
    let fixture = Fixture::new();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (go, gone) = std::sync::mpsc::sync_channel(1);
    let first = fixture.store.write_once(Draw, 1, move |conn| {
        insert(conn, "a")?;
        begun.send(()).unwrap();
        gone.recv().unwrap();
        failed()
    });
    has_begun.recv().unwrap();
    let second = fixture.store.write_once(Draw, 1, |conn| insert(conn, "b"));
    go.send(()).unwrap();
    assert!(matches!(first.await, Err(StoreError::Row(_))));
    second.await.unwrap();
    assert_eq!(names(&fixture), ["b"]);
}

#[tokio::test]
async fn a_call_is_answered_after_its_commit_and_not_before() {
    let fixture = Fixture::new();
    // Holds the writer before both, so that the two share a transaction.
    let (gate, gate_call) = Held::new(&fixture.store);
    let early = fixture
        .store
        .write_once(Draw, 1, |conn| insert(conn, "early"));
    let (held, later) = Held::new(&fixture.store);
    gate.let_go();
    held.wait();
    // `early` has run, and its transaction is still open.
    let mut early = pin!(early);
    assert!(at_once(early.as_mut()).is_none());
    assert!(names(&fixture).is_empty());
    held.let_go();
    early.await.unwrap();
    assert_eq!(names(&fixture), ["early"]);
    gate_call.await.unwrap();
    later.await.unwrap();
}

#[tokio::test]
async fn when_the_commit_fails_every_call_of_it_is_told_and_nothing_is_there() {
    let fixture = Fixture::new();
    let (held, first) = Held::new(&fixture.store);
    let innocent = fixture.store.write_once(Other, 1, |conn| insert(conn, "a"));
    // A foreign key that is checked at the commit, and does not hold.
    let guilty = fixture.store.write_once(Other, 1, |conn| {
        conn.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO prize (campaign_id, slug, kind) VALUES (999, 'x', 'text')",
        )
        .unwrap();
        Ok(())
    });
    held.let_go();
    for answer in [first.await, innocent.await, guilty.await] {
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(names(&fixture).is_empty());
    fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "b"))
        .await
        .unwrap();
    assert_eq!(names(&fixture), ["b"]);
}

#[tokio::test]
async fn a_full_disk_loses_the_whole_transaction_and_says_so_to_each_call() {
    let fixture = Fixture::new();
    let limit = |conn: &Connection, pages: i64| {
        conn.sqlite()
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    let (held, first) = Held::new(&fixture.store);
    let innocent = fixture.store.write_once(Other, 1, |conn| insert(conn, "a"));
    let guilty = fixture.store.write_once(Other, 1, move |conn| {
        limit(conn, 1); // as full as it is now
        let big = conn.execute(
            "INSERT INTO address (award_id, key_version, sealed, at) VALUES (1, 0, zeroblob(10000000), 0)",
            [],
        );
        limit(conn, 1_000_000);
        big.map(drop).or_store()
    });
    let later = fixture.store.write_once(Other, 1, |conn| insert(conn, "b"));
    held.let_go();
    for answer in [first.await, innocent.await, guilty.await] {
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    later.await.unwrap();
    assert_eq!(names(&fixture), ["b"]);
}

#[tokio::test]
async fn after_a_lost_transaction_no_call_of_it_is_committed_by_itself() {
    let fixture = Fixture::new();
    let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
    let (go, gone) = std::sync::mpsc::sync_channel(1);
    // The disk is full, SQLite rolls back, and the call hides it.
    let hides = fixture.store.write_once(Draw, 1, move |conn| {
        begun.send(()).unwrap();
        gone.recv().unwrap();
        conn.sqlite()
            .pragma_update(None, "max_page_count", 1)
            .unwrap();
        conn.execute(
            "INSERT INTO meta VALUES ('big', hex(zeroblob(10000000)))",
            [],
        )
        .unwrap_err();
        conn.sqlite()
            .pragma_update(None, "max_page_count", 1_000_000)
            .unwrap();
        Ok(())
    });
    has_begun.recv().unwrap();
    // Taken into the same transaction however long the first call ran.
    let next = fixture.store.write_once(Other, 1, |conn| insert(conn, "a"));
    go.send(()).unwrap();
    assert!(matches!(hides.await, Err(StoreError::Unavailable(_))));
    next.await.unwrap();
    assert_eq!(names(&fixture), ["a"], "in the transaction after it");
}

#[tokio::test]
async fn a_full_line_refuses_and_the_other_line_still_takes() {
    let fixture = Fixture::new();
    let (held, first) = Held::new(&fixture.store);
    held.wait();
    let waiting: Vec<_> = (0..WRITER_WAITING_MAX)
        .map(|_| fixture.store.write_once(Other, 1, |_| Ok(())))
        .collect();
    let one_more = at_once(fixture.store.write_once(Other, 1, |_| Ok(())));
    assert!(
        matches!(one_more, Some(Err(StoreError::Overloaded))),
        "{one_more:?}"
    );
    let draw = fixture.store.write_once(Draw, 1, |_| Ok(()));
    held.let_go();
    first.await.unwrap();
    draw.await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn draws_go_first_and_others_are_never_left_out() {
    let fixture = Fixture::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str| {
        let order = Arc::clone(&order);
        move |_: &Connection| {
            order.lock().unwrap().push(name);
            Ok(())
        }
    };
    let (held, first) = Held::new(&fixture.store);
    held.wait();
    let other = fixture.store.write_once(Other, 1, note("other"));
    let late = fixture.store.write_once(Other, 1, note("second other"));
    // So many rows that the transaction is full after it.
    let draw = fixture.store.write_once(Draw, 1_000_000, note("draw"));
    let next = fixture.store.write_once(Draw, 1, note("next draw"));
    held.let_go();
    first.await.unwrap();
    draw.await.unwrap();
    other.await.unwrap();
    next.await.unwrap();
    late.await.unwrap();
    assert_eq!(
        *order.lock().unwrap(),
        ["draw", "other", "next draw", "second other"]
    );
}

#[tokio::test]
async fn a_call_whose_caller_went_away_runs_all_the_same() {
    let fixture = Fixture::new();
    drop(fixture.store.write_once(Other, 1, |conn| insert(conn, "a")));
    fixture
        .store
        .write_once(Other, 1, |_| Ok(()))
        .await
        .unwrap();
    assert_eq!(names(&fixture), ["a"]);
}

#[tokio::test]
async fn a_closed_store_finishes_what_waits_and_takes_no_more() {
    let fixture = Fixture::new();
    let (held, first) = Held::new(&fixture.store);
    let waiting = fixture.store.write_once(Other, 1, |conn| insert(conn, "a"));
    held.let_go();
    fixture.store.close();
    first.await.unwrap();
    waiting.await.unwrap();
    let refused = fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "b"))
        .await;
    assert!(matches!(refused, Err(StoreError::Closed)));
    assert!(matches!(
        fixture.store.read(|_| Ok(())).await,
        Err(StoreError::Closed)
    ));
    assert_eq!(names(&fixture), ["a"]);
}

#[tokio::test]
async fn a_savepoint_inside_a_call_undoes_its_own_part_only() {
    let fixture = Fixture::new();
    let call = |conn: &Connection| {
        insert(conn, "a")?;
        let lost = alone(conn, |conn| insert(conn, "b").and_then(|()| failed()));
        assert!(lost.is_err());
        alone(conn, |conn| insert(conn, "c"))
    };
    fixture.store.write_once(Other, 1, call).await.unwrap();
    assert_eq!(names(&fixture), ["a", "c"]);
}

#[tokio::test]
async fn a_read_cannot_write_and_sees_one_state() {
    let fixture = Fixture::new();
    let written = fixture.store.read(|conn| insert(conn, "a")).await;
    assert!(
        matches!(written, Err(StoreError::Unavailable(_))),
        "{written:?}"
    );
    let (at, has_read) = std::sync::mpsc::sync_channel(1);
    let (go, gone) = std::sync::mpsc::sync_channel(1);
    let count = |conn: &Connection| -> i64 {
        conn.query_row("SELECT count(*) FROM meta WHERE value = 'x'", [], |row| {
            row.get(0)
        })
        .unwrap()
    };
    let read = fixture.store.read(move |conn| {
        let before = count(conn);
        at.send(()).unwrap();
        gone.recv().unwrap();
        Ok((before, count(conn)))
    });
    has_read.recv().unwrap();
    fixture
        .store
        .write_once(Other, 1, |conn| insert(conn, "a"))
        .await
        .unwrap();
    go.send(()).unwrap();
    assert_eq!(read.await.unwrap(), (0, 0));
    assert_eq!(
        fixture
            .store
            .read(move |conn| Ok(count(conn)))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_read_ends_at_its_time_out_and_its_connection_goes_on() {
    let fixture = Fixture::new();
    let endless = |conn: &Connection| {
        let sql =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        conn.query_row(sql, [], |row| row.get::<_, i64>(0))
            .or_store()
    };
    for _ in 0..4 {
        let answer = fixture
            .store
            .read_within(Duration::from_millis(10), endless)
            .await;
        assert!(
            matches!(answer, Err(StoreError::Unavailable(_))),
            "{answer:?}"
        );
    }
    assert!(
        fixture
            .store
            .read(|conn| Ok(names_seen(conn)))
            .await
            .is_ok()
    );
}

fn names_seen(conn: &Connection) -> i64 {
    conn.query_row("SELECT count(*) FROM meta", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn the_log_stays_bounded_while_writing_never_stops() {
    let fixture = Fixture::new();
    // 256 MiB of changed pages, four times what the log may hold.
    for round in 0..128 {
        let write = move |conn: &Connection| {
            conn.execute(
                "INSERT INTO kept_message (id, topic_epoch, partition, \"offset\", value, headers, reason, at)
                 VALUES (1, 1, 1, 1, zeroblob(2097152), '', ?1, 0)
                 ON CONFLICT DO UPDATE SET value = randomblob(2097152)",
                [round],
            )
            .unwrap();
            Ok(())
        };
        fixture.store.write_once(Other, 1, write).await.unwrap();
    }
    let log = fixture
        .path()
        .with_extension("db-wal")
        .metadata()
        .unwrap()
        .len();
    assert!(log < 96 << 20, "the log holds {} MiB", log >> 20);
}
