//! What librdkafka has to say: its lines in our log, and its last trouble beside the
//! errors of who asks. Its own errors name no cause ("transport failure"); the cause
//! (a port that is closed, a certificate that is not trusted) comes by callback.

use super::config;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tombola_core::ports::TopicError;

/// The last trouble with the cluster, until a question was answered again.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// Passes an answer on; beside an error that says little stands the trouble.
    pub(super) fn explain<T>(&self, answer: Result<T, TopicError>) -> Result<T, TopicError> {
        let mut trouble = self.lock();
        match answer {
            Ok(answer) => {
                *trouble = None;
                Ok(answer)
            }
            Err(TopicError::Unavailable(why)) => Err(TopicError::Unavailable(
                trouble
                    .as_ref()
                    .map_or_else(|| why.clone(), |trouble| format!("{why}; {trouble}")),
            )),
            Err(
                error @ (TopicError::LostGeneration | TopicError::Mismatch(_) | TopicError::Closed),
            ) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients that have no callbacks but these.
#[derive(Clone)]
pub(super) struct LogContext(pub(super) Arc<Trouble>);

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        config::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        config::log_error(&error, reason);
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock() = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for LogContext {}
