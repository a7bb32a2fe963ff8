//! The operator log.

use super::Route;
use super::auth::Access;
use super::awards::since;
use super::error::ApiError;
use super::input::{self, Params};
use crate::api::{LogFact, LogQuery, Page, PageQuery};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use tombola_core::AwardId;
use tombola_core::ports::Role;
use tombola_store::read::LogFilter;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/log",
            Access::of(&[Role::Operator, Role::Auditor]),
            list,
        )
        .about(
            "Read log",
            "What operators did, newest first: who, when, to what and why.",
        ),
    ]
}

async fn list(
    State(app): State<App>,
    Params(query): Params<LogQuery>,
) -> Result<Json<Page<LogFact>>, ApiError> {
    let filter = LogFilter {
        since: query
            .since
            .as_deref()
            .map(|text| since(text, app.now()))
            .transpose()?,
        by: query.by,
        award: query.award.map(AwardId),
    };
    let page = PageQuery {
        after: query.after,
        limit: Some(input::page_size(query.limit)?),
    };
    Ok(Json(app.store().log_list(filter, page).await?))
}
