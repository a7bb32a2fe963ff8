//! What `doctor` asks of a running server. It reads the whole file of SQLite, so it takes
//! turns with the audit.

use super::Route;
use super::auth::Access;
use crate::api::DoctorDoc;
use crate::app::App;
use crate::doctor;
use axum::Json;
use axum::extract::State;
use tombola_core::ports::Role;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/doctor",
            Access::of(&[Role::Operator, Role::Auditor]),
            look,
        )
        .about(
            "Doctor",
            "Looks at the database, the disk, the clock, the settings and what waits, and says what \
             to do about each thing that is amiss. It reads the whole file.",
        ),
    ]
}

async fn look(State(app): State<App>) -> Json<DoctorDoc> {
    let _turn = app.audit_turn().await;
    Json(doctor::served(&app).await)
}
