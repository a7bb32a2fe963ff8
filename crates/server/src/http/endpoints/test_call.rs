//! A test call of an endpoint: what came back, and what to do about it. It never says
//! more of an answer than its status: who may test an endpoint may not read with it.

use crate::api::EndpointTestDoc;
use crate::app::App;
use crate::http::error::{ApiError, Code};
use crate::http::input::Names;
use crate::random;
use axum::Json;
use axum::extract::State;
use tombola_core::decision::{CallAnswer, DecisionName, judge};
use tombola_core::limits;
use tombola_core::ports::Catalog;
use tombola_engine::TestRefused;

pub(super) async fn test(
    State(app): State<App>,
    Names(name): Names<String>,
) -> Result<Json<EndpointTestDoc>, ApiError> {
    let all = app.store().endpoints().await?;
    let endpoint = all.into_iter().find(|it| it.name == name);
    let endpoint = endpoint.ok_or(Code::EndpointNotFound)?;
    let webhook_id = format!("test-{}", random::name());
    let call = match app.test_call(&endpoint, &webhook_id).await {
        Ok(call) => call,
        Err(TestRefused) => return Err(busy()),
    };
    let status = match call.answer {
        CallAnswer::Status { status, .. } => Some(status),
        CallAnswer::NotConnected | CallAnswer::Broken => None,
    };
    let mend = mend(&call.answer, endpoint.conflict_means_delivered);
    let judged = judge(call.answer, endpoint.conflict_means_delivered);
    let decision = judged.decision.name();
    tracing::info!(endpoint = name, %decision, status, "the endpoint was tested");
    Ok(Json(EndpointTestDoc {
        endpoint: name,
        is_ok: decision == DecisionName::Delivered,
        decision,
        status,
        error: call.error,
        took_ms: u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
        webhook_id,
        mend: mend.map(str::to_owned),
    }))
}

fn busy() -> ApiError {
    let most = limits::ENDPOINT_TEST_WAIT_MAX.as_secs();
    ApiError::new(
        Code::EndpointBusy,
        format!(
            "as many calls as it takes are under way, or its rate has no turn within {most} s; try \
             again, or pause its deliveries"
        ),
    )
}

/// What an operator does about an answer; nothing where an award would be delivered.
fn mend(answer: &CallAnswer, conflict_means_delivered: bool) -> Option<&'static str> {
    let status = match answer {
        CallAnswer::Status { status, .. } => *status,
        CallAnswer::NotConnected => {
            return Some(
                "no call was made: see the error, then check the name, port and certificate of the \
                 url; a private address needs allow_private = true",
            );
        }
        CallAnswer::Broken => {
            return Some(
                "the call began and no whole answer came: see the receiver's log, and have it answer \
                 within the endpoint's timeout. Such a call of an award is made again only if the \
                 endpoint is idempotent",
            );
        }
    };
    let mend = match status {
        200..=299 => return None,
        409 if conflict_means_delivered => return None,
        300..=399 => "redirects are not followed: put the last address into the url",
        401 | 403 => {
            "the receiver does not take the signature: give it the endpoint's secret (rotate-secret \
             makes a new one), have it verify the bytes of the body as they came, and check its clock"
        }
        404 | 405 => "nothing takes a POST there: check the path of the url",
        408 | 425 | 429 | 503 => {
            "the receiver asks for a pause, and a call of an award is made again by itself: lower \
             concurrency or rate if it stays so"
        }
        409 => {
            "the receiver says that it had this webhook-id before, which is new with each test: have \
             it keep the ids of awards that it delivered, and no others"
        }
        410 => {
            "the receiver asks to be called no more: a call of an award would disable the endpoint"
        }
        400..=499 => {
            "the receiver refuses the body: have it answer 2xx to a type that it does not know. An \
             award that is refused so is a dead letter"
        }
        _ => {
            "the receiver has a fault: see its log. Such a call of an award is made again only if the \
             endpoint is idempotent"
        }
    };
    Some(mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_that_delivers_nothing_has_its_mend_and_no_other() {
        let status = |status| CallAnswer::Status {
            status,
            retry_after: None,
            receipt: None,
        };
        let answers = (100..=599).map(status);
        for answer in answers.chain([CallAnswer::NotConnected, CallAnswer::Broken]) {
            for conflict_means_delivered in [false, true] {
                let mend = mend(&answer, conflict_means_delivered);
                let judged = judge(answer.clone(), conflict_means_delivered);
                let is_delivered = judged.decision.name() == DecisionName::Delivered;
                assert_eq!(mend.is_none(), is_delivered, "{answer:?}");
            }
        }
    }
}
