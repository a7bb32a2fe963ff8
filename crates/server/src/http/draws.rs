//! Draws. The answer is built from facts that never change, so that a replay gives
//! the same bytes.

use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::export::{self, Exported, Sheet};
use super::input::{self, JsonBody, Names, Params};
use super::replay::{KeyRule, REPLAYED};
use super::{Route, Scope};
use crate::api::{AwardStub, DrawBody, DrawDoc, DrawQuery, DrawsDoc, Page};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tombola_core::draw::{DrawFact, DrawRefusal};
use tombola_core::ports::{Role, StoreError};
use tombola_core::{DrawId, Timestamp, limits};
use tombola_engine::{DeskAnswer, DeskError, DrawAsk};
use tombola_store::read::{self, DrawFilter, DrawRow};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/campaigns/{campaign}/draws",
            Access::or_player(&[Role::Client]),
            draw,
        )
        .about(
            "Draw",
            "Draws once, or `count` times in one transaction, all or none. The answer is committed \
             with the award and the message that asks for its delivery. Send the request again with \
             the same key and body whenever an answer is lost: it is answered with the same bytes.",
        )
        .answers::<DrawsDoc>(201)
        .keys(KeyRule::OfHandler)
        .errors(&[
            Code::CampaignNotFound,
            Code::CampaignNotRunning,
            Code::AllowanceExhausted,
            Code::UserBlocked,
            Code::UserErased,
            Code::CountTooLarge,
        ])
        .example(json!({ "user": "u1", "count": 2 })),
        Route::get(
            "/v1/draws",
            Access::of(&[Role::Operator, Role::Auditor]),
            list,
        )
        .about("List draws", "Draws, newest first, those that won nothing too.")
        .scoped(Scope::Query),
        export::route(
            "/v1/draws/export",
            Access::of(&[Role::Operator, Role::Auditor]),
            "Export draws",
            export,
        )
        .scoped(Scope::Query),
        Route::get(
            "/v1/draws/{id}",
            Access::of(&[Role::Client, Role::Operator, Role::Auditor]),
            show,
        )
        .about(
            "Show draw",
            "One draw; the state of its award is today's. A client sees what it drew, with the \
             claim token; others see it without.",
        )
        .scoped(Scope::OfHandler)
        .errors(&[Code::DrawNotFound]),
    ]
}

async fn draw(
    State(app): State<App>,
    caller: Caller,
    Names(campaign): Names<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<DrawBody>,
) -> Result<Response, ApiError> {
    let key = input::request_key(&headers)?;
    input::user(&body.user)?;
    input::own_user(&caller, &body.user)?;
    let ask = DrawAsk {
        campaign: campaign.as_str().into(),
        client: caller.client(),
        user: body.user.as_str().into(),
        key: key.into(),
        fingerprint: fingerprint(&body),
        count: count(&body)?,
        traceparent: traceparent(&headers),
        claim_key_version: app.claims().newest(),
    };
    app.rates().user(caller.who(), &body.user)?;
    let (facts, is_replayed) = match app.desk().await?.draw(ask).await.map_err(of_desk)? {
        DeskAnswer::Drawn(facts) => (facts, false),
        DeskAnswer::Replayed(facts) => (facts, true),
        DeskAnswer::Refused(refusal) => return Err(of_refusal(&refusal)),
    };
    let document = DrawsDoc {
        draws: facts.iter().map(|fact| document(&app, fact)).collect(),
    };
    let mut response = (StatusCode::CREATED, Json(document)).into_response();
    if is_replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn count(body: &DrawBody) -> Result<u32, ApiError> {
    match u32::try_from(body.count) {
        Ok(0) => Err(ApiError::field("/count", "ask for at least 1")),
        Ok(count) if count <= limits::DRAWS_PER_REQUEST_MAX => Ok(count),
        Ok(_) | Err(_) => {
            let max = limits::DRAWS_PER_REQUEST_MAX;
            Err(
                ApiError::new(Code::CountTooLarge, format!("ask for 1 to {max} draws"))
                    .with("max", max),
            )
        }
    }
}

/// Of the parsed request, so that spaces and the order of fields do not count.
fn fingerprint(body: &DrawBody) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"draw 1\0");
    hash.update(body.count.to_be_bytes());
    hash.update(body.user.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// The trace context, if it has the shape that W3C gives it.
fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let is_hex =
        |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = text.split('-');
    let fits = [2, 32, 16, 2]
        .into_iter()
        .all(|length| parts.next().is_some_and(|part| is_hex(part, length)));
    (fits && parts.next().is_none()).then(|| text.into())
}

fn document(app: &App, fact: &DrawFact) -> DrawDoc {
    let award = fact.award.map(|(kind, state)| AwardStub {
        id: fact.id.award().0,
        kind: kind.name().to_owned(),
        state: state.name().to_owned(),
        claim_token: kind
            .has_claim_token()
            .then(|| {
                app.claims()
                    .token(fact.id.award(), fact.drawn_at, fact.claim_key_version)
            })
            .flatten(),
    });
    DrawDoc {
        id: fact.id.0,
        campaign: fact.campaign.to_string(),
        user: fact.user.to_string(),
        outcome: if fact.prize.is_some() {
            "won"
        } else {
            "nothing"
        }
        .to_owned(),
        prize: fact.prize.as_deref().map(str::to_owned),
        drawn_at: fact.drawn_at,
        award,
        client: None,
    }
}

fn of_refusal(refusal: &DrawRefusal) -> ApiError {
    match refusal {
        DrawRefusal::CampaignNotFound => Code::CampaignNotFound.into(),
        DrawRefusal::NotRunning { phase } => {
            ApiError::new(Code::CampaignNotRunning, format!("the campaign is {phase}"))
                .with("phase", phase.name())
        }
        DrawRefusal::AllowanceExhausted {
            limit,
            left,
            resets_at,
        } => {
            let detail = format!("`{}` leaves {left} draws", limit.name());
            ApiError::new(Code::AllowanceExhausted, detail)
                .with("limit", limit.name())
                .with("left", *left)
                .with("resets_at", resets_at.map(|at| at.to_string()))
        }
        DrawRefusal::UserBlocked => Code::UserBlocked.into(),
        DrawRefusal::RequestKeyReused => Code::RequestKeyReused.into(),
        DrawRefusal::UserErased => Code::UserErased.into(),
    }
}

fn of_desk(error: DeskError) -> ApiError {
    match error {
        DeskError::Overloaded { retry_after } => {
            ApiError::from(Code::Overloaded).after(retry_after)
        }
        DeskError::Stopping => ApiError::from(Code::Stopping).after(limits::DESK_RETRY_AFTER),
        DeskError::CountOutOfRange => Code::CountTooLarge.into(),
        DeskError::Store(error) => of_store(&error),
    }
}

/// The desk shares one error among the requests of a batch.
fn of_store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Overloaded => StoreError::Overloaded.into(),
        StoreError::Closed => StoreError::Closed.into(),
        StoreError::Unavailable(why) => StoreError::Unavailable(why.clone()).into(),
        StoreError::KeyReused => StoreError::KeyReused.into(),
        StoreError::Row(_)
        | StoreError::Inconsistent(_)
        | StoreError::Sealed(_)
        | StoreError::Schema(_)
        | StoreError::Moved(_) => ApiError::internal(error),
    }
}

/// A draw as it is read back; the state of its award is today's.
fn document_of_row(row: DrawRow, claim_token: Option<String>) -> DrawDoc {
    let award = row.kind.zip(row.state).map(|(kind, state)| AwardStub {
        id: row.id.award().0,
        kind: kind.name().to_owned(),
        state: state.name().to_owned(),
        claim_token,
    });
    DrawDoc {
        id: row.id.0,
        campaign: row.campaign,
        user: row.user,
        outcome: row.outcome.name().to_owned(),
        prize: row.prize,
        drawn_at: row.drawn_at,
        award,
        client: Some(row.client),
    }
}

fn claim_token(app: &App, row: &DrawRow) -> Option<String> {
    row.kind.filter(|kind| kind.has_claim_token())?;
    app.claims()
        .token(row.id.award(), row.drawn_at, row.claim_key_version)
}

/// A client sees what it drew; the claim token is for it alone.
async fn show(
    State(app): State<App>,
    caller: Caller,
    Names(id): Names<String>,
) -> Result<Json<DrawDoc>, ApiError> {
    let id = DrawId(input::id(&id, Code::DrawNotFound)?);
    let row = app.store().draw_show(id).await?.ok_or(Code::DrawNotFound)?;
    let is_own = caller.has_drawn(&row.client);
    let is_hidden = caller.role() == Some(Role::Client) && !is_own;
    if is_hidden || !caller.speaks_of(&row.campaign) {
        return Err(Code::DrawNotFound.into());
    }
    let claim_token = is_own.then(|| claim_token(&app, &row)).flatten();
    Ok(Json(document_of_row(row, claim_token)))
}

const SHEET: Sheet = Sheet {
    name: "draws",
    columns: &[
        ("id", "/id"),
        ("drawn_at", "/drawn_at"),
        ("campaign", "/campaign"),
        ("user", "/user"),
        ("client", "/client"),
        ("outcome", "/outcome"),
        ("prize", "/prize"),
        ("kind", "/award/kind"),
        ("state", "/award/state"),
    ],
};

async fn list(
    State(app): State<App>,
    Params(query): Params<DrawQuery>,
) -> Result<Json<Page<DrawDoc>>, ApiError> {
    let turn = Turn::open(SHEET.name, &query, app.now())?;
    let filter = filter(query, turn.at)?;
    let page = app.store().draw_list(filter, turn.page()).await?;
    Ok(Json(turn.answer(documents(page))))
}

async fn export(State(app): State<App>, asked: Exported<DrawQuery>) -> Result<Response, ApiError> {
    let form = asked.form(SHEET);
    let filter = filter(asked.query, app.now())?;
    export::answer(&app, form, filter, |store, filter, page| async move {
        store.draw_list(filter, page).await.map(documents)
    })
    .await
}

fn filter(query: DrawQuery, now: Timestamp) -> Result<DrawFilter, ApiError> {
    let (since, until) = input::period(query.since.as_deref(), query.until.as_deref(), now)?;
    Ok(DrawFilter {
        campaign: query.campaign,
        user: query.user,
        outcome: query.outcome,
        prize: query.prize,
        client: query.client,
        since,
        until,
    })
}

/// Lists show no claim token, whoever asks.
fn documents(page: read::Page<DrawRow>) -> read::Page<DrawDoc> {
    page.map(|row| document_of_row(row, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    #[test]
    fn fingerprint_tells_users_and_counts_apart() {
        let of = |user: &str, count| {
            fingerprint(&DrawBody {
                user: user.to_owned(),
                count,
            })
        };
        assert_eq!(of("u", 1), of("u", 1));
        assert_ne!(of("u", 1), of("v", 1));
        assert_ne!(of("u", 1), of("u", 2));
    }

    #[test]
    fn only_trace_contexts_of_the_right_shape_are_kept() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(text));
            headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
            traceparent(&headers).is_some()
        };
        assert!(read(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        assert!(!read(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra"
        ));
        assert!(!read("00-xyz"));
    }
}
