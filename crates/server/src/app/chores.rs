//! What runs beside the engine and moves no award: the clock follows the
//! database's time, old finished rows are removed, secrets of endpoints that have
//! ended are deleted, imports that a dead process
//! left are taken away, rows under older secrets are sealed anew.

use super::{App, ServeRole, ServeRoles};
use crate::import;
use std::sync::Arc;
use std::time::Duration;
use tombola_core::ports::{Catalog, Operate, OperationState};

/// Time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);
/// Time between two steps of one cleanup, so that draws go first.
const CLEANUP_STEP_PAUSE: Duration = Duration::from_millis(50);

/// Time between two steps of a bulk action, so that draws go first.
const OPERATION_STEP_PAUSE: Duration = Duration::from_millis(10);

impl App {
    pub(super) fn start_chores(&self, roles: &ServeRoles) {
        // The database is a file of this machine, so its time is the machine's.
        let clock = Arc::clone(&self.0.clock);
        self.tasks().spawn(clock.follow_wall(self.tasks().clone()));
        if roles.has(ServeRole::Rescue) {
            self.tasks().spawn(import::remove_leftovers(self.clone()));
            self.tasks().spawn(clean_up(self.clone()));
            self.tasks().spawn(go_on_with_operations(self.clone()));
            self.tasks().spawn(super::secrets::reseal(self.clone()));
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
        end_secrets(&app).await;
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

/// They sign nothing any more; this takes their bytes.
async fn end_secrets(app: &App) {
    match app.store().end_secrets(app.now()).await {
        Ok(0) => {}
        Ok(endpoints) => tracing::info!(endpoints, "secrets that have ended are deleted"),
        Err(error) => tracing::warn!(%error, "secrets that have ended are deleted later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::opened;
    use tombola_core::endpoint::EndpointSpec;
    use tombola_core::limits::SECRET_OVERLAP;
    use tombola_core::ports::Actor;

    #[tokio::test]
    async fn cleanup_deletes_secrets_that_have_ended() {
        let (_temp, app) = opened().await;
        let long_ago = app.now().minus(SECRET_OVERLAP);
        for secret in ["whsec_b25l", "whsec_dHdv"] {
            let spec = EndpointSpec {
                name: "shop".to_owned(),
                url: "https://shop.example".to_owned(),
                secret: Some(secret.to_owned()),
                idempotent: true,
                conflict_means_delivered: false,
                timeout: "10s".to_owned(),
                concurrency: 1,
                rate: None,
                allow_private: false,
            };
            let by = Actor::named("ann");
            let put = app.store().put_endpoint(spec, String::new(), by, long_ago);
            put.await.unwrap();
        }
        let kept = async || app.store().endpoints().await.unwrap()[0].secrets.len();
        assert_eq!(kept().await, 2);
        end_secrets(&app).await;
        assert_eq!(kept().await, 1);
    }
}
