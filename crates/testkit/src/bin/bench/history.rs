//! A database with a long history, filled by a bulk insert: what lists, exports and
//! metrics are measured on.

use crate::desk::start_campaign;
use anyhow::Result;
use rusqlite::{Connection, params};
use std::path::Path;
use tombola_core::campaign::parse_toml;
use tombola_core::ports::Clock;
use tombola_core::{Timestamp, limits};
use tombola_engine::SystemClock;
use tombola_store::{Store, StoreOptions};

const CAMPAIGN: &str = r#"
[campaign]
slug = "bench"
name = "Bench"
[[prize]]
slug = "hello"
name = "Hello"
kind = "text"
text = "hello"
odds = "50%"
[[prize]]
slug = "coffee"
name = "Coffee"
kind = "text"
text = "coffee"
odds = "20%"
[[prize]]
slug = "phone"
name = "Phone"
kind = "physical"
stock = 100
odds = "0.0001%"
"#;

/// Users who drew.
const USERS: u64 = 100_000;
/// Draws at the begin that are of another campaign.
const OLD_PERCENT: u64 = 5;
/// How long ago the first draw was.
const DAYS: i64 = 30;

/// How long a history.
#[derive(Debug, Clone, Copy)]
pub(crate) struct History {
    pub(crate) draws: u64,
    /// Of a hundred draws so many win.
    pub(crate) win_percent: u64,
    /// Of a thousand awards so many are not delivered: pending, held, dead or cancelled.
    pub(crate) open_of_1000: u64,
}

impl History {
    /// Fills the database at `path`, which is made.
    pub(crate) async fn fill(self, path: &Path) -> Result<()> {
        let store = Store::open(path, StoreOptions::default())?;
        let now = SystemClock::new().now();
        let file = parse_toml("bench.toml", CAMPAIGN)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        start_campaign(&store, file, true, now).await?;
        store.close();
        let mut db = Connection::open(path)?;
        db.pragma_update(None, "synchronous", "OFF")?;
        let tx = db.transaction()?;
        tx.execute_batch(
            "INSERT INTO campaign (id, slug, state, version, created_at, updated_at) VALUES (2, 'old', 'closed', 1, 0, 0);
             INSERT INTO campaign_version SELECT 2, 1, file, 0 FROM campaign_version WHERE campaign_id = 1 LIMIT 1;
             INSERT INTO prize (id, campaign_id, slug, kind) VALUES (20, 2, 'hello', 'text');",
        )?;
        for number in 1..=self.draws {
            self.draw(&tx, number, now)?;
        }
        tx.execute_batch(COUNTERS)?;
        tx.commit()?;
        db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    fn draw(self, db: &Connection, number: u64, now: Timestamp) -> Result<()> {
        let dice = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let is_old = number <= self.draws * OLD_PERCENT / 100;
        let age = i64::try_from(self.draws - number)? * (DAYS * 86_400_000_000)
            / i64::try_from(self.draws)?;
        let drawn_at = now.0 - age;
        let has_won = (dice >> 40) % 100 < self.win_percent;
        // Three phones of all, the others by turns.
        let prize = match (is_old, number % (self.draws / 3 + 1)) {
            (true, _) => 20,
            (false, 7) => 3,
            (false, _) => 1 + i64::from(dice >> 60 < 4),
        };
        let id = i64::try_from(number)?;
        let user = format!("user-{:06}", (dice >> 20) % USERS);
        db.prepare_cached(
            "INSERT INTO draw (id, campaign_id, version, user, client, prize_id, roll, drawn_at, day, claim_key)
             VALUES (?1, ?2, 1, ?3, 'shop', ?4, ?5, ?6, 20000, 1)",
        )?
        .execute(params![id, if is_old { 2 } else { 1 }, user, has_won.then_some(prize), dice.cast_signed(), drawn_at])?;
        if has_won {
            self.award(db, id, prize, drawn_at, dice)?;
        }
        Ok(())
    }

    fn award(self, db: &Connection, id: i64, prize: i64, drawn_at: i64, dice: u64) -> Result<()> {
        let is_open = (dice >> 10) % 1000 < self.open_of_1000;
        let (state, hold, dead) = match (is_open, dice % 5) {
            (false, _) => ("delivered", None, None),
            (true, 0) => ("pending", None, None),
            (true, 1) => ("held", Some("manual"), None),
            (true, 2) => ("cancelled", None, None),
            (true, _) => ("dead", None, Some("exhausted")),
        };
        let is_final = state != "pending" && state != "held";
        let kind = if prize == 3 { "physical" } else { "text" };
        let ends = [
            (!is_final).then_some(drawn_at + 5_000_000),
            is_final.then_some(drawn_at),
        ];
        db.prepare_cached(
            "INSERT INTO delivery (award_id, prize_id, kind, lane, state, lease, due_at, hold_reason, dead_reason,
               mq_state, message_id, delivery_key, ended_at)
             VALUES (?1, ?2, ?3, 0, ?4, 3, ?5, ?6, ?7, 1, ?8, ?9, ?10)",
        )?
        .execute(params![
            id, prize, kind, state, ends[0], hold, dead,
            format!("{id}-abcdefghijkl"), format!("{id}-mnopqrstuvwx"), ends[1],
        ])?;
        Ok(())
    }
}

/// What the draws' own transactions would have counted.
const COUNTERS: &str = "
  INSERT INTO draw_span SELECT id / 4096, campaign_id, min(drawn_at) / 600000000 * 600000000,
    max(drawn_at) / 600000000 * 600000000 + 600000000 FROM draw GROUP BY 1, 2;
  UPDATE campaign SET
    draws = (SELECT count(*) FROM draw d WHERE d.campaign_id = campaign.id),
    wins = (SELECT count(*) FROM draw d WHERE d.campaign_id = campaign.id AND d.prize_id IS NOT NULL);
  UPDATE prize SET spent = (SELECT count(*) FROM delivery v WHERE v.prize_id = prize.id);
  UPDATE id_block SET next = (SELECT max(id) + 1 FROM draw);";

// The spans of COUNTERS are those of the store.
const _: () = assert!(limits::SPAN_IDS == 4096 && limits::SPAN_GRAIN.as_secs() == 600);
