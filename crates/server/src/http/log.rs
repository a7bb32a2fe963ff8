//! The operator log.

use super::Route;
use super::auth::Access;
use super::awards::since;
use super::error::{ApiError, Code};
use super::input::{self, Params};
use crate::api::{LogFact, LogQuery, Page, PageQuery};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use tombola_core::AwardId;
use tombola_core::ids::ID_MAX;
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

/// An id of an award; an error names the parameter.
fn award(id: i64) -> Result<AwardId, ApiError> {
    (1..=ID_MAX)
        .contains(&id)
        .then_some(AwardId(id))
        .ok_or_else(|| ApiError::new(Code::InvalidQuery, "award: this is no id of an award"))
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
        award: query.award.map(award).transpose()?,
    };
    let page = PageQuery {
        after: query.after,
        limit: Some(input::page_size(query.limit)?),
    };
    Ok(Json(app.store().log_list(filter, page).await?))
}
