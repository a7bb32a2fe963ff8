//! Dead letters: listed, shown, put back one by one or in bulk, dismissed.

use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::export::{self, Exported, Sheet};
use super::input::{self, JsonBody, Names, Params};
use super::operations::Bulk;
use super::{Route, Scope};
use crate::api::{
    BulkDoc, DeadLetterFact, DeadLetterQuery, DismissedDoc, KeptMessageFact, OperationDoc,
    OutcomeWord, Page, ReasonBody, RequeueBody, RequeuedDoc,
};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::time::Duration;
use tombola_core::award::Refusal;
use tombola_core::endpoint::parse_span;
use tombola_core::ids::ID_MAX;
use tombola_core::ports::{Acted, Action, Actor, BulkAction, DeadLetter, Operate, Role};
use tombola_core::{AwardId, Timestamp, limits};
use tombola_store::read::DeadLetterFilter;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/dead-letters",
            Access::of(&[Role::Operator, Role::Auditor]),
            list,
        )
        .about(
            "List dead letters",
            "Awards that were given up on, newest first, and after them messages that changed no \
             award. A filter that names a campaign, a kind or an award's reason leaves messages out.",
        )
        .scoped(Scope::Query),
        export::route(
            "/v1/dead-letters/export",
            Access::of(&[Role::Operator, Role::Auditor]),
            "Export dead letters",
            export,
        )
        .scoped(Scope::Query),
        Route::post(
            "/v1/dead-letters/requeue",
            Access::of(&[Role::Operator]),
            requeue,
        )
        .about(
            "Requeue dead letters",
            "Puts awards back on the path: those of `ids` at once, or all that match `filter` as an \
             operation. One whose outcome is unknown is left, unless `outcome` says \
             `not-delivered`. With `ids` a `reason` is needed, unless it only counts.",
        )
        .scoped(Scope::OfHandler)
        .answers::<RequeuedDoc>(200)
        .answers::<BulkDoc>(200)
        .answers::<OperationDoc>(202)
        .errors(&[Code::OutcomeUnknown, Code::AwardNotFound])
        .example(json!({
            "filter": { "campaign": "autumn-fair", "reason": "exhausted" }, "dry_run": true
        })),
        Route::get(
            "/v1/dead-letters/{id}",
            Access::of(&[Role::Operator, Role::Auditor]),
            show_message,
        )
        .about(
            "Show dead message",
            "A kept message whole, by `m` and its number; a dead award is shown by \
             `/v1/awards/{id}`.",
        )
        .errors(&[Code::DeadLetterNotFound]),
        Route::post(
            "/v1/dead-letters/{id}/dismiss",
            Access::of(&[Role::Operator]),
            dismiss,
        )
        .about(
            "Dismiss dead letter",
            "Takes a dead letter off the list: nothing more is to be done about it.",
        )
        .errors(&[Code::DeadLetterNotFound])
        .example(json!({ "reason": "settled with the winner by phone" })),
    ]
}

const SHEET: Sheet = Sheet {
    name: "dead-letters",
    columns: &[
        ("id", "/id"),
        ("at", "/at"),
        ("reason", "/reason"),
        ("campaign", "/campaign"),
        ("user", "/user"),
        ("prize", "/prize"),
        ("kind", "/kind"),
        ("in_doubt", "/in_doubt"),
        ("attempts", "/attempts"),
        ("drawn_at", "/drawn_at"),
        ("detail", "/detail"),
        ("partition", "/partition"),
        ("offset", "/offset"),
        ("bytes", "/bytes"),
    ],
};

async fn list(
    State(app): State<App>,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Json<Page<DeadLetterFact>>, ApiError> {
    let turn = Turn::open(SHEET.name, &query, app.now())?;
    let filter = filter(query, turn.at)?;
    let page = app.store().dead_letter_list(filter, turn.page()).await?;
    Ok(Json(turn.answer(page)))
}

async fn export(
    State(app): State<App>,
    asked: Exported<DeadLetterQuery>,
) -> Result<Response, ApiError> {
    let form = asked.form(SHEET);
    let filter = filter(asked.query, app.now())?;
    export::answer(&app, form, filter, |store, filter, page| async move {
        store.dead_letter_list(filter, page).await
    })
    .await
}

fn filter(query: DeadLetterQuery, now: Timestamp) -> Result<DeadLetterFilter, ApiError> {
    let (since, until) = input::period(query.since.as_deref(), query.until.as_deref(), now)?;
    Ok(DeadLetterFilter {
        campaign: query.campaign,
        kind: query.kind,
        reason: query.reason,
        since,
        until,
    })
}

async fn requeue(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<RequeueBody>,
) -> Result<Response, ApiError> {
    let not_delivered = match body.outcome {
        Some(OutcomeWord::NotDelivered) => true,
        Some(OutcomeWord::Delivered) => {
            return Err(ApiError::field(
                "/outcome",
                "an award that was delivered is confirmed, not requeued",
            ));
        }
        None => false,
    };
    let of_campaign = body.filter.as_ref().and_then(|it| it.campaign.as_deref());
    caller.check_campaign(of_campaign)?;
    let over = over(body.over.as_deref())?;
    let by = caller.actor(input::reason(body.reason)?);
    match (body.ids.as_slice(), body.filter) {
        ([], Some(filter)) => {
            let action = BulkAction::Requeue {
                not_delivered,
                over_secs: over.as_secs(),
            };
            let dry_run = body.dry_run;
            let asked = Bulk {
                action,
                filter,
                dry_run,
            };
            asked.run(&app, &caller, by).await
        }
        ([], None) => Err(ApiError::field(
            "",
            "name ids, or a filter; an empty filter matches all",
        )),
        (ids, None) => {
            if by.reason.is_none() && !body.dry_run {
                input::needed_reason(None)?;
            }
            let asked = Asked {
                by,
                not_delivered,
                over,
                dry_run: body.dry_run,
            };
            let done = each(&app, ids, asked).await?;
            app.wake_rescue();
            Ok(Json(done).into_response())
        }
        (_, Some(_)) => Err(ApiError::field("/filter", "name ids or a filter, not both")),
    }
}

/// A kept message whole; a dead award is shown by `/v1/awards/{id}`.
async fn show_message(
    State(app): State<App>,
    Names(id): Names<String>,
) -> Result<Json<KeptMessageFact>, ApiError> {
    let DeadLetter::Message(number) = letter(&id)? else {
        return Err(ApiError::new(
            Code::DeadLetterNotFound,
            "an award is shown by /v1/awards/{id}",
        ));
    };
    let found = app.store().kept_message_show(number).await?;
    found
        .map(Json)
        .ok_or_else(|| Code::DeadLetterNotFound.into())
}

async fn dismiss(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Json<DismissedDoc>, ApiError> {
    let reason = input::reason(body.reason)?
        .ok_or_else(|| ApiError::field("/reason", "say why; it goes into the operator log"))?;
    let by = caller.actor(Some(reason));
    if !app.store().dismiss(letter(&id)?, by, app.now()).await? {
        return Err(Code::DeadLetterNotFound.into());
    }
    Ok(Json(DismissedDoc { id }))
}

/// An award's id, or `m<number>`.
fn letter(id: &str) -> Result<DeadLetter, ApiError> {
    let number = |text| input::id(text, Code::DeadLetterNotFound);
    id.strip_prefix('m').map_or_else(
        || number(id).map(|id| DeadLetter::Award(AwardId(id))),
        |text| number(text).map(DeadLetter::Message),
    )
}

fn over(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    parse_span(text)
        .filter(|span| *span <= limits::REQUEUE_OVER_MAX)
        .ok_or_else(|| ApiError::field("/over", "use a span of at most 7d, such as 10m"))
}

struct Asked {
    by: Actor,
    not_delivered: bool,
    over: Duration,
    dry_run: bool,
}

async fn each(app: &App, ids: &[i64], asked: Asked) -> Result<RequeuedDoc, ApiError> {
    if ids.len() > limits::STEP_ROWS_MAX {
        return Err(ApiError::field(
            "/ids",
            format!("name at most {}, or use a filter", limits::STEP_ROWS_MAX),
        ));
    }
    if let Some(place) = ids.iter().position(|id| !(1..=ID_MAX).contains(id)) {
        return Err(ApiError::field(
            format!("/ids/{place}"),
            "this is no id of an award",
        ));
    }
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1);
    let mut done = RequeuedDoc {
        dry_run: asked.dry_run,
        ..RequeuedDoc::default()
    };
    for (place, id) in (0_u32..).zip(ids) {
        if asked.dry_run {
            count_one(app, AwardId(*id), &asked, &mut done).await?;
            continue;
        }
        let now = app.now();
        let due_at = now.plus(asked.over.saturating_mul(place) / count);
        let action = Action::Requeue {
            not_delivered: asked.not_delivered,
            due_at,
        };
        match app
            .store()
            .act(AwardId(*id), action, asked.by.for_part(id), now)
            .await?
        {
            Acted::Done(_) => done.requeued += 1,
            Acted::Refused(Refusal::OutcomeUnknown) => done.in_doubt += 1,
            Acted::Refused(Refusal::Delivering { .. } | Refusal::WrongState { .. })
            | Acted::NotFound => {
                done.not_found += 1;
            }
        }
    }
    done.matched = done.requeued + done.in_doubt;
    if let ([_], 0, false) = (ids, done.requeued, asked.dry_run) {
        return Err(if done.in_doubt > 0 {
            Code::OutcomeUnknown
        } else {
            Code::AwardNotFound
        }
        .into());
    }
    Ok(done)
}

async fn count_one(
    app: &App,
    id: AwardId,
    asked: &Asked,
    done: &mut RequeuedDoc,
) -> Result<(), ApiError> {
    let award = app.store().award_show(id).await?.map(|award| award.fact);
    match award.filter(|award| award.state == tombola_core::award::State::Dead) {
        None => done.not_found += 1,
        Some(award) if award.in_doubt && !asked.not_delivered => done.in_doubt += 1,
        Some(_) => done.requeued += 1,
    }
    Ok(())
}
