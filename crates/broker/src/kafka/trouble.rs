//! What librdkafka has to say: its lines in our log, and its last trouble beside the
//! errors of who asks. Its own errors name no cause ("transport failure"); the cause
//! (a port that is closed, a certificate that is not trusted) comes by callback, or only
//! as a line of its log (a broker that hangs up because it speaks TLS).

use super::config;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tombola_core::ports::TopicError;

/// What librdkafka calls lines about a connection that could not be made or broke.
const CONNECTION_FAILED: &str = "FAIL";

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

    /// A line about a connection that failed counts until an error says more.
    fn note(&self, facility: &str, text: &str) {
        if facility == CONNECTION_FAILED {
            // Before it stands the thread.
            let why = text.split_once("]: ").map_or(text, |(_, why)| why);
            self.lock().get_or_insert_with(|| why.to_owned());
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
        self.0.note(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        config::log_error(&error, reason);
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.0.lock() = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for LogContext {}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(trouble: &Trouble) -> String {
        let error = TopicError::Unavailable("transport failure".to_owned());
        trouble.explain::<()>(Err(error)).unwrap_err().to_string()
    }

    #[test]
    fn line_about_a_failed_connection_explains_an_error_until_one_says_more() {
        let context = LogContext(Arc::default());
        context.log(RDKafkaLogLevel::Info, "CLOSE", "[thrd:a]: a: closed");
        assert!(explained(&context.0).ends_with("transport failure"));
        context.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:a]: a: hung up");
        assert!(explained(&context.0).ends_with("transport failure; a: hung up"));
        let refused = KafkaError::Global(RDKafkaErrorCode::Authentication);
        context.error(refused, "a: wrong password");
        context.log(RDKafkaLogLevel::Info, "FAIL", "[thrd:a]: a: hung up");
        assert!(explained(&context.0).ends_with("; a: wrong password"));
        assert!(context.0.explain(Ok(())).is_ok());
        assert!(explained(&context.0).ends_with("transport failure"));
    }
}
