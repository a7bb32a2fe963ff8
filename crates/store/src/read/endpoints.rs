//! Endpoints as people see them: never with their secrets.

use super::column::{count, instant, odd};
use crate::sqlite::error::OrStoreError as _;
use crate::sqlite::{Shared, SqliteStore, endpoints};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::ports::{StoreError, StoreResult};

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndpointFact {
    /// Its name.
    pub name: String,
    /// Its id: the lane of its awards.
    pub lane: i64,
    /// Whether it may be called.
    pub is_enabled: bool,
    /// The file, without its secret.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "tombola_core::endpoint::EndpointSpec")
    )]
    pub spec: serde_json::Value,
    /// Secrets that sign now: two during a rotation.
    pub secrets: u64,
    /// Why no call can be signed, where its secrets do not open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
    /// Awards that wait for it, held ones included.
    pub unfinished: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl SqliteStore {
    /// All endpoints by name.
    pub async fn endpoint_list(&self) -> StoreResult<Vec<EndpointFact>> {
        let shared = self.shared();
        self.read(move |conn| list(conn, &shared)).await
    }

    /// One endpoint; `None` if there is none of that name.
    pub async fn endpoint_show(&self, name: &str) -> StoreResult<Option<EndpointFact>> {
        let (name, shared) = (name.to_owned(), self.shared());
        self.read(move |conn| Ok(list(conn, &shared)?.into_iter().find(|it| it.name == name)))
            .await
    }
}

fn list(conn: &Connection, shared: &Shared) -> StoreResult<Vec<EndpointFact>> {
    let mut statement = conn
        .prepare_cached(
            "SELECT name, lane, enabled, json_remove(spec, '$.secret'), updated_at,
               (SELECT count(*) FROM delivery v WHERE v.lane = e.lane AND v.due_at IS NOT NULL),
               key_version, sealed
             FROM endpoint e ORDER BY name",
        )
        .or_store()?;
    let mut rows = statement.query([]).or_store()?;
    let mut list = Vec::new();
    while let Some(row) = rows.next().or_store()? {
        let mut it = fact(row).or_store()?;
        let (version, sealed): (i32, Vec<u8>) = (row.get(6).or_store()?, row.get(7).or_store()?);
        match endpoints::secrets(&shared.seals.now(), it.lane, version, &sealed) {
            Ok(secrets) => it.secrets = secrets.len() as u64,
            Err(error @ StoreError::Sealed(_)) => it.problem = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        list.push(it);
    }
    Ok(list)
}

/// Without what is said of its secrets.
fn fact(row: &Row<'_>) -> rusqlite::Result<EndpointFact> {
    Ok(EndpointFact {
        name: row.get(0)?,
        lane: row.get(1)?,
        is_enabled: row.get(2)?,
        spec: serde_json::from_str(row.get_ref(3)?.as_str()?)
            .map_err(|error| odd(3, error.to_string()))?,
        secrets: 0,
        problem: None,
        updated_at: instant(row, 4)?,
        unfinished: count(row, 5)?,
    })
}
