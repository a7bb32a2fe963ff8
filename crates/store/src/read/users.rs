//! One user over all campaigns: support's first page.

use super::column::{count, instant_or_null, word};
use super::points::balance;
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::award::State;
use tombola_core::ports::StoreResult;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserDetail {
    /// Who.
    pub user: String,
    /// Whether an operator blocked the user.
    pub is_blocked: bool,
    /// Why, if blocked.
    pub blocked_reason: Option<String>,
    /// Since when, if blocked.
    pub blocked_at: Option<Timestamp>,
    /// Points given and not taken back.
    pub points: i64,
    /// Each campaign in which the user has drawn.
    pub campaigns: Vec<UserCampaign>,
    /// Awards by state.
    pub awards: Vec<UserAwards>,
}

/// A user in one campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserCampaign {
    /// The campaign's slug.
    pub campaign: String,
    /// Draws made in all.
    pub draws: u64,
}

/// A user's awards in one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserAwards {
    /// The state.
    pub state: State,
    /// How many.
    pub count: u64,
}

impl Store {
    /// A user over all campaigns; `None` of one that never drew and is not blocked.
    pub async fn user_detail(&self, user: &str) -> StoreResult<Option<UserDetail>> {
        let user = user.to_owned();
        self.read(move |conn| detail(conn, user).or_store()).await
    }

    /// Awards of a user that are on their way or given up on: what stands against an
    /// erasure.
    pub async fn user_unfinished(&self, user: &str) -> StoreResult<u64> {
        let user = user.to_owned();
        self.read(move |conn| {
            let awards = awards(conn, &user).or_store()?;
            let open = awards.iter().filter(|it| !it.state.is_final());
            Ok(open.map(|it| it.count).sum())
        })
        .await
    }
}

fn detail(conn: &Connection, user: String) -> sql::Result<Option<UserDetail>> {
    let blocked: Option<(String, Option<Timestamp>)> = conn
        .prepare_cached("SELECT reason, at FROM blocked_user WHERE user = ?1")?
        .query_row([&user], |row| Ok((row.get(0)?, instant_or_null(row, 1)?)))
        .optional()?;
    let campaigns = campaigns(conn, &user)?;
    if campaigns.is_empty() && blocked.is_none() {
        return Ok(None);
    }
    let (blocked_reason, blocked_at) = blocked.unzip();
    Ok(Some(UserDetail {
        is_blocked: blocked_reason.is_some(),
        blocked_reason,
        blocked_at: blocked_at.flatten(),
        points: balance(conn, &user)?,
        campaigns,
        awards: awards(conn, &user)?,
        user,
    }))
}

fn campaigns(conn: &Connection, user: &str) -> sql::Result<Vec<UserCampaign>> {
    conn.prepare_cached(
        "SELECT c.slug, a.total FROM campaign c
         JOIN allowance a ON a.campaign_id = c.id AND a.user = ?1 ORDER BY c.slug",
    )?
    .query_map([user], |row| {
        Ok(UserCampaign {
            campaign: row.get(0)?,
            draws: count(row, 1)?,
        })
    })?
    .collect()
}

fn awards(conn: &Connection, user: &str) -> sql::Result<Vec<UserAwards>> {
    conn.prepare_cached(
        "SELECT v.state, count(*) FROM draw_span s
         CROSS JOIN draw d INDEXED BY draw_user
           ON d.id / 4096 = s.span AND d.user = ?1 AND d.prize_id IS NOT NULL
             AND d.campaign_id = s.campaign_id
         JOIN delivery v ON v.award_id = d.id GROUP BY v.state ORDER BY v.state",
    )?
    .query_map(params![user], |row| {
        Ok(UserAwards {
            state: word(row, 0, State::parse)?,
            count: count(row, 1)?,
        })
    })?
    .collect()
}
