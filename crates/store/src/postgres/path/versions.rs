//! Versions of campaigns as they are drawn by, read once. A version is never
//! edited, and neither a campaign's or prize's id nor an endpoint's lane ever
//! changes, so what was read stays true on every connection and in every process.
//! Only what was read in a transaction that another one could still undo would
//! not: at READ COMMITTED there is no such thing.

use super::super::error::{get, inconsistent};
use super::super::session::Work;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tombola_core::campaign::file::from_json;
use tombola_core::campaign::{KindSpec, Prize, Rules};
use tombola_core::ports::StoreResult;

/// Campaigns and versions remembered; beyond it all are forgotten.
const KNOWN_MAX: usize = 4096;

/// A campaign's id and the number of the version.
pub(super) type VersionId = (i64, i32);

/// One version, and where its prizes stand in the database.
pub(super) struct Version {
    pub(super) number: i32,
    pub(super) rules: Arc<Rules>,
    /// The prizes' ids, by index; `None` while a version that never started has a
    /// prize without a row.
    prize_ids: Vec<Option<i64>>,
    /// 0 for local kinds, the endpoint's lane, or `None` while there is no endpoint
    /// of that name; by index.
    pub(super) lanes: Vec<Option<i64>>,
}

impl Version {
    /// The index of the prize of that id, `None` of one of another version.
    pub(super) fn index(&self, id: i64) -> Option<usize> {
        self.prize_ids.iter().position(|it| *it == Some(id))
    }

    /// The prize of that id, with its index.
    pub(super) fn prize(&self, id: i64) -> StoreResult<(usize, &Prize)> {
        self.index(id)
            .and_then(|index| Some((index, self.rules.prizes.get(index)?)))
            .ok_or_else(|| inconsistent(format!("prize {id} is not in {}", self.rules.slug)))
    }

    /// The id of the prize of that index.
    pub(super) fn prize_id(&self, index: usize) -> StoreResult<i64> {
        let id = self.prize_ids.get(index).copied().flatten();
        id.ok_or_else(|| inconsistent(format!("prize {index} of {} has no row", self.rules.slug)))
    }

    /// Whether every webhook prize has its endpoint.
    pub(super) fn has_endpoints(&self) -> bool {
        self.lanes.iter().all(Option::is_some)
    }
}

/// What was read of campaigns.
#[derive(Default)]
pub(super) struct Versions {
    ids: Known<Arc<str>, i64>,
    versions: Known<VersionId, Arc<Version>>,
}

/// A map that forgets all when it is full.
struct Known<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key, value);
    }
}

impl Versions {
    /// The id of the campaign of that slug. It is the scope of request keys, so it
    /// is needed before any lock.
    pub(super) async fn campaign(
        &self,
        work: &Work<'_>,
        slug: &Arc<str>,
    ) -> StoreResult<Option<i64>> {
        if let Some(id) = self.ids.get(slug) {
            return Ok(Some(id));
        }
        let rows = work.query(&work.sql.find_campaign, &[&&**slug]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let id = get(row, 0)?;
        self.ids.put(Arc::clone(slug), id);
        Ok(Some(id))
    }

    /// A version, read in this transaction unless it is known.
    pub(super) async fn get(&self, work: &Work<'_>, id: VersionId) -> StoreResult<Arc<Version>> {
        if let Some(version) = self.versions.get(&id) {
            return Ok(version);
        }
        let version = Arc::new(read(work, id).await?);
        // What is missing may come.
        if version.has_endpoints() && version.prize_ids.iter().all(Option::is_some) {
            self.versions.put(id, Arc::clone(&version));
        }
        Ok(version)
    }
}

async fn read(work: &Work<'_>, (campaign, number): VersionId) -> StoreResult<Version> {
    let what = || format!("version {number} of campaign {campaign}");
    let found = work
        .query(&work.sql.read_version, &[&campaign, &number])
        .await?;
    let row = found
        .first()
        .ok_or_else(|| inconsistent(format!("{} is missing", what())))?;
    let rules = from_json(get(row, 0)?)
        .and_then(|file| file.check())
        .map_err(|problems| inconsistent(format!("{} does not check: {problems:?}", what())))?;
    let prize_ids = read_prize_ids(work, campaign, &rules).await?;
    let lanes = read_lanes(work, &rules).await?;
    Ok(Version {
        number,
        rules: Arc::new(rules),
        prize_ids,
        lanes,
    })
}

async fn read_prize_ids(
    work: &Work<'_>,
    campaign: i64,
    rules: &Rules,
) -> StoreResult<Vec<Option<i64>>> {
    let rows = work.query(&work.sql.read_prizes, &[&campaign]).await?;
    let ids = rows
        .iter()
        .map(|row| Ok((get(row, 1)?, get(row, 0)?)))
        .collect::<StoreResult<HashMap<&str, i64>>>()?;
    let id_of = |prize: &Prize| ids.get(prize.slug.as_str()).copied();
    Ok(rules.prizes.iter().map(id_of).collect())
}

async fn read_lanes(work: &Work<'_>, rules: &Rules) -> StoreResult<Vec<Option<i64>>> {
    let names: Vec<Option<&str>> = rules.prizes.iter().map(endpoint_of).collect();
    let wanted: Vec<&str> = names.iter().copied().flatten().collect();
    if wanted.is_empty() {
        return Ok(vec![Some(0); names.len()]);
    }
    let rows = work.query(&work.sql.read_lanes, &[&wanted]).await?;
    let lanes = rows
        .iter()
        .map(|row| Ok((get(row, 0)?, get(row, 1)?)))
        .collect::<StoreResult<HashMap<&str, i64>>>()?;
    Ok(names
        .into_iter()
        .map(|name| name.map_or(Some(0), |name| lanes.get(name).copied()))
        .collect())
}

fn endpoint_of(prize: &Prize) -> Option<&str> {
    match &prize.spec {
        KindSpec::Webhook { endpoint, .. } => Some(endpoint),
        KindSpec::Text { .. }
        | KindSpec::Code { .. }
        | KindSpec::Points { .. }
        | KindSpec::Physical { .. }
        | KindSpec::External { .. } => None,
    }
}
