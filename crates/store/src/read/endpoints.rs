//! Endpoints as people see them: never with their secrets.

use super::column::{count, instant};
use crate::sqlite::SqliteStore;
use crate::sqlite::error::OrStoreError as _;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::ports::StoreResult;

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointFact {
    /// Its name.
    pub name: String,
    /// Its id: the lane of its awards.
    pub lane: i64,
    /// Whether it may be called.
    pub is_enabled: bool,
    /// The file, without its secret.
    pub spec: serde_json::Value,
    /// Secrets that sign now: two during a rotation.
    pub secrets: u64,
    /// Awards that wait for it, held ones included.
    pub unfinished: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl SqliteStore {
    /// All endpoints by name.
    pub async fn endpoint_list(&self) -> StoreResult<Vec<EndpointFact>> {
        self.read(|conn| list(conn).or_store()).await
    }

    /// One endpoint; `None` if there is none of that name.
    pub async fn endpoint_show(&self, name: &str) -> StoreResult<Option<EndpointFact>> {
        let name = name.to_owned();
        self.read(move |conn| {
            Ok(list(conn)
                .or_store()?
                .into_iter()
                .find(|it| it.name == name))
        })
        .await
    }
}

fn list(conn: &Connection) -> rusqlite::Result<Vec<EndpointFact>> {
    conn.prepare_cached(
        "SELECT name, lane, enabled, json_remove(spec, '$.secret'), json_array_length(secrets), updated_at,
           (SELECT count(*) FROM delivery v WHERE v.lane = e.lane AND v.due_at IS NOT NULL)
         FROM endpoint e ORDER BY name",
    )?
    .query_map([], |row| {
        Ok(EndpointFact {
            name: row.get(0)?,
            lane: row.get(1)?,
            is_enabled: row.get(2)?,
            spec: serde_json::from_str(row.get_ref(3)?.as_str()?)
                .map_err(|error| super::column::odd(3, error.to_string()))?,
            secrets: count(row, 4)?,
            updated_at: instant(row, 5)?,
            unfinished: count(row, 6)?,
        })
    })?
    .collect()
}
