//! Where tasks are spawned: one tracker that a stop waits for, one token that says
//! *stop* (begin nothing new, finish what is under way) and one that says *abandon*
//! (the deadline is near: drop what is under way, write down what can be written).

use std::future::Future;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one part of the engine, and its two tokens.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    abandon: CancellationToken,
}

impl Tasks {
    /// No task yet, nothing stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns a task that a stop waits for.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Spawns a task into `set`; a stop waits for it as well.
    pub fn spawn_on<F>(&self, set: &mut JoinSet<F::Output>, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        set.spawn(self.tracker.track_future(task));
    }

    /// Begin nothing new.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Drop what is under way.
    pub fn abandon(&self) {
        self.stop.cancel();
        self.abandon.cancel();
    }

    /// Whether nothing new may begin.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether what is under way is to be dropped.
    pub fn is_abandoned(&self) -> bool {
        self.abandon.is_cancelled()
    }

    /// Comes back when nothing new may begin.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Comes back when what is under way is to be dropped.
    pub async fn abandoned(&self) {
        self.abandon.cancelled().await;
    }

    /// Comes back when every task has ended; none may be spawned after `stop`
    /// except by those that still run.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
