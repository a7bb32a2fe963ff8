//! The stock of prizes, in force at once.

use super::Route;
use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names};
use super::replay::Begun;
use crate::api::{StockBody, StockDoc};
use crate::app::App;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use sha2::{Digest, Sha256};
use tombola_core::ports::{Catalog, Role, StockChanged};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::post(
        "/v1/campaigns/{campaign}/prizes/{prize}/stock",
        Access::of(&[Role::Operator]),
        change,
    )]
}

async fn change(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, prize)): Names<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<StockBody>,
) -> Result<Response, ApiError> {
    let scope = format!(
        "stock {} {campaign}/{prize} {}",
        caller.client(),
        input::request_key(&headers)?
    );
    let fingerprint: [u8; 32] = Sha256::digest(body.add.to_be_bytes()).into();
    if body.add == 0 {
        return Err(ApiError::field("/add", "add, or take away, at least 1"));
    }
    let running = match app.replays().begin(scope)? {
        Begun::New(running) => running,
        Begun::Done(done) => return done.replay(&fingerprint),
    };
    let by = caller.actor(input::reason(body.reason)?);
    match app
        .store()
        .change_stock(&campaign, &prize, body.add, by, app.now())
        .await?
    {
        StockChanged::Changed { stock, left } => running.done(
            fingerprint,
            &StockDoc {
                campaign,
                prize,
                stock,
                left,
            },
        ),
        StockChanged::NotEnough { left } => Err(ApiError::new(
            Code::NotEnoughStock,
            format!("{left} units are left"),
        )
        .with("left", left)),
        StockChanged::Unlimited => Err(Code::StockUnlimited.into()),
        StockChanged::NotFound => Err(Code::PrizeNotFound.into()),
    }
}
