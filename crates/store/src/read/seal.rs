//! What is sealed under which version of the secret, counted.

use crate::Store;
use crate::seals::{Table, Walk};
use crate::sql::Connection;
use crate::sql::OrStoreError as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tombola_core::ports::StoreResult;

/// Rows counted by one read: it holds the database's log back for that long only.
const ROWS_PER_READ: i64 = 100_000;

/// How the sealing stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SealFact {
    /// The version that seals new rows; 0 where nothing is sealed.
    pub newest: i32,
    /// Whether older rows are still being sealed anew.
    pub is_resealing: bool,
    /// Rows that did not open when their turn came, and stay as they are.
    pub stuck: u64,
    /// Every version that is there or has rows, the oldest first; 0 is plain.
    pub versions: Vec<SealVersionFact>,
}

/// One version of the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SealVersionFact {
    /// Its number.
    pub version: i32,
    /// Whether its rows can be opened.
    pub is_there: bool,
    /// Its rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Whether it has to stay because of its rows.
    pub is_needed: bool,
}

impl Store {
    /// Counts all sealed rows, in parts. A row that is sealed anew meanwhile may be
    /// counted twice or not at all; once nothing is being sealed anew, no row moves.
    pub async fn seal_show(&self) -> StoreResult<SealFact> {
        let mut rows = BTreeMap::<i32, BTreeMap<String, u64>>::new();
        // Before the count: what was at its end then has moved no row since.
        let walk = self.read(Walk::load).await?;
        for table in Table::ALL {
            let mut after = 0;
            while let Some(part) = self.read(move |conn| count(conn, table, after)).await? {
                after = part.until;
                for (version, count) in part.rows {
                    let of_version = rows.entry(version).or_default();
                    *of_version.entry(table.name().to_owned()).or_default() += count;
                }
            }
        }
        let seal = self.shared().seals.now();
        for (version, _) in seal.sealer.marks() {
            rows.entry(version).or_default();
        }
        let newest = seal.sealer.newest();
        let is_resealing = is_resealing(newest, walk);
        let fact = |(version, rows): (i32, BTreeMap<String, u64>)| SealVersionFact {
            version,
            is_there: seal.sealer.has(version),
            is_needed: version == newest || is_resealing || !rows.is_empty(),
            rows,
        };
        Ok(SealFact {
            newest,
            is_resealing,
            stuck: walk.map_or(0, |walk| walk.stuck),
            versions: rows.into_iter().map(fact).collect(),
        })
    }
}

fn is_resealing(newest: i32, walk: Option<Walk>) -> bool {
    newest > 0 && walk.is_none_or(|walk| walk.version != newest || walk.at.is_some())
}

struct Part {
    rows: Vec<(i32, u64)>,
    until: i64,
}

/// The next part of a table; `None` behind its last row.
fn count(conn: &Connection, table: Table, after: i64) -> StoreResult<Option<Part>> {
    let (name, id) = (table.name(), table.id());
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT key_version, count(*), max(id) FROM
               (SELECT {id} AS id, key_version FROM {name} WHERE {id} > ?1 ORDER BY {id} LIMIT ?2) AS next
             GROUP BY key_version"
        ))
        .or_store()?;
    let mut found = statement.query([after, ROWS_PER_READ]).or_store()?;
    let mut part = Part {
        rows: Vec::new(),
        until: after,
    };
    while let Some(row) = found.next().or_store()? {
        let count = super::column::count(&row, 1).or_store()?;
        part.rows.push((row.get(0).or_store()?, count));
        part.until = part.until.max(row.get(2).or_store()?);
    }
    Ok((!part.rows.is_empty()).then_some(part))
}
