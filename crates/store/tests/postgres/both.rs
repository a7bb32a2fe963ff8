//! The same calls on SQLite and on PostgreSQL: whatever comes, in whatever order, the
//! answers are equal and so are the rows. One seed brings a run back.

use crate::world::{NOON, World};
use rusqlite::Connection;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tombola_core::award::{Mark, Position};
use tombola_core::campaign::parse_toml;
use tombola_core::decision::Decision;
use tombola_core::draw::DrawRequest;
use tombola_core::ports::{
    AwardPath, Copy, Deferral, DrawAnswer, DrawBatch, DueCursor, DueQuery, GroupPosition, MarkOf,
    PartitionPosition, Record,
};
use tombola_core::reason::HoldReason;
use tombola_core::retry::Jitter;
use tombola_core::{AwardId, Timestamp};
use tombola_store::postgres::PostgresStore;
use tombola_store::{Store, StoreOptions};

pub(crate) const EVERYTHING: &str = r#"
[campaign]
slug = "fair"
name = "Fair"
time_zone = "Asia/Shanghai"
[limits]
per_user_total = 200
per_user_per_day = 40
[[prize]]
slug = "text"
name = "A text"
kind = "text"
text = "hello"
odds = "10%"
per_user_wins = 3
[[prize]]
slug = "code"
name = "A code"
kind = "code"
odds = "20%"
[[prize]]
slug = "points"
name = "Points"
kind = "points"
points = 7
odds = "10%"
daily_cap = 9
[[prize]]
slug = "coupon"
name = "A coupon"
kind = "webhook"
endpoint = "coupons"
odds = "15%"
[[prize]]
slug = "voucher"
name = "A voucher"
kind = "webhook"
endpoint = "blunt"
odds = "10%"
[[prize]]
slug = "mug"
name = "A mug"
kind = "physical"
odds = "15%"
stock = 60
return_stock = true
claim_within = "1d"
ship_within = "2d"
[[prize]]
slug = "ticket"
name = "A ticket"
kind = "external"
confirm_within = "1d"
odds = "10%"
[[prize]]
slug = "later"
name = "A later text"
kind = "text"
text = "later"
release = "manual"
odds = "5%"
"#;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn signed(&mut self, end: u64) -> i64 {
        self.below(end).cast_signed()
    }
}

/// Both databases with one campaign.
struct Both {
    world: World,
    postgres: PostgresStore,
    sqlite: Arc<Store>,
    shell: Connection,
    _directory: TempDir,
    dice: Dice,
    now: Timestamp,
    won: Vec<(AwardId, String)>,
    requests: Vec<DrawRequest>,
    after: Option<DueCursor>,
}

impl Both {
    async fn open(seed: u64) -> Option<Self> {
        let world = World::open(EVERYTHING).await?;
        let postgres = world.store().await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tombola.db");
        let sqlite = Store::open(&file, StoreOptions::default()).unwrap();
        let shell = Connection::open(&file).unwrap();
        let both = Self {
            world,
            postgres,
            sqlite,
            shell,
            _directory: directory,
            dice: Dice(seed * 2_654_435_761 + 1),
            now: NOON,
            won: Vec::new(),
            requests: Vec::new(),
            after: None,
        };
        both.put().await;
        Some(both)
    }

    /// What the world has put into PostgreSQL, and a second endpoint.
    async fn put(&self) {
        let file = parse_toml("fair.toml", EVERYTHING).expect("a campaign file without problems");
        let rules = file.check().unwrap();
        let spec = |name, is| {
            format!(r#"{{"name":"{name}","url":"https://{name}.example","idempotent":{is}}}"#)
        };
        self.shell
            .execute_batch(&format!(
                "INSERT INTO campaign (id, slug, state, version, created_at, updated_at)
                 VALUES (1, 'fair', 'started', 1, 0, 0);
                 INSERT INTO endpoint (lane, name, spec, updated_at) VALUES (7, 'coupons', '{}', 0)",
                spec("coupons", true)
            ))
            .unwrap();
        let version = "INSERT INTO campaign_version VALUES (1, 1, ?1, 0)";
        self.shell.execute(version, [file.to_json()]).unwrap();
        for prize in &rules.prizes {
            let stock = prize.stock.map(u64::cast_signed);
            let sql = "INSERT INTO prize (campaign_id, slug, kind, stock) VALUES (1, ?1, ?2, ?3)";
            let values = rusqlite::params![prize.slug, prize.kind().name(), stock];
            self.shell.execute(sql, values).unwrap();
        }
        self.change(&format!(
            "INSERT INTO endpoint (lane, name, spec, updated_at) VALUES (8, 'blunt', '{}', 0)",
            spec("blunt", false)
        ))
        .await;
        self.change("INSERT INTO blocked_user VALUES ('u13', 'because', 0)")
            .await;
    }

    /// What an operator does, on both. Bytes are written `B('…')B`.
    async fn change(&self, sql: &str) {
        let sqlite = sql.replace("B(", "CAST(").replace(")B", " AS BLOB)");
        self.shell.execute_batch(&sqlite).unwrap();
        let postgres = sql.replace("B(", "(").replace(")B", ")::bytea");
        self.world.admin.batch_execute(&postgres).await.unwrap();
    }

    /// One column of SQLite's rows.
    fn column<T: rusqlite::types::FromSql>(&self, sql: &str) -> Vec<T> {
        let mut rows = self.shell.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    fn stores(&self) -> [&dyn AwardPath; 2] {
        [&*self.sqlite, &self.postgres]
    }

    fn copy(&mut self) -> Copy {
        let (award, message_id) = self.dice.pick(&self.won).clone();
        let is_foreign = self.dice.is(3);
        Copy {
            award: AwardId(award.0 + if self.dice.is(2) { 1 << 40 } else { 0 }),
            message_id: message_id + if is_foreign { "x" } else { "" },
            position: self.position(),
        }
    }

    fn position(&mut self) -> Position {
        Position {
            epoch: 1 + self.dice.signed(2),
            partition: i32::try_from(self.dice.below(2)).unwrap(),
            offset: self.dice.signed(1000),
        }
    }

    fn copies(&mut self) -> Vec<Copy> {
        (0..=self.dice.below(30)).map(|_| self.copy()).collect()
    }

    /// Mostly the award's lease as it stands.
    fn lease(&mut self, award: AwardId) -> i64 {
        let lease = "SELECT lease FROM delivery WHERE award_id = ?1";
        let lease = self.shell.query_row(lease, [award.0], |row| row.get(0));
        let lease: i64 = lease.unwrap();
        if self.dice.is(20) { lease - 1 } else { lease }
    }

    fn award(&mut self) -> AwardId {
        self.dice.pick(&self.won).0
    }

    /// An award that a worker has in hand, if there is one.
    fn in_hand(&mut self) -> AwardId {
        let all: Vec<i64> = self
            .column("SELECT award_id FROM delivery WHERE state = 'delivering' ORDER BY award_id");
        if all.is_empty() || self.dice.is(20) {
            return self.award();
        }
        AwardId(*self.dice.pick(&all))
    }

    async fn draw(&mut self) {
        let mut requests = Vec::new();
        for _ in 0..=self.dice.below(40) {
            let (user, key) = (self.dice.below(30), self.dice.below(1 << 40));
            let count = u8::try_from(1 + self.dice.below(3)).unwrap();
            let fresh = self
                .world
                .request(&format!("u{user}"), &format!("key-{key:014}"), count);
            let is_old = !self.requests.is_empty() && self.dice.is(10);
            requests.push(if is_old {
                let mut old = self.dice.pick(&self.requests).clone();
                old.tickets = fresh.tickets;
                old
            } else {
                fresh
            });
        }
        self.requests.extend(requests.iter().cloned());
        let batch = DrawBatch {
            campaign: "fair".into(),
            requests,
            now: self.now,
            has_relay: self.dice.is(80),
        };
        let [left, right] = self.stores();
        let left = left.commit_draws(batch.clone()).await.unwrap();
        let right = right.commit_draws(batch).await.unwrap();
        assert_eq!(left, right);
        for answer in left {
            let DrawAnswer::Drawn { draws, .. } = answer else {
                continue;
            };
            for draw in draws.iter().filter(|draw| draw.award.is_some()) {
                let sql = "SELECT message_id FROM delivery WHERE award_id = ?1";
                let id = self.shell.query_row(sql, [draw.id.0], |row| row.get(0));
                self.won.push((draw.id.award(), id.unwrap()));
            }
        }
    }

    async fn mark(&mut self) {
        let mut marks = Vec::new();
        for _ in 0..=self.dice.below(30) {
            let award = self.award();
            let position = self.position();
            let mark = match self.dice.below(8) {
                0 => Mark::Failed,
                1 => Mark::Refused,
                _ => Mark::Taken(position),
            };
            marks.push(MarkOf {
                award,
                lease: self.lease(award),
                mark,
                error: self.dice.is(30).then(|| "broken".to_owned()),
            });
        }
        let [left, right] = self.stores();
        equal(
            left.mark_published(marks.clone(), self.now).await.unwrap(),
            right.mark_published(marks, self.now).await.unwrap(),
        );
    }

    async fn take(&mut self) {
        let copies = self.copies();
        let way = self.dice.below(3);
        let until = self.now.plus(Duration::from_secs(self.dice.below(60)));
        let deferral = |copy| Deferral { copy, until };
        let deferrals: Vec<Deferral> = copies.iter().cloned().map(deferral).collect();
        let mut answers = Vec::new();
        for store in self.stores() {
            let (copies, deferrals) = (copies.clone(), deferrals.clone());
            answers.push(match way {
                0 => store.claim(copies, self.now).await.unwrap(),
                1 => store.defer(deferrals, self.now).await.unwrap(),
                _ => store.deliver_local(copies, self.now).await.unwrap(),
            });
        }
        equal(&answers[0], &answers[1]);
    }

    async fn record(&mut self) {
        let mut records = Vec::new();
        for _ in 0..=self.dice.below(20) {
            let award = self.in_hand();
            let decision = match self.dice.below(10) {
                0 => Decision::Refuse,
                1 => Decision::Unknown,
                2 => Decision::Defer,
                3 => Decision::Hold(HoldReason::EndpointDisabled),
                4 => Decision::Hold(HoldReason::Paused),
                5 => Decision::Hold(HoldReason::NoCode),
                6 => Decision::Hold(HoldReason::Address),
                7 => Decision::Retry { after: None },
                _ => Decision::Delivered {
                    receipt: self.dice.is(50).then(|| "thanks".to_owned()),
                },
            };
            records.push(Record {
                award,
                lease: self.lease(award),
                decision,
                error: self.dice.is(30).then(|| "broken".to_owned()),
                lane_at: self.now.plus(Duration::from_secs(self.dice.below(60))),
                jitter: Jitter(u16::try_from(self.dice.below(1001)).unwrap()),
            });
        }
        let back: Vec<(AwardId, i64)> = (0..self.dice.below(4))
            .map(|_| {
                let award = self.in_hand();
                (award, self.lease(award))
            })
            .collect();
        let [left, right] = self.stores();
        equal(
            left.record(records.clone(), self.now).await.unwrap(),
            right.record(records, self.now).await.unwrap(),
        );
        equal(
            left.give_back(back.clone(), self.now).await.unwrap(),
            right.give_back(back, self.now).await.unwrap(),
        );
    }

    async fn rescue(&mut self) {
        let partition = |partition| PartitionPosition {
            partition,
            committed: 300,
            log_start: 0,
            high_watermark: 800,
        };
        let group = GroupPosition {
            epoch: 1,
            partitions: vec![partition(0), partition(1)],
        };
        let query = DueQuery {
            lane: *self.dice.pick(&[0, 0, 7, 8]),
            after: self.after.filter(|_| self.dice.0.is_multiple_of(2)),
            limit: usize::try_from(1 + self.dice.below(60)).unwrap(),
            now: self.now,
            group: self.dice.is(80).then_some(group),
            is_breaker_open: self.dice.is(10),
        };
        let [left, right] = self.stores();
        let left_page = left.claim_due(query.clone()).await.unwrap();
        equal(&left_page, &right.claim_due(query).await.unwrap());
        equal(
            left.due_lanes(self.now).await.unwrap(),
            right.due_lanes(self.now).await.unwrap(),
        );
        self.after = left_page.next;
    }

    async fn operate(&mut self) {
        let award = self.award().0;
        let import = self.dice.below(1 << 30);
        let sql = match self.dice.below(7) {
            0 => "INSERT INTO pause VALUES ('fair', 'points', '', 0) ON CONFLICT DO NOTHING"
                .to_owned(),
            1 => "INSERT INTO pause VALUES ('', '', 'blunt', 0) ON CONFLICT DO NOTHING".to_owned(),
            2 | 3 => "DELETE FROM pause".to_owned(),
            4 => "UPDATE endpoint SET enabled = NOT enabled WHERE lane = 7".to_owned(),
            5 => {
                format!("INSERT INTO address VALUES ({award}, 0, B('')B, 0) ON CONFLICT DO NOTHING")
            }
            _ => {
                let ready = self.dice.below(2);
                let codes = (0..12).map(|n| {
                    let id = import * 16 + n;
                    format!(
                        "({id}, {import}, 1, B('{id:016}')B, {}, B('x')B)",
                        if n == 3 { 9 } else { 0 }
                    )
                });
                let codes: Vec<String> = codes.collect();
                format!(
                    "INSERT INTO code_import (id, campaign_id, prize_id, ready, created_at)
                     VALUES ({import}, 1, 2, {ready}, 0);
                     INSERT INTO code (id, import_id, campaign_id, digest, key_version, sealed)
                     VALUES {}",
                    codes.join(", ")
                )
            }
        };
        self.change(&sql).await;
    }

    async fn live(&mut self) {
        match self.dice.below(12) {
            _ if self.won.is_empty() => self.draw().await,
            0 | 1 => self.draw().await,
            2 | 3 => self.mark().await,
            4..=6 => self.take().await,
            7 => self.record().await,
            8..=10 => self.rescue().await,
            _ => self.operate().await,
        }
        let seconds = *self.dice.pick(&[0, 1, 1, 5, 20, 600, 40_000]);
        let passes = self.dice.is(40);
        let spent = if passes { seconds } else { 0 };
        self.now = self.now.plus(Duration::from_secs(spent));
    }

    /// Every row of the path, as one line each.
    async fn compare(&self) {
        for (table, columns, order) in TABLES {
            let line = |user: &str| {
                let columns: Vec<String> = columns
                    .split(' ')
                    .map(|column| match column {
                        "user" => format!("coalesce({user}, '-')"),
                        "in_doubt" => "CASE WHEN in_doubt THEN '1' ELSE '0' END".to_owned(),
                        column => format!("coalesce(CAST({column} AS text), '-')"),
                    })
                    .collect();
                let order = order.replace("user", user);
                let line = columns.join(" || ' ' || ");
                format!("SELECT {line} FROM {table} ORDER BY {order}")
            };
            let left: Vec<String> = self.column(&line("user"));
            let right = self.world.admin.query(&line("user_id"), &[]).await.unwrap();
            let right: Vec<String> = right.iter().map(|row| row.get(0)).collect();
            for (left, right) in left.iter().zip(&right) {
                assert_eq!(left, right, "{table}: {columns}");
            }
            assert_eq!(left.len(), right.len(), "{table}");
        }
    }
}

const TABLES: [(&str, &str, &str); 12] = [
    (
        "delivery",
        "award_id prize_id kind lane state lease due_at attempts publishes in_doubt hold_reason \
         dead_reason held_at deferred_since mq_state topic_epoch partition \"offset\" message_id \
         delivery_key ended_at",
        "award_id",
    ),
    (
        "attempt",
        "award_id n at what lease decision state due_at detail",
        "award_id, n",
    ),
    ("points_entry", "award_id user points at", "award_id"),
    ("code", "id award_id", "id"),
    ("prize_count", "prize_id spent day day_spent", "prize_id"),
    ("campaign_count", "draws wins day", "campaign_id"),
    ("allowance", "user total day day_total", "user"),
    ("user_win", "prize_id user wins", "prize_id, user"),
    (
        "draw",
        "id campaign_id version user client prize_id roll drawn_at day claim_key traceparent",
        "id",
    ),
    ("request", "client request_key first_draw", "request_key"),
    ("draw_span", "span campaign_id from_at to_at", "span"),
    (
        "operator_log",
        "at actor action subject award_id units reason",
        "award_id, at",
    ),
];

/// Says the first line that differs.
fn equal<T: Debug>(left: T, right: T) {
    let (left, right) = (format!("{left:#?}"), format!("{right:#?}"));
    let lines = left.lines().zip(right.lines()).enumerate();
    for (number, (one, other)) in lines {
        assert_eq!(one, other, "line {number} of {left}");
    }
    assert_eq!(left.len(), right.len(), "{left}");
}

#[tokio::test]
async fn any_calls_in_any_order_give_the_same_answers_and_rows_on_both_databases() {
    for seed in 1..=3 {
        let Some(mut both) = Both::open(seed).await else {
            return;
        };
        for call in 0..150 {
            println!("seed {seed}, call {call}, at {}", both.now);
            both.live().await;
            if call % 10 == 9 {
                both.compare().await;
            }
        }
    }
}
