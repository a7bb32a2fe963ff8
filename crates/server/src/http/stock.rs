//! The stock of prizes, in force at once.

use super::Route;
use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names};
use super::replay::KeyRule;
use crate::api::{StockBody, StockDoc};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use serde_json::json;
use tombola_core::ports::{Catalog, Role, StockChanged};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/campaigns/{campaign}/prizes/{prize}/stock",
            Access::of(&[Role::Operator]),
            change,
        )
        .about(
            "Change stock",
            "Adds units to a prize, or takes away some that are left. It is in force at once.",
        )
        .keys(KeyRule::Demanded)
        .errors(&[
            Code::PrizeNotFound,
            Code::NotEnoughStock,
            Code::StockUnlimited,
        ])
        .example(json!({ "add": 50, "reason": "another box came" })),
    ]
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, prize)): Names<(String, String)>,
    JsonBody(body): JsonBody<StockBody>,
) -> Result<Json<StockDoc>, ApiError> {
    if body.add == 0 {
        return Err(ApiError::field("/add", "add, or take away, at least 1"));
    }
    let by = caller.actor(input::reason(body.reason)?);
    match app
        .store()
        .change_stock(&campaign, &prize, body.add, by, app.now())
        .await?
    {
        StockChanged::Changed { stock, left } => Ok(Json(StockDoc {
            campaign,
            prize,
            stock,
            left,
        })),
        StockChanged::NotEnough { left } => Err(ApiError::new(
            Code::NotEnoughStock,
            format!("{left} units are left"),
        )
        .with("left", left)),
        StockChanged::Unlimited => Err(Code::StockUnlimited.into()),
        StockChanged::NotFound => Err(Code::PrizeNotFound.into()),
    }
}
