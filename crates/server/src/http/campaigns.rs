//! Campaigns: put in, shown, moved; their odds and what a user may still draw.

use super::Route;
use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, JsonText, Names, Params};
use crate::api::{
    AppliedDoc, CampaignFact, CampaignShow, OddsDoc, OddsOf, Page, PageQuery, TransitionBody,
    TransitionDoc, UserFact,
};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tombola_core::campaign::{CampaignFile, CampaignState, Problem, Transition, file};
use tombola_core::ports::{Catalog, PutCampaign, Role, StoreResult, Transitioned};

const READERS: Access = Access::of(&[Role::Operator, Role::Auditor]);

pub(super) fn routes() -> Vec<Route> {
    let operator = Access::of(&[Role::Operator]);
    vec![
        Route::get("/v1/campaigns", READERS, list).about(
            "List campaigns",
            "Campaigns, newest first, with their phase now.",
        ),
        Route::get("/v1/campaigns/{campaign}", READERS, show)
            .about(
                "Show campaign",
                "One campaign with its prizes, odds, stock and what became of its awards, and the \
                 campaign file of each version that counts.",
            )
            .errors(&[Code::CampaignNotFound]),
        Route::put("/v1/campaigns/{campaign}", operator, put)
            .about(
                "Put campaign",
                "The campaign file as JSON. A file that differs from the newest version makes a \
                 new one in draft; the version in force is never edited. Every problem of the file \
                 is named, each with its pointer and its mend.",
            )
            .body::<CampaignFile>()
            .errors(&[Code::KindChanged, Code::CampaignNotEditable])
            .example(example_file()),
        Route::post("/v1/campaigns/{campaign}/transitions", operator, transition)
            .about(
                "Move campaign",
                "Submits, approves, starts, pauses, resumes, closes or reopens: the campaign, or \
                 its newest version where one stands beside the version in force.",
            )
            .errors(&[
                Code::CampaignNotFound,
                Code::TransitionNotAllowed,
                Code::SecondPersonNeeded,
                Code::CampaignNotReady,
            ])
            .example(json!({ "to": "submit" })),
        Route::get("/v1/campaigns/{campaign}/odds", Access::PUBLIC, odds)
            .about(
                "Show odds",
                "The odds as declared, and as they are now with what is out of stock or over its \
                 daily cap.",
            )
            .errors(&[Code::CampaignNotFound]),
        Route::get(
            "/v1/campaigns/{campaign}/users/{user}",
            Access::or_player(&[Role::Client, Role::Operator, Role::Auditor]),
            user,
        )
        .about(
            "Show allowance",
            "What a user may still draw in a campaign, and why no more.",
        )
        .errors(&[Code::CampaignNotFound, Code::InvalidBody]),
    ]
}

/// One prize of each kind that needs nothing else, and a mug.
fn example_file() -> Value {
    json!({
        "campaign": {
            "slug": "autumn-fair", "name": "Autumn fair", "time_zone": "Asia/Shanghai",
        },
        "limits": { "per_user_total": 30, "per_user_per_day": 10 },
        "odds": { "on_unavailable": "fallback", "fallback": "thanks" },
        "prize": [
            {
                "slug": "mug", "name": "A mug", "kind": "physical", "odds": "10%", "stock": 300,
                "per_user_wins": 1, "claim_within": "14d", "return_stock": true,
            },
            {
                "slug": "coffee", "name": "Coffee voucher", "kind": "code", "odds": "20%",
                "stock": 3,
            },
            { "slug": "thanks", "name": "10 points", "kind": "points", "points": 10, "odds": "60%" },
        ],
    })
}

async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<CampaignFact>>, ApiError> {
    let turn = Turn::open("campaigns", &query, app.now())?;
    let page = app.store().campaign_list(turn.page(), app.now()).await?;
    Ok(Json(turn.answer(page)))
}

async fn show(
    State(app): State<App>,
    Names(campaign): Names<String>,
) -> Result<Json<CampaignShow>, ApiError> {
    let store = app.store();
    let detail = store
        .campaign_show(&campaign, app.now())
        .await?
        .ok_or(Code::CampaignNotFound)?;
    let file = store
        .campaign_export(&campaign, Some(detail.fact.version))
        .await?
        .ok_or(Code::CampaignNotFound)?;
    let next_file = match detail.fact.next_version {
        Some(version) => store.campaign_export(&campaign, Some(version)).await?,
        None => None,
    };
    Ok(Json(CampaignShow {
        detail,
        file,
        next_file,
    }))
}

async fn put(
    State(app): State<App>,
    caller: Caller,
    Names(campaign): Names<String>,
    JsonText(text): JsonText,
) -> Result<Json<AppliedDoc>, ApiError> {
    let file = file::from_json(&text).map_err(|problems| of_problems(&problems))?;
    if file.campaign.slug != campaign {
        return Err(ApiError::field(
            "/campaign/slug",
            format!("the address names {campaign:?}"),
        ));
    }
    let put = app
        .store()
        .put_campaign(file.clone(), caller.actor(None), app.now())
        .await?;
    let (version, changed) = match put {
        PutCampaign::Applied { version, .. } => (version, true),
        PutCampaign::Unchanged { version } => (version, false),
        PutCampaign::KindChanged { prize } => {
            return Err(
                ApiError::new(Code::KindChanged, format!("give {prize:?} another slug"))
                    .with("prize", prize),
            );
        }
        PutCampaign::NotEditable { state } => {
            return Err(ApiError::new(
                Code::CampaignNotEditable,
                format!("its newest version is {state}"),
            )
            .with("state", state.name()));
        }
    };
    let warnings = warnings(&app, &file).await?;
    Ok(Json(AppliedDoc {
        campaign,
        version,
        changed,
        warnings,
    }))
}

fn of_problems(problems: &[Problem]) -> ApiError {
    let errors: Vec<Value> = problems
        .iter()
        .map(|problem| json!({ "pointer": problem.path, "what": problem.what, "mend": problem.mend }))
        .collect();
    let first = problems.first().map_or("", |problem| problem.what.as_str());
    ApiError::new(Code::InvalidBody, first).with("errors", errors)
}

/// What a start would refuse, said early.
async fn warnings(app: &App, file: &CampaignFile) -> StoreResult<Vec<String>> {
    let codes = app
        .store()
        .code_stats(&file.campaign.slug)
        .await?
        .unwrap_or_default();
    let endpoints = app.store().endpoint_list(app.now()).await?;
    let mut warnings = Vec::new();
    for prize in &file.prize {
        let stats = codes.iter().find(|it| it.prize == prize.slug);
        let there = stats.map_or(0, |it| it.free + it.given);
        let stock = prize.stock.and_then(|stock| u64::try_from(stock).ok());
        match (prize.kind.as_str(), stock) {
            ("code", Some(stock)) if there < stock => {
                warnings.push(format!(
                    "prize {}: {there} codes for a stock of {stock}",
                    prize.slug
                ));
            }
            ("code", None) if there == 0 => {
                warnings.push(format!("prize {}: no codes yet", prize.slug));
            }
            _ => {}
        }
        if let Some(name) = prize
            .endpoint
            .as_ref()
            .filter(|name| !endpoints.iter().any(|it| it.name == **name))
        {
            warnings.push(format!(
                "prize {}: there is no endpoint {name} yet",
                prize.slug
            ));
        }
    }
    Ok(warnings)
}

async fn transition(
    State(app): State<App>,
    caller: Caller,
    Names(campaign): Names<String>,
    JsonBody(body): JsonBody<TransitionBody>,
) -> Result<Json<TransitionDoc>, ApiError> {
    let command = command(&app, &campaign, &body.to).await?;
    let reason = input::reason(body.reason)?;
    if command == Transition::Refuse && reason.is_none() {
        return Err(ApiError::field("/reason", "say why it is refused"));
    }
    match app
        .store()
        .transition(
            &campaign,
            command,
            app.config().campaigns.approval,
            caller.actor(reason),
            app.now(),
        )
        .await?
    {
        Transitioned::Moved { state, version } => Ok(Json(TransitionDoc {
            campaign,
            state,
            version,
        })),
        Transitioned::NotAllowed { state } => Err(ApiError::new(
            Code::TransitionNotAllowed,
            format!("{command} is not possible, it is {state}"),
        )
        .with("state", state.name())),
        Transitioned::SamePerson => Err(ApiError::new(
            Code::SecondPersonNeeded,
            format!("{} submitted it", caller.client()),
        )),
        Transitioned::NotReady { problems } => {
            Err(ApiError::from(Code::CampaignNotReady).with("problems", problems))
        }
        Transitioned::NotFound => Err(Code::CampaignNotFound.into()),
    }
}

/// The command that `to` names, or that leads to the state that it names.
async fn command(app: &App, campaign: &str, to: &str) -> Result<Transition, ApiError> {
    if let Some(command) = Transition::parse(to).filter(|command| *command != Transition::Edit) {
        return Ok(command);
    }
    let Some(state) = CampaignState::parse(to) else {
        let known: Vec<_> = Transition::ALL
            .iter()
            .filter(|it| **it != Transition::Edit)
            .map(|it| it.name())
            .collect();
        return Err(ApiError::field(
            "/to",
            format!("use one of {}", known.join(", ")),
        ));
    };
    let now = app
        .store()
        .campaign_show(campaign, app.now())
        .await?
        .ok_or(Code::CampaignNotFound)?
        .fact;
    let newest = now.next_state.unwrap_or(now.state);
    Ok(match state {
        CampaignState::Draft if newest == CampaignState::Closed => Transition::Reopen,
        CampaignState::Draft => Transition::Withdraw,
        CampaignState::Submitted => Transition::Submit,
        CampaignState::Approved => Transition::Approve,
        CampaignState::Started if newest == CampaignState::Paused => Transition::Resume,
        CampaignState::Started => Transition::Start,
        CampaignState::Paused => Transition::Pause,
        CampaignState::Closed => Transition::Close,
        CampaignState::Refused => Transition::Refuse,
    })
}

async fn odds(
    State(app): State<App>,
    Names(campaign): Names<String>,
) -> Result<Json<OddsDoc>, ApiError> {
    let store = app.store();
    let detail = store
        .campaign_show(&campaign, app.now())
        .await?
        .ok_or(Code::CampaignNotFound)?;
    let file = store
        .campaign_export(&campaign, Some(detail.fact.version))
        .await?
        .ok_or(Code::CampaignNotFound)?;
    let of_prizes = detail.prizes.into_iter().filter_map(|prize| {
        let (declared, effective) = prize.odds.zip(prize.effective)?;
        Some(OddsOf {
            prize: Some(prize.prize),
            name: Some(prize.name),
            declared,
            effective,
        })
    });
    let nothing = OddsOf {
        prize: None,
        name: None,
        declared: detail.nothing_odds,
        effective: detail.nothing_effective,
    };
    Ok(Json(OddsDoc {
        campaign,
        version: detail.fact.version,
        on_unavailable: file
            .odds
            .on_unavailable
            .unwrap_or_else(|| "no_win".to_owned()),
        odds: of_prizes.chain([nothing]).collect(),
    }))
}

async fn user(
    State(app): State<App>,
    caller: Caller,
    Names((campaign, user)): Names<(String, String)>,
) -> Result<Json<UserFact>, ApiError> {
    input::user(&user)?;
    input::own_user(&caller, &user)?;
    Ok(Json(
        app.store()
            .user_show(&campaign, &user, app.now())
            .await?
            .ok_or(Code::CampaignNotFound)?,
    ))
}
