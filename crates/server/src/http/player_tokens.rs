//! Player tokens: a back end makes one for the page of its user, who then draws
//! without a key of the client.

use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody};
use super::signature::Created;
use super::{Route, Scope};
use crate::api::{PlayerTokenBody, PlayerTokenDoc};
use crate::app::App;
use crate::player::{self, Player};
use axum::extract::State;
use serde_json::json;
use std::time::Duration;
use tombola_core::Timestamp;
use tombola_core::endpoint::parse_span;
use tombola_core::limits::{PLAYER_TOKEN_LIFE, PLAYER_TOKEN_LIFE_MAX};
use tombola_core::ports::Role;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/v1/player-tokens", Access::of(&[Role::Client]), create)
            .about(
                "Create player token",
                "A token for the page of one user in one campaign, for a short time: with it the \
                 page draws and sees what was won, without a key of the client.",
            )
            .scoped(Scope::OfHandler)
            .errors(&[Code::CampaignNotFound])
            .example(json!({ "campaign": "autumn-fair", "user": "u1", "ttl": "15m" })),
    ]
}

async fn create(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<PlayerTokenBody>,
) -> Result<Created<PlayerTokenDoc>, ApiError> {
    input::user(&body.user)?;
    caller.check_campaign(Some(&body.campaign))?;
    let life = life(body.ttl.as_deref())?;
    let now = app.now();
    app.store()
        .campaign_show(&body.campaign, now)
        .await?
        .ok_or(Code::CampaignNotFound)?;
    // A token counts in whole seconds.
    let expires_at = Timestamp(now.plus(life).0 / 1_000_000 * 1_000_000);
    let player = Player {
        campaign: body.campaign.clone(),
        user: body.user.clone(),
        client: caller.client().to_string(),
    };
    let token = player::token(&app.claims(), player, expires_at)
        .ok_or_else(|| ApiError::internal(&"a player token could not be signed"))?;
    let made = PlayerTokenDoc {
        token,
        campaign: body.campaign,
        user: body.user,
        expires_at,
    };
    Ok(Created(made))
}

fn life(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(PLAYER_TOKEN_LIFE);
    };
    parse_span(text)
        .filter(|life| (Duration::from_secs(1)..=PLAYER_TOKEN_LIFE_MAX).contains(life))
        .ok_or_else(|| ApiError::field("/ttl", "use a span of 1s to 24h, such as 15m"))
}
