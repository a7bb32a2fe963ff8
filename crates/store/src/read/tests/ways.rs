//! Aim: each common list is answered by the index that is there for it, and none
//! reads a table of draws or deliveries but from its end.

use super::super::fixture::{Fixture, GIFT, HELLO, HOOK, NOW};
use super::super::walk::Reach;
use super::super::{AwardFilter, DrawFilter, Outcome, PageQuery, awards, draws};
use super::all;
use crate::sql::Connection;
use crate::sql::Value;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::limits::{PAGE_READ_MAX, PAGE_SEEK_MAX, PAGE_SORT_MAX, PAGE_SPANS_MAX, SPAN_IDS};
use tombola_core::reason::{DeadReason, HoldReason};

/// How SQLite runs a statement, one step a line.
fn plan(conn: &Connection, sql: &str, values: &[Value]) -> Vec<String> {
    let conn = conn.sqlite();
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let wanted = statement.parameter_count();
    assert_eq!(
        wanted,
        values.len() + 3,
        "from, below, the filter's, rows: {sql}"
    );
    let values = std::iter::repeat_n(1, wanted);
    let steps = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
    steps.unwrap().map(Result::unwrap).collect()
}

fn plan_of(conn: &Connection, filter: &AwardFilter) -> Vec<String> {
    let way = awards::Way::of(conn, filter, Reach::default()).unwrap();
    let (sql, values) = way.statement(filter);
    plan(conn, &sql, &values)
}

/// The first step is this, nothing is sorted, and draws and deliveries are entered
/// by their key from there on.
#[track_caller]
fn assert_walks(plan: &[String], first: &str, may_sort: bool) {
    assert!(plan[0].starts_with(first), "{first}: {plan:#?}");
    for step in &plan[1..] {
        assert!(may_sort || !step.contains("TEMP B-TREE"), "{plan:#?}");
        // The names of prizes are few; they are looked through for a slug.
        let is_scan = step.starts_with("SCAN") && !step.starts_with("SCAN prize ");
        assert!(!is_scan, "{plan:#?}");
    }
}

#[tokio::test]
async fn each_list_of_awards_walks_its_index() {
    let it = Fixture::fair().await;
    let cases = [
        (
            AwardFilter {
                user: Some("ann".into()),
                ..<_>::default()
            },
            "SEARCH d USING INDEX draw_user (<expr>=? AND user=? AND rowid>? AND rowid<?)",
        ),
        (
            AwardFilter {
                state: Some(State::Dead),
                ..<_>::default()
            },
            "SEARCH v USING INDEX delivery_dead (",
        ),
        (
            AwardFilter {
                state: Some(State::Cancelled),
                ..<_>::default()
            },
            "SEARCH v USING INDEX delivery_cancelled (",
        ),
        (
            AwardFilter {
                dead_reason: Some(DeadReason::Poison),
                ..<_>::default()
            },
            "SEARCH v USING INDEX delivery_dead_reason (dead_reason=?",
        ),
        (
            AwardFilter {
                hold_reason: Some(HoldReason::Address),
                ..<_>::default()
            },
            "SEARCH v USING INDEX delivery_held (hold_reason=?",
        ),
        (
            AwardFilter {
                prize: Some("phone".into()),
                ..<_>::default()
            },
            "SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            AwardFilter {
                campaign: Some("fair".into()),
                ..<_>::default()
            },
            "SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            AwardFilter {
                since: Some(NOW),
                ..<_>::default()
            },
            "SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            AwardFilter::default(),
            "SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ];
    for (filter, first) in cases {
        let plan = it.store.read(move |conn| Ok(plan_of(conn, &filter)));
        assert_walks(&plan.await.unwrap(), first, false);
    }
}

#[tokio::test]
async fn unfinished_awards_are_found_by_the_index_of_rescue_while_they_are_few() {
    let it = Fixture::fair().await;
    it.draw("ann", &[HELLO, HOOK, GIFT]).await;
    let filter = AwardFilter {
        state: Some(State::Pending),
        ..AwardFilter::default()
    };
    for (sorted, first) in [
        (3, "SCAN v USING INDEX delivery_due"),
        (
            2,
            "SEARCH v USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ] {
        let (reach, filter) = (
            Reach {
                sorted,
                ..Reach::default()
            },
            filter.clone(),
        );
        let plan = it.store.read(move |conn| {
            let way = awards::Way::of(conn, &filter, reach).unwrap();
            let (sql, values) = way.statement(&filter);
            Ok(plan(conn, &sql, &values))
        });
        assert_walks(&plan.await.unwrap(), first, true);
    }
}

#[tokio::test]
async fn each_list_of_draws_walks_its_index() {
    let it = Fixture::fair().await;
    let by_key = "SEARCH d USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    for (filter, first) in [
        (
            DrawFilter {
                user: Some("ann".into()),
                outcome: Some(Outcome::Won),
                ..<_>::default()
            },
            "SEARCH d USING INDEX draw_user (<expr>=? AND user=? AND rowid>? AND rowid<?)",
        ),
        (
            DrawFilter {
                campaign: Some("fair".into()),
                ..<_>::default()
            },
            by_key,
        ),
        (
            DrawFilter {
                prize: Some("phone".into()),
                ..<_>::default()
            },
            by_key,
        ),
        (
            DrawFilter {
                user: Some("ann".into()),
                ..<_>::default()
            },
            by_key,
        ),
        (DrawFilter::default(), by_key),
    ] {
        let plan = it.store.read(move |conn| {
            let (sql, values) = draws::statement(&filter);
            Ok(plan(conn, &sql, &values))
        });
        assert_walks(&plan.await.unwrap(), first, false);
    }
}

#[tokio::test]
async fn numbers_of_the_metrics_are_counted_in_indexes_alone() {
    let it = Fixture::fair().await;
    let plans = it.store.read(|conn| {
        let explain = |sql: &str| {
            let mut statement = conn
                .prepare_cached(&format!("EXPLAIN QUERY PLAN {sql}"))
                .unwrap();
            let steps = statement
                .query_map([], |row| row.get::<_, String>(3))
                .unwrap();
            steps.map(Result::unwrap).collect::<Vec<_>>()
        };
        Ok(super::super::gauges::COUNTED.map(explain))
    });
    for plan in plans.await.unwrap() {
        assert!(
            plan[0].contains("USING COVERING INDEX delivery_"),
            "{plan:?}"
        );
    }
}

/// Draws of `user` that won the first prize, with those ids and in that state.
fn with_awards(
    it: &Fixture,
    user: &str,
    ids: impl Iterator<Item = i64>,
    state: State,
) -> Connection {
    let shell = it.shell();
    let tx = &shell;
    tx.execute_batch("BEGIN").unwrap();
    let due_at = (!state.is_final()).then_some(NOW.0);
    for id in ids {
        tx.prepare_cached(
            "INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll, drawn_at, day, claim_key)
             VALUES (?1, 1, 1, ?2, 'shop', 1, 0, ?3, 0, 1)",
        )
        .unwrap()
        .execute((id, user, NOW.0))
        .unwrap();
        tx.prepare_cached(
            "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, message_id, delivery_key)
             VALUES (?1, 1, 'text', 0, ?2, 1, ?3, 'm', 'k')",
        )
        .unwrap()
        .execute((id, state.name(), due_at))
        .unwrap();
    }
    tx.execute_batch(
        "INSERT INTO draw_span SELECT id / 4096, campaign_id, min(drawn_at), max(drawn_at) + 1 FROM draw
         WHERE true GROUP BY 1, 2 ON CONFLICT DO NOTHING",
    )
    .unwrap();
    tx.execute_batch("COMMIT").unwrap();
    shell
}

/// Where the first page goes on that finds nothing.
fn first_page_ends_at(conn: &Connection, filter: &AwardFilter) -> Option<i64> {
    let page = awards::list(conn, filter, PageQuery::default(), Reach::default()).unwrap();
    assert!(page.items.is_empty(), "{page:?}");
    page.next.map(|place| place.0)
}

#[tokio::test]
async fn page_reads_as_many_spans_as_its_bound_and_names_where_to_go_on() {
    let it = Fixture::fair().await;
    let spans = PAGE_READ_MAX / SPAN_IDS;
    // One draw in each, and far between them.
    let ids = |count| (1..=count).map(|span| 3 * span * SPAN_IDS + 7);
    let conn = with_awards(&it, "ann", ids(spans), State::Delivered);
    let points = AwardFilter {
        kind: Some(Kind::Points),
        ..AwardFilter::default()
    };
    assert_eq!(first_page_ends_at(&conn, &points), None);
    conn.execute_batch("DELETE FROM delivery; DELETE FROM draw; DELETE FROM draw_span")
        .unwrap();
    let conn = with_awards(&it, "ann", ids(spans + 1), State::Delivered);
    assert_eq!(first_page_ends_at(&conn, &points), Some(3 * 2 * SPAN_IDS));
    let found = all(1, |page| it.store.award_list(AwardFilter::default(), page)).await;
    assert_eq!(i64::try_from(found.len()).unwrap(), spans + 1);
}

#[tokio::test]
async fn page_follows_as_many_entries_of_an_index_as_its_bound() {
    let it = Fixture::fair().await;
    let conn = with_awards(&it, "ann", 1..=PAGE_SEEK_MAX, State::Dead);
    let points = AwardFilter {
        state: Some(State::Dead),
        kind: Some(Kind::Points),
        ..AwardFilter::default()
    };
    assert_eq!(first_page_ends_at(&conn, &points), None);
    let one_more = std::iter::once(PAGE_SEEK_MAX + 1);
    let conn = with_awards(&it, "ann", one_more, State::Dead);
    assert_eq!(
        first_page_ends_at(&conn, &points),
        Some(2),
        "one entry is left"
    );
}

#[tokio::test]
async fn page_of_a_user_ends_with_the_span_in_which_it_has_read_enough() {
    let it = Fixture::fair().await;
    let conn = with_awards(&it, "ann", 1..=PAGE_SEEK_MAX + SPAN_IDS, State::Delivered);
    let points = AwardFilter {
        user: Some("ann".to_owned()),
        kind: Some(Kind::Points),
        ..AwardFilter::default()
    };
    assert_eq!(first_page_ends_at(&conn, &points), Some(SPAN_IDS));
    let hellos = AwardFilter {
        user: Some("ann".to_owned()),
        ..AwardFilter::default()
    };
    let found = all(500, |page| it.store.award_list(hellos.clone(), page)).await;
    assert_eq!(
        i64::try_from(found.len()).unwrap(),
        PAGE_SEEK_MAX + SPAN_IDS
    );
}

#[tokio::test]
async fn page_of_a_user_looks_into_as_many_spans_as_its_bound() {
    let it = Fixture::fair().await;
    let ids = |count| (1..=count).map(|span| span * SPAN_IDS);
    let conn = with_awards(&it, "bob", ids(PAGE_SPANS_MAX), State::Delivered);
    let ann = AwardFilter {
        user: Some("ann".to_owned()),
        ..AwardFilter::default()
    };
    assert_eq!(first_page_ends_at(&conn, &ann), None);
    let one_more = std::iter::once((PAGE_SPANS_MAX + 1) * SPAN_IDS);
    let conn = with_awards(&it, "bob", one_more, State::Delivered);
    assert_eq!(first_page_ends_at(&conn, &ann), Some(2 * SPAN_IDS));
}

#[tokio::test]
async fn unfinished_awards_are_put_in_order_up_to_their_bound() {
    let it = Fixture::fair().await;
    let conn = with_awards(&it, "ann", 1..=PAGE_SORT_MAX, State::Pending);
    let pending = AwardFilter {
        state: Some(State::Pending),
        ..AwardFilter::default()
    };
    let way = |conn| awards::Way::of(conn, &pending, Reach::default()).unwrap();
    assert!(matches!(way(&conn), awards::Way::Due));
    let one_more = std::iter::once(PAGE_SORT_MAX + 1);
    let conn = with_awards(&it, "ann", one_more, State::Pending);
    assert!(matches!(way(&conn), awards::Way::Table));
}
