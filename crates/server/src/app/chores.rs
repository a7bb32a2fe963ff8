//! What runs beside the engine and moves no award: the clock follows the database's time,
//! processes that share a database tell of themselves, old finished rows are removed,
//! secrets of endpoints that have ended are deleted, imports that a dead process left are
//! taken away, rows under older secrets are sealed anew.

use super::{App, ServeRole, ServeRoles};
use crate::{import, random};
use rustix::system::uname;
use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tombola_core::limits::{CLOCK_INTERVAL, STORE_BACKOFF};
use tombola_core::ports::{Catalog, Operate, OperationState, StoreResult};
use tombola_store::processes::Process;

/// Time between two cleanups.
const CLEANUP_INTERVAL: Duration = Duration::from_mins(1);
/// Time between two steps of one cleanup, so that draws go first.
const CLEANUP_STEP_PAUSE: Duration = Duration::from_millis(50);

/// Time between two looks at the keys that other processes may have changed: a revoked
/// one is good elsewhere for so long.
const KEYS_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two looks for bulk actions that nobody goes on with.
const OPERATIONS_INTERVAL: Duration = Duration::from_secs(30);

/// Time between two words of a process that it is alive; several may be lost before
/// [`SILENT_MAX`](tombola_store::processes::SILENT_MAX) is over.
const PROCESS_INTERVAL: Duration = Duration::from_secs(5);

/// Time between two steps of a bulk action, so that draws go first.
const OPERATION_STEP_PAUSE: Duration = Duration::from_millis(10);

impl App {
    /// Before anything moves: whoever must have the database alone sees this process, or is seen.
    pub(super) async fn start_telling(&self, roles: &ServeRoles) -> StoreResult<()> {
        if !self.store().is_shared() {
            return Ok(());
        }
        let process = Process {
            id: random::name(),
            roles: roles.to_string(),
            version: crate::version(),
            host: uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started_at: self.now(),
        };
        self.store()
            .note_process(&process, self.clock_off())
            .await?;
        // From here on a stop forgets it, also of a start that is broken off.
        self.tasks().spawn(go_on_telling(self.clone(), process));
        self.store().may_be_served().await
    }

    pub(super) fn start_chores(&self, roles: &ServeRoles) {
        if self.store().is_shared() {
            self.tasks().spawn(follow_database(self.clone()));
            self.tasks().spawn(refresh_keys(self.clone()));
        } else {
            // The database is a file of this machine, so its time is the machine's.
            let clock = Arc::clone(&self.0.clock);
            self.tasks().spawn(clock.follow_wall(self.tasks().clone()));
        }
        self.follow_topic(roles);
        if roles.has(ServeRole::Rescue) {
            self.tasks().spawn(import::remove_leftovers(self.clone()));
            self.tasks().spawn(clean_up(self.clone()));
            self.tasks().spawn(go_on_with_operations(self.clone()));
            self.tasks().spawn(super::secrets::reseal(self.clone()));
        }
    }

    /// Goes on with a bulk action, step by step, until it is over.
    pub(crate) fn go_on_with(&self, operation: i64) {
        let app = self.clone();
        if self.operations().insert(operation) {
            self.tasks().spawn(async move {
                step_operation(&app, operation).await;
                app.operations().remove(&operation);
            });
        }
    }

    fn operations(&self) -> MutexGuard<'_, HashSet<i64>> {
        let operations = self.0.operations.lock();
        operations.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; `false` when it is time to stop.
    pub(crate) async fn waits(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.tasks().stopped() => false,
            () = tokio::time::sleep(span) => true,
        }
    }
}

/// Follows the time of the database's server, from which the time that the question
/// took is not known by more than its half.
async fn follow_database(app: App) {
    loop {
        let asked = app.monotonic();
        match app.store().time().await {
            Ok(Some(time)) => {
                let on_its_way = app.monotonic().saturating_sub(asked) / 2;
                app.0.clock.follow(time.plus(on_its_way));
                if !app.0.clock.is_trusted() {
                    let off_ms = app.clock_off().as_millis();
                    tracing::warn!(
                        clock.off_ms = off_ms,
                        "the clock is off the database's time and follows slowly"
                    );
                }
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the database's time is not known"),
        }
        if !app.waits(CLOCK_INTERVAL).await {
            return;
        }
    }
}

/// Tells whoever looks for a rescuer that this process is alive, until it stops.
async fn go_on_telling(app: App, process: Process) {
    while app.waits(PROCESS_INTERVAL).await {
        if let Err(error) = app.store().note_process(&process, app.clock_off()).await {
            tracing::warn!(%error, "the database does not know that this process is alive");
        }
    }
    // A stop waits for it within its bound; a process that is silent is forgotten anyhow.
    if let Err(error) = app.store().forget_process(&process.id).await {
        tracing::debug!(%error, "the database takes this process for alive a little longer");
    }
}

/// Keys are made and revoked by other processes as well.
async fn refresh_keys(app: App) {
    while app.waits(KEYS_INTERVAL).await {
        if let Err(error) = app.refresh_keys().await {
            tracing::warn!(%error, "keys are as they were at the last look");
        }
    }
}

/// What a process left half done that is gone. Where others may serve as well, it is
/// looked for again and again: nobody has to start for it.
async fn go_on_with_operations(app: App) {
    loop {
        match app.store().running_operations().await {
            Ok(running) => running.into_iter().for_each(|id| app.go_on_with(id)),
            Err(error) => tracing::warn!(%error, "bulk actions wait for the next look"),
        }
        if !app.store().is_shared() || !app.waits(OPERATIONS_INTERVAL).await {
            return;
        }
    }
}

async fn step_operation(app: &App, id: i64) {
    while !app.tasks().is_stopped() {
        let (is_running, pause) = match app.store().step_operation(id, app.now()).await {
            Ok(stepped) => {
                let is_running = stepped.is_some_and(|it| it.state == OperationState::Running);
                (is_running, OPERATION_STEP_PAUSE)
            }
            Err(error) => {
                tracing::warn!(%error, operation.id = id, "a bulk action waits");
                (true, *STORE_BACKOFF.end())
            }
        };
        app.wake_rescue();
        if !is_running || !app.waits(pause).await {
            return;
        }
    }
}

async fn clean_up(app: App) {
    while app.waits(CLEANUP_INTERVAL).await {
        end_secrets(&app).await;
        let before = app.now().minus(app.config().retention.finished.0);
        if let Err(error) = app.store().keep_partitions(app.now(), before).await {
            tracing::warn!(%error, "partitions are made and dropped later");
        }
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
