//! What runs beside the engine and moves no award: the clock follows the
//! database's time, old finished rows are removed, imports that a dead process
//! left are taken away.

use super::{App, ServeRole, ServeRoles};
use crate::import;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tombola_core::ports::{Catalog, Operate, OperationState};
use tombola_engine::SystemClock;

/// Time between two looks at the database's time.
const CLOCK_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);
/// Time between two steps of one cleanup, so that draws go first.
const CLEANUP_STEP_PAUSE: Duration = Duration::from_millis(50);

/// Time between two steps of a bulk action, so that draws go first.
const OPERATION_STEP_PAUSE: Duration = Duration::from_millis(10);

impl App {
    pub(super) fn start_chores(&self, roles: &ServeRoles) {
        self.tasks().spawn(follow_the_clock(self.clone()));
        if roles.has(ServeRole::Rescue) {
            self.tasks().spawn(import::remove_leftovers(self.clone()));
            self.tasks().spawn(clean_up(self.clone()));
            self.tasks().spawn(go_on_with_operations(self.clone()));
        }
    }

    /// Goes on with a bulk action, step by step, until it is over.
    pub(crate) fn go_on_with(&self, operation: i64) {
        self.tasks().spawn(step_operation(self.clone(), operation));
    }

    /// Waits; `false` when it is time to stop.
    pub(crate) async fn waits(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.tasks().stopped() => false,
            () = tokio::time::sleep(span) => true,
        }
    }
}

/// The database is a file of this machine, so its time is the machine's.
async fn follow_the_clock(app: App) {
    while app.waits(CLOCK_INTERVAL).await {
        let off = app.0.clock.follow(SystemClock::wall());
        app.0.clock_off.store(off, Ordering::Relaxed);
        if off.unsigned_abs() > super::CLOCK_OFF_MAX_MICROS {
            tracing::warn!(
                clock.off_ms = off / 1000,
                "the machine's time has stepped; the clock follows slowly"
            );
        }
    }
}

/// What the process before left half done.
async fn go_on_with_operations(app: App) {
    match app.store().running_operations().await {
        Ok(running) => running.into_iter().for_each(|id| app.go_on_with(id)),
        Err(error) => tracing::warn!(%error, "bulk actions wait for the next start"),
    }
}

async fn step_operation(app: App, id: i64) {
    while !app.tasks().is_stopped() {
        let is_running = match app.store().step_operation(id, app.now()).await {
            Ok(stepped) => stepped.is_some_and(|it| it.state == OperationState::Running),
            Err(error) => {
                tracing::warn!(%error, operation.id = id, "a bulk action waits");
                true
            }
        };
        app.wake_rescue();
        if !is_running || !app.waits(OPERATION_STEP_PAUSE).await {
            return;
        }
    }
}

async fn clean_up(app: App) {
    while app.waits(CLEANUP_INTERVAL).await {
        loop {
            let before = app.now().minus(app.config().retention.finished.0);
            match app.store().cleanup(before).await {
                Ok(0) => break,
                Ok(rows) => tracing::debug!(rows, "old rows removed"),
                Err(error) => {
                    tracing::warn!(%error, "cleanup waits");
                    break;
                }
            }
            if !app.waits(CLEANUP_STEP_PAUSE).await {
                return;
            }
        }
    }
}
