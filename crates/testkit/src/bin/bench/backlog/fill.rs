//! A history by bulk insert, row for row what the store would have written: draws that
//! won, their deliveries, request keys, and all counters beside them.

use crate::desk::{self, PRIZES};
use crate::postgres::Database;
use anyhow::Result;
use tombola_core::limits;
use tombola_core::ports::Clock;
use tombola_engine::SystemClock;

/// How many awards of which sort, with ids in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct History {
    /// Delivered.
    pub(crate) finished: u64,
    /// Never published, and due now.
    pub(crate) due: u64,
    /// The same, and due within an hour after an hour.
    pub(crate) later: u64,
}

impl History {
    pub(crate) const fn draws(self) -> u64 {
        self.finished + self.due + self.later
    }

    /// Fills a fresh database, and leaves it as autovacuum would.
    pub(crate) async fn fill(self, database: &Database) -> Result<()> {
        desk::prepare(database, PRIZES).await?;
        let client = database.connect().await?;
        if self.draws() > 0 {
            client.batch_execute(&self.sql()).await?;
        }
        client.batch_execute("VACUUM (ANALYZE)").await?;
        database.checkpoint().await
    }

    /// All drawn at one instant, by users in turn. The rolls are such that each wins
    /// the first prize.
    fn sql(self) -> String {
        let now = SystemClock::new().now().0;
        let (finished, draws) = (self.finished, self.draws());
        let waiting_from = finished + self.due;
        format!(
            "BEGIN;
             INSERT INTO draw (id, campaign_id, version, user_id, client, prize_id, roll,
                 drawn_at, day, claim_key)
               SELECT g, 1, 1, 'user-' || lpad((g * 2654435761 % 100000)::text, 6, '0'), 'bench', 1,
                 g * 7919 * 1000003 % 1000000000000000000, {now}, {now} / 86400000000, 1
               FROM generate_series(1::bigint, {draws}) AS g;
             INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, attempts,
                 publishes, mq_state, topic_epoch, partition, \"offset\", message_id, delivery_key,
                 ended_at)
               SELECT g, 1, 'text', 0, 'delivered', 1, NULL, 1, 1, 1, 1, g % 12, g,
                 g || '-abcdefghijkl', g || '-mnopqrstuvwx', {now}
               FROM generate_series(1::bigint, {finished}) AS g;
             INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at,
                 message_id, delivery_key)
               SELECT g, 1, 'text', 0, 'pending', 1,
                 {now} + CASE WHEN g <= {waiting_from} THEN g - {draws}
                   ELSE 3600000000 + g % 3600 * 1000000 END,
                 g || '-abcdefghijkl', g || '-mnopqrstuvwx'
               FROM generate_series({finished} + 1::bigint, {draws}) AS g;
             INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw)
               SELECT 1, 'bench', md5(g::text), '\\x00000000000000000000000000000000', g
               FROM generate_series(1::bigint, {draws}) AS g;
             INSERT INTO allowance (campaign_id, user_id, total, day, day_total)
               SELECT 1, user_id, count(*), {now} / 86400000000, count(*) FROM draw GROUP BY user_id;
             INSERT INTO draw_span (span, campaign_id, from_at, to_at)
               SELECT span, 1, {now} / {GRAIN} * {GRAIN}, {now} / {GRAIN} * {GRAIN} + {GRAIN}
               FROM generate_series(0, {draws} / {SPAN}) AS span;
             UPDATE campaign SET draws_besides = {draws}, wins_besides = {draws}, day = {now} / 86400000000;
             UPDATE prize SET spent_besides = {draws}, day = {now} / 86400000000, day_spent_besides = {draws}
               WHERE id = 1;
             UPDATE id_block SET next = {draws} + 1;
             COMMIT;"
        )
    }
}

const SPAN: i64 = limits::SPAN_IDS;
const GRAIN: u128 = limits::SPAN_GRAIN.as_micros();
