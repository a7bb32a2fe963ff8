//! The tables that hold sealed bytes, in the order of the walk.

use super::Seal;
use crate::read::column::{as_column, odd};
use crate::seal::{PLAIN, Place, Sealed};
use crate::sql::OrStoreError as _;
use crate::sql::{Connection, params};
use tombola_core::limits::{STEP_ROWS_MAX, STEP_ROWS_SEEN_MAX};
use tombola_core::ports::{StoreError, StoreResult};

/// A table with the columns `key_version` and `sealed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// First: the key of the codes' digests is needed longest.
    DigestKey,
    Endpoint,
    Address,
    Code,
}

/// A row under an older version.
pub(super) struct OldRow {
    pub(super) id: i64,
    key_version: i32,
    sealed: Vec<u8>,
    /// Of a code: its campaign and its digest.
    code: Option<(i64, [u8; 16])>,
}

impl Table {
    pub(crate) const ALL: [Self; 4] = [Self::DigestKey, Self::Endpoint, Self::Address, Self::Code];
    pub(super) const FIRST: Self = Self::DigestKey;

    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::DigestKey => Some(Self::Endpoint),
            Self::Endpoint => Some(Self::Address),
            Self::Address => Some(Self::Code),
            Self::Code => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::DigestKey => "digest_key",
            Self::Endpoint => "endpoint",
            Self::Address => "address",
            Self::Code => "code",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The integer key that the walk goes by.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::DigestKey => "one",
            Self::Endpoint => "lane",
            Self::Address => "award_id",
            Self::Code => "id",
        }
    }

    /// The last of the next rows that one step looks at; `None` behind the last row.
    pub(super) fn until(self, conn: &Connection, after: i64) -> StoreResult<Option<i64>> {
        let (table, id) = (self.name(), self.id());
        conn.prepare_cached(&format!(
            "SELECT max(id) FROM (SELECT {id} AS id FROM {table} WHERE {id} > ?1 ORDER BY {id} LIMIT ?2) AS next"
        ))
        .and_then(|mut it| {
            let seen = as_column(STEP_ROWS_SEEN_MAX as u64);
            it.query_row([after, seen], |row| row.get(0))
        })
        .or_store()
    }

    /// The first rows of that range that are not of the newest version.
    pub(super) fn older(
        self,
        conn: &Connection,
        after: i64,
        until: i64,
        newest: i32,
    ) -> StoreResult<Vec<OldRow>> {
        let (table, id) = (self.name(), self.id());
        let code = match self {
            Self::Code => "campaign_id, digest",
            Self::DigestKey | Self::Endpoint | Self::Address => {
                "CAST(NULL AS INTEGER), CAST(NULL AS BLOB)"
            }
        };
        let mut rows = conn
            .prepare_cached(&format!(
                "SELECT {id}, key_version, sealed, {code} FROM {table}
                 WHERE {id} > ?1 AND {id} <= ?2 AND key_version < ?3 ORDER BY {id} LIMIT ?4"
            ))
            .or_store()?;
        let limit = as_column(STEP_ROWS_MAX as u64);
        let rows = rows.query_map(params![after, until, newest, limit], |row| {
            let campaign: Option<i64> = row.get(3)?;
            Ok(OldRow {
                id: row.get(0)?,
                key_version: row.get(1)?,
                sealed: row.get(2)?,
                code: match campaign {
                    Some(campaign) => Some((campaign, row.get(4)?)),
                    None => None,
                },
            })
        });
        rows.or_store()?.collect::<Result<_, _>>().or_store()
    }

    /// Opens a row and seals it under the newest version.
    pub(super) fn seal_anew(self, conn: &Connection, seal: &Seal, row: &OldRow) -> StoreResult<()> {
        let place = match self {
            Self::DigestKey => Place::DigestKey,
            Self::Endpoint => Place::EndpointSecrets { lane: row.id },
            Self::Address => Place::Address { award: row.id },
            Self::Code => return code_anew(conn, seal, row),
        };
        let plain = seal.sealer.open(place, row.key_version, &row.sealed)?;
        let sealed = seal.sealer.seal(place, &plain)?;
        let (table, id) = (self.name(), self.id());
        conn.prepare_cached(&format!(
            "UPDATE {table} SET key_version = ?2, sealed = ?3 WHERE {id} = ?1"
        ))
        .and_then(|mut it| it.execute(params![row.id, sealed.key_version, sealed.bytes]))
        .map(drop)
        .or_store()
    }
}

/// A plain code gets its digest under the key; one that is sealed, or whose text was
/// erased, keeps what it has.
fn code_anew(conn: &Connection, seal: &Seal, row: &OldRow) -> StoreResult<()> {
    let Some((campaign, digest)) = row.code else {
        return Err(odd(3, "a code has no campaign")).or_store();
    };
    let old = Place::Code {
        campaign,
        digest: &digest,
    };
    let plain = seal.sealer.open(old, row.key_version, &row.sealed)?;
    if row.key_version != PLAIN || plain.is_empty() {
        let Sealed { key_version, bytes } = seal.sealer.seal(old, &plain)?;
        return conn
            .prepare_cached("UPDATE code SET key_version = ?2, sealed = ?3 WHERE id = ?1")
            .and_then(|mut it| it.execute(params![row.id, key_version, bytes]))
            .map(drop)
            .or_store();
    }
    let text = std::str::from_utf8(&plain)
        .map_err(|_| StoreError::Sealed(format!("{old} is not text")))?;
    let digest = &seal.digest()?.of(text);
    let Sealed { key_version, bytes } =
        seal.sealer.seal(Place::Code { campaign, digest }, &plain)?;
    conn.prepare_cached("UPDATE code SET key_version = ?2, sealed = ?3, digest = ?4 WHERE id = ?1")
        .and_then(|mut it| it.execute(params![row.id, key_version, bytes, digest]))
        .map(drop)
        .or_store()
}
