//! Endpoints as people see them: never with their secrets.

use super::column::{count, instant, odd};
use crate::endpoints::KeptSecrets;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, Row};
use crate::{Shared, Store};
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
    /// Secrets that sign now: the newest, and those before it that have not ended.
    pub secrets: u64,
    /// Until when those before the newest sign, the newest of them first.
    #[serde(default)]
    pub older_secrets_end_at: Vec<Timestamp>,
    /// Why no call can be signed, where its secrets do not open.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<String>,
    /// Awards that wait for it, held ones included.
    pub unfinished: u64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Store {
    /// All endpoints by name.
    pub async fn endpoint_list(&self, now: Timestamp) -> StoreResult<Vec<EndpointFact>> {
        let shared = self.shared();
        self.read(move |conn| list(conn, &shared, now)).await
    }

    /// One endpoint; `None` if there is none of that name.
    pub async fn endpoint_show(
        &self,
        name: &str,
        now: Timestamp,
    ) -> StoreResult<Option<EndpointFact>> {
        let all = self.endpoint_list(now).await?;
        Ok(all.into_iter().find(|it| it.name == name))
    }
}

fn list(conn: &Connection, shared: &Shared, now: Timestamp) -> StoreResult<Vec<EndpointFact>> {
    let mut statement = conn
        .prepare_cached(&format!(
            "SELECT name, lane, enabled, {}, updated_at,
               (SELECT count(*) FROM delivery v WHERE v.lane = e.lane AND v.due_at IS NOT NULL),
               lane, key_version, sealed, secret_ends
             FROM endpoint e ORDER BY name",
            conn.either(
                "json_remove(spec, '$.secret')",
                "(spec::jsonb - 'secret')::text"
            )
        ))
        .or_store()?;
    let mut rows = statement.query([]).or_store()?;
    let mut list = Vec::new();
    while let Some(row) = rows.next().or_store()? {
        let mut it = fact(&row).or_store()?;
        let kept = KeptSecrets::read(&row, 6).or_store()?;
        match kept.open(&shared.seals.now()) {
            Ok(mut secrets) => {
                secrets.retain(|it| it.signs_at(now));
                it.secrets = secrets.len() as u64;
                it.older_secrets_end_at = secrets.iter().filter_map(|it| it.ends_at).collect();
            }
            Err(error @ StoreError::Sealed(_)) => it.problem = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        list.push(it);
    }
    Ok(list)
}

/// Without what is said of its secrets.
fn fact(row: &Row<'_>) -> sql::Result<EndpointFact> {
    Ok(EndpointFact {
        name: row.get(0)?,
        lane: row.get(1)?,
        is_enabled: row.get(2)?,
        spec: serde_json::from_str(row.text(3)?).map_err(|error| odd(3, error.to_string()))?,
        secrets: 0,
        older_secrets_end_at: Vec::new(),
        problem: None,
        updated_at: instant(row, 4)?,
        unfinished: count(row, 5)?,
    })
}
