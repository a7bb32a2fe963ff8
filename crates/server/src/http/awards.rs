//! Awards: lists, one award with its timeline, and what people do to them. Who may
//! see the content of an award is decided here, and nowhere else.

use super::auth::{Access, Caller, Who};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::export::{self, Exported, Sheet};
use super::input::{self, JsonBody, Names, Params};
use super::{Route, Scope};
use crate::api::{
    ActionBody, Address, AwardDetail, AwardDoc, AwardFact, AwardQuery, AwardShown, CancelBody,
    ConfirmBody, OutcomeWord, Page, ReasonBody, ShipmentBody, WinnerDoc,
};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde_json::json;
use tombola_core::award::Refusal;
use tombola_core::campaign::Kind;
use tombola_core::ports::{Acted, Action, Operate, Role};
use tombola_core::{AwardId, Timestamp, limits};
use tombola_store::read::AwardFilter;

const READERS: &[Role] = &[Role::Client, Role::Deliverer, Role::Operator, Role::Auditor];

/// What an action on an award may be refused with.
const REFUSALS: &[Code] = &[
    Code::AwardNotFound,
    Code::AwardDelivering,
    Code::OutcomeUnknown,
    Code::AwardState,
];

pub(super) fn routes() -> Vec<Route> {
    [reads(), actions(), physical()]
        .into_iter()
        .flatten()
        .map(|route| route.scoped(Scope::OfHandler))
        .chain(lists())
        .collect()
}

fn lists() -> [Route; 2] {
    let access = Access::of(&[Role::Deliverer, Role::Operator, Role::Auditor]);
    [
        Route::get("/v1/awards", access, list).about(
            "List awards",
            "Awards, newest first. A deliverer sees those of kind `external`, and no others.",
        ),
        export::route("/v1/awards/export", access, "Export awards", export),
    ]
    .map(|route| route.scoped(Scope::Query))
}

fn reads() -> Vec<Route> {
    vec![
        Route::get("/v1/awards/{id}", Access::or_winner(READERS), show)
            .about(
                "Show award",
                "One award with its timeline. `content`, the text or code of a delivered award, is \
                 whole for the client that drew it and for an admin, and masked for others. With \
                 the claim token the answer is what concerns its winner.",
            )
            .errors(&[Code::AwardNotFound]),
    ]
}

fn actions() -> Vec<Route> {
    let operator = Access::of(&[Role::Operator]);
    vec![
        Route::post("/v1/awards/{id}/hold", operator, hold)
            .about(
                "Hold award",
                "Holds an award that waits for its delivery, until it is released.",
            )
            .body::<ReasonBody>()
            .errors(REFUSALS)
            .example(json!({ "reason": "the winner asked us to wait" })),
        Route::post("/v1/awards/{id}/release", operator, release)
            .about(
                "Release award",
                "Ends a hold that an operator or a date was to end: the award is delivered now.",
            )
            .body::<ReasonBody>()
            .errors(REFUSALS)
            .example(json!({ "reason": "the winner is back" })),
        Route::post(
            "/v1/awards/{id}/confirm",
            Access::of(&[Role::Deliverer, Role::Operator]),
            confirm,
        )
        .about(
            "Confirm award",
            "Says that the award was delivered: by another service, by a carrier, or by a call \
             whose outcome was unknown.",
        )
        .errors(REFUSALS)
        .example(json!({ "receipt": "booking 8817", "reason": "seen at the partner" })),
        Route::post("/v1/awards/{id}/cancel", operator, cancel)
            .about(
                "Cancel award",
                "Ends an award that was not delivered. Its unit goes back to the stock unless an \
                 effect may exist, or if `return_stock` says so.",
            )
            .errors(REFUSALS)
            .example(json!({ "reason": "won twice by mistake of ours", "return_stock": true })),
    ]
}

fn physical() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/awards/{id}/address",
            Access::or_winner(&[Role::Client, Role::Operator]),
            address,
        )
        .about(
            "Give address",
            "Stores where a physical prize goes; addresses are never shown again. An award that \
             waits for it moves on.",
        )
        .errors(REFUSALS)
        .example(json!({
            "name": "Ann Lee", "lines": ["Main street 1"], "postal_code": "5003",
            "city": "Bergen", "country": "NO"
        })),
        Route::post(
            "/v1/awards/{id}/shipment",
            Access::of(&[Role::Operator]),
            ship,
        )
        .about(
            "Enter shipment",
            "Says that a physical prize is on its way; confirm the award when it has come.",
        )
        .errors(REFUSALS)
        .example(json!({ "carrier": "Posten", "tracking": "RB123456785NO" })),
    ]
}

const SHEET: Sheet = Sheet {
    name: "awards",
    columns: &[
        ("id", "/id"),
        ("drawn_at", "/drawn_at"),
        ("campaign", "/campaign"),
        ("user", "/user"),
        ("prize", "/prize"),
        ("kind", "/kind"),
        ("state", "/state"),
        ("hold_reason", "/hold_reason"),
        ("dead_reason", "/dead_reason"),
        ("mq_state", "/mq_state"),
        ("grant_state", "/grant_state"),
        ("in_doubt", "/in_doubt"),
        ("attempts", "/attempts"),
        ("due_at", "/due_at"),
        ("ended_at", "/ended_at"),
        ("adopted_from", "/adopted_from"),
    ],
};

async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<AwardQuery>,
) -> Result<Json<Page<AwardFact>>, ApiError> {
    let turn = Turn::open(SHEET.name, &query, app.now())?;
    let filter = filter(&caller, query, turn.at)?;
    let page = app.store().award_list(filter, turn.page()).await?;
    Ok(Json(turn.answer(page)))
}

async fn export(
    State(app): State<App>,
    caller: Caller,
    asked: Exported<AwardQuery>,
) -> Result<Response, ApiError> {
    let form = asked.form(SHEET);
    let filter = filter(&caller, asked.query, app.now())?;
    export::answer(&app, form, filter, |store, filter, page| async move {
        store.award_list(filter, page).await
    })
    .await
}

/// A deliverer sees awards of kind external, and no others.
fn filter(caller: &Caller, query: AwardQuery, now: Timestamp) -> Result<AwardFilter, ApiError> {
    let (since, until) = input::period(query.since.as_deref(), query.until.as_deref(), now)?;
    let mut kind = query.kind;
    if caller.role() == Some(Role::Deliverer) {
        if kind.is_some_and(|kind| kind != Kind::External) {
            return Err(Code::Forbidden.into());
        }
        kind = Some(Kind::External);
    }
    Ok(AwardFilter {
        campaign: query.campaign,
        user: query.user,
        state: query.state,
        kind,
        prize: query.prize,
        hold_reason: query.hold_reason,
        dead_reason: query.dead_reason,
        endpoint: query.endpoint,
        since,
        until,
    })
}

/// The award, if this caller may see it at all. A claim token for another award is
/// refused before anything is read.
async fn visible(app: &App, caller: &Caller, id: &str) -> Result<AwardDetail, ApiError> {
    let id = AwardId(input::id(id, Code::AwardNotFound)?);
    if matches!(caller.who(), Who::Winner(own) if *own != id) {
        return Err(Code::Forbidden.into());
    }
    let award = app
        .store()
        .award_show(id)
        .await?
        .ok_or(Code::AwardNotFound)?;
    let is_visible = match (caller.role(), caller.who()) {
        (Some(Role::Client), _) => caller.has_drawn(&award.client),
        (Some(Role::Deliverer), _) => award.fact.kind == Kind::External,
        (Some(Role::Operator | Role::Auditor | Role::Admin), _) | (None, Who::Winner(_)) => true,
        (None, Who::Player(player, _)) => player.user == award.fact.user,
        (None, Who::Local | Who::Key(_) | Who::Nobody) => false,
    };
    if is_visible && caller.speaks_of(&award.fact.campaign) {
        Ok(award)
    } else {
        Err(Code::AwardNotFound.into())
    }
}

async fn show(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
) -> Result<Json<AwardShown>, ApiError> {
    let award = visible(&app, &caller, &id).await?;
    let is_own = caller.has_drawn(&award.client);
    Ok(Json(match caller.role() {
        None => AwardShown::ToWinner(WinnerDoc::from(award)),
        Some(Role::Admin) => AwardShown::ToKey(award.into()),
        Some(Role::Client) if is_own => AwardShown::ToKey(award.into()),
        Some(Role::Client | Role::Deliverer | Role::Operator | Role::Auditor) => {
            AwardShown::ToKey(award.masked().into())
        }
    }))
}

/// One action on one award, and what the table said to it.
async fn act(
    app: &App,
    caller: &Caller,
    id: &str,
    action: Action,
    reason: Option<String>,
) -> Result<Json<AwardDoc>, ApiError> {
    if caller.check_campaign(None).is_err() {
        visible(app, caller, id).await?;
    }
    let id = AwardId(input::id(id, Code::AwardNotFound)?);
    let by = caller.actor(input::reason(reason)?);
    match app.store().act(id, action, by, app.now()).await? {
        Acted::Done(row) => {
            app.wake_rescue();
            Ok(Json(AwardDoc::from(&row)))
        }
        Acted::Refused(refusal) => Err(of_refusal(refusal)),
        Acted::NotFound => Err(Code::AwardNotFound.into()),
    }
}

pub(super) fn of_refusal(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Delivering { lease_ends } => ApiError::new(
            Code::AwardDelivering,
            format!("a worker has it in hand until {lease_ends}"),
        )
        .with("lease_ends", lease_ends.to_string()),
        Refusal::OutcomeUnknown => ApiError::new(
            Code::OutcomeUnknown,
            "find out at the endpoint, then confirm it, or requeue it with the outcome not-delivered",
        ),
        Refusal::WrongState { state } => {
            ApiError::new(Code::AwardState, format!("the award is {state}"))
                .with("state", state.name())
        }
    }
}

async fn hold(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<AwardDoc>, ApiError> {
    let why = input::needed_reason(body.reason)?;
    act(&app, &caller, &id, Action::Hold, Some(why)).await
}

async fn release(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<AwardDoc>, ApiError> {
    let why = input::needed_reason(body.reason)?;
    act(&app, &caller, &id, Action::Release, Some(why)).await
}

async fn confirm(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ConfirmBody>,
) -> Result<Json<AwardDoc>, ApiError> {
    // To the service that delivers, confirming is its work; to others it is an override.
    let why = if caller.role() == Some(Role::Deliverer) {
        visible(&app, &caller, &id).await?;
        body.reason
    } else {
        Some(input::needed_reason(body.reason)?)
    };
    if body
        .receipt
        .as_ref()
        .is_some_and(|receipt| receipt.len() > limits::RECEIPT_BYTES_MAX)
    {
        return Err(ApiError::field(
            "/receipt",
            format!("use at most {} bytes", limits::RECEIPT_BYTES_MAX),
        ));
    }
    act(
        &app,
        &caller,
        &id,
        Action::Confirm {
            receipt: body.receipt,
        },
        why,
    )
    .await
}

async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<CancelBody>,
) -> Result<Json<AwardDoc>, ApiError> {
    // What is known of an unknown outcome decides about the unit.
    let return_stock = match body.outcome {
        Some(OutcomeWord::Delivered) => {
            return Err(ApiError::field(
                "/outcome",
                "an award that was delivered is confirmed, not cancelled",
            ));
        }
        Some(OutcomeWord::NotDelivered) | None => body.return_stock,
    };
    let why = input::needed_reason(body.reason)?;
    act(
        &app,
        &caller,
        &id,
        Action::Cancel { return_stock },
        Some(why),
    )
    .await
}

async fn address(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(address): JsonBody<Address>,
) -> Result<Json<AwardDoc>, ApiError> {
    check_address(&address)?;
    visible(&app, &caller, &id).await?;
    act(&app, &caller, &id, Action::Address(address), None).await
}

fn check_address(address: &Address) -> Result<(), ApiError> {
    let (max, lines_max) = (limits::ADDRESS_TEXT_BYTES_MAX, limits::ADDRESS_LINES_MAX);
    let is_text = |text: &str| {
        !text.trim().is_empty() && text.len() <= max && !text.chars().any(char::is_control)
    };
    let texts = [
        ("/name", Some(&address.name)),
        ("/city", Some(&address.city)),
        ("/postal_code", address.postal_code.as_ref()),
        ("/region", address.region.as_ref()),
        ("/phone", address.phone.as_ref()),
    ];
    for (pointer, text) in texts {
        if text.is_some_and(|text| !is_text(text)) {
            return Err(ApiError::field(
                pointer,
                format!("use 1 to {max} bytes without control characters"),
            ));
        }
    }
    if !(1..=lines_max).contains(&address.lines.len())
        || !address.lines.iter().all(|line| is_text(line))
    {
        return Err(ApiError::field(
            "/lines",
            format!("use 1 to {lines_max} lines of 1 to {max} bytes"),
        ));
    }
    let is_country =
        address.country.len() == 2 && address.country.bytes().all(|b| b.is_ascii_uppercase());
    if is_country {
        Ok(())
    } else {
        Err(ApiError::field(
            "/country",
            "use two capital letters, as in ISO 3166-1",
        ))
    }
}

async fn ship(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
    JsonBody(body): JsonBody<ShipmentBody>,
) -> Result<Json<AwardDoc>, ApiError> {
    for (pointer, text) in [("/carrier", &body.carrier), ("/tracking", &body.tracking)] {
        let max = limits::SHIPMENT_TEXT_BYTES_MAX;
        if text.trim().is_empty() || text.len() > max {
            return Err(ApiError::field(pointer, format!("use 1 to {max} bytes")));
        }
    }
    let action = Action::Ship {
        carrier: body.carrier,
        tracking: body.tracking,
    };
    act(&app, &caller, &id, action, body.reason).await
}
