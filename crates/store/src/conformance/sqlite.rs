//! The SQLite store on the bench: a fresh file, and a shell on it.

use super::bench::{self, Bench};
use crate::seal::{Place, Sealer};
use crate::{SealKeys, Store, StoreOptions};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row as Columns, ToSql};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;
use tombola_core::award::{MqState, Position, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::ports::Actor;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};

/// A SQLite store on a fresh file, which is removed with it. It seals: that all is
/// plain without secrets is shown by the store's own tests.
pub struct SqliteBench {
    store: Arc<Store>,
    /// The newest version of its secret.
    version: AtomicU8,
    schedule: Schedule,
    file: PathBuf,
    _directory: TempDir,
}

impl SqliteBench {
    /// Opens one.
    pub fn open(options: StoreOptions) -> Self {
        let directory = whole(tempfile::tempdir());
        let file = directory.path().join("tombola.db");
        let schedule = options.schedule.clone();
        let options = StoreOptions {
            seal_keys: Some(secrets(1)),
            ..options
        };
        let store = whole(Store::open(&file, options));
        Self {
            store,
            version: AtomicU8::new(1),
            schedule,
            file,
            _directory: directory,
        }
    }

    fn shell(&self) -> Connection {
        whole(Connection::open(&self.file))
    }

    fn number(&self, sql: &str, value: &dyn ToSql) -> i64 {
        whole(self.shell().query_row(sql, [value], |row| row.get(0)))
    }
}

/// All versions up to that one.
pub(super) fn secrets(newest: u8) -> SealKeys {
    let versions: BTreeMap<i32, [u8; 32]> = (1..=newest)
        .map(|version| (i32::from(version), [version; 32]))
        .collect();
    SealKeys::new("the bench", versions)
}

/// The bench itself must not fail.
pub(super) fn whole<T, E: std::fmt::Display>(answer: Result<T, E>) -> T {
    answer.unwrap_or_else(|error| panic!("the bench failed: {error}"))
}

/// A name of a closed list.
pub(super) fn named<T>(name: &str, parse: fn(&str) -> Option<T>) -> T {
    parse(name).unwrap_or_else(|| panic!("no list has {name:?}"))
}

#[async_trait]
impl Bench for SqliteBench {
    fn store(&self) -> &dyn bench::Store {
        &*self.store
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    async fn row(&self, award: AwardId) -> Option<Row> {
        let sql = "SELECT * FROM delivery WHERE award_id = ?1";
        whole(self.shell().query_row(sql, [award.0], read).optional())
    }

    async fn code_of(&self, award: AwardId) -> Option<String> {
        let sql = "SELECT campaign_id, digest, key_version, sealed FROM code
                   WHERE award_id = ?1 AND key_version > 0";
        let row = self.shell().query_row(sql, [award.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        });
        let found: Option<(i64, [u8; 16], i32, Vec<u8>)> = whole(row.optional());
        let (campaign, digest, version, sealed) = found?;
        let place = Place::Code {
            campaign,
            digest: &digest,
        };
        let sealer = Sealer::new(Some(&secrets(self.version.load(Ordering::Relaxed))));
        let plain = whole(sealer.open(place, version, &sealed));
        Some(whole(String::from_utf8(plain)))
    }

    async fn points_of(&self, user: &str) -> i64 {
        self.number(
            "SELECT coalesce(sum(points), 0) FROM points_entry
             WHERE user = ?1 AND award_id NOT IN (SELECT award_id FROM points_reversal)",
            &user,
        )
    }

    async fn kept_messages(&self) -> usize {
        whole(
            self.number("SELECT count(*) FROM kept_message WHERE id > ?1", &0)
                .try_into(),
        )
    }

    async fn log_lines(&self, award: AwardId) -> usize {
        whole(
            self.number("SELECT count(*) FROM attempt WHERE award_id = ?1", &award.0)
                .try_into(),
        )
    }

    async fn operator_lines(&self) -> usize {
        whole(
            self.number("SELECT count(*) FROM operator_log WHERE id > ?1", &0)
                .try_into(),
        )
    }

    async fn poison(&self, award: AwardId) {
        let trigger = format!(
            "CREATE TRIGGER poison_{award} BEFORE UPDATE ON delivery
             WHEN NEW.award_id = {award} AND NEW.state = 'delivered'
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        );
        whole(self.shell().execute_batch(&trigger));
    }

    async fn change_secret(&self) {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let by = Actor {
            name: "bench".to_owned(),
            reason: None,
            request: None,
        };
        let changed = self
            .store
            .change_secret(secrets(version), false, by, Timestamp(0))
            .await;
        whole(changed);
    }
}

/// Reads a delivery row by the names of its columns, apart from how the store does.
fn read(row: &Columns<'_>) -> rusqlite::Result<Row> {
    let instant = |name: &str| row.get::<_, Option<i64>>(name).map(|at| at.map(Timestamp));
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let position = match row.get("topic_epoch")? {
        None => None,
        Some(epoch) => Some(Position {
            epoch,
            partition: row.get("partition")?,
            offset: row.get("offset")?,
        }),
    };
    let mq_state: u8 = row.get("mq_state")?;
    Ok(Row {
        award: AwardId(row.get("award_id")?),
        kind: named(&row.get::<_, String>("kind")?, Kind::parse),
        lane: row.get("lane")?,
        state: named(&row.get::<_, String>("state")?, State::parse),
        lease: row.get("lease")?,
        due_at: instant("due_at")?,
        attempts: row.get("attempts")?,
        publishes: row.get("publishes")?,
        in_doubt: row.get("in_doubt")?,
        hold_reason: text("hold_reason")?.map(|name| named(&name, HoldReason::parse)),
        dead_reason: text("dead_reason")?.map(|name| named(&name, DeadReason::parse)),
        held_at: instant("held_at")?,
        deferred_since: instant("deferred_since")?,
        mq_state: MqState::from_code(mq_state)
            .unwrap_or_else(|| panic!("no note has the code {mq_state}")),
        position,
    })
}
