//! Every statement, prepared once for each connection. A batch is one statement a
//! table: its members come in as arrays, one for each column, and `unnest` makes
//! rows of them. It stands in the select list, where a row is made of all arrays at once;
//! in `FROM` each of them becomes a table of its own first, which takes as long as the
//! insert (decision 0022).
//!
//! A plan is made once for each connection and stays, also where the table was empty and
//! has grown since; until its statistics are made it counts for nearly empty. So no
//! statement leaves a choice by which the cost of a batch follows the size of a table:
//! where the first column of an index would already do for a small table, each member of
//! the batch looks for its own row (`LATERAL`, with `OFFSET 0` where it would be joined
//! otherwise, or `ON CONFLICT`); an update joined to `unnest` also names its rows by
//! `= ANY`; and tables are not read from end to end where there is another way (see
//! `Opener::settings`).
//!
//! Row locks are `FOR NO KEY UPDATE`, which is what an update takes; the stronger
//! `FOR UPDATE` would also stop inserts that refer to the row.

use super::error::{failed, inconsistent};
use futures_util::future::try_join_all;
use tokio_postgres::{Client, Statement};
use tombola_core::ports::StoreResult;

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        /// The prepared statements of one connection.
        pub(crate) struct Statements { $($(#[$doc])* pub(crate) $name: Statement),+ }

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

/// The page is read without locks, so that where the next page begins depends on nobody
/// else's, and a row that only waits costs a look and no write. It is found in the index
/// alone, in its order; each row then by its key.
pub(crate) const READ_PAGE: &str = "WITH page AS MATERIALIZED (
       SELECT due_at, award_id FROM delivery
       WHERE lane = $1 AND due_at IS NOT NULL AND due_at <= $2 AND (due_at, award_id) > ($3, $4)
       ORDER BY due_at, award_id LIMIT $5)
     SELECT d.* FROM page p CROSS JOIN LATERAL (
       SELECT award_id, kind, lane, state, lease, due_at, attempts, publishes, in_doubt,
         hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition,
         \"offset\", prize_id, message_id, delivery_key
       FROM delivery WHERE award_id = p.award_id OFFSET 0) AS d";

statements! {
    /// No row if the ids below 2^53 do not suffice.
    reserve_ids =
        "UPDATE id_block SET next = next + $1 WHERE one = 1 AND next <= $2 RETURNING next";

    /// The log has one order: where this is, everything before it is too. A transaction that
    /// writes nothing would wait for nothing.
    write_mark = "SELECT pg_logical_emit_message(true, 'tombola', '')";

    find_campaign = "SELECT id FROM campaign WHERE slug = $1";
    read_version = "SELECT file FROM campaign_version WHERE campaign_id = $1 AND version = $2";
    read_prizes = "SELECT id, slug FROM prize WHERE campaign_id = $1";
    read_lanes = "SELECT name, lane FROM endpoint WHERE name = ANY ($1)";

    /// What is known of each request: its key, if it was there before, what its user has used
    /// of the campaign, and whether its user is blocked. Behind the campaign's lock, which all
    /// have who add keys or count what is used, it stays so; ahead of it, see `ahead`. Where
    /// nobody is blocked, nobody is looked for.
    read_requests =
        "SELECT q.client, q.request_key, k.fingerprint, k.first_draw, k.more_draws,
           q.user_id, a.total, a.day, a.day_total, b.is_blocked IS NOT NULL
         FROM (SELECT unnest($2::text[]) AS client, unnest($3::text[]) AS request_key,
           unnest($4::text[]) AS user_id) AS q
         LEFT JOIN LATERAL (
           SELECT fingerprint, first_draw, more_draws FROM request
           WHERE campaign_id = $1 AND request_key = q.request_key AND client = q.client OFFSET 0) AS k ON true
         LEFT JOIN LATERAL (
           SELECT total, day, day_total FROM allowance
           WHERE campaign_id = $1 AND user_id = q.user_id ORDER BY n DESC LIMIT 1) AS a ON true
         LEFT JOIN LATERAL (
           SELECT true AS is_blocked FROM blocked_user
           WHERE user_id = q.user_id AND EXISTS (SELECT 1 FROM blocked_user) OFFSET 0) AS b ON true";
    insert_keys =
        "INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw, more_draws)
         SELECT $1::bigint, unnest($2::text[]), unnest($3::text[]), unnest($4::bytea[]),
           unnest($5::bigint[]), unnest($6::bytea[])";
    /// Inserts again what is there, which fails: for requests that are refused by what was read
    /// ahead, and must not be if they have drawn meanwhile.
    refuse_known_keys =
        "INSERT INTO request (campaign_id, client, request_key, fingerprint, first_draw, more_draws)
         SELECT k.* FROM (SELECT unnest($2::text[]) AS client, unnest($3::text[]) AS request_key) AS q
         CROSS JOIN LATERAL (
           SELECT campaign_id, client, request_key, fingerprint, first_draw, more_draws FROM request
           WHERE campaign_id = $1 AND request_key = q.request_key AND client = q.client OFFSET 0) AS k";
    read_draws =
        "SELECT id, version, user_id, prize_id, drawn_at, claim_key FROM draw WHERE id = ANY ($1)";

    /// The orders that came back are ours; one of another transaction that has not ended is
    /// waited for. The order of what comes back is nobody's promise.
    claim_orders =
        "INSERT INTO adopted (source, order_id, award_id)
         SELECT unnest($1::text[]), unnest($2::bigint[]), unnest($3::bigint[])
         ON CONFLICT (source, order_id) DO NOTHING RETURNING award_id";
    /// Orders that this transaction claimed.
    free_orders = "DELETE FROM adopted WHERE award_id = ANY ($1)";
    read_erasing = "SELECT user_id FROM erasing WHERE user_id = ANY ($1)";

    lock_campaign =
        "SELECT state, version, draws_besides, day FROM campaign WHERE id = $1 FOR NO KEY UPDATE";
    /// Behind the lock, by a snapshot of its own: the newest tally is the one that the last
    /// batch wrote. Prizes, behind it, are not locked: whoever changes a stock has the
    /// campaign, and units that come back while this is read are given by a later batch.
    read_counts =
        "(SELECT n, draws, wins, day, prizes, spent, day_spent,
           NULL::bigint, NULL::bigint, NULL::bigint, NULL::integer, NULL::bigint
          FROM tally WHERE campaign_id = $1 ORDER BY n DESC LIMIT 1)
         UNION ALL
         SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           id, stock, spent_besides, day, day_spent_besides
         FROM prize WHERE campaign_id = $1";
    /// Before stock is given back.
    lock_given_prizes =
        "SELECT id FROM prize WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE";
    read_wins =
        "SELECT w.* FROM unnest($1::bigint[]) AS p CROSS JOIN unnest($2::text[]) AS u CROSS JOIN LATERAL (
           SELECT prize_id, user_id, wins FROM user_win
           WHERE prize_id = p AND user_id = u OFFSET 0) AS w";

    insert_tally =
        "INSERT INTO tally (campaign_id, n, draws, wins, day, prizes, spent, day_spent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    /// Both ends are named, so that nothing that was removed before is walked over.
    remove_tallies = "DELETE FROM tally WHERE campaign_id = $1 AND n >= $2 AND n < $3";
    /// A row for each user, behind the one that it counts from, which goes. Beyond a limit nobody
    /// is counted: the null that it comes to is refused by its column, and with it the batch. That
    /// is so only where what was read ahead is outdated (see `ahead`). A user who was erased
    /// between the reading and this begins anew.
    add_used =
        "WITH before AS MATERIALIZED (
           SELECT q.user_id, q.drawn, a.place, COALESCE(a.n, 0) AS n, COALESCE(a.total, 0) AS total,
             greatest(a.day, $4::integer) AS day,
             CASE WHEN a.day >= $4::integer THEN a.day_total ELSE 0 END AS day_total
           FROM (SELECT unnest($2::text[]) AS user_id, unnest($3::bigint[]) AS drawn) AS q
           LEFT JOIN LATERAL (
             SELECT ctid AS place, n, total, day, day_total FROM allowance
             WHERE campaign_id = $1::bigint AND user_id = q.user_id ORDER BY n DESC LIMIT 1) AS a ON true),
         next AS (
           INSERT INTO allowance (campaign_id, user_id, n, total, day, day_total)
           SELECT $1::bigint, user_id, n + 1, CASE WHEN drawn <= $5::bigint - total THEN total + drawn END,
             day, CASE WHEN drawn <= $6::bigint - day_total THEN day_total + drawn END
           FROM before)
         DELETE FROM allowance WHERE ctid = ANY (ARRAY(SELECT place FROM before WHERE place IS NOT NULL))";
    /// The instants are coarse, so that nearly always nothing is written.
    add_spans =
        "INSERT INTO draw_span AS s (span, campaign_id, from_at, to_at)
         SELECT span, $1::bigint, $3::bigint, $4::bigint FROM unnest($2::bigint[]) AS span
         ON CONFLICT (span, campaign_id) DO UPDATE
           SET from_at = least(s.from_at, excluded.from_at), to_at = greatest(s.to_at, excluded.to_at)
           WHERE excluded.from_at < s.from_at OR excluded.to_at > s.to_at";
    add_wins =
        "INSERT INTO user_win AS w (prize_id, user_id, wins)
         SELECT unnest($1::bigint[]), unnest($2::text[]), unnest($3::bigint[])
         ON CONFLICT (prize_id, user_id) DO UPDATE SET wins = w.wins + excluded.wins";
    insert_draws =
        "INSERT INTO draw (campaign_id, version, drawn_at, day, id, user_id, client, prize_id, roll,
           unavailable, claim_key, traceparent)
         SELECT $1::bigint, $2::integer, $3::bigint, $4::integer, unnest($5::bigint[]),
           unnest($6::text[]), unnest($7::text[]), unnest($8::bigint[]), unnest($9::bigint[]),
           unnest($10::bytea[]), unnest($11::integer[]), unnest($12::text[])";
    insert_deliveries =
        "INSERT INTO delivery (award_id, state, lease, due_at, attempts, publishes, in_doubt,
           hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition,
           \"offset\", prize_id, kind, lane, message_id, delivery_key)
         SELECT unnest($1::bigint[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]),
           unnest($5::integer[]), unnest($6::integer[]), unnest($7::boolean[]), unnest($8::text[]),
           unnest($9::text[]), unnest($10::bigint[]), unnest($11::bigint[]),
           unnest($12::smallint[]), unnest($13::bigint[]), unnest($14::integer[]),
           unnest($15::bigint[]), unnest($16::bigint[]), unnest($17::text[]),
           unnest($18::bigint[]), unnest($19::text[]), unnest($20::text[])";

    /// Waits for a row that another transaction has: a mark of the relay and a
    /// claim often meet, and a copy that is passed over would be dropped for good.
    lock_rows =
        "SELECT award_id, kind, lane, state, lease, due_at, attempts, publishes, in_doubt,
           hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition,
           \"offset\", prize_id, message_id, delivery_key
         FROM delivery WHERE award_id = ANY ($1) ORDER BY award_id FOR NO KEY UPDATE";
    /// See [`READ_PAGE`].
    read_page = READ_PAGE;
    /// Passes by a row that somebody has in hand: whoever has it is about to move it.
    lock_free_rows =
        "SELECT d.* FROM unnest($1::bigint[]) AS p (award_id) CROSS JOIN LATERAL (
           SELECT award_id, kind, lane, state, lease, due_at, attempts, publishes, in_doubt,
             hold_reason, dead_reason, held_at, deferred_since, mq_state, topic_epoch, partition,
             \"offset\", prize_id, message_id, delivery_key
           FROM delivery WHERE award_id = p.award_id
           OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED) AS d";

    read_facts =
        "SELECT id, campaign_id, version, prize_id, user_id, drawn_at, traceparent
         FROM draw WHERE id = ANY ($1)";
    read_endpoints =
        "SELECT lane, name, COALESCE((spec::jsonb ->> 'idempotent')::boolean, false)
         FROM endpoint WHERE lane = ANY ($1)";
    /// The lock keeps the resume, which deletes the row, waiting until what was
    /// held because of it is committed, where it then finds it.
    lock_pauses = "SELECT campaign, prize, endpoint FROM pause FOR KEY SHARE";
    /// The same for whoever enables an endpoint, which updates its row.
    lock_endpoints =
        "SELECT lane, enabled FROM endpoint WHERE lane = ANY ($1) ORDER BY lane FOR SHARE";
    /// The same for whoever makes an import ready: it locks the prize FOR UPDATE. Draws,
    /// which lock it FOR NO KEY UPDATE, do not wait for this.
    share_prizes = "SELECT id FROM prize WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE";
    /// Whoever gives an address locks the award's row first, so this needs no lock.
    read_addressed = "SELECT award_id FROM address WHERE award_id = ANY ($1)";
    read_coded =
        "SELECT p FROM unnest($1::bigint[]) AS p WHERE EXISTS (
           SELECT 1 FROM code_import i CROSS JOIN LATERAL (
             SELECT 1 FROM code WHERE import_id = i.id AND award_id IS NULL AND voided_at IS NULL
             LIMIT 1) AS c
           WHERE i.prize_id = p AND i.ready = 1)";

    /// The next free codes of each prize, the oldest import first, in the order of its
    /// file. Nothing sorts what the two loops give: an import is read no further than
    /// codes are needed, and no more are locked.
    take_codes =
        "SELECT n.prize_id, f.id, f.campaign_id, f.digest, f.key_version, f.sealed
         FROM (SELECT unnest($1::bigint[]) AS prize_id, unnest($2::bigint[]) AS needed) AS n
         CROSS JOIN LATERAL (
           SELECT c.* FROM (
             SELECT id FROM code_import WHERE prize_id = n.prize_id AND ready = 1 ORDER BY id) AS i
           CROSS JOIN LATERAL (
             SELECT id, campaign_id, digest, key_version, sealed FROM code
             WHERE import_id = i.id AND award_id IS NULL AND voided_at IS NULL
             ORDER BY id LIMIT n.needed FOR NO KEY UPDATE SKIP LOCKED) AS c
           LIMIT n.needed) AS f";
    /// The same, but it waits for codes that another transaction has in hand.
    await_codes =
        "SELECT n.prize_id, f.id, f.campaign_id, f.digest, f.key_version, f.sealed
         FROM (SELECT unnest($1::bigint[]) AS prize_id, unnest($2::bigint[]) AS needed) AS n
         CROSS JOIN LATERAL (
           SELECT c.* FROM (
             SELECT id FROM code_import WHERE prize_id = n.prize_id AND ready = 1 ORDER BY id) AS i
           CROSS JOIN LATERAL (
             SELECT id, campaign_id, digest, key_version, sealed FROM code
             WHERE import_id = i.id AND award_id IS NULL AND voided_at IS NULL
             ORDER BY id LIMIT n.needed FOR NO KEY UPDATE) AS c
           LIMIT n.needed) AS f";
    /// The first few of each import: what a secret that is lost sealed is nearly always
    /// an import as a whole. `$3` of each import beside those that are needed, of no more
    /// than `$4` imports, and none of those that were tried.
    take_few_of_each_import =
        "SELECT n.prize_id, f.id, f.campaign_id, f.digest, f.key_version, f.sealed
         FROM (SELECT unnest($1::bigint[]) AS prize_id, unnest($2::bigint[]) AS needed) AS n
         CROSS JOIN LATERAL (
           SELECT c.* FROM (
             SELECT id FROM code_import WHERE prize_id = n.prize_id AND ready = 1 ORDER BY id) AS i
           CROSS JOIN LATERAL (
             SELECT id, campaign_id, digest, key_version, sealed FROM code
             WHERE import_id = i.id AND award_id IS NULL AND voided_at IS NULL AND id <> ALL ($5)
             ORDER BY id LIMIT n.needed + $3::bigint FOR NO KEY UPDATE SKIP LOCKED) AS c
           LIMIT (n.needed + $3::bigint) * $4::bigint) AS f";
    /// Of these prizes those that have free codes, be they in somebody's hand: who waits
    /// for codes does it alone.
    lock_coded_prizes =
        "SELECT id FROM prize WHERE id = ANY ($1) AND EXISTS (
           SELECT 1 FROM code_import i CROSS JOIN LATERAL (
             SELECT 1 FROM code WHERE import_id = i.id AND award_id IS NULL AND voided_at IS NULL
             LIMIT 1) AS c
           WHERE i.prize_id = prize.id AND i.ready = 1)
         ORDER BY id FOR NO KEY UPDATE";

    /// The one write of rows that were read before; guarded by lease and state.
    move_rows =
        "UPDATE delivery d SET state = v.state, lease = v.lease, due_at = v.due_at,
           attempts = v.attempts, publishes = v.publishes, in_doubt = v.in_doubt,
           hold_reason = v.hold_reason, dead_reason = v.dead_reason, held_at = v.held_at,
           deferred_since = v.deferred_since, mq_state = v.mq_state, topic_epoch = v.topic_epoch,
           partition = v.partition, \"offset\" = v.\"offset\", ended_at = v.ended_at
         FROM (SELECT unnest($1::bigint[]) AS award_id, unnest($2::text[]) AS state,
             unnest($3::bigint[]) AS lease, unnest($4::bigint[]) AS due_at,
             unnest($5::integer[]) AS attempts, unnest($6::integer[]) AS publishes,
             unnest($7::boolean[]) AS in_doubt, unnest($8::text[]) AS hold_reason,
             unnest($9::text[]) AS dead_reason, unnest($10::bigint[]) AS held_at,
             unnest($11::bigint[]) AS deferred_since, unnest($12::smallint[]) AS mq_state,
             unnest($13::bigint[]) AS topic_epoch, unnest($14::integer[]) AS partition,
             unnest($15::bigint[]) AS \"offset\", unnest($16::bigint[]) AS ended_at,
             unnest($17::text[]) AS state_was, unnest($18::bigint[]) AS lease_was) AS v
         WHERE d.award_id = v.award_id AND d.award_id = ANY ($1)
           AND d.lease = v.lease_was AND d.state = v.state_was
         RETURNING d.award_id";
    /// The numbers of an award's lines go on from the highest; its row is locked, so
    /// nobody else counts. They are read for the batch at once: a look for each line would
    /// go through all months for each.
    insert_lines =
        "INSERT INTO attempt (award_id, n, at, what, lease, decision, state, due_at, detail)
         SELECT l.award_id, COALESCE(b.n, 0) + l.nth,
           $1::bigint, l.what, l.lease, l.decision, l.state, l.due_at, l.detail
         FROM (SELECT unnest($2::bigint[]) AS award_id, unnest($3::integer[]) AS nth,
             unnest($4::text[]) AS what, unnest($5::bigint[]) AS lease,
             unnest($6::text[]) AS decision, unnest($7::text[]) AS state,
             unnest($8::bigint[]) AS due_at, unnest($9::text[]) AS detail) AS l
         LEFT JOIN (
           SELECT award_id, max(n) AS n FROM attempt WHERE award_id = ANY ($2) GROUP BY award_id) AS b
           ON b.award_id = l.award_id";
    insert_credits =
        "INSERT INTO points_entry (award_id, user_id, points, at)
         SELECT unnest($2::bigint[]), unnest($3::text[]), unnest($4::bigint[]), $1::bigint";
    /// They are locked already. What is asked of them is no condition of `code_free`, which
    /// would be read from end to end.
    bind_codes =
        "UPDATE code c SET award_id = b.award_id
         FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS award_id) AS b
         WHERE c.id = b.id AND c.id = ANY ($1) AND COALESCE(c.award_id, c.voided_at) IS NULL
         RETURNING c.id";
    /// A daily cap stays used up: the day's units were won.
    give_stock_back =
        "UPDATE prize p SET spent_besides = p.spent_besides - b.units
         FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS units) AS b
         WHERE p.id = b.id AND p.id = ANY ($1)
           AND (SELECT spent FROM prize_count WHERE prize_id = p.id) >= b.units RETURNING p.id";
    /// The entry by which an audit can tell units that came back.
    log_stock_back =
        "INSERT INTO operator_log (at, actor, action, subject, award_id, units, reason)
         SELECT $1::bigint, b.actor, 'stock_back', c.slug || '/' || p.slug, b.award_id, 1, b.reason
         FROM (SELECT unnest($2::bigint[]) AS award_id, unnest($3::bigint[]) AS prize_id,
             unnest($4::text[]) AS actor, unnest($5::text[]) AS reason) AS b
         JOIN prize p ON p.id = b.prize_id JOIN campaign c ON c.id = p.campaign_id
         ORDER BY b.award_id";

    keep_messages =
        "INSERT INTO kept_message
           (topic_epoch, partition, \"offset\", message_key, value, headers, reason, at)
         SELECT unnest($2::bigint[]), unnest($3::integer[]), unnest($4::bigint[]),
           unnest($5::text[]), unnest($6::bytea[]), unnest($7::text[]), unnest($8::text[]),
           $1::bigint
         ON CONFLICT (topic_epoch, partition, \"offset\") DO NOTHING";

    /// Two seeks of the index for each lane that has anything unfinished.
    /// From the very beginning: whatever there is.
    due_lanes =
        "WITH RECURSIVE lanes (lane) AS (
           (SELECT lane FROM delivery WHERE due_at IS NOT NULL ORDER BY lane LIMIT 1)
           UNION ALL
           SELECT (SELECT d.lane FROM delivery d WHERE d.due_at IS NOT NULL AND d.lane > l.lane
                   ORDER BY d.lane LIMIT 1)
           FROM lanes l WHERE l.lane IS NOT NULL)
         SELECT lane,
           (SELECT d.due_at FROM delivery d WHERE d.lane = l.lane AND d.due_at IS NOT NULL
            ORDER BY d.due_at LIMIT 1),
           (SELECT d.due_at FROM delivery d WHERE d.lane = l.lane AND d.due_at > $1
            ORDER BY d.due_at LIMIT 1)
         FROM lanes l WHERE lane IS NOT NULL ORDER BY lane";

    /// From where each lane began at the last look (see `fronts`).
    due_lanes_from =
        "SELECT lane,
           (SELECT d.due_at FROM delivery d WHERE d.lane = l.lane AND d.due_at >= l.front
            ORDER BY d.due_at LIMIT 1),
           (SELECT d.due_at FROM delivery d WHERE d.lane = l.lane AND d.due_at > $1
            ORDER BY d.due_at LIMIT 1)
         FROM (
           SELECT e.lane, COALESCE(f.front, $4::bigint) AS front
           FROM (SELECT 0::bigint AS lane UNION SELECT lane FROM endpoint UNION SELECT unnest($2::bigint[])) AS e
           LEFT JOIN (SELECT unnest($2::bigint[]) AS lane, unnest($3::bigint[]) AS front) AS f
             ON f.lane = e.lane) AS l
         ORDER BY lane";

    read_unfinished =
        "SELECT lane, due_at, award_id, state IN ('pending', 'delivering') AND due_at > $4
         FROM delivery
         WHERE due_at IS NOT NULL AND (lane, due_at, award_id) > ($1, $2, $3)
         ORDER BY lane, due_at, award_id LIMIT $5";
    /// Asked again of each row under its lock.
    make_due =
        "UPDATE delivery SET due_at = $2 WHERE award_id IN (
           SELECT award_id FROM delivery WHERE award_id = ANY ($1)
             AND state IN ('pending', 'delivering') AND due_at > $2
           ORDER BY award_id FOR NO KEY UPDATE)
         RETURNING award_id";
}
