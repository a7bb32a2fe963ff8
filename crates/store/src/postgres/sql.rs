//! Every statement, prepared once for each connection. A batch is one statement a
//! table: its members come in as arrays, one for each column, and `unnest` makes
//! rows of them.
//!
//! Row locks are `FOR NO KEY UPDATE`, which is what an update takes; the stronger
//! `FOR UPDATE` would also stop inserts that refer to the row.

use super::error::{failed, inconsistent};
use futures_util::future::try_join_all;
use tokio_postgres::{Client, Statement};
use tombola_core::ports::StoreResult;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:literal;)+) => {
        /// The prepared statements of one connection.
        pub(super) struct Statements { $($(#[$doc])* pub(super) $name: Statement),+ }

        impl Statements {
            /// All in one trip, or a connection would take as many as there are statements.
            pub(super) async fn prepare(client: &Client) -> StoreResult<Self> {
                let all = [$($sql),+].into_iter().map(|sql| client.prepare(sql));
                let mut made = try_join_all(all).await.map_err(failed)?.into_iter();
                let mut next = || made.next().ok_or_else(|| inconsistent("a statement is missing"));
                Ok(Self { $($name: next()?),+ })
            }
        }
    };
}

statements! {
    /// No row if the ids below 2^53 do not suffice.
    reserve_ids =
        "UPDATE id_block SET next = next + $1 WHERE one = 1 AND next <= $2 RETURNING next";

    find_campaign = "SELECT id FROM campaign WHERE slug = $1";
    read_version = "SELECT file FROM campaign_version WHERE campaign_id = $1 AND version = $2";
    read_prizes = "SELECT id, slug FROM prize WHERE campaign_id = $1";
    read_lanes = "SELECT name, lane FROM endpoint WHERE name = ANY ($1)";

    /// The keys that came back are ours; a key of another transaction that has not
    /// ended is waited for. The order of what comes back is nobody's promise: the
    /// id of the first draw tells whose key it is.
    claim_keys =
        "INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw, more_draws)
         SELECT $1::bigint, k.*
         FROM unnest($2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bytea[]) AS k
         ON CONFLICT DO NOTHING RETURNING first_draw";
    read_keys =
        "SELECT r.client, r.request_key, r.fingerprint, r.first_draw, r.more_draws
         FROM unnest($2::text[], $3::text[]) AS k (client, request_key)
         JOIN request r ON r.campaign_id = $1 AND r.client = k.client AND r.request_key = k.request_key";
    free_keys =
        "DELETE FROM request r USING unnest($2::text[], $3::text[]) AS k (client, request_key)
         WHERE r.campaign_id = $1 AND r.client = k.client AND r.request_key = k.request_key";
    read_draws =
        "SELECT id, version, user_id, prize_id, drawn_at, claim_key FROM draw WHERE id = ANY ($1)";

    /// Those that came back are new and ours.
    ensure_allowances =
        "INSERT INTO allowance (campaign_id, user_id, total, day, day_total)
         SELECT $1::bigint, u, 0, 0, 0 FROM unnest($2::text[]) AS u
         ON CONFLICT DO NOTHING RETURNING user_id";
    lock_allowances =
        "SELECT user_id, total, day, day_total FROM allowance
         WHERE campaign_id = $1 AND user_id = ANY ($2) ORDER BY user_id FOR NO KEY UPDATE";
    lock_campaign =
        "SELECT state, version, draws, day FROM campaign WHERE id = $1 FOR NO KEY UPDATE";
    lock_prizes =
        "SELECT id, stock, spent, day, day_spent FROM prize
         WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    read_blocked = "SELECT user_id FROM blocked_user WHERE user_id = ANY ($1)";
    read_wins =
        "SELECT prize_id, user_id, wins FROM user_win
         WHERE prize_id = ANY ($1) AND user_id = ANY ($2)";

    add_draws = "UPDATE campaign SET draws = draws + $2, day = $3 WHERE id = $1";
    add_spent =
        "UPDATE prize p SET spent = p.spent + a.won, day = $3,
           day_spent = CASE WHEN p.day = $3 THEN p.day_spent ELSE 0 END + a.won
         FROM unnest($1::bigint[], $2::bigint[]) AS a (id, won) WHERE p.id = a.id";
    add_used =
        "UPDATE allowance w SET total = w.total + a.drawn, day = $4,
           day_total = CASE WHEN w.day = $4 THEN w.day_total ELSE 0 END + a.drawn
         FROM unnest($2::text[], $3::bigint[]) AS a (user_id, drawn)
         WHERE w.campaign_id = $1 AND w.user_id = a.user_id";
    /// Only rows that this transaction made: a refusal leaves nothing.
    drop_allowances = "DELETE FROM allowance WHERE campaign_id = $1 AND user_id = ANY ($2)";
    add_wins =
        "INSERT INTO user_win AS w (prize_id, user_id, wins)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[])
         ON CONFLICT (prize_id, user_id) DO UPDATE SET wins = w.wins + excluded.wins";
    insert_draws =
        "INSERT INTO draw (campaign_id, version, drawn_at, day, id, user_id, client, prize_id, roll,
           unavailable, claim_key, traceparent)
         SELECT $1::bigint, $2::integer, $3::bigint, $4::integer, d.*
         FROM unnest($5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::bigint[],
           $10::bytea[], $11::integer[], $12::text[]) AS d";
    insert_deliveries =
        "INSERT INTO delivery (award_id, state, lease, due_at, attempts, publishes, in_doubt,
           hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition,
           \"offset\", prize_id, kind, lane, message_id, delivery_key)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[],
           $6::integer[], $7::boolean[], $8::text[], $9::text[], $10::bigint[], $11::bigint[],
           $12::smallint[], $13::bigint[], $14::integer[], $15::bigint[], $16::bigint[],
           $17::text[], $18::bigint[], $19::text[], $20::text[])";

    /// Waits for a row that another transaction has: a mark of the relay and a
    /// claim often meet, and a copy that is passed over would be dropped for good.
    lock_copies =
        "SELECT d.award_id, d.kind, d.lane, d.state, d.lease, d.due_at, d.attempts, d.publishes,
           d.in_doubt, d.hold_reason, d.dead_reason, d.held_at, d.deferred_since, d.mq_state,
           d.topic_epoch, d.partition, d.\"offset\", d.prize_id, d.message_id, d.delivery_key,
           w.campaign_id, w.version
         FROM delivery d JOIN draw w ON w.id = d.award_id
         WHERE d.award_id = ANY ($1) ORDER BY d.award_id FOR NO KEY UPDATE OF d";
    read_endpoints = "SELECT lane, spec FROM endpoint WHERE lane = ANY ($1)";
    /// The lock keeps the resume, which deletes the row, waiting until what was
    /// held because of it is committed, where it then finds it.
    lock_pauses = "SELECT campaign, prize, endpoint FROM pause FOR KEY SHARE";
    /// The one write of rows that were read before; guarded by lease and state.
    move_rows =
        "UPDATE delivery d SET state = v.state, lease = v.lease, due_at = v.due_at,
           attempts = v.attempts, publishes = v.publishes, in_doubt = v.in_doubt,
           hold_reason = v.hold_reason, dead_reason = v.dead_reason, held_at = v.held_at,
           deferred_since = v.deferred_since, mq_state = v.mq_state, topic_epoch = v.topic_epoch,
           partition = v.partition, \"offset\" = v.\"offset\", ended_at = v.ended_at
         FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[],
           $6::integer[], $7::boolean[], $8::text[], $9::text[], $10::bigint[], $11::bigint[],
           $12::smallint[], $13::bigint[], $14::integer[], $15::bigint[], $16::bigint[],
           $17::text[], $18::bigint[])
           AS v (award_id, state, lease, due_at, attempts, publishes, in_doubt, hold_reason,
             dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition, \"offset\",
             ended_at, state_was, lease_was)
         WHERE d.award_id = v.award_id AND d.lease = v.lease_was AND d.state = v.state_was
         RETURNING d.award_id";
}
