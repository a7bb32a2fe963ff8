//! Dead letters: listed, and put back one by one or in bulk. A bulk requeue is a
//! loop of steps; each step is a transaction of its own with its log lines.

use super::auth::{Access, Caller};
use super::awards::since;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Params};
use super::{Route, Scope};
use crate::api::{
    DeadFilter, DeadLetterFact, DeadLetterQuery, OutcomeWord, Page, PageQuery, RequeueBody,
    RequeuedDoc,
};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use std::time::Duration;
use tombola_core::award::Refusal;
use tombola_core::endpoint::parse_span;
use tombola_core::ids::ID_MAX;
use tombola_core::ports::{Acted, Action, Actor, Operate, RequeueStep, Role};
use tombola_core::{AwardId, limits};

/// The longest time over which a requeue may be spread.
const OVER_MAX: Duration = Duration::from_hours(7 * 24);

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/v1/dead-letters",
            Access::of(&[Role::Operator, Role::Auditor]),
            list,
        )
        .scoped(Scope::Query),
        Route::post(
            "/v1/dead-letters/requeue",
            Access::of(&[Role::Operator]),
            requeue,
        )
        .scoped(Scope::OfHandler),
    ]
}

async fn list(
    State(app): State<App>,
    Params(query): Params<DeadLetterQuery>,
) -> Result<Json<Page<DeadLetterFact>>, ApiError> {
    let filter = DeadFilter {
        campaign: query.campaign,
        kind: query.kind,
        reason: query.reason,
        since: query
            .since
            .as_deref()
            .map(|text| since(text, app.now()))
            .transpose()?,
    };
    let page = PageQuery {
        after: query.after,
        limit: Some(input::page_size(query.limit)?),
    };
    Ok(Json(app.store().dead_letter_list(filter, page).await?))
}

async fn requeue(
    State(app): State<App>,
    caller: Caller,
    JsonBody(body): JsonBody<RequeueBody>,
) -> Result<Json<RequeuedDoc>, ApiError> {
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
    let asked = Asked {
        by: caller.actor(input::reason(body.reason)?),
        not_delivered,
        over,
        dry_run: body.dry_run,
    };
    match (body.ids.as_slice(), body.filter) {
        ([], Some(filter)) => all_that_match(&app, filter, asked).await,
        ([], None) => Err(ApiError::field(
            "",
            "name ids, or a filter; an empty filter matches all",
        )),
        (ids, None) => each(&app, ids, asked).await,
        (_, Some(_)) => Err(ApiError::field("/filter", "name ids or a filter, not both")),
    }
    .map(|done| {
        app.wake_rescue();
        Json(done)
    })
}

fn over(text: Option<&str>) -> Result<Duration, ApiError> {
    let Some(text) = text else {
        return Ok(Duration::ZERO);
    };
    parse_span(text)
        .filter(|span| *span <= OVER_MAX)
        .ok_or_else(|| ApiError::field("/over", "use a span of at most 7d, such as 10m"))
}

struct Asked {
    by: Actor,
    not_delivered: bool,
    over: Duration,
    dry_run: bool,
}

async fn all_that_match(
    app: &App,
    filter: DeadFilter,
    asked: Asked,
) -> Result<RequeuedDoc, ApiError> {
    let (matched, doubted) = app.store().dead_letter_count(filter.clone()).await?;
    let mut done = RequeuedDoc {
        dry_run: asked.dry_run,
        matched,
        ..RequeuedDoc::default()
    };
    if asked.dry_run {
        done.in_doubt = if asked.not_delivered { 0 } else { doubted };
        done.requeued = matched - done.in_doubt.min(matched);
        return Ok(done);
    }
    let mut after = None;
    loop {
        let now = app.now();
        let (filter, until) = (filter.clone(), now.plus(asked.over));
        let step = RequeueStep {
            filter,
            after,
            not_delivered: asked.not_delivered,
            until,
        };
        let stepped = app.store().requeue(step, asked.by.clone(), now).await?;
        done.requeued += stepped.requeued;
        done.in_doubt += stepped.in_doubt;
        after = stepped.next;
        if after.is_none() {
            return Ok(done);
        }
    }
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
            .act(AwardId(*id), action, asked.by.clone(), now)
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
