//! One call: its turn, a last look at the lease, the distributor, what its answer
//! means. It always ends in a record or in a claim given back.

use super::Shared;
use super::outside::Claimed;
use super::records::Due;
use crate::kill;
use crate::lanes::Permit;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::AwardId;
use tombola_core::decision::{CallAnswer, Decision, Judged, judge};
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;
use tombola_core::message::Message;
use tombola_core::ports::{Actor, Claim, Record};
use tombola_core::reason::HoldReason;
use tombola_core::retry::Jitter;

/// A call to be made.
pub(super) struct Call {
    pub(super) claimed: Claimed,
    pub(super) jitter: Jitter,
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    /// It is to be recorded.
    Record(Box<Due>),
    /// It could no longer begin: the claim goes back, with its lease.
    GiveBack(AwardId, i64),
}

impl Shared {
    pub(super) async fn call(self: Arc<Self>, call: Call) -> CallEnd {
        let Call {
            claimed:
                Claimed {
                    claim,
                    message,
                    permit,
                    lease_until,
                    traceparent: _,
                },
            jitter,
        } = call;
        let end = |decision, error| {
            let record = Record {
                award: claim.award,
                lease: claim.lease,
                decision,
                error,
                lane_at: self
                    .parts
                    .clock
                    .now()
                    .plus(jitter.spread(self.parts.lanes.again_in(claim.lane))),
                jitter,
            };
            CallEnd::Record(Box::new(Due {
                record,
                lease_until,
            }))
        };
        let Some(permit) = permit else {
            return end(Decision::Hold(HoldReason::EndpointDisabled), None);
        };
        let may_begin = self.wait_for_turn(&permit, lease_until).await;
        if !may_begin {
            return CallEnd::GiveBack(claim.award, claim.lease);
        }
        let endpoint = Arc::clone(permit.endpoint());
        let began = self.parts.clock.monotonic();
        kill::point("before_call");
        let (answer, error) = self.deliver_one(&endpoint, &claim, &message).await;
        kill::point("after_call_before_record");
        let Judged {
            decision,
            is_breaker_failure,
            disable,
        } = judge(answer, endpoint.conflict_means_delivered);
        if disable {
            self.parts.lanes.disable(endpoint.lane);
        }
        permit.end(
            !is_breaker_failure,
            self.parts.clock.monotonic().saturating_sub(began),
        );
        note(&claim, &endpoint, &decision, error.as_deref());
        if disable {
            self.disable(&endpoint).await;
        }
        end(decision, error)
    }

    /// Waits for the permit's turn; `false` if the call can no longer begin: a stop
    /// came, or what is left of the lease is not enough for a call and its record.
    async fn wait_for_turn(&self, permit: &Permit, lease_until: Duration) -> bool {
        let clock = &self.parts.clock;
        let needed = permit.endpoint().timeout + limits::RECORD_ALLOWANCE;
        let mut wait = permit.turn().saturating_sub(clock.monotonic());
        loop {
            if self.tasks.is_stopped() || clock.monotonic() + wait + needed > lease_until {
                return false;
            }
            if wait.is_zero() {
                match permit.begin() {
                    Ok(()) => return true,
                    Err(more) => wait = more,
                }
            } else {
                tokio::select! {
                    () = self.tasks.stopped() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                wait = permit.turn().saturating_sub(clock.monotonic());
            }
        }
    }

    /// The distributor's word. One that panics, or does not come back, or is cut off by
    /// a stop, may have had its effect.
    async fn deliver_one(
        &self,
        endpoint: &Endpoint,
        claim: &Claim,
        message: &Message,
    ) -> (CallAnswer, Option<String>) {
        let broken = |why: &str| (CallAnswer::Broken, Some(why.to_owned()));
        let call = AssertUnwindSafe(self.parts.distributor.deliver(endpoint, claim, message))
            .catch_unwind();
        tokio::select! {
            answer = tokio::time::timeout(endpoint.timeout + limits::CALL_OVERTIME, call) => match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => broken("the distributor panicked"),
                Err(_) => broken("the distributor did not come back in time"),
            },
            () = self.tasks.abandoned() => broken("the process stopped during the call"),
        }
    }

    /// 410: no more calls from here already, and none from other processes as soon as
    /// they look. Its awards are held, and released when an operator enables it.
    async fn disable(&self, endpoint: &Endpoint) {
        let by = Actor {
            name: "tombola".to_owned(),
            reason: Some("the endpoint answered 410".to_owned()),
            request: None,
        };
        let mut wait = *limits::STORE_BACKOFF.start();
        for _ in 0..limits::ENDPOINT_DISABLE_TRIES_MAX {
            let now = self.parts.clock.now();
            match self
                .parts
                .catalog
                .enable_endpoint(endpoint.lane, false, by.clone(), now)
                .await
            {
                Ok(_) => {
                    tracing::error!(
                        endpoint = endpoint.name,
                        "the endpoint answered 410 and is disabled"
                    );
                    return;
                }
                Err(error) => {
                    tracing::warn!(endpoint = endpoint.name, %error, "the endpoint could not be disabled in the database");
                    tokio::time::sleep(wait).await;
                    wait *= 2;
                }
            }
        }
    }
}

fn note(claim: &Claim, endpoint: &Endpoint, decision: &Decision, error: Option<&str>) {
    let (award, attempt, endpoint) = (claim.award, claim.attempts, &endpoint.name);
    match decision {
        Decision::Delivered { .. } => {
            tracing::debug!(award.id = %award, delivery.attempt = attempt, endpoint, "delivered");
        }
        Decision::Retry { .. }
        | Decision::Defer
        | Decision::Hold(_)
        | Decision::Unknown
        | Decision::Refuse => {
            let decision = decision.name();
            tracing::warn!(award.id = %award, delivery.attempt = attempt, endpoint, %decision, error, "not delivered");
        }
    }
}
