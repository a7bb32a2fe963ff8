//! Calls of the store as the path makes them: run again with patience while the
//! store is away, halved while one member of a batch cannot be written, and kept
//! from a panic, so that one bad member never wedges a batch.

use crate::tasks::Tasks;
use futures_util::FutureExt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;
use tombola_core::limits;
use tombola_core::ports::{StoreError, StoreResult};

/// A call of the store under way.
pub(crate) type StoreCall<T> = Pin<Box<dyn Future<Output = StoreResult<T>> + Send>>;

/// Turns a panic of the store into an error of the row: halving then finds the one
/// that causes it.
pub(crate) async fn kept_from_panic<T>(
    call: impl Future<Output = StoreResult<T>> + Send,
) -> StoreResult<T> {
    let panicked = |_| Err(StoreError::Row("the store panicked".to_owned()));
    AssertUnwindSafe(call)
        .catch_unwind()
        .await
        .unwrap_or_else(panicked)
}

/// Whether the same call may go through later, unchanged.
pub(crate) const fn is_passing(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_) | StoreError::Overloaded => true,
        StoreError::Row(_)
        | StoreError::Inconsistent(_)
        | StoreError::Sealed(_)
        | StoreError::Schema(_)
        | StoreError::Moved(_)
        | StoreError::KeyReused
        | StoreError::Closed => false,
    }
}

/// Whether one member of the batch is at fault.
pub(crate) const fn is_of_a_member(error: &StoreError) -> bool {
    match error {
        StoreError::Row(_) | StoreError::Inconsistent(_) | StoreError::Sealed(_) => true,
        StoreError::Unavailable(_)
        | StoreError::Overloaded
        | StoreError::Schema(_)
        | StoreError::Moved(_)
        | StoreError::KeyReused
        | StoreError::Closed => false,
    }
}

/// How long a call is worth making again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until nothing new may begin.
    UntilStop,
    /// Until what is under way is dropped: what is known must be written down.
    UntilAbandoned,
}

/// Growing waits between tries.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self(*limits::STORE_BACKOFF.start())
    }

    /// Waits; `false` if patience ended meanwhile.
    pub(crate) async fn wait(&mut self, tasks: &Tasks, patience: Patience) -> bool {
        let wait = self.0;
        self.0 = (self.0 * 2).min(*limits::STORE_BACKOFF.end());
        let ended = async {
            match patience {
                Patience::UntilStop => tasks.stopped().await,
                Patience::UntilAbandoned => tasks.abandoned().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// Calls until the store answers, or finds a member at fault, or patience ends.
pub(crate) async fn patiently<T>(
    tasks: &Tasks,
    patience: Patience,
    call: impl Fn() -> StoreCall<T> + Send + Sync,
) -> StoreResult<T> {
    let mut backoff = Backoff::new();
    loop {
        match kept_from_panic(call()).await {
            Err(error) if !is_of_a_member(&error) => {
                tracing::warn!(%error, "the store is away; the same batch is tried again");
                if !backoff.wait(tasks, patience).await {
                    return Err(error);
                }
            }
            answer => return answer,
        }
    }
}

/// Why one member of a batch has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The member itself cannot be written, now or later.
    Member(String),
    /// The store failed; the member is as good as before.
    Store(String),
}

/// Calls with the whole batch; on an error of a member, with its halves, until the one
/// is found. One answer for each member, in order.
pub(crate) async fn halved<T: Clone + Sync, R>(
    members: &[T],
    call: impl Fn(Vec<T>) -> StoreCall<Vec<R>> + Send + Sync,
) -> Vec<Result<R, NoAnswer>> {
    let mut answers = Vec::with_capacity(members.len());
    let mut parts = vec![members];
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        match call(part.to_vec()).await {
            Ok(these) if these.len() == part.len() => answers.extend(these.into_iter().map(Ok)),
            Ok(these) => {
                let what = format!("{} answers for {} members", these.len(), part.len());
                answers.extend(part.iter().map(|_| Err(NoAnswer::Store(what.clone()))));
            }
            Err(error) if is_of_a_member(&error) && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.push(second);
                parts.push(first);
            }
            Err(error) => {
                let what = error.to_string();
                let what = if is_of_a_member(&error) {
                    NoAnswer::Member(what)
                } else {
                    NoAnswer::Store(what)
                };
                answers.extend(part.iter().map(|_| Err(what.clone())));
            }
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_store_double_from_the_shortest_to_the_longest() {
        let (tasks, mut backoff) = (Tasks::new(), Backoff::new());
        let (first, last) = limits::STORE_BACKOFF.into_inner();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let began = Instant::now();
            assert!(backoff.wait(&tasks, Patience::UntilStop).await);
            waits.push(began.elapsed());
        }
        let expected = [
            first,
            first * 2,
            first * 4,
            first * 8,
            first * 16,
            first * 32,
        ];
        assert_eq!((&waits[..6], &waits[6..]), (&expected[..], &[last; 2][..]));
    }
}
