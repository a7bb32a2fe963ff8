//! Rules by campaign and version, and where their prizes stand in the database.
//! A version is never edited and neither a prize's id nor an endpoint's lane ever
//! changes, so what was read once stays true. Only a transaction that is rolled
//! back could have shown something that never was: then all is forgotten.

use crate::sql::{Connection, OptionalExtension as _};
use crate::sql::{OrStoreError as _, inconsistent};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use tombola_core::campaign::file::from_json;
use tombola_core::campaign::{KindSpec, Rules};
use tombola_core::ports::StoreResult;

/// Versions remembered; beyond it all are forgotten.
const VERSIONS_MAX: usize = 512;

type Version = (i64, i32);

/// What was read of campaigns' versions.
#[derive(Default)]
pub(crate) struct RulesCache {
    rules: Mutex<HashMap<Version, Arc<Rules>>>,
    places: Mutex<HashMap<Version, Arc<Places>>>,
}

/// Where the prizes of a version stand.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The prize's id, by its index in the rules.
    pub(crate) ids: Vec<i64>,
    /// 0 for local kinds, the endpoint's lane, or `None` while no endpoint of that
    /// name is there; by index.
    pub(crate) lanes: Vec<Option<i64>>,
}

impl Places {
    /// The index of that prize in the rules.
    pub(crate) fn index_of(&self, prize_id: i64) -> Option<usize> {
        self.ids.iter().position(|id| *id == prize_id)
    }
}

impl RulesCache {
    /// The rules of a version.
    pub(crate) fn rules(
        &self,
        conn: &Connection,
        campaign_id: i64,
        version: i32,
    ) -> StoreResult<Arc<Rules>> {
        if let Some(rules) = get(&self.rules, (campaign_id, version)) {
            return Ok(rules);
        }
        let rules = Arc::new(read_rules(conn, campaign_id, version)?);
        put(&self.rules, (campaign_id, version), &rules);
        Ok(rules)
    }

    /// Where the prizes of a version stand. Every prize of a version that was ever
    /// started has its row.
    pub(crate) fn places(
        &self,
        conn: &Connection,
        campaign_id: i64,
        version: i32,
        rules: &Rules,
    ) -> StoreResult<Arc<Places>> {
        if let Some(places) = get(&self.places, (campaign_id, version)) {
            return Ok(places);
        }
        let places = Arc::new(read_places(conn, campaign_id, rules)?);
        // An endpoint that is missing may come.
        if places.lanes.iter().all(Option::is_some) {
            put(&self.places, (campaign_id, version), &places);
        }
        Ok(places)
    }

    /// Forgets all.
    pub(crate) fn forget(&self) {
        self.rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn get<T, S: BuildHasher>(
    map: &Mutex<HashMap<Version, Arc<T>, S>>,
    version: Version,
) -> Option<Arc<T>> {
    map.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&version)
        .map(Arc::clone)
}

fn put<T, S: BuildHasher>(
    map: &Mutex<HashMap<Version, Arc<T>, S>>,
    version: Version,
    value: &Arc<T>,
) {
    let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= VERSIONS_MAX {
        map.clear();
    }
    map.insert(version, Arc::clone(value));
}

fn read_rules(conn: &Connection, campaign_id: i64, version: i32) -> StoreResult<Rules> {
    let file: Option<String> = conn
        .prepare_cached("SELECT file FROM campaign_version WHERE campaign_id = ?1 AND version = ?2")
        .and_then(|mut it| {
            it.query_row((campaign_id, version), |row| row.get(0))
                .optional()
        })
        .or_store()?;
    let what = || format!("version {version} of campaign {campaign_id}");
    let file = file.ok_or_else(|| inconsistent(format!("{} is missing", what())))?;
    from_json(&file)
        .and_then(|file| file.check())
        .map_err(|problems| inconsistent(format!("{} does not check: {problems:?}", what())))
}

fn read_places(conn: &Connection, campaign_id: i64, rules: &Rules) -> StoreResult<Places> {
    let mut ids = conn
        .prepare_cached("SELECT id FROM prize WHERE campaign_id = ?1 AND slug = ?2")
        .or_store()?;
    let mut lanes = conn
        .prepare_cached("SELECT lane FROM endpoint WHERE name = ?1")
        .or_store()?;
    let mut places = Places::default();
    for prize in &rules.prizes {
        let id: Option<i64> = ids
            .query_row((campaign_id, &prize.slug), |row| row.get(0))
            .optional()
            .or_store()?;
        let what = || format!("prize {}/{} has no row", rules.slug, prize.slug);
        places.ids.push(id.ok_or_else(|| inconsistent(what()))?);
        places.lanes.push(match &prize.spec {
            KindSpec::Webhook { endpoint, .. } => lanes
                .query_row([endpoint], |row| row.get(0))
                .optional()
                .or_store()?,
            KindSpec::Text { .. }
            | KindSpec::Code { .. }
            | KindSpec::Points { .. }
            | KindSpec::Physical { .. }
            | KindSpec::External { .. } => Some(0),
        });
    }
    Ok(places)
}
