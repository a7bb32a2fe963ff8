//! Codes: imported from a stream, all or nothing; counted, never shown. The import
//! runs in a task of its own, so that a client that hangs up leaves nothing behind.

use super::Route;
use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names, Params};
use super::replay::{self, KeyRule};
use crate::api::{CodeFact, ImportQuery, ImportedDoc, Page, PageQuery, ReasonBody, WithdrawnDoc};
use crate::app::App;
use crate::import::{self, Asked, Wrong};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tombola_core::ports::{
    Actor, Catalog, ImportBegun, ImportFinished, ImportId, KeptRequest, RequestKey, Role,
};
use tombola_core::reason::HoldReason;

/// The fingerprint of a file that nobody has read yet.
const UNREAD: [u8; 32] = [0; 32];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/campaigns/{campaign}/prizes/{prize}/codes",
            Access::of(&[Role::Operator]),
            import_codes,
        )
        .about(
            "Import codes",
            "Codes of a prize of kind `code`, one a line in the first column, all or nothing. A \
             first line `code` is a heading. A code is unique in its campaign.",
        )
        .body_raw("text/csv")
        .answers::<ImportedDoc>(200)
        .keys(KeyRule::OfHandler)
        .errors(&[
            Code::RequestInProgress,
            Code::PrizeNotFound,
            Code::InvalidCodes,
            Code::ImportReplaced,
        ])
        .example("code\nCOFFEE-0001\nCOFFEE-0002\nCOFFEE-0003\n"),
        Route::post(
            "/v1/campaigns/{campaign}/prizes/{prize}/codes/{import}/withdraw",
            Access::of(&[Role::Operator]),
            withdraw,
        )
        .about(
            "Withdraw import",
            "No code of the import is given from now on; those that were given stay with their \
             awards.",
        )
        .errors(&[Code::ImportNotFound])
        .example(json!({ "reason": "the partner sent last year's codes" })),
        Route::get(
            "/v1/campaigns/{campaign}/codes",
            Access::of(&[Role::Operator, Role::Auditor]),
            stats,
        )
        .about(
            "Count codes",
            "The codes of a campaign by prize, in the order of its file, and by import: counted and \
             never shown.",
        )
        .errors(&[Code::CampaignNotFound]),
    ]
}

async fn stats(
    State(app): State<App>,
    Names(campaign): Names<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<CodeFact>>, ApiError> {
    let turn = Turn::open(&format!("codes of {campaign}"), &query, app.now())?;
    let stats = app
        .store()
        .code_stats(&campaign)
        .await?
        .ok_or(Code::CampaignNotFound)?;
    // In the order of the file; a prize never goes, and a new one comes last.
    let placed = (1..).zip(stats).collect();
    let page = turn.page().cut(placed, |(nth, _): &(i64, CodeFact)| -nth);
    Ok(Json(turn.answer(page.map(|(_, stats)| stats))))
}

async fn import_codes(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, prize)): Names<(String, String)>,
    Params(query): Params<ImportQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let key = input::request_key(&parts.headers)?;
    if !input::has_content_type(&parts.headers, "text/csv") {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send text/csv"));
    }
    let request = replay::request_key(caller.who(), &parts, key, UNREAD);
    let names = Names((campaign, prize));
    if let Some(kept) = app.store().kept_request(&request).await? {
        return again(&app, &caller, names, (request, kept), body).await;
    }
    let Names((campaign, prize)) = &names;
    let turn = app.import_turn().await;
    let begun = app
        .store()
        .begin_import(campaign, prize, caller.actor(None), app.now());
    let import = match begun.await? {
        ImportBegun::Begun(import) => import,
        ImportBegun::NotFound => return Err(Code::PrizeNotFound.into()),
    };
    let asked = Asked {
        import,
        skip_duplicates: query.skip_duplicates,
        request: request.clone(),
        by: caller.actor(None),
    };
    let task = import::run(app.clone(), asked, body, turn);
    let done = app
        .tasks()
        .spawn(task)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    let (finished, fingerprint) = match done {
        Ok(done) => done,
        // The same request came twice at once, and the other one was first.
        Err(_) if app.store().kept_request(&request).await?.is_some() => {
            return Err(Code::RequestInProgress.into());
        }
        Err(wrong) => return Err(of_wrong(wrong)),
    };
    // The import is done whatever becomes of this; rescue looks at the holds too.
    if let Err(error) = app.end_holds(HoldReason::NoCode).await {
        tracing::warn!(%error, "awards that waited for codes go on a little later");
    }
    let request = RequestKey {
        fingerprint,
        ..request
    };
    replay::keep(&app, request, document(names, finished), false).await
}

/// The request came before: the first answer, if the file is the same.
async fn again(
    app: &App,
    caller: &Caller,
    names: Names<(String, String)>,
    (request, kept): (RequestKey, KeptRequest),
    body: Body,
) -> Result<Response, ApiError> {
    let fingerprint = import::fingerprint(body).await.map_err(of_wrong)?;
    let request = RequestKey {
        fingerprint,
        ..request
    };
    if let Some(answer) = replay::of_kept(&kept, &request)? {
        return Ok(replay::replay(answer));
    }
    // Its process died between effect and answer: the store gives the effect again.
    let by = Actor {
        request: Some(request.clone()),
        ..caller.actor(None)
    };
    let finished = app
        .store()
        .finish_import(ImportId(0), 0, by, app.now())
        .await?;
    replay::keep(app, request, document(names, finished), true).await
}

fn document(Names((campaign, prize)): Names<(String, String)>, done: ImportFinished) -> Response {
    let document = ImportedDoc {
        campaign,
        prize,
        import: done.import.0,
        imported: done.codes,
        skipped: done.skipped,
    };
    Json(document).into_response()
}

/// No code of the import is given from now on; its rows go behind the answer.
async fn withdraw(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, prize, import)): Names<(String, String, String)>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Json<WithdrawnDoc>, ApiError> {
    let reason = input::reason(body.reason)?
        .ok_or_else(|| ApiError::field("/reason", "say why; it goes into the operator log"))?;
    let id = input::id(&import, Code::ImportNotFound)?;
    let by = caller.actor(Some(reason));
    let withdrawn = app
        .store()
        .withdraw_import(&campaign, &prize, ImportId(id), by, app.now());
    if !withdrawn.await? {
        return Err(Code::ImportNotFound.into());
    }
    app.tasks().spawn(import::remove_leftovers(app.clone()));
    Ok(Json(WithdrawnDoc {
        campaign,
        prize,
        import: id,
    }))
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
