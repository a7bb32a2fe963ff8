//! What a distributor says of one attempt, and what an HTTP answer means.
//! The decision is taken where the knowledge is; nobody guesses from a text.

use crate::limits;
use crate::names::names;
use crate::reason::HoldReason;
use std::time::Duration;

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is there; the endpoint's receipt, if it gave one.
    Delivered { receipt: Option<String> },
    /// It is surely not there; try again, not before `after` if given.
    Retry { after: Option<Duration> },
    /// It never will be: a dead letter now.
    Refuse,
    /// The call may have had its effect.
    Unknown,
    /// The endpoint's fault, and the answer proves that the call had no effect:
    /// not an attempt.
    Defer,
    /// A person or an event has to come first.
    Hold(HoldReason),
}

names! {
    /// The name of a decision in logs, labels and the timeline.
    DecisionName {
        /// See [`Decision::Delivered`].
        Delivered = "delivered",
        /// See [`Decision::Retry`].
        Retry = "retry",
        /// See [`Decision::Refuse`].
        Refuse = "refuse",
        /// See [`Decision::Unknown`].
        Unknown = "unknown",
        /// See [`Decision::Defer`].
        Defer = "defer",
        /// See [`Decision::Hold`].
        Hold = "hold",
    }
}

impl Decision {
    /// Its name.
    pub const fn name(&self) -> DecisionName {
        match self {
            Self::Delivered { .. } => DecisionName::Delivered,
            Self::Retry { .. } => DecisionName::Retry,
            Self::Refuse => DecisionName::Refuse,
            Self::Unknown => DecisionName::Unknown,
            Self::Defer => DecisionName::Defer,
            Self::Hold(_) => DecisionName::Hold,
        }
    }
}

/// How a call to an endpoint ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// A whole answer came.
    Status {
        status: u16,
        retry_after: Option<Duration>,
        receipt: Option<String>,
    },
    /// The name did not resolve, or TCP or TLS did not connect: surely before the
    /// first byte of the request.
    NotConnected,
    /// A time-out or any later failure, or an answer that broke off.
    Broken,
}

/// The answer table of the contract. `disable` says that the endpoint asks not to
/// be called again (410).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What it means for the award.
    pub decision: Decision,
    /// Whether it counts as a failure for the endpoint's breaker.
    pub is_breaker_failure: bool,
    /// Whether the endpoint is to be disabled.
    pub disable: bool,
}

/// Reads a call's answer by the contract's table.
pub fn judge(answer: CallAnswer, conflict_means_delivered: bool) -> Judged {
    let (status, retry_after, receipt) = match answer {
        CallAnswer::Status {
            status,
            retry_after,
            receipt,
        } => (status, retry_after, receipt),
        CallAnswer::NotConnected => return judged(Decision::Retry { after: None }, true),
        CallAnswer::Broken => return judged(Decision::Unknown, true),
    };
    match status {
        200..=299 => judged(Decision::Delivered { receipt }, false),
        409 if conflict_means_delivered => judged(Decision::Delivered { receipt }, false),
        410 => Judged {
            decision: Decision::Hold(HoldReason::EndpointDisabled),
            is_breaker_failure: true,
            disable: true,
        },
        300..=399 | 401 | 403 | 404 | 405 => judged(Decision::Defer, true),
        408 | 425 | 429 | 503 => {
            let after = retry_after
                .map(|wait| wait.clamp(*limits::RETRY_AFTER.start(), *limits::RETRY_AFTER.end()));
            judged(Decision::Retry { after }, true)
        }
        400..=499 => judged(Decision::Refuse, false),
        _ => judged(Decision::Unknown, true),
    }
}

const fn judged(decision: Decision, is_breaker_failure: bool) -> Judged {
    Judged {
        decision,
        is_breaker_failure,
        disable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> CallAnswer {
        CallAnswer::Status {
            status,
            retry_after: None,
            receipt: None,
        }
    }

    #[test]
    fn every_answer_gives_the_decision_of_the_contract() {
        use DecisionName as D;
        for (code, expected) in [
            (200, D::Delivered),
            (204, D::Delivered),
            (301, D::Defer),
            (308, D::Defer),
            (400, D::Refuse),
            (401, D::Defer),
            (403, D::Defer),
            (404, D::Defer),
            (405, D::Defer),
            (408, D::Retry),
            (409, D::Refuse),
            (410, D::Hold),
            (413, D::Refuse),
            (418, D::Refuse),
            (422, D::Refuse),
            (425, D::Retry),
            (429, D::Retry),
            (500, D::Unknown),
            (502, D::Unknown),
            (503, D::Retry),
            (504, D::Unknown),
            (100, D::Unknown),
            (600, D::Unknown),
        ] {
            assert_eq!(
                judge(status(code), false).decision.name(),
                expected,
                "{code}"
            );
        }
        assert_eq!(judge(status(409), true).decision.name(), D::Delivered);
        assert_eq!(
            judge(CallAnswer::NotConnected, true).decision.name(),
            D::Retry
        );
        assert_eq!(judge(CallAnswer::Broken, true).decision.name(), D::Unknown);
        assert!(judge(status(410), false).disable);
    }

    #[test]
    fn retry_after_is_honoured_between_a_second_and_an_hour() {
        for (asked, given) in [(0, 1), (7, 7), (90_000, 3600)] {
            let answer = CallAnswer::Status {
                status: 429,
                retry_after: Some(Duration::from_secs(asked)),
                receipt: None,
            };
            let after = Some(Duration::from_secs(given));
            assert_eq!(judge(answer, false).decision, Decision::Retry { after });
        }
    }
}
