//! Codes: imported from a stream, all or nothing; counted, never shown. The import
//! runs in a task of its own, so that a client that hangs up leaves nothing behind.

use super::Route;
use super::auth::{Access, Caller};
use super::error::{ApiError, Code};
use super::input::{self, Names, Params};
use super::replay::Begun;
use crate::api::{self, CodeFact, ImportQuery, ImportedDoc, Page};
use crate::app::App;
use crate::import::{self, Wrong};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use tombola_core::ports::{Catalog, ImportBegun, Role};
use tombola_core::reason::HoldReason;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/campaigns/{campaign}/prizes/{prize}/codes",
            Access::of(&[Role::Operator]),
            import_codes,
        ),
        Route::get(
            "/v1/campaigns/{campaign}/codes",
            Access::of(&[Role::Operator, Role::Auditor]),
            stats,
        ),
    ]
}

async fn stats(
    State(app): State<App>,
    Names(campaign): Names<String>,
) -> Result<Json<Page<CodeFact>>, ApiError> {
    let stats = app
        .store()
        .code_stats(&campaign)
        .await?
        .ok_or(Code::CampaignNotFound)?;
    Ok(Json(api::whole(stats)))
}

async fn import_codes(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, prize)): Names<(String, String)>,
    Params(query): Params<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let key = input::request_key(&headers)?;
    if !input::has_content_type(&headers, "text/csv") {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send text/csv"));
    }
    let scope = format!(
        "codes {} {campaign}/{prize} {} {key}",
        caller.client(),
        query.skip_duplicates
    );
    let running = match app.replays().begin(scope)? {
        Begun::New(running) => running,
        Begun::Done(done) => {
            return done.replay(&import::fingerprint(body).await.map_err(of_wrong)?);
        }
    };
    let turn = app.import_turn().await;
    let import = match app
        .store()
        .begin_import(&campaign, &prize, caller.actor(None), app.now())
        .await?
    {
        ImportBegun::Begun(import) => import,
        ImportBegun::NotFound => return Err(Code::PrizeNotFound.into()),
    };
    let task = import::run(app.clone(), import, body, query.skip_duplicates, turn);
    let done = app
        .tasks()
        .spawn(task)
        .await
        .map_err(|error| ApiError::internal(&error))?
        .map_err(of_wrong)?;
    // The import is done whatever becomes of this; rescue looks at the holds too.
    if let Err(error) = app.end_holds(HoldReason::NoCode).await {
        tracing::warn!(%error, "awards that waited for codes go on a little later");
    }
    let document = ImportedDoc {
        campaign,
        prize,
        import: import.0,
        imported: done.codes,
        skipped: done.skipped,
    };
    running.done(done.fingerprint, &document)
}

fn of_wrong(wrong: Wrong) -> ApiError {
    match wrong {
        Wrong::Line { line, what } => ApiError::new(
            Code::InvalidCodes,
            format!("line {line}: {what}; nothing was imported"),
        )
        .with("line", line),
        Wrong::File(what) => {
            ApiError::new(Code::InvalidCodes, format!("{what}; nothing was imported"))
        }
        Wrong::Replaced => Code::ImportReplaced.into(),
        Wrong::Store(error) => error.into(),
        Wrong::Fault(what) => ApiError::internal(&what),
    }
}
