//! What can go wrong with a call.

use serde_json::Value;
use std::fmt;

/// Why a call has no good answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientError {
    /// The server said no, or had a fault.
    Problem {
        /// HTTP status.
        status: u16,
        /// The stable code; empty if the answer was no problem document.
        code: String,
        /// The whole document.
        body: Value,
    },
    /// No connection came about: nothing was done.
    Unreachable(String),
    /// The connection broke: whether it was done is unknown.
    Unknown(String),
    /// One side does not understand the other.
    NotUnderstood(String),
}

impl ClientError {
    pub(super) fn unknown(error: &dyn fmt::Display) -> Self {
        Self::Unknown(error.to_string())
    }

    pub(super) fn of_answer(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        Self::Problem { status, code, body }
    }

    /// The stable code, if the server said one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem { code, .. } => Some(code),
            Self::Unreachable(_) | Self::Unknown(_) | Self::NotUnderstood(_) => None,
        }
    }

    /// Whether the call is worth sending again under the same request key: it may
    /// or may not have had its effect, or surely had none, and nobody said no.
    pub fn is_to_be_sent_again(&self) -> bool {
        match self {
            Self::Problem { status, .. } => *status >= 500,
            Self::Unreachable(_) | Self::Unknown(_) | Self::NotUnderstood(_) => true,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem { status, code, body } => {
                let title = body["title"]
                    .as_str()
                    .unwrap_or("the server gave no reason");
                f.write_str(title)?;
                if let Some(detail) = body["detail"].as_str() {
                    write!(f, ": {detail}")?;
                }
                if code.is_empty() {
                    write!(f, " (status {status})")?;
                } else {
                    write!(f, " ({code})")?;
                }
                for problem in body["problems"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    write!(f, "\n  {problem}")?;
                }
                match body["request_id"].as_str() {
                    Some(id) if *status >= 500 => write!(f, "\n  request {id}"),
                    Some(_) | None => Ok(()),
                }
            }
            Self::Unreachable(why) => write!(f, "the server cannot be reached: {why}"),
            Self::Unknown(why) => write!(
                f,
                "the connection broke, and whether it was done is unknown: {why}"
            ),
            Self::NotUnderstood(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ClientError {}
