//! A test call: one signed call of a type of its own, so that an operator sees whether
//! an endpoint would take an award, before there is one or while it is disabled.
//!
//! It goes the way of every other call (client, guards, deadline, bound on the answer)
//! and holds the endpoint's concurrency and pace, by one permit. It delivers nothing,
//! writes nothing, asks no breaker and tells it nothing.

use crate::distributor::WebhookDistributor;
use crate::lanes::{Lanes, Permit};
use std::sync::Arc;
use std::time::Duration;
use tombola_core::decision::CallAnswer;
use tombola_core::endpoint::Endpoint;
use tombola_core::limits;
use tombola_core::ports::Clock;

/// Makes test calls.
pub struct TestCaller {
    webhook: WebhookDistributor,
    clock: Arc<dyn Clock>,
}

/// How a test call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCall {
    /// What came back.
    pub answer: CallAnswer,
    /// Why not, with no secret and no payload in it.
    pub error: Option<String>,
    /// From its beginning to the end of the answer.
    pub took: Duration,
}

/// No call was made: all that the endpoint takes at a time are under way, or its
/// rate has no turn soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestRefused;

impl TestCaller {
    /// One for the whole process: it keeps its clients.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            webhook: WebhookDistributor::new(Arc::clone(&clock)),
            clock,
        }
    }

    /// Makes one call under that `webhook-id`. `lanes` are those of this process, if
    /// it has any.
    pub async fn call(
        &self,
        lanes: Option<&Arc<Lanes>>,
        endpoint: &Endpoint,
        id: &str,
    ) -> Result<TestCall, TestRefused> {
        let _permit = match lanes {
            Some(lanes) => self.permit(lanes, endpoint.lane).await?,
            None => None,
        };
        let began = self.clock.monotonic();
        let deadline = endpoint.timeout.min(limits::CALL_TIMEOUT_MAX) + limits::CALL_OVERTIME;
        let called = tokio::time::timeout(deadline, self.webhook.test(endpoint, id)).await;
        let (answer, error) = called.unwrap_or_else(|_| {
            let why = "the call did not come back in time".to_owned();
            (CallAnswer::Broken, Some(why))
        });
        let took = self.clock.monotonic().saturating_sub(began);
        Ok(TestCall {
            answer,
            error,
            took,
        })
    }

    /// Waits for its turn, up to the bound.
    async fn permit(&self, lanes: &Arc<Lanes>, lane: i64) -> Result<Option<Permit>, TestRefused> {
        let most = limits::ENDPOINT_TEST_WAIT_MAX;
        let until = self.clock.monotonic() + most;
        let Some(permit) = lanes.admit_test(lane, most).map_err(|_| TestRefused)? else {
            return Ok(None);
        };
        let mut wait = permit.turn().saturating_sub(self.clock.monotonic());
        loop {
            if self.clock.monotonic() + wait > until {
                return Err(TestRefused);
            }
            tokio::time::sleep(wait).await;
            match permit.begin() {
                Ok(()) => return Ok(Some(permit)),
                Err(more) => wait = more,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::{TokioClock, endpoint};
    use crate::lanes::Admission;
    use crate::meters::Meters;

    /// A lane, and an endpoint that cannot be reached: its secret does not sign, so a
    /// call of it is over without a wait.
    fn world(set: Endpoint) -> (TestCaller, Arc<Lanes>, Endpoint) {
        let clock = TokioClock::new();
        let lanes = Lanes::new(
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::new(Meters::new()),
        );
        lanes.set(vec![set.clone()]);
        let silent = Endpoint {
            secrets: Vec::new(),
            ..set
        };
        (TestCaller::new(clock), Arc::new(lanes), silent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_call_takes_one_permit_and_gives_it_back() {
        let one = Endpoint {
            concurrency: 1,
            ..endpoint(1)
        };
        let (caller, lanes, silent) = world(one);
        let call = caller.call(Some(&lanes), &silent, "test-1").await.unwrap();
        assert_eq!(call.answer, CallAnswer::NotConnected);
        assert_eq!(lanes.calls(), 0);
        let Admission::Permit(real) = lanes.admit(1, Duration::ZERO) else {
            panic!("there is room for one")
        };
        let refused = caller.call(Some(&lanes), &silent, "test-2").await;
        assert_eq!(refused, Err(TestRefused));
        assert_eq!(lanes.calls(), 1, "the call of an award is not touched");
        drop(real);
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_call_of_a_disabled_endpoint_or_an_unknown_lane_is_made() {
        let off = Endpoint {
            is_enabled: false,
            ..endpoint(1)
        };
        let (caller, lanes, silent) = world(off);
        assert!(caller.call(Some(&lanes), &silent, "test-1").await.is_ok());
        let other = Endpoint { lane: 2, ..silent };
        assert!(caller.call(Some(&lanes), &other, "test-2").await.is_ok());
        assert!(caller.call(None, &other, "test-3").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn failing_test_calls_open_no_breaker() {
        let (caller, lanes, silent) = world(endpoint(1));
        for n in 0..limits::BREAKER_WINDOW {
            let id = format!("test-{n}");
            caller.call(Some(&lanes), &silent, &id).await.unwrap();
        }
        let admitted = lanes.admit(1, Duration::ZERO);
        assert!(matches!(admitted, Admission::Permit(_)), "{admitted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_call_waits_for_its_turn_as_long_as_the_bound_says_and_no_longer() {
        let began = tokio::time::Instant::now();
        let max = limits::ENDPOINT_TEST_WAIT_MAX;
        let paced = |interval| Endpoint {
            interval: Some(interval),
            ..endpoint(1)
        };
        let second = Duration::from_secs(1);
        let (caller, lanes, silent) = world(paced(max.saturating_sub(second)));
        assert!(caller.call(Some(&lanes), &silent, "test-1").await.is_ok());
        assert!(caller.call(Some(&lanes), &silent, "test-2").await.is_ok());
        assert!(began.elapsed() >= max.saturating_sub(second));
        let (caller, lanes, silent) = world(paced(max + second));
        assert!(caller.call(Some(&lanes), &silent, "test-1").await.is_ok());
        let refused = caller.call(Some(&lanes), &silent, "test-2").await;
        assert_eq!(refused, Err(TestRefused));
    }
}
