//! The checks that are one statement each. Its rows are the violations, each with
//! one text that names it.

use super::Check;
use super::rules::Versions;
use crate::sql::{self, Connection, Param};

/// A check's statement, and what its one value is.
enum Sql {
    /// None.
    Plain(&'static str),
    /// The prizes of all versions as JSON, which the two databases read differently.
    Rules {
        sqlite: &'static str,
        postgres: &'static str,
    },
    /// How many attempts an award has at most.
    AttemptsMax(&'static str),
}
use Sql::{AttemptsMax, Plain};

/// What the prizes of all versions look like as a table.
macro_rules! with_rules {
    ($sql:literal) => {
        Sql::Rules {
            sqlite: concat!(
                "WITH rules AS MATERIALIZED (
                   SELECT value ->> 0 AS campaign_id, value ->> 1 AS version, p.id AS prize_id,
                          value ->> 3 AS daily_cap, value ->> 4 AS per_user_wins, value ->> 5 AS points
                   FROM json_each(?1) j
                   JOIN prize p ON p.campaign_id = j.value ->> 0 AND p.slug = j.value ->> 2)",
                $sql
            ),
            postgres: concat!(
                "WITH rules AS MATERIALIZED (
                   SELECT p.campaign_id, (value ->> 1)::integer AS version, p.id AS prize_id,
                          (value ->> 3)::bigint AS daily_cap, (value ->> 4)::bigint AS per_user_wins,
                          (value ->> 5)::bigint AS points
                   FROM json_array_elements(?1::text::json) AS j (value)
                   JOIN prize p ON p.campaign_id = (j.value ->> 0)::bigint AND p.slug = j.value ->> 2)",
                $sql
            ),
        }
    };
}

const CHECKS: &[(&str, Sql)] = &[
    ("I1_win_has_delivery", Plain(WIN_HAS_DELIVERY)),
    ("I1_delivery_has_win", Plain(DELIVERY_HAS_WIN)),
    ("I2_stock", Plain(STOCK)),
    ("I2_user_wins", USER_WINS),
    ("I2_daily_cap", DAILY_CAP),
    ("I3_one_effect", Plain(ONE_EFFECT)),
    ("I4_code_once", Plain(CODE_ONCE)),
    ("I5_points", POINTS),
    ("I8_state_shape", Plain(STATE_SHAPE)),
    ("I12_attempts", AttemptsMax(ATTEMPTS)),
    ("I16_spans", Plain(SPANS)),
];

const WIN_HAS_DELIVERY: &str = "
  SELECT 'draw ' || d.id || ' won and has no delivery'
  FROM draw d LEFT JOIN delivery v ON v.award_id = d.id
  WHERE d.prize_id IS NOT NULL AND v.award_id IS NULL";

const DELIVERY_HAS_WIN: &str = "
  SELECT 'award ' || v.award_id || ' has no draw that won this prize of this kind'
  FROM delivery v LEFT JOIN draw d ON d.id = v.award_id LEFT JOIN prize p ON p.id = v.prize_id
  WHERE d.prize_id IS DISTINCT FROM v.prize_id OR p.kind IS DISTINCT FROM v.kind OR p.campaign_id IS DISTINCT FROM d.campaign_id";

/// Units given back are those of the operator log that name their award; an award
/// gives back one unit at most, and only when it is cancelled.
const STOCK: &str = "
  WITH won AS (SELECT prize_id, count(*) AS units FROM draw WHERE prize_id IS NOT NULL GROUP BY prize_id),
  back AS (SELECT l.award_id, d.prize_id, sum(l.units) AS units
           FROM operator_log l JOIN draw d ON d.id = l.award_id
           WHERE l.award_id IS NOT NULL AND l.units IS NOT NULL GROUP BY l.award_id, d.prize_id),
  returned AS (SELECT prize_id, sum(units) AS units FROM back GROUP BY prize_id)
  SELECT 'prize ' || c.slug || '/' || p.slug || ': spent ' || n.spent || ' of ' || coalesce(CAST(p.stock AS TEXT), 'any') ||
         ', won ' || coalesce(w.units, 0) || ', given back ' || coalesce(r.units, 0)
  FROM prize p JOIN prize_count n ON n.prize_id = p.id JOIN campaign c ON c.id = p.campaign_id
  LEFT JOIN won w ON w.prize_id = p.id LEFT JOIN returned r ON r.prize_id = p.id
  WHERE n.spent <> coalesce(w.units, 0) - coalesce(r.units, 0) OR n.spent > p.stock
  UNION ALL
  SELECT 'award ' || b.award_id || ' gave back ' || b.units || ' units and is ' || coalesce(v.state, 'not there')
  FROM back b LEFT JOIN delivery v ON v.award_id = b.award_id
  WHERE b.units <> 1 OR v.state IS DISTINCT FROM 'cancelled'";

/// Counted are wins under versions that limit them.
const USER_WINS: Sql = with_rules!("
  SELECT 'user ' || user || ', prize ' || prize_id || ': kept ' || sum(kept) || ', won ' || sum(won)
  FROM (
    SELECT prize_id, user, wins AS kept, 0 AS won FROM user_win
    UNION ALL
    SELECT d.prize_id, coalesce((SELECT e.user FROM erasing e WHERE e.pseudonym = d.user), d.user), 0, 1
    FROM rules r CROSS JOIN draw d ON TRUE
    WHERE EXISTS (SELECT 1 FROM rules WHERE per_user_wins IS NOT NULL) AND r.per_user_wins IS NOT NULL
      AND d.prize_id = r.prize_id AND d.campaign_id = r.campaign_id AND d.version = r.version) AS w
  GROUP BY prize_id, user HAVING sum(kept) <> sum(won)");

/// By the most generous cap of the versions that gave the prize on that day.
const DAILY_CAP: Sql = with_rules!(",
  given AS MATERIALIZED (
    SELECT prize_id, day, version, count(*) AS units FROM draw
    WHERE prize_id IS NOT NULL GROUP BY prize_id, day, version),
  by_day AS MATERIALIZED (
    SELECT g.prize_id, g.day, sum(g.units) AS units,
           CASE WHEN count(r.daily_cap) = count(*) THEN max(r.daily_cap) END AS cap
    FROM given g LEFT JOIN rules r ON r.prize_id = g.prize_id AND r.version = g.version
    GROUP BY g.prize_id, g.day)
  SELECT 'prize ' || prize_id || ': ' || units || ' units on day ' || day || ', cap ' || cap
  FROM by_day WHERE units > cap
  UNION ALL
  SELECT 'prize ' || n.prize_id || ': kept ' || n.day_spent || ' of day ' || n.day || ', given ' || b.units
  FROM prize_count n JOIN by_day b ON b.prize_id = n.prize_id AND b.day = n.day
  WHERE n.day_spent < b.units");

const ONE_EFFECT: &str = "
  SELECT 'award ' || v.award_id || ' is delivered without its ' ||
         CASE v.kind WHEN 'code' THEN 'code' ELSE 'points' END
  FROM delivery v
  WHERE v.state = 'delivered' AND CASE v.kind
    WHEN 'code' THEN (SELECT count(*) FROM code c WHERE c.award_id = v.award_id AND c.voided_at IS NULL) <> 1
    WHEN 'points' THEN (SELECT count(*) FROM points_entry e WHERE e.award_id = v.award_id) <> 1
    ELSE FALSE END";

/// The indexes see to it that a code is in its campaign once and has one award.
const CODE_ONCE: &str = "
  SELECT 'code ' || c.id || ' is bound to award ' || c.award_id || ', which is ' ||
         coalesce(v.state || ' and of kind ' || v.kind, 'not there')
  FROM code c LEFT JOIN code_import i ON i.id = c.import_id LEFT JOIN delivery v ON v.award_id = c.award_id
  WHERE c.award_id IS NOT NULL AND (
    v.kind IS DISTINCT FROM 'code' OR i.prize_id IS DISTINCT FROM v.prize_id OR i.ready = 0 OR i.campaign_id <> c.campaign_id
    OR NOT (v.state = 'delivered' OR v.state = 'cancelled' AND c.voided_at IS NOT NULL))
  UNION ALL
  SELECT 'code ' || c.id || ' belongs to no import' FROM code c
  WHERE c.import_id NOT IN (SELECT id FROM code_import)
  UNION ALL
  SELECT 'award ' || c.award_id || ' has ' || count(*) || ' codes' FROM code c
  WHERE c.award_id IS NOT NULL GROUP BY c.award_id HAVING count(*) > 1";

const POINTS: Sql = with_rules!("
  SELECT 'entry of award ' || e.award_id || ': ' || e.points || ' points for ' || e.user
  FROM points_entry e LEFT JOIN delivery v ON v.award_id = e.award_id LEFT JOIN draw d ON d.id = e.award_id
  LEFT JOIN rules r ON r.campaign_id = d.campaign_id AND r.version = d.version AND r.prize_id = d.prize_id
  WHERE v.kind IS DISTINCT FROM 'points' OR v.state IS DISTINCT FROM 'delivered' OR d.user IS DISTINCT FROM e.user OR r.points IS DISTINCT FROM e.points
  UNION ALL
  SELECT 'reversal of award ' || r.award_id || ': ' || r.points || ' points of ' || r.user
  FROM points_reversal r LEFT JOIN points_entry e ON e.award_id = r.award_id
  WHERE e.points IS DISTINCT FROM r.points OR e.user IS DISTINCT FROM r.user");

const STATE_SHAPE: &str = "
  SELECT 'award ' || award_id || ' is ' || state || ' with due_at ' || coalesce(CAST(due_at AS TEXT), 'null') ||
         ', hold_reason ' || coalesce(hold_reason, 'null') || ', dead_reason ' || coalesce(dead_reason, 'null') ||
         ', ended_at ' || coalesce(CAST(ended_at AS TEXT), 'null') || ', lane ' || lane
  FROM delivery
  WHERE (due_at IS NULL) <> (state IN ('delivered', 'dead', 'cancelled'))
     OR (ended_at IS NULL) = (due_at IS NULL)
     OR (hold_reason IS NULL) = (state = 'held')
     OR (dead_reason IS NULL) = (state = 'dead')
     OR hold_reason NOT IN ('manual', 'scheduled', 'paused', 'address', 'shipment', 'external', 'no_code',
                            'endpoint_disabled')
     OR dead_reason NOT IN ('refused', 'exhausted', 'unknown_outcome', 'worker_lost', 'not_confirmed',
                            'unpublishable', 'endpoint_fault', 'poison')
     OR (kind <> 'webhook' AND lane <> 0) OR lease < 1 OR publishes < 0 OR mq_state NOT IN (0, 1, 2)";

const ATTEMPTS: &str = "
  SELECT 'award ' || award_id || ': ' || attempts || ' attempts, at most ' || CAST(?1 AS INTEGER)
  FROM delivery WHERE attempts NOT BETWEEN 0 AND CAST(?1 AS INTEGER)";

/// Lists pass by the spans that are said to hold nothing of what is asked for.
const SPANS: &str = "
  SELECT 'draw ' || d.id || ' is in no span of its campaign and time: lists miss it'
  FROM draw d LEFT JOIN draw_span s ON s.span = d.id / 4096 AND s.campaign_id = d.campaign_id
  WHERE s.span IS NULL OR d.drawn_at < s.from_at OR d.drawn_at >= s.to_at";

/// Runs them all.
pub(super) fn run(
    conn: &Connection,
    versions: &Versions,
    attempts_max: u32,
) -> sql::Result<Vec<Check>> {
    CHECKS
        .iter()
        .map(|(name, sql)| {
            let (text, value): (&str, Option<&dyn Param>) = match sql {
                Plain(text) => (text, None),
                Sql::Rules { sqlite, postgres } => {
                    (conn.either(sqlite, postgres), Some(versions.json()))
                }
                AttemptsMax(text) => (text, Some(&attempts_max)),
            };
            run_one(conn, name, text, value.as_slice())
        })
        .collect()
}

fn run_one(conn: &Connection, name: &str, sql: &str, value: &[&dyn Param]) -> sql::Result<Check> {
    let mut check = Check::new(name);
    // Where much is amiss there are as many rows as in the tables.
    let mut statement = if value.is_empty() {
        conn.prepare_large(sql)?
    } else {
        conn.prepare_cached(sql)?
    };
    let mut rows = statement.query(value)?;
    while let Some(row) = rows.next()? {
        let example: String = row.get(0)?;
        check.found(|| example);
    }
    Ok(check)
}
