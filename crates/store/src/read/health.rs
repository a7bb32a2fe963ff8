//! What `doctor` looks at in a database: the file itself, or the server that has it, and
//! what of its rows needs a person. Read on a connection that cannot write, be it the
//! server's or, where nobody serves, one of its own.

use super::campaigns::{file_of, rules_of};
use super::column::{count, count_or_null, instant, instant_or_null, word};
use crate::Store;
use crate::postgres::{self, ServerFact, Wall};
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, params};
use crate::sqlite::{Schema, backup, schema_of};
use crate::store::Database;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::campaign::{KindSpec, Rules};
use tombola_core::limits::DOCTOR_TIMEOUT;
use tombola_core::ports::{PauseScope, Role, StoreError, StoreResult};
use tombola_core::reason::{DeadReason, HoldReason};

/// How a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseFact {
    /// SQLite's, with its file.
    File(FileFact),
    /// PostgreSQL's, with its server.
    Server(Box<ServerFact>),
}

/// How a database's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFact {
    /// Its schema, beside the newest that this program knows.
    pub schema: Schema,
    /// Its size.
    pub bytes: u64,
    /// The size of the log beside it.
    pub log_bytes: u64,
    /// `wal` where it is right.
    pub journal_mode: String,
    /// SQLite's number of it, 2 for FULL; of the server's connections only.
    pub synchronous: Option<i64>,
    /// What is broken in it.
    pub faults: Vec<String>,
    /// Marks of the secrets that it was used with, by version.
    pub secrets: BTreeMap<i32, [u8; 16]>,
}

/// What of its rows needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkFact {
    /// Keys that are good now.
    pub keys: Vec<KeyFact>,
    /// Prizes of campaigns that are started or paused, and cannot be delivered.
    pub needs: Vec<PrizeNeed>,
    /// Paused deliveries.
    pub pauses: Vec<PauseFact>,
    /// When the oldest award was drawn that is on its way; held ones wait for a person.
    pub oldest_undelivered: Option<Timestamp>,
    /// Dead letters by reason.
    pub dead: BTreeMap<DeadReason, u64>,
    /// Awards held longer than a review, of the reasons that have no date of their own.
    pub held_long: BTreeMap<HoldReason, u64>,
}

/// A key that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFact {
    /// Names it.
    pub id: i64,
    /// The program that uses it.
    pub client: String,
    /// What it may do.
    pub role: Role,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// Paused deliveries of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseFact {
    /// Which.
    pub scope: PauseScope,
    /// Since when.
    pub at: Timestamp,
}

/// A prize that users can win and that cannot be delivered, now or soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrizeNeed {
    /// The campaign's slug.
    pub campaign: String,
    /// The prize's slug.
    pub prize: String,
    /// What is amiss.
    pub need: Need,
}

/// What a prize lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// No endpoint of that name is there.
    EndpointGone(String),
    /// The endpoint of that name is disabled.
    EndpointDisabled(String),
    /// Fewer codes are free than units are left; unlimited where `left` is `None`.
    Codes {
        /// Codes to be given yet.
        free: u64,
        /// Units that can be won yet.
        left: Option<u64>,
    },
}

impl Store {
    /// How the database is; a file is read whole, so one at a time is enough. `wall` is
    /// this machine's time, which is held against that of the database's server.
    pub async fn database_fact(&self, wall: Wall) -> StoreResult<DatabaseFact> {
        match &self.database {
            Database::Sqlite(_) => self.file_fact().await.map(DatabaseFact::File),
            Database::Postgres(postgres) => {
                let server = postgres.database().facts(wall).await?;
                let rows = if server.schema_fits() {
                    self.read(|conn| postgres::rows(conn).or_store()).await
                } else {
                    Err(StoreError::Schema(postgres::OTHER_SCHEMA.to_owned()))
                };
                let rows = rows.map_err(|error| error.to_string());
                Ok(DatabaseFact::Server(Box::new(ServerFact { server, rows })))
            }
        }
    }

    async fn file_fact(&self) -> StoreResult<FileFact> {
        self.read_within(DOCTOR_TIMEOUT, |conn| {
            let conn = conn.sqlite();
            let synchronous = conn
                .query_row("PRAGMA synchronous", [], |row| row.get(0))
                .or_store()?;
            Ok(FileFact {
                synchronous: Some(synchronous),
                ..file_fact(conn)?
            })
        })
        .await
    }

    /// What needs a person at `now`, where a hold is looked at again after `review`.
    pub async fn work_fact(&self, now: Timestamp, review: Duration) -> StoreResult<WorkFact> {
        self.read_within(DOCTOR_TIMEOUT, move |conn| {
            work_fact(conn, now, review).or_store()
        })
        .await
    }

    /// Both of the file at `path`, which nobody serves and which is not changed. The
    /// rows are read only where their schema is known.
    pub fn facts_of_file(
        path: &Path,
        now: Timestamp,
        review: Duration,
    ) -> StoreResult<(FileFact, Option<WorkFact>)> {
        let conn = backup::open_read_only(path)?;
        let database = file_fact(&conn)?;
        let conn = Connection::from(conn);
        let is_known = (1..=database.schema.newest).contains(&database.schema.present);
        let work = (is_known && database.faults.is_empty())
            .then(|| work_fact(&conn, now, review).or_store())
            .transpose()?;
        Ok((database, work))
    }
}

fn file_fact(conn: &rusqlite::Connection) -> StoreResult<FileFact> {
    let number = |pragma: &str| {
        conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, u32>(0))
            .map(u64::from)
            .or_store()
    };
    let log = conn
        .path()
        .and_then(|path| std::fs::metadata(format!("{path}-wal")).ok());
    Ok(FileFact {
        bytes: number("page_count")? * number("page_size")?,
        log_bytes: log.map_or(0, |log| log.len()),
        journal_mode: conn
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .or_store()?,
        synchronous: None,
        faults: backup::faults_of(conn)?,
        secrets: backup::secret_marks(conn)?,
        schema: schema_of(conn)?,
    })
}

pub(crate) fn work_fact(
    conn: &Connection,
    now: Timestamp,
    review: Duration,
) -> sql::Result<WorkFact> {
    Ok(WorkFact {
        keys: keys(conn, now)?,
        needs: needs(conn)?,
        pauses: pauses(conn)?,
        oldest_undelivered: conn
            .prepare_cached(
                "SELECT min(d.drawn_at) FROM delivery v JOIN draw d ON d.id = v.award_id
                 WHERE v.due_at IS NOT NULL AND v.state <> 'held'",
            )?
            .query_row([], |row| instant_or_null(row, 0))?,
        dead: conn
            .prepare_cached(
                "SELECT dead_reason, count(*) FROM delivery WHERE state = 'dead' GROUP BY dead_reason",
            )?
            .query_map([], |row| Ok((word(row, 0, DeadReason::parse)?, count(row, 1)?)))?
            .collect::<sql::Result<_>>()?,
        held_long: conn
            .prepare_cached(
                "SELECT hold_reason, count(*) FROM delivery
                 WHERE hold_reason IN ('manual', 'paused', 'shipment', 'no_code', 'endpoint_disabled')
                   AND held_at < ?1
                 GROUP BY hold_reason",
            )?
            .query_map([now.minus(review).0], |row| {
                Ok((word(row, 0, HoldReason::parse)?, count(row, 1)?))
            })?
            .collect::<sql::Result<_>>()?,
    })
}

fn keys(conn: &Connection, now: Timestamp) -> sql::Result<Vec<KeyFact>> {
    conn.prepare_cached(
        "SELECT id, client, role, expires_at FROM api_key
         WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1) ORDER BY id",
    )?
    .query_map([now.0], |row| {
        Ok(KeyFact {
            id: row.get(0)?,
            client: row.get(1)?,
            role: word(row, 2, Role::parse)?,
            expires_at: instant_or_null(row, 3)?,
        })
    })?
    .collect()
}

fn pauses(conn: &Connection) -> sql::Result<Vec<PauseFact>> {
    let named = |text: String| Some(text).filter(|text| !text.is_empty());
    conn.prepare_cached(
        "SELECT campaign, prize, endpoint, at FROM pause ORDER BY campaign, prize, endpoint",
    )?
    .query_map([], |row| {
        Ok(PauseFact {
            scope: PauseScope {
                campaign: named(row.get(0)?),
                prize: named(row.get(1)?),
                endpoint: named(row.get(2)?),
            },
            at: instant(row, 3)?,
        })
    })?
    .collect()
}

/// By the version in force.
fn needs(conn: &Connection) -> sql::Result<Vec<PrizeNeed>> {
    let mut campaigns = conn.prepare_cached(
        "SELECT c.id, c.slug, v.file FROM campaign c
         JOIN campaign_version v ON v.campaign_id = c.id AND v.version = c.version
         WHERE c.state IN ('started', 'paused') ORDER BY c.slug",
    )?;
    let mut rows = campaigns.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, slug): (i64, String) = (row.get(0)?, row.get(1)?);
        let rules = rules_of(&file_of(row.text(2)?, &slug)?)?;
        needs_of(conn, id, &rules, &mut found)?;
    }
    Ok(found)
}

fn needs_of(
    conn: &Connection,
    campaign_id: i64,
    rules: &Rules,
    found: &mut Vec<PrizeNeed>,
) -> sql::Result<()> {
    for prize in &rules.prizes {
        let need = match &prize.spec {
            KindSpec::Webhook { endpoint, .. } => endpoint_need(conn, endpoint)?,
            KindSpec::Code { .. } => codes_need(conn, campaign_id, &prize.slug)?,
            KindSpec::Text { .. }
            | KindSpec::Points { .. }
            | KindSpec::Physical { .. }
            | KindSpec::External { .. } => None,
        };
        found.extend(need.map(|need| PrizeNeed {
            campaign: rules.slug.clone(),
            prize: prize.slug.clone(),
            need,
        }));
    }
    Ok(())
}

fn endpoint_need(conn: &Connection, endpoint: &str) -> sql::Result<Option<Need>> {
    let is_enabled: Option<bool> = conn
        .prepare_cached("SELECT enabled FROM endpoint WHERE name = ?1")?
        .query_row([endpoint], |row| row.get(0))
        .optional()?;
    Ok(match is_enabled {
        Some(true) => None,
        Some(false) => Some(Need::EndpointDisabled(endpoint.to_owned())),
        None => Some(Need::EndpointGone(endpoint.to_owned())),
    })
}

/// Awards that are won already and wait for their code need one each as well.
fn codes_need(conn: &Connection, campaign_id: i64, prize: &str) -> sql::Result<Option<Need>> {
    let found = conn
        .prepare_cached(
            "SELECT p.stock - n.spent,
                    (SELECT count(*) FROM delivery v INDEXED BY delivery_due
                     WHERE v.lane = 0 AND v.due_at IS NOT NULL AND v.prize_id = p.id),
                    (SELECT count(*) FROM code_import i JOIN code c INDEXED BY code_free ON c.import_id = i.id
                     WHERE i.prize_id = p.id AND i.ready = 1 AND c.award_id IS NULL AND c.voided_at IS NULL)
             FROM prize p JOIN prize_count n ON n.prize_id = p.id WHERE p.campaign_id = ?1 AND p.slug = ?2",
        )?
        .query_row(params![campaign_id, prize], |row| {
            Ok((count_or_null(row, 0)?, count(row, 1)?, count(row, 2)?))
        })
        .optional()?;
    let Some((left, waiting, free)) = found else {
        return Ok(None);
    };
    let left = left.map(|left| left + waiting);
    let is_short = match left {
        Some(left) => free < left,
        None => free == 0,
    };
    Ok(is_short.then_some(Need::Codes { free, left }))
}
