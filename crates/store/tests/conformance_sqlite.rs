//! Aim: the SQLite store is a store. It runs the same list of names as every other.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row as Columns, ToSql};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tombola_core::award::{MqState, Position, Row, State};
use tombola_core::campaign::Kind;
use tombola_core::reason::{DeadReason, HoldReason};
use tombola_core::retry::Schedule;
use tombola_core::{AwardId, Timestamp};
use tombola_store::conformance::{Bench, Store};
use tombola_store::{SqliteStore, StoreOptions};

/// A store on a fresh file, and a shell on the same file.
struct Sqlite {
    store: Arc<SqliteStore>,
    schedule: Schedule,
    file: PathBuf,
    _directory: TempDir,
}

async fn sqlite() -> Arc<dyn Bench> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tombola.db");
    let options = StoreOptions::default();
    let schedule = options.schedule.clone();
    let store = SqliteStore::open(&file, options).unwrap();
    Arc::new(Sqlite {
        store,
        schedule,
        file,
        _directory: directory,
    })
}

tombola_store::conformance_tests!(sqlite);

impl Sqlite {
    fn shell(&self) -> Connection {
        Connection::open(&self.file).unwrap()
    }

    fn number(&self, sql: &str, value: &dyn ToSql) -> i64 {
        self.shell()
            .query_row(sql, [value], |row| row.get(0))
            .unwrap()
    }
}

#[async_trait]
impl Bench for Sqlite {
    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    async fn row(&self, award: AwardId) -> Option<Row> {
        let sql = "SELECT * FROM delivery WHERE award_id = ?1";
        self.shell()
            .query_row(sql, [award.0], |row| Ok(read(row)))
            .optional()
            .unwrap()
    }

    async fn code_of(&self, award: AwardId) -> Option<String> {
        let sql = "SELECT sealed FROM code WHERE award_id = ?1 AND key_version = 0";
        let sealed = self
            .shell()
            .query_row(sql, [award.0], |row| row.get::<_, Vec<u8>>(0));
        sealed
            .optional()
            .unwrap()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    }

    async fn points_of(&self, user: &str) -> i64 {
        self.number(
            "SELECT coalesce(sum(points), 0) FROM points_entry WHERE user = ?1",
            &user,
        )
    }

    async fn kept_messages(&self) -> usize {
        count(self.number("SELECT count(*) FROM kept_message WHERE id > ?1", &0))
    }

    async fn log_lines(&self, award: AwardId) -> usize {
        count(self.number("SELECT count(*) FROM attempt WHERE award_id = ?1", &award.0))
    }

    async fn operator_lines(&self) -> usize {
        count(self.number("SELECT count(*) FROM operator_log WHERE id > ?1", &0))
    }

    async fn block_user(&self, user: &str) {
        let sql = "INSERT INTO blocked_user (user, reason, at) VALUES (?1, 'fraud', 0)";
        self.shell().execute(sql, [user]).unwrap();
    }

    async fn poison(&self, award: AwardId) {
        let trigger = format!(
            "CREATE TRIGGER poison_{award} BEFORE UPDATE ON delivery
             WHEN NEW.award_id = {award} AND NEW.state = 'delivered'
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        );
        self.shell().execute_batch(&trigger).unwrap();
    }
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap()
}

fn read(row: &Columns<'_>) -> Row {
    let int = |name: &str| row.get_unwrap::<_, i64>(name);
    let instant = |name: &str| row.get_unwrap::<_, Option<i64>>(name).map(Timestamp);
    let text = |name: &str| row.get_unwrap::<_, Option<String>>(name);
    let epoch: Option<i64> = row.get_unwrap("topic_epoch");
    Row {
        award: AwardId(int("award_id")),
        kind: Kind::parse(&text("kind").unwrap()).unwrap(),
        lane: int("lane"),
        state: State::parse(&text("state").unwrap()).unwrap(),
        lease: int("lease"),
        due_at: instant("due_at"),
        attempts: row.get_unwrap("attempts"),
        publishes: row.get_unwrap("publishes"),
        in_doubt: row.get_unwrap("in_doubt"),
        hold_reason: text("hold_reason").map(|name| HoldReason::parse(&name).unwrap()),
        dead_reason: text("dead_reason").map(|name| DeadReason::parse(&name).unwrap()),
        held_at: instant("held_at"),
        deferred_since: instant("deferred_since"),
        mq_state: MqState::from_code(row.get_unwrap("mq_state")).unwrap(),
        position: epoch.map(|epoch| Position {
            epoch,
            partition: row.get_unwrap("partition"),
            offset: row.get_unwrap("offset"),
        }),
    }
}
