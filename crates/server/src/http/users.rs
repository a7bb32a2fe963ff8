//! Users over all campaigns: shown, blocked, erased; their points.

use super::Route;
use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names, Params};
use super::operations::Bulk;
use crate::api::{
    ActionBody, BulkFilter, OperationDoc, PageQuery, PointsDoc, PointsReversedDoc, ReasonBody,
    UserBlockDoc, UserDetail,
};
use crate::app::App;
use crate::random;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use tombola_core::AwardId;
use tombola_core::ports::{BulkAction, Operate, PointsReversed, Role};

pub(super) fn routes() -> Vec<Route> {
    [of_users(), of_points()].into_iter().flatten().collect()
}

const READERS: Access = Access::of(&[Role::Operator, Role::Auditor]);

fn of_users() -> Vec<Route> {
    let operator = Access::of(&[Role::Operator]);
    vec![
        Route::get("/v1/users/{user}", READERS, show)
            .about(
                "Show user",
                "A user over all campaigns: draws, awards by state, points, and whether blocked.",
            )
            .errors(&[Code::UserNotFound, Code::InvalidBody]),
        Route::post("/v1/users/{user}/block", operator, block)
            .about("Block user", "The user draws no more, in no campaign.")
            .example(json!({ "reason": "draws by a program" })),
        Route::post("/v1/users/{user}/unblock", operator, unblock)
            .about("Unblock user", "The user may draw again.")
            .errors(&[Code::UserNotBlocked])
            .example(json!({ "reason": "it was somebody else" })),
        Route::post("/v1/users/{user}/erase", Access::of(&[]), erase)
            .about(
                "Erase user",
                "Another name takes the user's place in every row, as an operation; nobody can \
                 lead it back.",
            )
            .answers::<OperationDoc>(202)
            .errors(&[Code::UserUnfinished])
            .example(json!({ "reason": "asked for by the user" })),
    ]
}

fn of_points() -> Vec<Route> {
    vec![
        Route::get("/v1/users/{user}/points", READERS, points)
            .about(
                "Show points",
                "A user's balance, and the entries that it is the sum of, newest first.",
            )
            .errors(&[Code::InvalidBody]),
        Route::post(
            "/v1/awards/{id}/reverse-points",
            Access::of(&[Role::Operator]),
            reverse,
        )
        .about(
            "Reverse points",
            "Takes the points of one award back; the award stays delivered.",
        )
        .errors(&[Code::AwardNotFound, Code::PointsReversed])
        .example(json!({ "reason": "the purchase was returned" })),
    ]
}

async fn show(
    State(app): State<App>,
    Names(user): Names<String>,
) -> Result<Json<UserDetail>, ApiError> {
    input::user(&user)?;
    let found = app.store().user_detail(&user).await?;
    found.map(Json).ok_or_else(|| Code::UserNotFound.into())
}

/// What goes against a person has a reason in the log.
fn with_reason(reason: Option<String>) -> Result<Option<String>, ApiError> {
    input::reason(reason)?
        .map(Some)
        .ok_or_else(|| ApiError::field("/reason", "say why; it goes into the operator log"))
}

async fn block(
    State(app): State<App>,
    caller: Caller,
    Names(user): Names<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Json<UserBlockDoc>, ApiError> {
    input::user(&user)?;
    let by = caller.actor(with_reason(body.reason)?);
    app.store().block_user(&user, by, app.now()).await?;
    let is_blocked = true;
    Ok(Json(UserBlockDoc { user, is_blocked }))
}

async fn unblock(
    State(app): State<App>,
    caller: Caller,
    Names(user): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<UserBlockDoc>, ApiError> {
    input::user(&user)?;
    let by = caller.actor(input::reason(body.reason)?);
    if !app.store().unblock_user(&user, by, app.now()).await? {
        return Err(Code::UserNotBlocked.into());
    }
    let is_blocked = false;
    Ok(Json(UserBlockDoc { user, is_blocked }))
}

/// Another name takes the user's place, which nobody can lead back to it.
async fn erase(
    State(app): State<App>,
    caller: Caller,
    Names(user): Names<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Response, ApiError> {
    input::user(&user)?;
    let by = caller.actor(with_reason(body.reason)?);
    let unfinished = app.store().user_unfinished(&user).await?;
    if unfinished > 0 {
        return Err(ApiError::new(
            Code::UserUnfinished,
            format!("{unfinished} awards are on their way; cancel them first"),
        )
        .with("unfinished", unfinished));
    }
    let asked = Bulk {
        action: BulkAction::Erase {
            pseudonym: format!("erased-{}", random::name()),
        },
        filter: BulkFilter {
            user: Some(user),
            ..BulkFilter::default()
        },
        dry_run: false,
    };
    asked.run(&app, &caller, by).await
}

async fn points(
    State(app): State<App>,
    Names(user): Names<String>,
    Params(query): Params<PageQuery>,
) -> Result<Json<PointsDoc>, ApiError> {
    input::user(&user)?;
    let list = format!("points of {user}");
    let turn = Turn::open(&list, &query, app.now())?;
    let points = app.store().points_show(&user, turn.page()).await?;
    Ok(Json(PointsDoc {
        user: points.user,
        balance: points.balance,
        entries: turn.answer(points.entries),
    }))
}

async fn reverse(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<Json<PointsReversedDoc>, ApiError> {
    let award = AwardId(input::id(&id, Code::AwardNotFound)?);
    let by = caller.actor(with_reason(body.reason)?);
    match app.store().reverse_points(award, by, app.now()).await? {
        PointsReversed::Reversed {
            user,
            points,
            balance,
        } => Ok(Json(PointsReversedDoc {
            award: award.0,
            user,
            points,
            balance,
        })),
        PointsReversed::Before => Err(Code::PointsReversed.into()),
        PointsReversed::NotFound => Err(ApiError::new(
            Code::AwardNotFound,
            "no points were given for it",
        )),
    }
}
