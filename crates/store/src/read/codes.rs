//! Codes of a campaign, counted; no code is shown.

use super::column::{count, instant, instant_or_null};
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::ports::StoreResult;

/// The codes of one prize.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CodeFact {
    /// The prize's slug.
    pub prize: String,
    /// Codes that are or were visible; those of a running import are not.
    pub total: u64,
    /// To be given yet.
    pub free: u64,
    /// Given to an award.
    pub given: u64,
    /// Neither to be given nor with an award that counts.
    pub voided: u64,
    /// Newest first.
    pub imports: Vec<ImportFact>,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportFact {
    /// Names it in `code withdraw`.
    pub import: i64,
    /// `running`, `ready` or `withdrawn`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["running", "ready", "withdrawn"])))]
    pub state: String,
    /// Its codes that are there.
    pub total: u64,
    /// To be given yet.
    pub free: u64,
    /// Given to an award.
    pub given: u64,
    /// Neither to be given nor with an award that counts.
    pub voided: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it became visible.
    pub ready_at: Option<Timestamp>,
}

impl Store {
    /// The codes of a campaign by prize and import; `None` if there is no such campaign.
    pub async fn code_stats(&self, campaign: &str) -> StoreResult<Option<Vec<CodeFact>>> {
        let campaign = campaign.to_owned();
        self.read(move |conn| stats(conn, &campaign).or_store())
            .await
    }
}

fn stats(conn: &Connection, campaign: &str) -> sql::Result<Option<Vec<CodeFact>>> {
    let id: Option<i64> = conn
        .prepare_cached("SELECT id FROM campaign WHERE slug = ?1")?
        .query_row([campaign], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let mut prizes: Vec<CodeFact> = conn
        .prepare_cached(
            "SELECT slug FROM prize WHERE campaign_id = ?1 AND kind = 'code' ORDER BY id",
        )?
        .query_map([id], |row| {
            Ok(CodeFact {
                prize: row.get(0)?,
                total: 0,
                free: 0,
                given: 0,
                voided: 0,
                imports: Vec::new(),
            })
        })?
        .collect::<sql::Result<_>>()?;
    for (prize, import) in imports(conn, id)? {
        let Some(fact) = prizes.iter_mut().find(|fact| fact.prize == prize) else {
            continue;
        };
        if import.state != "running" {
            fact.total += import.total;
            fact.free += if import.state == "ready" {
                import.free
            } else {
                0
            };
            fact.given += import.given;
            fact.voided += import.voided;
        }
        fact.imports.push(import);
    }
    Ok(Some(prizes))
}

/// One pass over the codes.
fn imports(conn: &Connection, campaign: i64) -> sql::Result<Vec<(String, ImportFact)>> {
    conn.prepare_cached(
        "WITH counted AS (
           SELECT import_id, count(*) AS total,
                  count(*) FILTER (WHERE award_id IS NULL AND voided_at IS NULL) AS free,
                  count(*) FILTER (WHERE award_id IS NOT NULL AND voided_at IS NULL) AS given,
                  count(*) FILTER (WHERE voided_at IS NOT NULL) AS voided
           FROM code WHERE +campaign_id = ?1 GROUP BY import_id)
         SELECT p.slug, i.id, i.ready, coalesce(n.total, 0), coalesce(n.free, 0),
                coalesce(n.given, 0), coalesce(n.voided, 0), i.created_at, i.ready_at
         FROM code_import i JOIN prize p ON p.id = i.prize_id LEFT JOIN counted n ON n.import_id = i.id
         WHERE i.campaign_id = ?1 ORDER BY i.id DESC",
    )?
    .query_map([campaign], |row| {
        let state = match row.get::<_, i64>(2)? {
            0 => "running",
            1 => "ready",
            _ => "withdrawn",
        };
        let import = ImportFact {
            import: row.get(1)?,
            state: state.to_owned(),
            total: count(row, 3)?,
            free: count(row, 4)?,
            given: count(row, 5)?,
            voided: count(row, 6)?,
            created_at: instant(row, 7)?,
            ready_at: instant_or_null(row, 8)?,
        };
        Ok((row.get(0)?, import))
    })?
    .collect()
}
