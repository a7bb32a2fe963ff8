//! The operator log.

use super::Route;
use super::auth::Access;
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::export::{self, Exported, Sheet};
use super::input::{self, Params};
use crate::api::{LogFact, LogQuery, Page};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use tombola_core::ids::ID_MAX;
use tombola_core::ports::Role;
use tombola_core::{AwardId, Timestamp};
use tombola_store::read::LogFilter;

pub(super) fn routes() -> Vec<Route> {
    let access = Access::of(&[Role::Operator, Role::Auditor]);
    vec![
        Route::get("/v1/log", access, list).about(
            "Read log",
            "What operators did, newest first: who, when, to what and why.",
        ),
        export::route("/v1/log/export", access, "Export log", export),
    ]
}

const SHEET: Sheet = Sheet {
    name: "log",
    columns: &[
        ("id", "/id"),
        ("at", "/at"),
        ("by", "/by"),
        ("action", "/action"),
        ("subject", "/subject"),
        ("award", "/award"),
        ("units", "/units"),
        ("reason", "/reason"),
    ],
};

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
    let turn = Turn::open(SHEET.name, &query, app.now())?;
    let filter = filter(query, turn.at)?;
    let page = app.store().log_list(filter, turn.page()).await?;
    Ok(Json(turn.answer(page)))
}

async fn export(State(app): State<App>, asked: Exported<LogQuery>) -> Result<Response, ApiError> {
    let form = asked.form(SHEET);
    let filter = filter(asked.query, app.now())?;
    export::answer(&app, form, filter, |store, filter, page| async move {
        store.log_list(filter, page).await
    })
    .await
}

fn filter(query: LogQuery, now: Timestamp) -> Result<LogFilter, ApiError> {
    let (since, until) = input::period(query.since.as_deref(), query.until.as_deref(), now)?;
    Ok(LogFilter {
        since,
        until,
        by: query.by,
        award: query.award.map(award).transpose()?,
        action: query.action,
    })
}
