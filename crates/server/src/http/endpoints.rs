//! Endpoints: the outside services that deliver awards of kind webhook. A secret
//! is shown once, when the server made it, and never again.

mod rotate;
mod test_call;

use super::Route;
use super::auth::{Access, Caller};
use super::cursor::Turn;
use super::error::{ApiError, Code};
use super::input::{self, JsonBody, Names, Params};
use crate::api::{ActionBody, EndpointFact, EndpointPutDoc, EndpointRotatedDoc, Page, PageQuery};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rotate::{SECRET_PREFIX, new_secret, rotate, secrets_full};
use serde_json::json;
use test_call::test;
use tombola_core::endpoint::EndpointSpec;
use tombola_core::ports::{Catalog, PutEndpoint, Role};
use tombola_core::reason::HoldReason;

const READERS: Access = Access::of(&[Role::Operator, Role::Auditor]);

pub(super) fn routes() -> Vec<Route> {
    [defined(), acts()].into_iter().flatten().collect()
}

fn defined() -> Vec<Route> {
    vec![
        Route::get("/v1/endpoints", READERS, list).about(
            "List endpoints",
            "Endpoints, newest first, without their secrets.",
        ),
        Route::get("/v1/endpoints/{name}", READERS, show)
            .about("Show endpoint", "One endpoint, without its secrets.")
            .errors(&[Code::EndpointNotFound]),
        Route::put("/v1/endpoints/{name}", Access::of(&[]), put)
            .about(
                "Put endpoint",
                "Makes or changes an endpoint. Without `secret` the one that is kept stays, or one \
                 is made and shown this once. Another `secret` signs from now on, and the one before \
                 beside it for 24 hours.",
            )
            .errors(&[Code::InvalidEndpoint, Code::EndpointSecretsFull])
            .example(json!({
                "name": "coupon-service", "url": "https://coupons.example/awards",
                "idempotent": true, "conflict_means_delivered": true, "timeout": "10s",
                "concurrency": 16, "rate": "50/s"
            })),
    ]
}

fn acts() -> Vec<Route> {
    vec![
        Route::post(
            "/v1/endpoints/{name}/test",
            Access::of(&[Role::Operator]),
            test,
        )
        .about(
            "Test endpoint",
            "Makes one signed call of type `endpoint.test`, also to a disabled endpoint, and says \
             what came back and what to do about it. It delivers nothing, and nothing of it counts \
             for the breaker.",
        )
        .errors(&[Code::EndpointNotFound, Code::EndpointBusy]),
        Route::post(
            "/v1/endpoints/{name}/rotate-secret",
            Access::of(&[]),
            rotate,
        )
        .about(
            "Rotate endpoint secret",
            "Makes a new secret and shows it this once. It signs from now on; those before it sign \
             as well until the `overlap` is over, so that the receiver changes its own in between.",
        )
        .answers::<EndpointRotatedDoc>(200)
        .errors(&[Code::EndpointNotFound, Code::EndpointSecretsFull])
        .example(json!({ "reason": "once a year", "overlap": "48h" })),
        Route::post(
            "/v1/endpoints/{name}/enable",
            Access::of(&[Role::Operator]),
            enable,
        )
        .about(
            "Enable endpoint",
            "It is called again, and awards that were held meanwhile go on.",
        )
        .errors(&[Code::EndpointNotFound])
        .example(json!({ "reason": "they are back" })),
        Route::post(
            "/v1/endpoints/{name}/disable",
            Access::of(&[Role::Operator]),
            disable,
        )
        .about(
            "Disable endpoint",
            "It is not called any more; its awards are held.",
        )
        .errors(&[Code::EndpointNotFound])
        .example(json!({ "reason": "they asked for it" })),
    ]
}

async fn list(
    State(app): State<App>,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<EndpointFact>>, ApiError> {
    let turn = Turn::open("endpoints", &query, app.now())?;
    let all = app.store().endpoint_list(app.now()).await?;
    Ok(Json(turn.answer(turn.page().cut(all, |it| it.lane))))
}

async fn find(app: &App, name: &str) -> Result<EndpointFact, ApiError> {
    app.store()
        .endpoint_show(name, app.now())
        .await?
        .ok_or_else(|| Code::EndpointNotFound.into())
}

async fn show(
    State(app): State<App>,
    Names(name): Names<String>,
) -> Result<Json<EndpointFact>, ApiError> {
    find(&app, &name).await.map(Json)
}

async fn put(
    State(app): State<App>,
    caller: Caller,
    Names(name): Names<String>,
    JsonBody(spec): JsonBody<EndpointSpec>,
) -> Result<Json<EndpointPutDoc>, ApiError> {
    let field = |field: &str, what: &str| {
        let errors = json!([{ "pointer": format!("/{field}"), "what": what }]);
        ApiError::new(Code::InvalidEndpoint, format!("{field}: {what}")).with("errors", errors)
    };
    if spec.name != name {
        return Err(field("name", "the address names another one"));
    }
    spec.check(1, Vec::new(), true)
        .map_err(|problem| field(problem.field, problem.what))?;
    if spec
        .secret
        .as_deref()
        .is_some_and(|secret| !is_secret(secret))
    {
        return Err(field(
            "secret",
            "use whsec_ and the base64 of 24 to 64 bytes",
        ));
    }
    let was_there = app.store().endpoint_show(&name, app.now()).await?.is_some();
    let new_secret = new_secret();
    let is_made = !was_there && spec.secret.is_none();
    let put = app
        .store()
        .put_endpoint(spec, new_secret.clone(), caller.actor(None), app.now())
        .await?;
    let put = match put {
        PutEndpoint::Put(endpoint) => endpoint,
        PutEndpoint::SecretsFull { ends_at } => return Err(secrets_full(ends_at)),
    };
    app.endpoints_changed().await;
    // Only the secret that is in force: another request may have come first.
    let is_in_force = put.secrets.first().is_some_and(|it| it.text == new_secret);
    let endpoint = find(&app, &name).await?;
    Ok(Json(EndpointPutDoc {
        endpoint,
        new_secret: (is_made && is_in_force).then_some(new_secret),
    }))
}

fn is_secret(text: &str) -> bool {
    let bytes = text
        .strip_prefix(SECRET_PREFIX)
        .and_then(|text| STANDARD.decode(text).ok());
    bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len()))
}

async fn enable(
    State(app): State<App>,
    caller: Caller,
    Names(name): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<EndpointFact>, ApiError> {
    switch(&app, &caller, &name, true, body).await
}

async fn disable(
    State(app): State<App>,
    caller: Caller,
    Names(name): Names<String>,
    JsonBody(body): JsonBody<ActionBody>,
) -> Result<Json<EndpointFact>, ApiError> {
    switch(&app, &caller, &name, false, body).await
}

async fn switch(
    app: &App,
    caller: &Caller,
    name: &str,
    is_enabled: bool,
    body: ActionBody,
) -> Result<Json<EndpointFact>, ApiError> {
    let by = caller.actor(input::reason(body.reason)?);
    let lane = find(app, name).await?.lane;
    if !app
        .store()
        .enable_endpoint(lane, is_enabled, by, app.now())
        .await?
    {
        return Err(Code::EndpointNotFound.into());
    }
    app.endpoints_changed().await;
    if is_enabled {
        app.end_holds(HoldReason::EndpointDisabled).await?;
    }
    find(app, name).await.map(Json)
}
