//! Aim: on PostgreSQL, which chooses its plans itself, a page of a list reads no more
//! rows than its reach allows, in a database with far more, the first time that a
//! connection reads it and once its plan is made for any values.

use super::super::fixture::{Fixture, NOW, On};
use super::super::page::PageQuery;
use super::super::walk::Reach;
use super::super::{
    AwardFilter, DeadLetterFilter, DrawFilter, LetterReason, LogFilter, Outcome, Place, awards,
    dead_letters, draws, log, points,
};
use super::random;
use crate::sql::{self, Connection};
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::award::State;
use tombola_core::campaign::Kind;
use tombola_core::limits::SPAN_IDS;
use tombola_core::reason::{DeadReason, HoldReason};

/// Draws in the database.
const DRAWS: i64 = 300_000;

/// Unfinished awards are the oldest, where a walk from the end comes last.
const ROWS: &str = "
  INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll, drawn_at, day, claim_key)
    SELECT i, 1 + i % 2, 1, 'user-' || i % 5000, 'shop',
           CASE WHEN i % 4 > 0 THEN 1 + 3 * (i % 2) + i % 3 END, 0, {NOW} + i * 1000000::bigint, 0, 1
    FROM generate_series(1, {DRAWS}) AS i;
  INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, hold_reason, dead_reason,
      held_at, ended_at, message_id, delivery_key)
    SELECT id, prize_id, (ARRAY['text', 'webhook', 'physical'])[(1 + id % 3)::integer],
           CASE id % 3 WHEN 1 THEN 1 + id % 2 ELSE 0 END, state, 1,
           CASE WHEN state IN ('pending', 'held') THEN drawn_at END,
           CASE state WHEN 'held' THEN (ARRAY['manual', 'address'])[(1 + id % 2)::integer] END,
           CASE state WHEN 'dead' THEN (ARRAY['poison', 'refused'])[(1 + id % 2)::integer] END,
           CASE state WHEN 'held' THEN drawn_at END,
           CASE WHEN state NOT IN ('pending', 'held') THEN drawn_at END, 'm', 'k'
    FROM (SELECT id, prize_id, drawn_at,
                 CASE WHEN id < 400 THEN 'pending' WHEN id % 100 IN (1, 2) THEN 'dead'
                      WHEN id % 1000 IN (3, 6) THEN 'held' WHEN id % 100 = 5 THEN 'cancelled'
                      ELSE 'delivered' END AS state
          FROM draw WHERE prize_id IS NOT NULL) AS won;
  INSERT INTO draw_span SELECT id / 4096, campaign_id, min(drawn_at), max(drawn_at) + 1 FROM draw GROUP BY 1, 2;
  INSERT INTO points_entry SELECT i, CASE WHEN i % 4 = 0 THEN 'rich' ELSE 'user-' || i % 5000 END, 1, 1
    FROM generate_series(1, {DRAWS}) AS i;
  INSERT INTO operator_log (at, actor, action, subject, award_id)
    SELECT {NOW} + i * 1000000::bigint, 'ada', 'award hold', 'it', CASE WHEN i % 10 = 0 THEN i % 1000 END
    FROM generate_series(1, {DRAWS}) AS i;
  INSERT INTO kept_message (topic_epoch, partition, \"offset\", headers, reason, at)
    SELECT 1, 1, i, '[]', CASE WHEN i < 100 THEN 'empty' ELSE 'foreign' END, {NOW} + i * 1000000::bigint
    FROM generate_series(1, {DRAWS}) AS i;
  ANALYZE";

async fn many_rows() -> Fixture {
    let it = Fixture::empty(On::Postgres).await;
    let rows = ROWS.replace("{DRAWS}", &DRAWS.to_string());
    let rows = rows.replace("{NOW}", &NOW.0.to_string());
    it.by_shell(|conn| {
        random::names(conn);
        conn.execute_batch(&rows).unwrap();
    });
    it
}

/// One page; gives where the next one goes on.
type Read = Box<dyn Fn(&Connection, PageQuery, Reach) -> sql::Result<Option<Place>> + Send + Sync>;

fn of_awards(filter: AwardFilter) -> Read {
    Box::new(move |conn, page, reach| Ok(awards::list(conn, &filter, page, reach)?.next))
}

fn of_draws(filter: DrawFilter) -> Read {
    Box::new(move |conn, page, reach| Ok(draws::list(conn, &filter, page, reach)?.next))
}

fn of_letters(filter: DeadLetterFilter) -> Read {
    Box::new(move |conn, page, reach| Ok(dead_letters::list(conn, &filter, page, reach)?.next))
}

fn of_log(filter: LogFilter) -> Read {
    Box::new(move |conn, page, reach| Ok(log::list(conn, &filter, page, reach)?.next))
}

fn after(second: u64) -> tombola_core::Timestamp {
    NOW.plus(Duration::from_secs(second))
}

#[rustfmt::skip]
fn lists() -> Vec<(&'static str, Read)> {
    let text = |it: &str| Some(it.to_owned());
    vec![
        ("awards", of_awards(AwardFilter::default())),
        ("awards of a user", of_awards(AwardFilter { user: text("user-17"), ..<_>::default() })),
        ("awards of nobody", of_awards(AwardFilter { user: text("nobody"), ..<_>::default() })),
        ("awards of a campaign", of_awards(AwardFilter { campaign: text("gala"), ..<_>::default() })),
        ("awards of a kind", of_awards(AwardFilter { kind: Some(Kind::Webhook), ..<_>::default() })),
        ("awards of no such kind", of_awards(AwardFilter { kind: Some(Kind::Code), ..<_>::default() })),
        ("awards of a prize", of_awards(AwardFilter { prize: text("phone"), ..<_>::default() })),
        ("awards of no prize", of_awards(AwardFilter { prize: text("none"), ..<_>::default() })),
        ("awards of an endpoint", of_awards(AwardFilter { endpoint: text("keen"), ..<_>::default() })),
        ("awards of no endpoint", of_awards(AwardFilter { endpoint: text("none"), ..<_>::default() })),
        ("awards of a time", of_awards(AwardFilter { since: Some(after(9_000)), until: Some(after(10_000)), ..<_>::default() })),
        ("pending awards", of_awards(AwardFilter { state: Some(State::Pending), ..<_>::default() })),
        ("retryable awards", of_awards(AwardFilter { state: Some(State::Retryable), ..<_>::default() })),
        ("held awards", of_awards(AwardFilter { state: Some(State::Held), ..<_>::default() })),
        ("awards that wait for an address", of_awards(AwardFilter { hold_reason: Some(HoldReason::Address), ..<_>::default() })),
        ("awards that wait for a code", of_awards(AwardFilter { hold_reason: Some(HoldReason::NoCode), ..<_>::default() })),
        ("dead awards", of_awards(AwardFilter { state: Some(State::Dead), ..<_>::default() })),
        ("dead awards of no such kind", of_awards(AwardFilter { state: Some(State::Dead), kind: Some(Kind::Code), ..<_>::default() })),
        ("dead awards of a prize", of_awards(AwardFilter { state: Some(State::Dead), prize: text("phone"), ..<_>::default() })),
        ("dead awards of a reason", of_awards(AwardFilter { dead_reason: Some(DeadReason::Poison), ..<_>::default() })),
        ("dead awards of a reason that none has", of_awards(AwardFilter { dead_reason: Some(DeadReason::Exhausted), ..<_>::default() })),
        ("cancelled awards", of_awards(AwardFilter { state: Some(State::Cancelled), ..<_>::default() })),
        ("delivered awards of a campaign and a prize", of_awards(AwardFilter {
            state: Some(State::Delivered), campaign: text("fair"), prize: text("hook"), ..<_>::default() })),
        ("draws", of_draws(DrawFilter::default())),
        ("draws of a user", of_draws(DrawFilter { user: text("user-17"), ..<_>::default() })),
        ("draws that a user won", of_draws(DrawFilter { user: text("user-17"), outcome: Some(Outcome::Won), ..<_>::default() })),
        ("draws that won a prize", of_draws(DrawFilter { prize: text("phone"), ..<_>::default() })),
        ("draws of no such client", of_draws(DrawFilter { client: text("none"), ..<_>::default() })),
        ("draws of a time", of_draws(DrawFilter { until: Some(after(10_000)), ..<_>::default() })),
        ("dead letters", of_letters(DeadLetterFilter::default())),
        ("dead letters of no such kind", of_letters(DeadLetterFilter { kind: Some(Kind::Code), ..<_>::default() })),
        ("dead letters of a time", of_letters(DeadLetterFilter { since: Some(after(9_000)), until: Some(after(10_000)), ..<_>::default() })),
        ("dead awards of a time", of_awards(AwardFilter { state: Some(State::Dead), until: Some(after(10_000)), ..<_>::default() })),
        ("dead letters of a campaign", of_letters(DeadLetterFilter { campaign: text("gala"), ..<_>::default() })),
        ("dead letters of a reason", of_letters(DeadLetterFilter { reason: LetterReason::parse("poison"), ..<_>::default() })),
        ("messages of a reason", of_letters(DeadLetterFilter { reason: LetterReason::parse("empty"), ..<_>::default() })),
        ("the log", of_log(LogFilter::default())),
        ("the log of nobody", of_log(LogFilter { by: text("nobody"), ..<_>::default() })),
        ("the log of a time", of_log(LogFilter { since: Some(after(9_000)), until: Some(after(10_000)), ..<_>::default() })),
        ("the log of an award", of_log(LogFilter { award: Some(AwardId(10)), ..<_>::default() })),
        ("the log of no award", of_log(LogFilter { award: Some(AwardId(7)), ..<_>::default() })),
        ("points of a user", Box::new(|conn, page, _| Ok(points::entries(conn, "rich", page)?.next))),
    ]
}

/// Rows and entries of indexes that this connection has read so far.
fn rows_read(conn: &Connection) -> i64 {
    let sql = "SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class
       WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The most that one of the first pages reads.
fn most_read(conn: &Connection, read: &Read, reach: Reach) -> i64 {
    let (mut most, mut after) = (0, None);
    for _ in 0..4 {
        let page = PageQuery { after, limit: None };
        conn.execute_batch("BEGIN").unwrap();
        let before = rows_read(conn);
        after = read(conn, page, reach).unwrap();
        most = most.max(rows_read(conn) - before);
        conn.execute_batch("COMMIT").unwrap();
        if after.is_none() {
            break;
        }
    }
    most
}

/// Each row of the reach, with what it is joined to, and a few of the page itself.
fn bound(reach: Reach) -> i64 {
    4 * reach.rows + 4 * reach.seeks + 4 * reach.sorted + 4000
}

#[tokio::test]
async fn no_page_of_a_list_reads_more_rows_than_its_reach() {
    if !On::Postgres.is_there() {
        return;
    }
    let it = many_rows().await;
    let small = Reach {
        rows: 2 * SPAN_IDS,
        seeks: 500,
        spans: 10,
        sorted: 500,
    };
    let mut beyond = Vec::new();
    for (name, read) in lists() {
        for plans in ["auto", "force_custom_plan", "force_generic_plan"] {
            let most = it.by_shell(|conn| {
                let settings = format!(
                    "SET plan_cache_mode = {plans}; SET max_parallel_workers_per_gather = 0"
                );
                conn.execute_batch(&settings).unwrap();
                most_read(conn, &read, small)
            });
            if most > bound(small) {
                beyond.push(format!("{name}, {plans}: {most} rows"));
            }
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}
