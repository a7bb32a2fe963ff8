//! A connection beside the pools, for long work that no call waits behind.

use super::error::{failed, get};
use super::options::PostgresOptions;
use super::session::{Deadline, Opener};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_postgres::{Client, Error};
use tombola_core::ports::StoreResult;

/// A connection of its own, whose statements may take long.
pub(crate) struct Alone {
    pub(crate) client: Client,
    deadline: Deadline,
    _alive: oneshot::Sender<()>,
}

impl Alone {
    /// Connects; a step of the work may take `step_max`.
    pub(crate) async fn connect(
        options: &PostgresOptions,
        step_max: Duration,
    ) -> StoreResult<Self> {
        let opener = Opener::new(options, false)?;
        let (client, alive) = opener.connect().await?;
        let millis = step_max.as_millis();
        let bounds = format!(
            "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {millis}"
        );
        client.batch_execute(&bounds).await.map_err(failed)?;
        Ok(Self {
            client,
            deadline: opener.deadline.of_max(step_max),
            _alive: alive,
        })
    }

    /// A step of the work, or `Unavailable` if no answer comes.
    pub(crate) fn within<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = StoreResult<T>> {
        self.deadline.within(call)
    }

    /// How many sessions of servers, which have that name, are open to the database.
    pub(crate) async fn servers(&self, name: &str) -> StoreResult<i64> {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = $1";
        let row = self.within(self.client.query_one(sql, &[&name])).await?;
        get(&row, 0)
    }
}
