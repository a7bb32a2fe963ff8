//! The one way onto the topic, for the relay and for rescue: encode, publish, mark,
//! under the topic's breaker.

use crate::breaker::{Breaker, BreakerSettings, BreakerState, Pass};
use crate::kill;
use crate::meters::Meters;
use crate::store_calls::{NoAnswer, halved, is_passing, kept_from_panic};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::award::{Mark, Position};
use tombola_core::limits;
use tombola_core::ports::{
    AwardPath, Clock, Handoff, MarkOf, Outgoing, Report, StoreResult, Topic, Written,
};
use tracing::Instrument;

/// How long a broker may hold its reports back before they count as unknown; above
/// the broker's own time-out.
const REPORT_TIMEOUT: Duration = limits::PUBLISH_TIMEOUT.saturating_add(Duration::from_millis(500));

/// What the topic's breaker let through.
pub(crate) struct Passing {
    /// The messages.
    pub(crate) handoffs: Vec<Handoff>,
    /// Whether they are its probe: their reports decide.
    pub(crate) is_probe: bool,
}

/// Publishes and marks.
pub struct Publisher {
    topic: Arc<dyn Topic>,
    path: Arc<dyn AwardPath>,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    origin: Arc<str>,
    breaker: Mutex<Breaker>,
}

impl Publisher {
    /// `origin` is the database's own uuid.
    pub fn new(
        topic: Arc<dyn Topic>,
        path: Arc<dyn AwardPath>,
        clock: Arc<dyn Clock>,
        meters: Arc<Meters>,
        origin: Arc<str>,
    ) -> Self {
        let breaker = Mutex::new(Breaker::new(BreakerSettings::topic()));
        Self {
            topic,
            path,
            clock,
            meters,
            origin,
            breaker,
        }
    }

    /// Whether everything may pass.
    pub fn is_closed(&self) -> bool {
        self.state() == BreakerState::Closed
    }

    /// How the topic's breaker stands.
    pub fn state(&self) -> BreakerState {
        let state = self.breaker().state(self.clock.monotonic());
        self.meters.set_topic_breaker(state);
        state
    }

    /// Asks the topic's breaker for a batch; a probe is given back if it is not used.
    pub(crate) fn pass(&self) -> Pass {
        self.breaker().pass(self.clock.monotonic())
    }

    pub(crate) fn give_probe_back(&self) {
        self.breaker().give_probe_back();
    }

    /// Of fresh hand-offs, those that may go now: none that rescue may own, and only
    /// what the topic's breaker lets through.
    pub(crate) fn let_through(&self, mut handoffs: Vec<Handoff>) -> Passing {
        let now = self.clock.now();
        handoffs.retain(|handoff| now.since(handoff.at) < limits::HANDOFF_AGE_MAX);
        let pass = if handoffs.is_empty() {
            Pass::Yes
        } else {
            self.pass()
        };
        match pass {
            Pass::Yes => {}
            Pass::Probe => handoffs.truncate(limits::RESCUE_PROBE_ROWS),
            Pass::No { .. } => handoffs.clear(),
        }
        let is_probe = pass == Pass::Probe;
        Passing { handoffs, is_probe }
    }

    /// Publishes a batch; one mark for each message, in order.
    pub async fn publish(&self, handoffs: Vec<Handoff>) -> Vec<MarkOf> {
        let is_probe = false;
        self.publish_passing(Passing { handoffs, is_probe }).await
    }

    /// The same for what the topic's breaker let through.
    pub(crate) async fn publish_passing(&self, passing: Passing) -> Vec<MarkOf> {
        let span = tracing::debug_span!("relay.batch", messages = passing.handoffs.len());
        self.publish_as(passing.handoffs, passing.is_probe)
            .instrument(span)
            .await
    }

    async fn publish_as(&self, handoffs: Vec<Handoff>, is_probe: bool) -> Vec<MarkOf> {
        // Read before the publish: if the topic is made anew meanwhile, the position is
        // of a life that is over, and rescue does not take it for lag.
        let epoch = self.topic.epoch();
        kill::point("before_publish");
        let messages: Vec<Outgoing> = handoffs
            .iter()
            .map(|handoff| self.outgoing(handoff))
            .collect();
        let reports = self.reports(messages).await;
        kill::point("after_publish");
        self.note(&reports, is_probe);
        let marks = handoffs.into_iter().zip(reports).map(|(handoff, report)| {
            let (mark, error) = mark(report, epoch);
            MarkOf {
                award: handoff.award,
                lease: handoff.lease,
                mark,
                error,
            }
        });
        marks.collect()
    }

    /// One report for each message. What is too large is never given to the broker.
    async fn reports(&self, messages: Vec<Outgoing>) -> Vec<Report> {
        let is_large: Vec<bool> = messages
            .iter()
            .map(|message| message.value.len() > limits::MESSAGE_BYTES_MAX)
            .collect();
        let fit: Vec<Outgoing> = messages
            .into_iter()
            .zip(&is_large)
            .filter_map(|(message, is_large)| (!is_large).then_some(message))
            .collect();
        let answered = if fit.is_empty() {
            Vec::new()
        } else {
            // A broker's client that panics or hangs leaves every message unknown.
            let published = AssertUnwindSafe(self.topic.publish_batch(fit)).catch_unwind();
            let published = tokio::time::timeout(REPORT_TIMEOUT, published).await;
            published.map(Result::unwrap_or_default).unwrap_or_default()
        };
        let mut answered = answered.into_iter();
        let report = |is_large| {
            if is_large {
                Report::Refused("the message is too large".to_owned())
            } else {
                answered
                    .next()
                    .unwrap_or_else(|| Report::Unknown("no report came".to_owned()))
            }
        };
        is_large.into_iter().map(report).collect()
    }

    fn outgoing(&self, handoff: &Handoff) -> Outgoing {
        let mut headers = vec![
            ("message-id".to_owned(), handoff.message.message_id.clone()),
            ("origin".to_owned(), self.origin.to_string()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        if let Some(traceparent) = &handoff.traceparent {
            headers.push(("traceparent".to_owned(), traceparent.to_string()));
        }
        Outgoing {
            key: handoff.message.user.clone(),
            value: Arc::from(handoff.message.encode()),
            headers,
        }
    }

    /// Counts the reports and tells the breaker. A refusal is the message's fault.
    fn note(&self, reports: &[Report], is_probe: bool) {
        let now = self.clock.monotonic();
        let counters = &self.meters.publishes;
        let mut breaker = self.breaker();
        let before = breaker.state(now);
        for report in reports {
            let is_ok = match report {
                Report::Taken { .. } => {
                    counters.taken.one();
                    true
                }
                Report::Refused(_) => {
                    counters.refused.one();
                    true
                }
                Report::NotTaken(_) => {
                    counters.not_taken.one();
                    false
                }
                Report::Unknown(_) => {
                    counters.unknown.one();
                    false
                }
            };
            if !is_probe {
                breaker.record(is_ok, now);
            }
        }
        if is_probe {
            let is_ok = !reports
                .iter()
                .any(|it| matches!(it, Report::NotTaken(_) | Report::Unknown(_)));
            breaker.record_probe(is_ok, now);
        }
        let after = breaker.state(now);
        drop(breaker);
        self.meters.set_topic_breaker(after);
        if before == BreakerState::Closed && after == BreakerState::Open {
            tracing::warn!(
                "publishing fails: the topic's breaker is open; draws go on, rescue publishes later"
            );
        } else if before != after && after == BreakerState::Closed {
            tracing::info!("publishing works again: the topic's breaker is closed");
        }
    }

    /// Writes marks; what cannot be written is found by rescue.
    pub async fn mark(&self, marks: Vec<MarkOf>) {
        if marks.is_empty() {
            return;
        }
        let now = self.clock.now();
        let path = Arc::clone(&self.path);
        let answers = halved(&marks, move |part| {
            Box::pin(mark_part(Arc::clone(&path), part, now))
        })
        .await;
        kill::point("after_mark");
        for (mark, answer) in marks.iter().zip(answers) {
            match answer {
                Ok(Written::Applied) if mark.mark == Mark::Refused => {
                    tracing::error!(award.id = %mark.award, "its message can never be published; the award is dead");
                }
                Ok(Written::Applied | Written::Late) => {}
                Err(NoAnswer::Member(error) | NoAnswer::Store(error)) => {
                    tracing::warn!(award.id = %mark.award, error, "a mark could not be written; rescue decides");
                }
            }
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries a few times while the store is away; not longer, for the grace ends.
async fn mark_part(
    path: Arc<dyn AwardPath>,
    part: Vec<MarkOf>,
    now: tombola_core::Timestamp,
) -> StoreResult<Vec<Written>> {
    let mut wait = *limits::STORE_BACKOFF.start();
    for _ in 1..limits::MARK_TRIES_MAX {
        match kept_from_panic(path.mark_published(part.clone(), now)).await {
            Err(error) if is_passing(&error) => tokio::time::sleep(wait).await,
            answer => return answer,
        }
        wait *= 2;
    }
    kept_from_panic(path.mark_published(part, now)).await
}

fn mark(report: Report, epoch: i64) -> (Mark, Option<String>) {
    match report {
        Report::Taken { partition, offset } => (
            Mark::Taken(Position {
                epoch,
                partition,
                offset,
            }),
            None,
        ),
        Report::NotTaken(error) | Report::Unknown(error) => (Mark::Failed, Some(error)),
        Report::Refused(error) => (Mark::Refused, Some(error)),
    }
}
