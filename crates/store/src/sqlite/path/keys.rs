//! Request keys: one key, one answer. A key is claimed by inserting it, so that of
//! two equal requests, be they in one batch or in many, one draws and the other
//! replays.

use super::Path;
use crate::sql::{OptionalExtension as _, Statement, params};
use crate::sql::{OrStoreError as _, inconsistent};
use std::sync::Arc;
use tombola_core::award::first_row;
use tombola_core::draw::{DrawFact, DrawRequest};
use tombola_core::ports::StoreResult;
use tombola_core::{DrawId, Timestamp};

/// What the database holds under a key.
pub(super) struct Kept {
    fingerprint: [u8; 16],
    first_draw: i64,
    more_draws: Option<Vec<u8>>,
}

impl Kept {
    /// Whether it was kept for that very request.
    pub(super) fn is_of(&self, request: &DrawRequest) -> bool {
        self.fingerprint == request.fingerprint
    }

    /// The first draw of its answer.
    pub(super) const fn first_draw(&self) -> DrawId {
        DrawId(self.first_draw)
    }
}

/// Claims the keys of a batch.
pub(super) struct Claims<'a> {
    path: Path<'a>,
    campaign_id: i64,
    insert: Statement<'a>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(path: Path<'a>, campaign_id: i64) -> StoreResult<Self> {
        let sql = "INSERT INTO request
               (campaign_id, client, request_key, fingerprint, first_draw, more_draws)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
        let insert = path.conn.prepare_cached(sql).or_store()?;
        Ok(Self {
            path,
            campaign_id,
            insert,
        })
    }

    /// Claims the key for this request, or gives what is kept under it.
    pub(super) fn claim(&mut self, request: &DrawRequest) -> StoreResult<Option<Kept>> {
        let Some((first, others)) = request.tickets.split_first() else {
            return Err(inconsistent("a request without a ticket"));
        };
        let more: Option<Vec<u8>> = (!others.is_empty())
            .then(|| others.iter().flat_map(|it| it.id.0.to_le_bytes()).collect());
        let inserted = self
            .insert
            .execute(params![
                self.campaign_id,
                &*request.client,
                &*request.key,
                &request.fingerprint,
                first.id.0,
                more
            ])
            .or_store()?;
        if inserted == 1 {
            return Ok(None);
        }
        kept(self.path, self.campaign_id, request).map(Some)
    }
}

fn kept(path: Path<'_>, campaign_id: i64, request: &DrawRequest) -> StoreResult<Kept> {
    path.conn
        .prepare_cached(
            "SELECT fingerprint, first_draw, more_draws FROM request
             WHERE campaign_id = ?1 AND client = ?2 AND request_key = ?3",
        )
        .and_then(|mut it| {
            it.query_row(
                params![campaign_id, &*request.client, &*request.key],
                |row| {
                    Ok(Kept {
                        fingerprint: row.get(0)?,
                        first_draw: row.get(1)?,
                        more_draws: row.get(2)?,
                    })
                },
            )
        })
        .or_store()
}

/// Gives the key free: its request was refused, and a refusal stores nothing.
pub(super) fn free(path: Path<'_>, campaign_id: i64, request: &DrawRequest) -> StoreResult<()> {
    path.conn
        .prepare_cached(
            "DELETE FROM request WHERE campaign_id = ?1 AND client = ?2 AND request_key = ?3",
        )
        .and_then(|mut it| it.execute(params![campaign_id, &*request.client, &*request.key]))
        .map(drop)
        .or_store()
}

/// The answer that was given under the key, rebuilt from facts that never change.
pub(super) fn replay(path: Path<'_>, kept: &Kept) -> StoreResult<Vec<DrawFact>> {
    let more = kept.more_draws.as_deref().unwrap_or_default();
    let more = more
        .as_chunks::<8>()
        .0
        .iter()
        .map(|id| i64::from_le_bytes(*id));
    std::iter::once(kept.first_draw)
        .chain(more)
        .map(|id| fact(path, DrawId(id)))
        .collect()
}

fn fact(path: Path<'_>, id: DrawId) -> StoreResult<DrawFact> {
    let found = path
        .conn
        .prepare_cached(
            "SELECT campaign_id, version, user, prize_id, drawn_at, claim_key FROM draw WHERE id = ?1",
        )
        .and_then(|mut it| {
            it.query_row([id.0], |row| {
                let version: (i64, i32) = (row.get(0)?, row.get(1)?);
                let prize_id: Option<i64> = row.get(3)?;
                Ok((version, row.get::<_, Arc<str>>(2)?, prize_id, row.get(4)?, row.get(5)?))
            })
            .optional()
        })
        .or_store()?;
    let ((campaign_id, version), user, prize_id, drawn_at, claim_key_version) =
        found.ok_or_else(|| inconsistent(format!("draw {id} of a request key is missing")))?;
    let rules = path.shared.rules.rules(path.conn, campaign_id, version)?;
    let mut fact = DrawFact {
        id,
        campaign: Arc::from(rules.slug.as_str()),
        user,
        prize: None,
        drawn_at: Timestamp(drawn_at),
        award: None,
        claim_key_version,
    };
    if let Some(prize_id) = prize_id {
        let places = path
            .shared
            .rules
            .places(path.conn, campaign_id, version, &rules)?;
        let index = places
            .index_of(prize_id)
            .ok_or_else(|| inconsistent(format!("the prize of draw {id} is not in its rules")))?;
        let prize = &rules.prizes[index];
        // Where the award began follows from the rules and the instant alone.
        let began = first_row(
            id.award(),
            prize,
            0,
            fact.drawn_at,
            &path.shared.schedule,
            true,
        );
        fact.prize = Some(Arc::from(prize.slug.as_str()));
        fact.award = Some((began.kind, began.state));
    }
    Ok(fact)
}
