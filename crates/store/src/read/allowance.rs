//! What a user may still draw in a campaign, and why no more.

use super::campaigns;
use super::column::count;
use crate::Store;
use crate::sql::OrStoreError as _;
use crate::sql::{self, Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use tombola_core::Timestamp;
use tombola_core::campaign::Phase;
use tombola_core::draw::DrawLimit;
use tombola_core::ports::StoreResult;

/// A user in a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UserFact {
    /// The campaign's slug.
    pub campaign: String,
    /// Who.
    pub user: String,
    /// Draws left now; null is no limit.
    pub left: Option<u64>,
    /// The limit that is nearest: `per_user_total`, `per_user_per_day` or
    /// `campaign_total`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["per_user_total", "per_user_per_day", "campaign_total", null])))]
    pub limit: Option<String>,
    /// When there is more, if time gives it.
    pub resets_at: Option<Timestamp>,
    /// Whether an operator blocked the user.
    pub is_blocked: bool,
    /// Why, if blocked.
    pub blocked_reason: Option<String>,
    /// The campaign's phase: users draw only while it is `running`.
    pub phase: Phase,
    /// Draws made in all.
    pub total: u64,
    /// Draws made on the present civil day.
    pub today: u64,
}

impl Store {
    /// What `user` may still draw; `None` if there is no such campaign.
    pub async fn user_show(
        &self,
        campaign: &str,
        user: &str,
        now: Timestamp,
    ) -> StoreResult<Option<UserFact>> {
        let (campaign, user) = (campaign.to_owned(), user.to_owned());
        self.read(move |conn| user_fact(conn, &campaign, user, now).or_store())
            .await
    }
}

fn user_fact(
    conn: &Connection,
    campaign: &str,
    user: String,
    now: Timestamp,
) -> sql::Result<Option<UserFact>> {
    let Some(loaded) = campaigns::load(conn, campaign, now)? else {
        return Ok(None);
    };
    let day = now.civil_day(&loaded.rules.zone);
    let (total, today) = conn
        .prepare_cached(
            "SELECT total, CASE WHEN day >= ?3 THEN day_total ELSE 0 END
             FROM allowance WHERE campaign_id = ?1 AND user = ?2",
        )?
        .query_row(params![loaded.id, user, day.0], |row| {
            Ok((count(row, 0)?, count(row, 1)?))
        })
        .optional()?
        .unwrap_or((0, 0));
    let blocked_reason: Option<String> = conn
        .prepare_cached("SELECT reason FROM blocked_user WHERE user = ?1")?
        .query_row([&user], |row| row.get(0))
        .optional()?;
    let limits = &loaded.rules.limits;
    let left = |max: Option<u64>, used: u64| max.map(|max| max.saturating_sub(used));
    // In the order in which a draw is refused, so that both name the same limit.
    let nearest = [
        (
            DrawLimit::CampaignTotal,
            left(limits.campaign_total, loaded.fact.draws),
            None,
        ),
        (
            DrawLimit::UserTotal,
            left(limits.per_user_total, total),
            None,
        ),
        (
            DrawLimit::UserPerDay,
            left(limits.per_user_per_day, today),
            Some(day.next_start(&loaded.rules.zone)),
        ),
    ]
    .into_iter()
    .filter_map(|(limit, left, resets_at)| Some((limit, left?, resets_at)))
    .min_by_key(|(_, left, _)| *left);
    Ok(Some(UserFact {
        campaign: loaded.fact.campaign,
        user,
        left: if blocked_reason.is_some() {
            Some(0)
        } else {
            nearest.map(|(_, left, _)| left)
        },
        limit: nearest.map(|(limit, _, _)| limit.name().to_owned()),
        resets_at: nearest.and_then(|(_, _, resets_at)| resets_at),
        is_blocked: blocked_reason.is_some(),
        blocked_reason,
        phase: loaded.fact.phase,
        total,
        today,
    }))
}
