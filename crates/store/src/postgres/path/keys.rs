//! Request keys: one key, one answer. They are inserted behind the campaign's lock, so of two
//! transactions that have the same key the second comes after the first. It reads what the
//! first committed, or cannot insert the key, and runs again (see `ahead`).

use super::super::error::get;
use super::super::session::{Params, Work};
use super::versions::Versions;
use std::collections::HashMap;
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

/// Inserts the keys of requests that drew.
pub(super) async fn insert(
    work: &Work<'_>,
    campaign: i64,
    requests: &[&DrawRequest],
) -> StoreResult<()> {
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
    let params: Params<'_> = &[&campaign, &clients, &keys, &fingerprints, &firsts, &mores];
    work.execute(&work.sql.insert_keys, params).await
}

/// Fails if one of these requests, which are refused by what was read ahead, has drawn meanwhile:
/// its key is there.
pub(super) async fn refuse_known(
    work: &Work<'_>,
    campaign: i64,
    refused: &[&DrawRequest],
) -> StoreResult<()> {
    if refused.is_empty() {
        return Ok(());
    }
    let clients: Vec<&str> = refused.iter().map(|it| &*it.client).collect();
    let keys: Vec<&str> = refused.iter().map(|it| &*it.key).collect();
    let params: Params<'_> = &[&campaign, &clients, &keys];
    work.execute(&work.sql.refuse_known_keys, params).await
}

/// The keys that were there before, and what each of them stands for.
pub(super) fn kept(of_requests: &[Row]) -> StoreResult<HashMap<Key<'_>, Kept>> {
    let mut kept = HashMap::new();
    for row in of_requests {
        if let Some(first) = get(row, 3)? {
            kept.insert((get(row, 0)?, get(row, 1)?), read_kept(row, first)?);
        }
    }
    Ok(kept)
}

fn read_kept(row: &Row, first: i64) -> StoreResult<Kept> {
    let more: Option<&[u8]> = get(row, 4)?;
    let (more, _) = more.unwrap_or_default().as_chunks::<8>();
    let more = more.iter().map(|id| DrawId(i64::from_le_bytes(*id)));
    Ok(Kept {
        fingerprint: get(row, 2)?,
        draws: std::iter::once(DrawId(first)).chain(more).collect(),
    })
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
