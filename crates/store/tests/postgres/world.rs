//! A database with one started campaign, and what tests do to it.

use crate::server::Database;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, Config};
use tombola_core::award::Position;
use tombola_core::campaign::odds::Roll;
use tombola_core::campaign::parse_toml;
use tombola_core::draw::{DrawRequest, Ticket};
use tombola_core::ports::{AwardPath as _, Copy, DrawAnswer, DrawBatch};
use tombola_core::{DrawId, Timestamp};
use tombola_store::StoreOptions;
use tombola_store::postgres::{Bounds, PostgresStore};

/// Noon of a day in February, UTC.
pub(crate) const NOON: Timestamp = Timestamp(1_771_070_400_000_000);

/// The lane of the endpoint `coupons`.
pub(crate) const LANE: i64 = 7;

/// A database of its own.
pub(crate) struct World {
    pub(crate) config: Config,
    /// For looking and for what an operator would do.
    pub(crate) admin: Client,
    ids: AtomicI64,
    database: Database,
}

impl World {
    /// A database with this campaign, which must be called `fair`; `None` where
    /// there is no PostgreSQL, and says so.
    pub(crate) async fn open(campaign: &str) -> Option<Self> {
        Some(Self::on(Database::new().await?, campaign).await)
    }

    /// The same on a database that there is already.
    pub(crate) async fn on(database: Database, campaign: &str) -> Self {
        let world = Self {
            config: database.config.clone(),
            admin: database.connect().await,
            ids: AtomicI64::new(1),
            database,
        };
        world.store().await;
        world.put(campaign).await;
        world
    }

    /// A store of its own, as another instance would have.
    pub(crate) async fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.database.options(), StoreOptions::default())
            .await
            .unwrap()
    }

    /// The same with other bounds.
    pub(crate) async fn store_within(&self, bounds: Bounds) -> PostgresStore {
        let mut options = self.database.options();
        options.bounds = bounds;
        PostgresStore::open(&options, StoreOptions::default())
            .await
            .unwrap()
    }

    /// Several of them.
    pub(crate) async fn stores(&self, count: usize) -> Vec<Arc<PostgresStore>> {
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(Arc::new(self.store().await));
        }
        stores
    }

    async fn put(&self, campaign: &str) {
        let file = parse_toml("fair.toml", campaign).expect("a campaign file without problems");
        let rules = file.check().unwrap();
        let spec = r#"{"name":"coupons","url":"https://coupons.example","idempotent":true}"#;
        self.admin
            .batch_execute(&format!(
                "INSERT INTO campaign (id, slug, state, version, created_at, updated_at)
                 VALUES (1, 'fair', 'started', 1, 0, 0);
                 INSERT INTO endpoint (lane, name, spec, updated_at)
                 VALUES ({LANE}, 'coupons', '{spec}', 0)"
            ))
            .await
            .unwrap();
        let version = "INSERT INTO campaign_version VALUES (1, 1, $1, 0)";
        self.change(version, &[&file.to_json()]).await;
        for prize in &rules.prizes {
            let stock = prize.stock.map(|stock| i64::try_from(stock).unwrap());
            let sql = "INSERT INTO prize (campaign_id, slug, kind, stock) VALUES (1, $1, $2, $3)";
            self.change(sql, &[&prize.slug, &prize.kind().name(), &stock])
                .await;
        }
    }

    /// Codes of a prize, in an import that is ready or not. `version` is of the secret
    /// that sealed them; 0 is plain.
    pub(crate) async fn codes(&self, prize: i64, count: i64, is_ready: bool, version: i32) {
        let import = "INSERT INTO code_import (campaign_id, prize_id, ready, created_at)
                      VALUES (1, $1, $2, 0) RETURNING id";
        let ready = i16::from(is_ready);
        let import = self.admin.query_one(import, &[&prize, &ready]).await;
        let import: i64 = import.unwrap().get(0);
        let codes = "INSERT INTO code (import_id, campaign_id, digest, key_version, sealed)
                     SELECT $1::bigint, 1, decode(md5($1::bigint || '-' || n), 'hex'), $3::integer, convert_to('code-' || n, 'UTF8')
                     FROM generate_series(1, $2::bigint) AS n";
        self.change(codes, &[&import, &count, &version]).await;
    }

    /// Deadlocks that this database has seen.
    pub(crate) async fn deadlocks(&self) -> i64 {
        self.number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .await
    }

    /// Another connection, for what is done beside the store.
    pub(crate) async fn shell(&self) -> Client {
        crate::server::connect(&self.config).await
    }

    /// Holds a snapshot until it is dropped: nothing that dies from now on is removed.
    pub(crate) async fn snapshot(&self) -> Client {
        let client = self.shell().await;
        let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM campaign";
        client.batch_execute(hold).await.unwrap();
        client
    }

    /// One statement on the operator's connection.
    pub(crate) async fn change(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) {
        self.admin.execute(sql, params).await.unwrap();
    }

    /// The number that a statement gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = format!("SELECT ({sql})::bigint");
        self.admin.query_one(&sql, &[]).await.unwrap().get(0)
    }

    /// Returns as soon as that many connections to this database wait for a lock.
    pub(crate) async fn until_waiting(&self, count: i64) {
        self.until(count, "wait_event_type = 'Lock'").await;
    }

    /// Returns as soon as that many connections to this database are as the condition on
    /// `pg_stat_activity` says.
    pub(crate) async fn until(&self, count: i64, condition: &str) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND {condition}"
        );
        let waiting = async {
            while self.number(&sql).await < count {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        waited.unwrap_or_else(|_| panic!("{count} connections of which {condition}"));
    }

    /// A request of `count` draws; equal users, keys and counts make equal requests,
    /// each with tickets of its own.
    pub(crate) fn request(&self, user: &str, key: &str, count: u8) -> DrawRequest {
        let ticket = |_| {
            let id = self.ids.fetch_add(1, Ordering::Relaxed);
            let bits = id.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Ticket {
                id: DrawId(id),
                roll: Roll(bits),
                message_tail: bits >> 4,
                delivery_tail: bits.rotate_left(32) >> 4,
            }
        };
        let mut fingerprint = [count; 16];
        for (byte, of_user) in fingerprint.iter_mut().zip(user.bytes()) {
            *byte ^= of_user;
        }
        DrawRequest {
            client: "shop".into(),
            user: user.into(),
            key: key.into(),
            fingerprint,
            tickets: (0..count).map(ticket).collect(),
            traceparent: None,
            claim_key_version: 1,
        }
    }

    /// Wins of the whole batch's requests, ready to be claimed.
    pub(crate) async fn win(&self, store: &PostgresStore, count: usize) -> Vec<Copy> {
        let request = |n| self.request(&format!("user-{n}"), &format!("win-key-{n}"), 1);
        let requests = (0..count).map(request).collect();
        let answers = store.commit_draws(batch(requests)).await.unwrap();
        let copy = |answer| match answer {
            DrawAnswer::Drawn { handoffs, .. } => copy_of(&handoffs[0]),
            DrawAnswer::Replayed { .. } | DrawAnswer::Refused(_) => panic!("{answer:?}"),
        };
        answers.into_iter().map(copy).collect()
    }
}

fn copy_of(handoff: &tombola_core::ports::Handoff) -> Copy {
    Copy {
        award: handoff.award,
        message_id: handoff.message.message_id.clone(),
        position: Position {
            epoch: 1,
            partition: 0,
            offset: handoff.award.0,
        },
    }
}

/// A batch of the campaign at noon.
pub(crate) fn batch(requests: Vec<DrawRequest>) -> DrawBatch {
    DrawBatch {
        campaign: "fair".into(),
        requests,
        now: NOON,
        has_relay: true,
    }
}
