//! Deliveries paused and resumed, as when the wrong codes went up.

use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody};
use super::{Route, Scope};
use crate::api::{PauseBody, PauseDoc, PauseScope};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use serde_json::json;
use tombola_core::ports::{Operate, Role};
use tombola_core::reason::HoldReason;

pub(super) fn routes() -> Vec<Route> {
    let operator = Access::of(&[Role::Operator]);
    vec![
        Route::post("/v1/deliveries/pause", operator, pause)
            .about(
                "Pause deliveries",
                "Holds awards of that scope instead of delivering them, as when the wrong codes \
                 went up. Draws go on.",
            )
            .scoped(Scope::OfHandler)
            .errors(&[
                Code::CampaignNotFound,
                Code::PrizeNotFound,
                Code::EndpointNotFound,
            ])
            .example(json!({
                "campaign": "autumn-fair", "prize": "coffee", "reason": "wrong codes went up"
            })),
        Route::post("/v1/deliveries/resume", operator, resume)
            .about(
                "Resume deliveries",
                "Ends the pause of exactly that scope; what was held goes on.",
            )
            .scoped(Scope::OfHandler)
            .errors(&[Code::NotPaused])
            .example(json!({
                "campaign": "autumn-fair", "prize": "coffee", "reason": "the right codes are up"
            })),
    ]
}

/// A scope that names nothing would pause nothing and say that it did.
async fn check(app: &App, scope: &PauseScope) -> Result<(), ApiError> {
    match (&scope.campaign, &scope.prize) {
        (None, Some(_)) => return Err(ApiError::field("/prize", "name its campaign as well")),
        (Some(campaign), prize) => {
            let found = app
                .store()
                .campaign_show(campaign, app.now())
                .await?
                .ok_or(Code::CampaignNotFound)?;
            if prize
                .as_ref()
                .is_some_and(|prize| !found.prizes.iter().any(|it| it.prize == *prize))
            {
                return Err(Code::PrizeNotFound.into());
            }
        }
        (None, None) => {}
    }
    match &scope.endpoint {
        Some(name) if app.store().endpoint_show(name, app.now()).await?.is_none() => {
            Err(Code::EndpointNotFound.into())
        }
        Some(_) | None => Ok(()),
    }
}

async fn pause(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<PauseBody>,
) -> Result<Json<PauseDoc>, ApiError> {
    caller.check_campaign(body.campaign.as_deref())?;
    check(&app, &body.scope()).await?;
    let scope = body.scope();
    let by = caller.actor(Some(input::needed_reason(body.reason)?));
    app.store().pause(scope.clone(), by, app.now()).await?;
    Ok(Json(PauseDoc {
        paused: true,
        scope,
        released: 0,
    }))
}

/// What was held goes back in steps.
async fn resume(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<PauseBody>,
) -> Result<Json<PauseDoc>, ApiError> {
    caller.check_campaign(body.campaign.as_deref())?;
    let scope = body.scope();
    let by = caller.actor(Some(input::needed_reason(body.reason)?));
    if !app.store().resume(scope.clone(), by, app.now()).await? {
        return Err(Code::NotPaused.into());
    }
    let released = app.end_holds(HoldReason::Paused).await?;
    Ok(Json(PauseDoc {
        paused: false,
        scope,
        released,
    }))
}
