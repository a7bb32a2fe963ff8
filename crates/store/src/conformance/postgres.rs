//! The store on PostgreSQL on the bench: a fresh database, and a shell on it.

use super::bench::{self, Bench};
use super::sqlite::{named, secrets, whole};
use crate::postgres::PostgresOptions;
use crate::seal::{Place, Sealer};
use crate::{Store, StoreOptions};
use async_trait::async_trait;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use tombola_core::award::{MqState, Position, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::Actor;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

/// A store on a fresh database. It seals, as that of SQLite on the bench does.
pub struct PostgresBench {
    store: Arc<Store>,
    /// The newest version of its secret.
    version: AtomicU8,
    schedule: Schedule,
    shell: Client,
    _database: Box<dyn Any + Send + Sync>,
}

impl PostgresBench {
    /// Opens one on an empty database, reached without TLS, that lives as long as
    /// `database` is kept.
    #[expect(
        clippy::disallowed_methods,
        reason = "the task is the connection of the shell: it ends when its client is dropped"
    )]
    pub async fn open(
        postgres: PostgresOptions,
        options: StoreOptions,
        database: impl Any + Send + Sync,
    ) -> Self {
        let schedule = options.schedule.clone();
        let options = StoreOptions {
            seal_keys: Some(secrets(1)),
            ..options
        };
        let store = whole(Store::connect(&postgres, options).await);
        let (shell, connection) = whole(postgres.config.connect(NoTls).await);
        tokio::spawn(async move { drop(connection.await) });
        Self {
            store,
            version: AtomicU8::new(1),
            schedule,
            shell,
            _database: Box::new(database),
        }
    }

    async fn number(&self, sql: &str, value: &(dyn ToSql + Sync)) -> i64 {
        whole(self.shell.query_one(sql, &[value]).await).get(0)
    }
}

#[async_trait]
impl Bench for PostgresBench {
    fn store(&self) -> &dyn bench::Store {
        &*self.store
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    async fn row(&self, award: AwardId) -> Option<Row> {
        let sql = "SELECT * FROM delivery WHERE award_id = $1";
        whole(self.shell.query_opt(sql, &[&award.0]).await).map(|row| read(&row))
    }

    async fn code_of(&self, award: AwardId) -> Option<String> {
        let sql = "SELECT campaign_id, digest, key_version, sealed FROM code
                   WHERE award_id = $1 AND key_version > 0";
        let row = whole(self.shell.query_opt(sql, &[&award.0]).await)?;
        let digest: [u8; 16] = whole(row.get::<_, &[u8]>(1).try_into());
        let place = Place::Code {
            campaign: row.get(0),
            digest: &digest,
        };
        let sealer = Sealer::new(Some(&secrets(self.version.load(Ordering::Relaxed))));
        let plain = whole(sealer.open(place, row.get(2), row.get(3)));
        Some(whole(String::from_utf8(plain)))
    }

    async fn points_of(&self, user: &str) -> i64 {
        self.number(
            "SELECT coalesce(sum(points), 0)::bigint FROM points_entry
             WHERE user_id = $1 AND award_id NOT IN (SELECT award_id FROM points_reversal)",
            &user,
        )
        .await
    }

    async fn kept_messages(&self) -> usize {
        let sql = "SELECT count(*) FROM kept_message WHERE id > $1";
        whole(self.number(sql, &0_i64).await.try_into())
    }

    async fn log_lines(&self, award: AwardId) -> usize {
        let sql = "SELECT count(*) FROM attempt WHERE award_id = $1";
        whole(self.number(sql, &award.0).await.try_into())
    }

    async fn operator_lines(&self) -> usize {
        let sql = "SELECT count(*) FROM operator_log WHERE id > $1";
        whole(self.number(sql, &0_i64).await.try_into())
    }

    async fn poison(&self, award: AwardId) {
        let trigger = format!(
            "CREATE FUNCTION poison_{award}() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'poison' USING ERRCODE = 'check_violation'; END $$;
             CREATE TRIGGER poison_{award} BEFORE UPDATE ON delivery FOR EACH ROW
               WHEN (NEW.award_id = {award} AND NEW.state = 'delivered') EXECUTE FUNCTION poison_{award}()"
        );
        whole(self.shell.batch_execute(&trigger).await);
    }

    async fn change_secret(&self) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let by = Actor::named("bench");
        let changed = self
            .store
            .change_secret(secrets(version), false, by, Timestamp(0))
            .await;
        whole(changed);
    }
}

/// Reads a delivery row by the names of its columns, apart from how the store does.
fn read(row: &tokio_postgres::Row) -> Row {
    let instant = |name: &str| row.get::<_, Option<i64>>(name).map(Timestamp);
    let text = |name: &str| row.get::<_, Option<&str>>(name);
    let count = |name: &str| whole(u32::try_from(row.get::<_, i32>(name)));
    let position = row
        .get::<_, Option<i64>>("topic_epoch")
        .map(|epoch| Position {
            epoch,
            partition: row.get("partition"),
            offset: row.get("offset"),
        });
    let mq_state = whole(u8::try_from(row.get::<_, i16>("mq_state")));
    Row {
        award: AwardId(row.get("award_id")),
        kind: named(row.get("kind"), Kind::parse),
        lane: row.get("lane"),
        state: named(row.get("state"), State::parse),
        lease: row.get("lease"),
        due_at: instant("due_at"),
        attempts: count("attempts"),
        publishes: count("publishes"),
        in_doubt: row.get("in_doubt"),
        hold_reason: text("hold_reason").map(|name| named(name, HoldReason::parse)),
        dead_reason: text("dead_reason").map(|name| named(name, DeadReason::parse)),
        held_at: instant("held_at"),
        deferred_since: instant("deferred_since"),
        mq_state: MqState::from_code(mq_state)
            .unwrap_or_else(|| panic!("there is no mq_state {mq_state}")),
        position,
    }
}
