//! The months of the attempts.

use crate::server::Database;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use tombola_core::Timestamp;
use tombola_store::postgres::{Kept, Postgres};

/// 15 November 2030, noon, UTC.
const NOW: Timestamp = Timestamp(1_920_974_400_000_000);
const DAY: i64 = 86_400_000_000;

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

struct Months {
    database: Database,
    admin: Client,
    postgres: Postgres,
}

impl Months {
    /// A database without a month, as if nobody had made any for years.
    async fn open() -> Option<Self> {
        let months = Self::new().await?;
        let drop = "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
              WHERE inhparent = 'attempt'::regclass AND inhrelid <> 'attempt_rest'::regclass
            LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$";
        months.admin.batch_execute(drop).await.unwrap();
        Some(months)
    }

    /// A database as it is after its first opening.
    async fn new() -> Option<Self> {
        let database = Database::new().await?;
        let admin = database.connect().await;
        let postgres = Postgres::open(&database.options()).await.unwrap();
        Some(Self {
            database,
            admin,
            postgres,
        })
    }

    async fn keep(&self, now: Timestamp, before: Timestamp) -> Kept {
        self.postgres.keep_partitions(now, before).await.unwrap()
    }

    /// A line of an award, which is in that state since then.
    async fn line(&self, award: i64, at: i64, state: &str) {
        let is_final = ["delivered", "dead", "cancelled"].contains(&state);
        let (due, ended) = if is_final {
            (None, Some(at))
        } else {
            (Some(at), None)
        };
        let dead = (state == "dead").then_some("refused");
        let row = "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at,
                     dead_reason, message_id, delivery_key, ended_at)
                   VALUES ($1, 1, 'text', 0, $2, 1, $3, $4, '', '', $5)";
        let params: [&(dyn ToSql + Sync); 5] = [&award, &state, &due, &dead, &ended];
        self.admin.execute(row, &params).await.unwrap();
        let line = "INSERT INTO attempt (award_id, n, at, what, lease, decision, state)
                    VALUES ($1, 0, $2, 'deliver', 1, 'retry', 'retryable')";
        self.admin.execute(line, &[&award, &at]).await.unwrap();
    }

    /// Awards by the partition that their lines are in.
    async fn lines(&self) -> Vec<(String, i64)> {
        let sql = "SELECT tableoid::regclass::text, award_id FROM attempt ORDER BY 2, 1";
        let rows = self.admin.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

#[tokio::test]
async fn this_month_and_the_next_two_are_made_once_over_the_end_of_a_year() {
    let Some(months) = Months::open().await else {
        return;
    };
    let made = months.keep(NOW, Timestamp(0)).await;
    assert_eq!(
        made.made,
        ["attempt_2030_11", "attempt_2030_12", "attempt_2031_01"]
    );
    assert_eq!(months.keep(NOW, Timestamp(0)).await, Kept::default());
    let december = NOW.plus(days(16));
    let next = months.keep(december, Timestamp(0)).await;
    assert_eq!(next.made, ["attempt_2031_02"]);
    let end_of_january = NOW.0 + 77 * DAY + DAY / 2;
    months.line(1, NOW.0, "pending").await;
    months.line(2, end_of_january - 1, "pending").await;
    months.line(3, end_of_january, "pending").await;
    months.line(4, 0, "pending").await;
    let lines = months.lines().await;
    let places: Vec<&str> = lines.iter().map(|it| it.0.as_str()).collect();
    let expected = [
        "attempt_2030_11",
        "attempt_2031_01",
        "attempt_2031_02",
        "attempt_rest",
    ];
    assert_eq!(places, expected);
}

#[tokio::test]
async fn a_new_database_has_the_months_of_its_first_lines() {
    let Some(months) = Months::new().await else {
        return;
    };
    let now = months.postgres.now().await.unwrap();
    months.line(1, now.0, "pending").await;
    assert_ne!(months.lines().await[0].0, "attempt_rest");
}

#[tokio::test]
async fn a_month_that_is_made_late_takes_its_lines_out_of_the_rest() {
    let Some(months) = Months::open().await else {
        return;
    };
    months.line(1, NOW.0, "pending").await;
    months.line(2, NOW.0 - 60 * DAY, "pending").await;
    assert_eq!(months.lines().await[0].0, "attempt_rest");
    months.keep(NOW, Timestamp(0)).await;
    let expected = [
        ("attempt_2030_11".to_owned(), 1),
        ("attempt_rest".to_owned(), 2),
    ];
    assert_eq!(months.lines().await, expected);
}

#[tokio::test]
async fn an_old_month_is_dropped_and_leaves_the_lines_that_somebody_still_has_to_read() {
    let Some(months) = Months::open().await else {
        return;
    };
    months.keep(NOW, Timestamp(0)).await;
    let states = ["delivered", "cancelled", "dead", "retryable"];
    for (award, state) in (1..).zip(states) {
        months.line(award, NOW.0, state).await;
    }
    // Delivered, but after the retention begins; and of no award that is there.
    let later = NOW.plus(days(50));
    months.line(5, NOW.0, "delivered").await;
    let changed = format!(
        "UPDATE delivery SET ended_at = {} WHERE award_id = 5",
        later.0
    );
    months.admin.batch_execute(&changed).await.unwrap();
    months.line(6, NOW.0, "delivered").await;
    months
        .admin
        .batch_execute("DELETE FROM delivery WHERE award_id = 6")
        .await
        .unwrap();
    let before = Timestamp(NOW.0 + 40 * DAY);
    let kept = months.keep(later, before).await;
    assert_eq!(kept.dropped, ["attempt_2030_11"]);
    assert_eq!(kept.moved, 4);
    let left: Vec<i64> = months.lines().await.iter().map(|it| it.1).collect();
    assert_eq!(left, [3, 4, 5, 6]);
    assert!(months.lines().await.iter().all(|it| it.0 == "attempt_rest"));
    let kept = months.keep(later, before).await;
    assert!(
        kept.dropped.is_empty(),
        "December has not ended before: {kept:?}"
    );
}

/// Moving them all would lock everybody out for long.
#[tokio::test]
async fn a_month_with_too_many_lines_that_are_needed_stays_whole() {
    let Some(months) = Months::open().await else {
        return;
    };
    months.keep(NOW, Timestamp(0)).await;
    let many = format!(
        "INSERT INTO attempt (award_id, n, at, what, lease, decision, state)
         SELECT n, 0, {}, 'deliver', 1, 'retry', 'dead' FROM generate_series(1, 10001) AS n",
        NOW.0
    );
    months.admin.batch_execute(&many).await.unwrap();
    let later = NOW.plus(days(90));
    let kept = months.keep(later, Timestamp(NOW.0 + 40 * DAY)).await;
    assert!(kept.dropped.is_empty(), "{kept:?}");
    months
        .admin
        .batch_execute("DELETE FROM attempt WHERE award_id = 1")
        .await
        .unwrap();
    let kept = months.keep(later, Timestamp(NOW.0 + 40 * DAY)).await;
    assert_eq!((kept.dropped.len(), kept.moved), (1, 10_000));
}

/// Else a reader that takes its time would hold up every draw behind the change.
#[tokio::test]
async fn a_lock_that_cannot_be_had_is_left_to_the_next_step() {
    let Some(months) = Months::open().await else {
        return;
    };
    months.keep(NOW, Timestamp(0)).await;
    let reader = months.database.connect().await;
    reader
        .batch_execute("BEGIN; SELECT count(*) FROM attempt")
        .await
        .unwrap();
    let later = NOW.plus(days(90));
    let before = Timestamp(NOW.0 + 40 * DAY);
    let kept = months.keep(later, before).await;
    assert_eq!(
        kept,
        Kept {
            is_waiting: true,
            ..Kept::default()
        }
    );
    reader.batch_execute("COMMIT").await.unwrap();
    let kept = months.keep(later, before).await;
    assert_eq!(
        (kept.made.len(), kept.dropped.len(), kept.is_waiting),
        (3, 1, false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_processes_that_keep_the_months_at_once_one_does_and_none_fails() {
    let Some(months) = Months::open().await else {
        return;
    };
    months.keep(NOW, Timestamp(0)).await;
    let (later, before) = (NOW.plus(days(90)), Timestamp(NOW.0 + 40 * DAY));
    let mut keeping = JoinSet::new();
    for _ in 0..6 {
        let postgres = months.postgres.clone();
        keeping.spawn(async move { postgres.keep_partitions(later, before).await.unwrap() });
    }
    let kept = keeping.join_all().await;
    let made: usize = kept.iter().map(|it| it.made.len()).sum();
    let dropped: usize = kept.iter().map(|it| it.dropped.len()).sum();
    assert_eq!((made, dropped), (3, 1), "{kept:?}");
}
