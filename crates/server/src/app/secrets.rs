//! A change of the secret: first into `secret.key`, then into use, then the older
//! rows of the database, in steps behind everything else.

use super::App;
use crate::claim::ClaimKeys;
use crate::http::error::ApiError;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tombola_core::limits::STORE_BACKOFF;
use tombola_core::ports::{Actor, Catalog};

/// Time between two steps of sealing anew, so that draws go first.
const STEP_PAUSE: Duration = Duration::from_millis(10);

impl App {
    /// Makes a new version of the secret and uses it at once; gives its number.
    /// `is_after_loss` is the word that versions which sealed rows are gone for good.
    pub(crate) async fn rotate_secret(
        &self,
        is_after_loss: bool,
        by: Actor,
    ) -> Result<i32, ApiError> {
        let mut secrets = self.0.secrets.lock().await;
        if let Some(request) = &by.request
            && self.0.store.kept_request(request).await?.is_some()
        {
            return Ok(secrets.newest()); // done, and its answer was lost
        }
        let before = secrets.clone();
        let new = tokio::task::spawn_blocking(move || before.with_new())
            .await
            .map_err(|error| ApiError::internal(&error))?
            .map_err(|error| ApiError::internal(&format!("secret.key: {error}")))?;
        let (version, keys) = (new.newest(), new.seal_keys());
        let claims = Arc::new(ClaimKeys::of(&new));
        // Kept whatever follows: the next change must write this version too.
        *secrets = new;
        *self
            .0
            .claims
            .write()
            .unwrap_or_else(PoisonError::into_inner) = claims;
        self.0
            .store
            .change_secret(keys, is_after_loss, by, self.now())
            .await?;
        tracing::info!(version, "a new version of the secret signs and seals");
        self.tasks().spawn(reseal(self.clone()));
        Ok(version)
    }
}

/// Seals what is older, until nothing is left. One at a time: the one that comes
/// later sees to what the other did not.
pub(super) async fn reseal(app: App) {
    let _turn = app.0.reseal_turn.lock().await;
    let mut sealed = 0;
    loop {
        let pause = match app.store().reseal_step().await {
            Ok(step) => {
                sealed += step.rows;
                if step.is_done {
                    break;
                }
                STEP_PAUSE
            }
            Err(error) => {
                tracing::warn!(%error, "older rows are sealed anew later");
                *STORE_BACKOFF.end()
            }
        };
        if !app.waits(pause).await {
            return;
        }
    }
    if sealed > 0 {
        tracing::info!(
            rows = sealed,
            "older rows are sealed under the newest version of the secret"
        );
    }
}
