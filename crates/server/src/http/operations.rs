//! Bulk actions: asked for by filter, counted first, done in steps behind the
//! answer, each with an id, progress and a way to stop it.

use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names, Params};
use super::{Route, Scope};
use crate::api::{
    ActionBody, BulkBody, BulkCancelBody, BulkDoc, BulkFilter, OperationDoc, Page, PageQuery,
};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tombola_core::ports::{Actor, BulkAction, BulkSpec, Operate, Operation, Role};

pub(super) fn routes() -> Vec<Route> {
    let (operator, readers) = (
        Access::of(&[Role::Operator]),
        Access::of(&[Role::Operator, Role::Auditor]),
    );
    vec![
        Route::post("/v1/awards/cancel", operator, cancel_awards)
            .about(
                "Cancel awards",
                "Ends all awards that match and were not delivered, as an operation.",
            )
            .scoped(Scope::OfHandler)
            .answers::<BulkDoc>(200)
            .answers::<OperationDoc>(202)
            .example(json!({
                "filter": { "campaign": "autumn-fair", "prize": "mug", "state": "held" },
                "reason": "the mugs broke", "return_stock": true, "dry_run": true
            })),
        Route::post("/v1/awards/release", operator, release_awards)
            .about(
                "Release awards",
                "Ends the holds of all awards that match, as an operation.",
            )
            .scoped(Scope::OfHandler)
            .answers::<BulkDoc>(200)
            .answers::<OperationDoc>(202)
            .example(json!({
                "filter": { "campaign": "autumn-fair", "hold_reason": "manual" },
                "reason": "all were checked"
            })),
        Route::get("/v1/operations", readers, list)
            .about("List operations", "Bulk actions, newest first."),
        Route::get("/v1/operations/{id}", readers, show)
            .about("Show operation", "How far a bulk action is.")
            .errors(&[Code::OperationNotFound]),
        Route::post("/v1/operations/{id}/cancel", operator, cancel)
            .about(
                "Cancel operation",
                "Stops a bulk action after its present step; what was done stays done.",
            )
            .errors(&[Code::OperationNotFound])
            .example(json!({ "reason": "the filter was too wide" })),
    ]
}

async fn cancel_awards(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<BulkCancelBody>,
) -> Result<Response, ApiError> {
    let action = BulkAction::Cancel {
        return_stock: body.return_stock,
    };
    bulk(&app, &caller, action, body.bulk()).await
}

async fn release_awards(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<BulkBody>,
) -> Result<Response, ApiError> {
    bulk(&app, &caller, BulkAction::Release, body).await
}

async fn bulk(
    app: &App,
    caller: &Caller,
    action: BulkAction,
    body: BulkBody,
) -> Result<Response, ApiError> {
    let by = caller.actor(input::reason(body.reason)?);
    if !body.dry_run && by.reason.is_none() {
        return Err(ApiError::field("/reason", "say why; it goes into the log"));
    }
    let asked = Bulk {
        action,
        filter: body.filter,
        dry_run: body.dry_run,
    };
    asked.run(app, caller, by).await
}

/// A bulk action that somebody asks for.
pub(super) struct Bulk {
    pub(super) action: BulkAction,
    pub(super) filter: BulkFilter,
    pub(super) dry_run: bool,
}

impl Bulk {
    /// Counts, and begins unless only the count is asked for.
    pub(super) async fn run(
        self,
        app: &App,
        caller: &Caller,
        by: Actor,
    ) -> Result<Response, ApiError> {
        caller.check_campaign(self.filter.campaign.as_deref())?;
        if self.filter.prize.is_some() && self.filter.campaign.is_none() {
            return Err(ApiError::field(
                "/filter/prize",
                "name its campaign as well",
            ));
        }
        let mut spec = BulkSpec {
            action: self.action,
            filter: self.filter,
            matched: 0,
        };
        let (matched, doubted) = app.store().operation_count(spec.clone()).await?;
        if self.dry_run {
            let in_doubt = if needs_word(&spec.action) { doubted } else { 0 };
            let counted = BulkDoc {
                dry_run: true,
                matched,
                in_doubt,
            };
            return Ok(Json(counted).into_response());
        }
        spec.matched = matched;
        let begun = app.store().begin_operation(spec, by, app.now()).await?;
        app.go_on_with(begun.id);
        Ok((StatusCode::ACCEPTED, Json(OperationDoc::from(begun))).into_response())
    }
}

/// Whether awards in doubt are left as they are.
const fn needs_word(action: &BulkAction) -> bool {
    matches!(
        action,
        BulkAction::Requeue {
            not_delivered: false,
            ..
        }
    )
}

async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<OperationDoc>>, ApiError> {
    let turn = Turn::open("operations", &query, app.now())?;
    let page = app.store().operation_list(turn.page()).await?;
    Ok(Json(turn.answer(page.map(OperationDoc::from))))
}

async fn show(
    State(app): State<App>,
    Names(id): Names<String>,
) -> Result<Json<OperationDoc>, ApiError> {
    let id = input::id(&id, Code::OperationNotFound)?;
    document(app.store().operation_show(id).await?)
}

async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<OperationDoc>, ApiError> {
    let id = input::id(&id, Code::OperationNotFound)?;
    let by = caller.actor(input::reason(body.reason)?);
    document(app.store().cancel_operation(id, by, app.now()).await?)
}

fn document(found: Option<Operation>) -> Result<Json<OperationDoc>, ApiError> {
    found
        .map(|it| Json(OperationDoc::from(it)))
        .ok_or_else(|| Code::OperationNotFound.into())
}
