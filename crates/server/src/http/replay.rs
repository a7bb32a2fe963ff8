//! Request keys of what is not a draw: stock and codes. The running server
//! remembers the answers of the last ones, so that a request whose answer was lost
//! may be sent again; draws keep their keys in the database, with the draw.

use super::error::{ApiError, Code};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Answers remembered; beyond it the oldest is forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// What is remembered, by scope: what is done, the client and its key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replays(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    by_scope: HashMap<String, Entry>,
    done_in_order: VecDeque<String>,
}

#[derive(Debug, Clone)]
enum Entry {
    Running,
    Done(Done),
}

/// A request that was answered before.
#[derive(Debug, Clone)]
pub(super) struct Done {
    fingerprint: [u8; 32],
    body: Bytes,
}

/// What the beginning of a request says.
pub(super) enum Begun {
    /// It is new.
    New(Running),
    /// It was answered before.
    Done(Done),
}

/// A request that is being worked on; forgotten if it is dropped without an answer.
pub(super) struct Running {
    replays: Replays,
    scope: String,
}

impl Replays {
    /// Begins the request of that scope.
    pub(super) fn begin(&self, scope: String) -> Result<Begun, ApiError> {
        let mut remembered = self.lock();
        match remembered.by_scope.get(&scope) {
            Some(Entry::Running) => Err(Code::RequestInProgress.into()),
            Some(Entry::Done(done)) => Ok(Begun::Done(done.clone())),
            None => {
                remembered.by_scope.insert(scope.clone(), Entry::Running);
                Ok(Begun::New(Running {
                    replays: self.clone(),
                    scope,
                }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Answers, and remembers the answer.
    pub(super) fn done(
        self,
        fingerprint: [u8; 32],
        document: &impl Serialize,
    ) -> Result<Response, ApiError> {
        let body =
            Bytes::from(serde_json::to_vec(document).map_err(|error| ApiError::internal(&error))?);
        let mut remembered = self.replays.lock();
        let done = Done {
            fingerprint,
            body: body.clone(),
        };
        remembered
            .by_scope
            .insert(self.scope.clone(), Entry::Done(done));
        remembered.done_in_order.push_back(self.scope.clone());
        if remembered.done_in_order.len() > REMEMBERED_MAX
            && let Some(oldest) = remembered.done_in_order.pop_front()
        {
            remembered.by_scope.remove(&oldest);
        }
        drop(remembered);
        Ok(answer(body))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut remembered = self.replays.lock();
        if matches!(remembered.by_scope.get(&self.scope), Some(Entry::Running)) {
            remembered.by_scope.remove(&self.scope);
        }
    }
}

impl Done {
    /// The first answer's bytes, if the request is the same.
    pub(super) fn replay(self, fingerprint: &[u8; 32]) -> Result<Response, ApiError> {
        if self.fingerprint != *fingerprint {
            return Err(Code::RequestKeyReused.into());
        }
        let mut response = answer(self.body);
        response
            .headers_mut()
            .insert("idempotent-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }
}

fn answer(body: Bytes) -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_that_failed_may_be_tried_again_and_one_under_way_is_not_begun_twice() {
        let replays = Replays::default();
        let Ok(Begun::New(first)) = replays.begin("a".into()) else {
            panic!("new")
        };
        let Err(error) = replays.begin("a".into()) else {
            panic!("under way")
        };
        assert_eq!(error.code, Code::RequestInProgress);
        drop(first);
        let Ok(Begun::New(again)) = replays.begin("a".into()) else {
            panic!("forgotten")
        };
        again.done([1; 32], &7).unwrap();
        let Ok(Begun::Done(done)) = replays.begin("a".into()) else {
            panic!("done")
        };
        assert!(done.clone().replay(&[1; 32]).is_ok());
        assert_eq!(
            done.replay(&[2; 32]).unwrap_err().code,
            Code::RequestKeyReused
        );
    }

    #[test]
    fn memory_is_bounded_by_forgetting_the_oldest() {
        let replays = Replays::default();
        for n in 0..=REMEMBERED_MAX {
            let Ok(Begun::New(running)) = replays.begin(n.to_string()) else {
                panic!("new")
            };
            running.done([0; 32], &n).unwrap();
        }
        assert_eq!(replays.lock().by_scope.len(), REMEMBERED_MAX);
        assert!(matches!(replays.begin("0".into()), Ok(Begun::New(_))));
    }
}
