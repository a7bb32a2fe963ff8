//! The audit, one at a time: it reads every row, and holds the database's log back
//! meanwhile.

use super::Route;
use super::auth::Access;
use super::error::ApiError;
use super::input::Params;
use crate::api::{AuditQuery, AuditReport};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use tombola_core::ports::Role;
use tombola_store::read::AuditDepth;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/audit",
            Access::of(&[Role::Operator, Role::Auditor]),
            audit,
        )
        .about(
            "Audit",
            "Counts again from the rows what every number says, and draws a sample of the draws \
             again from their rolls. One runs at a time; it takes seconds on a large database.",
        ),
    ]
}

async fn audit(
    State(app): State<App>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditReport>, ApiError> {
    let _turn = app.audit_turn().await;
    let depth = if query.full {
        AuditDepth::Full
    } else {
        AuditDepth::Sampled
    };
    let report = app.store().audit(depth).await?;
    app.audited(&report);
    Ok(Json(report))
}
