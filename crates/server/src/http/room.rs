//! How much at a time: requests being worked on, and the bytes of their bodies while
//! they come. Whatever is beyond it is answered 503 at once; nothing waits here, so
//! memory does not grow with what is offered.

use super::error::{ApiError, Code};
use crate::config::Http;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tombola_core::limits;

/// The room of one server.
#[derive(Debug)]
pub(crate) struct Room {
    requests: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
}

/// What is taken of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Room {
    /// As the settings say.
    pub(crate) fn new(http: &Http) -> Self {
        let requests = usize::try_from(http.requests_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            body_bytes: Arc::new(Semaphore::new(limits::BODIES_BYTES_MAX)),
        }
    }

    /// For one request.
    pub(super) fn request(&self) -> Result<Taken, ApiError> {
        take(&self.requests, 1)
    }

    /// For some bytes of a body.
    pub(super) fn body(&self, bytes: usize) -> Result<Taken, ApiError> {
        take(&self.body_bytes, bytes)
    }
}

fn take(from: &Arc<Semaphore>, count: usize) -> Result<Taken, ApiError> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    match Arc::clone(from).try_acquire_many_owned(count) {
        Ok(permit) => Ok(Taken(permit)),
        Err(_) => Err(ApiError::from(Code::Overloaded).after(limits::DESK_RETRY_AFTER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bounds_is_refused_and_what_is_given_back_can_be_taken() {
        let room = Room::new(&Http::default());
        let mut requests: Vec<Taken> = (0..limits::REQUESTS_MAX)
            .map(|_| room.request().unwrap())
            .collect();
        let error = room.request().unwrap_err();
        assert_eq!(
            (error.code, error.retry_after.is_some()),
            (Code::Overloaded, true)
        );
        requests.pop();
        assert!(room.request().is_ok());
        let most = room.body(limits::BODIES_BYTES_MAX).unwrap();
        assert_eq!(room.body(1).unwrap_err().code, Code::Overloaded);
        drop(most);
        assert!(room.body(1).is_ok());
    }
}
