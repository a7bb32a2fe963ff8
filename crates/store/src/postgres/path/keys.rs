//! Request keys: one key, one answer. A key is claimed by inserting it; of two
//! transactions that claim the same one, the second waits for the first to end,
//! and then reads what it committed.

use super::super::error::get;
use super::super::session::Work;
use super::versions::Versions;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio_postgres::Row;
use tombola_core::award::first_row;
use tombola_core::draw::{DrawFact, DrawRequest};
use tombola_core::ports::{StoreError, StoreResult};
use tombola_core::retry::Schedule;
use tombola_core::{DrawId, Timestamp};

/// A request key within its campaign: client and key.
pub(super) type Key<'a> = (&'a str, &'a str);

pub(super) fn key_of(request: &DrawRequest) -> Key<'_> {
    (&request.client, &request.key)
}

/// What a key stands for.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) fingerprint: Vec<u8>,
    pub(super) draws: Vec<DrawId>,
}

impl Kept {
    pub(super) fn of(request: &DrawRequest) -> Self {
        Self {
            fingerprint: request.fingerprint.to_vec(),
            draws: request.tickets.iter().map(|ticket| ticket.id).collect(),
        }
    }
}

/// The keys of a batch.
pub(super) struct Keys<'a> {
    /// Committed before.
    pub(super) kept: HashMap<Key<'a>, Kept>,
    /// Claimed now, each with the request that it was claimed for: the first of the
    /// batch that has it.
    pub(super) claimed: HashMap<Key<'a>, &'a DrawRequest>,
}

/// The first request of each key.
pub(super) fn wanted(requests: &[DrawRequest]) -> HashMap<Key<'_>, &DrawRequest> {
    let mut wanted = HashMap::with_capacity(requests.len());
    for request in requests {
        wanted.entry(key_of(request)).or_insert(request);
    }
    wanted
}

/// Once those of which the first draw is among `ours` were claimed: the others were there
/// before, and are read.
pub(super) async fn claimed<'a>(
    work: &Work<'_>,
    campaign: i64,
    wanted: HashMap<Key<'a>, &'a DrawRequest>,
    ours: &HashSet<Option<DrawId>>,
) -> StoreResult<Keys<'a>> {
    let is_ours = |request: &DrawRequest| ours.contains(&request.tickets.first().map(|it| it.id));
    let (claimed, others): (HashMap<_, _>, HashMap<_, _>) = wanted
        .into_iter()
        .partition(|(_, request)| is_ours(request));
    let kept = read(work, campaign, others.into_keys().collect()).await?;
    Ok(Keys { kept, claimed })
}

/// Inserts keys in their order, as every transaction does, and gives the first
/// draws of those that are ours.
pub(super) async fn insert(
    work: &Work<'_>,
    campaign: i64,
    mut requests: Vec<&DrawRequest>,
) -> StoreResult<HashSet<Option<DrawId>>> {
    requests.sort_unstable_by_key(|request| key_of(request));
    let (mut clients, mut keys, mut fingerprints) = (Vec::new(), Vec::new(), Vec::new());
    let (mut firsts, mut mores) = (Vec::new(), Vec::new());
    for request in requests {
        let [first, more @ ..] = request.tickets.as_slice() else {
            return Err(StoreError::Row("a request without a ticket".to_owned()));
        };
        clients.push(&*request.client);
        keys.push(&*request.key);
        fingerprints.push(request.fingerprint.as_slice());
        firsts.push(first.id.0);
        let more: Vec<u8> = more.iter().flat_map(|it| it.id.0.to_le_bytes()).collect();
        mores.push((!more.is_empty()).then_some(more));
    }
    let rows = work
        .query(
            &work.sql.claim_keys,
            &[&campaign, &clients, &keys, &fingerprints, &firsts, &mores],
        )
        .await?;
    let first = |row: &Row| Ok(Some(DrawId(get(row, 0)?)));
    rows.iter().map(first).collect()
}

async fn read<'a>(
    work: &Work<'_>,
    campaign: i64,
    keys: Vec<Key<'a>>,
) -> StoreResult<HashMap<Key<'a>, Kept>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (clients, texts): (Vec<&str>, Vec<&str>) = keys.iter().copied().unzip();
    let rows = work
        .query(&work.sql.read_keys, &[&campaign, &clients, &texts])
        .await?;
    let mut found: HashMap<(String, String), Kept> = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert((get(row, 0)?, get(row, 1)?), read_kept(row)?);
    }
    let mut kept = HashMap::with_capacity(keys.len());
    for key in keys {
        // A key that was there and is gone: cleanup came between. Run again.
        let it = found
            .remove(&(key.0.to_owned(), key.1.to_owned()))
            .ok_or_else(|| work.met("a request key was just removed"))?;
        kept.insert(key, it);
    }
    Ok(kept)
}

fn read_kept(row: &Row) -> StoreResult<Kept> {
    let first = DrawId(get(row, 3)?);
    let more: Option<&[u8]> = get(row, 4)?;
    let (more, _) = more.unwrap_or_default().as_chunks::<8>();
    let more = more.iter().map(|id| DrawId(i64::from_le_bytes(*id)));
    Ok(Kept {
        fingerprint: get(row, 2)?,
        draws: std::iter::once(first).chain(more).collect(),
    })
}

/// Gives keys free whose requests were refused: a refusal stores nothing.
pub(super) async fn free(work: &Work<'_>, campaign: i64, keys: Vec<Key<'_>>) -> StoreResult<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (clients, texts): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
    work.execute(&work.sql.free_keys, &[&campaign, &clients, &texts])
        .await
}

/// The facts of draws that were committed before.
pub(super) async fn facts(
    work: &Work<'_>,
    versions: &Versions,
    schedule: &Schedule,
    campaign: i64,
    draws: Vec<DrawId>,
) -> StoreResult<HashMap<DrawId, DrawFact>> {
    if draws.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<i64> = draws.iter().map(|id| id.0).collect();
    let rows = work.query(&work.sql.read_draws, &[&ids]).await?;
    let mut facts = HashMap::with_capacity(rows.len());
    for row in &rows {
        let (id, number): (i64, i32) = (get(row, 0)?, get(row, 1)?);
        let (prize, at): (Option<i64>, i64) = (get(row, 3)?, get(row, 4)?);
        let (id, drawn_at) = (DrawId(id), Timestamp(at));
        let version = versions.get(work, (campaign, number)).await?;
        let prize = prize.map(|prize| version.prize(prize)).transpose()?;
        // Where the award began follows from the rules and the instant alone.
        let began = prize.map(|(_, it)| first_row(id.award(), it, 0, drawn_at, schedule, true));
        let fact = DrawFact {
            id,
            campaign: version.rules.slug.as_str().into(),
            user: get::<&str>(row, 2)?.into(),
            prize: prize.map(|(_, prize)| Arc::from(prize.slug.as_str())),
            drawn_at,
            award: began.map(|row| (row.kind, row.state)),
            claim_key_version: get(row, 5)?,
        };
        facts.insert(id, fact);
    }
    Ok(facts)
}
