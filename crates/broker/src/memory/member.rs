//! A member of a group in memory.

use super::Shared;
use super::share::MemberId;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Notify;
use tombola_core::ports::{Member, Polled, TopicError};

pub(super) struct MemoryMember {
    shared: Arc<Shared>,
    group: String,
    id: MemberId,
    wake: Arc<Notify>,
}

impl MemoryMember {
    pub(super) fn join(shared: Arc<Shared>, group: &str) -> Result<Self, TopicError> {
        let wake = Arc::new(Notify::new());
        let id = shared.lock().join(group, Arc::clone(&wake))?;
        Ok(Self {
            shared,
            group: group.to_owned(),
            id,
            wake,
        })
    }
}

#[async_trait]
impl Member for MemoryMember {
    async fn poll(&mut self, max: usize) -> Result<Polled, TopicError> {
        loop {
            // Taken and returned without a wait between: a dropped future has
            // taken nothing. A wake that came before the wait is kept by `Notify`.
            if let Some(polled) = self.shared.lock().poll(&self.group, self.id, max)? {
                return Ok(polled);
            }
            self.wake.notified().await;
        }
    }

    async fn commit(&mut self, next: &[(i32, i64)]) -> Result<(), TopicError> {
        let trimmed = self.shared.lock().commit(&self.group, self.id, next)?;
        drop(trimmed); // freed here, where nobody waits for the lock
        Ok(())
    }

    async fn pause(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.shared
            .lock()
            .pause(&self.group, self.id, partitions, true)
    }

    async fn resume(&mut self, partitions: &[i32]) -> Result<(), TopicError> {
        self.shared
            .lock()
            .pause(&self.group, self.id, partitions, false)
    }

    async fn leave(self: Box<Self>) -> Result<(), TopicError> {
        Ok(()) // dropped here; in memory a crash is noticed as soon
    }
}

impl Drop for MemoryMember {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.group, self.id);
    }
}
